//! Answers that are not what they were asked for: told when they are recorded, and in no tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use modtape::gomod::{Kind, Lookup, ModuleZip, Route, check_content, go_mod_h1};
use modtape::recording::Recording;
use rawzip::CompressionMethod;

use crate::support::*;

const PROXY: &str = "proxy.golang.org";
/// A checksum database of which nobody has the key.
const SUMDB: &str = "sums.example";
const STORE: &str = "storage.googleapis.com";

const LIMIT: Duration = Duration::from_secs(60);

const GO_MOD: &[u8] = b"module example.com/m\n";
const PAGE: &str = "<!doctype html><title>Sign in</title><form>Sign in to the network</form>";

/// The checksum database's answer for a module version with this zip.
pub(crate) fn lookup(zip: &[u8], module: &str, version: &str) -> String {
    let opened = ModuleZip::open(zip, zip.len() as u64, module, version);
    let h1 = opened.and_then(|zip| zip.h1()).expect("it is sound");
    let go_mod = go_mod_h1(GO_MOD);
    format!(
        "7\n{module} {version} {h1}\n{module} {version}/go.mod {go_mod}\n\n\
         go.sum database tree\n300\nroot\n\n\u{2014} {SUMDB} signature\n"
    )
}

/// The zip of `example.com/m` in that version, larger than what stays in the journal.
fn zip_of(version: &str) -> Vec<u8> {
    let noise = (0..40_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes());
    let noise: Vec<u8> = noise.collect();
    let [go_mod, go, large] =
        ["go.mod", "m.go", "noise"].map(|name| format!("example.com/m@{version}/{name}"));
    let files = [
        (&go_mod[..], GO_MOD),
        (&go, b"package m\n"),
        (&large, &noise),
    ];
    zip(&files, CompressionMethod::DEFLATE)
}

fn info(version: &str) -> String {
    format!("{{\"Version\":\"{version}\",\"Time\":\"2024-01-02T03:04:05Z\"}}")
}

/// Three versions of a module, and the checksum database's answers for them.
fn content() -> Content {
    let mut content = Content::default();
    let text = "text/plain";
    for version in ["v1.0.0", "v1.1.0", "v1.2.0"] {
        let base = format!("/example.com/m/@v/{version}");
        let file = |suffix: &str| format!("{base}.{suffix}");
        content = content
            .and_file(PROXY, &file("info"), 200, text, info(version))
            .and_file(PROXY, &file("mod"), 200, text, GO_MOD)
            .and_file(PROXY, &file("zip"), 200, "application/zip", zip_of(version));
        let path = format!("/sumdb/{SUMDB}/lookup/example.com/m@{version}");
        content = content.and_file(
            PROXY,
            &path,
            200,
            text,
            lookup(&zip_of(version), "example.com/m", version),
        );
    }
    let tile = vec![7; 32 * 3];
    content.and_file(
        PROXY,
        "/sumdb/sums.example/tile/8/0/001.p/3",
        200,
        "application/octet-stream",
        tile,
    )
}

/// All that the content has; the lookups first, as the go command asks.
const ALL: [(&str, &str); 13] = [
    (PROXY, "/sumdb/sums.example/lookup/example.com/m@v1.0.0"),
    (PROXY, "/sumdb/sums.example/lookup/example.com/m@v1.1.0"),
    (PROXY, "/sumdb/sums.example/lookup/example.com/m@v1.2.0"),
    (PROXY, "/sumdb/sums.example/tile/8/0/001.p/3"),
    (PROXY, "/example.com/m/@v/v1.0.0.info"),
    (PROXY, "/example.com/m/@v/v1.0.0.mod"),
    (PROXY, "/example.com/m/@v/v1.0.0.zip"),
    (PROXY, "/example.com/m/@v/v1.1.0.info"),
    (PROXY, "/example.com/m/@v/v1.1.0.mod"),
    (PROXY, "/example.com/m/@v/v1.1.0.zip"),
    (PROXY, "/example.com/m/@v/v1.2.0.info"),
    (PROXY, "/example.com/m/@v/v1.2.0.mod"),
    (PROXY, "/example.com/m/@v/v1.2.0.zip"),
];

