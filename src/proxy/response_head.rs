//! The heads of HTTP/1 responses on their way to hyper, with what go's client accepts and hyper refuses
//! or drops.
//!
//! hyper has room for 100 fields, and a table of 20,000 would cost a millisecond a response; its
//! buffer for a head holds uploads too. So the fields of a longer head pass beside it, and so
//! does a reason phrase beyond ASCII, which hyper drops. A field with a space in its name is left
//! out: go keeps it under a name that nobody asks for, and other clients refuse the response. All
//! else passes untouched, and hyper judges it.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Response};
use hyper::ext::ReasonPhrase;
use tokio::io::{AsyncRead, ReadBuf};

use super::headers::is_token;
use super::io::write_through;

/// The longest response head, bytes. go takes 10 MB; what servers are known to send is below this.
pub(super) const HEAD_LIMIT: usize = 1 << 20;

/// The most fields of a response head: a `HeaderMap` takes 24,576.
pub(super) const FIELDS_LIMIT: usize = 20_000;

/// Fields that hyper gets; the others pass beside it. Below its 100, for the sake of those that are
/// about the connection, which it gets wherever they stand.
const FIELDS_OF_HYPER: usize = 80;

/// The bytes of lines that hyper gets: its buffer holds a head and what else was read.
const BYTES_OF_HYPER: usize = 32 * 1024;

/// A line that came in parts is held up to here, bytes; hyper always has room for more.
const LINE_LIMIT: usize = 4 * 1024;

/// What hyper has to know of a response.
const FRAMING: [&[u8]; 3] = [b"connection", b"content-length", b"transfer-encoding"];

/// What did not pass through hyper of one response head.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// The reason phrase, where it is not ASCII.
    reason: Option<Vec<u8>>,
    /// Fields behind those that hyper got.
    fields: Vec<(HeaderName, HeaderValue)>,
    /// The names of fields that were left out.
    left_out: Vec<String>,
}

/// The names of fields that were left out of a response head.
#[derive(Debug, Clone)]
pub(super) struct LeftOut(pub(super) Vec<String>);

impl Beside {
    /// Puts it where it belongs, and what was left out among the extensions.
    pub(super) fn join<B>(self, response: &mut Response<B>) {
        for (name, value) in self.fields {
            response.headers_mut().append(name, value);
        }
        let reason = self.reason.map(ReasonPhrase::try_from);
        if let Some(Ok(reason)) = reason {
            response.extensions_mut().insert(reason);
        }
        if !self.left_out.is_empty() {
            response.extensions_mut().insert(LeftOut(self.left_out));
        }
    }
}

/// What the two sides of hyper know of a response head.
#[derive(Debug, Default)]
pub(super) struct Heads {
    is_due: AtomicBool,
    is_there: AtomicBool,
    is_cut: AtomicBool,
    // A std Mutex: held for a move, and only where there is something.
    beside: Mutex<Beside>,
}

impl Heads {
    /// The next bytes are the head of a response.
    pub(super) fn expect(&self) {
        self.is_due.store(true, Ordering::Relaxed);
    }

    /// What passed beside hyper of the head that it just gave, if anything did.
    pub(super) fn take(&self) -> Option<Beside> {
        let is_there = self.is_there.swap(false, Ordering::Relaxed);
        is_there.then(|| std::mem::take(&mut *self.lock()))
    }

    /// True once the connection has ended without TLS's close_notify behind a head.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    fn put(&self, beside: Beside) {
        *self.lock() = beside;
        self.is_there.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Beside> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a response head does not pass.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum HeadError {
    #[error("the response head is longer than {HEAD_LIMIT} bytes")]
    Long,
    #[error("the response head has more than {FIELDS_LIMIT} fields")]
    ManyFields,
    #[error("the response head has an invalid field {0}")]
    Field(String),
    #[error("the response head has a space in the name of the field {0}")]
    Space(String),
}

/// Where in a message the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the start of a status line.
    Status,
    /// At the start of a line behind it.
    Line,
    /// Within a line.
    Within(Lane),
    /// Behind the head.
    Behind,
}

/// Where a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    ToHyper,
    /// Past hyper, to be added to the head that it gives.
    Beside,
    Dropped,
}

