//! What the command finds: its own streams, an environment changed in exactly the promised places, a
//! bundle that is Go's roots and ours, and nothing left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use modtape::recording::Recording;
use modtape::recording::reader::Status;
use modtape::tls::{RootSources, Roots};
use serde_json::Value;

use super::support::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn record(sandbox: &Sandbox, flags: &[&str], script: &str) -> Command {
    let mut modtape = sandbox.modtape(["record", "-o", "one"]);
    modtape.args(flags).args(["--", "sh", "-c", script]);
    modtape
}

type Variables = BTreeMap<String, String>;

/// What `env -0` printed; `_` is the shell's own.
fn parsed(dump: &str) -> Variables {
    let pairs = dump.split_terminator('\0');
    let pairs = pairs.map(|pair| pair.split_once('=').expect("NAME=VALUE"));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.filter(|(name, _)| name != "_").collect()
}

/// The environment without modtape, and with it.
fn both(sandbox: &Sandbox, flags: &[&str], given: &[(&str, &str)]) -> (Variables, Variables) {
    let mut shell = sandbox.command("sh");
    shell.args(["-c", "env -0"]).envs(given.iter().copied());
    let before = run(shell, LIMIT).expect_success();
    let mut modtape = record(sandbox, flags, "env -0");
    modtape.envs(given.iter().copied());
    let after = run(modtape, LIMIT).expect_success();
    (parsed(&before.stdout), parsed(&after.stdout))
}

fn changed(before: &Variables, after: &Variables) -> BTreeSet<String> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
    let is_changed = |name: &String| before.get(name) != after.get(name);
    names.into_iter().filter(is_changed).collect()
}

#[test]
fn the_environment_is_changed_in_the_promised_places_only() {
    let sandbox = Sandbox::new();
    let given = [
        ("NO_PROXY", "golang.org"),
        ("ALL_PROXY", "http://127.0.0.1:9"),
        ("all_proxy", "http://127.0.0.1:9"),
        ("SSL_CERT_DIR", "/nowhere"),
        ("ODD", "a\nb = 'c'"),
    ];
    let (before, after) = both(&sandbox, &[], &given);
    let expected = [
        "ALL_PROXY",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "MODTAPE_NAME",
        "MODTAPE_PID",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "TRACEPARENT",
        "all_proxy",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];
    assert_eq!(changed(&before, &after), expected.map(String::from).into());
    let proxy = &after["HTTPS_PROXY"];
    assert!(proxy.starts_with("http://127.0.0.1:"), "{proxy}");
    for name in ["https_proxy", "HTTP_PROXY", "http_proxy"] {
        assert_eq!(&after[name], proxy, "{name}");
    }
    for name in ["NO_PROXY", "no_proxy"] {
        assert_eq!(after[name], "localhost,127.0.0.1,::1", "{name}");
    }
    for name in ["GIT_SSL_CAINFO", "CURL_CA_BUNDLE"] {
        assert_eq!(after[name], after["SSL_CERT_FILE"], "{name}");
    }
    assert!(Path::new(&after["SSL_CERT_FILE"]).is_absolute());
    assert_eq!(after["MODTAPE_NAME"], "one");
    assert!(after["MODTAPE_PID"].parse::<u32>().is_ok());
    assert!(!after.contains_key("ALL_PROXY") && !after.contains_key("all_proxy"));
}

#[test]
fn cold_changes_gopath_and_module_cache_and_keeps_where_programs_go() {
    let sandbox = Sandbox::new();
    let given = [("GOBIN", "/opt/programs")];
    let (before, after) = both(&sandbox, &["--cold"], &given);
    let changed = changed(&before, &after);
    let go: Vec<_> = changed
        .iter()
        .filter(|name| name.starts_with("GO"))
        .collect();
    assert_eq!(go, ["GOMODCACHE", "GOPATH"]);
    let gopath = Path::new(&after["GOPATH"]);
    assert!(gopath.starts_with(sandbox.join("tmp")), "{gopath:?}");
    assert!(Path::new(&after["GOMODCACHE"]).starts_with(gopath));
    assert_eq!(after["GOBIN"], "/opt/programs");
}

