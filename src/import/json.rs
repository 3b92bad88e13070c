//! JSON as HARs have it, read in one pass and a part at a time.
//!
//! Reads any bytes: a syntax error costs the value that it stands in, and is noted. Only the end of
//! the file ends the reading. Memory is bounded for each part, and so is the depth.

use std::io::{self, Read};

use super::oddity::{Oddities, Oddity};

/// Bytes that are kept of one entry or page.
pub(super) const PART_LIMIT: u64 = 64 << 20;

/// Values that are kept of one entry or page: each takes more memory than its text.
pub(super) const VALUES_LIMIT: u64 = 100_000;

/// Objects and lists in each other that are read; HAR has five.
const DEPTH_LIMIT: usize = 32;

/// Bytes of a number, and of `true`, `false` and `null`.
const WORD_LIMIT: usize = 64;

/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// A value; an object keeps all its members, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Json {
    #[default]
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    /// The member of that name, taken out: of several the last one, as browsers have it.
    pub(super) fn take(&mut self, name: &str, oddities: &mut Oddities) -> Self {
        let Self::Object(members) = self else {
            return Self::Null;
        };
        let mut named = members.iter_mut().rev().filter(|(key, _)| key == name);
        let Some((_, value)) = named.next() else {
            return Self::Null;
        };
        oddities.add_if(named.next().is_some(), Oddity::Duplicate);
        std::mem::take(value)
    }

    /// A text; numbers and truth values are written out.
    pub(super) fn text(self, oddities: &mut Oddities) -> Option<String> {
        let text = match self {
            Self::Null => return None,
            Self::Text(text) => return Some(text),
            Self::Number(text) => Some(text),
            Self::Bool(is) => Some(is.to_string()),
            Self::List(_) | Self::Object(_) => None,
        };
        oddities.add(text.as_ref().map_or(Oddity::Value, |_| Oddity::Converted));
        text
    }

    /// A number, or a text that is one.
    pub(super) fn number(self, oddities: &mut Oddities) -> Option<f64> {
        let (number, is_text) = match &self {
            Self::Null => return None,
            Self::Number(text) => (text.parse().ok(), false),
            Self::Text(text) => (text.trim().parse().ok(), true),
            Self::Bool(_) | Self::List(_) | Self::Object(_) => (None, false),
        };
        let number = number.filter(|number: &f64| number.is_finite());
        oddities.add_if(number.is_none(), Oddity::Value);
        oddities.add_if(number.is_some() && is_text, Oddity::Converted);
        number
    }

    /// A whole number from 0 to 2^53, where each has a double of its own.
    pub(super) fn whole(self, oddities: &mut Oddities) -> Option<u64> {
        let number = self.number(oddities)?;
        let is_whole = (0.0..=9_007_199_254_740_992.0).contains(&number) && number.fract() == 0.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between 0 and 2^53"
        )]
        is_whole.then_some(number as u64)
    }

    /// An object; anything else but `null` is noted, and is none.
    pub(super) fn object(self, oddities: &mut Oddities) -> Option<Self> {
        let is_object = matches!(self, Self::Object(_));
        oddities.add_if(!is_object && self != Self::Null, Oddity::Value);
        is_object.then_some(self)
    }
}

/// An entry or a page.
pub(super) struct Part {
    pub(super) json: Json,
    /// What was odd in its text, and before it.
    pub(super) oddities: Oddities,
    /// More than [`PART_LIMIT`] or [`VALUES_LIMIT`]: not all of it is there.
    pub(super) is_too_large: bool,
}

/// Why the reading ended before the file's end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The file ends inside of a value.
    Cut,
    Read(io::Error),
    /// Nobody reads on.
    Enough,
}

/// Says whether the member of that name is of interest, by the depth of its object, from 1.
type Keys = fn(usize, &str) -> bool;

