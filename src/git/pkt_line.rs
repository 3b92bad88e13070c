//! Packet lines: four hexadecimal digits of length, themselves included, and so many bytes
//! (`gitprotocol-common(5)`).

use std::io::{self, Read};

/// The longest line, its length included.
const LONGEST: usize = 65_520;

/// One line, or a mark between lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PktLine<'a> {
    /// Bytes.
    Data(&'a [u8]),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section (version 2).
    Delimiter,
    /// `0002`: the end of an answer.
    End,
}

impl<'a> PktLine<'a> {
    /// The line as text without its newline, if it is UTF-8.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self {
            Self::Data(bytes) => {
                let text = std::str::from_utf8(bytes).ok()?;
                Some(text.strip_suffix('\n').unwrap_or(text))
            }
            Self::Flush | Self::Delimiter | Self::End => None,
        }
    }
}

/// Reads lines one by one.
pub(super) struct PktLines<R> {
    from: R,
    line: Vec<u8>,
}

impl<R: Read> PktLines<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            line: Vec::new(),
        }
    }

    /// The next line; `None` at an end between lines.
    pub(super) fn next(&mut self) -> io::Result<Option<PktLine<'_>>> {
        let mut digits = Vec::with_capacity(4);
        self.from.by_ref().take(4).read_to_end(&mut digits)?;
        if digits.is_empty() {
            return Ok(None);
        }
        let length = std::str::from_utf8(&digits).ok();
        let length = length.filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let length = length.and_then(|text| usize::from_str_radix(text, 16).ok());
        let length = match length.filter(|_| digits.len() == 4) {
            Some(0) => return Ok(Some(PktLine::Flush)),
            Some(1) => return Ok(Some(PktLine::Delimiter)),
            Some(2) => return Ok(Some(PktLine::End)),
            Some(length @ 4..=LONGEST) => length - 4,
            _ => return Err(invalid("the length of a packet line is invalid")),
        };
        self.line.clear();
        let line = self.from.by_ref().take(length as u64);
        { line }.read_to_end(&mut self.line)?;
        if self.line.len() < length {
            return Err(invalid("a packet line is cut off"));
        }
        Ok(Some(PktLine::Data(&self.line)))
    }
}

pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Appends a line.
pub(super) fn push(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(format!("{:04x}", line.len() + 4).as_bytes());
    out.extend_from_slice(line.as_bytes());
}

/// The line with which a server refuses: git shows its text behind `fatal: remote error: `.
pub(crate) fn error_line(why: &str) -> Vec<u8> {
    let mut end = why.len().min(1000);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    let mut line = Vec::new();
    push(&mut line, &format!("ERR {}", &why[..end]));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_marks_are_read_in_order() {
        let mut lines = PktLines::new(&b"0009done\n0004000100020000"[..]);
        assert_eq!(lines.next().unwrap().unwrap().text(), Some("done"));
        assert_eq!(lines.next().unwrap(), Some(PktLine::Data(b"")));
        for mark in [PktLine::Delimiter, PktLine::End, PktLine::Flush] {
            assert_eq!(lines.next().unwrap(), Some(mark));
        }
        assert_eq!(lines.next().unwrap(), None);
    }

    #[test]
    fn what_is_no_line_is_an_error() {
        for bytes in ["0003", "+009done\n", "fff1x", "00", "0009don", "zzzz"] {
            assert!(PktLines::new(bytes.as_bytes()).next().is_err(), "{bytes}");
        }
    }

    #[test]
    fn a_refusal_is_one_line_of_a_sane_length() {
        assert_eq!(error_line("no"), b"000aERR no");
        assert!(error_line(&"\u{e9}".repeat(40_000)).len() < 1100);
    }
}
