//! `modtape diff`: what differs between two recordings, as a user sees it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use rawzip::CompressionMethod;
use serde_json::Value;

use crate::contents::ask;
use crate::record::record;
use crate::support::*;

const LIMIT: Duration = Duration::from_secs(60);

const PROXY: &str = "proxy.golang.org";
const OTHER: &str = "goproxy.cn";
const SUMDB: &str = "sum.golang.org";
const LOOKUP: &str = "/lookup/example.com/m@v1.0.0";

/// Records a client that asks for these as `name`.
fn made(sandbox: &Sandbox, name: &str, origin: &Origin, urls: &[&str]) {
    let modtape = tested().to_string_lossy().into_owned();
    let command: Vec<&str> = [&modtape[..], "fetch"]
        .into_iter()
        .chain(urls.iter().copied())
        .collect();
    let output = run(
        record(sandbox, origin, &["--pcap", "none", "--no-har"], &command),
        LIMIT,
    );
    assert!(output.stderr.contains("recording: "), "{}", output.stderr);
    let folder = sandbox.join("recordings");
    fs::rename(folder.join("one"), folder.join(name)).expect("our own folder");
}

/// What `diff` prints, and its exit code.
fn diff(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, String) {
    let args = ["diff", "a", "b"].into_iter().chain(args.iter().copied());
    let output = run(sandbox.modtape(args), LIMIT);
    assert_eq!(output.stderr, "");
    (output.status.code(), output.stdout)
}

fn json(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, Value) {
    let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
    let (code, text) = diff(sandbox, &args);
    (code, serde_json::from_str(&text).expect("JSON"))
}

fn url(host: &str, path: &str) -> String {
    format!("https://{host}/example.com/m/{path}")
}

/// A zip of the module with these files.
fn module_zip(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let named: Vec<(String, &[u8])> = files
        .iter()
        .map(|(name, content)| (format!("example.com/m@v1.0.0/{name}"), *content))
        .collect();
    let named: Vec<(&str, &[u8])> = named
        .iter()
        .map(|(name, content)| (&name[..], *content))
        .collect();
    zip(&named, method)
}

fn lookup(sum: &str, size: u64, root: char) -> String {
    // 32 bytes in base64.
    let root = format!("{}=", root.to_string().repeat(42) + "A");
    format!(
        "7\nexample.com/m v1.0.0 h1:{sum}\nexample.com/m v1.0.0/go.mod h1:m=\n\n\
         go.sum database tree\n{size}\n{root}\n\n\u{2014} {SUMDB} signature\n"
    )
}

/// What a module proxy and the checksum database serve.
struct Served {
    proxy: &'static str,
    list: &'static str,
    info: &'static str,
    go_mod: &'static str,
    zip: Vec<u8>,
    lookup: String,
}

const FILES: [(&str, &[u8]); 3] = [
    ("go.mod", b"module example.com/m\n"),
    ("gone.go", b"package m\n"),
    ("m.go", b"package m // one\n"),
];

impl Served {
    fn first() -> Self {
        Self {
            proxy: PROXY,
            list: "v1.0.0\nv1.1.0\n",
            info: r#"{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}"#,
            go_mod: "module example.com/m\n\ngo 1.20\n",
            zip: module_zip(&FILES, CompressionMethod::DEFLATE),
            lookup: lookup("x=", 300, 'B'),
        }
    }

    fn content(self) -> Content {
        let file = |path| format!("/example.com/m/@v/{path}");
        let (proxy, text) = (self.proxy, "text/plain");
        Content::default()
            .and_file(proxy, &file("list"), 200, text, self.list)
            .and_file(proxy, &file("v1.0.0.info"), 200, text, self.info)
            .and_file(proxy, &file("v1.0.0.mod"), 200, text, self.go_mod)
            .and_file(proxy, &file("v1.0.0.zip"), 200, text, self.zip)
            .and_file(SUMDB, LOOKUP, 200, text, self.lookup)
    }

    fn record(self, sandbox: &Sandbox, name: &str) {
        let proxy = self.proxy;
        let urls = ["list", "v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip"];
        let mut urls: Vec<String> = urls
            .iter()
            .map(|path| url(proxy, &format!("@v/{path}")))
            .collect();
        urls.push(format!("https://{SUMDB}{LOOKUP}"));
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        made(sandbox, name, &Origin::start(self.content()), &urls);
    }
}

/// The lines of the text under a heading.
fn under<'t>(text: &'t str, heading: &str) -> Vec<&'t str> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with(heading));
    assert!(lines.next().is_some(), "no {heading:?} in\n{text}");
    lines
        .take_while(|line| !line.is_empty())
        .map(str::trim)
        .collect()
}

