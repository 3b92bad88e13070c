//! What fails before there is a request, and what we refuse ourselves: an exchange with a whole URL
//! and a host, in every list and file.

use serde_json::Value;

use super::*;
use crate::har::assert_valid;

/// What is known of an exchange that never came to be.
struct Expected {
    method: &'static str,
    url: &'static str,
    host: &'static str,
    status: u16,
    reason: &'static str,
}

const fn connect(url: &'static str, host: &'static str, reason: &'static str) -> Expected {
    Expected {
        method: "CONNECT",
        url,
        host,
        status: 502,
        reason,
    }
}

const fn get(url: &'static str, host: &'static str, status: u16) -> Expected {
    Expected {
        method: "GET",
        url,
        host,
        status,
        reason: "modtape: this ",
    }
}

fn output_of(args: &[&str]) -> String {
    run(Sandbox::new().modtape(args.iter().copied()), LIMIT)
        .expect_success()
        .stdout
}

fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn body_text(exchange: &Exchange) -> String {
    let body = exchange.end().and_then(|end| end.body.as_ref());
    let inline = body.and_then(|body| body.inline.as_ref());
    let bytes = inline.map(|bytes| bytes.0.clone()).unwrap_or_default();
    String::from_utf8(bytes).expect("a text")
}

/// Each is in the journal, in `ls`, NDJSON, CSV and the HAR.
fn assert_everywhere(recorded: &Recorded, expected: &[Expected]) {
    let exchanges = recorded.exchanges();
    let dir = recorded.recording.dir();
    let name = dir.to_str().expect("a path of tests is text");
    let listed = json_lines(&output_of(&["ls", "--json", name]));
    let exported = json_lines(&output_of(&["export", "ndjson", name]));
    let csv = output_of(&["export", "csv", name]);
    let har = std::fs::read(dir.join("session.har")).expect("a HAR");
    let har: Value = serde_json::from_slice(&har).expect("JSON");
    for (number, expected) in expected.iter().enumerate() {
        let exchange = &exchanges[number];
        let end = exchange.end().expect("it ended");
        let begin = &exchange.begin;
        assert_eq!(
            (&begin.method[..], &begin.url[..]),
            (expected.method, expected.url)
        );
        assert_eq!(
            (end.status, end.made_by),
            (expected.status, MadeBy::Modtape)
        );
        let text = body_text(exchange);
        assert!(text.contains(expected.reason), "{text}");
        for line in [&listed[number], &exported[number]] {
            assert_eq!(line["url"], expected.url, "{line}");
            assert_eq!(line["host"], expected.host, "{line}");
            assert_eq!(line["status"], expected.status, "{line}");
            assert_eq!(line["outcome"], "modtape", "{line}");
        }
        let record = format!("{},{},{}", expected.method, expected.url, expected.host);
        assert!(csv.contains(&record), "{csv}");
        let entry = &har["log"]["entries"][number];
        assert_eq!(entry["request"]["url"], expected.url, "{entry}");
        assert_eq!(entry["response"]["status"], expected.status, "{entry}");
        let text = entry["response"]["content"]["text"].as_str();
        assert!(
            text.is_some_and(|text| text.contains(expected.reason)),
            "{entry}"
        );
    }
    assert_eq!(exchanges.len(), expected.len());
    assert_valid(&dir.join("session.har"));
}

#[tokio::test]
async fn what_fails_before_a_request_is_an_exchange_everywhere() {
    let origin = Origin::start(marked());
    // No label of a name is longer than 63 bytes (RFC 1035 section 2.3.4): no resolver asks anyone.
    let flags = [
        format!("--connect-to=refused.example::{}", nobody()),
        format!(
            "--connect-to=unknown.example::{}.invalid:443",
            "x".repeat(64)
        ),
        format!("--connect-to=::{}", origin.addr()),
    ];
    let flags = flags.each_ref().map(String::as_str);
    let wrapping = Wrapping {
        har: true,
        ..Wrapping::default()
    };
    let recorder = Recorder::wrapped(origin.root_pem_path(), &flags, &wrapping);
    for target in ["refused.example:443", "unknown.example:8443"] {
        let client = Client::open(recorder.proxy()).await;
        let answer = client.connect(target, &[]).await;
        assert_eq!(answer.status, 502, "{}", answer.head);
        assert!(
            answer.body.starts_with("modtape: cannot "),
            "{}",
            answer.body
        );
    }
    let mut misdirected = session(&recorder, Alpn::Http1).await;
    let mut request = misdirected.request("/a?b");
    let host = "other.example".parse().expect("a header value");
    request.headers_mut().insert("host", host);
    let answer = misdirected.send(request).await.expect("an answer of ours");
    assert_eq!(answer.status, 421);
    drop(misdirected);
    let mut client = Client::open(recorder.proxy()).await;
    let asked = "GET /page HTTP/1.1\r\nHost: not.a.proxy\r\n\r\n";
    client.send(asked).await.expect("the proxy takes it");
    let head = client.read_head().await.expect("an answer of ours");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    drop(client);
    let recorded = recorder.finish().await;
    assert_everywhere(
        &recorded,
        &[
            connect(
                "https://refused.example/",
                "refused.example",
                "Connection refused",
            ),
            connect(
                "https://unknown.example:8443/",
                "unknown.example:8443",
                "cannot resolve xxx",
            ),
            get("https://other.example/a?b", "other.example", 421),
            get("http://not.a.proxy/page", "not.a.proxy", 400),
        ],
    );
    let first = &recorded.exchanges()[0];
    let end = first.end().expect("it ended");
    assert!(end.phases_us[Phase::Connect].is_some(), "{end:?}");
    let reason = end.reason.as_ref().map(|reason| reason.0.clone());
    let reason = String::from_utf8(reason.unwrap_or_default()).expect("a text");
    assert_eq!(format!("{reason}\n"), body_text(first));
    let said = &recorded.output.stderr;
    assert!(said.contains("modtape: 2 requests in"), "{said}");
    assert_eq!(said.matches("cannot connect to").count(), 1, "{said}");
}

#[tokio::test]
async fn a_tunnel_that_a_parent_proxy_refuses_is_an_exchange_everywhere() {
    let origin = Origin::start(marked());
    let parent = ParentProxy::http(origin.addr())
        .credentials("other", "secret")
        .start();
    let url = format!("--upstream-proxy={}", parent.url());
    let wrapping = Wrapping {
        har: true,
        ..Wrapping::default()
    };
    let recorder = Recorder::wrapped(origin.root_pem_path(), &[&url], &wrapping);
    let client = Client::open(recorder.proxy()).await;
    let secret = ("Proxy-Authorization", "Basic b3VyczpzZWNyZXQtdG9rZW4=");
    let answer = client.connect(&format!("{HOST}:443"), &[secret]).await;
    assert_eq!(answer.status, 502, "{}", answer.head);
    let recorded = recorder.finish().await;
    let reason = "answered 407 Proxy Authentication Required: it offers Basic: put";
    let url = "https://proxy.golang.org/";
    assert_everywhere(&recorded, &[connect(url, HOST, reason)]);
    let journal = std::fs::read_to_string(recorded.recording.dir().join("journal.ndjson"));
    assert!(!journal.expect("a journal").contains("b3VyczpzZW"));
    let said = &recorded.output.stderr;
    assert_eq!(said.matches("answered 407").count(), 1, "{said}");
}
