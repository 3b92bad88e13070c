//! Odd HARs: what is said of them, and what `ls`, a replay and another export then have.

use super::*;

/// A change to a good entry, whose answer is `GOOD`.
type Change = fn(&mut Value);

const GOOD: &str = "module h.example/m\n";

fn good(number: usize) -> Value {
    json!({
        "startedDateTime": format!("2026-11-22T04:52:{number:02}Z"),
        "request": {"method": "GET", "url": url(number), "httpVersion": "HTTP/1.1", "headers": []},
        "response": {
            "status": 200, "httpVersion": "HTTP/1.1",
            "headers": [{"name": "content-length", "value": GOOD.len().to_string()}],
            "content": {"size": GOOD.len(), "mimeType": "text/plain", "text": GOOD},
            "bodySize": GOOD.len()
        },
        "timings": {"send": 0, "wait": 1, "receive": 0}
    })
}

fn url(number: usize) -> String {
    format!("https://proxy.golang.org/h.example/m/@v/v1.0.{number}.mod")
}

/// What becomes of an entry.
#[derive(Debug, PartialEq, Eq)]
enum Is {
    /// Replayed and exported with this body.
    Good(&'static str),
    /// Listed with this status, and neither replayed nor exported.
    Aborted(Option<u16>),
    LeftOut,
}

use Is::{Aborted, Good, LeftOut};

/// What is said of it, after `entry N: `, or where it is left out, before.
const TABLE: &[(Change, &str, Is)] = &[
    (|_| {}, "", Good(GOOD)),
    (
        |e| e["response"]["content"] = json!([]),
        "the body is not in the HAR: counted as aborted, never replayed",
        Aborted(Some(200)),
    ),
    (
        |e| e["response"]["content"] = json!({"size": 0, "text": ""}),
        "the body is not in the HAR: counted as aborted, never replayed",
        Aborted(Some(200)),
    ),
    (
        |e| e["response"]["content"]["text"] = json!("[data truncated]"),
        "text, size and content-length contradict each other: counted as aborted, never replayed",
        Aborted(Some(200)),
    ),
    (
        |e| {
            e["response"]["content"] =
                json!({"text": "PK\u{3}\u{4}\u{fffd}", "mimeType": "application/zip"})
        },
        "content with replaced characters (U+FFFD): counted as aborted, never replayed",
        Aborted(Some(200)),
    ),
    (
        |e| e["response"]["content"]["encoding"] = json!("rot13"),
        "content of an unknown encoding: counted as aborted, never replayed",
        Aborted(Some(200)),
    ),
    (
        |e| e["response"]["content"]["encoding"] = json!("base64"),
        "content that is not the base64 that it says: counted as aborted, never replayed",
        Aborted(Some(200)),
    ),
    (
        |e| {
            e["response"]["content"] =
                json!({"text": "H4sIAAAA", "encoding": "base64", "mimeType": "text/plain"})
        },
        "content that is still compressed: counted as aborted, never replayed",
        Aborted(Some(200)),
    ),
    (
        |e| e["response"]["content"] = json!({"_file": "../outside.txt"}),
        "the body's file is not there, or not in the HAR's folder: counted as aborted, never replayed",
        Aborted(Some(200)),
    ),
    (
        |e| e["response"]["content"] = json!({"_file": "bodies/inside.txt"}),
        "",
        Good("module h.example/f\n"),
    ),
    (
        |e| {
            e["response"]["headers"] = json!([["content-encoding", "br"], ["content-length", "9"]]);
            e["response"]["bodySize"] = json!(9);
        },
        "the body is the decoded content, as the HAR has it, without its content-encoding",
        Good(GOOD),
    ),
    (
        |e| e["response"]["status"] = json!(204),
        "content of a response that has no body (HEAD, 204, 304): left out",
        Good(""),
    ),
    (
        |e| e["response"]["status"] = json!(103),
        "only an interim response (1xx): counted as aborted, never replayed",
        Aborted(Some(103)),
    ),
    (
        |e| e["response"]["status"] = json!("none"),
        "invalid status: counted as aborted, never replayed",
        Aborted(None),
    ),
    (
        |e| e["response"]["status"] = json!("200"),
        "a value of an unusual type (a number for a text, an object for a list): converted",
        Good(GOOD),
    ),
    (|e| e["response"] = Value::Null, "", Aborted(None)),
    (
        |e| e["response"]["headers"] = json!([["a b", "c"]]),
        "an invalid header field: left out",
        Good(GOOD),
    ),
    (
        |e| e["timings"] = json!({"wait": -1000}),
        "an invalid timing: left out",
        Good(GOOD),
    ),
    (
        |e| e["timings"] = json!([1]),
        "a value of the wrong type: left out",
        Good(GOOD),
    ),
    (
        |e| e["startedDateTime"] = json!("today"),
        "no valid startedDateTime: placed where the entry before it stands",
        Good(GOOD),
    ),
    (
        |e| e["startedDateTime"] = json!("2026-11-22T04:52:30"),
        "startedDateTime tells no zone: taken as UTC",
        Good(GOOD),
    ),
    (
        |e| e["startedDateTime"] = json!("2026-11-22T4:52Z"),
        "",
        Good(GOOD),
    ),
    (
        |e| e["serverIPAddress"] = json!("nowhere"),
        "invalid serverIPAddress: left out",
        Good(GOOD),
    ),
    (
        |e| e["request"]["httpVersion"] = json!("HTTP/Q"),
        "unknown httpVersion",
        Good(GOOD),
    ),
    (
        |e| e["request"]["postData"] = json!({"params": [{"name": "a", "value": "b"}]}),
        "the request's body is made of its parameters",
        Good(GOOD),
    ),
    (
        |e| e["request"]["postData"] = json!({"text": "?", "encoding": "base64"}),
        "the request's body is left out or damaged: not imported",
        Good(GOOD),
    ),
    (
        |e| e["request"]["url"] = json!("wss://h.example/"),
        "a WebSocket",
        LeftOut,
    ),
    (
        |e| e["request"]["url"] = json!("chrome-extension://x/y.js"),
        "a page or script of a browser extension",
        LeftOut,
    ),
    (
        |e| e["request"]["url"] = json!("data:,x"),
        "a URL of another scheme than http and https (data:, blob:, about: and the like)",
        LeftOut,
    ),
];

/// Asks for each URL, and says whether it was answered.
const ASKS: &str = "for url; do \"$0\" fetch \"$url\" 2>/dev/null && echo \"$url\"; done; true";

#[test]
fn an_odd_value_costs_that_value_and_a_damaged_body_is_never_given_out() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.join("har/bodies")).expect("a folder");
    fs::write(
        sandbox.join("har/bodies/inside.txt"),
        "module h.example/f\n",
    )
    .expect("a file");
    fs::write(sandbox.join("outside.txt"), "module h.example/f\n").expect("a file");
    let entries = TABLE.iter().enumerate().map(|(number, (change, ..))| {
        let mut entry = good(number);
        change(&mut entry);
        entry
    });
    let entries: Vec<_> = entries.collect();
    write(&sandbox, "har/a.har", &json!({"log": {"entries": entries}}));
    let imported = modtape(&sandbox, &["import", "har", "har/a.har", "-o", "one"]);
    let said = imported.expect_success().stderr;
    for (number, (_, told, is)) in (1..).zip(TABLE) {
        let line = match is {
            LeftOut => format!("left out entry {number}: {told}"),
            Good(_) | Aborted(_) => told.to_string(),
        };
        let is_said = |said: &str| {
            let entry = said
                .strip_prefix(&format!("entry {number}: "))
                .unwrap_or(said);
            let first = format!(" entries from entry {number} on: {line}");
            entry == line || said.ends_with(&first) || said.ends_with(&format!(": {line}"))
        };
        assert!(
            told.is_empty() || said.lines().any(is_said),
            "{number}: {said}"
        );
    }
    let listed = modtape(&sandbox, &["ls", "one", "--json"]).expect_success();
    let rows = listed.stdout.lines().map(|line| {
        let row: Value = serde_json::from_str(line).expect("JSON");
        (row["id"].as_u64().expect("a number"), row)
    });
    let rows: BTreeMap<_, _> = rows.collect();
    let mut replay = sandbox.modtape(["replay", "one", "--", "/bin/sh", "-c", ASKS]);
    replay.arg(tested()).args((0..TABLE.len()).map(url));
    let answered = run(replay, LIMIT).expect_success().stdout;
    let exported = modtape(&sandbox, &["export", "har", "one", "--har-bodies", "all"]);
    let exported: Value = serde_json::from_str(&exported.expect_success().stdout).expect("JSON");
    for (index, (_, told, is)) in TABLE.iter().enumerate() {
        let row = rows.get(&(index as u64 + 1));
        let is_answered = answered.lines().any(|line| line == url(index));
        let mut all = exported["log"]["entries"]
            .as_array()
            .expect("a list")
            .iter();
        let entry = all.find(|entry| entry["_modtape"]["id"] == index + 1);
        let content = entry.map(|entry| &entry["response"]["content"]["text"]);
        match is {
            Good(body) => {
                let row = row.expect(told);
                // The go command takes no 204 for an answer.
                let outcome = if row["status"] == 204 { "error" } else { "ok" };
                assert_eq!(row["outcome"], outcome, "{told}");
                assert!(is_answered, "{told}");
                assert_eq!(
                    content.and_then(Value::as_str).unwrap_or_default(),
                    *body,
                    "{told}"
                );
            }
            Aborted(status) => {
                let row = row.expect(told);
                assert_eq!(
                    (&row["outcome"], &row["status"]),
                    (&json!("aborted"), &json!(status)),
                    "{told}"
                );
                assert_eq!(
                    (is_answered, content),
                    (false, Some(&Value::Null)),
                    "{told}"
                );
            }
            LeftOut => assert!(row.is_none() && !is_answered && entry.is_none(), "{told}"),
        }
    }
}