#[test]
fn the_same_content_from_another_host_is_the_same() {
    let sandbox = Sandbox::new();
    Served::first().record(&sandbox, "a");
    let second = Served {
        proxy: OTHER,
        list: "v1.1.0\nv1.0.0 2024-01-02T03:04:05Z\n",
        info: r#"{"Time":"2024-01-02T03:04:05Z","Origin":{"VCS":"git"},"Version":"v1.0.0"}"#,
        zip: module_zip(&FILES, CompressionMethod::STORE),
        lookup: lookup("x=", 400, 'C'),
        ..Served::first()
    };
    second.record(&sandbox, "b");
    let (code, text) = diff(&sandbox, &[]);
    eprintln!("{text}");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(under(&text, "the content is the same: 5 answers"), [""; 0]);
    assert_eq!(
        under(&text, "the same content from another host"),
        ["proxy.golang.org → goproxy.cn: 4 answers, the first list example.com/m"]
    );
    assert_eq!(under(&text, "tree heads"), ["sum.golang.org  300 → 400"]);
    let rewritten = under(&text, "the same in other bytes");
    for part in [
        "+Origin.VCS git",
        "packed in another way: the files are the same",
    ] {
        assert!(rewritten.contains(&part), "{text}");
    }
    let (code, found) = json(&sandbox, &[]);
    assert_eq!(
        (code, &found["content"]["changes"]),
        (Some(0), &Value::Array(Vec::new()))
    );
}

#[test]
fn what_changed_inside_an_answer_is_named() {
    let sandbox = Sandbox::new();
    Served::first().record(&sandbox, "a");
    let files: [(&str, &[u8]); 3] = [
        ("evil.go", b"package m // new\n"),
        ("go.mod", b"module example.com/m\n"),
        ("m.go", b"package m // two\n"),
    ];
    let second = Served {
        list: "v1.0.0\nv1.2.0\n",
        info: r#"{"Version":"v1.0.0","Time":"2025-01-02T03:04:05Z"}"#,
        go_mod: "module example.com/m\n\ngo 1.21\n",
        zip: module_zip(&files, CompressionMethod::DEFLATE),
        lookup: lookup("y=", 300, 'B'),
        ..Served::first()
    };
    second.record(&sandbox, "b");
    let (code, text) = diff(&sandbox, &["--what", "content"]);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(
        under(&text, "the content differs: 5 answers"),
        [
            "list example.com/m  #1 200 proxy.golang.org",
            "-v1.1.0",
            "+v1.2.0",
            "info example.com/m v1.0.0  #2 200 proxy.golang.org",
            "-Time 2024-01-02T03:04:05Z",
            "+Time 2025-01-02T03:04:05Z",
            "mod example.com/m v1.0.0  #3 200 proxy.golang.org",
            "",
            "-go 1.20",
            "+go 1.21",
            "zip example.com/m v1.0.0  #4 200 proxy.golang.org",
            "+ evil.go (17 B)",
            "- gone.go (10 B)",
            "~ m.go (17 B)",
            "lookup example.com/m@v1.0.0  #5 200 sum.golang.org",
            "7",
            "-example.com/m v1.0.0 h1:x=",
            "+example.com/m v1.0.0 h1:y=",
            "example.com/m v1.0.0/go.mod h1:m=",
        ]
    );
    let (code, found) = json(&sandbox, &["--what", "timing"]);
    assert_eq!((code, &found["content"]), (Some(0), &Value::Null));
}

