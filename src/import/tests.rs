use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::har::{HarError, Survey, entries, survey};
use super::*;
use crate::clock::Timestamp;
use crate::exchange::{ByteString, End, Ending, Exchange, Hex, MadeBy, Phase, field};

type Entries = Vec<Result<Box<Imported>, LeftOut>>;

fn read(har: &[u8]) -> Result<(Survey, Entries), HarError> {
    let survey = survey(har)?;
    let mut found = Vec::new();
    let files = |name: &str| (name == "there.txt").then(|| b"a file".to_vec());
    entries(har, &survey, &files, |_, imported| {
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
fn one(change: impl FnOnce(&mut Value)) -> Result<Box<Imported>, LeftOut> {
    let mut entry = entry();
    change(&mut entry);
    let (_, mut found) = read(&har(json!([entry]))).expect("a HAR");
    found.remove(0)
}

fn imported(change: impl FnOnce(&mut Value)) -> Box<Imported> {
    one(change).expect("an exchange")
}

fn oddities(imported: &Imported) -> Vec<Oddity> {
    imported.oddities.iter().collect()
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
    assert_eq!(oddities(&imported), [Oddity::Decoded]);
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
    assert_eq!(oddities(post), [Oddity::Zoneless]);
    assert!(post.opened.is_none());
    let bare = found[1].as_ref().unwrap();
    let Ending::Aborted(abort) = &bare.exchange.ending else {
        panic!("{bare:?}");
    };
    assert_eq!(
        (abort.status, abort.why.as_str()),
        (None, "the HAR has no response")
    );
    assert_eq!(oddities(bare), [Oddity::Untimed]);
    assert!(matches!(found[2], Err(LeftOut::Scheme)));
    assert!(matches!(found[3], Err(LeftOut::NotAnEntry)));
    let bodiless = found[4].as_ref().unwrap();
    assert_eq!(
        oddities(bodiless),
        [Oddity::Converted, Oddity::Untimed, Oddity::NoBody]
    );
    assert!(bodiless.exchange.end().is_none());
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
    assert_eq!(
        end(exchange).headers,
        [("x".to_owned(), ByteString(vec![255]))]
    );
    assert_eq!(
        (end(exchange).own_us, end(exchange).made_by),
        (41, MadeBy::Origin)
    );
    assert_eq!(oddities(first), []);
    assert!(first.opened.is_some() && second.opened.is_none());
    let Ending::Aborted(abort) = &second.exchange.ending else {
        panic!("{second:?}");
    };
    assert_eq!(
        (abort.phase, abort.status, abort.why.as_str()),
        (Phase::Receive, Some(200), "the upstream ended")
    );
}

/// A response with these header fields, `bodySize` and content.
fn response(headers: Value, wire: i64, content: Value) -> Box<Imported> {
    imported(|entry| {
        entry["response"]["headers"] = headers;
        entry["response"]["bodySize"] = wire.into();
        entry["response"]["content"] = content;
    })
}

#[test]
fn a_body_whose_lengths_agree_is_taken_and_the_header_says_no_more_than_that() {
    let gzip = [
        ["Content-Encoding", "gzip"],
        ["Content-Length", "33"],
        ["etag", "x"],
    ];
    let coded = response(json!(gzip), 33, json!({"text": "a text", "size": 6}));
    assert_eq!(
        end(&coded.exchange).headers,
        [("etag".to_owned(), "x".into())]
    );
    assert_eq!(oddities(&coded), [Oddity::Decoded]);
    // As mitmproxy has it: size is the length on the wire.
    let saved = json!({"text": "a text", "size": 33, "compression": -27});
    assert_eq!(
        oddities(&response(json!(gzip), 33, saved)),
        [Oddity::Decoded]
    );
    let unsized_text = response(
        json!([["content-encoding", "br"]]),
        -1,
        json!({"text": "a text"}),
    );
    assert_eq!(oddities(&unsized_text), [Oddity::Decoded]);
    for (headers, wire, content, body) in [
        (json!([]), -1, json!({"text": "a body"}), "a body"),
        (
            json!([["content-length", " 2 "]]),
            2,
            json!({"text": "\u{e9}"}),
            "\u{e9}",
        ),
        (
            json!([["content-length", "6"]]),
            -1,
            json!({"text": "a body", "size": 0}),
            "a body",
        ),
        (
            json!([]),
            71,
            json!({"text": "a body", "size": 6}),
            "a body",
        ),
        (
            json!([]),
            -1,
            json!({"text": "YSBi\r\nb2R5\n", "encoding": "base64"}),
            "a body",
        ),
        (
            json!([]),
            -1,
            json!({"text": "YT9ib34", "encoding": "Base64"}),
            "a?bo~",
        ),
        (
            json!([]),
            -1,
            json!({"text": "Pz8_Pz4-", "encoding": "base64"}),
            "????>>",
        ),
        (
            json!([]),
            -1,
            json!({"text": "a", "encoding": "utf-8", "size": 1}),
            "a",
        ),
        (
            json!([]),
            -1,
            json!({"_file": "there.txt", "size": 6}),
            "a file",
        ),
        (
            json!([]),
            -1,
            json!({"text": "\u{fffd}", "size": 3, "mimeType": "text/plain"}),
            "\u{fffd}",
        ),
        (json!([]), 0, json!({"text": "", "size": 0}), ""),
        (json!([]), -1, json!({"size": 0}), ""),
        (json!([["content-length", "0"]]), -1, json!({}), ""),
        (
            json!([["content-encoding", "gzip"]]),
            20,
            json!({"text": "", "size": 0}),
            "",
        ),
    ] {
        let shown = content.to_string();
        let found = response(headers, wire, content);
        assert_eq!(found.body.as_deref(), Some(body.as_bytes()), "{shown}");
        assert_eq!(oddities(&found), [], "{shown}");
    }
}

#[test]
fn a_body_that_contradicts_itself_is_not_there() {
    let gzipped = BASE64.encode(b"\x1f\x8b\x08 and so on");
    let coded = json!([["content-encoding", "gzip"], ["content-length", "7173"]]);
    let table = [
        (json!([]), -1, json!({"size": 9}), Oddity::NoBody),
        (json!([]), -1, json!({}), Oddity::NoBody),
        (
            json!([["content-length", "9"]]),
            -1,
            json!({"size": 0}),
            Oddity::NoBody,
        ),
        (
            json!([["content-length", "9"]]),
            9,
            json!({"size": 0, "text": ""}),
            Oddity::NoBody,
        ),
        (json!([]), 9, json!({"size": 0, "text": ""}), Oddity::NoBody),
        (
            json!([]),
            -1,
            json!({"size": 9, "text": ""}),
            Oddity::NoBody,
        ),
        (
            coded.clone(),
            7173,
            json!({"size": 0, "text": ""}),
            Oddity::NoBody,
        ),
        (
            json!([]),
            -1,
            json!({"size": 9, "text": "a"}),
            Oddity::Length,
        ),
        (
            json!([]),
            -1,
            json!({"size": 0, "text": "a"}),
            Oddity::Length,
        ),
        (
            json!([["content-length", "9"]]),
            -1,
            json!({"text": "a"}),
            Oddity::Length,
        ),
        (
            json!([["content-length", "1"]]),
            1,
            json!({"size": 1, "text": "\u{e9}"}),
            Oddity::Length,
        ),
        (
            coded.clone(),
            7173,
            json!({"size": 22598, "text": "a stub"}),
            Oddity::Length,
        ),
        (
            coded.clone(),
            7173,
            json!({"size": 7173, "text": "a stub"}),
            Oddity::Length,
        ),
        (
            json!([]),
            -1,
            json!({"text": "?", "encoding": "base64"}),
            Oddity::Base64,
        ),
        (
            json!([]),
            -1,
            json!({"text": "a", "encoding": "gzip"}),
            Oddity::Encoding,
        ),
        (
            json!([]),
            -1,
            json!({"text": "PK\u{fffd}", "size": 5, "mimeType": "application/zip"}),
            Oddity::Replaced,
        ),
        (
            json!([]),
            -1,
            json!({"text": "PK\u{fffd}"}),
            Oddity::Replaced,
        ),
        (
            coded,
            7173,
            json!({"text": gzipped, "encoding": "base64", "size": 22598}),
            Oddity::StillCoded,
        ),
        (
            json!([]),
            -1,
            json!({"text": gzipped, "encoding": "base64", "mimeType": "application/json"}),
            Oddity::StillCoded,
        ),
        (
            json!([]),
            -1,
            json!({"_file": "elsewhere.txt", "size": 6}),
            Oddity::File,
        ),
    ];
    for (headers, wire, content, kind) in table {
        let shown = content.to_string();
        let found = response(headers, wire, content);
        assert_eq!(oddities(&found), [kind], "{shown}");
        assert_eq!(found.body, None, "{shown}");
        let Ending::Aborted(abort) = &found.exchange.ending else {
            panic!("{shown}: {found:?}");
        };
        assert!(
            abort.why.starts_with("the body is not in the HAR"),
            "{}",
            abort.why
        );
        assert_eq!(abort.status, Some(200));
    }
}

#[test]
fn gzip_that_its_lengths_prove_to_be_as_sent_stays_as_it_is() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, b"v1.0.0\n").expect("memory");
    let bytes = encoder.finish().expect("memory");
    let len = bytes.len();
    let text = BASE64.encode(&bytes);
    let headers = json!([
        ["content-encoding", "gzip"],
        ["content-length", len.to_string()]
    ]);
    for (headers, size) in [
        (headers.clone(), json!(len)),
        (headers, json!(7)),
        (json!([["content-encoding", "gzip"]]), json!(7)),
    ] {
        let content =
            json!({"text": text, "encoding": "base64", "size": size, "mimeType": "text/plain"});
        let found = response(headers, -1, content);
        assert_eq!(found.body.as_ref(), Some(&bytes));
        assert!(field(&end(&found.exchange).headers, "content-encoding").is_some());
        assert_eq!(oddities(&found), []);
    }
}

#[test]
fn a_response_that_can_have_no_body_has_none() {
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("CONNECT", 200)] {
        let found = imported(|entry| {
            entry["request"]["method"] = method.into();
            entry["response"]["status"] = status.into();
        });
        assert_eq!((&found.body, &end(&found.exchange).body), (&None, &None));
        assert_eq!(oddities(&found), [Oddity::Bodyless]);
    }
    let interim = imported(|entry| entry["response"]["status"] = json!(103));
    assert_eq!(oddities(&interim), [Oddity::Interim]);
    assert_eq!(
        (interim.exchange.status(), interim.exchange.end()),
        (Some(103), None)
    );
}

