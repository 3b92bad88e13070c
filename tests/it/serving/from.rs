//! A recording, and a tree of files, in the place of every upstream; and what went upstream as a recording.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// A guard, no judgement.
const LIMIT: Duration = Duration::from_secs(180);

const TOML: &str = "/github.com/!burnt!sushi/toml";

/// What a go command has fetched from what stands in for the internet, on record as `one`.
struct Fetched {
    sandbox: Sandbox,
    origin: Origin,
    go: PathBuf,
    project: PathBuf,
    sums: String,
}

impl Fetched {
    /// A cold `go mod tidy` without sums; `None` where something is not here.
    fn new() -> Option<Self> {
        let sandbox = Sandbox::new();
        let go = sandbox.go("1.27")?;
        let project = sandbox.project("hello")?;
        let sums = fs::read_to_string(project.join("go.sum")).expect("there is a go.sum");
        fs::write(project.join("go.sum"), "").expect("our own folder");
        let origin = Origin::start(Content::corpus("hello", Sumdb::Heads)?);
        let fetched = Self {
            sandbox,
            origin,
            go,
            project,
            sums,
        };
        let mut record = fetched.modtape(&["record", "-o", "one", "--no-har"]);
        record.arg("--").arg(&fetched.go).args(["mod", "tidy"]);
        run(record, LIMIT).expect_success();
        Some(fetched)
    }

    /// A modtape whose internet is the origin.
    fn modtape(&self, words: &[&str]) -> std::process::Command {
        let everywhere = format!("::127.0.0.1:{}", self.origin.addr().port());
        let mut command = self.sandbox.modtape(words.iter().copied());
        command
            .args(["--connect-to", &everywhere])
            .arg("--upstream-ca");
        command.arg(self.origin.root_pem_path());
        command
    }

    /// `go mod tidy` and `go mod verify` from what `--from` names, without sums and modules.
    fn tidy_from(&self, from: &str) -> Output {
        let run_from = |words: &[&str]| {
            self.sandbox.forget_modules();
            let mut serve = self.sandbox.modtape(["serve", "--from", from, "--"]);
            serve.arg(&self.go).args(words);
            run(serve, LIMIT).expect_success()
        };
        fs::write(self.project.join("go.sum"), "").expect("our own folder");
        let output = run_from(&["mod", "tidy"]);
        let sums = fs::read_to_string(self.project.join("go.sum")).expect("there is a go.sum");
        assert_eq!(sums, self.sums, "{from}: {}", output.stderr);
        run_from(&["mod", "download"]);
        output
    }
}

#[test]
fn a_sealed_recording_serves_a_team() {
    let Some(fetched) = Fetched::new() else {
        return;
    };
    run(fetched.modtape(&["seal", "one"]), LIMIT).expect_success();
    let served = fetched.origin.requests().len();
    let output = fetched.tidy_from("one");
    assert!(
        output.stderr.contains(" 0 missing, 0 went to the network"),
        "{}",
        output.stderr
    );
    assert!(
        !output.stderr.contains("is not sealed"),
        "{}",
        output.stderr
    );
    let mut serve = fetched.sandbox.modtape(["serve", "--from", "one"]);
    serve.args(["--listen", "127.0.0.1:0"]);
    let serving = Serving::told(Spawned::start(serve));
    for _ in 0..5 {
        // That a version is missing is no reason to leave the recording alone.
        let absent = serving.get(&format!("{TOML}/@v/v1.3.1.zip"));
        assert_eq!(absent.status, 504, "{absent:?}");
        assert!(absent.text().contains("one"), "{}", absent.text());
    }
    let list = serving.get(&format!("{TOML}/@v/list"));
    assert_eq!((list.status, &*list.text()), (200, "v1.3.2\n"));
    // As a replay says of what is beside a module that it knows.
    let unknown = serving.get("/github.com/!burnt!sushi/@v/list");
    assert_eq!(unknown.status, 404, "{unknown:?}");
    for kind in ["info", "mod", "zip"] {
        let file = serving.get(&format!("{TOML}/@v/v1.3.2.{kind}"));
        assert_eq!((file.status, file.is_whole), (200, true), "{file:?}");
    }
    let end = serving.end();
    let told = "missing: zip github.com/BurntSushi/toml v1.3.1, asked 5 times";
    assert!(end.stderr.contains(told), "{}", end.stderr);
    assert_eq!(fetched.origin.requests().len(), served, "nobody is asked");
}

#[test]
fn a_recording_that_is_not_sealed_serves_what_it_has_and_says_so() {
    let Some(fetched) = Fetched::new() else {
        return;
    };
    let mut serve = fetched
        .sandbox
        .modtape(["serve", "--from", "one", "--", "true"]);
    serve.stdin(std::process::Stdio::null());
    let output = run(serve, LIMIT).expect_success();
    assert!(output.stderr.contains("is not sealed"), "{}", output.stderr);
}

