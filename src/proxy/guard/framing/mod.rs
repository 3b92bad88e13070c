//! Follows the requests in a raw HTTP/1 stream and refuses what two parsers could read differently.
//!
//! hyper hides what a framing attack looks like: it drops Content-Length beside Transfer-Encoding,
//! merges equal lengths and takes a bare LF for a line's end before we see a field. So each octet is
//! looked at here first (RFC 9112 sections 2 to 7). Knows no socket and no clock; allocates nothing;
//! never repairs: what is not plainly one thing is a [`Violation`].

#[cfg(any(test, fuzzing))]
pub(crate) mod check;
mod chunks;
mod field;
mod head;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use self::field::{Field, is_token};
pub(crate) use self::target::encode_target;

use self::chunks::{Chunks, Trailers};
use self::head::{Body, Head};

/// The longest request head, octets: that of HTTP/2 on the same leg.
pub(crate) const HEAD_LIMIT: usize = 64 * 1024;

/// The most fields of a head or of trailers: hyper's own limit.
pub(crate) const FIELDS_LIMIT: usize = 100;

/// The longest extensions of all chunks of one body together, octets: less than hyper's own limit,
/// which would end the connection without a word.
pub(crate) const EXTENSIONS_LIMIT: usize = 8 * 1024;

/// The longest trailers, octets: less than hyper's own limit too.
pub(crate) const TRAILERS_LIMIT: usize = 8 * 1024;

/// What two parsers could read differently; the words stand in our 400 and in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the request line is not METHOD TARGET VERSION")]
    RequestLine,
    #[error("the HTTP version is neither 1.0 nor 1.1")]
    Version,
    #[error("the request target is malformed")]
    Target,
    /// Nothing that two parsers read differently, once it is encoded: go and curl send such targets.
    #[error("the request target holds bytes that are not percent-encoded")]
    RawTarget,
    #[error("a line ends in LF without CR")]
    BareLf,
    #[error("a CR stands without LF")]
    BareCr,
    #[error("a field is folded over two lines")]
    Folded,
    #[error("a field name is empty or malformed")]
    FieldName,
    #[error("whitespace stands before the colon of a field")]
    SpaceBeforeColon,
    #[error("a control character stands in the head")]
    Control,
    #[error("the head is longer than {HEAD_LIMIT} octets")]
    LongHead,
    #[error("the head has more than {FIELDS_LIMIT} fields")]
    ManyFields,
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    #[error("Content-Length stands twice")]
    RepeatedLength,
    #[error("Content-Length is no plain number")]
    Length,
    #[error("Transfer-Encoding is not chunked alone")]
    Encoding,
    #[error("Transfer-Encoding in HTTP/1.0")]
    EncodingInHttp10,
    #[error("a framing field is spelled with an underscore")]
    Underscore,
    #[error("no Host field")]
    NoHost,
    #[error("Host stands twice")]
    RepeatedHost,
    #[error("the Host field is malformed")]
    Host,
    #[error("the size of a chunk is malformed")]
    ChunkSize,
    #[error("the extension of a chunk is malformed")]
    Extension,
    #[error("chunk extensions of more than {EXTENSIONS_LIMIT} octets")]
    LongExtensions,
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    #[error("the trailers are longer than {TRAILERS_LIMIT} octets")]
    LongTrailers,
    #[error("a trailer field belongs into the head")]
    Trailer,
}

/// What a look at some octets brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scan {
    /// So many octets may pass; the rest is to be shown again, with more behind it.
    pub(crate) good: usize,
    /// What is wrong right behind them; whoever gets this asks no more.
    pub(crate) refused: Option<Violation>,
}

/// Where the stream is.
#[derive(Debug)]
enum At {
    Head(Head),
    /// In a body of which so many octets are to come.
    Length(u64),
    Chunks(Chunks),
    Trailers(Trailers),
}

/// Follows one connection's requests from head to head.
#[derive(Debug)]
pub(crate) struct Scanner {
    at: At,
    heads: u64,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            at: At::Head(Head::default()),
            heads: 0,
        }
    }
}

impl Scanner {
    /// Looks at `octets`, which begin with what was not good the last time.
    ///
    /// A head is good when it is there as a whole, a trailer line likewise; other octets are good
    /// one by one. Whatever pieces the stream comes in, the same octets are good.
    pub(crate) fn scan(&mut self, octets: &[u8]) -> Scan {
        let mut good = 0;
        loop {
            let (taken, step) = self.step(&octets[good..]);
            good += taken;
            match step {
                Ok(true) => {}
                Ok(false) => {
                    let refused = None;
                    return Scan { good, refused };
                }
                Err(violation) => {
                    let refused = Some(violation);
                    return Scan { good, refused };
                }
            }
        }
    }

    /// Looks at a head anew from its start: its target is encoded now.
    pub(crate) fn start_over(&mut self) {
        self.at = At::Head(Head::default());
    }

    /// Whole heads so far.
    pub(crate) const fn heads(&self) -> u64 {
        self.heads
    }

    /// True inside a message, behind its head.
    pub(crate) const fn is_in_body(&self) -> bool {
        !matches!(self.at, At::Head(_))
    }

    /// Takes what belongs to the present part of a message; true if the next part begins behind it.
    fn step(&mut self, octets: &[u8]) -> (usize, Result<bool, Violation>) {
        let (taken, next) = match &mut self.at {
            At::Head(head) => match head.read(octets) {
                Err(violation) => return (0, Err(violation)),
                Ok(None) => return (0, Ok(false)),
                Ok(Some((end, body))) => {
                    self.heads += 1;
                    (end, Some(Self::after(body)))
                }
            },
            At::Length(left) => {
                let taken = usize::try_from(*left).map_or(octets.len(), |n| n.min(octets.len()));
                *left -= taken as u64;
                let is_over = *left == 0;
                (taken, is_over.then(|| At::Head(Head::default())))
            }
            At::Chunks(chunks) => {
                let (taken, outcome) = chunks.read(octets);
                match outcome {
                    Err(violation) => return (taken, Err(violation)),
                    Ok(is_last) => (taken, is_last.then(|| At::Trailers(Trailers::default()))),
                }
            }
            At::Trailers(trailers) => {
                let (taken, outcome) = trailers.read(octets);
                match outcome {
                    Err(violation) => return (taken, Err(violation)),
                    Ok(is_over) => (taken, is_over.then(|| At::Head(Head::default()))),
                }
            }
        };
        let Some(next) = next else {
            return (taken, Ok(false));
        };
        self.at = next;
        (taken, Ok(true))
    }

    fn after(body: Body) -> At {
        match body {
            Body::Length(0) => At::Head(Head::default()),
            Body::Length(octets) => At::Length(octets),
            Body::Chunked => At::Chunks(Chunks::default()),
        }
    }
}

/// Where the line that begins at `from` ends (behind its LF), if its end is there.
///
/// `searched` keeps what was looked at already, so that a line which comes octet by octet costs no
/// more than one that comes whole.
fn line_end(octets: &[u8], searched: &mut usize) -> Option<usize> {
    let rest = &octets[*searched..];
    match rest.iter().position(|octet| *octet == b'\n') {
        Some(at) => {
            *searched += at + 1;
            Some(*searched)
        }
        None => {
            *searched = octets.len();
            None
        }
    }
}