/// An import of these bytes: its exit code, what it said, and the URLs and bodies that an export has.
fn import(sandbox: &Sandbox, bytes: &[u8]) -> (Option<i32>, String, Vec<(String, String)>) {
    fs::write(sandbox.join("a.har"), bytes).expect("a file");
    let imported = modtape(sandbox, &["import", "har", "a.har", "-o", "one", "--force"]);
    if !sandbox.join("recordings/one").exists() {
        return (imported.status.code(), imported.stderr, Vec::new());
    }
    let exported = modtape(sandbox, &["export", "har", "one", "--har-bodies", "all"]);
    let exported: Value = serde_json::from_str(&exported.expect_success().stdout).expect("JSON");
    fs::remove_dir_all(sandbox.join("recordings/one")).expect("our own");
    let entries = exported["log"]["entries"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = entries.iter().map(|entry| {
        let url = text(&entry["request"]["url"]);
        (url, text(&entry["response"]["content"]["text"]))
    });
    (imported.status.code(), imported.stderr, entries.collect())
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let best = flate2::Compression::best();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), best);
    std::io::Write::write_all(&mut encoder, bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// A zip of these files, deflated.
fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut zip);
    for (name, bytes) in files {
        let file = archive.new_file(name);
        let file = file.compression_method(rawzip::CompressionMethod::DEFLATE);
        let (mut entry, config) = file.start().expect("memory");
        let best = flate2::Compression::best();
        let encoder = flate2::write::DeflateEncoder::new(&mut entry, best);
        let mut writer = config.wrap(encoder);
        std::io::Write::write_all(&mut writer, bytes).expect("memory");
        let (encoder, descriptor) = writer.finish().expect("memory");
        encoder.finish().expect("memory");
        entry.finish(descriptor).expect("memory");
    }
    archive.finish().expect("memory");
    zip
}

