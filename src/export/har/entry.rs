//! One exchange as an entry of a HAR: borrowed views that serde writes out.
//!
//! HAR 1.2 names, and the fields that begin with an underscore for what it has no name for.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use serde::{Serialize, Serializer};

use super::super::source::Item;
use super::content::{Content, Contents, HarContent, Text, UNKNOWN_TYPE, mime_type, size};
use crate::exchange::{
    Abort, Attempt, Begin, Body, ByteString, Digest, End, Ending, Exchange, ExchangeId, Fields,
    MadeBy, Opened, Phase, Timings, field,
};
use crate::gomod::Kind;
use crate::recording::format::BODIES;

/// HAR's `entry`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry<'a> {
    pageref: &'a str,
    started_date_time: &'a str,
    time: Millis,
    request: Request<'a>,
    response: Response<'a>,
    cache: Object,
    timings: HarTimings,
    #[serde(rename = "serverIPAddress", skip_serializing_if = "Option::is_none")]
    server_ip_address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    #[serde(rename = "_connectionId")]
    connection_id: String,
    #[serde(rename = "_initiator")]
    initiator: Initiator,
    #[serde(rename = "_resourceType")]
    resource_type: &'static str,
    #[serde(rename = "_traceparent")]
    traceparent: String,
    #[serde(rename = "_modtape")]
    modtape: Modtape<'a>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(
        item: &'a Item<'_>,
        pageref: &'a str,
        started: &'a str,
        contents: &'a Contents<'_>,
    ) -> Self {
        let exchange = &item.exchange;
        let begin = &exchange.begin;
        let timings = exchange.timings();
        let remote = item.dial.and_then(remote_addr);
        Self {
            pageref,
            started_date_time: started,
            time: Millis(Some(timings.total_us())),
            request: Request::new(exchange, &contents.request),
            response: Response::new(&exchange.ending, &contents.response),
            cache: Object {},
            timings: HarTimings::from(timings),
            server_ip_address: remote
                .filter(|_| item.dial.is_some_and(is_direct))
                .map(|addr| addr.ip().to_canonical()),
            connection: remote.map(|addr| addr.port().to_string()),
            connection_id: begin.connection.to_string(),
            initiator: Initiator { r#type: "other" },
            resource_type: "fetch",
            traceparent: item.traceparent(),
            modtape: Modtape::new(item, &contents.response),
        }
    }
}

fn remote_addr(connection: &Opened) -> Option<SocketAddr> {
    connection.upstream.as_ref()?.addr.as_ref()?.parse().ok()
}

/// Through a parent proxy the address that we dialled is not the server's.
fn is_direct(connection: &Opened) -> bool {
    connection
        .upstream
        .as_ref()
        .is_some_and(|upstream| upstream.via.is_none())
}

/// Milliseconds to HAR, microseconds here; HAR's -1 where there is no value.
#[derive(Clone, Copy)]
struct Millis(Option<u64>);

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_i8(-1),
            Some(us) if us % 1000 == 0 => serializer.serialize_u64(us / 1000),
            // Exact to the microsecond up to 285 years, where a double has no more digits.
            #[expect(clippy::cast_precision_loss, reason = "see above")]
            Some(us) => serializer.serialize_f64(us as f64 / 1000.0),
        }
    }
}

#[derive(Serialize)]
struct Object {}

#[derive(Serialize)]
struct Initiator {
    r#type: &'static str,
}

/// HAR's `timings`, where `ssl` is a part of `connect`, not a phase of its own.
#[derive(Serialize)]
struct HarTimings {
    blocked: Millis,
    dns: Millis,
    connect: Millis,
    ssl: Millis,
    send: Millis,
    wait: Millis,
    receive: Millis,
}

impl From<Timings> for HarTimings {
    fn from(timings: Timings) -> Self {
        let optional = |phase| Millis(timings[phase]);
        let mandatory = |phase| Millis(Some(timings[phase].unwrap_or(0)));
        let connect = match (timings[Phase::Connect], timings[Phase::Tls]) {
            (None, None) => None,
            (connect, tls) => Some(connect.unwrap_or(0).saturating_add(tls.unwrap_or(0))),
        };
        Self {
            blocked: optional(Phase::Blocked),
            dns: optional(Phase::Dns),
            connect: Millis(connect),
            ssl: optional(Phase::Tls),
            send: mandatory(Phase::Send),
            wait: mandatory(Phase::Wait),
            receive: mandatory(Phase::Receive),
        }
    }
}

