//! One entry of a HAR as an exchange.

use std::net::{IpAddr, SocketAddr};

use super::answer::Answer;
use super::entry::{Entry, Request, Word};
use super::har::{Numbering, trace_parent};
use super::messages::{fields, post, version};
use super::time::{date_time, phases};
use crate::exchange::{
    Begin, ClientSide, Exchange, ExchangeId, Fields, Hex, Mode, Opened, Outcome, Phase, Target,
    UpstreamSide,
};

/// Octets of URL, header fields and other words of one exchange: a journal's line holds them.
pub(super) const WORDS_LIMIT: usize = 1 << 20;

/// Octets of a method.
const METHOD_LIMIT: usize = 64;

/// Why an entry is left out.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message is its documentation")]
pub enum EntryError {
    #[error("it is no entry")]
    Json(#[source] serde_json::Error),
    #[error("it has no request")]
    NoRequest,
    #[error("its URL is not one of HTTP")]
    Url,
    #[error("its method is none")]
    Method,
    #[error("its status is none")]
    Status,
    #[error("its body is not base64, as it says")]
    Base64,
    #[error("its body is another than the one that was recorded")]
    Digest,
    #[error("its URL and header fields are larger than 1 MiB")]
    Words,
}

/// An exchange and the octets of its bodies, whose place in it is empty.
#[derive(Debug)]
pub struct Imported {
    /// The exchange; what it says of bodies is what is known without their octets.
    pub exchange: Exchange,
    /// False where the span is a stand-in of zeros.
    pub has_span: bool,
    /// The connection, where this is the first that is heard of it.
    pub opened: Option<Opened>,
    /// The request's body.
    pub request_body: Option<Vec<u8>>,
    /// The response's body.
    pub body: Option<Vec<u8>>,
    /// What is not as it was.
    pub changes: Changes,
}

/// What is not as it was when the exchange happened, as far as it can be seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// The body is the decoded content, and no coding is named any more.
    pub is_decoded: bool,
    /// The body is text that was converted: its length is not the one that was announced.
    pub is_converted: bool,
    /// The response's body is not in the file: the exchange counts as aborted.
    pub is_bodiless: bool,
    /// No start is told: it stands where the exchange before it stands.
    pub is_untimed: bool,
    /// The start's zone is not told: UTC is taken.
    pub is_zoneless: bool,
}

pub(super) fn imported(
    mut entry: Entry,
    number: u64,
    numbering: &mut Numbering,
) -> Result<Imported, EntryError> {
    let request = entry.request.take().ok_or(EntryError::NoRequest)?;
    let request_body = request.post_data.as_ref().map(post).transpose()?.flatten();
    let modtape = entry.modtape.take();
    let id = numbering.id(number, modtape.as_ref().and_then(|modtape| modtape.id));
    let (target, mut begin) = begin(id, request)?;
    let time = entry.started_date_time.as_deref().and_then(date_time);
    let changes = Changes {
        is_untimed: time.is_none(),
        is_zoneless: time.is_some_and(|(_, has_zone)| !has_zone),
        ..Changes::default()
    };
    let mut answer = Answer {
        id,
        asked: (&begin.method, &begin.version),
        timings: phases(&entry.timings.take().unwrap_or_default()),
        changes,
        body: None,
    };
    let outcome = answer.outcome(entry.response.take().unwrap_or_default(), modtape)?;
    let (changes, body) = (answer.changes, answer.body);
    if words(&begin, &outcome) > WORDS_LIMIT {
        return Err(EntryError::Words);
    }
    let started = numbering.stamp(time.map(|(time, _)| time));
    let name = entry.connection_id.as_ref().or(entry.connection.as_ref());
    let link = numbering.connection(name.map(Word::text), &target);
    begin.connection = link.id;
    let span = entry.traceparent.as_deref().and_then(trace_parent);
    begin.span = span.map_or(begin.span, |(_, span)| span);
    let address = address(&entry, numbering.is_ours, &target);
    let exchange = Exchange {
        started,
        begin,
        outcome,
    };
    let opened = link
        .is_new
        .then(|| opened(&exchange, &target, address, link.again));
    Ok(Imported {
        exchange,
        has_span: span.is_some(),
        opened,
        request_body,
        body,
        changes,
    })
}

fn begin(id: ExchangeId, request: Request) -> Result<(Target, Begin), EntryError> {
    let url = request.url.unwrap_or_default();
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let is_http = ["http", "https"]
        .iter()
        .any(|http| scheme.eq_ignore_ascii_case(http));
    let target = Target::of_url(&url)
        .filter(|_| is_http)
        .ok_or(EntryError::Url)?;
    let method = request.method.unwrap_or_default();
    let is_plain = method.bytes().all(|b| b.is_ascii_graphic());
    if method.is_empty() || method.len() > METHOD_LIMIT || !is_plain {
        return Err(EntryError::Method);
    }
    let begin = Begin {
        id,
        connection: 0,
        span: Hex([0; 8]),
        method,
        url,
        version: version(request.http_version.as_deref()),
        headers: fields(request.headers),
    };
    Ok((target, begin))
}

/// How many octets of words an exchange brings into the journal.
fn words(begin: &Begin, outcome: &Outcome) -> usize {
    let of = |fields: &Fields| -> usize {
        let lengths = fields
            .iter()
            .map(|(name, value)| name.len() + value.0.len() + 8);
        lengths.sum()
    };
    let answered = match outcome {
        Outcome::InFlight => 0,
        Outcome::Aborted(abort) => of(&abort.headers) + abort.why.len(),
        Outcome::Ended(end) => {
            let attempts = end.attempts.iter().map(|attempt| attempt.error.len() + 32);
            let reason = end.reason.as_ref().map_or(0, |reason| reason.0.len());
            of(&end.headers) + reason + attempts.sum::<usize>()
        }
    };
    begin.url.len() + of(&begin.headers) + answered
}

/// Where the server was reached, if the file says so.
fn address(entry: &Entry, is_ours: bool, target: &Target) -> Option<SocketAddr> {
    let ip = entry.server_ip_address.as_deref()?;
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    let ip: IpAddr = ip.parse().ok()?;
    // Ours have the port there, others a number of their own.
    let port = entry.connection.as_ref().filter(|_| is_ours);
    let port = port.and_then(|port| port.text().parse().ok());
    Some(SocketAddr::new(ip, port.unwrap_or_else(|| target.port())))
}

fn opened(
    exchange: &Exchange,
    target: &Target,
    address: Option<SocketAddr>,
    again: bool,
) -> Opened {
    let begin = &exchange.begin;
    let timings = exchange.timings();
    let is_tls = begin
        .url
        .get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let version = exchange
        .end()
        .map_or(begin.version.as_str(), |end| &end.version);
    Opened {
        id: begin.connection,
        started_us: exchange.started,
        again,
        mode: if is_tls { Mode::Intercept } else { Mode::Plain },
        target: target.to_string(),
        client: ClientSide::default(),
        upstream: Some(UpstreamSide {
            addr: address.map(|address| address.to_string()),
            // RFC 9113 section 3.2: there is no other way to it.
            alpn: (is_tls && version == "HTTP/2").then(|| "h2".into()),
            ..UpstreamSide::default()
        }),
        dns_us: timings[Phase::Dns],
        connect_us: timings[Phase::Connect],
        tls_us: timings[Phase::Tls],
        tries: Vec::new(),
        error: None,
    }
}
