use serde_json::{Value, json};

use super::har::{HarError, Survey, entries, survey};
use super::*;
use crate::clock::Timestamp;
use crate::exchange::{End, Exchange, Hex, MadeBy, Octets, Outcome, Phase, field};

type Entries = Vec<Result<Box<Imported>, EntryError>>;

fn read(har: &[u8]) -> Result<(Survey, Entries), HarError> {
    let survey = survey(har)?;
    let mut found = Vec::new();
    entries(har, &survey, |_, imported| {
        found.push(imported);
        true
    })?;
    Ok((survey, found))
}

fn har(entries: Value) -> Vec<u8> {
    json!({"log": {"entries": entries}})
        .to_string()
        .into_bytes()
}

fn entry() -> Value {
    json!({
        "startedDateTime": "2026-11-22T04:52:00.000Z",
        "request": {"method": "GET", "url": "https://h.example/a"},
        "response": {"status": 200, "httpVersion": "HTTP/1.1", "content": {"text": "a body"}}
    })
}

/// What comes of one entry, after a change.
fn one(change: impl FnOnce(&mut Value)) -> Result<Box<Imported>, EntryError> {
    let mut entry = entry();
    change(&mut entry);
    let (_, mut found) = read(&har(json!([entry]))).expect("a HAR");
    found.remove(0)
}

fn imported(change: impl FnOnce(&mut Value)) -> Box<Imported> {
    one(change).expect("an exchange")
}

fn end(exchange: &Exchange) -> &End {
    exchange.end().expect("an end")
}

#[test]
fn a_browsers_entry_is_an_exchange() {
    let seed = include_bytes!("../../fuzz/seeds/har/browser.har");
    let (survey, found) = read(seed).unwrap();
    assert_eq!(
        (survey.pages, survey.entries, survey.recording),
        (1, 1, None)
    );
    let imported = found.into_iter().next().unwrap().unwrap();
    let exchange = &imported.exchange;
    assert_eq!(exchange.started, Timestamp::from_micros(120_000));
    assert_eq!((exchange.begin.id, exchange.begin.connection), (1, 1));
    assert_eq!(exchange.begin.version, "HTTP/2");
    let names: Vec<_> = exchange
        .begin
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["cookie"]);
    assert_eq!(
        (end(exchange).version.as_str(), &end(exchange).reason),
        ("HTTP/2", &None)
    );
    assert!(end(exchange).headers.is_empty(), "{exchange:?}");
    assert_eq!(
        imported.body.as_deref(),
        Some(&b"module rsc.io/quote\n"[..])
    );
    assert!(imported.changes.is_decoded && !imported.changes.is_converted);
    assert_eq!(exchange.timings()[Phase::Connect], Some(12_500));
    let opened = imported.opened.as_ref().unwrap();
    let upstream = opened.upstream.as_ref().unwrap();
    assert_eq!(upstream.addr.as_deref(), Some("[2a00:1450::1]:443"));
    assert_eq!(upstream.alpn.as_deref(), Some("h2"));
    assert!(!imported.has_span);
}

#[test]
fn a_mark_lists_for_fields_and_missing_parts_are_no_errors() {
    let seed = include_bytes!("../../fuzz/seeds/har/slack.har");
    let (survey, found) = read(seed).unwrap();
    assert_eq!(survey.entries, 5);
    let post = found[0].as_ref().unwrap();
    assert_eq!(post.request_body.as_deref(), Some(&b"want"[..]));
    assert_eq!(post.body.as_deref(), Some(&[0, 255][..]));
    let exchange = &post.exchange;
    assert_eq!(
        field(&exchange.begin.headers, "accept").as_deref(),
        Some("*/*")
    );
    assert_eq!(exchange.begin.version, "unknown");
    assert_eq!(exchange.begin.connection, 0);
    assert!(post.changes.is_zoneless && post.opened.is_none());
    let bare = found[1].as_ref().unwrap();
    let Outcome::Aborted(abort) = &bare.exchange.outcome else {
        panic!("{bare:?}");
    };
    assert_eq!(
        (abort.status, abort.why.as_str()),
        (None, "the HAR tells of no answer")
    );
    assert!(bare.changes.is_untimed);
    assert!(matches!(found[2], Err(EntryError::Url)));
    assert!(matches!(found[3], Err(EntryError::Json(_))));
    let bodiless = found[4].as_ref().unwrap();
    assert!(bodiless.changes.is_bodiless && bodiless.exchange.end().is_none());
    assert_eq!(
        (bodiless.exchange.status(), bodiless.exchange.body_bytes()),
        (Some(200), 5_000)
    );
}

