//! What a recording holds, compared with those who have hashes of it.

mod lies;
mod repositories;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use modtape::recording::Recording;
use serde_json::Value;

use crate::formats::keys::{collect, documented, rare};
use crate::record::{record, recording};
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(180);

/// Records a cold `go mod tidy` of `hello`, without its go.sum, so that all is looked up.
fn tidied(sandbox: &Sandbox, origin: &Origin, go: &Path) -> Recording {
    sandbox
        .project_without_sums("hello")
        .expect("it was there before");
    let go = go.to_str().expect("paths of tests are text");
    let command = [go, "mod", "tidy"];
    run(
        record(sandbox, origin, &["--cold", "--no-har"], &command),
        LIMIT,
    )
    .expect_success();
    recording(sandbox, "one")
}

fn verify(sandbox: &Sandbox, flags: &[&str]) -> Output {
    run(sandbox.modtape([&["verify", "one"], flags].concat()), LIMIT)
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).expect("JSON")
}

#[test]
fn all_that_go_has_verified_is_ok_and_proved() {
    let sandbox = Sandbox::new();
    let (Some(content), Some(go)) = (Content::corpus("hello", Sumdb::Heads), sandbox.go("1.27"))
    else {
        return;
    };
    let origin = Origin::start(content);
    tidied(&sandbox, &origin, &go);
    drop(origin);
    // The session of README.
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("it is a part of the project");
    let session = readme
        .split("\n$ modtape verify ")
        .nth(1)
        .expect("a session");
    let mut lines = session.split("\n```").next().unwrap_or_default().lines();
    let flags: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let shown: String = lines.map(|line| format!("{line}\n")).collect();
    let output = verify(&sandbox, &flags).expect_success();
    assert_eq!((output.stdout, &*output.stderr), (shown, ""));
    verify(&sandbox, &["--sumdb", "--strict"]).expect_success();
    // An older go is recorded alike; it may have taken what is not so.
    let manifest = sandbox.join("project/recordings/one/recording.json");
    let text = fs::read_to_string(&manifest).expect("it is there");
    let older = text.replace("\"go1.27.3\"", "\"go1.26.5\"");
    assert_ne!(older, text);
    fs::write(&manifest, older).expect("our own file");
    let told = verify(&sandbox, &[]).expect_success().stderr;
    let expected = "warning: go1.26.5, with which this was recorded, takes some forged answers of a checksum database (CVE-";
    assert!(
        told.starts_with(expected) && told.lines().count() == 1,
        "{told}"
    );
    let verified = json(&verify(&sandbox, &["--json"]).expect_success());
    assert_eq!(
        [
            &verified["ok"],
            &verified["mismatch"],
            &verified["unverified"]
        ],
        [3, 0, 0]
    );
    let uuid = &verified["modules"][1];
    assert_eq!(uuid["module"], "github.com/google/uuid");
    assert_eq!(uuid["version"], "v1.3.1");
    for file in ["zip", "mod"] {
        assert_eq!(uuid[file]["status"], "ok");
        let names: Vec<_> = uuid[file]["sources"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|source| (&source["name"], source["h1"] == uuid[file]["h1"]))
            .collect();
        assert_eq!(
            names,
            [(&"main.sum".into(), true), (&"sum.golang.org".into(), true)]
        );
    }
    // As the page on formats says.
    let mut keys = BTreeSet::new();
    collect(&mut keys, "", &verified);
    let documented: BTreeSet<_> = documented("Verify").into_iter().collect();
    let unknown: Vec<_> = keys
        .difference(&documented)
        .filter(|key| **key != "faults")
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let gone = documented
        .difference(&keys)
        .filter(|key| !key.starts_with("faults[]"));
    assert_eq!(gone.collect::<Vec<_>>(), [""; 0]);
    assert!(rare("Verify").is_empty());
}

