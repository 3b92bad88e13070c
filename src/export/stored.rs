//! A body that is too large to be held: read once to learn what it is, and again while it is written.
//!
//! Whoever hands it in opens it, and lets no octet pass for whole that is not right. Never holds
//! more than a chunk of it.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::MultiGzDecoder;

use crate::coding::{Coding, text_limit};
use crate::exchange::Fields;

/// Opens a body at its beginning, as often as it is asked to.
type Open = dyn Fn() -> io::Result<Box<dyn Read>>;

/// A body's octets as recorded (content-encoded), which can be had again and again.
#[derive(Clone)]
pub(crate) struct Stored {
    open: Rc<Open>,
    form: Form,
    /// Why it could not be read the second time.
    failure: Rc<RefCell<Option<io::Error>>>,
}

/// How a body stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// Octets of the content.
    pub(super) bytes: u64,
    /// UTF-8, and so a text; else base64.
    pub(super) is_text: bool,
    pub(super) is_decoded: bool,
    /// Why the content is still encoded.
    pub(super) still_encoded: Option<String>,
}

impl Stored {
    /// Reads all that `open` opens. The content coding that a response's `headers` name is undone,
    /// within bounds; a request's body stays as it is.
    pub(crate) fn read(
        open: impl Fn() -> io::Result<Box<dyn Read>> + 'static,
        headers: Option<&Fields>,
    ) -> io::Result<Self> {
        let coding = headers.map_or(Coding::Identity, Coding::of);
        let form = form(&open, &coding)?;
        Ok(Self {
            open: Rc::new(open),
            form,
            failure: Rc::default(),
        })
    }

    pub(super) const fn form(&self) -> &Form {
        &self.form
    }

    /// Why the text that was written last is not whole, if it is not.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.failure.take()
    }

    fn content(&self) -> io::Result<Box<dyn Read>> {
        let source = (self.open)()?;
        Ok(match self.form.is_decoded {
            true => Box::new(MultiGzDecoder::new(source)),
            false => source,
        })
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.open, &other.open)
    }
}

impl Eq for Stored {}

/// The content as text or base64, read while it is shown.
///
/// A writer of JSON takes an error of ours for one of its own, so what fails is kept in
/// `Stored::take_failure`.
impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            self.content()
                .map_or_else(Shown::Failed, |mut source| match self.form.is_text {
                    true => show_text(&mut source, f),
                    false => show_base64(&mut source, f),
                });
        match shown {
            Shown::Whole => Ok(()),
            Shown::Refused => Err(fmt::Error),
            Shown::Failed(error) => {
                self.failure.replace(Some(error));
                Ok(())
            }
        }
    }
}

/// What became of a content's second reading.
enum Shown {
    Whole,
    /// The output took no more.
    Refused,
    /// The source gave no more.
    Failed(io::Error),
}

fn show_text(source: &mut impl Read, f: &mut fmt::Formatter<'_>) -> Shown {
    let mut pieces = Pieces::new();
    loop {
        match pieces.next(source) {
            Err(error) => return Shown::Failed(error),
            Ok(None) => break,
            Ok(Some((_, text))) if f.write_str(text).is_err() => return Shown::Refused,
            Ok(Some(_)) => {}
        }
    }
    match pieces.is_text {
        true => Shown::Whole,
        false => Shown::Failed(io::ErrorKind::InvalidData.into()),
    }
}

fn show_base64(source: &mut impl Read, f: &mut fmt::Formatter<'_>) -> Shown {
    let mut octets = Vec::with_capacity(CHUNK);
    let mut digits = String::new();
    loop {
        octets.clear();
        digits.clear();
        // Whole groups of three, but for the last chunk.
        match source.by_ref().take(CHUNK as u64).read_to_end(&mut octets) {
            Err(error) => return Shown::Failed(error),
            Ok(0) => return Shown::Whole,
            Ok(_) => BASE64.encode_string(&octets, &mut digits),
        }
        if f.write_str(&digits).is_err() {
            return Shown::Refused;
        }
    }
}

/// Finds out how a body is to stand in the file; an error says that the body is wrong.
fn form(open: &impl Fn() -> io::Result<Box<dyn Read>>, coding: &Coding) -> io::Result<Form> {
    let (bytes, is_text) = survey(open()?)?;
    let plain = Form {
        bytes,
        is_text,
        is_decoded: false,
        still_encoded: None,
    };
    let kept = |why: String| Form {
        // Coded octets that happen to be UTF-8 are still no text.
        is_text: false,
        still_encoded: Some(format!("still encoded: {why}")),
        ..plain.clone()
    };
    Ok(match coding {
        Coding::Identity => plain,
        Coding::Other(name) => kept(format!("{name} is not decoded here")),
        Coding::Gzip => {
            let limit = text_limit(bytes);
            // What is wrong with the octets has been told: this tells of their coding.
            match survey(MultiGzDecoder::new(open()?).take(limit + 1)) {
                Ok((bytes, is_text)) if bytes <= limit => Form {
                    bytes,
                    is_text,
                    is_decoded: true,
                    still_encoded: None,
                },
                Ok(_) => kept(format!("this gzip holds more than {limit} bytes")),
                Err(_) => kept("this is not valid gzip".to_owned()),
            }
        }
    })
}

