//! A body as HAR has it: decoded, as text where it is text, else as base64; or why it is not there.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, Read};

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Serialize, Serializer};

use super::super::source::{Bodies, Source};
use crate::coding::{Coding, is_textual, text_limit};
use crate::exchange::{Body, End, Exchange, ExchangeId, Fields, field};
use crate::recording::reader::WHOLE_LIMIT;

/// What Chrome writes, and skips on import, where there is no `Content-Type`.
pub(super) const UNKNOWN_TYPE: &str = "x-unknown";

/// Why HAR's `text` is absent.
const LEFT_OUT: &str = "left out; size is the body's as recorded, see _modtape";

/// A body of an exchange, as far as it is in the file.
pub(super) enum Content<'a> {
    /// There is none.
    None,
    /// All bytes, as recorded.
    Whole(Cow<'a, [u8]>),
    /// Larger than is held: read while it is written.
    Stream(Base64Stream<Box<dyn Read>>),
    /// Not wanted.
    LeftOut,
    /// The recording does not have it: why, as a sentence.
    Missing(String),
}

/// The bodies of an exchange.
pub(super) struct Contents<'a> {
    pub(super) request: Content<'a>,
    pub(super) response: Content<'a>,
}

impl<'a> Contents<'a> {
    pub(super) fn read(source: &Source<'_>, exchange: &'a Exchange, bodies: Bodies) -> Self {
        let id = exchange.begin.id;
        let request = exchange.request_body();
        let end = exchange.end();
        let response = end.and_then(|end| end.body.as_ref());
        let none = Fields::new();
        let headers = end.map_or(&none, |end| &end.headers);
        Self {
            request: Content::read(source, id, request, &exchange.begin.headers, bodies),
            response: Content::read(source, id, response, headers, bodies),
        }
    }

    /// Why a text that was written is not whole, if it is not.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        let failure = self.request.take_failure();
        failure.or_else(|| self.response.take_failure())
    }
}

impl<'a> Content<'a> {
    /// Reads a body if it is wanted; `headers` are those of its message.
    fn read(
        source: &Source<'_>,
        id: ExchangeId,
        body: Option<&'a Body>,
        headers: &Fields,
        bodies: Bodies,
    ) -> Self {
        let Some(body) = body else {
            return Self::None;
        };
        let content = match &body.inline {
            _ if !bodies.takes(body.bytes) => return Self::LeftOut,
            Some(bytes) => return Self::Whole(Cow::Borrowed(&bytes.0)),
            None if body.bytes == 0 => return Self::Whole(Cow::Borrowed(&[])),
            None if !body.kept => {
                source.note_unkept_body();
                return Self::Missing("only the body's digest was recorded".to_owned());
            }
            None if is_held(body, headers) => {
                let bytes = source.whole(id, body);
                bytes.map(|bytes| Self::Whole(Cow::Owned(bytes)))
            }
            None => {
                let reader = source.verified(id, body);
                reader.map(|reader| Self::Stream(Base64Stream::new(Box::new(reader))))
            }
        };
        let lost = |why| Self::Missing(format!("the recording has lost this body: {why}"));
        content.unwrap_or_else(lost)
    }

    /// Why the text that was written last is not whole, if it is not.
    fn take_failure(&self) -> Option<io::Error> {
        match self {
            Self::Stream(stream) => stream.failure.take(),
            Self::None | Self::Whole(_) | Self::LeftOut | Self::Missing(_) => None,
        }
    }

    /// The bytes as recorded, for JSON; or why they are not there.
    pub(super) fn text(&self) -> Result<Text<'_>, &str> {
        match self {
            Self::None | Self::LeftOut => Err(LEFT_OUT),
            Self::Missing(why) => Err(why),
            Self::Whole(bytes) => Ok(Text::of(Cow::Borrowed(bytes))),
            Self::Stream(stream) => Ok(Text::Stream(stream)),
        }
    }
}

/// Whether a body in a file is read whole: a small one, and a text, which may have to be decoded.
fn is_held(body: &Body, headers: &Fields) -> bool {
    let is_text = || field(headers, "content-type").is_some_and(|mime| is_textual(&mime));
    Bodies::Small.takes(body.bytes) || (body.bytes <= WHOLE_LIMIT && is_text())
}

/// HAR's `content`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HarContent<'a> {
    /// Bytes of `text`; where that is absent, of the body as recorded.
    size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<i64>,
    mime_type: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<Cow<'a, str>>,
}

