//! Modules from their repositories: `direct`, git and ssh.

use std::net::SocketAddr;
use std::time::Duration;

use super::resolver::Name;
use super::run::{Ready, Run};
use super::world::{ELSEWHERE, INTERNET, World};
use crate::support::*;

const MODULE: &str = "git.corp/team/lib.git";

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
        let repositories = repository(MODULE, 4 << 20);
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

/// A proxy that says why it does not have it: no version that is nowhere, whatever git's processes take.
#[test]
fn a_version_that_only_its_repository_has() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let repositories = repository(MODULE, 1000);
        let git = Rule::host("git.corp").git(repositories.path());
        let lacks = Rule::when(|served| served.path.starts_with("/git.corp/"));
        let lacks = lacks
            .status(404)
            .body("not found: unknown revision v1.0.0\n");
        let _internet = internet.rule(lacks).rule(git).start();
        let Some(both) = get(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.nothing_but(&["MT113"]);
    });
}

#[test]
fn a_small_repository_is_no_fault() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let repositories = repository(MODULE, 1000);
        let git = Rule::host("git.corp").git(repositories.path());
        let _internet = internet.rule(git).start();
        let private = get(world).env("GOPRIVATE", "git.corp");
        let Some(both) = private.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.nothing();
    });
}

/// The server wants credentials, and git asks a helper for them that waits.
#[test]
fn a_credential_helper_that_waits() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let wants = Rule::host("git.corp").status(401);
        let wants = wants.header("www-authenticate", "Basic realm=\"git\"");
        let internet = internet.rule(wants).start();
        let waits = |ready: &Ready<'_>| {
            let helper = "[credential]\n\thelper = \"!f() { sleep 600; }; f\"\n";
            std::fs::write(ready.sandbox.join("home/.gitconfig"), helper).expect("our own folder");
        };
        let run = get(world).env("GOPRIVATE", "git.corp").prepare(waits);
        let run = run.stall_after("3s");
        let asked = |log: &Log| {
            log.requests
                .iter()
                .any(|served| served.host == "git.corp" && served.path.ends_with("/info/refs"))
        };
        let asked = || drop(internet.wait_for(asked, LIMIT));
        run.hangs(asked, "MT208", &["git", "sleep"]);
    });
}

/// A server that ssh does not know: since Go 1.25 it asks on the terminal.
#[test]
fn ssh_that_asks_for_a_host_key() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let server = Sandbox::new();
        let Some(_sshd) = sshd(&server, SocketAddr::new(ELSEWHERE, 22)) else {
            return;
        };
        let asks = |ready: &Ready<'_>| git_by_ssh(ready, "", "", std::path::Path::new("/"));
        let run = get(world).env("GOPRIVATE", "git.corp").prepare(asks);
        let run = run.stall_after("3s");
        let names = ["ssh", "terminal"];
        let Some(recorded) = run.asks("continue connecting", "MT208", &names) else {
            return;
        };
        // It fails now, and does not ask.
        let hinted = run.as_hinted(&recorded);
        assert_eq!(hinted.code, 1, "{}", hinted.stderr);
        hinted.lacks("MT208");
    });
}

/// The settings of a user whose ssh leaves a master behind, which writes what it does to stderr: that of
/// git, which go reads to its end.
#[test]
fn an_ssh_master_that_stays() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let server = Sandbox::new();
        let Some(sshd) = sshd(&server, SocketAddr::new(ELSEWHERE, 22)) else {
            return;
        };
        let repositories = repository(MODULE, 1000);
        let key = std::fs::read_to_string(server.join("user")).expect("sshd's folder has it");
        let by_ssh = |options: &'static str| {
            let (key, repositories) = (key.clone(), repositories.path());
            get(world)
                .env("GOPRIVATE", "git.corp")
                .prepare(move |ready| {
                    let file = ready.sandbox.join("user");
                    std::fs::write(&file, &key).expect("our own folder");
                    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                    std::fs::set_permissions(&file, mode).expect("our own file");
                    let master = format!(
                        "ControlMaster auto\nControlPersist 600\nControlPath {}/master\n\
                     StrictHostKeyChecking no\nIdentityFile {}\n",
                        ready.sandbox.path().display(),
                        file.display()
                    );
                    git_by_ssh(ready, &master, options, repositories);
                })
        };
        let accepted = || drop(sshd.wait_for_stderr("Accepted publickey"));
        let names = ["go get", "ssh", "pipe", "ControlMaster=no"];
        by_ssh("-v").hangs(accepted, "MT209", &names);
        // What the hint says; and the same master without a word of its own is no fault.
        let helped = by_ssh("-v -o ControlMaster=no -o ControlPath=none").plain();
        assert_eq!(helped.expect("go is there").code, 0);
        let both = by_ssh("").both().expect("go is there");
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.nothing();
    });
}

/// Has git ask an ssh server for what it would ask git.corp: with these lines in ssh's settings, these
/// options, and repositories in this folder. Neither the user's settings nor the machine's count.
fn git_by_ssh(ready: &Ready<'_>, settings: &str, options: &str, repositories: &std::path::Path) {
    let (known, config) = (
        ready.sandbox.join("known_hosts"),
        ready.sandbox.join("ssh_config"),
    );
    let text = format!(
        "GlobalKnownHostsFile /dev/null\nUserKnownHostsFile {}\n{settings}",
        known.display()
    );
    std::fs::write(&config, text).expect("our own folder");
    let folder = repositories.display().to_string();
    let folder = folder.trim_end_matches('/');
    let config = format!(
        "[core]\n\tsshCommand = ssh -F {} {options}\n\
         [url \"ssh://root@{ELSEWHERE}{folder}/\"]\n\tinsteadOf = https://git.corp/\n",
        config.display()
    );
    std::fs::write(ready.sandbox.join("home/.gitconfig"), config).expect("our own folder");
}
