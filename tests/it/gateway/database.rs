//! The checksum database through a gateway: at a URL of its own, and where no entry relays it.

use std::fs;

use super::clients::Asking;
use super::*;
use crate::record::recording;

/// The database's key, under which go knows it.
const KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
const MIRROR: &str = "https://sum.golang.google.cn";

#[test]
fn a_database_with_a_url_of_its_own_is_asked_there_and_on_record() {
    let expected = Sandbox::new();
    if expected.project("hello").is_none() {
        return;
    }
    let sums = |sandbox: &Sandbox| fs::read_to_string(sandbox.join("project/go.sum"));
    let expected = sums(&expected).expect("there is a go.sum");
    for (release, gosumdb) in [
        ("1.27", "sum.golang.google.cn".to_owned()),
        ("1.21", format!("sum.golang.org {MIRROR}")),
        ("1.24", format!("{KEY} {MIRROR}/")),
    ] {
        let Some((sandbox, go)) = hello(release) else {
            continue;
        };
        let content = Content::corpus("hello", Sumdb::Heads).expect("the project is there");
        let origin = Origin::start(content.supported_is_404());
        let script = "echo \"$GOSUMDB\"; \"$MODTAPE\" env GOSUMDB --host docker.example:81; \
            exec \"$GO\" mod tidy";
        let mut tidy = record(&sandbox, &origin, &["sh", "-c", script]);
        tidy.env("GOSUMDB", &gosumdb)
            .env("GOPROXY", "https://proxy.golang.org");
        tidy.env("GO", &go).env("MODTAPE", tested());
        let output = run(tidy, GO_LIMIT).expect_success();
        let shown: Vec<_> = output.stdout.lines().collect();
        let is_own = |line: &str, address: &str| {
            line.starts_with(&format!("{KEY} http://{address}")) && line.ends_with("/p1")
        };
        assert!(is_own(shown[0], "127.0.0.1:"), "{shown:?}");
        assert!(is_own(shown[1], "docker.example:81/"), "{shown:?}");
        assert!(!output.stderr.contains("does not see"), "{}", output.stderr);
        assert_eq!(
            sums(&sandbox).expect("it was written"),
            expected,
            "{gosumdb}"
        );
        let recording = recording(&sandbox, "one");
        let asked = asked(&recording);
        assert_eq!(sorted(asked.clone()), sorted(served(&origin)), "{gosumdb}");
        let lookups = asked.iter().filter(|(url, _)| url.contains("/lookup/"));
        let lookups: Vec<_> = lookups.collect();
        let at_mirror = format!("{MIRROR}/lookup/");
        assert!(!lookups.is_empty());
        assert!(
            lookups.iter().all(|(url, _)| url.starts_with(&at_mirror)),
            "{lookups:?}"
        );
        assert!(!asked.iter().any(|(url, _)| url.ends_with("/supported")));
        drop(origin);
        for mode in ["gateway", "mitm"] {
            fs::write(sandbox.join("project/go.sum"), "").expect("our own folder");
            let mut replay = sandbox.modtape(["replay", "one", "--strict", "--mode", mode, "--"]);
            replay.arg(&go).args(["mod", "tidy"]);
            let output = run(replay, GO_LIMIT).expect_success();
            assert!(
                output.stderr.contains(" 0 missing"),
                "{mode}: {}",
                output.stderr
            );
            assert_eq!(sums(&sandbox).expect("it was written"), expected, "{mode}");
        }
    }
}

#[test]
fn an_error_of_one_entry_counts_for_the_client_that_got_it() {
    const SUPPORTED: &str = "sumdb/sum.golang.org/supported";
    let of_first = || Rule::host("a.example");
    let origin = Origin::builder(Content::default())
        .rule(of_first().times(1).status(500).body("broken\n"))
        .rule(Rule::any().status(404).body("not here\n"))
        .start();
    let gateway = Asking::start(&origin, |record| {
        record.env("GOPROXY", "https://a.example|https://b.example");
        record.env("GOSUMDB", "sum.golang.org");
    });
    let (mut one, mut other) = (gateway.client(), gateway.client());
    let paths = [format!("/p0/{SUPPORTED}"), format!("/p1/{SUPPORTED}")];
    let statuses = |client: &mut super::clients::Asked| {
        let answers = paths.each_ref().map(|path| client.get(path));
        answers.map(|(status, _)| status)
    };
    // As go has it: after an error, the 404 of the last entry is the error of the whole list.
    assert_eq!(statuses(&mut one), [500, 404]);
    assert_eq!(statuses(&mut other), [404, 200]);
    assert_eq!(statuses(&mut one), [404, 200]);
    drop((one, other));
    gateway.end();
}
