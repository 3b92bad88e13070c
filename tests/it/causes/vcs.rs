//! Modules from their repositories: `direct`, git and ssh.

use std::time::Duration;

use super::resolver::Name;
use super::run::Run;
use super::world::{INTERNET, World};
use crate::support::*;

const MODULE: &str = "git.corp/team/lib.git";

/// Makes `team/lib.git`, a module with a tag and one file of so many bytes of noise.
fn repository(bytes: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    let script = r#"mkdir w && cd w && git init -q -b main . && printf "module $1\n\ngo 1.18\n" >go.mod
        echo 'package lib' >lib.go && head -c "$0" /dev/urandom >noise && git add . && git commit -qm one
        git tag v1.0.0 && cd .. && git clone -q --bare w team/lib.git"#;
    let mut made = sandbox.command("sh");
    made.args(["-ec", script, &bytes.to_string(), MODULE]);
    for who in ["AUTHOR", "COMMITTER"] {
        made.env(format!("GIT_{who}_NAME"), "Ada");
        made.env(format!("GIT_{who}_EMAIL"), "ada@git.corp");
    }
    made.env("GIT_CONFIG_NOSYSTEM", "1");
    made.env("GIT_CONFIG_GLOBAL", "/dev/null");
    run(made, LIMIT).expect_success();
    sandbox
}

/// `go get` of the module, which the proxy does not have and whose checksum nobody knows.
fn get(world: &World) -> Run<'_> {
    world.name("git.corp", Name::at([INTERNET]));
    Run::go(world, &["get", "git.corp/team/lib.git@v1.0.0"]).env("GONOSUMDB", "git.corp")
}

#[test]
fn a_module_that_fell_through_to_a_large_clone() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let repositories = repository(4 << 20);
        let git = Rule::host("git.corp").git(repositories.path());
        let slow = Rule::when(|served| served.method == "POST" && served.request_bytes == 0);
        let slow = slow
            .git(repositories.path())
            .trickle(1 << 18, Duration::from_millis(80));
        let _internet = internet.rule(slow).rule(git).start();
        let Some(both) = get(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert!(
            both.plain.took > Duration::from_secs(1),
            "{:?}",
            both.plain.took
        );
        both.recorded.first("MT113", "slow", &[MODULE, "git.corp"]);
    });
}

#[test]
fn a_small_repository_is_no_fault() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let repositories = repository(1000);
        let git = Rule::host("git.corp").git(repositories.path());
        let _internet = internet.rule(git).start();
        let private = get(world).env("GOPRIVATE", "git.corp");
        let Some(both) = private.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.nothing();
    });
}
