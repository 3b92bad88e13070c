//! Clients that ask for odd names or do not trust our root: each is a named event.

use modtape::exchange::{Mode, Opened};

use super::raw_hello::{RawHello, alert, host_names};
use super::*;

/// What the journal says of a connection: how it was taken, the name, words of the error.
type Expected = (Mode, Option<&'static str>, Option<&'static str>);

const LEFT: Option<&str> = Some("the client broke off once it had modtape's certificate");
const MALFORMED: Option<&str> = Some("the client sent a malformed ClientHello: ");
const ODD: Expected = (Mode::Intercept, None, MALFORMED);

fn origin() -> Origin {
    Origin::start(Content::files([((HOST, "/a"), (200, "text/plain", "a"))]))
}

/// Says `bytes` inside a CONNECT, then no more, and reads to the end.
async fn say(recorder: &Recorder, bytes: &[u8]) -> Vec<u8> {
    let client = Client::open(recorder.proxy()).await;
    let connected = client.connect(&format!("{HOST}:443"), &[]).await;
    assert_eq!(connected.status, 200, "{}", connected.head);
    let mut client = connected.client;
    client.send(bytes).await.expect("it is read");
    // Who leaves before there is an answer is told otherwise.
    let Ok(mut answer) = client.read_exactly(1).await else {
        return Vec::new();
    };
    // The recorder may have ended the connection already.
    let _ = client.shutdown().await;
    answer.extend(client.read_to_end().await.0);
    answer
}

/// Which rows the journal tells otherwise.
fn complaints<'a>(
    rows: impl IntoIterator<Item = (&'a str, Expected)>,
    opened: &[Opened],
) -> Vec<String> {
    let mut opened = opened.iter();
    let mut failures = Vec::new();
    for (what, (mode, sni, error)) in rows {
        let Some(opened) = opened.next() else {
            failures.push(format!("{what}: not in the journal"));
            continue;
        };
        let told = opened.error.as_deref();
        let is_told = match (error, told) {
            (None, None) => true,
            (Some(words), Some(told)) => told.contains(words),
            _ => false,
        };
        let is_right = is_told && opened.mode == mode && opened.client.sni.as_deref() == sni;
        if !is_right {
            let mode = opened.mode;
            failures.push(format!("{what}: {mode:?} {:?} {told:?}", opened.client.sni));
        }
    }
    failures
}

#[tokio::test]
async fn odd_server_names_are_named_in_the_journal() {
    let long = [b'a'; 256];
    let one = |name: &[u8]| Some(host_names(&[name]));
    let ours = |error| (Mode::Intercept, Some(HOST), error);
    let rows: Vec<(&str, Option<Vec<u8>>, Expected)> = vec![
        ("as it should be", one(b"proxy.golang.org"), ours(LEFT)),
        ("upper case", one(b"PROXY.Golang.ORG"), ours(LEFT)),
        ("a trailing dot", one(b"proxy.golang.org."), ours(LEFT)),
        ("no name", None, (Mode::Intercept, None, LEFT)),
        (
            "an address",
            one(b"192.0.2.7"),
            (Mode::Intercept, None, LEFT),
        ),
        (
            "not on the list",
            one(b"other.example"),
            (Mode::Tunnel, Some("other.example"), None),
        ),
        (
            "an underscore",
            one(b"a_b.example"),
            (Mode::Tunnel, Some("a_b.example"), None),
        ),
        (
            "punycode",
            one(b"xn--bcher-kva.example"),
            (Mode::Tunnel, Some("xn--bcher-kva.example"), None),
        ),
        ("with a port", one(b"proxy.golang.org:443"), ODD),
        ("NUL inside", one(b"proxy.golang.org\0.evil.example"), ODD),
        ("not ASCII", one("bücher.example".as_bytes()), ODD),
        ("256 bytes", one(&long), ODD),
        ("an empty name", one(b""), ODD),
        ("an empty list", Some(vec![0, 0]), ODD),
        (
            "two names",
            Some(host_names(&[b"proxy.golang.org", b"go.dev"])),
            ODD,
        ),
        ("a cut list", Some(vec![0, 9, 0]), ODD),
    ];
    let origin = origin();
    let recorder = Recorder::to(&origin, &["--intercept", HOST]);
    let mut failures = Vec::new();
    for (what, names, expected) in &rows {
        let hello = RawHello {
            names: names.clone(),
            ..RawHello::tls12()
        };
        let answer = say(&recorder, &hello.bytes()).await;
        // A fatal alert (RFC 5246 section 7.2).
        let is_alert = matches!(&answer[..], [21, 3, _, 0, 2, 2, _]);
        if expected.2 == MALFORMED && !is_alert {
            failures.push(format!("{what}: {answer:?}"));
        }
    }
    assert_none(&failures);
    let recorded = recorder.finish().await;
    let expected = rows.iter().map(|(what, _, expected)| (*what, *expected));
    assert_none(&complaints(expected, &recorded.opened()));
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test]
async fn what_a_client_says_of_our_certificate_is_told_in_plain_words() {
    let distrust = "the client does not trust modtape's root: it sent the alert ";
    let rows = [
        (48, "unknown_ca", distrust),
        (42, "bad_certificate", distrust),
        (46, "certificate_unknown", distrust),
        (
            45,
            "expired",
            "the client takes modtape's certificate for expired",
        ),
        (
            40,
            "handshake_failure",
            "the client refused modtape's handshake",
        ),
        (
            80,
            "internal_error",
            "the client refused modtape's handshake",
        ),
        (99, "99", "the client refused modtape's handshake"),
    ];
    let origin = origin();
    let recorder = Recorder::to(&origin, &["--intercept", HOST]);
    for (code, _, _) in rows {
        let hello = RawHello {
            names: Some(host_names(&[HOST.as_bytes()])),
            ..RawHello::tls12()
        };
        say(&recorder, &[hello.bytes(), alert(code)].concat()).await;
    }
    // One who speaks TLS 1.3, whose alert is encrypted, and knows another root.
    for tls in [Tls::V12, Tls::V13] {
        let stranger = Hello::new(HOST, origin.root_pem_path()).tls(tls);
        let client = Client::open(recorder.proxy()).await;
        let connected = client.connect(&format!("{HOST}:443"), &[]).await;
        let refused = connected.client.handshake(&stranger).await;
        assert!(refused.is_err(), "{tls:?}");
    }
    let recorded = recorder.finish().await;
    let mut failures = Vec::new();
    let opened = recorded.opened();
    for ((code, name, words), opened) in rows.iter().zip(&opened) {
        let told = opened.error.as_deref().unwrap_or_default();
        if !(told.starts_with(words) && told.contains(name)) {
            failures.push(format!("alert {code}: {told:?}"));
        }
    }
    for opened in &opened[rows.len()..] {
        let told = opened.error.as_deref().unwrap_or_default();
        if told != format!("{distrust}unknown_ca") {
            failures.push(format!("rustls: {told:?}"));
        }
    }
    assert_eq!(opened.len(), rows.len() + 2);
    assert_none(&failures);
    let said = &recorded.output.stderr;
    let line = "5 connections to proxy.golang.org: the client does not trust modtape's root";
    assert!(said.contains(line), "{said}");
}