#[test]
fn a_go_sum_says_what_it_expects() {
    let sandbox = Sandbox::new();
    let (Some(content), Some(go)) = (Content::corpus("hello", Sumdb::Proxy), sandbox.go("1.27"))
    else {
        return;
    };
    let origin = Origin::start(content);
    tidied(&sandbox, &origin, &go);
    drop(origin);
    let sums = fs::read_to_string(sandbox.join("project/go.sum")).expect("go wrote it");
    let wrong = "h1:o7IhLm0Msx3BaB+n3Ag7L8EVlByGnpq14C4YWiu/gL8=";
    let is_uuid = |line: &str| line.starts_with("github.com/google/uuid v1.3.1 ");
    let right = sums.lines().find(|line| is_uuid(line)).expect("a line");
    let right = right.rsplit(' ').next().expect("a hash").to_owned();
    let other = sums.replace(&right, wrong);
    fs::write(sandbox.join("project/other.sum"), other).expect("our own folder");
    let output = verify(&sandbox, &["--go-sum", "other.sum"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "ok          2 modules (2 zips, 2 go.mod files): main.sum has 2; \
        other.sum has 2; sum.golang.org has 2, all proved\n\
        MISMATCH    zip of github.com/google/uuid v1.3.1\n            other.sum ";
    assert!(output.stdout.starts_with(expected), "{}", output.stdout);
    assert!(output.stdout.contains(wrong) && output.stdout.contains(&right));
    assert!(
        output.stderr.ends_with("error: 1 module differs\n"),
        "{}",
        output.stderr
    );
    for (name, text, code, told) in [
        ("gone.sum", None, 3, "cannot read gone.sum: "),
        (
            "merged.sum",
            Some("<<<<<<< HEAD\n"),
            3,
            "merged.sum, line 1: \"<<<<<<< HEAD\" is no line of a go.sum",
        ),
    ] {
        if let Some(text) = text {
            fs::write(sandbox.join("project").join(name), text).expect("our own folder");
        }
        let output = verify(&sandbox, &["--go-sum", name]);
        assert_eq!(output.status.code(), Some(code), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
}

#[test]
fn what_nothing_vouches_for_is_counted() {
    let sandbox = Sandbox::new();
    let (Some(content), Some(go)) = (Content::corpus("hello", Sumdb::Proxy), sandbox.go("1.27"))
    else {
        return;
    };
    let origin = Origin::start(content);
    let dir = tidied(&sandbox, &origin, &go).dir().to_owned();
    drop(origin);
    // As if a build without a go.mod had fetched it with GONOSUMDB.
    fs::remove_file(dir.join("main.sum")).expect("it was kept");
    let journal = fs::read_to_string(dir.join("journal.ndjson")).expect("text");
    let kept = journal.lines().filter(|line| !line.contains("/lookup/"));
    let kept: String = kept.map(|line| format!("{line}\n")).collect();
    fs::write(dir.join("journal.ndjson"), kept).expect("our own file");
    fs::remove_file(dir.join("index")).expect("our own file");
    let output = verify(&sandbox, &[]).expect_success();
    let told =
        "unverified  3 modules for which nothing vouches: github.com/BurntSushi/toml v1.3.2, ";
    assert!(output.stdout.starts_with(told), "{}", output.stdout);
    let strict = verify(&sandbox, &["--strict"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(
        strict
            .stderr
            .ends_with("error: nothing vouches for 3 modules\n"),
        "{}",
        strict.stderr
    );
}

/// Verifies the recording against a second proxy, which `origin` is.
fn against(sandbox: &Sandbox, origin: &Origin, url: &str) -> Output {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut verify = sandbox.modtape(["verify", "one", "--against", url]);
    verify.args(["--connect-to", &everywhere, "--upstream-ca"]);
    verify.arg(origin.root_pem_path());
    run(verify, LIMIT)
}

#[test]
fn a_second_proxy_is_asked_for_the_same_files() {
    let sandbox = Sandbox::new();
    let (Some(content), Some(go)) = (Content::corpus("hello", Sumdb::Proxy), sandbox.go("1.27"))
    else {
        return;
    };
    let origin = Origin::start(content.clone());
    tidied(&sandbox, &origin, &go);
    drop(origin);
    let zip = "/github.com/google/uuid/@v/v1.3.1.zip";
    let other = lies::uuid_zip(&[lies::GO_MOD, lies::GO]);
    let table = [
        (None, 0, "sum.golang.org has 3, all proved", ""),
        (
            Some(Rule::suffix(zip).status(200).body(other)),
            1,
            "MISMATCH    zip of github.com/google/uuid v1.3.1\n            main.sum, sum.golang.org #",
            "error: 1 module differs\n",
        ),
        (
            Some(Rule::suffix(zip).status(410).body("gone")),
            0,
            "goproxy.cn has 2; main.sum has 3",
            "goproxy.cn does not have 1 file\n",
        ),
        (
            Some(Rule::suffix(zip).status(403).body("not for you")),
            3,
            "goproxy.cn has 2; main.sum has 3",
            "error: goproxy.cn gave no usable answer for 1 file, first 403 Forbidden: not for you\n",
        ),
        (
            Some(Rule::suffix(zip).body("<html>")),
            3,
            "goproxy.cn has 2; main.sum has 3",
            "first zip github.com/google/uuid v1.3.1 from goproxy.cn (#",
        ),
    ];
    for (rule, code, table, told) in table {
        let origin = Origin::builder(content.clone());
        let origin = match rule {
            Some(rule) => origin.rule(rule).start(),
            None => origin.start(),
        };
        let output = against(&sandbox, &origin, "goproxy.cn");
        assert_eq!(output.status.code(), Some(code), "{table}: {output:?}");
        assert!(output.stdout.contains(table), "{table}: {output:?}");
        assert!(output.stderr.contains(told), "{table}: {output:?}");
        let mut paths = origin.paths();
        paths.sort();
        assert_eq!(paths.len(), 6, "{paths:?}");
        let has_line = |begin: &str| output.stdout.lines().any(|line| line.starts_with(begin));
        assert_eq!(
            has_line("            goproxy.cn  "),
            code == 1,
            "{output:?}"
        );
    }
    // Nobody is told of private modules, and nothing that is no proxy is asked.
    let manifest = sandbox.join("project/recordings/one/recording.json");
    let text = fs::read_to_string(&manifest).expect("it is there");
    let private = text.replace(
        "\"GOPRIVATE\": \"\"",
        "\"GOPRIVATE\": \"github.com/google\"",
    );
    assert_ne!(private, text);
    fs::write(&manifest, private).expect("our own file");
    let origin = Origin::start(content);
    let output = against(&sandbox, &origin, "https://goproxy.cn/").expect_success();
    let told = "goproxy.cn was not asked for 2 files of private modules\n";
    assert!(output.stderr.contains(told), "{output:?}");
    assert!(!origin.paths().iter().any(|path| path.contains("google")));
    for (url, why) in [
        ("direct", "takes a URL, not direct"),
        (
            "https://a.b,https://c.d",
            "takes the URL of one module proxy",
        ),
        ("file:///srv", "takes an https or http URL"),
        (
            "http://user:secret@a.b",
            "credentials are not sent without TLS",
        ),
    ] {
        let output = against(&sandbox, &origin, url);
        assert_eq!(output.status.code(), Some(2), "{url}: {output:?}");
        assert!(output.stderr.contains(why), "{url}: {output:?}");
    }
    let output = verify(&sandbox, &["--connect-to", "::127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        output
            .stderr
            .contains("--connect-to has no effect without --against"),
        "{output:?}"
    );
}