#[test]
fn a_tree_and_a_module_cache_serve_a_team() {
    let Some(fetched) = Fetched::new() else {
        return;
    };
    run(fetched.modtape(&["seal", "one"]), LIMIT).expect_success();
    let export = ["export", "goproxy", "one", "-o", "tree"];
    run(fetched.sandbox.modtape(export), LIMIT).expect_success();
    // What one go command has fetched, and verified.
    fetched.sandbox.forget_modules();
    let mut serve = fetched.modtape(&["serve", "--store", "../store"]);
    serve.arg("--").arg(&fetched.go).args(["mod", "tidy"]);
    fs::write(fetched.project.join("go.sum"), "").expect("our own folder");
    run(serve, LIMIT).expect_success();
    fs::rename(
        fetched.sandbox.join("modcache"),
        fetched.sandbox.join("fetched"),
    )
    .expect("it is ours");
    fs::create_dir(fetched.sandbox.join("modcache")).expect("our own folder");
    let served = fetched.origin.requests().len();
    for tree in ["tree", "../fetched", "../fetched/cache/download"] {
        fetched.tidy_from(tree);
    }
    assert_eq!(fetched.origin.requests().len(), served, "nobody is asked");
    let mut serve = fetched.sandbox.modtape(["serve", "--from", "tree"]);
    serve.args(["--listen", "127.0.0.1:0"]);
    let serving = Serving::told(Spawned::start(serve));
    let absent = serving.get(&format!("{TOML}/@v/v1.3.1.zip"));
    assert_eq!(absent.status, 404, "{absent:?}");
    // What is not what the checksum database knows is refused, whoever wrote it.
    let zip = fetched
        .project
        .join("tree")
        .join(&TOML[1..])
        .join("@v/v1.3.2.zip");
    let mut damaged = fs::read(&zip).expect("it is there");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::remove_file(&zip).expect("our own folder");
    fs::write(&zip, damaged).expect("our own folder");
    let answer = serving.get(&format!("{TOML}/@v/v1.3.2.zip"));
    assert!(answer.status == 502 || !answer.is_whole, "{answer:?}");
    serving.end();
}

#[test]
fn what_is_neither_is_refused_by_name() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.join("empty")).expect("our own folder");
    for (from, told) in [
        (
            "empty",
            "empty is neither a recording nor the tree of a module proxy",
        ),
        ("none", "there is no recording none"),
        ("./none", "there is no folder ./none"),
    ] {
        let output = run(
            sandbox.modtape(["serve", "--from", from, "--", "true"]),
            LIMIT,
        );
        assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
}

#[test]
fn what_goes_upstream_is_an_ordinary_recording() {
    let sandbox = Sandbox::new();
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let slow = Rule::suffix(".zip").delay(Duration::from_millis(700));
    let origin = Origin::builder(content).rule(slow).start();
    let flags = ["--record", "upstream", "--no-ahead"];
    let serving = Serving::start(&sandbox, &origin, "https://proxy.golang.org", &flags);
    for _ in 0..2 {
        let zip = serving.get(&format!("{TOML}/@v/v1.3.2.zip"));
        assert_eq!((zip.status, zip.is_whole), (200, true), "{zip:?}");
    }
    let end = serving.end();
    let told = "upstream on record: `modtape report upstream`";
    assert!(end.stderr.contains(told), "{}", end.stderr);
    let of_recording = |words: &[&str]| {
        let mut command = sandbox.modtape(words.iter().copied());
        command.current_dir(sandbox.path());
        run(command, LIMIT).expect_success().stdout
    };
    let info: serde_json::Value =
        serde_json::from_str(&of_recording(&["recordings", "info", "upstream", "--json"]))
            .expect("one object");
    assert_eq!(info["status"], "closed", "{info}");
    let listed = of_recording(&["ls", "upstream"]);
    let zips = listed
        .lines()
        .filter(|line| line.contains(".zip") || line.contains("zip"));
    assert_eq!(zips.count(), 1, "{listed}");
    let report = of_recording(&["report", "upstream"]);
    assert!(report.contains("proxy.golang.org"), "{report}");
    assert!(asked(&origin, &format!("{TOML}/@v/v1.3.2.zip")) == 1);
}

#[test]
fn a_recording_of_that_name_is_not_replaced() {
    let sandbox = Sandbox::new();
    let origin = Origin::start(Content::default());
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let serve = || {
        let words = [
            "serve",
            "--store",
            "store",
            "--record",
            "./kept",
            "--connect-to",
        ];
        let mut command = sandbox.modtape(words);
        command.args([&everywhere, "--", "sh", "-c", "exit 3"]);
        run(command, LIMIT)
    };
    assert_eq!(serve().status.code(), Some(3));
    let again = serve();
    assert_eq!(again.status.code(), Some(125), "{}", again.stderr);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
}

#[test]
fn a_disk_that_is_full_ends_the_recording_and_not_the_service() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let mut probe = program("unshare");
    let probe = probe.args(["-rm", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return skipped("no mount namespaces here");
    }
    let (sandbox, origin) = (Sandbox::new(), Origin::start(content));
    fs::create_dir(sandbox.join("small")).expect("our own folder");
    let flags = ["--no-ahead", "--record", "./small/upstream"];
    let plain = Serving::command(&sandbox, &origin, "https://proxy.golang.org", &flags);
    let mut command = program("unshare");
    // As much as a recording begins with, and a part of the zip.
    let mount = "mount -t tmpfs -o size=300k tmpfs small && exec \"$@\"";
    command.args(["-rm", "sh", "-c", mount, "sh"]);
    command.arg(plain.get_program()).args(plain.get_args());
    let set = plain.get_envs();
    command.envs(set.filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(sandbox.path());
    let serving = Serving::told(Spawned::start(command));
    for _ in 0..2 {
        let zip = serving.get(&format!("{TOML}/@v/v1.3.2.zip"));
        assert_eq!((zip.status, zip.is_whole), (200, true), "{zip:?}");
    }
    let told = "no longer all on record, and clients are served on: ";
    serving.modtape.wait_for_stderr(told);
    let list = serving.get(&format!("{TOML}/@v/list"));
    assert_eq!(list.status, 200, "{list:?}");
    serving.end();
}