pub(super) struct Reader<R> {
    input: R,
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    keys: Keys,
    /// What was odd since a part was taken.
    pub(super) oddities: Oddities,
    bytes: u64,
    values: u64,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; BUFFER].into(),
            at: 0,
            end: 0,
            keys: |_, _| true,
            oddities: Oddities::default(),
            bytes: 0,
            values: 0,
        }
    }

    /// The next value, as far as `keys` wants it.
    pub(super) fn part(&mut self, keys: Keys) -> Result<Part, Stop> {
        (self.keys, self.bytes, self.values) = (keys, 0, 0);
        let json = self.value(true, 1)?;
        Ok(Part {
            json,
            oddities: std::mem::take(&mut self.oddities),
            is_too_large: self.is_full(),
        })
    }

    /// Passes over the next value.
    pub(super) fn skip(&mut self) -> Result<(), Stop> {
        self.value(false, 1).map(drop)
    }

    /// The next byte that is not white space; it is not consumed.
    pub(super) fn peek(&mut self) -> Result<u8, Stop> {
        while self.fill()? {
            let rest = &self.buffer[self.at..self.end];
            let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
            self.at += space.count();
            if let Some(byte) = self.buffer[self.at..self.end].first() {
                return Ok(*byte);
            }
        }
        Err(Stop::Cut)
    }

    /// Each member of the object whose brace is next; `each` reads the value.
    pub(super) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, String) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.at += 1;
        let mut comma = Comma::First;
        loop {
            let byte = self.peek()?;
            if byte != b'"' {
                match self.separator(byte, b'}', &mut comma) {
                    Separator::End => return Ok(()),
                    Separator::Comma => {}
                    Separator::None => {
                        self.oddities.add(Oddity::NotJson);
                        self.skip()?;
                    }
                }
                continue;
            }
            self.oddities.add_if(comma == Comma::None, Oddity::NotJson);
            comma = Comma::None;
            self.at += 1;
            let name = self.string(true)?;
            match self.peek()? {
                b':' => self.at += 1,
                _ => self.oddities.add(Oddity::NotJson),
            }
            match self.peek()? {
                b',' | b'}' | b']' => self.oddities.add(Oddity::NotJson),
                _ => each(self, name)?,
            }
        }
    }

    /// Each element of the list whose bracket is next; `each` reads it.
    pub(super) fn elements(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.at += 1;
        let mut comma = Comma::First;
        loop {
            let byte = self.peek()?;
            match self.separator(byte, b']', &mut comma) {
                Separator::End => return Ok(()),
                Separator::Comma => {}
                Separator::None => {
                    self.oddities.add_if(comma == Comma::None, Oddity::NotJson);
                    comma = Comma::None;
                    each(self)?;
                }
            }
        }
    }

    /// Passes a comma or an end; any bracket ends what is open.
    fn separator(&mut self, byte: u8, end: u8, comma: &mut Comma) -> Separator {
        match byte {
            b'}' | b']' => {
                self.at += 1;
                let is_odd = byte != end || *comma == Comma::Passed;
                self.oddities.add_if(is_odd, Oddity::NotJson);
                Separator::End
            }
            b',' => {
                self.at += 1;
                self.oddities.add_if(*comma != Comma::None, Oddity::NotJson);
                *comma = Comma::Passed;
                Separator::Comma
            }
            _ => Separator::None,
        }
    }

    fn value(&mut self, keep: bool, depth: usize) -> Result<Json, Stop> {
        let byte = self.peek()?;
        let keep = keep && self.has_room(0);
        match byte {
            b'"' => {
                self.at += 1;
                self.string(keep).map(Json::Text)
            }
            b'{' | b'[' if depth > DEPTH_LIMIT => self.skip_deep(),
            b'{' => self.object(keep, depth),
            b'[' => self.list(keep, depth),
            b'-' | b'+' | b'.' => self.word(),
            byte if byte.is_ascii_alphanumeric() => self.word(),
            _ => {
                self.at += 1;
                self.oddities.add(Oddity::NotJson);
                Ok(Json::Null)
            }
        }
    }

    fn object(&mut self, keep: bool, depth: usize) -> Result<Json, Stop> {
        let mut members = Vec::new();
        self.members(|this, name| {
            let is_wanted = keep && (this.keys)(depth, &name) && this.has_room(name.len());
            let value = this.value(is_wanted, depth + 1)?;
            if is_wanted && !this.is_full() {
                members.push((name, value));
            }
            Ok(())
        })?;
        Ok(Json::Object(members))
    }

    fn list(&mut self, keep: bool, depth: usize) -> Result<Json, Stop> {
        let mut elements = Vec::new();
        self.elements(|this| {
            let element = this.value(keep, depth + 1)?;
            if keep && !this.is_full() {
                elements.push(element);
            }
            Ok(())
        })?;
        Ok(Json::List(elements))
    }

    /// Passes over what is nested too deeply, without nesting as deeply.
    fn skip_deep(&mut self) -> Result<Json, Stop> {
        self.oddities.add(Oddity::Value);
        let mut depth = 0_u64;
        loop {
            match self.next()? {
                b'"' => drop(self.string(false)?),
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 1 => return Ok(Json::Null),
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
    }

    /// A number or one of JSON's three words.
    fn word(&mut self) -> Result<Json, Stop> {
        let mut word = String::new();
        while self.fill()? {
            let byte = self.buffer[self.at];
            if !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'+' | b'.' | b'_') {
                break;
            }
            self.at += 1;
            if word.len() <= WORD_LIMIT {
                word.push(byte.into());
            }
        }
        let is_finite = || word.parse().is_ok_and(f64::is_finite);
        Ok(match word.as_str() {
            "null" => Json::Null,
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ if word.len() <= WORD_LIMIT && is_finite() => Json::Number(word),
            _ => {
                self.oddities.add(Oddity::NotJson);
                Json::Null
            }
        })
    }

    /// A text, after its opening quote.
    fn string(&mut self, keep: bool) -> Result<String, Stop> {
        let mut bytes = Vec::new();
        // The first half of a pair of surrogates.
        let mut high = None;
        loop {
            if !self.fill()? {
                return Err(Stop::Cut);
            }
            let rest = &self.buffer[self.at..self.end];
            let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
            let plain = rest.iter().position(is_special).unwrap_or(rest.len());
            if plain > 0 {
                self.lone(&mut high, &mut bytes);
                if keep && self.has_room(plain) {
                    bytes.extend_from_slice(&self.buffer[self.at..self.at + plain]);
                }
                self.at += plain;
                continue;
            }
            self.at += 1;
            if self.buffer[self.at - 1] == b'"' {
                break;
            }
            let unit = self.escaped()?;
            if let Some(c) = self.unit(unit, &mut high, &mut bytes)
                && keep
                && self.has_room(c.len_utf8())
            {
                push(&mut bytes, c);
            }
        }
        self.lone(&mut high, &mut bytes);
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| {
            self.oddities.add(Oddity::Latin1);
            latin1(error.as_bytes())
        }))
    }

    /// What an escape stands for, as JavaScript has it where JSON has none.
    fn escaped(&mut self) -> Result<u32, Stop> {
        let byte = self.next()?;
        Ok(match byte {
            b'"' | b'\\' | b'/' => byte.into(),
            b'n' => 0x0a,
            b'r' => 0x0d,
            b't' => 0x09,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'u' => self.hex(4)?,
            byte => {
                self.oddities.add(Oddity::NotJson);
                match byte {
                    b'v' => 0x0b,
                    b'0' => 0,
                    b'x' => self.hex(2)?,
                    // It may begin a character of several bytes.
                    _ if !byte.is_ascii() => {
                        self.at -= 1;
                        u32::from(b'\\')
                    }
                    _ => byte.into(),
                }
            }
        })
    }

    fn hex(&mut self, digits: usize) -> Result<u32, Stop> {
        let mut value = 0;
        for _ in 0..digits {
            let digit = match self.fill()? {
                true => char::from(self.buffer[self.at]).to_digit(16),
                false => return Err(Stop::Cut),
            };
            let Some(digit) = digit else {
                self.oddities.add(Oddity::NotJson);
                return Ok(u32::from(char::REPLACEMENT_CHARACTER));
            };
            self.at += 1;
            value = value * 16 + digit;
        }
        Ok(value)
    }

    /// The character that a UTF-16 unit completes.
    fn unit(&mut self, unit: u32, high: &mut Option<u32>, bytes: &mut Vec<u8>) -> Option<char> {
        if let (Some(first), 0xdc00..=0xdfff) = (*high, unit) {
            *high = None;
            return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (unit - 0xdc00));
        }
        self.lone(high, bytes);
        if (0xd800..0xdc00).contains(&unit) {
            *high = Some(unit);
            return None;
        }
        Some(char::from_u32(unit).unwrap_or_else(|| {
            self.oddities.add(Oddity::Surrogate);
            char::REPLACEMENT_CHARACTER
        }))
    }

    /// A half of a pair that nothing completes.
    fn lone(&mut self, high: &mut Option<u32>, bytes: &mut Vec<u8>) {
        if high.take().is_some() {
            self.oddities.add(Oddity::Surrogate);
            push(bytes, char::REPLACEMENT_CHARACTER);
        }
    }

    /// Is there room for a value of so many bytes? Counts it.
    fn has_room(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.values += u64::from(bytes == 0);
        !self.is_full()
    }

    const fn is_full(&self) -> bool {
        self.bytes > PART_LIMIT || self.values > VALUES_LIMIT
    }

    fn next(&mut self) -> Result<u8, Stop> {
        match self.fill()? {
            true => {
                self.at += 1;
                Ok(self.buffer[self.at - 1])
            }
            false => Err(Stop::Cut),
        }
    }

    /// False at the end of the file.
    fn fill(&mut self) -> Result<bool, Stop> {
        while self.at == self.end {
            self.at = 0;
            self.end = match self.input.read(&mut self.buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_cut(&error) => 0,
                Err(error) => {
                    self.end = 0;
                    return Err(Stop::Read(error));
                }
            };
            if self.end == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comma {
    /// Before the first member or element.
    First,
    None,
    Passed,
}

enum Separator {
    End,
    Comma,
    None,
}

/// What a compressed file says that ends too early, or is damaged.
fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput)
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Each byte that is not of UTF-8 as the character of ISO 8859-1.
fn latin1(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().copied().map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Result<Json, Stop>, Oddities) {
        let mut reader = Reader::new(text);
        let read = reader.part(|_, _| true);
        match read {
            Ok(part) => (Ok(part.json), part.oddities),
            Err(stop) => (Err(stop), reader.oddities),
        }
    }

    fn text(text: &str) -> Json {
        Json::Text(text.to_owned())
    }

    #[test]
    fn json_is_read_as_others_read_it() {
        let sample = "{\"a\":[1,-2.5e3,true,null,\"\\u00e9\\n\\ud83d\\ude00\"],\"\":{}}";
        let (json, oddities) = read(sample.as_bytes());
        let list = vec![
            Json::Number("1".to_owned()),
            Json::Number("-2.5e3".to_owned()),
            Json::Bool(true),
            Json::Null,
            text("\u{e9}\n\u{1f600}"),
        ];
        let members = vec![
            ("a".to_owned(), Json::List(list)),
            (String::new(), Json::Object(Vec::new())),
        ];
        assert_eq!(json.unwrap(), Json::Object(members));
        assert_eq!(oddities, Oddities::default());
        for end in 0..sample.len() {
            let (json, _) = read(&sample.as_bytes()[..end]);
            assert!(matches!(json, Err(Stop::Cut)), "{end}");
        }
    }

    #[test]
    fn what_is_no_json_costs_one_value() {
        let list = |last: Json| Json::List(vec![text("a"), last]);
        for (json, expected, kind) in [
            (&b"[\"a\",NaN]"[..], list(Json::Null), Oddity::NotJson),
            (b"[\"a\",undefined]", list(Json::Null), Oddity::NotJson),
            (b"[\"a\",1e999]", list(Json::Null), Oddity::NotJson),
            (b"[\"a\",,\"b\",]", list(text("b")), Oddity::NotJson),
            (b"[\"a\" \"b\"]", list(text("b")), Oddity::NotJson),
            (b"[\"a\",\"b\"}", list(text("b")), Oddity::NotJson),
            (
                b"[\"a\",\"\\v\\x41\\q\"]",
                list(text("\u{b}Aq")),
                Oddity::NotJson,
            ),
            (
                b"[\"a\",\"\\u12\"]",
                list(text("\u{fffd}")),
                Oddity::NotJson,
            ),
            (
                b"[\"a\",\"\\ud83d!\"]",
                list(text("\u{fffd}!")),
                Oddity::Surrogate,
            ),
            (
                b"[\"a\",\"\\ud83d\\ud83d\\ude00\"]",
                list(text("\u{fffd}\u{1f600}")),
                Oddity::Surrogate,
            ),
            (
                b"[\"a\",\"\\ude00\"]",
                list(text("\u{fffd}")),
                Oddity::Surrogate,
            ),
            (
                b"[\"a\",\"\\u00e9\xe9\"]",
                list(text("\u{e9}\u{e9}")),
                Oddity::Latin1,
            ),
        ] {
            let (found, oddities) = read(json);
            let shown = json.escape_ascii();
            assert_eq!(found.unwrap(), expected, "{shown}");
            assert_eq!(oddities.iter().collect::<Vec<_>>(), [kind], "{shown}");
        }
    }

    #[test]
    fn what_is_too_deep_or_too_much_is_passed_over() {
        let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        let (json, oddities) = read(&deep);
        assert!(json.is_ok());
        assert_eq!(oddities.iter().collect::<Vec<_>>(), [Oddity::Value]);
        let many = [
            b"[".as_slice(),
            &b"{},".repeat(VALUES_LIMIT as usize),
            b"7]",
        ]
        .concat();
        let mut reader = Reader::new(&*many);
        assert!(reader.part(|_, _| true).unwrap().is_too_large);
    }
}
