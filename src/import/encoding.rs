//! The text of a HAR in UTF-8, whatever its file has: Windows writes UTF-16.

use std::io::{self, BufReader, Read};

/// Two bytes as a unit of UTF-16, in the file's order.
type Unit = fn([u8; 2]) -> u16;

/// Takes away a byte order mark, and turns UTF-16 into UTF-8.
pub(super) fn utf8<'a>(mut input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut first = Vec::new();
    let read = input.by_ref().take(3).read_to_end(&mut first);
    // Of a compressed file that is cut so early it is said later.
    if let Err(error) = read
        && error.kind() != io::ErrorKind::UnexpectedEof
    {
        return Err(error);
    }
    let (marks, unit): (_, Option<Unit>) = match first.as_slice() {
        b"\xef\xbb\xbf" => (3, None),
        [0xff, 0xfe, ..] => (2, Some(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => (2, Some(u16::from_be_bytes)),
        [b'{' | b'[', 0, ..] => (0, Some(u16::from_le_bytes)),
        [0, b'{' | b'[', ..] => (0, Some(u16::from_be_bytes)),
        _ => (0, None),
    };
    let rest = io::Cursor::new(first.split_off(marks)).chain(input);
    Ok(match unit {
        None => Box::new(rest),
        Some(unit) => Box::new(Utf16 {
            input: BufReader::with_capacity(64 << 10, rest),
            unit,
            high: None,
            ready: Vec::new(),
            at: 0,
        }),
    })
}

/// UTF-16 as UTF-8; what is half a character becomes U+FFFD.
struct Utf16<R> {
    input: BufReader<R>,
    unit: Unit,
    high: Option<u16>,
    ready: Vec<u8>,
    at: usize,
}

impl<R: Read> Utf16<R> {
    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(UTF16_CHUNK);
        let chunk = self.input.by_ref().take(UTF16_CHUNK as u64);
        { chunk }.read_to_end(&mut bytes)?;
        let pairs = bytes.chunks_exact(2);
        let units = pairs.map(|pair| (self.unit)([pair[0], pair[1]]));
        let mut units: Vec<u16> = self.high.take().into_iter().chain(units).collect();
        let is_end = bytes.len() < UTF16_CHUNK;
        self.high = units.pop_if(|unit| !is_end && (0xd800..0xdc00).contains(unit));
        let chars = char::decode_utf16(units);
        let text: String = chars
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        (self.ready, self.at) = (text.into_bytes(), 0);
        Ok(())
    }
}

impl<R: Read> Read for Utf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            self.fill()?;
        }
        let mut rest = &self.ready[self.at..];
        let len = rest.read(buffer)?;
        self.at += len;
        Ok(len)
    }
}

/// Bytes of UTF-16 that are turned at once.
const UTF16_CHUNK: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> String {
        let mut text = String::new();
        let mut utf8 = utf8(bytes).unwrap();
        utf8.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn utf_16_is_read_by_its_mark_or_its_first_character() {
        // Pairs of surrogates at each place of a chunk.
        let half = UTF16_CHUNK / 2;
        for padding in [0, 1, half - 3, half - 2, half - 1] {
            let expected = format!("{{{}\u{1f600}\u{e9}}}", "x".repeat(padding));
            let units = || expected.encode_utf16();
            let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
            assert_eq!(read(&little), expected);
            assert_eq!(read(&big), expected);
            assert_eq!(read(&[b"\xff\xfe", &*little].concat()), expected);
            assert_eq!(read(&[b"\xfe\xff", &*big].concat()), expected);
        }
        assert_eq!(read(b"\xef\xbb\xbf{}"), "{}");
        assert_eq!(read(b"\xff\xfe{\0\x3d\xd8!\0"), "{\u{fffd}!");
        assert_eq!(read(b""), "");
        assert_eq!(read(b"{"), "{");
    }
}
