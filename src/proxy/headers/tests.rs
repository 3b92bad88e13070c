//! Tables of heads between all pairs of legs, and any list that `Connection` may hold.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Lines<'a> = &'a [(&'a str, &'a str)];

fn map(fields: Lines<'_>) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    fields.iter().map(field).collect()
}

fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
    let text = |value| std::str::from_utf8(HeaderValue::as_bytes(value)).unwrap();
    let line = |(name, value): (_, _)| (HeaderName::as_str(name), text(value));
    headers.iter().map(line).collect()
}

fn request(uri: &str, fields: Lines<'_>) -> request::Parts {
    let mut request = http::Request::get(uri).body(()).unwrap();
    *request.headers_mut() = map(fields);
    request.into_parts().0
}

const ONE: Protocol = Protocol::Http1;
const TWO: Protocol = Protocol::H2;

#[test]
fn a_request_head_fits_the_upstream_leg() {
    let rows: [(&str, Protocol, &str, Lines<'_>, &str, Lines<'_>); 11] = [
        (
            "1 to 1",
            ONE,
            "/a?b",
            &[("host", "a.example"), ("x", "y")],
            "/a?b",
            &[("host", "a.example"), ("x", "y")],
        ),
        (
            "1 to 2",
            TWO,
            "/a?b",
            &[("host", "a.example"), ("x", "y")],
            "https://a.example/a?b",
            &[("x", "y")],
        ),
        (
            "2 to 1",
            ONE,
            "https://a.example/a?b",
            &[("x", "y")],
            "/a?b",
            &[("x", "y"), ("host", "a.example")],
        ),
        (
            "2 to 2",
            TWO,
            "https://a.example/a?b",
            &[("x", "y")],
            "https://a.example/a?b",
            &[("x", "y")],
        ),
        (
            "absolute form",
            ONE,
            "https://A.EXAMPLE:443/a",
            &[("host", "A.EXAMPLE:443")],
            "/a",
            &[("host", "a.example")],
        ),
        (
            "no path",
            ONE,
            "https://a.example",
            &[],
            "/",
            &[("host", "a.example")],
        ),
        (
            "two slashes",
            TWO,
            "//b.example/a",
            &[("host", "a.example")],
            "https://a.example//b.example/a",
            &[],
        ),
        (
            "1 to 2, of the connection",
            TWO,
            "/",
            &[
                ("te", "trailers"),
                ("transfer-encoding", "chunked"),
                ("connection", "close"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMA"),
                ("expect", "100-continue"),
            ],
            "https://a.example/",
            &[("expect", "100-continue"), ("te", "trailers")],
        ),
        (
            "trailers are asked for over HTTP/1 too",
            ONE,
            "/",
            &[
                ("te", "gzip, Trailers"),
                ("connection", "te, x"),
                ("x", "y"),
            ],
            "/",
            &[
                ("te", "trailers"),
                ("connection", "te"),
                ("host", "a.example"),
            ],
        ),
        (
            "no other coding is",
            TWO,
            "/",
            &[("te", "gzip"), ("x", "y")],
            "https://a.example/",
            &[("x", "y")],
        ),
        (
            "equal lengths",
            TWO,
            "/",
            &[("content-length", "5"), ("x", "y"), ("content-length", "5")],
            "https://a.example/",
            &[("content-length", "5"), ("x", "y")],
        ),
    ];
    let mut failed = Vec::new();
    for (name, leg, uri, fields, expected_uri, expected) in rows {
        let mut head = request(uri, fields);
        to_upstream(&mut head, "a.example", leg);
        let version = if leg == ONE {
            Version::HTTP_11
        } else {
            Version::HTTP_2
        };
        let is_right = head.uri == expected_uri && head.version == version;
        if !is_right || lines(&head.headers) != expected {
            failed.push(format!("{name}: {} {:?}", head.uri, head.headers));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_response_head_fits_the_client_leg() {
    let rows: [(&str, Lines<'_>, Lines<'_>); 5] = [
        (
            "plain",
            &[("content-length", "5"), ("x", "y")],
            &[("content-length", "5"), ("x", "y")],
        ),
        (
            "chunked",
            &[("transfer-encoding", "chunked"), ("x", "y")],
            &[("x", "y")],
        ),
        (
            "of the connection",
            &[
                ("connection", "close, x"),
                ("keep-alive", "5"),
                ("x", "y"),
                ("upgrade", "h2c"),
            ],
            &[],
        ),
        (
            "of the proxy",
            &[
                ("proxy-authenticate", "Basic"),
                ("proxy-connection", "close"),
                ("x", "y"),
            ],
            &[("x", "y")],
        ),
        (
            "named, yet the message's",
            &[
                ("connection", "content-encoding"),
                ("content-encoding", "gzip"),
            ],
            &[("content-encoding", "gzip")],
        ),
    ];
    for leg in [ONE, TWO] {
        for (name, fields, expected) in rows {
            let mut response = http::Response::new(());
            *response.headers_mut() = map(fields);
            let mut head = response.into_parts().0;
            to_client(&mut head, leg);
            assert_eq!(lines(&head.headers), expected, "{name}");
            let version = if leg == ONE {
                Version::HTTP_11
            } else {
                Version::HTTP_2
            };
            assert_eq!(head.version, version);
        }
    }
}

#[test]
fn what_could_be_read_in_two_ways_has_a_name() {
    let rows: [(Lines<'_>, bool); 13] = [
        (&[], true),
        (&[("content-length", "5")], true),
        (&[("content-length", "5"), ("content-length", "5")], true),
        (&[("transfer-encoding", "Chunked")], true),
        (&[("content_type", "x")], true),
        (&[("content-length", "5"), ("content-length", "6")], false),
        (&[("content-length", "5, 5")], false),
        (&[("content-length", "")], false),
        (&[("content-length", "+5")], false),
        (
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            false,
        ),
        (&[("transfer-encoding", "gzip, chunked")], false),
        (
            &[
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            false,
        ),
        (&[("content_length", "5")], false),
    ];
    for (fields, is_plain) in rows {
        assert_eq!(ambiguity(&map(fields)).is_none(), is_plain, "{fields:?}");
    }
}

#[test]
fn trailers_hold_nothing_that_belongs_into_a_head() {
    let mut fields = map(&[
        ("x-sum", "1"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("host", "b.example"),
        ("authorization", "Basic eDp5"),
        ("content_length", "5"),
        ("transfer_encoding", "chunked"),
        ("x-more", "2"),
    ]);
    trailers(&mut fields);
    let mut left = lines(&fields);
    left.sort_unstable();
    assert_eq!(left, [("x-more", "2"), ("x-sum", "1")]);
}

/// A name from a message, in some spelling.
fn listed() -> impl Strategy<Value = String> {
    let names = proptest::sample::select(vec![
        "x-a",
        "x-b",
        "accept",
        "user-agent",
        "authorization",
        "host",
        "cookie",
        "content-length",
        "content-type",
        "close",
        "keep-alive",
        "te",
        "",
        "not a name",
        "\u{f6}",
    ]);
    (names, any::<bool>(), "[ \t]{0,2}", "[ \t]{0,2}").prop_map(|(name, upper, before, behind)| {
        let name = if upper {
            name.to_ascii_uppercase()
        } else {
            name.to_owned()
        };
        format!("{before}{name}{behind}")
    })
}

proptest! {
    #[test]
    fn connection_takes_what_it_lists_and_never_what_is_the_messages(
        lists in vec(vec(listed(), 0..5), 0..4),
    ) {
        let mut headers = map(&[
            ("host", "a.example"), ("x-a", "1"), ("authorization", "Basic eDp5"), ("accept", "*/*"),
            ("x-a", "2"), ("cookie", "a=b"), ("x-b", "3"), ("content-length", "5"),
            ("content-type", "text/plain"), ("user-agent", "go"), ("te", "trailers"),
        ]);
        for list in &lists {
            let value = HeaderValue::from_bytes(list.join(",").trim().as_bytes()).unwrap();
            headers.append("connection", value);
        }
        let named = |name: &str| {
            let names = lists.iter().flatten();
            names.map(|listed| listed.trim().to_ascii_lowercase()).any(|listed| listed == name)
        };
        let mine = ["host", "authorization", "cookie", "content-length", "content-type"];
        let before = lines(&headers).into_iter();
        let expected: Vec<_> = before
            .filter(|(name, _)| !["connection", "te"].contains(name))
            .filter(|(name, _)| mine.contains(name) || !named(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        strip(&mut headers);
        let mut left: Vec<_> = lines(&headers)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut expected = expected;
        left.sort();
        expected.sort();
        prop_assert_eq!(left, expected);
    }
}