/// What HAR has no name for.
#[derive(Serialize)]
struct Modtape<'a> {
    id: ExchangeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_by: Option<MadeBy>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    own_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_wait_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_silence_us: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attempts: &'a [Attempt],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

impl<'a> Modtape<'a> {
    fn new(item: &'a Item<'_>, content: &Content<'_>) -> Self {
        let (exchange, listed) = (&item.exchange, &item.listed);
        let route = &listed.route;
        let end = exchange.end();
        let body = end.and_then(|end| end.body.as_ref());
        Self {
            id: exchange.begin.id,
            kind: (route.kind != Kind::Other).then(|| route.kind.name()),
            module: route.module.as_deref(),
            version: route.version.as_deref(),
            outcome: listed.outcome.name(),
            made_by: end.map(|end| end.made_by),
            phase: match &exchange.ending {
                Ending::Aborted(abort) => Some(abort.phase),
                Ending::InFlight | Ending::Ended(_) => None,
            },
            status: match &exchange.ending {
                Ending::Aborted(abort) => abort.status,
                Ending::InFlight | Ending::Ended(_) => None,
            },
            sha256: body.map(|body| body.sha256),
            body: body
                .filter(|_| matches!(content, Content::LeftOut))
                .and_then(body_path),
            own_us: end.map(|end| end.own_us),
            client_wait_us: end.map(|end| end.client_wait_us),
            longest_silence_us: exchange.longest_silence_us(),
            attempts: end.map_or(&[], |end| &end.attempts),
            notes: end.map_or(&[], |end| &end.notes),
        }
    }
}

/// Where a body lies below the recording's folder, if it has a file of its own.
fn body_path(body: &Body) -> Option<String> {
    let has_file = body.kept && body.inline.is_none() && body.bytes > 0;
    let digest = body.sha256.to_string();
    has_file.then(|| format!("{BODIES}/{}/{digest}", &digest[..2]))
}

/// HAR's `request`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
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
    fn new(exchange: &'a Exchange, content: &'a Content<'_>) -> Self {
        let begin = &exchange.begin;
        let body = exchange.request_body();
        Self {
            method: &begin.method,
            url: &begin.url,
            http_version: &begin.version,
            cookies: request_cookies(&begin.headers),
            headers: headers(&begin.headers),
            query_string: query(&begin.url),
            post_data: body.map(|_| PostData::new(begin, content)),
            headers_size: -1,
            body_size: match (body, &exchange.ending) {
                (Some(body), _) => size(body.bytes),
                (None, Ending::Ended(_)) => 0,
                (None, Ending::InFlight | Ending::Aborted(_)) => -1,
            },
        }
    }
}

/// HAR's `postData`: the bytes as sent: a client that sends them again sends the header fields too.
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
    comment: Option<&'a str>,
}

impl<'a> PostData<'a> {
    fn new(begin: &'a Begin, content: &'a Content<'_>) -> Self {
        let mut this = Self {
            mime_type: mime_type(&begin.headers),
            text: Text::Plain(Cow::Borrowed("")),
            base64: None,
            comment: None,
        };
        match content.text() {
            Err(why) => this.comment = Some(why),
            Ok(text) if text.is_base64() => {
                this.base64 = Some(text);
                this.comment = Some("not UTF-8: the bytes stand in _base64");
            }
            Ok(text) => this.text = text,
        }
        this
    }
}

