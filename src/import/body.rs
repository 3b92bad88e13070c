//! A response's body: what a HAR has of it, and whether that is what passed.
//!
//! A HAR tells of a body up to five times: its text, `content.size` (the length of what was decoded),
//! `bodySize` (the length on the wire; -1 is unknown), and the header fields `content-length` and
//! `content-encoding`. A body is taken for good only if they agree: one that was cut, replaced,
//! converted or left out would be replayed as if an origin had sent it.

use std::borrow::Cow;
use std::io;

use sha2::{Digest as _, Sha256};

use super::file::BodyFiles;
use super::json::{Json, PART_LIMIT};
use super::message::text_bytes;
use super::oddity::{Oddities, Oddity};
use crate::coding::{gunzip, is_textual};
use crate::exchange::{Body, ByteString, Fields, Hex, field};

/// What a coding makes of nothing at most, bytes: gzip 20 (RFC 1952 section 2.3), others less.
const CODED_NOTHING: u64 = 32;

/// What a HAR says of a body's length and form, beside the content.
pub(super) struct Claims<'a> {
    /// The response's header fields.
    pub(super) headers: &'a Fields,
    /// HAR's `bodySize`.
    pub(super) wire: Option<u64>,
    /// What our own export says of the body as it was recorded.
    pub(super) recorded: Option<&'a Body>,
}

/// A body that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    /// It came with a coding, which was undone.
    pub(super) is_decoded: bool,
}

/// HAR's `content`.
pub(super) struct Content {
    text: Option<String>,
    /// The name of a file beside the HAR, as Playwright has it.
    file: Option<String>,
    encoding: String,
    mime: Option<String>,
    pub(super) size: Option<u64>,
    saving: Option<f64>,
}

impl Content {
    pub(super) fn of(mut json: Json, oddities: &mut Oddities) -> Self {
        let mut word = |name: &str| json.take(name, oddities).text(oddities);
        Self {
            text: word("text"),
            file: word("_file"),
            encoding: word("encoding").unwrap_or_default(),
            mime: word("mimeType").filter(|mime| !mime.is_empty()),
            size: json.take("size", oddities).whole(oddities),
            saving: json.take("compression", oddities).number(oddities),
        }
    }

    /// Is the body said to be in the file, or beside it?
    pub(super) const fn is_here(&self) -> bool {
        self.text.is_some() || self.file.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.file.is_none() && self.text.as_ref().is_none_or(String::is_empty)
    }

    fn is_base64(&self) -> bool {
        self.encoding.trim().eq_ignore_ascii_case("base64")
    }

    /// Does its text contain U+FFFD, which stands where bytes were not text?
    fn has_replaced(&self) -> bool {
        let is_replaced = |text: &String| text.contains(char::REPLACEMENT_CHARACTER);
        !self.is_base64() && self.text.as_ref().is_some_and(is_replaced)
    }

    fn take_bytes(&mut self, files: &BodyFiles<'_>) -> Result<Option<Vec<u8>>, Oddity> {
        if let Some(file) = &self.file {
            return files(file).map(Some).ok_or(Oddity::File);
        }
        let Some(text) = self.text.take() else {
            return Ok(None);
        };
        let damage = match self.is_base64() {
            true => Oddity::Base64,
            false => Oddity::Encoding,
        };
        text_bytes(text, &self.encoding).map(Some).ok_or(damage)
    }
}

impl Claims<'_> {
    /// Takes the content for the body, or says why it is not the body.
    pub(super) fn body(
        &self,
        mut content: Content,
        files: &BodyFiles<'_>,
        oddities: &Oddities,
    ) -> Result<Found, Oddity> {
        let has_replaced = content.has_replaced();
        // Half characters make no bytes.
        if has_replaced && oddities.has(Oddity::Surrogate) {
            return Err(Oddity::Replaced);
        }
        let Some(bytes) = content.take_bytes(files)? else {
            let nothing = Found {
                bytes: Vec::new(),
                is_decoded: false,
            };
            return self
                .is_nothing(&content)
                .then_some(nothing)
                .ok_or(Oddity::NoBody);
        };
        let is_decoded = self.judge(&content, &bytes, has_replaced)?;
        Ok(Found { bytes, is_decoded })
    }
}

