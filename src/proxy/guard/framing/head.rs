//! One request head: line by line as it comes, judged as a whole at its end.

use super::field::{Field, is_token, odd};
use super::{FIELDS_LIMIT, HEAD_LIMIT, Violation, line_end, target};

/// The digits of a length below 10^18: no body that anybody sends is longer.
const LENGTH_DIGITS: usize = 18;

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
}

/// A head so far.
#[derive(Debug, Default)]
pub(super) struct Head {
    searched: usize,
    parsed: usize,
    fields: usize,
    version: Option<Version>,
    has_blank: bool,
    has_host: bool,
    is_chunked: bool,
    length: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

impl Head {
    /// Reads on in a head that begins with `octets`; where it ends and what follows, once it does.
    pub(super) fn read(&mut self, octets: &[u8]) -> Result<Option<(usize, Body)>, Violation> {
        loop {
            let Some(end) = line_end(octets, &mut self.searched) else {
                return match octets.len() > HEAD_LIMIT {
                    true => Err(Violation::LongHead),
                    false => Ok(None),
                };
            };
            if end > HEAD_LIMIT {
                return Err(Violation::LongHead);
            }
            let line = &octets[self.parsed..end - 1];
            let line = line.strip_suffix(b"\r").ok_or(Violation::BareLf)?;
            self.parsed = end;
            match (line.is_empty(), self.version) {
                (false, None) => self.version = Some(request_line(line)?),
                (false, Some(_)) => self.field(line)?,
                (true, Some(version)) => return Ok(Some((end, self.body(version)?))),
                // RFC 9112 section 2.2: one empty line before a request is let pass, no more.
                (true, None) if !self.has_blank => self.has_blank = true,
                (true, None) => return Err(Violation::RequestLine),
            }
        }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Violation> {
        self.fields += 1;
        if self.fields > FIELDS_LIMIT {
            return Err(Violation::ManyFields);
        }
        let field = Field::parse(line)?;
        if field.is("host") {
            if std::mem::replace(&mut self.has_host, true) {
                return Err(Violation::RepeatedHost);
            }
            is_host(field.value).then_some(()).ok_or(Violation::Host)
        } else if field.is("content-length") {
            let length = length(field.value).ok_or(Violation::Length)?;
            let earlier = self.length.replace(length);
            earlier.map_or(Ok(()), |_| Err(Violation::RepeatedLength))
        } else if field.is("transfer-encoding") {
            let is_plain = field.value.eq_ignore_ascii_case(b"chunked");
            if !is_plain || std::mem::replace(&mut self.is_chunked, true) {
                return Err(Violation::Encoding);
            }
            Ok(())
        } else if ["content-length", "transfer-encoding"]
            .iter()
            .any(|name| field.resembles(name))
        {
            Err(Violation::Underscore)
        } else {
            Ok(())
        }
    }

    fn body(&self, version: Version) -> Result<Body, Violation> {
        match (self.length, self.is_chunked) {
            (Some(_), true) => return Err(Violation::LengthAndEncoding),
            (None, true) if version == Version::Http10 => return Err(Violation::EncodingInHttp10),
            _ => {}
        }
        if version == Version::Http11 && !self.has_host {
            return Err(Violation::NoHost);
        }
        Ok(match self.is_chunked {
            true => Body::Chunked,
            false => Body::Length(self.length.unwrap_or(0)),
        })
    }
}

fn request_line(line: &[u8]) -> Result<Version, Violation> {
    if let Some(violation) = odd(line) {
        return Err(violation);
    }
    let mut words = line.split(|octet| *octet == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Violation::RequestLine);
    };
    if !is_token(method) {
        return Err(Violation::RequestLine);
    }
    target::check(method, target)?;
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        _ => Err(Violation::Version),
    }
}

/// What a host and a port are made of; whose they are is the handler's to judge.
fn is_host(value: &[u8]) -> bool {
    let is_plain = |octet: &u8| {
        octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    };
    !value.is_empty() && value.iter().all(is_plain)
}

/// A length as everybody writes it: digits, and no leading zero that somebody takes for octal.
fn length(value: &[u8]) -> Option<u64> {
    let is_plain = value.len() <= LENGTH_DIGITS && value.iter().all(u8::is_ascii_digit);
    match value {
        [] => None,
        [b'0', _, ..] => None,
        _ if !is_plain => None,
        digits => Some(
            digits
                .iter()
                .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')),
        ),
    }
}
