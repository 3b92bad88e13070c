//! Follows the requests of a raw HTTP/1 stream from head to head, for what hyper does not show.
//!
//! hyper refuses a malformed head or chunk by itself, `handler` and `headers::ambiguity` judge what it
//! has parsed, and the upstream gets a head that is written anew. What is left is below. Each rule
//! names the row of `tests/it/framing/http1_rows.rs` that fails without it.
//!
//! | rule | hyper | row |
//! |---|---|---|
//! | a line ends in CRLF | takes LF | `bare LF`, `TE behind a bare LF` |
//! | Content-Length or Transfer-Encoding | drops Content-Length | `CL.TE`, `TE.CL`, `CL.0 and TE` |
//! | one Content-Length | merges equal ones | `two equal CLs` |
//! | no leading zero in it | takes it | `octal CL` |
//! | no fragment in the target | drops it | `cve_2023_45539 fragment` |
//! | a chunk's size is digits alone | takes spaces behind them | `size with a space` |
//! | a trailer ends in CRLF | takes LF | `trailers with LF` |
//! | a raw target is percent-encoded | refuses what go and curl send | `a_target_that_is_not_encoded_passes_encoded` |
//!
//! Bodies are followed because the next head stands behind them. Knows no socket and no clock;
//! allocates nothing.

#[cfg(any(test, fuzzing))]
pub(crate) mod check;

use std::ops::Range;

use memchr::memchr;

use crate::proxy::limits::HEAD_BYTES;

/// The hex digits of a chunk size below 2^60.
const SIZE_DIGITS: u32 = 15;

/// Why a request is refused, or its body is cut off; the words stand in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a line ends in LF without CR")]
    BareLf,
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndEncoding,
    #[error("Content-Length stands twice")]
    RepeatedLength,
    #[error("Content-Length begins with a zero")]
    OctalLength,
    #[error("the request target has a fragment")]
    Fragment,
    #[error("invalid chunk size, chunk end or trailer")]
    Chunk,
}

/// What keeps a head from passing as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    Refuse(Violation),
    /// The bytes of its target, some of which `http::Uri` does not take.
    Encode(Range<usize>),
}

/// What a look at some bytes brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    /// So many bytes may pass; the rest is to be shown again, with more behind it.
    pub(crate) good: usize,
    /// What stands right behind them.
    pub(crate) stop: Option<Stop>,
}

/// Where the stream is.
#[derive(Debug)]
enum At {
    Head(Head),
    /// In a body of which so many bytes are to come.
    Length(u64),
    Chunked(Chunked),
    /// In a head that is too long, which hyper refuses.
    LongHead,
}

/// Follows one connection's requests.
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
    /// Looks at `bytes`, which begin with what was not good the last time, up to the end of the
    /// present message.
    ///
    /// A head is good when it is there as a whole; other bytes are good one by one.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Scan {
        let mut good = 0;
        let stop = loop {
            if good == bytes.len() || (good > 0 && self.is_before_head()) {
                break None;
            }
            match self.step(&bytes[good..]) {
                Ok(0) => break None,
                Ok(taken) => good += taken,
                Err(stop) => break Some(stop),
            }
        };
        Scan { good, stop }
    }

    /// Looks at a head anew from its start: its target is encoded now.
    pub(crate) fn start_over(&mut self) {
        self.at = At::Head(Head::default());
    }

    /// Heads that have passed.
    pub(crate) const fn heads(&self) -> u64 {
        self.heads
    }

    /// True between two messages, and within a head.
    pub(crate) const fn is_before_head(&self) -> bool {
        matches!(self.at, At::Head(_))
    }

    /// Takes what belongs to the present part of a message: so many bytes, 0 if more must come.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        let (taken, next) = match &mut self.at {
            At::Head(head) => match head.read(bytes)? {
                Some(end) => {
                    self.heads += 1;
                    (end, head.body())
                }
                None if bytes.len() <= HEAD_BYTES as usize => return Ok(0),
                None => {
                    self.heads += 1;
                    (bytes.len(), Some(At::LongHead))
                }
            },
            At::Length(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |n| n.min(bytes.len()));
                *left -= taken as u64;
                (taken, (*left == 0).then(|| At::Head(Head::default())))
            }
            At::Chunked(chunked) => {
                let (taken, is_over) = chunked.read(bytes)?;
                (taken, is_over.then(|| At::Head(Head::default())))
            }
            At::LongHead => (bytes.len(), None),
        };
        if let Some(next) = next {
            self.at = next;
        }
        Ok(taken)
    }
}

/// A head so far.
#[derive(Debug, Default)]
struct Head {
    /// Where its last line begins, and how far that was searched for an end.
    line: usize,
    searched: usize,
    has_request_line: bool,
    /// Of a raw target.
    target: Option<Range<usize>>,
    length: Option<u64>,
    is_chunked: bool,
}