impl<'a> HarContent<'a> {
    pub(super) fn new(end: &'a End, content: &'a Content<'_>) -> Self {
        let empty = Self::empty(mime_type(&end.headers));
        let Some(body) = &end.body else {
            return empty;
        };
        let recorded = size(body.bytes);
        let coding = Coding::of(&end.headers);
        let bytes = match content {
            _ if coding == Coding::Identity => return empty.with(recorded, content.text()),
            Content::Whole(bytes) => bytes,
            Content::Stream(_) => {
                return Self {
                    comment: Some("still encoded: it is too large to be decoded here".into()),
                    ..empty.with(recorded, content.text())
                };
            }
            _ => return empty.with(recorded, content.text()),
        };
        match coding.decode(bytes, text_limit(body.bytes).min(WHOLE_LIMIT)) {
            Ok(decoded) => Self {
                compression: Some(size(decoded.len() as u64) - recorded),
                ..empty.with(size(decoded.len() as u64), Ok(Text::of(decoded)))
            },
            // Encoded bytes that happen to be UTF-8 are still no text.
            Err(error) => Self {
                comment: Some(format!("still encoded: {error}").into()),
                ..empty.with(recorded, Ok(Text::Base64(Cow::Borrowed(bytes))))
            },
        }
    }

    pub(super) const fn empty(mime_type: Cow<'a, str>) -> Self {
        Self {
            size: 0,
            compression: None,
            mime_type,
            text: None,
            encoding: None,
            comment: None,
        }
    }

    fn with(self, size: i64, text: Result<Text<'a>, &'a str>) -> Self {
        let is_base64 = text.as_ref().is_ok_and(Text::is_base64);
        Self {
            size,
            encoding: is_base64.then_some("base64"),
            comment: text.as_ref().err().map(|why| Cow::Borrowed(*why)),
            text: text.ok(),
            ..self
        }
    }
}

/// Bytes as JSON can carry them.
pub(super) enum Text<'a> {
    Plain(Cow<'a, str>),
    Base64(Cow<'a, [u8]>),
    Stream(&'a Base64Stream<Box<dyn Read>>),
}

impl<'a> Text<'a> {
    pub(super) const fn is_base64(&self) -> bool {
        matches!(self, Self::Base64(_) | Self::Stream(_))
    }

    fn of(bytes: Cow<'a, [u8]>) -> Self {
        match bytes {
            Cow::Borrowed(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => Self::Plain(Cow::Borrowed(text)),
                Err(_) => Self::Base64(Cow::Borrowed(bytes)),
            },
            Cow::Owned(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Self::Plain(Cow::Owned(text)),
                Err(error) => Self::Base64(Cow::Owned(error.into_bytes())),
            },
        }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => serializer.serialize_str(text),
            // Encoded while it is written, not held twice.
            Self::Base64(bytes) => serializer.collect_str(&Base64Display::new(bytes, &BASE64)),
            Self::Stream(stream) => serializer.collect_str(stream),
        }
    }
}

/// A body that is read once, while it is written as base64.
///
/// A writer of JSON takes an error of ours for one of its own, so what fails is kept in `failure`.
pub(super) struct Base64Stream<R> {
    source: RefCell<R>,
    failure: RefCell<Option<io::Error>>,
}

impl<R: Read> Base64Stream<R> {
    fn new(source: R) -> Self {
        Self {
            source: RefCell::new(source),
            failure: RefCell::default(),
        }
    }
}

impl<R: Read> fmt::Display for Base64Stream<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut source = self.source.borrow_mut();
        let (mut bytes, mut digits) = (Vec::with_capacity(CHUNK), String::new());
        loop {
            bytes.clear();
            digits.clear();
            let chunk = source.by_ref().take(CHUNK as u64);
            match { chunk }.read_to_end(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) => BASE64.encode_string(&bytes, &mut digits),
                Err(error) => {
                    self.failure.replace(Some(error));
                    return Ok(());
                }
            }
            f.write_str(&digits)?;
        }
    }
}

/// How much is read at once, in bytes: whole groups of three, so that only the last chunk is padded.
const CHUNK: usize = 48 * 1024;

pub(super) fn mime_type(headers: &Fields) -> Cow<'_, str> {
    field(headers, "content-type").unwrap_or(Cow::Borrowed(UNKNOWN_TYPE))
}

