//! A response's body in a HAR: its sizes, its text, or why there is none.

use std::borrow::Cow;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Serialize, Serializer};

use super::super::source::{Bodies, Content};
use super::super::stored::{Form, Stored};
use crate::coding::{Coding, text_limit};
use crate::exchange::{Body, End, Fields, field};

/// HAR's `content`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HarContent<'a> {
    /// Octets of `text`; where that is absent, of the body as recorded.
    size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<i64>,
    mime_type: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl<'a> HarContent<'a> {
    pub(super) fn new(end: &'a End, content: &'a Content, bodies: Bodies) -> Self {
        let empty = Self::empty(mime_type(&end.headers));
        let Some(body) = &end.body else {
            return empty;
        };
        match held(body, content, bodies) {
            Ok(Held::Octets(octets)) => empty.with(octets, &Coding::of(&end.headers)),
            Ok(Held::Stored(stored)) => empty.with_stored(stored, body.bytes),
            Err(why) => Self {
                size: size(body.bytes),
                comment: Some(why),
                ..empty
            },
        }
    }

    pub(super) fn empty(mime_type: Cow<'a, str>) -> Self {
        Self {
            size: 0,
            compression: None,
            mime_type,
            text: None,
            encoding: None,
            comment: None,
        }
    }

    fn with(self, octets: &'a [u8], coding: &Coding) -> Self {
        let decoded = coding.decode(octets, text_limit(octets.len() as u64));
        let (content, still_encoded) = match decoded {
            Ok(content) => (content, None),
            Err(error) => (
                Cow::Borrowed(octets),
                Some(format!("still encoded: {error}")),
            ),
        };
        let content_size = size(content.len() as u64);
        let is_decoded = *coding != Coding::Identity && still_encoded.is_none();
        // Coded octets that happen to be UTF-8 are still no text.
        let text = match still_encoded {
            Some(_) => Text::Base64(content),
            None => Text::of(content),
        };
        Self {
            size: content_size,
            compression: is_decoded.then(|| content_size - size(octets.len() as u64)),
            encoding: text.is_base64().then_some("base64"),
            text: Some(text),
            comment: still_encoded,
            ..self
        }
    }

    /// The same of a body that is read while it is written.
    fn with_stored(self, stored: &'a Stored, recorded_bytes: u64) -> Self {
        let text = Text::Stored(stored);
        let Form {
            bytes,
            is_decoded,
            still_encoded,
            ..
        } = stored.form();
        Self {
            size: size(*bytes),
            compression: is_decoded.then(|| size(*bytes) - size(recorded_bytes)),
            encoding: text.is_base64().then_some("base64"),
            text: Some(text),
            comment: still_encoded.clone(),
            ..self
        }
    }
}

/// Octets as JSON can carry them.
pub(super) enum Text<'a> {
    Plain(Cow<'a, str>),
    Base64(Cow<'a, [u8]>),
    Stored(&'a Stored),
}

impl<'a> Text<'a> {
    pub(super) fn is_base64(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Base64(_) => true,
            Self::Stored(stored) => !stored.form().is_text,
        }
    }

    pub(super) fn of(octets: Cow<'a, [u8]>) -> Self {
        match octets {
            Cow::Borrowed(octets) => match std::str::from_utf8(octets) {
                Ok(text) => Self::Plain(Cow::Borrowed(text)),
                Err(_) => Self::Base64(Cow::Borrowed(octets)),
            },
            Cow::Owned(octets) => match String::from_utf8(octets) {
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
            // Encoded while it is written: a module's zip need not be in memory twice.
            Self::Base64(octets) => serializer.collect_str(&Base64Display::new(octets, &BASE64)),
            Self::Stored(stored) => serializer.collect_str(stored),
        }
    }
}

/// A body's recorded octets.
pub(super) enum Held<'a> {
    Octets(&'a [u8]),
    Stored(&'a Stored),
}

/// A body's recorded octets, or a sentence that says why they are not in the file.
pub(super) fn held<'a>(
    body: &Body,
    content: &'a Content,
    bodies: Bodies,
) -> Result<Held<'a>, String> {
    match content {
        Content::NotKept => Err("only the body's digest was recorded".to_owned()),
        Content::Missing(why) => Err(format!("the recording has lost this body: {why}")),
        Content::Octets(octets) if bodies.takes(body.bytes) => Ok(Held::Octets(octets)),
        Content::Stored(stored) if bodies.takes(body.bytes) => Ok(Held::Stored(stored)),
        Content::Octets(_) | Content::Stored(_) | Content::LeftOut => {
            Err("left out; size is the body's as recorded, see _modtape".to_owned())
        }
    }
}

pub(super) fn mime_type(headers: &Fields) -> Cow<'_, str> {
    field(headers, "content-type").unwrap_or(Cow::Borrowed(UNKNOWN_TYPE))
}

pub(super) fn size(octets: u64) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

/// What Chrome writes, and skips on import, where there is no `Content-Type`.
pub(super) const UNKNOWN_TYPE: &str = "x-unknown";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::sample::{self, PROXY, answered, gzip};
    use super::super::super::source::Item;
    use super::*;

    fn response(item: Item) -> Value {
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
        let reason = |content| {
            let mut item = answered(1, PROXY, 200, b"four");
            item.body = content;
            let content = response(item)["content"].take();
            assert_eq!((content.get("text"), &content["size"]), (None, &json!(4)));
            content["comment"].as_str().unwrap().to_owned()
        };
        assert!(reason(Content::NotKept).contains("only the body's digest"));
        assert!(reason(Content::LeftOut).contains("left out"));
        assert!(reason(Content::Missing("no such file".into())).ends_with("no such file"));
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
