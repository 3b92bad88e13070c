//! Export, import, export: what a HAR cannot hold is a list, and nothing else is lost.

use std::fs;

use super::*;
use crate::pcapng::sample::rich;

/// What the HAR of a coded body does not say, since it has the decoded content instead: the list of
/// `docs/formats.md`.
const LOST: [&str; 6] = [
    "response.headers[content-encoding]",
    "response.headers[content-length]",
    "response.bodySize",
    "response._transferSize",
    "response.content.compression",
    "_modtape.sha256",
];

fn export(sandbox: &Sandbox, dir: &str, to: &str) -> Value {
    let args = ["export", "har", dir, "--har-bodies", "all", "-o", to];
    run(sandbox.modtape(args), LIMIT).expect_success();
    let har = fs::read(sandbox.join(to)).expect("it was written");
    serde_json::from_slice(&har).expect("JSON")
}

fn entries(har: &mut Value) -> Vec<Value> {
    match har["log"]["entries"].take() {
        Value::Array(entries) => entries,
        other => panic!("{other}"),
    }
}

/// Whether HAR has the decoded content of its body: gzip is the coding that is decoded here.
fn is_decoded(entry: &Value) -> bool {
    let headers = entry["response"]["headers"].as_array().expect("a list");
    let is_gzip = |field: &Value| field["name"] == "content-encoding" && field["value"] == "gzip";
    let has_text = entry["response"]["content"]["text"] != Value::Null;
    has_text && headers.iter().any(is_gzip)
}

/// Takes away what is listed, and nothing else.
fn without_lost(mut entry: Value) -> Value {
    for lost in LOST {
        if let Some(name) = lost.strip_prefix("response.headers[") {
            let name = name.trim_end_matches(']');
            let headers = entry["response"]["headers"].as_array_mut().expect("a list");
            headers.retain(|field| field["name"] != name);
            continue;
        }
        let (parent, key) = lost.rsplit_once('.').unwrap_or_default();
        let parent = entry.pointer_mut(&format!("/{}", parent.replace('.', "/")));
        let parent = parent.and_then(Value::as_object_mut).expect("an object");
        parent.remove(key);
    }
    entry
}

#[tokio::test]
async fn what_comes_back_from_a_har_is_equal_but_for_the_documented_losses() {
    let rich = rich().await;
    let sandbox = Sandbox::new();
    let dir = rich.recorded.recording.dir().to_str().expect("text");
    let mut before = export(&sandbox, dir, "a.har");
    let import = sandbox.modtape(["import", "har", "a.har", "-o", "two"]);
    let told = run(import, LIMIT).expect_success().stderr;
    let mut after = export(&sandbox, "two", "b.har");
    let [one, two] = [&mut before, &mut after].map(entries);
    // Pages, and whoever made it.
    assert_eq!(before, after);
    assert_eq!(one.len(), two.len());
    let mut decoded = 0;
    for (one, two) in one.into_iter().zip(two) {
        let is_decoded = is_decoded(&one);
        decoded += usize::from(is_decoded);
        let (one, two) = match is_decoded {
            true => (without_lost(one), without_lost(two)),
            false => (one, two),
        };
        assert_eq!(one, two);
    }
    let said = ": the body is the decoded content";
    assert!(decoded > 4 && told.contains(said), "{decoded}: {told}");
}

#[test]
fn the_losses_are_the_documented_ones() {
    assert_eq!(super::keys::documented("HAR"), LOST);
}
