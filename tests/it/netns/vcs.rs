//! git over ssh, which no proxy variable leads to modtape: a tunnel to the server's name.

use std::net::SocketAddr;

use super::*;

#[test]
fn git_over_ssh_is_a_tunnel_to_the_name_of_its_server() {
    let name = "netns::vcs::git_over_ssh_is_a_tunnel_to_the_name_of_its_server";
    in_a_world(name, || {
        let server = Sandbox::new();
        let at = SocketAddr::from(([127, 0, 0, 1], 2222));
        let Some(_sshd) = sshd(&server, at) else {
            return;
        };
        let repositories = repository("git.corp/team/lib.git", 100_000);
        for user in USERS {
            let sandbox = Sandbox::new();
            std::fs::copy(server.join("user"), sandbox.join("key")).expect("sshd's folder has it");
            let repository = repositories.join("team/lib.git");
            // ssh wants a key that only its user reads.
            let script = format!(
                "chmod 600 key; export GIT_SSH_COMMAND=\"ssh -F /dev/null -i key -o IdentitiesOnly=yes \
                 -o StrictHostKeyChecking=no -o UserKnownHostsFile=known\"
                 git clone -q ssh://root@git.corp{0} clone && git -C clone tag
                 git ls-remote -q ssh://root@GIT.corp:22{0} main | wc -l
                 git ls-remote -q ssh://root@nobody.corp{0} 2>&1 | grep -o 'resolve hostname nobody.corp'",
                repository.display()
            );
            let to = format!("--connect-to=git.corp:22:{at}");
            let args = [
                "record", "--netns", "-o", "one", &to, "--", "sh", "-euc", &script,
            ];
            let output = run(user.modtape(&sandbox, &args), LIMIT).expect_success();
            let expected = "v1.0.0\n1\nresolve hostname nobody.corp\n";
            assert_eq!(output.stdout, expected, "{user:?}: {}", output.stderr);
            let recording = recorded(&sandbox, "one");
            let opened = recording
                .connections()
                .filter_map(|connection| connection.opened.as_ref());
            let (tunnels, failed): (Vec<_>, Vec<_>) =
                opened.partition(|opened| opened.mode == Mode::Tunnel);
            assert_eq!(tunnels.len(), 2, "{user:?}");
            for tunnel in tunnels {
                assert_eq!(&*tunnel.target, "git.corp:22");
                assert_eq!(tunnel.error, None);
            }
            // The lookup of a name that nobody has.
            assert!(!failed.is_empty(), "{user:?}");
            for lookup in failed {
                assert_eq!(&*lookup.target, "nobody.corp:443", "{user:?}");
                assert_eq!(lookup.mode, Mode::Refuse);
            }
            // A replay has no server to lead it to.
            let args = [
                "replay",
                "one",
                "--netns",
                "--",
                "git",
                "ls-remote",
                "ssh://root@git.corp/x",
            ];
            let mut replay = user.modtape(&sandbox, &args);
            replay.env("GIT_SSH_COMMAND", "ssh -F /dev/null");
            let output = run(replay, LIMIT);
            assert!(!output.status.success());
            assert!(
                output.stderr.contains("0 packets left"),
                "{}",
                output.stderr
            );
        }
    });
}
