//! What holds for any bytes of an HTTP/1 client: for a fuzz target and its twin in the tests.

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
    use crate::hostile::twin;

    #[test]
    fn any_stream_of_requests_is_judged_the_same_however_it_arrives() {
        twin("http_head", 1_000, super::requests);
    }
}