/// How many octets there are, and whether they are UTF-8.
fn survey(mut source: impl Read) -> io::Result<(u64, bool)> {
    let mut pieces = Pieces::new();
    let mut bytes = 0;
    while let Some((read, _)) = pieces.next(&mut source)? {
        bytes += read as u64;
    }
    Ok((bytes, pieces.is_text))
}

/// Cuts octets between characters.
struct Pieces {
    buffer: Vec<u8>,
    /// How many octets of the buffer are read.
    len: usize,
    /// How many of those are whole characters: the others stand before the next piece.
    whole: usize,
    /// Whether all that was read is UTF-8.
    is_text: bool,
}

impl Pieces {
    fn new() -> Self {
        Self {
            buffer: vec![0; CHUNK],
            len: 0,
            whole: 0,
            is_text: true,
        }
    }

    /// Reads on: how many octets came, and which text; `None` at the end.
    fn next(&mut self, source: &mut impl Read) -> io::Result<Option<(usize, &str)>> {
        self.buffer.copy_within(self.whole..self.len, 0);
        let kept = self.len - self.whole;
        (self.len, self.whole) = (kept, 0);
        let read = loop {
            match source.read(&mut self.buffer[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.len += read;
        if read == 0 {
            self.is_text &= kept == 0;
            return Ok(None);
        }
        match std::str::from_utf8(&self.buffer[..self.len]) {
            Ok(_) if self.is_text => self.whole = self.len,
            Err(error) if self.is_text && error.error_len().is_none() => {
                self.whole = error.valid_up_to();
            }
            _ => {
                self.is_text = false;
                self.whole = self.len;
                return Ok(Some((read, "")));
            }
        }
        let text = std::str::from_utf8(&self.buffer[..self.whole]);
        Ok(Some((read, text.unwrap_or_default())))
    }
}

/// How much is read at once, octets: groups of three are whole in it.
const CHUNK: usize = 48 * 1024;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::Value;

    use super::super::har::HarError;
    use super::super::sample::{self, PROXY, answered, gzip};
    use super::super::source::{Bodies, Content};
    use super::*;

    /// A source that gives these octets, an odd number at a time.
    struct Slow(io::Cursor<Vec<u8>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min(10_007);
            self.0.read(&mut buffer[..len])
        }
    }

    fn opens(octets: &[u8]) -> impl Fn() -> io::Result<Box<dyn Read>> + 'static {
        let octets = octets.to_vec();
        move || Ok(Box::new(Slow(io::Cursor::new(octets.clone()))))
    }

    /// The entry with these octets held, and with them stored: of a response, then of a request.
    fn both(octets: &[u8], coding: Option<&str>) -> [[Value; 2]; 2] {
        let mut answer = answered(1, PROXY, 200, octets);
        if let Some(coding) = coding {
            answer = answer.content_encoding(coding);
        }
        let mut stored = answer.clone();
        let headers = stored.exchange.end().map(|end| end.headers.clone());
        let read = Stored::read(opens(octets), headers.as_ref()).unwrap();
        stored.body = Content::Stored(read);
        let post = answered(1, PROXY, 200, b"").post(octets);
        let mut stored_post = post.clone();
        let read = Stored::read(opens(octets), None).unwrap();
        stored_post.request_body = Content::Stored(read);
        [[answer, stored], [post, stored_post]]
            .map(|items| items.map(|item| sample::entry(item, Bodies::All)))
    }

    #[test]
    fn what_is_stored_is_written_as_what_is_held() {
        let text = "aé€😀\"\n\u{1b}".repeat(20_000);
        let zip: Vec<u8> = (0..=255).cycle().take(200_001).collect();
        let ends_early = &text.as_bytes()[..text.len() / 13 * 13 - 4];
        let bomb = gzip(&vec![b'a'; (1 << 20) + 1]);
        for (name, octets, coding) in [
            ("text", text.as_bytes(), None),
            ("octets", &zip, None),
            ("half a character at the end", ends_early, None),
            ("gzip of text", &gzip(text.as_bytes()), Some("gzip")),
            ("gzip of octets", &gzip(&zip), Some("gzip")),
            ("gzip of too much", &bomb, Some("gzip")),
            ("no gzip", text.as_bytes(), Some("gzip")),
            ("another coding", text.as_bytes(), Some("br")),
        ] {
            for [held, stored] in both(octets, coding) {
                assert!(held == stored, "{name}: {}", told(&stored));
            }
        }
    }

    fn told(entry: &Value) -> String {
        entry.to_string().chars().take(2_000).collect()
    }

    #[test]
    fn what_is_another_the_second_time_ends_the_writing() {
        let times = Cell::new(0);
        let open = move || -> io::Result<Box<dyn Read>> {
            times.set(times.get() + 1);
            match times.get() {
                1 => Ok(Box::new(io::repeat(b'a').take(100_000))),
                _ => Err(io::Error::other("it was taken away")),
            }
        };
        let mut item = answered(7, PROXY, 200, b"");
        item.body = Content::Stored(Stored::read(open, None).unwrap());
        let error = sample::try_har(vec![item], Bodies::All).unwrap_err();
        let HarError::Body {
            exchange: 7,
            source,
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(source.to_string(), "it was taken away");
    }
}