impl Head {
    /// Reads on in a head that begins with `bytes`; where it ends, once it does.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, Stop> {
        while let Some(at) = memchr(b'\n', &bytes[self.searched..]) {
            let start = self.line;
            self.searched += at + 1;
            self.line = self.searched;
            let line = bytes[start..self.line - 1].strip_suffix(b"\r");
            match line.ok_or(Stop::Refuse(Violation::BareLf))? {
                [] if self.has_request_line => {
                    let raw = self.target.take();
                    return raw.map_or(Ok(Some(self.line)), |target| Err(Stop::Encode(target)));
                }
                // RFC 9112 section 2.2: empty lines before a request are let pass.
                [] => {}
                line if self.has_request_line => self.field(line).map_err(Stop::Refuse)?,
                line => self.request_line(line, start).map_err(Stop::Refuse)?,
            }
        }
        self.searched = bytes.len();
        Ok(None)
    }

    fn request_line(&mut self, line: &[u8], start: usize) -> Result<(), Violation> {
        self.has_request_line = true;
        let Some(target) = target_of(line) else {
            return Ok(());
        };
        if memchr(b'#', &line[target.clone()]).is_some() {
            return Err(Violation::Fragment);
        }
        if raw(&line[target.clone()]).next().is_some() {
            self.target = Some(start + target.start..start + target.end);
        }
        Ok(())
    }

    /// Reads the length of the body as hyper reads it, which refuses what is no length or coding.
    fn field(&mut self, line: &[u8]) -> Result<(), Violation> {
        if let Some(value) = value_of(line, b"content-length:") {
            if let [b'0', _, ..] = value.trim_ascii() {
                return Err(Violation::OctalLength);
            }
            let length = std::str::from_utf8(value.trim_ascii());
            let length = length.ok().and_then(|length| length.parse().ok());
            if self.length.replace(length.unwrap_or(0)).is_some() {
                return Err(Violation::RepeatedLength);
            }
        } else if value_of(line, b"transfer-encoding:").is_some() {
            self.is_chunked = true;
        }
        match (self.length, self.is_chunked) {
            (Some(_), true) => Err(Violation::LengthAndEncoding),
            _ => Ok(()),
        }
    }

    fn body(&self) -> Option<At> {
        Some(match self.length {
            _ if self.is_chunked => At::Chunked(Chunked::default()),
            None | Some(0) => At::Head(Self::default()),
            Some(length) => At::Length(length),
        })
    }
}

/// The value of the field whose name and colon are given in lower case, if `line` is that field.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(value)
}

/// Where a chunked body is (RFC 9112 section 7.1).
#[derive(Debug, Clone, Copy)]
enum Chunked {
    Size {
        size: u64,
        digits: u32,
    },
    /// What hyper takes for an extension: anything up to CRLF.
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a line behind the last chunk.
    Trailer,
    InTrailer,
    TrailerLf,
    EndLf,
}

impl Default for Chunked {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunked {
    /// Takes bytes up to the end of the body; true once that has come.
    fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), Stop> {
        let mut taken = 0;
        while taken < bytes.len() {
            if let Self::Data { left } = self {
                let rest = bytes.len() - taken;
                let most = usize::try_from(*left).map_or(rest, |left| left.min(rest));
                taken += most;
                *left -= most as u64;
                if *left == 0 {
                    *self = Self::DataCr;
                }
                continue;
            }
            let is_end = matches!((*self, bytes[taken]), (Self::EndLf, b'\n'));
            match self.after(bytes[taken]) {
                Some(next) => *self = next,
                None if !is_end && taken > 0 => return Ok((taken, false)),
                None if !is_end => return Err(Stop::Refuse(Violation::Chunk)),
                None => return Ok((taken + 1, true)),
            }
            taken += 1;
        }
        Ok((taken, false))
    }

    /// Where the byte behind this one stands; `None` where it is the last, or is not allowed.
    fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Size { size, digits: 1.. }, b'\r') | (Self::Extension { size }, b'\r') => {
                Self::SizeLf { size }
            }
            (Self::Size { size, digits: 1.. }, b';') => Self::Extension { size },
            (
                Self::Size {
                    size,
                    digits: digits @ 0..SIZE_DIGITS,
                },
                _,
            ) => Self::Size {
                size: size * 16 + u64::from(char::from(byte).to_digit(16)?),
                digits: digits + 1,
            },
            (Self::SizeLf { size: 0 }, b'\n') => Self::Trailer,
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::default(),
            (Self::Trailer, b'\r') => Self::EndLf,
            (Self::InTrailer, b'\r') => Self::TrailerLf,
            (Self::TrailerLf, b'\n') => Self::Trailer,
            (Self::Extension { size }, byte) if byte != b'\n' => Self::Extension { size },
            (Self::Trailer | Self::InTrailer, byte) if byte != b'\n' => Self::InTrailer,
            _ => return None,
        })
    }
}

/// Where the target stands: between the first two spaces of a request line.
fn target_of(line: &[u8]) -> Option<Range<usize>> {
    let start = memchr(b' ', line)? + 1;
    let length = memchr(b' ', &line[start..])?;
    Some(start..start + length)
}

/// Where a target holds a byte that `http::Uri` does not take, or that is not ASCII.
fn raw(target: &[u8]) -> impl Iterator<Item = usize> {
    let query = memchr(b'?', target).unwrap_or(target.len());
    let is_raw = move |at: usize, byte: u8| match byte {
        b'<' | b'>' | 0x80.. => true,
        b'`' => at < query,
        b'"' => at > query,
        _ => false,
    };
    let bytes = target.iter().copied().enumerate();
    bytes.filter_map(move |(at, byte)| is_raw(at, byte).then_some(at))
}

/// Percent-encodes what is raw in the target that stands at `range` of `bytes`.
pub(crate) fn encode_target(bytes: &mut Vec<u8>, range: Range<usize>) {
    let target = &bytes[range.clone()];
    let mut raw = raw(target).peekable();
    let mut encoded = Vec::with_capacity(3 * target.len());
    for (at, byte) in target.iter().enumerate() {
        match raw.next_if_eq(&at) {
            Some(_) => encoded.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            None => encoded.push(*byte),
        }
    }
    drop(raw);
    bytes.splice(range, encoded);
}