#[test]
fn a_private_gopath_goes_although_the_go_command_left_it_read_only() {
    let sandbox = Sandbox::new();
    let module = r#"mkdir -p "$GOMODCACHE/m@v1/sub" && echo x >"$GOMODCACHE/m@v1/sub/go.mod" \
        && chmod -R a-w "$GOMODCACHE" && test -d "$TMPDIR"/modtape-*/gopath/pkg/mod/m@v1"#;
    run(record(&sandbox, &["--cold"], module), LIMIT).expect_success();
    let left = fs::read_dir(sandbox.join("tmp")).expect("the folder is there");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_relative_folder_for_temporary_files_becomes_an_absolute_gopath() {
    let sandbox = Sandbox::new();
    let mut modtape = record(
        &sandbox,
        &["--cold"],
        r#"cd / && test -d "${GOPATH%/*}" && test -f "$SSL_CERT_FILE""#,
    );
    modtape.env("TMPDIR", "tmp").env_remove("XDG_RUNTIME_DIR");
    run(modtape, LIMIT).expect_success();
}

#[test]
fn the_bundle_is_the_set_that_go_would_have_and_our_root() {
    let sandbox = Sandbox::new();
    let origin = Origin::start(Content::default());
    let script = r#"cat "$SSL_CERT_FILE""#;
    let system = Roots::load(&RootSources::default()).expect("the system's roots can be read");
    let count = |pem: &str| pem.matches("-----BEGIN CERTIFICATE-----").count();
    let output = run(record(&sandbox, &[], script), LIMIT).expect_success();
    assert_eq!(count(&output.stdout), system.certificates().len() + 1);

    let own = origin.root_pem_path().to_str().expect("it is text");
    let flags = ["--force", "--upstream-ca", own];
    let output = run(record(&sandbox, &flags, script), LIMIT).expect_success();
    assert_eq!(count(&output.stdout), system.certificates().len() + 2);

    // SSL_CERT_FILE replaces the system's bundle, and SSL_CERT_DIR its folders.
    let mut modtape = record(&sandbox, &["--force"], script);
    modtape
        .env("SSL_CERT_FILE", own)
        .env("SSL_CERT_DIR", "/nowhere");
    let output = run(modtape, LIMIT).expect_success();
    assert_eq!(count(&output.stdout), 2);
}

#[test]
fn the_bundle_is_private_and_gone_at_the_end() {
    let sandbox = Sandbox::new();
    let script = r#"stat -c %a "$SSL_CERT_FILE" "${SSL_CERT_FILE%/*}" "$XDG_RUNTIME_DIR/modtape" \
        "$XDG_RUNTIME_DIR/modtape/$MODTAPE_PID.json" && echo "$SSL_CERT_FILE""#;
    let output = run(record(&sandbox, &[], script), LIMIT).expect_success();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert_eq!(lines[..4], ["600", "700", "700", "600"]);
    assert!(Path::new(lines[4]).starts_with(sandbox.join("run/modtape")));
    let left = fs::read_dir(sandbox.join("run/modtape")).expect("the folder is there");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_runtime_folder_that_cannot_be_used_is_not_needed() {
    let sandbox = Sandbox::new();
    for folder in ["/does/not/exist", "relative", ""] {
        let mut modtape = record(&sandbox, &["--force"], r#"test -f "$SSL_CERT_FILE""#);
        modtape.env("XDG_RUNTIME_DIR", folder);
        let output = run(modtape, LIMIT).expect_success();
        assert!(!output.stderr.contains("warning"), "{}", output.stderr);
    }
}

/// Every path below `folder` that others may read.
fn readable_by_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("it can be listed").flatten() {
            let metadata = entry.metadata().expect("it is there");
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
            if metadata.mode() & 0o777 != wanted {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

/// An origin with a body that is kept in a file of its own.
fn origin() -> Origin {
    let origin = Origin::start(Content::default());
    origin.add_rule(Rule::suffix("zip").generated(200_000));
    origin
}

const ZIP: &str = "https://proxy.golang.org/m/@v/v1.0.0.zip";

fn fetched(sandbox: &Sandbox, flags: &[&str], given: &[(&str, &str)]) -> Output {
    let modtape = tested();
    let modtape = modtape.to_str().expect("paths of tests are text");
    let fetch = [modtape, "fetch", ZIP];
    let origin = origin();
    let mut modtape = super::record::record(sandbox, &origin, flags, &fetch);
    modtape.envs(given.iter().copied());
    run(modtape, LIMIT).expect_success()
}

#[test]
fn a_recording_is_its_owners_alone() {
    let sandbox = Sandbox::new();
    let during = format!(
        "'{}' fetch {ZIP} && find recordings/one -printf '%m %P\\n'",
        tested().display()
    );
    let command = ["sh", "-c", &during];
    let origin = origin();
    let modtape = super::record::record(&sandbox, &origin, &[], &command);
    let output = run(modtape, LIMIT).expect_success();
    let loose = |line: &&str| !line.starts_with("600 ") && !line.starts_with("700 ");
    assert_eq!(output.stdout.lines().find(loose), None, "{}", output.stdout);
    assert!(output.stdout.contains("600 bodies/"), "{}", output.stdout);

    let recordings = sandbox.join("recordings");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!(
        (mode(&recordings), mode(&recordings.join("one"))),
        (0o700, 0o700)
    );
    assert_eq!(readable_by_others(&recordings.join("one")), [""; 0]);
    let ignored = fs::read_to_string(recordings.join(".gitignore"));
    assert_eq!(ignored.expect("we made the folder"), "*\n");
}

#[test]
fn a_folder_of_recordings_that_was_there_is_left_as_it_was() {
    let sandbox = Sandbox::new();
    let recordings = sandbox.join("recordings");
    fs::create_dir(&recordings).expect("a folder");
    fs::set_permissions(&recordings, fs::Permissions::from_mode(0o755)).expect("our own");
    run(record(&sandbox, &[], "true"), LIMIT).expect_success();
    assert!(!recordings.join(".gitignore").exists());
    assert_eq!(
        fs::metadata(&recordings).expect("it is there").mode() & 0o777,
        0o755
    );
}

#[test]
fn a_trace_is_continued_everywhere() {
    let sandbox = Sandbox::new();
    let flags = ["--log-file", "log", "--log-format", "json"];
    let output = fetched(&sandbox, &flags, &[("TRACEPARENT", TRACEPARENT)]);
    let recording = Recording::open(&sandbox.join("recordings/one")).expect("it opens");
    assert_eq!(recording.status(), Status::Closed, "{}", output.stderr);
    assert_eq!(recording.runs()[0].trace.to_string(), TRACE);
    assert_eq!(recording.manifest().trace.to_string(), TRACE);
    let row = &recording.rows()[0];
    let exchange = recording.exchange(row).expect("it can be read");
    let span = exchange.begin.span;

    let har = fs::read(sandbox.join("recordings/one/session.har")).expect("there is a HAR");
    let har: Value = serde_json::from_slice(&har).expect("it is JSON");
    let entry = &har["log"]["entries"][0]["_traceparent"];
    assert_eq!(*entry, format!("00-{TRACE}-{span}-01"));

    let log = fs::read_to_string(sandbox.join("log")).expect("there is a log");
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    let is_told = |line: &&Value| line["trace_id"] == TRACE && line["span_id"] == span.to_string();
    assert!(lines.iter().any(|line| is_told(&line)), "{log}");
}

#[test]
fn the_command_gets_the_trace_with_a_span_of_ours() {
    let sandbox = Sandbox::new();
    let (_, after) = both(&sandbox, &[], &[("TRACEPARENT", TRACEPARENT)]);
    let parts: Vec<_> = after["TRACEPARENT"].split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        panic!("{parts:?}");
    };
    assert_eq!((version, trace, flags), ("00", TRACE, "01"));
    assert_ne!(span, "b7ad6b7169203331");
    let (_, after) = both(&sandbox, &["--force"], &[("TRACEPARENT", "nonsense")]);
    assert_eq!(after["TRACEPARENT"].len(), TRACEPARENT.len());
}

#[test]
fn standard_streams_are_the_commands_own() {
    let sandbox = Sandbox::new();
    let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(1_000_003).collect();
    fs::write(sandbox.join("in"), &bytes).expect("a file");
    let mut modtape = sandbox.modtape(["-q", "record", "--", "sh", "-c", "tee /dev/stderr"]);
    modtape.stdin(File::open(sandbox.join("in")).expect("it is there"));
    modtape.stdout(File::create(sandbox.join("out")).expect("a file"));
    modtape.stderr(Stdio::from(
        File::create(sandbox.join("err")).expect("a file"),
    ));
    let status = modtape.status().expect("it runs");
    assert!(status.success(), "{status}");
    for name in ["out", "err"] {
        let copied = fs::read(sandbox.join(name)).expect("it is there");
        assert!(copied == bytes, "{name}: {} bytes", copied.len());
    }
}

#[test]
fn a_real_go_command_trusts_the_bundle() {
    for release in ["1.19", "1.27"] {
        let sandbox = Sandbox::new();
        let (Some(go), Some(_)) = (sandbox.go(release), sandbox.project("hello")) else {
            continue;
        };
        let content = Content::corpus("hello", Sumdb::Heads).expect("the project was there");
        let origin = Origin::start(content);
        let download = [go.to_str().expect("it is text"), "mod", "download"];
        let modtape = super::record::record(&sandbox, &origin, &["--cold"], &download);
        run(modtape, LIMIT).expect_success();
        assert!(!origin.requests().is_empty());
        assert_eq!(origin.tls_failures().len(), 0);
    }
}