/// Asks for these in order, one connection a host, and follows redirects.
pub(crate) async fn ask(recorder: &Recorder, asked: &[(&str, &str)]) {
    for (host, path) in asked {
        let (mut host, mut path) = ((*host).to_owned(), (*path).to_owned());
        for _ in 0..12 {
            let answer = recorder.session(&host).await.get(&path).await;
            let answer = answer.expect("an answer");
            let Some(location) = answer.header("location") else {
                break;
            };
            let there = location
                .split_once("://")
                .map(|(_, rest)| rest.split_once('/'));
            match there.flatten() {
                Some((other, rest)) => (host, path) = (other.to_owned(), format!("/{rest}")),
                None => path = location.to_owned(),
            }
        }
    }
}

fn modtape(recording: &Recording, words: &[&str]) -> Output {
    let mut command = program(tested());
    command
        .args(&words[..words.len().min(2)])
        .arg(recording.dir());
    command.args(&words[words.len().min(2)..]);
    run(command, LIMIT)
}

fn export(recording: &Recording, tree: &Path) -> Output {
    let tree = tree.to_str().expect("paths of tests are text");
    modtape(recording, &["export", "goproxy", "-o", tree])
}

#[tokio::test]
async fn what_is_sound_is_complete_whatever_its_coding_and_wherever_it_came_from() {
    let moved = format!("https://{STORE}/x?Signature=0123456789abcdef");
    let is_moved = |served: &Served| served.path.ends_with("v1.0.0.zip");
    let content = content().and_file(STORE, "/x", 200, "application/zip", zip_of("v1.0.0"));
    let origin = Origin::builder(content)
        .rule(Rule::when(is_moved).redirect(&moved))
        .rule(Rule::suffix("v1.1.0.zip").gzip())
        .rule(Rule::suffix(".info").gzip())
        .start();
    let recorder = Recorder::to(&origin, &["--cold"]);
    ask(&recorder, &ALL).await;
    let recorded = recorder.finish().await;
    let (recording, said) = (&recorded.recording, &recorded.output.stderr);
    assert!(said.contains("replay: complete"), "{said}");
    assert_eq!(recording.manifest().replayable.faults, []);
    // What a redirect led to belongs to the module that was asked for.
    let listed = modtape(recording, &["ls", "--json"])
        .expect_success()
        .stdout;
    let hop = listed
        .lines()
        .find(|line| line.contains(STORE))
        .expect("the second hop");
    for part in [
        r#""kind":"zip""#,
        r#""module":"example.com/m""#,
        r#""version":"v1.0.0""#,
    ] {
        assert!(hop.contains(part), "{hop}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let tree = dir.path().join("tree");
    export(recording, &tree).expect_success();
    for version in ["v1.0.0", "v1.1.0"] {
        let path = tree.join(format!("example.com/m/@v/{version}.zip"));
        assert!(
            std::fs::read(path).expect("it is there") == zip_of(version),
            "{version}"
        );
    }
}

#[tokio::test]
async fn what_is_something_else_is_named_and_in_no_tree() {
    let mut flipped = zip_of("v1.1.0");
    flipped[1000] ^= 1;
    let other = info("v1.1.0");
    let page = |suffix| {
        Rule::suffix(suffix)
            .header("content-type", "text/html")
            .body(PAGE)
    };
    let origin = Origin::builder(content())
        .rule(page("v1.0.0.info"))
        .rule(Rule::suffix("v1.0.0.zip").body(&b"PK\x03\x04 and no end"[..]))
        .rule(Rule::suffix("v1.1.0.zip").body(flipped))
        .rule(Rule::suffix("v1.2.0.info").body(other))
        .rule(Rule::suffix("v1.2.0.mod").body("module example.com/other\n"))
        .rule(page("/tile/8/0/001.p/3"))
        .start();
    let recorder = Recorder::to(&origin, &["--cold"]);
    ask(&recorder, &ALL).await;
    let recorded = recorder.finish().await;
    let (recording, said) = (&recorded.recording, &recorded.output.stderr);
    assert!(!said.contains("replay: complete"), "{said}");
    let replayable = &recording.manifest().replayable;
    assert!(!replayable.complete);
    let told: Vec<_> = replayable.faults.iter().map(ToString::to_string).collect();
    let expected = [
        "tile/8/0/001.p/3 from proxy.golang.org (#4): it is an HTML page",
        "info example.com/m v1.0.0 from proxy.golang.org (#5): it is an HTML page",
        "zip example.com/m v1.0.0 from proxy.golang.org (#7): it is not a whole zip file: ",
        "zip example.com/m v1.1.0 from proxy.golang.org (#10): its ",
        "info example.com/m v1.2.0 from proxy.golang.org (#11): it is about version \"v1.1.0\"",
        "mod example.com/m v1.2.0 from proxy.golang.org (#12): its hash is h1:",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
    // The first with the reason, others one by one, and how many there are.
    let first = format!("asked for, first {}", expected[0]);
    assert!(said.contains(&first), "{said}");
    for expected in &expected[1..] {
        assert!(said.contains(&format!("! {expected}")), "{said}");
    }
    assert!(
        said.contains("6 answers are not what they were asked for"),
        "{said}"
    );
    let informed = modtape(recording, &["recordings", "info"])
        .expect_success()
        .stdout;
    let dir = tempfile::tempdir().expect("a folder");
    let tree = dir.path().join("tree");
    let exported = export(recording, &tree);
    assert_eq!(exported.status.code(), Some(3), "{}", exported.stderr);
    for expected in expected {
        assert!(informed.contains(expected), "{informed}");
        let left_out = format!("warning: left out {expected}");
        assert!(exported.stderr.contains(&left_out), "{}", exported.stderr);
    }
    for (file, is_there) in [
        ("v1.0.0.info", false),
        ("v1.0.0.mod", true),
        ("v1.0.0.zip", false),
        ("v1.1.0.zip", false),
        ("v1.2.0.info", false),
        ("v1.2.0.mod", false),
        ("v1.2.0.zip", true),
    ] {
        let path = tree.join("example.com/m/@v").join(file);
        assert_eq!(path.exists(), is_there, "{file}");
    }
}

#[tokio::test]
async fn a_sound_answer_stands_in_for_a_faulty_one() {
    let origin = Origin::builder(content())
        .rule(Rule::suffix("v1.0.0.info").times(1).body(PAGE))
        .start();
    let recorder = Recorder::to(&origin, &["--cold"]);
    let path = "/example.com/m/@v/v1.0.0.info";
    ask(&recorder, &[(PROXY, path), (PROXY, path)]).await;
    origin.add_rule(Rule::suffix("v1.0.0.info").body(PAGE));
    ask(&recorder, &[(PROXY, path)]).await;
    let recorded = recorder.finish().await;
    assert_eq!(recorded.recording.manifest().replayable.faults.len(), 2);
    let dir = tempfile::tempdir().expect("a folder");
    let tree = dir.path().join("tree");
    export(&recorded.recording, &tree).expect_success();
    let found = std::fs::read_to_string(tree.join(&path[1..]));
    assert_eq!(found.expect("it is there"), info("v1.0.0"));
}

#[tokio::test]
async fn each_zip_that_is_in_no_tree_is_named_with_the_reason() {
    let path_of = |version: &str| format!("/example.com/m/@v/{version}.zip");
    let origin = Origin::builder(content())
        .rule(
            Rule::suffix("v1.0.0.zip")
                .status(200)
                .generated(100_000)
                .short(1000),
        )
        .rule(Rule::suffix("v1.1.0.zip").redirect("https://unseen.example/x.zip"))
        .rule(
            Rule::suffix("v1.2.0.zip")
                .status(429)
                .header("retry-after", "30")
                .body("slowly"),
        )
        .rule(Rule::suffix("v1.4.0.zip").redirect("/example.com/m/@v/v1.4.0.zip?again"))
        .start();
    let recorder = Recorder::to(&origin, &["--cold"]);
    let mut session = recorder.session(PROXY).await;
    session.get(&path_of("v1.0.0")).await.expect("a head");
    for path in [
        path_of("v1.1.0"),
        path_of("v1.2.0"),
        path_of("v1.3.0"),
        "/archive/x.zip".into(),
    ] {
        session.get(&path).await.expect("an answer");
    }
    drop(session);
    ask(&recorder, &[(PROXY, &path_of("v1.4.0"))]).await;
    let recorded = recorder.finish().await;
    let said = &recorded.output.stderr;
    for expected in [
        "! proxy.golang.org answered 1 request with 429 Too Many Requests; it asks to wait 30 s",
        "! zip example.com/m v1.4.0 from proxy.golang.org (#6): 12 redirects in a loop",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    let dir = tempfile::tempdir().expect("a folder");
    let exported = export(&recorded.recording, &dir.path().join("tree"));
    for expected in [
        "left out zip example.com/m v1.0.0 from proxy.golang.org (#1): it broke off: ",
        "left out zip example.com/m v1.1.0 from proxy.golang.org (#2): it was redirected to \
         unseen.example, which was not recorded",
        "left out zip example.com/m v1.2.0 from proxy.golang.org (#3): status 429",
        "left out zip example.com/m v1.3.0 from proxy.golang.org (#4): status 404",
        "left out /archive/x.zip from proxy.golang.org (#5): status 404",
        "left out zip example.com/m v1.4.0 from proxy.golang.org (#17): it was redirected in a circle",
    ] {
        assert!(exported.stderr.contains(expected), "{}", exported.stderr);
    }
}

#[test]
fn an_import_tells_what_is_not_what_was_asked_for() {
    let sandbox = Sandbox::new();
    let entry = |path: &str, text: &str| {
        format!(
            r#"{{"startedDateTime":"2024-01-02T03:04:05Z","time":1,"cache":{{}},
            "timings":{{"send":0,"wait":1,"receive":0}},
            "request":{{"method":"GET","url":"https://{PROXY}{path}","httpVersion":"HTTP/1.1",
            "headers":[],"queryString":[],"cookies":[],"headersSize":-1,"bodySize":0}},
            "response":{{"status":200,"statusText":"OK","httpVersion":"HTTP/1.1","headers":[],
            "cookies":[],"content":{{"size":{},"mimeType":"text/plain","text":"{text}"}},
            "redirectURL":"","headersSize":-1,"bodySize":{}}}}}"#,
            text.len(),
            text.len()
        )
    };
    let entries = [
        entry("/example.com/m/@v/v1.0.0.mod", "module example.com/m"),
        entry("/example.com/m/@v/v1.1.0.mod", PAGE),
    ];
    let har = format!(
        r#"{{"log":{{"version":"1.2","creator":{{"name":"x","version":"1"}},"entries":[{}]}}}}"#,
        entries.join(",")
    );
    std::fs::write(sandbox.join("x.har"), har).expect("it can be written");
    let imported = run(
        sandbox.modtape(["import", "har", "x.har", "-o", "one"]),
        LIMIT,
    );
    let expected =
        "warning: mod example.com/m v1.1.0 from proxy.golang.org (#2): it is an HTML page";
    let said = &imported.stderr;
    assert!(said.lines().any(|line| line == expected), "{said}");
    let recording = crate::record::recording(&sandbox, "one");
    let faults = &recording.manifest().replayable.faults;
    assert_eq!(faults.len(), 1);
    let listed = modtape(&recording, &["ls", "--json"])
        .expect_success()
        .stdout;
    assert!(
        listed
            .lines()
            .nth(1)
            .expect("two")
            .contains(r#""fault":"it is an HTML page""#)
    );
}

/// The files below a folder, by path.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn real_answers_are_sound() {
    let Some(corpus) = corpus_folder("web") else {
        return;
    };
    let root = corpus.join("proxy");
    let mut found = Vec::new();
    files(&root, &mut found);
    let mut kinds = BTreeMap::<_, usize>::new();
    let (mut zips, mut sums) = (Vec::new(), BTreeMap::new());
    for path in found {
        let below = path
            .strip_prefix(&root)
            .expect("it is below")
            .to_str()
            .expect("text");
        let route = Route::of(&format!("https://{PROXY}/{below}"), &[]);
        if below.ends_with(".404") || route.kind == Kind::Other {
            continue;
        }
        *kinds.entry(route.kind).or_default() += 1;
        let (module, version) = (route.module.clone(), route.version.clone());
        let named = (module.unwrap_or_default(), version.unwrap_or_default());
        if route.kind == Kind::Zip {
            zips.push((named, path));
            continue;
        }
        let bytes = std::fs::read(&path).expect("it can be read");
        let checked = check_content(&route, &bytes);
        assert!(checked.is_ok(), "{}: {checked:?}", path.display());
        if let Some(lookup) = Lookup::parse(&bytes).filter(|_| route.kind == Kind::Lookup) {
            let zip = lookup.sums(&named.0, &named.1).zip.expect("it has one");
            sums.insert(named, zip.to_owned());
        }
    }
    for kind in [
        Kind::List,
        Kind::Info,
        Kind::Mod,
        Kind::Zip,
        Kind::Lookup,
        Kind::Tile,
    ] {
        assert_ne!(kinds.get(&kind), None, "{kind}");
    }
    for ((module, version), path) in zips {
        let bytes = std::fs::read(&path).expect("it can be read");
        let zip = ModuleZip::open(&bytes[..], bytes.len() as u64, &module, &version);
        let zip = zip.unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
        // Without optimisation the large ones take long.
        if bytes.len() < 200_000 {
            let expected = sums.get(&(module, version)).expect("its lookup is there");
            assert_eq!(zip.h1().as_ref().ok(), Some(expected), "{}", path.display());
        }
    }
}