#[test]
fn what_modtape_exported_comes_back() {
    let seed = include_bytes!("../../fuzz/seeds/har/modtape.har");
    let (survey, found) = read(seed).unwrap();
    assert_eq!(survey.recording.as_deref(), Some("0190c1d2"));
    assert_eq!(survey.trace, Some(Hex([7; 16])));
    assert_eq!(survey.command, ["go", "mod", "tidy"]);
    let [first, second] = [0, 1].map(|at| found[at].as_ref().unwrap());
    let exchange = &first.exchange;
    assert_eq!((exchange.begin.id, exchange.begin.connection), (3, 7));
    assert_eq!(exchange.begin.span, Hex([1; 8]));
    assert_eq!(exchange.started, Timestamp::from_micros(1_000));
    assert_eq!(end(exchange).headers, [("x".to_owned(), Octets(vec![255]))]);
    assert_eq!(
        (end(exchange).own_us, end(exchange).made_by),
        (41, MadeBy::Origin)
    );
    assert_eq!(first.changes, Changes::default());
    assert!(first.opened.is_some() && second.opened.is_none());
    let Outcome::Aborted(abort) = &second.exchange.outcome else {
        panic!("{second:?}");
    };
    assert_eq!(
        (abort.phase, abort.status, abort.why.as_str()),
        (Phase::Receive, Some(200), "the upstream ended")
    );
}

#[test]
fn a_body_is_what_the_har_has_and_the_header_says_no_more_than_that() {
    let response = |headers: Value, content: Value| {
        imported(|entry| {
            entry["response"]["headers"] = headers;
            entry["response"]["content"] = content;
        })
    };
    let coded = json!([
        ["Content-Encoding", "br"],
        ["Content-Length", "3"],
        ["etag", "x"]
    ]);
    let decoded = response(coded.clone(), json!({"text": "a text"}));
    assert_eq!(
        end(&decoded.exchange).headers,
        [("etag".to_owned(), "x".into())]
    );
    assert!(decoded.changes.is_decoded);
    let empty = response(coded, json!({"text": ""}));
    assert!(!empty.changes.is_decoded);
    let latin = response(json!([["content-length", "1"]]), json!({"text": "\u{e9}"}));
    assert!(latin.changes.is_converted && end(&latin.exchange).headers.is_empty());
    let cut = response(json!([]), json!({"text": "a", "size": 9}));
    assert!(cut.changes.is_converted);
    let right = response(
        json!([["content-length", " 2 "]]),
        json!({"text": "\u{e9}"}),
    );
    assert_eq!(right.changes, Changes::default());
    let lines = response(
        json!([]),
        json!({"text": "YSBi\r\nb2R5\n", "encoding": "base64"}),
    );
    assert_eq!(lines.body.as_deref(), Some(&b"a body"[..]));
    let nothing = response(json!([]), json!({"size": 0}));
    assert_eq!(nothing.body.as_deref(), Some(&[][..]));
    let head = imported(|entry| {
        entry["request"]["method"] = "HEAD".into();
        entry["response"]["content"] = json!({"size": 0});
    });
    assert_eq!((&head.body, &end(&head.exchange).body), (&None, &None));
    let digest = json!({"sha256": "00".repeat(32), "outcome": "ok"});
    let kept = imported(|entry| {
        entry["response"]["content"] = json!({"size": 70_000});
        entry["_modtape"] = digest.clone();
    });
    let body = end(&kept.exchange).body.as_ref().unwrap();
    assert_eq!((body.bytes, body.kept), (70_000, false));
    let altered = one(|entry| entry["_modtape"] = digest);
    assert!(matches!(altered, Err(EntryError::Digest)));
}

