//! What holds for any bytes of an HTTP/1 client, for a fuzz target and its twin in the tests; and tables
//! of what passes and what does not.

use super::{Scanner, Stop};

/// What became of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// So many of them may pass.
    pub(super) good: usize,
    /// What stands right behind those.
    pub(super) stop: Option<Stop>,
    /// Where a head begins that may pass.
    pub(super) heads: Vec<usize>,
}

/// One verdict, however the bytes arrive; and what passes are the very same messages to httparse, up
/// to where that (and hyper with it) refuses one.
pub fn requests(bytes: &[u8]) {
    let whole = verdict(bytes, &[]);
    let single: Vec<usize> = (0..bytes.len()).collect();
    let halves = [bytes.len() / 3, bytes.len() / 2];
    assert_eq!(whole, verdict(bytes, &single));
    assert_eq!(whole, verdict(bytes, &halves));
    same_heads(bytes, &whole);
}

/// Asserts that httparse finds the same heads.
pub(super) fn same_heads(bytes: &[u8], ours: &Verdict) {
    let (theirs, is_refused) = heads_of_httparse(&bytes[..ours.good]);
    match is_refused {
        true => assert!(ours.heads.starts_with(&theirs), "{theirs:?} of {ours:?}"),
        false => assert_eq!(ours.heads, theirs),
    }
}

/// The verdict on `bytes` in these pieces.
pub(super) fn verdict(bytes: &[u8], cuts: &[usize]) -> Verdict {
    let mut scanner = Scanner::default();
    let (mut good, mut heads) = (0, Vec::new());
    let ends = cuts.iter().copied().chain([bytes.len()]);
    for end in ends {
        loop {
            let before = scanner.heads();
            let scan = scanner.scan(&bytes[good..end.max(good)]);
            if scanner.heads() > before {
                heads.push(good);
            }
            good += scan.good;
            if scan.good == 0 {
                if scan.stop.is_some() {
                    let stop = scan.stop;
                    return Verdict { good, stop, heads };
                }
                break;
            }
        }
    }
    Verdict {
        good,
        stop: None,
        heads,
    }
}

/// Where httparse finds heads, and whether hyper refuses what follows the last of them.
fn heads_of_httparse(bytes: &[u8]) -> (Vec<usize>, bool) {
    let (mut heads, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut fields);
        let end = match request.parse(&bytes[at..]) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) => return (heads, bytes.len() - at > 65_536),
            Err(_) => return (heads, true),
        };
        heads.push(at);
        at += end;
        let field = |name: &str| {
            let mut fields = request.headers.iter();
            let field = fields.find(|field| field.name.eq_ignore_ascii_case(name));
            field.map(|field| String::from_utf8_lossy(field.value).into_owned())
        };
        let behind = match (field("content-length"), field("transfer-encoding")) {
            (None, None) => Some(at),
            (Some(length), None) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse::<usize>().ok().and_then(|n| at.checked_add(n))
            }
            (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => {
                behind_chunks(bytes, at)
            }
            _ => None,
        };
        let Some(behind) = behind else {
            return (heads, true);
        };
        at = behind;
    }
    (heads, false)
}