#[test]
fn two_trees_of_one_size_are_two_histories() {
    let sandbox = Sandbox::new();
    Served::first().record(&sandbox, "a");
    let second = Served {
        lookup: lookup("x=", 300, 'C'),
        ..Served::first()
    };
    second.record(&sandbox, "b");
    let (code, text) = diff(&sandbox, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(
        under(&text, "the checksum database shows two histories"),
        [""; 0]
    );
    let heads = under(&text, "tree heads");
    assert_eq!(heads, ["sum.golang.org  300: two trees of one size differ"]);
}

/// What one is asked for and the other is not, what only one got, and what both were refused.
#[test]
fn what_only_one_has_is_a_difference_and_another_refusal_is_none() {
    let sandbox = Sandbox::new();
    let file = |path: &str| format!("/example.com/m/@v/{path}");
    let text = "text/plain";
    let content = |status, versions: &[&str]| {
        let mods = versions
            .iter()
            .fold(Content::default(), |content, version| {
                let path = file(&format!("{version}.mod"));
                content.and_file(PROXY, &path, 200, text, "module example.com/m\n")
            });
        mods.and_file(PROXY, &file("list"), status, text, "no\n")
    };
    let record = |name, status, versions: &[&str], asked: &[&str]| {
        let urls: Vec<String> = asked
            .iter()
            .map(|path| url(PROXY, &format!("@v/{path}")))
            .collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        made(
            &sandbox,
            name,
            &Origin::start(content(status, versions)),
            &urls,
        );
    };
    record("a", 404, &["v1.0.0"], &["list", "v1.0.0.mod"]);
    record("b", 410, &["v1.0.0"], &["list", "v1.0.0.mod"]);
    let (code, told) = diff(&sandbox, &["--what", "content"]);
    assert_eq!(code, Some(0), "{told}");
    let refused = under(&told, "refused otherwise");
    assert_eq!(
        refused,
        ["list example.com/m  #1 404 proxy.golang.org → #1 410 proxy.golang.org"]
    );
    fs::remove_dir_all(sandbox.join("recordings/b")).expect("our own folder");
    record(
        "b",
        404,
        &["v1.1.0", "v1.2.0"],
        &["v1.0.0.mod", "v1.1.0.mod", "v1.2.0.mod"],
    );
    let (code, told) = diff(&sandbox, &["--what", "content"]);
    assert_eq!(code, Some(1), "{told}");
    let expected = [
        "mod example.com/m v1.0.0  #2 200 proxy.golang.org → #1 404 proxy.golang.org",
        "only in B: example.com/m v1.1.0, v1.2.0 (mod)",
    ];
    let heading = "the content differs: 1 answer, and 2 only in one recording";
    assert_eq!(under(&told, heading), expected);
}

/// A recording that was killed, and one that another tool made.
#[test]
fn an_unfinished_recording_and_an_imported_one_are_compared() {
    let sandbox = Sandbox::new();
    Served::first().record(&sandbox, "a");
    let har = run(
        sandbox.modtape(["export", "har", "a", "--har-bodies", "all", "-o", "a.har"]),
        LIMIT,
    );
    har.expect_success();
    run(
        sandbox.modtape(["import", "har", "a.har", "-o", "b"]),
        LIMIT,
    )
    .expect_success();
    let (code, told) = diff(&sandbox, &[]);
    assert_eq!(code, Some(0), "{told}");
    under(&told, "the content is the same: 5 answers");
    let journal = sandbox.join("recordings/a/journal.ndjson");
    let lines = fs::read_to_string(&journal).expect("a journal");
    let until = lines.rfind("\"url\":\"https://sum.golang.org/lookup");
    let until = until.expect("the last request");
    fs::write(&journal, &lines[..until]).expect("our own folder");
    fs::remove_file(sandbox.join("recordings/a/index")).expect("our own folder");
    let manifest = sandbox.join("recordings/a/recording.json");
    let open = fs::read_to_string(&manifest).expect("a manifest");
    let open = open.replace("\"state\": \"closed\"", "\"state\": \"open\"");
    fs::write(
        &manifest,
        open.replace("\"state\":\"closed\"", "\"state\":\"open\""),
    )
    .expect("our own folder");
    let output = run(sandbox.modtape(["diff", "a", "b"]), LIMIT);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        output.stderr.contains("a is unfinished"),
        "{}",
        output.stderr
    );
    under(&output.stdout, "the content is the same: 4 answers");
}

/// Keys of the object, `b` under the name of `a`, and what has the keys of a change as one.
fn keys(found: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    crate::formats::keys::collect(&mut keys, "", found);
    let of_a = |key: String| {
        let words: Vec<&str> = key
            .split('.')
            .map(|word| {
                if word.starts_with('b') && word.len() <= 3 {
                    "a"
                } else {
                    word
                }
            })
            .collect();
        words.join(".")
    };
    keys.into_iter().map(of_a).collect()
}