/// A part of a line, or all of it.
struct Piece {
    bytes: usize,
    lane: Lane,
}

/// What became of some bytes of the stream.
struct Filtered {
    /// How many remain at the front, for hyper.
    passed: usize,
    /// How many at the end are to be shown again with more behind them.
    held: usize,
}

/// A response head so far.
#[derive(Debug)]
struct Head {
    at: At,
    /// Where the last line went: one that continues it goes there too.
    last: Lane,
    is_informational: bool,
    bytes: usize,
    fields: usize,
    /// Bytes of lines that went to hyper.
    to_hyper: usize,
    /// hyper gets no more fields.
    is_full: bool,
    /// The lines that go beside.
    lines: Vec<u8>,
    beside: Beside,
}

impl Head {
    const fn new(at: At) -> Self {
        Self {
            at,
            last: Lane::ToHyper,
            is_informational: false,
            bytes: 0,
            fields: 0,
            to_hyper: 0,
            is_full: false,
            lines: Vec::new(),
            beside: Beside {
                reason: None,
                fields: Vec::new(),
                left_out: Vec::new(),
            },
        }
    }

    /// Takes out of `bytes` what does not pass through hyper.
    fn filter(&mut self, bytes: &mut [u8], heads: &Heads) -> Result<Filtered, HeadError> {
        let (mut read, mut passed) = (0, 0);
        while read < bytes.len() {
            let rest = &bytes[read..];
            let to_hyper = |bytes| Piece {
                bytes,
                lane: Lane::ToHyper,
            };
            let piece = match self.at {
                At::Behind => Some(to_hyper(rest.len())),
                At::Status => self.status(rest).map(to_hyper),
                At::Within(lane) => {
                    let bytes = self.until_line_end(rest);
                    Some(Piece { bytes, lane })
                }
                At::Line => self.line(rest, heads)?,
            };
            let Some(Piece { bytes: taken, lane }) = piece else {
                break;
            };
            if self.at != At::Behind {
                self.bytes += taken;
                if self.bytes > HEAD_LIMIT {
                    return Err(HeadError::Long);
                }
            }
            match lane {
                Lane::ToHyper if read == passed => passed += taken,
                Lane::ToHyper => {
                    bytes.copy_within(read..read + taken, passed);
                    passed += taken;
                }
                Lane::Beside => self.lines.extend_from_slice(&bytes[read..read + taken]),
                Lane::Dropped => {}
            }
            read += taken;
        }
        Ok(Filtered {
            passed,
            held: bytes.len() - read,
        })
    }

    /// The status line, once it is there as a whole or plainly none.
    fn status(&mut self, rest: &[u8]) -> Option<usize> {
        let Some(end) = line_end(rest) else {
            let (start, most) = (b"HTTP/1.", rest.len().min(7));
            if rest.len() < LINE_LIMIT && rest[..most] == start[..most] {
                return None;
            }
            return Some(self.go_on(rest, Lane::ToHyper));
        };
        // "HTTP/1.1 200 OK"
        self.is_informational = rest.get(9) == Some(&b'1') && rest.get(9..12) != Some(b"101");
        let reason = rest[..end].get(13..).unwrap_or_default().trim_ascii_end();
        if !reason.is_ascii() {
            self.beside.reason = Some(reason.to_vec());
        }
        self.at = At::Line;
        Some(end)
    }

    /// The line that begins here, as far as it is there; `None` if only more of it shows where it goes.
    fn line(&mut self, rest: &[u8], heads: &Heads) -> Result<Option<Piece>, HeadError> {
        let end = line_end(rest);
        if end.is_none() && rest.len() < LINE_LIMIT {
            return Ok(None);
        }
        if matches!(rest, [b'\n', ..] | [b'\r', b'\n', ..]) {
            self.end(heads)?;
            let lane = Lane::ToHyper;
            return Ok(end.map(|bytes| Piece { bytes, lane }));
        }
        let lane = match rest[0] {
            b' ' | b'\t' => self.last,
            _ => {
                self.fields += 1;
                if self.fields > FIELDS_LIMIT {
                    return Err(HeadError::ManyFields);
                }
                self.lane(rest, end)?
            }
        };
        self.last = lane;
        let bytes = self.go_on(rest, lane);
        if lane == Lane::ToHyper {
            self.to_hyper += bytes;
        }
        Ok(Some(Piece { bytes, lane }))
    }

