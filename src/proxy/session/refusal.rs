//! A CONNECT that led to no tunnel: answered with the reason, and recorded as an exchange.
//!
//! Its URL is `https://HOST/`, with the port where it is not 443: the path of the request inside is
//! not known.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::StatusCode;

use crate::clock::Timestamp;
use crate::exchange::{
    Body, ByteString, ConnectionId, End, Fields, MadeBy, Phase, Target, Timings,
};
use crate::proxy::answer::{NAME, reason_phrase};
use crate::proxy::context::Context;
use crate::proxy::handler::url;
use crate::proxy::ticket::{log_request, log_response};
use crate::recording::format::Event;
use crate::recording::line::{BeginLine, FieldsText};
use crate::recording::writer::bodies::NotKept;
use crate::redact::Redactor;
use crate::upstream::Journey;

/// The response in place of a tunnel.
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
    fields: [(&'static str, String); 3],
    body: Bytes,
}

/// The CONNECT that is refused.
pub(super) struct Refused<'a> {
    pub(super) connection: ConnectionId,
    /// When its first byte was read.
    pub(super) started: Timestamp,
    pub(super) target: &'a Target,
    /// Its head, as it was read.
    pub(super) head: &'a [u8],
    /// How far dialling came, if it began.
    pub(super) journey: Option<&'a Journey>,
}

impl Refusal {
    /// `why` must not hold secrets. The reason phrase is all that the go command shows.
    pub(super) fn new(status: StatusCode, why: &str) -> Self {
        let body = Bytes::from(format!("{NAME}{why}\n"));
        Self {
            status,
            reason: reason_phrase(why),
            fields: [
                ("content-type", String::from("text/plain; charset=utf-8")),
                ("content-length", body.len().to_string()),
                ("connection", String::from("close")),
            ],
            body,
        }
    }

    /// The answer as bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status.as_u16(), self.reason);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        [head.as_bytes(), &self.body].concat()
    }

    /// Records it.
    pub(super) async fn note(&self, context: &Context, refused: Refused<'_>) {
        let id = context.next_exchange.fetch_add(1, Ordering::Relaxed) + 1;
        let redactor = &context.redactor;
        let begin = BeginLine {
            id,
            connection: refused.connection,
            span: context.span(id),
            method: "CONNECT",
            url: &redactor.url(&url("https", refused.target, "/")),
            version: "HTTP/1.1",
            headers: &request_fields(redactor, refused.head),
        };
        log_request(&begin);
        if let Some(recorder) = &context.recorder {
            recorder.begin(refused.started, &begin);
        }
        let status = self.status.as_u16();
        log_response(id, status, "HTTP/1.1", MadeBy::Modtape);
        let body = self.kept(context, id).await;
        let now = context.clock.now();
        let fields = self.fields.iter();
        let end = End {
            id,
            status,
            reason: Some(ByteString(self.reason.clone().into_bytes())),
            version: String::from("HTTP/1.1"),
            headers: fields
                .map(|(name, value)| ((*name).to_owned(), ByteString(value.clone().into_bytes())))
                .collect(),
            trailers: Fields::new(),
            request_body: None,
            body,
            phases_us: phases(refused.journey, now.micros_since(refused.started)),
            own_us: 0,
            client_wait_us: 0,
            made_by: MadeBy::Modtape,
            attempts: Vec::new(),
            notes: Vec::new(),
        };
        context.note(now, &Event::End(end));
    }

    async fn kept(&self, context: &Context, id: u64) -> Option<Body> {
        let recorder = context.recorder.as_ref()?;
        let mut sink = recorder.bodies().sink();
        sink.push(&self.body);
        let kept = sink.finish().await;
        Some(kept.unwrap_or_else(|NotKept { body, why }| {
            let what = format!("body of exchange {id}");
            recorder.gap(context.clock.now(), what, why.to_string());
            body
        }))
    }
}

/// The header fields of a CONNECT, which was parsed before.
fn request_fields(redactor: &Redactor, head: &[u8]) -> FieldsText {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let fields = match request.parse(head) {
        Ok(_) => &*request.headers,
        Err(_) => &[],
    };
    let fields = fields.iter();
    FieldsText::of(fields.map(|field| (field.name, redactor.field(field.name, field.value))))
}

/// What dialling took, and as `blocked` whatever else passed of `whole_us`.
fn phases(journey: Option<&Journey>, whole_us: u64) -> Timings {
    let mut timings = Timings::default();
    if let Some(journey) = journey {
        timings[Phase::Dns] = journey.dns_us;
        timings[Phase::Connect] = journey.connect_us;
        timings[Phase::Tls] = journey.tls_us;
    }
    timings[Phase::Blocked] = Some(whole_us.saturating_sub(timings.total_us()));
    timings
}