#[test]
fn a_har_is_read_whatever_file_it_lies_in() {
    let sandbox = Sandbox::new();
    let har = json!({"log": {"pages": null, "entries": [good(0), good(1)]}}).to_string();
    let both = [0, 1].map(|number| (url(number), GOOD.to_owned()));
    let utf16: Vec<u8> = format!("\u{feff}{har}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut in_zip = good(1);
    in_zip["response"]["content"] = json!({"size": GOOD.len(), "_file": "body.txt"});
    let in_zip = json!({"log": {"entries": [good(0), in_zip]}}).to_string();
    let log = json!({"entries": [good(0), good(1)]}).to_string();
    for (what, bytes) in [
        ("a mark", format!("\u{feff}{har}").into_bytes()),
        ("gzip", gzipped(har.as_bytes())),
        ("UTF-16", utf16.clone()),
        ("UTF-16 in gzip", gzipped(&utf16)),
        (
            "zip",
            zipped(&[
                ("x/body.txt", GOOD.as_bytes()),
                ("x/har.har", in_zip.as_bytes()),
            ]),
        ),
        ("a log alone", log.into_bytes()),
        ("a list of one", format!("[{har}]").into_bytes()),
        ("a stray comma", har.replace("]}}", ",]}}").into_bytes()),
        (
            "NaN",
            har.replace("\"wait\":1", "\"wait\":NaN").into_bytes(),
        ),
        (
            "a key twice",
            har.replace("\"timings\"", "\"timings\":{},\"timings\"")
                .into_bytes(),
        ),
    ] {
        let (code, said, entries) = import(&sandbox, &bytes);
        assert_eq!((code, &*entries), (Some(0), &both[..]), "{what}: {said}");
        assert!(!said.contains("warning"), "{what}: {said}");
    }
    let one = &both[..1];
    let cut = "warning: the file is truncated or damaged: it has 1 complete entry\n";
    for (what, bytes) in [
        ("cut", har.as_bytes()[..har.len() - 60].to_vec()),
        ("a cut gzip", {
            // So that what is cut off is not all of it.
            let noise: String = (0..20_000_u32)
                .map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761)))
                .collect();
            let long = har.replacen("]}}", &format!(",{{\"x\":\"{noise}\"}}]}}}}"), 1);
            let long = long.replace(&good(1).to_string(), &format!("{{\"x\":\"{noise}\"}}"));
            let mut bytes = gzipped(long.as_bytes());
            bytes.truncate(bytes.len() / 3);
            bytes
        }),
    ] {
        let (code, said, entries) = import(&sandbox, &bytes);
        assert_eq!((code, &*entries), (Some(3), one), "{what}: {said}");
        assert!(said.contains(cut), "{what}: {said}");
    }
    for (bytes, why) in [
        (
            &b"<html>"[..],
            "not a HAR file: it does not begin with a JSON object",
        ),
        (b"{\"a\":1}", "not a HAR file: it has no log"),
        (b"PK\x03\x04 and more", "a damaged zip file"),
        (
            &zipped(&[("a.txt", b"x")]),
            "a zip file without a .har file",
        ),
    ] {
        let (code, said, entries) = import(&sandbox, bytes);
        assert_eq!((code, entries.len()), (Some(3), 0), "{said}");
        assert!(
            said.starts_with(&format!("error: cannot import a.har: {why}")),
            "{said}"
        );
    }
}