#[test]
fn what_our_own_exports_say_of_a_body_is_held_against_it() {
    let digest = json!({"sha256": "00".repeat(32), "outcome": "ended"});
    let kept = imported(|entry| {
        entry["response"]["content"] = json!({"size": 70_000});
        entry["response"]["bodySize"] = json!(70_000);
        entry["_modtape"] = digest.clone();
    });
    let body = end(&kept.exchange).body.as_ref().unwrap();
    assert_eq!((body.bytes, body.kept), (70_000, false));
    let altered = imported(|entry| entry["_modtape"] = digest);
    assert_eq!(oddities(&altered), [Oddity::Digest]);
}

#[test]
fn an_odd_value_costs_that_value() {
    type Change = fn(&mut Value);
    let table: [(Change, Oddity); 18] = [
        (
            |entry| entry["response"]["status"] = json!(99_999),
            Oddity::Status,
        ),
        (
            |entry| entry["response"]["status"] = json!(200.5),
            Oddity::Status,
        ),
        (
            |entry| entry["response"]["status"] = json!("OK"),
            Oddity::Value,
        ),
        (
            |entry| entry["response"]["status"] = json!("200"),
            Oddity::Converted,
        ),
        (
            |entry| entry["response"]["headers"] = json!([{"value": 7}]),
            Oddity::Field,
        ),
        (
            |entry| entry["response"]["headers"] = json!([["a b", "c"]]),
            Oddity::Field,
        ),
        (
            |entry| entry["response"]["headers"] = json!([["a", "b\0c"]]),
            Oddity::Field,
        ),
        (
            |entry| entry["response"]["headers"] = json!([7, {}, []]),
            Oddity::Field,
        ),
        (
            |entry| entry["response"]["headers"] = json!([["n", 7]]),
            Oddity::Converted,
        ),
        (
            |entry| entry["response"]["headers"] = json!({"a": ["b", "c"]}),
            Oddity::Converted,
        ),
        (
            |entry| entry["response"]["headers"] = json!("a: b"),
            Oddity::Value,
        ),
        (
            |entry| entry["request"]["method"] = json!("get"),
            Oddity::Converted,
        ),
        (
            |entry| entry["request"]["httpVersion"] = json!("HTTP/Q"),
            Oddity::Version,
        ),
        (
            |entry| entry["request"]["postData"] = json!(["x"]),
            Oddity::Value,
        ),
        (
            |entry| entry["serverIPAddress"] = json!("h.example"),
            Oddity::Address,
        ),
        (
            |entry| entry["timings"] = json!({"wait": -7}),
            Oddity::Timing,
        ),
        (|entry| entry["timings"] = json!("quick"), Oddity::Value),
        (
            |entry| entry["startedDateTime"] = json!("yesterday"),
            Oddity::Untimed,
        ),
    ];
    for (change, kind) in table {
        let found = imported(change);
        assert!(found.oddities.has(kind), "{kind:?}: {:?}", found.oddities);
    }
    let fine = imported(|entry| {
        for name in ["timings", "serverIPAddress", "connection", "cache"] {
            entry[name] = Value::Null;
        }
        entry["response"]["content"]["size"] = Value::Null;
        entry["response"]["headers"] = json!([["a", null], {"name": ":status", "value": "200"}]);
        entry["response"]["statusText"] = json!("200 OK");
    });
    assert_eq!(oddities(&fine), []);
    assert_eq!(end(&fine.exchange).reason, None);
}

