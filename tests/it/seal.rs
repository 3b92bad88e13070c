//! A sealed recording: every command finds in it what it needs, whatever was recorded first.

mod interrupted;
mod matrix;
mod terms;
mod toolchain;

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::record::{record, recording};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(300);

/// A cold `go mod tidy` of `hello` without sums, recorded, and what stands in for the internet; `None` where
/// something is not here.
fn go_mod_tidy(release: &str) -> Option<(Sandbox, Origin)> {
    let sandbox = Sandbox::new();
    let content = Content::corpus("hello", Sumdb::Heads)?;
    let go = sandbox.go(release)?;
    sandbox.project_without_sums("hello")?;
    let origin = Origin::start(content);
    let words = [go.to_str()?, "mod", "tidy"];
    run(record(&sandbox, &origin, &["--cold"], &words), LIMIT).expect_success();
    Some((sandbox, origin))
}

/// The same of a `go mod download` with sums.
fn go_mod_download(release: &str) -> Option<(Sandbox, Origin)> {
    let sandbox = Sandbox::new();
    let content = Content::corpus("hello", Sumdb::Heads)?;
    let go = sandbox.go(release)?;
    sandbox.project("hello")?;
    let origin = Origin::start(content);
    let words = [go.to_str()?, "mod", "download"];
    run(record(&sandbox, &origin, &["--cold"], &words), LIMIT).expect_success();
    Some((sandbox, origin))
}

/// `modtape seal one` by what stands in for the internet.
fn sealing(sandbox: &Sandbox, origin: &Origin, flags: &[&str]) -> Command {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut modtape = sandbox.modtape(["seal", "one", "--connect-to", &everywhere]);
    modtape.arg("--upstream-ca").arg(origin.root_pem_path());
    modtape.args(flags);
    modtape
}

pub(crate) fn seal(sandbox: &Sandbox, origin: &Origin, flags: &[&str]) -> Output {
    run(sealing(sandbox, origin, flags), LIMIT)
}

/// The same where nobody is.
fn seal_alone(sandbox: &Sandbox) -> Output {
    let nobody = ["seal", "one", "--connect-to", "::127.0.0.1:1"];
    run(sandbox.modtape(nobody), LIMIT)
}

/// Whether the recording counts as sealed.
fn is_sealed(sandbox: &Sandbox) -> bool {
    let info = run(
        sandbox.modtape(["recordings", "info", "one", "--json"]),
        LIMIT,
    );
    let info: serde_json::Value = serde_json::from_str(&info.stdout).expect("one object");
    info["status"] == "sealed"
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
    let Some((sandbox, origin)) = go_mod_tidy("1.27") else {
        return;
    };
    let project = sandbox.join("project");
    let go = sandbox.go("1.27").expect("it was there");
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
            let mut modtape = sandbox.modtape(["replay", "one", "--strict", "--"]);
            modtape.arg(&go).args(command).env("GOFLAGS", flags);
            let replayed = run(modtape, LIMIT);
            let told = &replayed.stderr;
            assert!(replayed.status.success(), "{command:?} {flags}: {told}");
            assert!(told.contains(" 0 missing"), "{command:?} {flags}: {told}");
            let _ = fs::remove_dir_all(project.join("vendor"));
        }
    }
}