#[tokio::test]
async fn every_key_is_documented_and_every_documented_one_is_there() {
    let [list, go_mod, zip] =
        ["list", "v1.0.0.mod", "v1.0.0.zip"].map(|path| format!("/example.com/m/@v/{path}"));
    let record = async |origin: &Origin, proxy: &str| {
        let recorder = Recorder::to(origin, &[]);
        let asked = [
            (SUMDB, LOOKUP),
            (PROXY, &list),
            (PROXY, &zip),
            (proxy, &go_mod),
        ];
        ask(&recorder, &asked).await;
        recorder.finish().await
    };
    let a = record(&Origin::start(Served::first().content()), PROXY).await;
    let second = Served {
        list: "v9.0.0\n",
        zip: module_zip(&FILES[..1], CompressionMethod::STORE),
        lookup: lookup("x=", 400, 'C'),
        ..Served::first()
    };
    let moved = Served::first().go_mod;
    let content = second
        .content()
        .and_file(OTHER, &go_mod, 200, "text/plain", moved);
    let origin = Origin::builder(content)
        .root(&TestRoot::named("Corp Proxy CA"))
        .alpn(Alpn::Http1);
    let b = record(&origin.start(), OTHER).await;
    let path = b.recording.dir().join("recording.json");
    let manifest = fs::read_to_string(&path).expect("a manifest");
    let mut manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    manifest["go_env"]["GOFLAGS"] = "-mod=mod".into();
    fs::write(&path, manifest.to_string()).expect("our own folder");
    let mut modtape = program(tested());
    modtape
        .arg("diff")
        .args([a.recording.dir(), b.recording.dir()])
        .arg("--json");
    let output = run(modtape, LIMIT);
    let found: Value = serde_json::from_str(&output.stdout).expect("JSON");
    let content = &found["content"];
    for (named, expected) in [
        ("protocols", ["h2", "http/1.1"]),
        ("issuers", ["modtape test root", "Corp Proxy CA"]),
    ] {
        let named = &content[named][0];
        assert_eq!([&named["a"][0], &named["b"][0]], expected, "{content:#}");
    }
    let found = keys(&found);
    let is_object = |key: &&String| {
        let below = format!("{key}.");
        !found.iter().any(|other| other.starts_with(&below))
    };
    let found: BTreeSet<&String> = found.iter().filter(is_object).collect();
    let documented = crate::formats::keys::documented("Diff");
    let rare = crate::formats::keys::rare("Diff");
    let named: BTreeSet<&String> = documented.iter().collect();
    let unknown: Vec<_> = found.difference(&named).collect();
    assert!(unknown.is_empty(), "not documented: {unknown:#?}");
    let has_keys = |key: &String| {
        let mut below = documented.iter();
        below.any(|other| {
            other
                .strip_prefix(&**key)
                .is_some_and(|rest| !rest.is_empty())
        })
    };
    let gone = named.difference(&found);
    let gone: Vec<_> = gone
        .filter(|key| !rare.contains(**key) && !has_keys(key))
        .collect();
    assert!(gone.is_empty(), "documented, but not there: {gone:#?}");
}

/// The session of README: everything from the first heading on.
#[test]
fn readme_shows_what_is_printed() {
    let sandbox = Sandbox::new();
    let uuid = "/github.com/google/uuid/@v";
    let module = "github.com/google/uuid@v1.3.1";
    let record = |name: &str, proxy: &str, list: &str, files: &[(&str, &str)]| {
        let files: Vec<(String, &[u8])> = files
            .iter()
            .map(|(name, content)| (format!("{module}/{name}"), content.as_bytes()))
            .collect();
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, content)| (&name[..], *content))
            .collect();
        let zip = zip(&files, CompressionMethod::DEFLATE);
        let text = "text/plain";
        let info = r#"{"Version":"v1.3.1","Time":"2023-08-17T19:04:15Z"}"#;
        let content = Content::default()
            .and_file(proxy, &format!("{uuid}/list"), 200, text, list.to_owned())
            .and_file(proxy, &format!("{uuid}/v1.3.1.info"), 200, text, info)
            .and_file(proxy, &format!("{uuid}/v1.3.1.zip"), 200, text, zip);
        let urls = ["list", "v1.3.1.info", "v1.3.1.zip"];
        let urls = urls.map(|file| format!("https://{proxy}{uuid}/{file}"));
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        made(&sandbox, name, &Origin::start(content), &urls);
    };
    let go_mod = ("go.mod", "module github.com/google/uuid\n");
    let random = "package uuid\n\nvar rander = rand.Reader\n";
    let zeros = "package uuid\n\nvar rander = zeros{}\n";
    record(
        "yesterday",
        PROXY,
        "v1.3.0\nv1.3.1\n",
        &[go_mod, ("uuid.go", random)],
    );
    let files = [
        go_mod,
        ("uuid.go", zeros),
        ("zeros.go", "package uuid\n\ntype zeros struct{}\n"),
    ];
    record("today", OTHER, "v1.3.0\nv1.3.1\nv1.4.0\n", &files);
    let args = ["diff", "yesterday", "today", "--what", "content"];
    let output = run(sandbox.modtape(args), LIMIT);
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    let (_, printed) = output
        .stdout
        .split_once("\n\n")
        .expect("the recordings first");
    let readme = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("it is there");
    assert!(readme.contains(printed), "README does not show\n{printed}");
}
