//! Request and response of a HAR's entry.
//!
//! What is not recorded gets HAR's -1; what did not happen is still an object, because importers
//! read through it without asking.

use std::borrow::Cow;

use serde::Serialize;

use super::har::{Bodies, Item};
use super::har_content::{HarContent, Held, Text, UNKNOWN_TYPE, held, mime_type, size};
use super::har_pairs::{Pair, headers, query, request_cookies, response_cookies};
use crate::exchange::{Abort, Begin, Body, End, Outcome, field};

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
        let body = item.exchange.request_body();
        Self {
            method: &begin.method,
            url: &begin.url,
            http_version: &begin.version,
            cookies: request_cookies(&begin.headers),
            headers: headers(&begin.headers),
            query_string: query(&begin.url),
            post_data: body.map(|body| PostData::new(body, begin, item, bodies)),
            headers_size: -1,
            body_size: match (body, &item.exchange.outcome) {
                (Some(body), _) => size(body.bytes),
                (None, Outcome::Ended(_)) => 0,
                (None, Outcome::InFlight | Outcome::Aborted(_)) => -1,
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
    text: Text<'a>,
    #[serde(rename = "_base64", skip_serializing_if = "Option::is_none")]
    base64: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl<'a> PostData<'a> {
    fn new(body: &'a Body, begin: &'a Begin, item: &'a Item, bodies: Bodies) -> Self {
        let mut this = Self {
            mime_type: mime_type(&begin.headers),
            text: Text::Plain(Cow::Borrowed("")),
            base64: None,
            comment: None,
        };
        let text = match held(body, &item.request_body, bodies) {
            Err(why) => {
                this.comment = Some(why);
                return this;
            }
            Ok(Held::Octets(octets)) => Text::of(Cow::Borrowed(octets)),
            Ok(Held::Stored(stored)) => Text::Stored(stored),
        };
        if text.is_base64() {
            this.base64 = Some(text);
            this.comment = Some("not UTF-8: the octets stand in _base64".to_owned());
        } else {
            this.text = text;
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

/// HTTP/2 has no reason phrase; of HTTP/1.1 only the unusual ones are recorded. What is not UTF-8 is
/// taken for ISO 8859-1, which has a character for each octet.
fn status_text(end: &End) -> Cow<'_, str> {
    match &end.reason {
        Some(reason) => match std::str::from_utf8(&reason.0) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(reason.0.iter().copied().map(char::from).collect()),
        },
        None if end.version == "HTTP/2" => Cow::Borrowed(""),
        None => http::StatusCode::from_u16(end.status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .map_or(Cow::Borrowed(""), Cow::Borrowed),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sample::{self, PROXY, answered};
    use super::*;

    fn response(item: Item) -> Value {
        sample::entry(item, Bodies::Small)["response"].take()
    }

    #[test]
    fn hostile_octets_stay_inside_their_string() {
        let hostile = "\"]}}</script>\0\u{1b}[2J\u{2028}\u{202e}\\";
        let mut item = answered(1, PROXY, 200, hostile.as_bytes()).header(hostile, hostile);
        item.what.module = Some(hostile.to_owned());
        let entry = sample::entry(item, Bodies::All);
        assert_eq!(entry["response"]["content"]["text"], hostile);
        assert_eq!(
            entry["response"]["headers"][1],
            json!({"name": hostile, "value": hostile})
        );
        assert_eq!(entry["_modtape"]["module"], hostile);
    }

    #[test]
    fn a_request_without_an_answer_has_a_response_of_status_zero() {
        let flight = response(sample::in_flight(1, PROXY));
        assert_eq!(
            flight["content"],
            json!({"size": 0, "mimeType": "x-unknown"})
        );
        assert_eq!(
            (&flight["status"], &flight["httpVersion"]),
            (&json!(0), &json!(""))
        );
        assert_eq!(flight["_error"], "in flight when the recording ended");
        let cut = response(sample::aborted(
            1,
            PROXY,
            crate::exchange::Phase::Receive,
            Some(200),
        ));
        assert_eq!(
            (&cut["status"], &cut["bodySize"]),
            (&json!(0), &json!(4096))
        );
        assert!(
            cut["_error"]
                .as_str()
                .unwrap()
                .starts_with("stopped in receive: the upstream")
        );
    }

    #[test]
    fn only_http_1_has_a_reason_phrase() {
        let item = |version: &str, reason: Option<&str>| {
            response(answered(1, PROXY, 404, b"").with(|end| {
                end.version = version.into();
                end.reason = reason.map(Into::into);
            }))
        };
        assert_eq!(item("HTTP/2", None)["statusText"], "");
        assert_eq!(item("HTTP/1.1", None)["statusText"], "Not Found");
        assert_eq!(item("HTTP/1.1", Some("Nope"))["statusText"], "Nope");
    }

    #[test]
    fn a_request_body_is_text_or_base64_in_a_field_of_its_own() {
        let post = |octets| sample::entry(answered(1, PROXY, 200, b"").post(octets), Bodies::Small);
        let text = post(b"want 0a53")["request"]["postData"].take();
        assert_eq!(text, json!({"mimeType": "x-unknown", "text": "want 0a53"}));
        let binary = post(b"PACK\xff")["request"]["postData"].take();
        assert_eq!(
            (&binary["text"], &binary["_base64"]),
            (&json!(""), &json!("UEFDS/8="))
        );
        assert_eq!(post(b"12345")["request"]["bodySize"], 5);
        let none = sample::entry(answered(1, PROXY, 200, b""), Bodies::Small);
        assert_eq!(none["request"].get("postData"), None);
        assert_eq!(none["request"]["bodySize"], 0);
    }
}
