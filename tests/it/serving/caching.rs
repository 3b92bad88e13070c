//! What caches between a client and the server are told, and texts in gzip.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::*;

const MOD: &str = "/github.com/!burnt!sushi/toml/@v/v1.3.2.mod";
const ZIP: &str = "/github.com/!burnt!sushi/toml/@v/v1.3.2.zip";
const LIST: &str = "/github.com/!burnt!sushi/toml/@v/list";
const PROXY: &str = "https://proxy.golang.org";

/// The value of a field.
fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let mut lines = answer.head.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn caches_between_are_told_how_long_an_answer_is_good_and_what_it_is_known_by() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let origin = Origin::builder(content).start();
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &[]);
    for (path, lasts) in [
        (MOD, "public, max-age=31536000, immutable"),
        (ZIP, "public, max-age=31536000, immutable"),
        (LIST, "public, max-age=60"),
    ] {
        // A zip that was on its way when it was asked for is not proved yet.
        let _ = serving.get(path);
        let answer = serving.get(path);
        assert_eq!(field(&answer, "cache-control"), Some(lasts), "{answer:?}");
        let timing = field(&answer, "server-timing").expect("it is told");
        assert!(timing.starts_with("lookup;desc="), "{timing}");
        let tag = field(&answer, "etag").expect("it has one");
        let known = |tag: &str| {
            let fields = format!("If-None-Match: {tag}\r\n");
            ask(serving.address, "GET", path, &fields)
        };
        let same = known(tag);
        assert_eq!((same.status, same.body.len()), (304, 0), "{same:?}");
        assert_eq!(field(&same, "etag"), Some(tag));
        assert_eq!(known("\"another\"").body, answer.body);
        // A part of another one is no part of this.
        let part = |tag: &str| {
            let fields = format!("Range: bytes=0-3\r\nIf-Range: {tag}\r\n");
            ask(serving.address, "GET", path, &fields)
        };
        assert_eq!(part(tag).body, answer.body[..4]);
        assert_eq!(part("\"another\"").body, answer.body);
    }
    serving.end();
}

#[test]
fn modules_that_are_private_are_kept_by_no_shared_cache() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let origin = Origin::builder(content).start();
    let sandbox = Sandbox::new();
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut command = sandbox.modtape(["serve", "--listen", "127.0.0.1:0", "--store", "store"]);
    command.args(["--connect-to", &everywhere, "--upstream", PROXY]);
    command.arg("--upstream-ca").arg(origin.root_pem_path());
    command.env("GONOSUMDB", "github.com/BurntSushi/*");
    command.current_dir(sandbox.path());
    let serving = Serving::told(Spawned::start(command));
    let answer = serving.get(MOD);
    let lasts = field(&answer, "cache-control");
    assert_eq!(lasts, Some("private, max-age=31536000, immutable"));
    serving.end();
}

#[test]
fn texts_come_in_gzip_to_those_who_ask() {
    let Some(content) = Content::corpus("hello", Sumdb::Heads) else {
        return;
    };
    let versions: String = (0..500).map(|it| format!("v1.0.{it}\n")).collect();
    let long = Rule::suffix(LIST).status(200).body(versions.clone());
    let origin = Origin::builder(content).rule(long).start();
    let sandbox = Sandbox::new();
    let serving = Serving::start(&sandbox, &origin, PROXY, &[]);
    let gzip = |path: &str| ask(serving.address, "GET", path, "Accept-Encoding: gzip\r\n");
    for _ in 0..2 {
        let answer = gzip(LIST);
        assert_eq!(
            field(&answer, "content-encoding"),
            Some("gzip"),
            "{answer:?}"
        );
        assert_eq!(field(&answer, "vary"), Some("accept-encoding"));
        assert!(answer.is_whole && answer.body.len() < versions.len() / 2);
        let mut text = String::new();
        let read = GzDecoder::new(&*answer.body).read_to_string(&mut text);
        read.expect("it is in gzip");
        assert_eq!(text, versions);
    }
    let plain = serving.get(LIST);
    assert_eq!(field(&plain, "content-encoding"), None);
    assert_eq!(field(&plain, "vary"), Some("accept-encoding"));
    assert_eq!(plain.body, versions.as_bytes());
    let (tag, other) = (field(&plain, "etag"), gzip(LIST));
    assert_ne!(tag, field(&other, "etag"));
    let fields = "Accept-Encoding: gzip;q=0\r\n";
    assert_eq!(ask(serving.address, "GET", LIST, fields).body, plain.body);
    let fields = "Accept-Encoding: gzip\r\nRange: bytes=0-3\r\n";
    assert_eq!(ask(serving.address, "GET", LIST, fields).body, b"v1.0");
    // What is short, and what is compressed already, comes as it is.
    for path in [MOD, ZIP] {
        let answer = gzip(path);
        assert_eq!(field(&answer, "content-encoding"), None, "{path}");
        assert_eq!(answer.body, serving.get(path).body);
    }
    serving.end();
}