/// HAR's `response`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
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
    fn new(ending: &'a Ending, content: &'a Content<'_>) -> Self {
        match ending {
            Ending::Ended(end) => Self::whole(end, content),
            Ending::Aborted(abort) => Self::aborted(abort),
            Ending::InFlight => Self::failed("in flight when the recording ended".to_owned()),
        }
    }

    fn whole(end: &'a End, content: &'a Content<'_>) -> Self {
        let body_size = size(end.body.as_ref().map_or(0, |body| body.bytes));
        Self {
            status: end.status,
            status_text: status_text(end),
            http_version: &end.version,
            cookies: response_cookies(&end.headers),
            headers: headers(&end.headers),
            content: HarContent::new(end, content),
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
/// taken for ISO 8859-1, which has a character for each byte.
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

/// HAR's `header`, `queryString` and `cookie`: all three are names and values.
#[derive(Debug, PartialEq, Eq, Serialize)]
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

/// Header fields, without loss.
fn headers(fields: &Fields) -> Vec<Pair<'_>> {
    fields.iter().map(header).collect()
}

fn header((name, value): &(String, ByteString)) -> Pair<'_> {
    match std::str::from_utf8(&value.0) {
        Ok(value) => pair((Cow::Borrowed(name), Cow::Borrowed(value))),
        // ISO 8859-1 gives every byte a character, so none is lost.
        Err(_) => Pair {
            name: Cow::Borrowed(name),
            value: value.0.iter().copied().map(char::from).collect(),
            comment: Some("not UTF-8: each character stands for one byte"),
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

/// The cookies that a request sends back, RFC 6265 section 4.2.1: `a=b; c=d`.
fn request_cookies(fields: &Fields) -> Vec<Pair<'_>> {
    cookies(fields, "cookie", |value| value.split(';').collect())
}

/// The cookies that a response sets, RFC 6265 section 4.1.1: `a=b; Path=/; Secure`, of which the first is the cookie.
fn response_cookies(fields: &Fields) -> Vec<Pair<'_>> {
    cookies(fields, "set-cookie", |value| {
        value.split(';').take(1).collect()
    })
}

/// A value without `=`, such as a redacted one, is not a cookie and stands in the headers only.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::super::sample::{self, PROXY, Sample, answered, fields};
    use super::super::super::source::Bodies;
    use super::*;

    #[test]
    fn ssl_lies_inside_connect_and_time_counts_it_once() {
        let phases = Phase::ALL.map(|phase| (phase, 1_000 << (phase as u64)));
        let item = sample::answered(1, sample::PROXY, 200, b"")
            .with(|end| end.phases_us = Timings::from_iter(phases));
        let entry = sample::entry(item, Bodies::All);
        assert_eq!(
            entry["timings"],
            json!({"blocked": 1, "dns": 2, "connect": 4 + 8, "ssl": 8, "send": 16, "wait": 32, "receive": 64})
        );
        assert_eq!(entry["time"], 127);
    }

    #[test]
    fn a_reused_connection_has_minus_one_where_phases_did_not_happen() {
        let entry = sample::entry(sample::answered(1, sample::PROXY, 200, b""), Bodies::All);
        assert_eq!(
            entry["timings"],
            json!({"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 0.02, "wait": 80.5, "receive": 1})
        );
        assert_eq!(entry["time"], 81.52);
    }

    #[test]
    fn tls_over_a_connection_made_elsewhere_is_all_of_connect() {
        let timings = Timings::from_iter([(Phase::Tls, 5_000)]);
        let json = serde_json::to_value(HarTimings::from(timings)).unwrap();
        assert_eq!((&json["connect"], &json["ssl"]), (&json!(5), &json!(5)));
    }

    #[test]
    fn what_never_ended_has_mandatory_timings_of_zero() {
        let entry = sample::entry(sample::in_flight(1, sample::PROXY), Bodies::All);
        assert_eq!(entry["time"], 0);
        assert_eq!(entry["timings"]["wait"], 0);
        assert_eq!(entry["_modtape"]["outcome"], "in-flight");
    }

    #[test]
    fn addresses_have_no_brackets_and_ports_name_the_connection() {
        let entry = sample::entry(sample::in_flight(1, sample::PROXY), Bodies::All);
        assert_eq!(entry["serverIPAddress"], "2001:db8::17");
        assert_eq!(entry["connection"], "443");
        assert_eq!(entry["_connectionId"], "3");
        let mut item = sample::in_flight(1, sample::PROXY);
        item.connection = Some(sample::connection("[::ffff:192.0.2.1]:80"));
        assert_eq!(
            sample::entry(item, Bodies::All)["serverIPAddress"],
            "192.0.2.1"
        );
    }

    #[test]
    fn an_unknown_server_address_is_absent() {
        let mut item = sample::in_flight(1, sample::PROXY);
        item.connection = Some(sample::connection("nonsense"));
        let entry = sample::entry(item.clone(), Bodies::All);
        assert!(entry.get("serverIPAddress").is_none() && entry.get("connection").is_none());
        let mut through_parent = sample::connection("192.0.2.1:3128");
        through_parent.upstream.as_mut().unwrap().via = Some("http://parent:3128".into());
        item.connection = Some(through_parent);
        let entry = sample::entry(item, Bodies::All);
        assert_eq!(entry.get("serverIPAddress"), None);
        assert_eq!(entry["connection"], "3128");
    }

    #[test]
    fn the_trace_names_the_run_and_the_exchange() {
        let entry = sample::entry(sample::in_flight(17, sample::PROXY), Bodies::All);
        let expected = format!("00-{}-0000000000000011-01", "ab".repeat(16));
        assert_eq!(entry["_traceparent"], expected);
        assert_eq!(entry["_initiator"], json!({"type": "other"}));
        assert_eq!(entry["cache"], json!({}));
    }

    #[test]
    fn a_large_body_is_left_out_but_can_be_found() {
        let bytes = vec![b'a'; 64 * 1024 + 1];
        let item = || sample::answered(1, sample::PROXY, 200, &bytes);
        let digest = sample::body(&bytes).sha256.to_string();
        let small = sample::entry(item(), Bodies::Small);
        assert_eq!(small["response"]["content"].get("text"), None);
        assert_eq!(small["response"]["content"]["size"], 65_537);
        assert_eq!(small["_modtape"]["sha256"], digest);
        assert_eq!(
            small["_modtape"]["body"],
            format!("bodies/{}/{digest}", &digest[..2])
        );
        let all = sample::entry(item(), Bodies::All);
        assert_eq!(
            all["response"]["content"]["text"].as_str().map(str::len),
            Some(65_537)
        );
        assert_eq!(all["_modtape"].get("body"), None);
    }

    #[test]
    fn an_abort_says_where_and_with_which_status() {
        let item = sample::aborted(1, sample::PROXY, Phase::Receive, Some(200));
        let entry = sample::entry(item, Bodies::All);
        let Value::Object(modtape) = &entry["_modtape"] else {
            panic!("{entry}");
        };
        let expected = json!({
            "id": 1, "outcome": "aborted", "where": "receive", "status": 200,
            "longest_silence_us": 5_000_000,
        });
        assert_eq!(Value::Object(modtape.clone()), expected);
        assert_eq!(entry["response"]["status"], 0);
    }

    fn response(item: Sample) -> Value {
        sample::entry(item, Bodies::Small)["response"].take()
    }

    #[test]
    fn hostile_bytes_stay_inside_their_string() {
        let hostile = "\"]}}</script>\0\u{1b}[2J\u{2028}\u{202e}\\";
        let item = answered(1, PROXY, 200, hostile.as_bytes()).header(hostile, hostile);
        let entry = sample::entry(item.module(hostile), Bodies::All);
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
        let post = |bytes| sample::entry(answered(1, PROXY, 200, b"").post(bytes), Bodies::Small);
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

    fn plain<'a>(pairs: &'a [Pair<'_>]) -> Vec<(&'a str, &'a str)> {
        pairs
            .iter()
            .map(|pair| (&*pair.name, &*pair.value))
            .collect()
    }

    #[test]
    fn a_header_that_is_not_utf_8_keeps_each_byte() {
        let fields = vec![("x-name".to_owned(), ByteString(b"caf\xe9\xff".to_vec()))];
        let headers = headers(&fields);
        assert_eq!(plain(&headers), [("x-name", "caf\u{e9}\u{ff}")]);
        assert!(headers[0].comment.is_some());
    }

    #[test]
    fn repeated_headers_stay_apart_and_in_order() {
        let fields = fields(&[("via", "1.1 a"), ("Date", ""), ("via", "1.1 b")]);
        assert_eq!(
            plain(&headers(&fields)),
            [("via", "1.1 a"), ("Date", ""), ("via", "1.1 b")]
        );
    }

    #[test]
    fn a_query_is_decoded_and_its_order_kept() {
        let pairs = query("https://h/p?go-get=1&b&c=x+y%26&=e#f?g=h");
        assert_eq!(
            plain(&pairs),
            [("go-get", "1"), ("b", ""), ("c", "x y&"), ("", "e")]
        );
        assert_eq!(query("https://h/p#f?g=h"), []);
    }

    #[test]
    fn of_set_cookie_only_the_cookie_is_one() {
        let sent = fields(&[("Cookie", "a=b; c=d=e"), ("cookie", "redacted:12ab")]);
        assert_eq!(plain(&request_cookies(&sent)), [("a", "b"), ("c", "d=e")]);
        let set = fields(&[
            ("set-cookie", "sid=1; Path=/; Secure"),
            ("set-cookie", "f="),
        ]);
        assert_eq!(plain(&response_cookies(&set)), [("sid", "1"), ("f", "")]);
    }
}