    /// Where the field goes whose line begins here, and ends there if its end is here.
    fn lane(&mut self, rest: &[u8], end: Option<usize>) -> Result<Lane, HeadError> {
        let line = &rest[..end.unwrap_or(rest.len())];
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Ok(Lane::ToHyper);
        };
        let name = &line[..colon];
        let mut words = name.split(|byte| *byte == b' ');
        if name.contains(&b' ') && words.all(|word| word.is_empty() || is_token(word)) {
            let shown = String::from_utf8_lossy(name).into_owned();
            // go takes it for another field, others for this one: where the body ends depends on it.
            if is_framing(name.trim_ascii()) {
                return Err(HeadError::Space(shown));
            }
            self.beside.left_out.push(shown);
            return Ok(Lane::Dropped);
        }
        if is_framing(name) {
            return Ok(Lane::ToHyper);
        }
        // Behind one that goes beside all do, so that fields of one name keep their order.
        self.is_full |= self.fields > FIELDS_OF_HYPER
            || end.is_none_or(|end| self.to_hyper + end > BYTES_OF_HYPER);
        Ok(match self.is_full {
            true => Lane::Beside,
            false => Lane::ToHyper,
        })
    }

    /// Takes the present line as far as it is there.
    fn go_on(&mut self, rest: &[u8], lane: Lane) -> usize {
        self.at = At::Within(lane);
        self.until_line_end(rest)
    }

    fn until_line_end(&mut self, rest: &[u8]) -> usize {
        match line_end(rest) {
            Some(end) => {
                self.at = At::Line;
                end
            }
            None => rest.len(),
        }
    }

    /// The head is over; behind an informational one comes another.
    fn end(&mut self, heads: &Heads) -> Result<(), HeadError> {
        let is_informational = self.is_informational;
        let mut head = std::mem::replace(self, Self::new(At::Behind));
        if is_informational {
            self.at = At::Status;
            return Ok(());
        }
        head.beside.fields = fields(&head.lines)?;
        if head.beside != Beside::default() {
            heads.put(head.beside);
        }
        Ok(())
    }
}

fn is_framing(name: &[u8]) -> bool {
    FRAMING.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// The fields of these lines, folded ones joined as hyper and go do it.
fn fields(lines: &[u8]) -> Result<Vec<(HeaderName, HeaderValue)>, HeadError> {
    let mut fields = Vec::new();
    let mut lines = lines.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or_default());
        let invalid = || HeadError::Field(String::from_utf8_lossy(name).escape_debug().to_string());
        let mut value = value.get(1..).unwrap_or_default().trim_ascii().to_vec();
        let is_more = |line: &&[u8]| matches!(line.first(), Some(b' ' | b'\t'));
        while let Some(more) = lines.next_if(is_more) {
            value.push(b' ');
            value.extend_from_slice(more.trim_ascii());
        }
        let field = HeaderName::from_bytes(name).ok();
        let value = HeaderValue::from_bytes(&value).ok();
        fields.push(field.zip(value).ok_or_else(invalid)?);
    }
    Ok(fields)
}

/// Where the line ends, behind its LF.
fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .map(|at| at + 1)
}

/// Stands between an upstream and hyper.
#[derive(Debug)]
pub(super) struct HeadFilter<IO> {
    io: IO,
    heads: Arc<Heads>,
    head: Head,
    /// The start of a line that came in parts.
    held: Vec<u8>,
}

