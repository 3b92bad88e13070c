//! What holds for any octets of an HTTP/1 client: for a fuzz target and its twin in the tests.

use super::{FIELDS_LIMIT, Scanner, Violation};

/// One verdict, however the octets arrive; and what passes is the very same messages to a laxer
/// parser.
pub fn requests(octets: &[u8]) {
    let whole = verdict(octets, &[]);
    let single: Vec<usize> = (0..octets.len()).collect();
    let halves = [octets.len() / 3, octets.len() / 2];
    assert_eq!(whole, verdict(octets, &single));
    assert_eq!(whole, verdict(octets, &halves));
    let (good, _, heads) = whole;
    assert_eq!(heads_of_httparse(&octets[..good]), Some(heads));
}

/// The verdict on `octets` in these pieces: how many are good, what is refused, whole heads.
pub(super) fn verdict(octets: &[u8], cuts: &[usize]) -> (usize, Option<Violation>, u64) {
    let mut scanner = Scanner::default();
    let mut good = 0;
    let ends = cuts.iter().copied().chain([octets.len()]);
    for end in ends {
        let scan = scanner.scan(&octets[good..end.max(good)]);
        good += scan.good;
        if scan.refused.is_some() {
            return (good, scan.refused, scanner.heads());
        }
    }
    (good, None, scanner.heads())
}

/// How many heads httparse reads, if it reads the stream to its end as messages with their bodies.
pub(super) fn heads_of_httparse(mut octets: &[u8]) -> Option<u64> {
    let mut heads = 0;
    while !octets.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_LIMIT];
        let mut request = httparse::Request::new(&mut fields);
        let end = match request.parse(octets).ok()? {
            httparse::Status::Complete(end) => end,
            httparse::Status::Partial => return Some(heads),
        };
        heads += 1;
        let field = |name: &str| {
            let found = request
                .headers
                .iter()
                .find(|f| f.name.eq_ignore_ascii_case(name));
            found.map(|field| String::from_utf8_lossy(field.value).into_owned())
        };
        let length = field("content-length").map(|value| value.parse::<usize>());
        let is_chunked = field("transfer-encoding").is_some();
        octets = &octets[end..];
        octets = match (length, is_chunked) {
            (Some(length), false) => octets.get(length.ok()?..).unwrap_or_default(),
            (None, false) => octets,
            (None, true) => behind_chunks(octets)?,
            (Some(_), true) => return None,
        };
    }
    Some(heads)
}

fn behind_chunks(mut octets: &[u8]) -> Option<&[u8]> {
    loop {
        let httparse::Status::Complete((start, size)) = httparse::parse_chunk_size(octets).ok()?
        else {
            return Some(&[]);
        };
        octets = &octets[start..];
        if size == 0 {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_LIMIT];
            return match httparse::parse_headers(octets, &mut fields).ok()? {
                httparse::Status::Complete((end, _)) => Some(&octets[end..]),
                httparse::Status::Partial => Some(&[]),
            };
        }
        octets = octets
            .get(usize::try_from(size).ok()? + 2..)
            .unwrap_or_default();
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