/// Where a chunked body ends; the end of `bytes` where it does not, `None` where it is malformed.
fn behind_chunks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let httparse::Status::Complete((start, size)) = httparse::parse_chunk_size(rest).ok()?
        else {
            return Some(bytes.len());
        };
        at += start;
        if size == 0 {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            return match httparse::parse_headers(&bytes[at..], &mut fields).ok()? {
                httparse::Status::Complete((end, _)) => Some(at + end),
                httparse::Status::Partial => Some(bytes.len()),
            };
        }
        at += usize::try_from(size).ok()? + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Violation as V;
    use super::*;
    use crate::hostile::twin;

    /// A head of these lines after a request line and a Host field.
    fn with(lines: &str) -> Vec<u8> {
        format!("POST /a HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n").into_bytes()
    }

    fn chunked(body: &str) -> Vec<u8> {
        let mut bytes = with("Transfer-Encoding: chunked\r\n");
        bytes.extend_from_slice(body.as_bytes());
        bytes
    }

    /// Whole, and byte by byte.
    fn judge(bytes: &[u8]) -> Verdict {
        let whole = verdict(bytes, &[]);
        let single: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(whole, verdict(bytes, &single));
        whole
    }

    #[test]
    fn every_message_is_followed_to_the_next_head() {
        let get = "GET /a?b=c HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let first: Vec<(&str, Vec<u8>)> = vec![
            ("a GET", get.into()),
            ("an empty line first", format!("\r\n{get}").into()),
            (
                "a body",
                [&with("Content-Length: 3\r\n")[..], b"abc"].concat(),
            ),
            ("no body", with("Content-Length: 0\r\n")),
            (
                "a body like a head",
                [&with("content-length:10\r\n")[..], b"GET /\r\n\r\n\r"].concat(),
            ),
            (
                "chunks",
                chunked("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"),
            ),
            (
                "extensions",
                chunked("3;a;b=\"\\\"c;\"\r\nabc\r\n000;d=e\r\n\r\n"),
            ),
            ("trailers", chunked("3\r\na\r\n\r\n0\r\nX: y\r\nZ:\r\n\r\n")),
            (
                "CHUNKED",
                [&with("transfer-encoding:\tCHUNKED \r\n")[..], b"0\r\n\r\n"].concat(),
            ),
            ("1.0 without Host", b"GET / HTTP/1.0\r\n\r\n".to_vec()),
            (
                "asterisk form",
                b"OPTIONS * HTTP/1.1\r\nHost: [::1]:443\r\n\r\n".to_vec(),
            ),
            ("obs-text and tabs", with("A: b\tc \u{f6} \"d\"\r\nB:\r\n")),
            // hyper's to refuse.
            ("no colon", with("A\r\n")),
            ("a bare CR", with("A: b\rc\r\n")),
            ("a length that is none", with("Content-Length: x\r\n")),
        ];
        for (name, mut bytes) in first {
            let second = bytes.len();
            bytes.extend_from_slice(get.as_bytes());
            let (good, heads) = (bytes.len(), vec![0, second]);
            let expected = Verdict {
                good,
                stop: None,
                heads,
            };
            assert_eq!(judge(&bytes), expected, "{name}");
        }
    }

    #[test]
    fn what_hyper_does_not_show_is_refused_by_name() {
        let line = |line: &str| format!("{line}\r\nHost: a.example\r\n\r\n").into_bytes();
        let rows: Vec<(&str, Vec<u8>, V)> = vec![
            ("fragment", line("GET /a#b HTTP/1.1"), V::Fragment),
            (
                "LF alone",
                b"GET / HTTP/1.1\nHost: a\n\n".to_vec(),
                V::BareLf,
            ),
            ("LF in fields", with("A: b\nC: d\r\n"), V::BareLf),
            ("LF at end", with("A: b\r\n\n"), V::BareLf),
            (
                "CL and TE",
                with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
                V::LengthAndEncoding,
            ),
            (
                "TE and CL",
                with("transfer-encoding: chunked\r\ncontent-length: 3\r\n"),
                V::LengthAndEncoding,
            ),
            (
                "CL differing",
                with("Content-Length: 3\r\nContent-Length: 4\r\n"),
                V::RepeatedLength,
            ),
            (
                "CL equal",
                with("Content-Length: 3\r\ncontent-length: 3\r\n"),
                V::RepeatedLength,
            ),
            ("CL octal", with("Content-Length: 010\r\n"), V::OctalLength),
            ("chunk +", chunked("+3\r\nabc\r\n0\r\n\r\n"), V::Chunk),
            ("chunk 0x", chunked("0x3\r\nabc\r\n0\r\n\r\n"), V::Chunk),
            ("chunk space", chunked("3 \r\nabc\r\n0\r\n\r\n"), V::Chunk),
            (
                "chunk space first",
                chunked(" 3\r\nabc\r\n0\r\n\r\n"),
                V::Chunk,
            ),
            (
                "chunk without size",
                chunked("\r\nabc\r\n0\r\n\r\n"),
                V::Chunk,
            ),
            (
                "extension without size",
                chunked(";a\r\nabc\r\n0\r\n\r\n"),
                V::Chunk,
            ),
            (
                "chunk wraps",
                chunked("10000000000000003\r\nabc\r\n"),
                V::Chunk,
            ),
            ("chunk LF", chunked("3\nabc\r\n0\r\n\r\n"), V::Chunk),
            ("chunk CR", chunked("3\rabc\r\n0\r\n\r\n"), V::Chunk),
            ("chunk long", chunked("3\r\nabcd\r\n0\r\n\r\n"), V::Chunk),
            ("chunk end LF", chunked("3\r\nabc\n0\r\n\r\n"), V::Chunk),
            ("chunk end CR", chunked("3\r\nabc\rX0\r\n\r\n"), V::Chunk),
            ("extension LF", chunked("3;a=b\nabc\r\n0\r\n\r\n"), V::Chunk),
            ("extension CR", chunked("3;a=b\rabc\r\n0\r\n\r\n"), V::Chunk),
            ("trailer LF", chunked("0\r\nA: b\n\r\n"), V::Chunk),
            ("trailer end LF", chunked("0\r\n\n"), V::Chunk),
        ];
        for (name, bytes, expected) in rows {
            assert_eq!(judge(&bytes).stop, Some(Stop::Refuse(expected)), "{name}");
        }
    }

    #[test]
    fn a_raw_target_is_found() {
        let rows = [
            ("/a<b>`c", true),
            ("/a?b=<c>", true),
            ("/a?b=\"c\"", true),
            ("/\u{f6}", true),
            ("http://a/b?`", false),
            ("/a%3Cb", false),
        ];
        for (target, is_raw) in rows {
            let head = format!("\r\nGET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let range = 6..6 + target.len();
            let stop = is_raw.then_some(Stop::Encode(range));
            assert_eq!(judge(head.as_bytes()).stop, stop, "{target}");
        }
    }

    #[test]
    fn nothing_of_a_refused_head_is_good() {
        let good = [&with("Content-Length: 3\r\n")[..], b"abc"].concat();
        let bad = with("A: b\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n");
        let both = [&good[..], &bad].concat();
        for cut in 0..both.len() {
            assert_eq!(verdict(&both, &[cut]).good, good.len(), "cut at {cut}");
        }
    }

    #[test]
    fn a_head_that_is_too_long_is_left_to_hyper() {
        let endless = vec![b'x'; 65_537];
        assert_eq!(verdict(&endless[1..], &[]).good, 0);
        assert_eq!(verdict(&endless, &[]).good, endless.len());
    }

    /// Bytes that are mostly requests: pieces of syntax in any order.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let word = proptest::sample::select(vec![
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\n",
            "GET http://a/ HTTP/1.0\r\n",
            "Host: a\r\n",
            "Content-Length: 5\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "X: y\r\n",
            "\r\n",
            "\r",
            "\n",
            " ",
            ":",
            ";",
            "0\r\n\r\n",
            "5\r\n12345\r\n",
            "a;b=\"c\"\r\n0123456789\r\n",
            "0\r\nX: y\r\n\r\n",
            "x",
            "\0",
            "\"",
        ]);
        let byte = any::<u8>().prop_map(|byte| vec![byte]);
        let piece = prop_oneof![20 => word.prop_map(|word| word.as_bytes().to_vec()), 1 => byte];
        vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_hang_on_the_pieces(
            bytes in stream(),
            cuts in vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(judge(&bytes), verdict(&bytes, &cuts));
        }

        #[test]
        fn what_passes_is_the_same_to_httparse(bytes in stream()) {
            same_heads(&bytes, &verdict(&bytes, &[]));
        }
    }

    #[test]
    fn any_stream_of_requests_is_judged_the_same_however_it_arrives() {
        twin("http_head", 1_000, super::requests);
    }
}