impl<IO> HeadFilter<IO> {
    pub(super) const fn new(io: IO, heads: Arc<Heads>) -> Self {
        Self {
            io,
            heads,
            head: Head::new(At::Behind),
            held: Vec::new(),
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for HeadFilter<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            buf.put_slice(&this.held);
            let read = Pin::new(&mut this.io).poll_read(cx, buf);
            let is_due = this.heads.is_due.load(Ordering::Relaxed);
            if !matches!(read, Poll::Ready(Ok(()))) {
                buf.set_filled(before);
            }
            match ready!(read) {
                // Whether the body is whole, hyper knows; go and curl take this for an end too.
                Err(error)
                    if error.kind() == io::ErrorKind::UnexpectedEof
                        && this.head.at == At::Behind
                        && !is_due =>
                {
                    this.heads.is_cut.store(true, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                read => read?,
            }
            if is_due && buf.filled().len() > before {
                this.heads.is_due.store(false, Ordering::Relaxed);
                this.head = Head::new(At::Status);
            }
            if this.head.at == At::Behind || buf.filled().len() == before + this.held.len() {
                // An end behind part of a line: hyper sees both.
                this.held = Vec::new();
                return Poll::Ready(Ok(()));
            }
            let fresh = &mut buf.filled_mut()[before..];
            let Filtered { passed, held } = match this.head.filter(fresh, &this.heads) {
                Ok(filtered) => filtered,
                Err(error) => {
                    buf.set_filled(before);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            };
            this.held = fresh[fresh.len() - held..].to_vec();
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

write_through!(HeadFilter);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::proxy::io::pieces::Pieces;

    async fn filtered(pieces: &[&[u8]]) -> (io::Result<Vec<u8>>, Option<Beside>) {
        let heads = Arc::<Heads>::default();
        heads.expect();
        let pieces = Pieces::new(pieces.iter().copied());
        let mut filter = HeadFilter::new(pieces, Arc::clone(&heads));
        let mut bytes = Vec::with_capacity(1 << 17);
        let read = filter.read_to_end(&mut bytes).await;
        (read.map(|_| bytes), heads.take())
    }

    #[tokio::test]
    async fn however_a_head_arrives_the_same_passes() {
        let many: String = (0..90).map(|n| format!("X-{n}: v\r\n")).collect();
        let before =
            format!("HTTP/1.1 103 Early\r\nA b: c\r\n\r\nHTTP/1.1 200 M\u{e4}rz \r\n{many}");
        let odd = "X y: z\r\n more\r\nLate: a \r\n\t b\r\nContent-Length: 3\r\n\r\n";
        let body = "a b: c\r\n d";
        let whole = [before.as_bytes(), odd.as_bytes(), body.as_bytes()].concat();
        let (bytes, beside) = filtered(&[&whole]).await;
        let bytes = String::from_utf8(bytes.unwrap()).unwrap();
        let kept = format!(
            "X-{}: v\r\nContent-Length: 3\r\n\r\n{body}",
            FIELDS_OF_HYPER - 1
        );
        assert!(bytes.ends_with(&kept), "{bytes}");
        let beside = beside.unwrap();
        assert_eq!(beside.reason.as_deref(), Some("M\u{e4}rz".as_bytes()));
        assert_eq!(beside.left_out, ["X y"]);
        let last = beside.fields.last().unwrap();
        assert_eq!((last.0.as_str(), last.1.as_bytes()), ("late", &b"a b"[..]));
        assert_eq!(beside.fields.len(), 90 - FIELDS_OF_HYPER + 1);
        for at in 0..whole.len() {
            let (one, two) = whole.split_at(at);
            let (again, beside_again) = filtered(&[one, two]).await;
            assert_eq!(again.unwrap(), bytes.as_bytes(), "cut at {at}");
            assert_eq!(beside_again.as_ref(), Some(&beside), "cut at {at}");
        }
        let single: Vec<_> = whole.chunks(1).collect();
        let (again, beside_again) = filtered(&single).await;
        assert_eq!(again.unwrap(), bytes.as_bytes());
        assert_eq!(beside_again, Some(beside));
    }

    #[tokio::test]
    async fn what_is_no_head_or_a_part_of_one_passes_as_it_is() {
        for bytes in [
            "SSH-2.0",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\nbody",
            "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
            "HTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 2\u{e4}",
            "HTTP/1.1 200 OK\r\nX: a\r",
        ] {
            for at in 0..=bytes.len() {
                let (one, two) = bytes.as_bytes().split_at(at);
                let (passed, beside) = filtered(&[one, two]).await;
                assert_eq!(passed.unwrap(), bytes.as_bytes(), "{bytes} cut at {at}");
                assert_eq!(beside, None, "{bytes}");
            }
        }
    }
}
