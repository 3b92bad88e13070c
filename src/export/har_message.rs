//! Request and response of a HAR's entry.
//!
//! What is not recorded gets HAR's -1; what did not happen is still an object, because importers
//! read through it without asking.

use std::borrow::Cow;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Serialize, Serializer};

use super::body_text::{Coding, Decoded};
use super::har::{Bodies, Content, Item};
use crate::exchange::{Abort, Begin, Body, End, Fields, Octets, Outcome, field};

/// HAR's `request`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    method: &'a str,
    url: &'a str,
    http_version: &'a str,
    cookies: Vec<Pair<'a>>,
    headers: Vec<Pair<'a>>,
    query_string: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_data: Option<PostData<'a>>,
    headers_size: i8,
    body_size: i64,
}

impl<'a> Request<'a> {
    pub(super) fn new(item: &'a Item, bodies: Bodies) -> Self {
        let begin = &item.exchange.begin;
        let body = item
            .exchange
            .end()
            .and_then(|end| end.request_body.as_ref());
        Self {
            method: &begin.method,
            url: &begin.url,
            http_version: &begin.version,
            cookies: request_cookies(&begin.headers),
            headers: headers(&begin.headers),
            query_string: query(&begin.url),
            post_data: body.map(|body| PostData::new(body, begin, item, bodies)),
            headers_size: -1,
            body_size: match item.exchange.outcome {
                Outcome::Ended(_) => body.map_or(0, |body| size(body.bytes)),
                Outcome::InFlight | Outcome::Aborted(_) => -1,
            },
        }
    }
}

/// HAR's `postData`: the octets as sent, since whoever sends them again sends the headers too.
///
/// HAR has no coding for what is not text, so that stands in a field of our own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostData<'a> {
    mime_type: Cow<'a, str>,
    text: &'a str,
    #[serde(rename = "_base64", skip_serializing_if = "Option::is_none")]
    base64: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl<'a> PostData<'a> {
    fn new(body: &'a Body, begin: &'a Begin, item: &'a Item, bodies: Bodies) -> Self {
        let mut this = Self {
            mime_type: mime_type(&begin.headers),
            text: "",
            base64: None,
            comment: None,
        };
        match octets_of(body, &item.request_body, bodies) {
            Err(why) => this.comment = Some(why),
            Ok(octets) => match std::str::from_utf8(octets) {
                Ok(text) => this.text = text,
                Err(_) => {
                    this.base64 = Some(Text::Base64(Cow::Borrowed(octets)));
                    this.comment = Some("not UTF-8: the octets stand in _base64".to_owned());
                }
            },
        }
        this
    }
}

/// HAR's `response`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    status: u16,
    status_text: Cow<'a, str>,
    http_version: &'a str,
    cookies: Vec<Pair<'a>>,
    headers: Vec<Pair<'a>>,
    content: HarContent<'a>,
    #[serde(rename = "redirectURL")]
    redirect_url: Cow<'a, str>,
    headers_size: i8,
    body_size: i64,
    #[serde(rename = "_transferSize")]
    transfer_size: i64,
    #[serde(rename = "_error", skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl<'a> Response<'a> {
    pub(super) fn new(item: &'a Item, bodies: Bodies) -> Self {
        match &item.exchange.outcome {
            Outcome::Ended(end) => Self::whole(end, item, bodies),
            Outcome::Aborted(abort) => Self::aborted(abort),
            Outcome::InFlight => Self::failed("in flight when the recording ended".to_owned()),
        }
    }

    fn whole(end: &'a End, item: &'a Item, bodies: Bodies) -> Self {
        let body_size = size(end.body.as_ref().map_or(0, |body| body.bytes));
        Self {
            status: end.status,
            status_text: status_text(end),
            http_version: &end.version,
            cookies: response_cookies(&end.headers),
            headers: headers(&end.headers),
            content: HarContent::new(end, &item.body, bodies),
            redirect_url: field(&end.headers, "location").unwrap_or_default(),
            headers_size: -1,
            body_size,
            transfer_size: body_size,
            error: None,
        }
    }

    /// Status 0 even if a head came: its status would claim a whole response.
    fn aborted(abort: &'a Abort) -> Self {
        let came = size(abort.body_bytes);
        Self {
            headers: headers(&abort.headers),
            body_size: came,
            transfer_size: came,
            ..Self::failed(format!("stopped in {}: {}", abort.phase, abort.why))
        }
    }

    fn failed(error: String) -> Self {
        Self {
            status: 0,
            status_text: Cow::Borrowed(""),
            http_version: "",
            cookies: Vec::new(),
            headers: Vec::new(),
            content: HarContent::empty(Cow::Borrowed(UNKNOWN_TYPE)),
            redirect_url: Cow::Borrowed(""),
            headers_size: -1,
            body_size: -1,
            transfer_size: 0,
            error: Some(error),
        }
    }
}