#[test]
fn lines_of_a_field_are_fields_unless_they_are_folded() {
    let found = imported(|entry| {
        entry["response"]["headers"] = json!([["set-cookie", "a=1\nb=2"], ["x", "1\r\n 2"]]);
    });
    let expected = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x", "1 2")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.into()));
    assert_eq!(end(&found.exchange).headers, expected);
}

#[test]
fn the_body_of_a_request_is_what_was_sent() {
    let post = |data: Value| {
        let found = imported(|entry| {
            entry["request"]["method"] = json!("POST");
            entry["request"]["postData"] = data;
        });
        let body = found.request_body.as_deref();
        (
            body.map(|body| String::from_utf8_lossy(body).into_owned()),
            oddities(&found),
        )
    };
    let multipart = "multipart/form-data; boundary=\"b\"";
    let file = |value: &str| json!([{"name": "f", "value": value, "fileName": "a.txt", "contentType": "text/plain"}]);
    for (data, body, kinds) in [
        (json!({"text": "a=b"}), Some("a=b"), vec![]),
        (
            json!({"text": "YT1i", "encoding": "base64"}),
            Some("a=b"),
            vec![],
        ),
        (json!({"text": "", "_base64": "YT1i"}), Some("a=b"), vec![]),
        (json!({"_file": "there.txt"}), Some("a file"), vec![]),
        (json!({"text": "", "mimeType": ""}), None, vec![]),
        (
            json!({"text": "", "mimeType": "text/plain"}),
            Some(""),
            vec![],
        ),
        (
            json!({"text": "a=b", "params": [{"name": "c", "value": "d"}]}),
            Some("a=b"),
            vec![],
        ),
        (
            json!({"params": [{"name": "a b", "value": "c&d"}, {"name": "e", "value": "/w==", "encoding": "base64"}]}),
            Some("a+b=c%26d&e=%FF"),
            vec![Oddity::Form],
        ),
        (
            json!({"mimeType": multipart, "params": [{"name": "a\"", "value": "c"}]}),
            Some("--b\r\nContent-Disposition: form-data; name=\"a%22\"\r\n\r\nc\r\n--b--\r\n"),
            vec![Oddity::Form],
        ),
        (
            json!({"mimeType": multipart, "params": file("x")}),
            Some(
                "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n",
            ),
            vec![Oddity::Form],
        ),
        (
            json!({"mimeType": multipart, "params": file("")}),
            None,
            vec![Oddity::RequestBody],
        ),
        (
            json!({"mimeType": "multipart/form-data", "params": [{"name": "a"}]}),
            None,
            vec![Oddity::RequestBody],
        ),
        (
            json!({"text": "?", "encoding": "base64"}),
            None,
            vec![Oddity::RequestBody],
        ),
        (
            json!({"text": "a", "encoding": "rot13"}),
            None,
            vec![Oddity::RequestBody],
        ),
        (
            json!({"text": "PK\u{fffd}", "mimeType": "application/zip"}),
            None,
            vec![Oddity::RequestBody],
        ),
        (
            json!({"_file": "elsewhere.txt"}),
            None,
            vec![Oddity::RequestBody],
        ),
    ] {
        let shown = data.to_string();
        assert_eq!(post(data), (body.map(str::to_owned), kinds), "{shown}");
    }
    let left_out = imported(|entry| {
        entry["request"]["bodySize"] = json!(5);
        entry["request"]["postData"] = json!({"mimeType": "x", "text": "", "comment": "left out"});
    });
    assert_eq!(
        (left_out.request_body.as_ref(), oddities(&left_out)),
        (None, vec![Oddity::RequestBody])
    );
}