pub(super) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::sample::{self, PROXY, Sample, answered, gzip};
    use super::*;

    fn response(item: Sample) -> Value {
        sample::entry(item, Bodies::Small)["response"].take()
    }

    #[test]
    fn gzip_is_decoded_and_its_saving_counted() {
        let list = b"v1.0.0\n".repeat(100);
        let coded = gzip(&list);
        let response = response(answered(1, PROXY, 200, &coded).content_encoding("gzip"));
        let saved = 700 - i64::try_from(coded.len()).unwrap();
        let text = String::from_utf8(list).unwrap();
        assert_eq!(
            response["content"],
            json!({"size": 700, "compression": saved, "mimeType": "text/plain; charset=utf-8", "text": text})
        );
        assert_eq!(response["bodySize"], coded.len());
        assert_eq!(response["_transferSize"], coded.len());
    }

    #[test]
    fn what_is_not_text_is_base64() {
        let content = response(answered(1, PROXY, 200, b"PK\xff"))["content"].take();
        assert_eq!(
            (&content["text"], &content["encoding"]),
            (&json!("UEv/"), &json!("base64"))
        );
        assert_eq!(content["size"], 3);
    }

    #[test]
    fn what_stays_encoded_is_base64_and_says_so() {
        let item = answered(1, PROXY, 200, b"plainly not").content_encoding("gzip");
        let content = response(item)["content"].take();
        assert_eq!(content["text"], "cGxhaW5seSBub3Q=");
        assert_eq!(content["encoding"], "base64");
        assert_eq!(content.get("compression"), None);
        assert_eq!(content["comment"], "still encoded: this is not valid gzip");
    }

    #[test]
    fn a_body_that_is_not_there_has_no_text_and_a_reason() {
        let reason = |sample: Sample, bodies| {
            let (har, losses) = sample::har_and_losses(&[sample], bodies);
            let mut har: Value = serde_json::from_slice(&har).unwrap();
            let content = har["log"]["entries"][0]["response"]["content"].take();
            assert_eq!((content.get("text"), &content["size"]), (None, &json!(4)));
            let comment = content["comment"].as_str().unwrap().to_owned();
            (comment, losses)
        };
        let four = answered(1, PROXY, 200, b"four");
        let (why, losses) = reason(four.clone().not_kept(), Bodies::All);
        assert!(why.contains("only the body's digest"), "{why}");
        assert_eq!((losses.not_kept, losses.missing.len()), (1, 0));
        let (why, losses) = reason(four.clone(), Bodies::None);
        assert!(why.contains("left out"), "{why}");
        assert_eq!((losses.not_kept, losses.missing.len()), (0, 0));
        let (why, losses) = reason(four.lost(), Bodies::All);
        assert!(why.ends_with("is missing"), "{why}");
        assert_eq!((losses.not_kept, losses.missing.len()), (0, 1));
    }

    #[test]
    fn a_body_in_a_file_is_text_if_its_type_is_one_and_else_base64() {
        let text = "a\u{e9}\u{20ac}\u{1f600}\"\n\u{1b}".repeat(20_000);
        let zip: Vec<u8> = (0..=255).cycle().take(9_000_001).collect();
        let bomb = gzip(&vec![b'a'; (1 << 20) + 1]);
        let content = |bytes: &[u8], mime: &str, coding: Option<&str>| {
            let mut sample = answered(1, PROXY, 200, bytes)
                .with(|end| end.headers = sample::fields(&[("content-type", mime)]));
            if let Some(coding) = coding {
                sample = sample.content_encoding(coding);
            }
            sample::entry(sample, Bodies::All)["response"]["content"].take()
        };
        let plain = content(text.as_bytes(), "text/plain", None);
        assert!(plain["text"] == text && plain.get("encoding").is_none());
        let decoded = content(&gzip(text.as_bytes()), "text/plain", Some("gzip"));
        assert!(decoded["text"] == text && decoded["compression"].as_u64().unwrap() > 0);
        for (bytes, mime, coding) in [
            (text.as_bytes(), "application/octet-stream", None),
            (&zip[..100_001], "application/zip", None),
            (&zip, "application/zip", None),
            (&zip, "text/plain", None),
            (&zip[..100_001], "text/plain", Some("br")),
            (&zip, "text/plain", Some("gzip")),
            (&bomb, "text/plain", Some("gzip")),
        ] {
            let content = content(bytes, mime, coding);
            let told = format!("{mime} {coding:?} {}", bytes.len());
            assert_eq!(content["encoding"], "base64", "{told}");
            assert_eq!(content["size"], bytes.len(), "{told}");
            assert_eq!(content.get("comment").is_some(), coding.is_some(), "{told}");
            let text = content["text"].as_str().unwrap();
            assert!(BASE64.decode(text).unwrap() == bytes, "{told}");
        }
    }

    #[test]
    fn a_body_that_breaks_off_while_it_is_written_is_kept_as_a_failure() {
        struct Breaks;
        impl Read for Breaks {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("it was taken away"))
            }
        }
        let source: Box<dyn Read> = Box::new(io::repeat(b'a').take(100_000).chain(Breaks));
        let content = Content::Stream(Base64Stream::new(source));
        let text = serde_json::to_string(&content.text().unwrap()).unwrap();
        assert!(text.len() > 100_000);
        let failure = content.take_failure().unwrap();
        assert_eq!(failure.to_string(), "it was taken away");
    }

    #[test]
    fn a_status_without_a_body_has_content_of_size_zero() {
        let response = response(answered(1, PROXY, 304, b"").with(|end| end.body = None));
        assert_eq!(
            response["content"],
            json!({"size": 0, "mimeType": "text/plain; charset=utf-8"})
        );
        assert_eq!(response["bodySize"], 0);
    }
}