/// HTTP/2 has no reason phrase; of HTTP/1.1 only the unusual ones are recorded.
fn status_text(end: &End) -> Cow<'_, str> {
    match &end.reason {
        Some(reason) => reason.to_text(),
        None if end.version == "HTTP/2" => Cow::Borrowed(""),
        None => http::StatusCode::from_u16(end.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .map_or(Cow::Borrowed(""), Cow::Borrowed),
    }
}

/// HAR's `content`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HarContent<'a> {
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
    fn new(end: &'a End, content: &'a Content, bodies: Bodies) -> Self {
        let empty = Self::empty(mime_type(&end.headers));
        let Some(body) = &end.body else {
            return empty;
        };
        match octets_of(body, content, bodies) {
            Ok(octets) => empty.with(octets, Coding::of(&end.headers)),
            Err(why) => Self {
                size: size(body.bytes),
                comment: Some(why),
                ..empty
            },
        }
    }

    fn empty(mime_type: Cow<'a, str>) -> Self {
        Self {
            size: 0,
            compression: None,
            mime_type,
            text: None,
            encoding: None,
            comment: None,
        }
    }

    fn with(self, octets: &'a [u8], coding: Coding) -> Self {
        let Decoded {
            octets: content,
            still_encoded,
        } = coding.decode(octets);
        let content_size = size(content.len() as u64);
        let is_decoded = coding != Coding::Identity && still_encoded.is_none();
        // Coded octets that happen to be UTF-8 are still no text.
        let text = match still_encoded {
            Some(_) => Text::Base64(content),
            None => Text::of(content),
        };
        Self {
            size: content_size,
            compression: is_decoded.then(|| content_size - size(octets.len() as u64)),
            encoding: matches!(text, Text::Base64(_)).then_some("base64"),
            text: Some(text),
            comment: still_encoded,
            ..self
        }
    }
}

/// Octets as JSON can carry them.
enum Text<'a> {
    Plain(Cow<'a, str>),
    Base64(Cow<'a, [u8]>),
}

impl<'a> Text<'a> {
    fn of(octets: Cow<'a, [u8]>) -> Self {
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
        }
    }
}

/// A body's recorded octets, or a sentence that says why they are not in the file.
fn octets_of<'a>(body: &Body, content: &'a Content, bodies: Bodies) -> Result<&'a [u8], String> {
    match content {
        Content::NotKept => Err("only the body's digest was recorded".to_owned()),
        Content::Missing(why) => Err(format!("the recording has lost this body: {why}")),
        Content::Octets(octets) if bodies.takes(body.bytes) => Ok(octets),
        Content::Octets(_) | Content::LeftOut => {
            Err("left out; size is the body's as recorded, see _modtape".to_owned())
        }
    }
}

/// HAR's `header`, `queryString` and `cookie`: all three are names and values.
#[derive(Serialize)]
struct Pair<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

fn pair<'a>((name, value): (Cow<'a, str>, Cow<'a, str>)) -> Pair<'a> {
    Pair {
        name,
        value,
        comment: None,
    }
}

fn headers(fields: &Fields) -> Vec<Pair<'_>> {
    fields.iter().map(header).collect()
}

fn header((name, value): &(String, Octets)) -> Pair<'_> {
    match std::str::from_utf8(&value.0) {
        Ok(value) => pair((Cow::Borrowed(name), Cow::Borrowed(value))),
        // ISO 8859-1 gives every octet a character, so none is lost.
        Err(_) => Pair {
            name: Cow::Borrowed(name),
            value: value.0.iter().copied().map(char::from).collect(),
            comment: Some("not UTF-8: each character stands for one octet"),
        },
    }
}

/// The query's names and values, percent-decoded.
fn query(url: &str) -> Vec<Pair<'_>> {
    let url = url.split_once('#').map_or(url, |(url, _fragment)| url);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes())
        .map(pair)
        .collect()
}

/// RFC 6265 section 4.2.1: `a=b; c=d`.
fn request_cookies(fields: &Fields) -> Vec<Pair<'_>> {
    cookies(fields, "cookie", |value| value.split(';').collect())
}

/// RFC 6265 section 4.1.1: `a=b; Path=/; Secure`, of which the first is the cookie.
fn response_cookies(fields: &Fields) -> Vec<Pair<'_>> {
    cookies(fields, "set-cookie", |value| {
        value.split(';').take(1).collect()
    })
}

/// Whatever has no `=`, a redacted value for one, is no cookie and stands in the headers only.
fn cookies<'a>(fields: &'a Fields, name: &str, split: impl Fn(&str) -> Vec<&str>) -> Vec<Pair<'a>> {
    let mut cookies = Vec::new();
    for (_, value) in fields
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
    {
        for cookie in split(&value.to_text()) {
            if let Some((name, value)) = cookie.trim().split_once('=') {
                cookies.push(pair((name.to_owned().into(), value.to_owned().into())));
            }
        }
    }
    cookies
}

fn mime_type(headers: &Fields) -> Cow<'_, str> {
    field(headers, "content-type").unwrap_or(Cow::Borrowed(UNKNOWN_TYPE))
}

fn size(octets: u64) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

/// What Chrome writes, and skips on import, where there is no `Content-Type`.
const UNKNOWN_TYPE: &str = "x-unknown";