#[test]
fn a_server_s_address_is_known_by_connection_or_without_one() {
    let address = |told: &str, members: Value| {
        let found = imported(|entry| {
            entry["serverIPAddress"] = told.into();
            for (name, value) in members.as_object().expect("members") {
                entry[name] = value.clone();
            }
        });
        let upstream = found
            .opened
            .as_ref()
            .and_then(|opened| opened.upstream.as_ref());
        upstream.and_then(|upstream| upstream.addr.clone())
    };
    for (told, members, expected) in [
        ("192.0.2.1", json!({}), "192.0.2.1:443"),
        ("192.0.2.1:8443", json!({}), "192.0.2.1:8443"),
        ("[2001:db8::1]", json!({}), "[2001:db8::1]:443"),
        ("[2001:db8::1]:8443", json!({}), "[2001:db8::1]:8443"),
        ("fe80::1%eth0", json!({}), "[fe80::1]:443"),
        ("192.0.2.1", json!({"connection": "52492"}), "192.0.2.1:443"),
        (
            "192.0.2.1",
            json!({"connection": "8443", "_connectionId": 7}),
            "192.0.2.1:8443",
        ),
    ] {
        assert_eq!(address(told, members).as_deref(), Some(expected), "{told}");
    }
    let with = |address: Value| {
        let mut entry = entry();
        entry["serverIPAddress"] = address;
        entry["connection"] = json!("443");
        entry
    };
    let addresses = ["192.0.2.1", "192.0.2.2", "192.0.2.1"].map(|address| with(address.into()));
    let mut entries = addresses.to_vec();
    entries.push(with(Value::Null));
    let (_, found) = read(&har(entries.into())).unwrap();
    let connections = found.iter().map(|found| {
        let found = found.as_ref().unwrap();
        (found.exchange.begin.connection, found.opened.is_some())
    });
    let expected = [(1, true), (2, true), (1, false), (1, false)];
    assert_eq!(connections.collect::<Vec<_>>(), expected);
}

