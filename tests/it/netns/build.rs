//! The real go command in a namespace: what it does is what it does without one.

use std::fs;
use std::time::Duration;

use super::*;

/// A guard, no judgement.
const LIMIT: Duration = Duration::from_secs(120);

/// Whether this user can run that program.
pub(crate) fn can_run(user: User, sandbox: &Sandbox, program: &str) -> bool {
    let mut test = sandbox.command("setpriv");
    test.args([
        &format!("--reuid={NOBODY}"),
        "--clear-groups",
        "--",
        program,
        "version",
    ]);
    let can = !user.is_other() || run(test, LIMIT).status.success();
    if !can {
        skipped(&format!("others cannot run {program}"));
    }
    can
}

#[test]
fn a_real_go_command_is_recorded_and_replayed_in_and_out_of_a_namespace() {
    let name = "a_real_go_command_is_recorded_and_replayed_in_and_out_of_a_namespace";
    if !has_namespaces(name) {
        return;
    }
    let user = User::Unprivileged;
    for release in ["1.24", "1.27"] {
        let sandbox = Sandbox::new();
        let (Some(go), Some(content)) =
            (sandbox.go(release), Content::corpus("hello", Sumdb::Heads))
        else {
            continue;
        };
        let go = go.to_str().expect("paths of tests are text");
        if !can_run(user, &sandbox, go) {
            continue;
        }
        let project = sandbox.project_without_sums("hello").expect("it is there");
        let origin = Origin::start(content);
        let to = to(&origin, &sandbox);
        let run_in = |verb: &[&str], flags: &[&str]| {
            fs::write(project.join("go.sum"), "").expect("our own folder");
            let command = ["--", go, "mod", "tidy"];
            let args = [verb, flags, &command].concat();
            let output = run(user.modtape(&sandbox, &args), LIMIT).expect_success();
            let sums = fs::read_to_string(project.join("go.sum")).expect("it is there");
            (sums, output)
        };
        let [everywhere, root] = &to;
        let dials = [&everywhere[..], root, "--cold"];
        let (sums, plain) = run_in(&["record", "-o", "plain"], &dials);
        let before = origin.requests().len();
        let (same, inside) = run_in(&["record", "--netns", "-o", "inside"], &dials);
        assert!(sums.lines().count() > 2 && sums == same, "{sums}\n{same}");
        assert_eq!(plain.stdout, inside.stdout, "{release}");
        let served = origin.requests().len() - before;
        let sandboxed = sandbox.join("project");
        let opened = |name: &str| {
            let dir = sandboxed.join("recordings").join(name);
            Recording::open_whole(&dir).unwrap_or_else(|error| panic!("{error}"))
        };
        let recording = opened("inside");
        assert_eq!(recording.rows().len(), served, "{release}");
        assert_eq!(recording.manifest().replayable.reasons, [""; 0]);
        for name in ["inside", "plain"] {
            for flags in [&["--netns", "--strict"][..], &["--strict"]] {
                let asked = origin.requests().len();
                let (same, output) = run_in(&["replay", name], flags);
                assert_eq!(sums, same, "{release} {name} {flags:?}");
                assert!(output.stderr.contains(", 0 missing"), "{}", output.stderr);
                assert_eq!(origin.requests().len(), asked);
            }
        }
    }
}