#[test]
fn what_a_small_file_unpacks_to_is_bounded() {
    let sandbox = Sandbox::new();
    let spaces = vec![b' '; 16 << 20];
    let bomb = [b"{\"log\":{\"entries\":[".as_slice(), &spaces].concat();
    for bytes in [gzipped(&bomb), zipped(&[("a.har", &bomb)])] {
        assert!(bytes.len() < 1 << 20);
        let (code, said, _) = import(&sandbox, &bytes);
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains("it decompresses to more than"), "{said}");
    }
}

#[test]
fn no_link_leads_out_of_the_har_s_folder() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.join("har/in")).expect("a folder");
    fs::write(sandbox.join("secret.txt"), GOOD).expect("a file");
    fs::write(sandbox.join("har/in/fine.txt"), GOOD).expect("a file");
    std::os::unix::fs::symlink("../secret.txt", sandbox.join("har/link.txt")).expect("a link");
    std::os::unix::fs::symlink("in/fine.txt", sandbox.join("har/near.txt")).expect("a link");
    let secret = sandbox.join("secret.txt");
    let absolute = secret.to_str().expect("text");
    let names = [
        "link.txt",
        absolute,
        "in/../../secret.txt",
        "in",
        "",
        "near.txt",
        "in/fine.txt",
    ];
    let entries = names.iter().enumerate().map(|(number, name)| {
        let mut entry = good(number);
        entry["response"]["content"] = json!({"size": GOOD.len(), "_file": name});
        entry
    });
    let har = json!({"log": {"entries": entries.collect::<Vec<_>>()}});
    write(&sandbox, "har/a.har", &har);
    modtape(&sandbox, &["import", "har", "har/a.har", "-o", "one"]).expect_success();
    let listed = modtape(&sandbox, &["ls", "one", "--json"])
        .expect_success()
        .stdout;
    let outcomes = listed.lines().map(|line| {
        let row: Value = serde_json::from_str(line).expect("JSON");
        row["outcome"] == "ok"
    });
    let expected = [false, false, false, false, false, true, true];
    assert_eq!(outcomes.collect::<Vec<_>>(), expected);
}

#[test]
fn requests_bodies_and_addresses_come_back_out() {
    let sandbox = Sandbox::new();
    let mut entries = [0, 1, 2, 3].map(good);
    for entry in &mut entries {
        entry["request"]["method"] = json!("POST");
        entry["serverIPAddress"] = json!("192.0.2.7");
        entry["request"]["postData"] = json!({"mimeType": "text/plain", "text": "want"});
    }
    entries[1]["serverIPAddress"] = json!("2001:db8::7");
    entries[1]["connection"] = json!("8443");
    entries[1]["_connectionId"] = json!("12");
    entries[2]["response"]["content"]["text"] = json!("");
    entries[3]["response"] = Value::Null;
    let har = json!({"log": {"entries": entries}}).to_string();
    fs::write(sandbox.join("a.har"), har).expect("a file");
    modtape(&sandbox, &["import", "har", "a.har", "-o", "one"]).expect_success();
    let exported = modtape(&sandbox, &["export", "har", "one", "--har-bodies", "all"]);
    let mut exported: Value =
        serde_json::from_str(&exported.expect_success().stdout).expect("JSON");
    for (number, entry) in exported["log"]["entries"]
        .as_array_mut()
        .expect("a list")
        .iter_mut()
        .enumerate()
    {
        let request = entry["request"].take();
        assert_eq!(
            (&request["postData"]["text"], &request["bodySize"]),
            (&json!("want"), &json!(4))
        );
        let expected = match number {
            1 => (json!("2001:db8::7"), json!("8443")),
            _ => (json!("192.0.2.7"), json!("443")),
        };
        assert_eq!(
            (entry["serverIPAddress"].take(), entry["connection"].take()),
            expected
        );
    }
}
