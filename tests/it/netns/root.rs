//! A command of root is root, but has no rights over what is outside of its namespaces.

use super::*;

/// Ways of root into the network namespace of another process: each tells whether it led there.
const WAYS_OUT: &str = r#"
nsenter --net="/proc/$PPID/ns/net" true 2>>said && echo entered
nsenter -t 1 -n true 2>>said && echo entered the first one
ip link add out type veth peer name in netns "$PPID" 2>>said && echo pushed
readlink "/proc/$PPID/root" >>said 2>&1 && echo looked
head -c 1 "/proc/$PPID/mem" >>said 2>&1 && echo read
true
"#;

#[test]
fn root_cannot_go_back_to_the_network_outside() {
    let name = "netns::root::root_cannot_go_back_to_the_network_outside";
    if !rustix::process::geteuid().is_root() {
        return skipped(&format!("not root: {name}"));
    }
    in_a_world(name, || {
        if !has_program("nsenter") {
            return skipped(&format!("no nsenter: {name}"));
        }
        let sandbox = Sandbox::new();
        let mut outside = sandbox.command("sh");
        outside.args(["-c", WAYS_OUT]);
        let outside = run(outside, LIMIT).expect_success().stdout;
        assert!(
            outside.contains("entered\n") && outside.contains("looked\n"),
            "{outside}"
        );
        let args = ["record", "--netns", "-o", "one", "--", "sh", "-c", WAYS_OUT];
        let output = run(sandbox.modtape(args), LIMIT).expect_success();
        assert_eq!(output.stdout, "", "{}", output.stderr);
        let packets = recorded(&sandbox, "one")
            .manifest()
            .packets
            .expect("counted");
        assert!(!packets.can_leave);
    });
}

/// What root does with users and files, which is the same inside.
const AS_ROOT: &str = r#"
id -u; id -G; echo text >file; chown 1234:4321 file; chmod 600 file; stat -c '%u %g %a' file
cat file; cat theirs; echo more >>theirs; stat -c '%u %g' theirs
setpriv --reuid=1234 --regid=4321 --groups=5,6 id -u
setpriv --reuid=1234 --regid=4321 --clear-groups cat file
cat /proc/self/setgroups; exec cat /proc/self/uid_map /proc/self/gid_map
"#;

#[test]
fn root_is_root_of_all_users_and_files() {
    let name = "root_is_root_of_all_users_and_files";
    if !rustix::process::geteuid().is_root() || !has_namespaces(name) {
        return skipped(&format!("not root, or no namespaces: {name}"));
    }
    // Also in a container that lacks the right to make namespaces without new users.
    let drop = [
        "setpriv",
        "--bounding-set=-sys_admin,-net_admin",
        "--inh-caps=-all",
    ];
    for wrapper in [&[][..], &drop] {
        let sandbox = Sandbox::new();
        let prepare = |script: &str| {
            let mut shell = sandbox.command("sh");
            shell.args(["-euc", script]);
            run(shell, LIMIT).expect_success().stdout
        };
        let theirs = "rm -f file theirs; echo theirs >theirs; chown 77:88 theirs; chmod 600 theirs";
        prepare(theirs);
        let outside = prepare(AS_ROOT);
        prepare(theirs);
        let modtape = tested();
        let modtape = modtape.to_str().expect("paths of tests are text");
        let record = [
            modtape, "record", "--netns", "-o", "one", "--", "sh", "-euc", AS_ROOT,
        ];
        let words = [wrapper, &record].concat();
        let mut command = sandbox.command(words[0]);
        command.args(&words[1..]);
        let inside = run(command, LIMIT).expect_success();
        assert_eq!(inside.stdout, outside, "{wrapper:?}: {}", inside.stderr);
        let packets = recorded(&sandbox, "one")
            .manifest()
            .packets
            .expect("counted");
        assert!(!packets.can_leave);
    }
}
