//! A chunked body and its trailers (RFC 9112 section 7.1).

use super::field::{Field, odd};
use super::{EXTENSIONS_LIMIT, FIELDS_LIMIT, TRAILERS_LIMIT, Violation, line_end};

/// The hex digits of a size below 2^60.
const SIZE_DIGITS: u32 = 15;

/// What trailers may not hold: framing, routing and credentials (RFC 9110 section 6.5.1).
const NOT_IN_TRAILERS: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A chunked body so far, without its trailers.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    size: u64,
    digits: u32,
    extensions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// In the digits of a size.
    #[default]
    Size,
    /// In the extension behind a size, outside quotes.
    Extension,
    /// The same, in a quoted string.
    Quoted,
    /// The same, behind a backslash.
    Escaped,
    /// The LF that ends the line of a size.
    SizeLf,
    Data,
    DataCr,
    DataLf,
}

impl Chunks {
    /// Takes octets up to the end of the last chunk's line; true once that has come.
    pub(super) fn read(&mut self, octets: &[u8]) -> (usize, Result<bool, Violation>) {
        let mut taken = 0;
        while taken < octets.len() {
            if self.at == At::Data {
                let left = octets.len() - taken;
                let most = usize::try_from(self.size).map_or(left, |size| size.min(left));
                taken += most;
                self.size -= most as u64;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            match self.octet(octets[taken]) {
                Err(violation) => return (taken, Err(violation)),
                Ok(next) => self.at = next,
            }
            taken += 1;
            if self.at == At::Data && self.size == 0 {
                return (taken, Ok(true));
            }
        }
        (taken, Ok(false))
    }

    /// One octet outside the data of a chunk, and where the next one stands.
    fn octet(&mut self, octet: u8) -> Result<At, Violation> {
        match (self.at, octet) {
            (At::Size, _) => self.size(octet),
            (At::Extension | At::Quoted | At::Escaped, _) => self.extension(octet),
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                Ok(At::Data)
            }
            (At::SizeLf, _) => Err(Violation::BareCr),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size),
            (At::Data | At::DataCr | At::DataLf, _) => Err(Violation::ChunkEnd),
        }
    }

    fn size(&mut self, octet: u8) -> Result<At, Violation> {
        match octet {
            b'\r' if self.digits > 0 => Ok(At::SizeLf),
            b';' if self.digits > 0 => Ok(At::Extension),
            b'\n' => Err(Violation::BareLf),
            _ => {
                let digit = char::from(octet).to_digit(16);
                let digit = digit.ok_or(Violation::ChunkSize)?;
                self.size = self.size * 16 + u64::from(digit);
                self.digits += 1;
                let is_short = self.digits <= SIZE_DIGITS;
                is_short.then_some(At::Size).ok_or(Violation::ChunkSize)
            }
        }
    }

    /// Nobody reads extensions, yet where they end must be plain to all.
    fn extension(&mut self, octet: u8) -> Result<At, Violation> {
        self.extensions += 1;
        if self.extensions > EXTENSIONS_LIMIT {
            return Err(Violation::LongExtensions);
        }
        match (self.at, octet) {
            (At::Extension, b'\r') => Ok(At::SizeLf),
            (_, b'\n') => Err(Violation::BareLf),
            _ if odd(&[octet]).is_some() => Err(Violation::Extension),
            (At::Extension, b'"') | (At::Escaped, _) => Ok(At::Quoted),
            (At::Quoted, b'"') => Ok(At::Extension),
            (At::Quoted, b'\\') => Ok(At::Escaped),
            (at, _) => Ok(at),
        }
    }
}

/// Trailers so far.
#[derive(Debug, Default)]
pub(super) struct Trailers {
    searched: usize,
    fields: usize,
    octets: usize,
}

impl Trailers {
    /// Takes whole lines; true once the empty one has come.
    pub(super) fn read(&mut self, octets: &[u8]) -> (usize, Result<bool, Violation>) {
        let mut taken = 0;
        loop {
            let rest = &octets[taken..];
            let end = line_end(rest, &mut self.searched);
            if self.octets + end.unwrap_or(rest.len()) > TRAILERS_LIMIT {
                return (taken, Err(Violation::LongTrailers));
            }
            let Some(end) = end else {
                return (taken, Ok(false));
            };
            self.searched = 0;
            self.octets += end;
            match self.line(&rest[..end - 1]) {
                Err(violation) => return (taken, Err(violation)),
                Ok(true) => return (taken + end, Ok(true)),
                Ok(false) => taken += end,
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<bool, Violation> {
        let line = line.strip_suffix(b"\r").ok_or(Violation::BareLf)?;
        if line.is_empty() {
            return Ok(true);
        }
        self.fields += 1;
        if self.fields > FIELDS_LIMIT {
            return Err(Violation::ManyFields);
        }
        let field = Field::parse(line)?;
        match NOT_IN_TRAILERS.iter().any(|name| field.resembles(name)) {
            true => Err(Violation::Trailer),
            false => Ok(false),
        }
    }
}
