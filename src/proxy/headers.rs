//! Heads between the legs: hop-by-hop fields go, the form of the target fits the protocol.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, Version, request, response};

use crate::recording::line::FieldsText;
use crate::redact::Redactor;
use crate::tls::Protocol;

/// Fields of one connection, not of the message (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that `Connection` cannot take away: they are for the origin or for the reader of its
/// response (RFC 9110 section 7.6.1), and a message without them would mean something else.
const END_TO_END: [HeaderName; 13] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::ETAG,
    header::HOST,
    header::LOCATION,
    header::RANGE,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
];

/// Fields of framing, routing and credentials, which have no place behind a body.
const ONLY_IN_A_HEAD: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::SET_COOKIE,
    header::TRAILER,
];

/// Whether a field of a request says something of the message, its way or its sender, so that another value would make
/// another request of it.
pub(super) fn belongs_to_the_message(name: &HeaderName) -> bool {
    let families = [
        "accept",
        "content-",
        "forwarded",
        "if-",
        "proxy-",
        "sec-",
        "x-forwarded-",
    ];
    let others = [
        header::FROM,
        header::PRAGMA,
        header::REFERER,
        header::USER_AGENT,
        header::VIA,
    ];
    let text = name.as_str();
    let is_one_of = |known: &[HeaderName]| known.contains(name);
    is_one_of(&HOP_BY_HOP)
        || is_one_of(&END_TO_END)
        || is_one_of(&ONLY_IN_A_HEAD)
        || is_one_of(&others)
        || families.iter().any(|family| text.starts_with(family))
}

/// A token of RFC 9110 section 5.6.2, as a method or a field name is one.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    HeaderName::from_bytes(bytes).is_ok()
}

/// Header fields as the recording holds them: without their secrets.
pub(super) fn recorded(redactor: &Redactor, headers: &HeaderMap) -> FieldsText {
    let fields = headers.iter().map(|(name, value)| {
        let name = name.as_str();
        (name, redactor.field(name, value.as_bytes()))
    });
    FieldsText::of(fields)
}

/// The size of a field section (RFC 9113 section 6.5.2): a few bytes of HPACK may stand for all of it.
pub(super) fn section_bytes(headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum()
}

/// `HTTP/1.1` or `HTTP/2`.
pub(super) fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// Removes what belongs to one connection, `Connection`'s own list included.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = named(headers, &header::CONNECTION)
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    without(headers, |name| {
        HOP_BY_HOP.contains(name) || named.contains(name)
    });
}

/// Removes the fields that `goes` names. The order of the rest stays: `HeaderMap::remove` would put
/// the last field in the place of the removed one.
pub(super) fn without(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    if !headers.keys().any(&goes) {
        return;
    }
    let stay = headers.iter().filter(|(name, _)| !goes(name));
    *headers = stay
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
}

/// Equal lengths are one length (RFC 9110 section 8.6).
fn one_length(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let (Some(first), Some(_)) = (lengths.next().cloned(), lengths.next()) {
        headers.insert(header::CONTENT_LENGTH, first);
    }
}

/// Whether the sender of this head takes trailers.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter();
    let mut codings = values.flat_map(|value| elements(value.as_bytes()));
    codings.any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// The trailers that a response head announces.
pub(super) fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    named(headers, &header::TRAILER).collect()
}

/// Whether the connection ends behind this response (RFC 9112 section 9.3).
pub(super) fn closes(head: &response::Parts) -> bool {
    let says = |what: &str| named(&head.headers, &header::CONNECTION).any(|name| name == what);
    says("close") || head.version == Version::HTTP_10 && !says("keep-alive")
}

/// The names in a list of field names.
fn named<'a>(
    headers: &'a HeaderMap,
    list: &HeaderName,
) -> impl Iterator<Item = HeaderName> + use<'a> {
    let values = headers.get_all(list).iter();
    let names = values.flat_map(|value| elements(value.as_bytes()));
    names.filter_map(|name| HeaderName::from_bytes(name).ok())
}