#[test]
fn an_entry_that_is_no_exchange_is_left_out_by_name_and_the_others_stay() {
    type Change = fn(&mut Value);
    let table: [(Change, LeftOut); 15] = [
        (|entry| *entry = json!([]), LeftOut::NotAnEntry),
        (|entry| *entry = json!(null), LeftOut::NotAnEntry),
        (|entry| entry["request"] = json!("x"), LeftOut::NoRequest),
        (|entry| entry["request"] = json!(null), LeftOut::NoRequest),
        (|entry| entry["request"]["url"] = json!(null), LeftOut::Url),
        (
            |entry| entry["request"]["url"] = json!("https:///x"),
            LeftOut::Url,
        ),
        (
            |entry| entry["request"]["url"] = json!("about:blank"),
            LeftOut::Scheme,
        ),
        (
            |entry| entry["request"]["url"] = json!("data:text/plain,x"),
            LeftOut::Scheme,
        ),
        (
            |entry| entry["request"]["url"] = json!("wss://h/x"),
            LeftOut::WebSocket,
        ),
        (
            |entry| entry["_resourceType"] = json!("websocket"),
            LeftOut::WebSocket,
        ),
        (
            |entry| entry["request"]["url"] = json!("moz-extension://h/x"),
            LeftOut::Extension,
        ),
        (
            |entry| entry["request"]["method"] = json!("A B"),
            LeftOut::Method,
        ),
        (
            |entry| entry["request"]["method"] = json!(null),
            LeftOut::Method,
        ),
        (
            |entry| entry["request"]["headers"] = json!([["x", "y".repeat(1 << 20)]]),
            LeftOut::Words,
        ),
        (
            |entry| entry["request"]["headers"] = json!(vec![["a", ""]; 40_000]),
            LeftOut::TooLarge,
        ),
    ];
    for (change, why) in table {
        let mut wrong = entry();
        change(&mut wrong);
        let (_, found) = read(&har(json!([entry(), wrong, entry()]))).unwrap();
        assert!(found[0].is_ok() && found[2].is_ok(), "{why}");
        assert_eq!(found[1].as_ref().unwrap_err(), &why);
    }
}