impl Claims<'_> {
    /// Does something say that there was nothing, and nothing that there was something?
    fn is_nothing(&self, content: &Content) -> bool {
        let lengths = [content.size, self.wire, self.announced()];
        let mut lengths = lengths.into_iter().flatten().peekable();
        lengths.peek().is_some() && lengths.all(|bytes| bytes == 0)
    }

    /// Says whether a coding was undone, or why this is not the body.
    fn judge(&self, content: &Content, bytes: &[u8], has_replaced: bool) -> Result<bool, Oddity> {
        let is_coded = is_coded(self.headers);
        if let Some(recorded) = self.recorded {
            return match recorded.sha256 == Hex(Sha256::digest(bytes).into()) {
                true => Ok(false),
                false if is_coded => self.judge_coded(content, bytes),
                false => Err(Oddity::Digest),
            };
        }
        if bytes.is_empty() {
            let most = if is_coded { CODED_NOTHING } else { 0 };
            let lengths = [self.wire, self.announced()].into_iter().flatten();
            let is_nothing = content.size.unwrap_or(0) == 0 && lengths.max().unwrap_or(0) <= most;
            return if is_nothing {
                Ok(false)
            } else {
                Err(Oddity::NoBody)
            };
        }
        if has_replaced {
            // Text may have such characters of its own, but then its length is right.
            let is_sized = content.size == Some(bytes.len() as u64);
            let mime = self.mime(content);
            let is_binary = !mime.is_empty() && !is_textual(&mime);
            if is_binary || !is_sized {
                return Err(Oddity::Replaced);
            }
        }
        match is_coded {
            true => self.judge_coded(content, bytes),
            false => self.judge_plain(content, bytes).map(|()| false),
        }
    }

    fn judge_plain(&self, content: &Content, bytes: &[u8]) -> Result<(), Oddity> {
        let len = Some(bytes.len() as u64);
        let mime = self.mime(content);
        if is_gzip(bytes) && (is_textual(&mime) || mime.contains("/zip")) {
            return Err(Oddity::StillCoded);
        }
        let is_sized = match content.size {
            None => true,
            // Some do not know it, and write 0.
            Some(0) => self.announced() == len || self.wire == len,
            size => size == len,
        };
        let is_long_enough = self.announced().is_none_or(|bytes| Some(bytes) == len);
        if is_sized && is_long_enough {
            Ok(())
        } else {
            Err(Oddity::Length)
        }
    }

    /// Browsers undo the coding, and keep the field that names it.
    fn judge_coded(&self, content: &Content, bytes: &[u8]) -> Result<bool, Oddity> {
        let len = bytes.len() as u64;
        let sent = self.wire.filter(|bytes| *bytes > 0);
        let wire = self.announced().or(sent);
        if is_gzip(bytes) && !self.mime(content).contains("gzip") {
            let is_as_sent = wire == Some(len)
                || content
                    .size
                    .is_some_and(|size| size != len && holds(bytes, size));
            return if is_as_sent {
                Ok(false)
            } else {
                Err(Oddity::StillCoded)
            };
        }
        // mitmproxy's size is the length on the wire, and what was saved makes up the difference.
        let is_size_of_wire = || {
            let saving = content.saving.unwrap_or(0.0);
            saving != 0.0
                && content.size == wire
                && as_f64(content.size) + saving == as_f64(Some(len))
        };
        match content.size {
            None => Ok(true),
            Some(size) if size == len || is_size_of_wire() => Ok(true),
            Some(_) => Err(Oddity::Length),
        }
    }

    /// The type, in lower case.
    fn mime(&self, content: &Content) -> String {
        let told = content.mime.as_deref().map(Cow::Borrowed);
        let told = told.or_else(|| field(self.headers, "content-type"));
        told.unwrap_or_default().to_ascii_lowercase()
    }

    /// The length that the header announces.
    fn announced(&self) -> Option<u64> {
        field(self.headers, "content-length")?.trim().parse().ok()
    }
}

/// Does the header name a coding that a HAR undoes?
fn is_coded(headers: &Fields) -> bool {
    let codings = headers.iter().filter(|field| is(field, "content-encoding"));
    let mut codings = codings.map(|(_, value)| value.to_text().trim().to_owned());
    codings.any(|coding| !matches!(coding.as_str(), "" | "identity"))
}

/// Takes away what is not true of decoded content.
pub(super) fn decode_headers(headers: &mut Fields) {
    headers.retain(|field| !is(field, "content-encoding") && !is(field, "content-length"));
}

fn is((field, _): &(String, ByteString), name: &str) -> bool {
    field.eq_ignore_ascii_case(name)
}

/// RFC 1952 section 2.3.1: the mark of gzip, and the one method of compression that it has.
fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x1f\x8b\x08")
}

/// Does this gzip hold so many bytes?
fn holds(gzip: &[u8], bytes: u64) -> bool {
    let mut content = gunzip(gzip, bytes.min(PART_LIMIT));
    io::copy(&mut content, &mut io::sink()).is_ok_and(|found| found == bytes)
}

#[expect(clippy::cast_precision_loss, reason = "lengths in a HAR are doubles")]
fn as_f64(bytes: Option<u64>) -> f64 {
    bytes.map_or(-1.0, |bytes| bytes as f64)
}