/// The elements of a field value that is a list (RFC 9110 section 5.6.1), none of which may hold a
/// comma.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let elements = value.split(|byte| *byte == b',');
    elements.map(<[u8]>::trim_ascii)
}

/// Makes a request head fit for the upstream leg.
pub(super) fn to_upstream(head: &mut request::Parts, authority: &str, protocol: Protocol) {
    let takes_trailers = takes_trailers(&head.headers);
    strip(&mut head.headers);
    if takes_trailers {
        // We pass them on to those who ask.
        let trailers = HeaderValue::from_static("trailers");
        head.headers.insert(header::TE, trailers);
        if protocol == Protocol::Http1 {
            let te = HeaderValue::from_static("te");
            head.headers.insert(header::CONNECTION, te);
        }
    }
    one_length(&mut head.headers);
    let path = head.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    match protocol {
        Protocol::Http1 => {
            head.version = Version::HTTP_11;
            if let Ok(host) = HeaderValue::from_str(authority) {
                // RFC 9112 section 3.2.2: the target decides, whatever a Host field says.
                head.headers.insert(header::HOST, host);
            }
            head.uri = Uri::from(path);
        }
        Protocol::H2 => {
            head.version = Version::HTTP_2;
            without(&mut head.headers, |name| *name == header::HOST);
            let whole = Uri::builder().scheme("https").authority(authority);
            if let Ok(uri) = whole.path_and_query(path).build() {
                head.uri = uri;
            }
        }
    }
}

/// Removes from trailers what only a head may say (RFC 9110 section 6.5.1), also where `_` stands for
/// `-`, as CGI would read it.
pub(super) fn trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    without(trailers, |name| {
        let plain = name.as_str().replace('_', "-");
        let is = |other: &HeaderName| *other == plain[..];
        ONLY_IN_A_HEAD.iter().chain(&HOP_BY_HOP).any(is)
    });
}

/// What two readers of this head could take differently, whatever leg it came by. Of HTTP/1 requests
/// `guard::framing` has refused what hyper's parse does not show.
pub(super) fn ambiguity(headers: &HeaderMap) -> Option<&'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().collect();
    let is_length = |value: &HeaderValue| {
        let digits = value.as_bytes();
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    if let Some(first) = lengths.next() {
        if !codings.is_empty() {
            return Some("both Content-Length and Transfer-Encoding");
        }
        if !is_length(first) {
            return Some("a Content-Length that is no number");
        }
        if lengths.any(|other| other != first) {
            return Some("two Content-Lengths that differ");
        }
    }
    match &codings[..] {
        [] => {}
        [one] if one.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        _ => return Some("a Transfer-Encoding other than chunked"),
    }
    let is_disguised = |name: &HeaderName| {
        let name = name.as_str();
        name.contains('_') && {
            let plain = name.replace('_', "-");
            ["content-length", "transfer-encoding"].contains(&&plain[..])
        }
    };
    let disguised = headers.keys().any(is_disguised);
    disguised.then_some("a framing field spelled with an underscore")
}

/// Makes a response head fit for the client leg.
pub(super) fn to_client(head: &mut response::Parts, protocol: Protocol) {
    // hyper frames the body anew; a length that the origin gave stays, once.
    strip(&mut head.headers);
    one_length(&mut head.headers);
    head.version = match protocol {
        Protocol::Http1 => Version::HTTP_11,
        Protocol::H2 => Version::HTTP_2,
    };
}

#[cfg(test)]
mod tests {
    // Tables of heads between all pairs of legs, and any list that `Connection` may hold.
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
        (names, any::<bool>(), "[ \t]{0,2}", "[ \t]{0,2}").prop_map(
            |(name, upper, before, behind)| {
                let name = if upper {
                    name.to_ascii_uppercase()
                } else {
                    name.to_owned()
                };
                format!("{before}{name}{behind}")
            },
        )
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
}