#[test]
fn a_har_is_found_in_whatever_form_it_comes() {
    let one = entry().to_string();
    for (text, entries, is_cut) in [
        (format!("{{\"log\":{{\"entries\":[{one}]}}}}"), 1, false),
        (format!("{{\"entries\":[{one}],\"pages\":null}}"), 1, false),
        (
            format!("[{{\"log\":{{\"entries\":[{one}]}}}},{{\"log\":{{\"entries\":[{one}]}}}}]"),
            2,
            false,
        ),
        (
            format!("{{\"log\":{{\"entries\":[{one}]}}}}\n{{\"log\":{{\"entries\":[{one}]}}}}"),
            2,
            false,
        ),
        (
            format!("{{\"log\":{{\"entries\":{{\"0\":{one}}}}}}}"),
            1,
            false,
        ),
        (format!("{{\"log\":{{\"entries\":[{one},]}}}} x"), 1, false),
        (
            format!("{{\"log\":{{\"entries\":[{one},{{\"request\""),
            1,
            true,
        ),
        (format!("{{\"log\":{{\"entries\":[{one}"), 1, true),
        ("{\"log\":{\"entries\":null}}".into(), 0, false),
        ("{\"log\":{}}".into(), 0, false),
    ] {
        let (survey, found) = read(text.as_bytes()).unwrap();
        assert_eq!((survey.entries, survey.is_cut), (entries, is_cut), "{text}");
        assert_eq!(found.len() as u64, entries);
        assert!(found.iter().all(Result::is_ok), "{text}");
    }
}

#[test]
fn what_is_no_har_is_a_named_error() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = format!("{{\"log\":{{\"entries\":[{nested}]}}}}");
    let (_, found) = read(deep.as_bytes()).unwrap();
    assert!(matches!(found[0], Err(LeftOut::NotAnEntry)));
    let not_json = "not a HAR file: it does not begin with a JSON object";
    let no_log = "not a HAR file: it has no log";
    let no_entry = "not a whole HAR file: it ends before the end of its first entry";
    for (text, why) in [
        ("", not_json),
        ("<html>", not_json),
        ("\u{feff}\u{feff}{}", not_json),
        ("{}", no_log),
        ("{\"lo", no_log),
        ("[]", no_log),
        ("[7,\"x\"]", no_log),
        ("{\"log\":7}", no_log),
        ("{\"log\":{\"entries\":[{", no_entry),
        (&nested, no_log),
    ] {
        let error = read(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), why, "{}", text.get(..40).unwrap_or(text));
    }
}

#[test]
fn an_entry_beyond_all_bounds_is_passed_over() {
    let long = vec![b'a'; 65 << 20];
    let good = entry().to_string();
    let large = [
        &b"{\"log\":{\"entries\":[{\"x\":\""[..],
        &long,
        b"\"},",
        good.as_bytes(),
        b"]}}",
    ];
    let (_, found) = read(&large.concat()).unwrap();
    assert_eq!(found[0].as_ref().unwrap_err(), &LeftOut::TooLarge);
    assert!(found[1].is_ok());
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
