//! Tables of what passes and what does not, and the twins: pieces, and another parser.

mod refused;
mod twins;

use super::check::verdict;
use super::*;

/// A head of these lines after a request line and a Host field.
fn with(lines: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    let mut octets = with("Transfer-Encoding: chunked\r\n");
    octets.extend_from_slice(body.as_bytes());
    octets
}

/// Whole, and octet by octet.
fn refusal(octets: &[u8]) -> Option<Violation> {
    let whole = verdict(octets, &[]);
    let single: Vec<usize> = (0..octets.len()).collect();
    assert_eq!(whole, verdict(octets, &single));
    whole.1
}

#[test]
fn what_is_plain_passes() {
    let get = b"GET /a?b=c HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec();
    let rows: Vec<(&str, Vec<u8>, u64)> = vec![
        ("a GET", get.clone(), 1),
        ("three in a row", get.repeat(3), 3),
        (
            "an empty line first",
            [b"\r\n".to_vec(), get.clone()].concat(),
            1,
        ),
        (
            "a body",
            [with("Content-Length: 3\r\n"), b"abc".to_vec(), get.clone()].concat(),
            2,
        ),
        (
            "a body of nothing",
            [with("Content-Length: 0\r\n"), get.clone()].concat(),
            2,
        ),
        (
            "a body like a head",
            [
                with("Content-Length: 10\r\n"),
                b"GET /\r\n\r\n\r".to_vec(),
                get.clone(),
            ]
            .concat(),
            2,
        ),
        (
            "chunks",
            [
                chunked("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
                get.clone(),
            ]
            .concat(),
            2,
        ),
        (
            "extensions",
            [
                chunked("3;a;b=\"\\\"c;\"\r\nabc\r\n000;d=e\r\n\r\n"),
                get.clone(),
            ]
            .concat(),
            2,
        ),
        (
            "trailers",
            [
                chunked("3\r\na\r\n\r\n0\r\nX: y\r\nZ:\r\n\r\n"),
                get.clone(),
            ]
            .concat(),
            2,
        ),
        (
            "CHUNKED",
            [
                with("transfer-encoding:\tCHUNKED \r\n"),
                b"0\r\n\r\n".to_vec(),
            ]
            .concat(),
            1,
        ),
        ("1.0 without Host", b"GET / HTTP/1.0\r\n\r\n".to_vec(), 1),
        (
            "absolute form",
            b"GET http://a.example:80/ HTTP/1.1\r\nhost: a.example:80\r\n\r\n".to_vec(),
            1,
        ),
        (
            "asterisk form",
            b"OPTIONS * HTTP/1.1\r\nHost: [::1]:443\r\n\r\n".to_vec(),
            1,
        ),
        (
            "obs-text and tabs",
            with("A: b\tc \u{f6} \"d\"\r\nB:\r\n"),
            1,
        ),
        ("every name", with("!#$%&'*+-.^_`|~09azAZ: x\r\n"), 1),
    ];
    let mut failed = Vec::new();
    for (name, octets, heads) in &rows {
        let got = verdict(octets, &[]);
        if got != (octets.len(), None, *heads) || refusal(octets).is_some() {
            failed.push(format!("{name}: {got:?} of {}", octets.len()));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn each_limit_holds_to_the_octet() {
    let head = |octets: usize| {
        let start = with("").len() + "A: \r\n".len();
        with(&format!("A: {}\r\n", "x".repeat(octets - start)))
    };
    assert_eq!(verdict(&head(HEAD_LIMIT), &[]).1, None);
    assert_eq!(refusal(&head(HEAD_LIMIT + 1)), Some(Violation::LongHead));
    let endless = vec![b'x'; HEAD_LIMIT + 1];
    assert_eq!(refusal(&endless), Some(Violation::LongHead));
    let fields = |count: usize| with(&"A: b\r\n".repeat(count - 1));
    assert_eq!(refusal(&fields(FIELDS_LIMIT)), None);
    assert_eq!(
        refusal(&fields(FIELDS_LIMIT + 1)),
        Some(Violation::ManyFields)
    );
    let extended = |octets: usize| {
        let half = "x".repeat(octets / 2 - 1);
        chunked(&format!("1;{half}\r\na\r\n1;{half}\r\na\r\n"))
    };
    assert_eq!(refusal(&extended(EXTENSIONS_LIMIT)), None);
    let long = Some(Violation::LongExtensions);
    assert_eq!(refusal(&extended(EXTENSIONS_LIMIT + 2)), long);
    let trailers = |octets: usize| {
        let value = "x".repeat(octets - "A: \r\n\r\n".len());
        chunked(&format!("0\r\nA: {value}\r\n\r\n"))
    };
    assert_eq!(refusal(&trailers(TRAILERS_LIMIT)), None);
    let long = Some(Violation::LongTrailers);
    assert_eq!(refusal(&trailers(TRAILERS_LIMIT + 1)), long);
}

#[test]
fn nothing_of_a_refused_head_is_good() {
    let good = [with("Content-Length: 3\r\n"), b"abc".to_vec()].concat();
    let bad = with("A: b\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n");
    let both = [good.clone(), bad].concat();
    assert_eq!(verdict(&both, &[]).0, good.len());
    for cut in 0..both.len() {
        assert_eq!(verdict(&both, &[cut]).0, good.len(), "cut at {cut}");
    }
}
