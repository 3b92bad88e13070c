//! HTTP/2 requests that no relay may pass on as they stand.
//!
//! Each asks for `/hostile`; what another parser would find hidden in it asks for `/smuggled`.

use super::HOST;
use crate::support::frames::get;

/// Names and values in order.
pub type Fields = Vec<(&'static [u8], &'static [u8])>;

/// Fields of a GET of `/hostile`, then these.
pub fn with(fields: &[(&'static str, &'static str)]) -> Fields {
    let mut all = get(HOST, "/hostile");
    all.extend(fields.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
    all
}

/// The four pseudo-header fields in these words.
pub fn asks(
    method: &'static str,
    scheme: &'static str,
    authority: &'static str,
    path: &'static str,
) -> Fields {
    let fields = [
        (":method", method),
        (":scheme", scheme),
        (":authority", authority),
        (":path", path),
    ];
    fields
        .iter()
        .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
        .collect()
}

/// Name, fields, the bytes of DATA if there are any.
pub fn hostile() -> Vec<(&'static str, Fields, Option<&'static str>)> {
    let mut rows: Vec<(&str, Fields, Option<&str>)> = Vec::new();
    let path = |path| asks("GET", "https", HOST, path);
    let authority = |authority| asks("GET", "https", authority, "/hostile");
    for (name, fields) in [
        (
            "CRLF in :path",
            path("/hostile HTTP/1.1\r\nHost: x\r\n\r\nGET /smuggled"),
        ),
        ("LF in :path", path("/hostile\n/smuggled")),
        ("NUL in :path", path("/hostile\0")),
        ("space in :path", path("/hostile HTTP/1.1")),
        ("empty :path", path("")),
        ("no slash", path("hostile")),
        ("a URL for :path", path("https://sum.golang.org/hostile")),
        ("asterisk", path("*")),
        (
            "CRLF in :method",
            asks(
                "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\nGET",
                "https",
                HOST,
                "/hostile",
            ),
        ),
        (
            "space in :method",
            asks("GET /smuggled", "https", HOST, "/hostile"),
        ),
        ("empty :method", asks("", "https", HOST, "/hostile")),
        (
            "CRLF in :scheme",
            asks("GET", "https\r\nX: y", HOST, "/hostile"),
        ),
        ("another :scheme", asks("GET", "http", HOST, "/hostile")),
        (
            "an unknown :scheme",
            asks("GET", "gopher", HOST, "/hostile"),
        ),
        ("empty :scheme", asks("GET", "", HOST, "/hostile")),
        ("another :authority", authority("sum.golang.org")),
        ("another port", authority("proxy.golang.org:80")),
        ("userinfo", authority("proxy.golang.org@sum.golang.org")),
        (
            "our host as userinfo",
            authority("sum.golang.org@proxy.golang.org"),
        ),
        ("CRLF in :authority", authority("proxy.golang.org\r\nX: y")),
        ("path in :authority", authority("proxy.golang.org/smuggled")),
        ("a list", authority("proxy.golang.org,sum.golang.org")),
        ("port past 16 bits", authority("proxy.golang.org:65979")),
        ("empty :authority", authority("")),
        ("no :method", with(&[])[1..].to_vec()),
        ("no :scheme", [&with(&[])[..1], &with(&[])[2..]].concat()),
        ("no :authority", [&with(&[])[..2], &with(&[])[3..]].concat()),
        ("no :path", with(&[])[..3].to_vec()),
        (
            "two :methods",
            [with(&[]), vec![(&b":method"[..], &b"POST"[..])]].concat(),
        ),
        ("two :paths", with(&[(":path", "/smuggled")])),
        (
            "two :authorities",
            with(&[(":authority", "sum.golang.org")]),
        ),
        ("two :schemes", with(&[(":scheme", "http")])),
        (
            "pseudo behind plain",
            [vec![(&b"x"[..], &b"y"[..])], with(&[])].concat(),
        ),
        ("unknown pseudo", with(&[(":x", "y")])),
        (":status", with(&[(":status", "200")])),
        (":protocol", with(&[(":protocol", "websocket")])),
        (
            "a CONNECT",
            vec![
                (b":method", b"CONNECT"),
                (b":authority", b"sum.golang.org:443"),
            ],
        ),
        ("another host", with(&[("host", "sum.golang.org")])),
        ("two hosts", with(&[("host", HOST), ("host", HOST)])),
        ("rfc9113_8_2_2 connection", with(&[("connection", "close")])),
        (
            "rfc9113_8_2_2 transfer-encoding",
            with(&[("transfer-encoding", "chunked")]),
        ),
        ("rfc9113_8_2_2 upgrade", with(&[("upgrade", "h2c")])),
        ("rfc9113_8_2_2 keep-alive", with(&[("keep-alive", "5")])),
        (
            "rfc9113_8_2_2 proxy-connection",
            with(&[("proxy-connection", "close")]),
        ),
        ("te gzip", with(&[("te", "gzip")])),
        ("upper case", with(&[("X", "y")])),
        ("empty name", with(&[("", "y")])),
        ("colon in a name", with(&[("x:z", "y")])),
        ("space in a name", with(&[("x z", "y")])),
        ("CRLF in a name", with(&[("x\r\ny: z\r\n", "y")])),
        ("NUL in a name", with(&[("x\0", "y")])),
        (
            "cve_2025_57804 CRLF in a value",
            with(&[("x", "y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")]),
        ),
        ("LF in a value", with(&[("x", "y\nz: 1")])),
        ("CR in a value", with(&[("x", "y\rz: 1")])),
        ("NUL in a value", with(&[("x", "y\0")])),
        ("DEL in a value", with(&[("x", "y\x7f")])),
        ("space before a value", with(&[("x", " y")])),
        ("space behind a value", with(&[("x", "y ")])),
        (
            "te with an underscore",
            with(&[("transfer_encoding", "chunked")]),
        ),
        ("cl with an underscore", with(&[("content_length", "5")])),
    ] {
        rows.push((name, fields, None));
    }
    for (name, fields, body) in [
        (
            "DATA past content-length",
            vec![("content-length", "3")],
            "abcde",
        ),
        (
            "DATA short of content-length",
            vec![("content-length", "9")],
            "abcde",
        ),
        (
            "content-length of nothing",
            vec![("content-length", "")],
            "abcde",
        ),
        (
            "signed content-length",
            vec![("content-length", "+5")],
            "abcde",
        ),
        (
            "content-length list",
            vec![("content-length", "5, 5")],
            "abcde",
        ),
        (
            "two content-lengths",
            vec![("content-length", "5"), ("content-length", "6")],
            "abcde",
        ),
        (
            "two content-lengths, the second right",
            vec![("content-length", "6"), ("content-length", "5")],
            "abcde",
        ),
    ] {
        rows.push((name, with(&fields), Some(body)));
    }
    rows
}