#[test]
fn an_entry_that_is_wrong_is_named_and_the_others_stay() {
    type Change = fn(&mut Value);
    let table: [(Change, &str); 14] = [
        (
            |entry| entry["request"]["headers"] = json!(vec![["", ""]; 10_001]),
            "it is no entry",
        ),
        (
            |entry| entry["_modtape"] = json!({"attempts": vec![json!({}); 10_001]}),
            "it is no entry",
        ),
        (|entry| *entry = json!([]), "it is no entry"),
        (|entry| *entry = json!(null), "it is no entry"),
        (|entry| entry["request"] = json!("x"), "it is no entry"),
        (|entry| entry["request"] = json!(null), "it has no request"),
        (
            |entry| entry["request"]["url"] = json!("about:blank"),
            "its URL is not one of HTTP",
        ),
        (
            |entry| entry["request"]["url"] = json!("wss://h/x"),
            "its URL is not one of HTTP",
        ),
        (
            |entry| entry["request"]["method"] = json!("A B"),
            "its method is none",
        ),
        (
            |entry| entry["response"]["status"] = json!(99_999),
            "its status is none",
        ),
        (
            |entry| entry["response"]["status"] = json!(200.5),
            "its status is none",
        ),
        (
            |entry| entry["response"]["content"] = json!({"text": "?", "encoding": "base64"}),
            "its body is not base64, as it says",
        ),
        (
            |entry| entry["request"]["headers"] = json!([["x", "y".repeat(1 << 20)]]),
            "its URL and header fields are larger than 1 MiB",
        ),
        (
            |entry| entry["response"]["headers"] = json!([{"value": 7}]),
            "it is no entry",
        ),
    ];
    for (change, why) in table {
        let mut wrong = entry();
        change(&mut wrong);
        let (_, found) = read(&har(json!([entry(), wrong, entry()]))).unwrap();
        assert!(found[0].is_ok() && found[2].is_ok(), "{why}");
        assert_eq!(found[1].as_ref().unwrap_err().to_string(), why);
    }
}

#[test]
fn what_is_no_har_is_a_named_error() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("{{\"log\":{{\"entries\":[{nested}]}}}}");
    let (_, found) = read(deep.as_bytes()).unwrap();
    assert!(matches!(found[0], Err(EntryError::Json(_))));
    for (text, why) in [
        ("", "it is no HAR"),
        ("{}", "it is no HAR: it has no log"),
        ("[]", "it is no HAR"),
        ("{\"log\":{\"entries\":7}}", "it is no HAR"),
        ("{\"log\":{\"entries\":[{}", "it is no HAR"),
        ("{\"log\":{\"entries\":[]}} x", "it is no HAR"),
        ("\u{feff}\u{feff}{}", "it is no HAR"),
        (&nested, "it is no HAR"),
    ] {
        let error = read(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), why, "{}", text.get(..40).unwrap_or(text));
    }
}

#[test]
fn entries_beyond_all_bounds_end_the_reading_in_bounded_memory() {
    use std::io::Read as _;
    let endless = b"{\"log\":{\"entries\":[{},{\"x\":\"".chain(std::io::repeat(b'a'));
    let error = survey(endless).unwrap_err();
    assert!(matches!(error, HarError::TooLarge { entry: 2 }), "{error}");
    assert_eq!(
        error.to_string(),
        "entry 2, or what stands before it, is larger than 64 MiB"
    );
}

#[test]
fn numbers_of_others_stay_where_all_have_one_of_their_own() {
    let ids = |ids: [Value; 2]| {
        let with = |id: Value| {
            let mut entry = entry();
            entry["_modtape"] = json!({"id": id});
            entry
        };
        let (_, found) = read(&har(ids.map(with).into())).unwrap();
        let found = found
            .into_iter()
            .map(|imported| imported.unwrap().exchange.begin.id);
        found.collect::<Vec<_>>()
    };
    assert_eq!(ids([json!(7), json!(5)]), [7, 5]);
    for twice in [
        [json!(7), json!(7)],
        [json!(7), json!(null)],
        [json!(0), json!(1)],
        [json!(u64::MAX), json!(1)],
    ] {
        assert_eq!(ids(twice), [1, 2]);
    }
}
