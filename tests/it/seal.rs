//! A sealed recording: every command finds in it what it needs, whatever was recorded first.

use std::fs;
use std::time::Duration;

use crate::record::{record, recording};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(300);

/// `modtape seal one` by what stands in for the internet.
fn seal(sandbox: &Sandbox, origin: &Origin, flags: &[&str]) -> Output {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut modtape = sandbox.modtape(["seal", "one", "--connect-to", &everywhere]);
    modtape.arg("--upstream-ca").arg(origin.root_pem_path());
    modtape.args(flags);
    run(modtape, LIMIT)
}

/// The same where nobody is.
fn seal_alone(sandbox: &Sandbox) -> Output {
    let nobody = ["seal", "one", "--connect-to", "::127.0.0.1:1"];
    run(sandbox.modtape(nobody), LIMIT)
}

/// What people do with a module.
const COMMANDS: [&[&str]; 11] = [
    &["mod", "tidy"],
    &["mod", "download"],
    &["mod", "download", "all"],
    &["build", "./..."],
    &["vet", "./..."],
    &["test", "./..."],
    &["list", "-m", "all"],
    &["mod", "graph"],
    &["mod", "why", "-m", "all"],
    &["mod", "vendor"],
    &["mod", "verify"],
];

#[test]
fn what_one_command_recorded_is_sealed_for_all_of_them() {
    let sandbox = Sandbox::new();
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let Some(go) = sandbox.go("1.27") else { return };
    let Some(project) = sandbox.project_without_sums("hello") else {
        return;
    };
    let origin = Origin::start(content);
    let go = go.to_str().expect("paths of tests are text");
    run(
        record(&sandbox, &origin, &["--cold"], &[go, "mod", "tidy"]),
        LIMIT,
    )
    .expect_success();
    let sealed = seal(&sandbox, &origin, &[]).expect_success();
    assert!(sealed.stderr.contains("sealed one: "), "{}", sealed.stderr);
    drop(origin);
    let again = seal_alone(&sandbox).expect_success();
    assert!(
        again.stderr.contains("nothing had to be asked"),
        "{}",
        again.stderr
    );
    assert_eq!(recording(&sandbox, "one").runs().len(), 2);
    let sums = fs::read(
        corpus_folder("hello")
            .expect("it is there")
            .join("project/go.sum"),
    );
    let sums = sums.expect("a file");
    for command in COMMANDS {
        // Without go.sum all is looked up, and only with -mod=mod a command goes on without a line there.
        for (sums, flags) in [(&sums[..], ""), (&[], "-mod=mod")] {
            if sums.is_empty() && command.contains(&"vendor") {
                // It asks for nothing that go.sum does not name.
                continue;
            }
            fs::write(project.join("go.sum"), sums).expect("our own file");
            let mut modtape = sandbox.modtape(["replay", "one", "--strict", "--", go]);
            modtape.args(command).env("GOFLAGS", flags);
            let replayed = run(modtape, LIMIT);
            let told = &replayed.stderr;
            assert!(replayed.status.success(), "{command:?} {flags}: {told}");
            assert!(told.contains(" 0 missing"), "{command:?} {flags}: {told}");
            let _ = fs::remove_dir_all(project.join("vendor"));
        }
    }
}
