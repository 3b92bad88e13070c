//! Modules from their repositories: `direct`, git and ssh.

use std::time::Duration;

use super::resolver::Name;
use super::run::{Ready, Run};
use super::world::{ELSEWHERE, INTERNET, World};
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
        let Some(both) = run.both_hang(|| drop(internet.wait_for(asked, LIMIT)), "[MT208]") else {
            return;
        };
        both.recorded.first("MT208", "problem", &["git", "sleep"]);
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
        let Some(_sshd) = sshd(&server) else { return };
        let asks = |ready: &Ready<'_>| {
            // Neither the user's settings nor the machine's count.
            let known = ready.sandbox.join("known_hosts");
            let ssh = format!(
                "ssh -F /dev/null -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile={}",
                known.display()
            );
            let config = format!(
                "[core]\n\tsshCommand = {ssh}\n\
                 [url \"ssh://root@{ELSEWHERE}/\"]\n\tinsteadOf = https://git.corp/\n"
            );
            std::fs::write(ready.sandbox.join("home/.gitconfig"), config).expect("our own folder");
        };
        let run = get(world).env("GOPRIVATE", "git.corp").prepare(asks);
        let run = run.stall_after("3s");
        let Some(both) = run.both_ask("continue connecting", "[MT208]") else {
            return;
        };
        both.recorded
            .first("MT208", "problem", &["ssh", "terminal"]);
    });
}

/// A real server for ssh, with a new key; `None` where there is none, or this is not root.
fn sshd(server: &Sandbox) -> Option<Spawned> {
    let path = std::path::Path::new("/usr/sbin/sshd");
    if !path.exists() || !rustix::process::geteuid().is_root() {
        skipped("no sshd here, or this is not root");
        return None;
    }
    let script =
        "mount -t tmpfs tmpfs /run && mkdir /run/sshd && ssh-keygen -q -t ed25519 -N '' -f key";
    let mut made = server.command("sh");
    made.args(["-ec", script]).current_dir(server.path());
    run(made, LIMIT).expect_success();
    let mut sshd = server.command(path);
    let key = format!("HostKey={}", server.join("key").display());
    let listen = format!("ListenAddress={ELSEWHERE}:22");
    sshd.args([
        "-D",
        "-e",
        "-f",
        "/dev/null",
        "-o",
        &key,
        "-o",
        &listen,
        "-o",
        "PidFile=none",
    ]);
    let sshd = Spawned::start(sshd);
    sshd.wait_for_stderr("Server listening");
    Some(sshd)
}
