//! One entry of a HAR as an exchange.

use std::net::{IpAddr, SocketAddr};

use super::body::{Claims, Content, Found, decode_headers};
use super::file::BodyFiles;
use super::json::{Json, PART_LIMIT, Part};
use super::message::{fields, post, version};
use super::numbering::Numbering;
use super::oddity::{Oddities, Oddity};
use super::time::{phases, start};
use crate::exchange::{
    Abort, Attempt, Begin, Body, ByteString, ClientSide, Digest, End, Ending, Exchange, ExchangeId,
    Fields, Hex, MadeBy, Mode, Opened, Phase, Target, Timings, TraceParent, UpstreamSide,
};
use crate::filter::Outcome;

/// Bytes of URL, header fields and other words of one exchange: a journal's line holds them.
pub(super) const WORDS_LIMIT: usize = 1 << 20;

/// Bytes of a method.
const METHOD_LIMIT: usize = 64;

/// Why an entry does not become an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum LeftOut {
    #[error("not an entry")]
    NotAnEntry,
    #[error("no request")]
    NoRequest,
    #[error("invalid URL")]
    Url,
    #[error("invalid method")]
    Method,
    #[error("URL and header fields of more than 1 MiB")]
    Words,
    #[error("more than {} MiB, or too many values", PART_LIMIT >> 20)]
    TooLarge,
    #[error("a WebSocket")]
    WebSocket,
    #[error("a page or script of a browser extension")]
    Extension,
    #[error("a URL of another scheme than http and https (data:, blob:, about: and the like)")]
    Scheme,
}

impl LeftOut {
    /// Is an exchange of HTTP lost?
    pub(crate) const fn is_loss(self) -> bool {
        !matches!(self, Self::WebSocket | Self::Extension | Self::Scheme)
    }
}

/// An exchange and the bytes of its bodies, whose place in it is empty.
#[derive(Debug)]
pub(crate) struct Imported {
    /// The exchange; what it says of bodies is what is known without their bytes.
    pub(crate) exchange: Exchange,
    /// False where the span is a stand-in of zeros.
    pub(crate) has_span: bool,
    /// The connection, where this is the first that is heard of it.
    pub(crate) opened: Option<Opened>,
    /// The request's body.
    pub(crate) request_body: Option<Vec<u8>>,
    /// The response's body.
    pub(crate) body: Option<Vec<u8>>,
    /// What is not as HAR has it, or not as it was when the exchange happened.
    pub(crate) oddities: Oddities,
}

pub(super) fn imported(
    part: Part,
    number: u64,
    numbering: &mut Numbering,
    files: &BodyFiles<'_>,
) -> Result<Imported, LeftOut> {
    let Part {
        json: mut entry,
        mut oddities,
        is_too_large,
    } = part;
    if is_too_large {
        return Err(LeftOut::TooLarge);
    }
    if !matches!(entry, Json::Object(_)) {
        return Err(LeftOut::NotAnEntry);
    }
    let oddities = &mut oddities;
    let request = entry.take("request", oddities).object(oddities);
    let mut request = request.ok_or(LeftOut::NoRequest)?;
    let kind = entry.take("_resourceType", oddities).text(oddities);
    if kind.is_some_and(|kind| kind == "websocket") {
        return Err(LeftOut::WebSocket);
    }
    let own = Own::of(entry.take("_modtape", oddities));
    let id = numbering.id(number, own.id);
    let mut begin = begin(id, &mut request, oddities)?;
    let target = Target::of_url(&begin.url).ok_or(LeftOut::Url)?;
    let request_body = post(&mut request, files, oddities);
    let start = start(entry.take("startedDateTime", oddities), oddities);
    oddities.add_if(start.is_none(), Oddity::Untimed);
    oddities.add_if(start.is_some_and(|start| !start.has_zone), Oddity::Zoneless);
    let timings = entry.take("timings", oddities).object(oddities);
    let mut response = Response {
        id,
        begin: &begin,
        timings: phases(timings.unwrap_or_default(), oddities),
        own,
        json: entry
            .take("response", oddities)
            .object(oddities)
            .unwrap_or_default(),
    };
    let Answer { ending, body } = response.answer(files, oddities);
    if words(&begin, &ending) > WORDS_LIMIT {
        return Err(LeftOut::Words);
    }
    let started = numbering.stamp(start.map(|start| start.time));
    let connection = Connection::of(&mut entry, numbering.is_ours, &target, oddities);
    let address = connection.address;
    let link = numbering.connection(connection.name, &target, address);
    begin.connection = link.id;
    let given = entry.take("_traceparent", oddities).text(oddities);
    let given = given.as_deref().and_then(TraceParent::parse);
    begin.span = given.map_or(begin.span, |given| given.span);
    let exchange = Exchange {
        started,
        begin,
        ending,
    };
    let opened = link
        .is_new
        .then(|| opened(&exchange, &target, address, link.again));
    Ok(Imported {
        exchange,
        has_span: given.is_some(),
        opened,
        request_body,
        body,
        oddities: std::mem::take(oddities),
    })
}

fn begin(id: ExchangeId, request: &mut Json, oddities: &mut Oddities) -> Result<Begin, LeftOut> {
    let url = request
        .take("url", oddities)
        .text(oddities)
        .unwrap_or_default();
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let scheme = scheme.to_ascii_lowercase();
    let is_scheme = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
    match scheme.as_str() {
        "http" | "https" => {}
        "ws" | "wss" => return Err(LeftOut::WebSocket),
        scheme if scheme.ends_with("-extension") => return Err(LeftOut::Extension),
        "" => return Err(LeftOut::Url),
        scheme if scheme.bytes().all(is_scheme) => return Err(LeftOut::Scheme),
        _ => return Err(LeftOut::Url),
    }
    let method = request
        .take("method", oddities)
        .text(oddities)
        .unwrap_or_default();
    let method = usual(method, oddities);
    if http::Method::from_bytes(method.as_bytes()).is_err() || method.len() > METHOD_LIMIT {
        return Err(LeftOut::Method);
    }
    Ok(Begin {
        id,
        connection: 0,
        span: Hex([0; 8]),
        method,
        url,
        version: version(request.take("httpVersion", oddities), oddities),
        headers: fields(request.take("headers", oddities), oddities),
    })
}

/// A method of RFC 9110 that was written in lower case; methods are case-sensitive.
fn usual(method: String, oddities: &mut Oddities) -> String {
    let upper = method.to_ascii_uppercase();
    let usual = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];
    if upper == method || !usual.contains(&upper.as_str()) {
        return method;
    }
    oddities.add(Oddity::Converted);
    upper
}

/// A response while its entry is read.
struct Response<'a> {
    id: ExchangeId,
    begin: &'a Begin,
    timings: Timings,
    own: Own,
    json: Json,
}

/// How an exchange ended.
struct Answer {
    ending: Ending,
    /// The bytes of the response's body, if they are in the HAR.
    body: Option<Vec<u8>>,
}

impl Answer {
    /// One without a body.
    const fn of(ending: Ending) -> Self {
        Self { ending, body: None }
    }
}

impl Response<'_> {
    fn answer(&mut self, files: &BodyFiles<'_>, oddities: &mut Oddities) -> Answer {
        if self.own.state == State::InFlight {
            return Answer::of(Ending::InFlight);
        }
        let told = self.json.take("status", oddities);
        let is_told = told != Json::Null;
        let number = told.number(oddities);
        let status = number.and_then(|number| (100..1000).find(|code| f64::from(*code) == number));
        // 0 and -1 stand where no response came.
        let is_none = !is_told || number.is_some_and(|number| number == 0.0 || number == -1.0);
        oddities.add_if(status.is_none() && !is_none, Oddity::Status);
        let is_aborted = self.own.state == State::Aborted;
        let Some(status) = status.filter(|_| !is_aborted) else {
            let why = if is_none {
                "the HAR has no response"
            } else {
                "the HAR's status is invalid"
            };
            return Answer::of(Ending::Aborted(self.abort(self.own.status, why, oddities)));
        };
        if status < 200 {
            oddities.add(Oddity::Interim);
            let why = "the HAR has only an interim response";
            return Answer::of(Ending::Aborted(self.abort(Some(status), why, oddities)));
        }
        self.whole(status, files, oddities)
    }

    fn whole(&mut self, status: u16, files: &BodyFiles<'_>, oddities: &mut Oddities) -> Answer {
        let mut headers = fields(self.json.take("headers", oddities), oddities);
        let wire = self.json.take("bodySize", oddities).whole(oddities);
        let content = self.json.take("content", oddities).object(oddities);
        let content = Content::of(content.unwrap_or_default(), oddities);
        let size = content.size;
        let recorded = self.own.sha256.map(|sha256| Body {
            sha256,
            bytes: wire.unwrap_or(0),
            inline: None,
            kept: false,
        });
        let told = Claims {
            headers: &headers,
            wire,
            recorded: recorded.as_ref(),
        };
        let found = match self.body(status, content, &told, files, oddities) {
            Ok(found) => found,
            Err(oddity) => {
                oddities.add(oddity);
                let abort = Abort {
                    id: self.id,
                    phase: Phase::Receive,
                    why: lacks_body(oddity),
                    status: Some(status),
                    headers,
                    request_body: None,
                    body_bytes: wire.max(size).unwrap_or(0),
                    longest_silence_us: None,
                    phases_us: self.timings,
                };
                return Answer::of(Ending::Aborted(abort));
            }
        };
        if found.as_ref().is_some_and(|body| body.is_decoded) {
            oddities.add(Oddity::Decoded);
            decode_headers(&mut headers);
        }
        let version = match version(self.json.take("httpVersion", oddities), oddities) {
            unknown if unknown == "unknown" => self.begin.version.clone(),
            version => version,
        };
        let end = End {
            id: self.id,
            status,
            reason: reason(
                self.json.take("statusText", oddities).text(oddities),
                status,
                &version,
            ),
            version,
            headers,
            trailers: Fields::new(),
            request_body: None,
            body: recorded.filter(|_| found.is_none()),
            phases_us: self.timings,
            own_us: self.own.own_us,
            client_wait_us: self.own.client_wait_us,
            longest_silence_us: self.own.longest_silence_us,
            made_by: self.own.made_by,
            attempts: std::mem::take(&mut self.own.attempts),
            notes: std::mem::take(&mut self.own.notes),
        };
        Answer {
            ending: Ending::Ended(end),
            body: found.map(|body| body.bytes),
        }
    }

    /// The body, as far as there is one and it is not known by its digest alone.
    fn body(
        &self,
        status: u16,
        content: Content,
        told: &Claims<'_>,
        files: &BodyFiles<'_>,
        oddities: &mut Oddities,
    ) -> Result<Option<Found>, Oddity> {
        let method = self.begin.method.as_str();
        let is_tunnel = method == "CONNECT" && status < 300;
        if method == "HEAD" || matches!(status, 204 | 304) || is_tunnel {
            oddities.add_if(!content.is_empty(), Oddity::Bodyless);
            return Ok(None);
        }
        // Of ours it is known whether there was one.
        if !content.is_here() && self.own.state == State::Ended {
            return Ok(None);
        }
        told.body(content, files, oddities).map(Some)
    }

    fn abort(&mut self, status: Option<u16>, why: &str, oddities: &mut Oddities) -> Abort {
        let last = self.timings.iter().filter(|(_, us)| *us > 0).last();
        let last = last.map_or(Phase::Send, |(phase, _)| phase);
        let phase = self.own.phase.unwrap_or(last);
        let told = self
            .json
            .take("_error", oddities)
            .text(oddities)
            .unwrap_or_default();
        let stopped = format!("stopped in {phase}: ");
        let told = told.strip_prefix(&stopped).unwrap_or(&told);
        Abort {
            id: self.id,
            phase,
            why: if told.is_empty() { why } else { told }.to_owned(),
            status,
            headers: fields(self.json.take("headers", oddities), oddities),
            request_body: None,
            body_bytes: self
                .json
                .take("bodySize", oddities)
                .whole(oddities)
                .unwrap_or(0),
            longest_silence_us: self.own.longest_silence_us,
            phases_us: self.timings,
        }
    }
}

/// Why an exchange whose body is not to be had counts as aborted.
fn lacks_body(oddity: Oddity) -> String {
    let kind = oddity.words().split(": ").next().unwrap_or_default();
    match oddity {
        Oddity::NoBody => kind.to_owned(),
        _ => format!("the body is not in the HAR: {kind}"),
    }
}

/// The reason phrase, where it is not the usual one; HTTP/2 has none.
fn reason(text: Option<String>, status: u16, version: &str) -> Option<ByteString> {
    let text = text.filter(|_| version.starts_with("HTTP/1"))?;
    // Go's own word for it begins with the status.
    let told = text.strip_prefix(&format!("{status} ")).unwrap_or(&text);
    let usual = http::StatusCode::from_u16(status).ok();
    let usual = usual.and_then(|status| status.canonical_reason());
    (!told.is_empty() && usual != Some(told)).then(|| told.into())
}

/// What our own exports say besides.
struct Own {
    id: Option<ExchangeId>,
    state: State,
    made_by: MadeBy,
    phase: Option<Phase>,
    status: Option<u16>,
    sha256: Option<Digest>,
    own_us: u64,
    client_wait_us: u64,
    longest_silence_us: Option<u64>,
    attempts: Vec<Attempt>,
    notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The HAR is not an export of modtape.
    Unknown,
    InFlight,
    Ended,
    Aborted,
}

impl Own {
    fn of(mut json: Json) -> Self {
        let oddities = &mut Oddities::default();
        let mut word = |name: &str| json.take(name, oddities).text(oddities);
        let (outcome, made_by, phase) = (word("outcome"), word("made_by"), word("where"));
        let sha256 = word("sha256").and_then(|digest| digest.parse().ok());
        let mut whole = |name: &str| json.take(name, oddities).whole(oddities);
        let (id, status) = (whole("id"), whole("status"));
        let (own_us, client_wait_us) = (whole("own_us"), whole("client_wait_us"));
        let longest_silence_us = whole("longest_silence_us");
        let attempts = match json.take("attempts", oddities) {
            Json::List(attempts) => attempts,
            _ => Vec::new(),
        };
        let attempts = attempts.into_iter().filter_map(|mut attempt| {
            Some(Attempt {
                connection: attempt.take("connection", oddities).whole(oddities)?,
                error: attempt.take("error", oddities).text(oddities)?,
            })
        });
        let attempts = attempts.collect();
        let notes = match json.take("notes", oddities) {
            Json::List(notes) => notes,
            _ => Vec::new(),
        };
        let notes = notes.into_iter().filter_map(|note| note.text(oddities));
        let notes = notes.collect();
        Self {
            id: id.filter(|id| *id > 0),
            state: match outcome {
                None => State::Unknown,
                Some(outcome) if outcome == Outcome::InFlight.name() => State::InFlight,
                Some(outcome) if outcome == Outcome::Aborted.name() => State::Aborted,
                Some(_) => State::Ended,
            },
            made_by: match made_by.as_deref() {
                Some("modtape") => MadeBy::Modtape,
                _ => MadeBy::Origin,
            },
            phase: Phase::ALL
                .into_iter()
                .find(|known| phase.as_deref() == Some(known.name())),
            status: status.and_then(|status| u16::try_from(status).ok()),
            sha256,
            own_us: own_us.unwrap_or(0),
            client_wait_us: client_wait_us.unwrap_or(0),
            longest_silence_us,
            attempts,
            notes,
        }
    }
}

/// How many bytes of words an exchange brings into the journal.
fn words(begin: &Begin, ending: &Ending) -> usize {
    let of = |fields: &Fields| -> usize {
        let lengths = fields
            .iter()
            .map(|(name, value)| name.len() + value.0.len() + 8);
        lengths.sum()
    };
    let answered = match ending {
        Ending::InFlight => 0,
        Ending::Aborted(abort) => of(&abort.headers) + abort.why.len(),
        Ending::Ended(end) => {
            let attempts = end.attempts.iter().map(|attempt| attempt.error.len() + 32);
            let reason = end.reason.as_ref().map_or(0, |reason| reason.0.len());
            let notes = end.notes.iter().map(|note| note.len() + 8);
            of(&end.headers) + reason + attempts.chain(notes).sum::<usize>()
        }
    };
    begin.url.len() + of(&begin.headers) + answered
}

/// What an entry says of its connection.
struct Connection {
    name: Option<String>,
    /// Where the server was reached.
    address: Option<SocketAddr>,
}

impl Connection {
    fn of(entry: &mut Json, is_ours: bool, target: &Target, oddities: &mut Oddities) -> Self {
        let told = entry
            .take("serverIPAddress", oddities)
            .text(oddities)
            .unwrap_or_default();
        let connection = entry.take("connection", oddities).text(oddities);
        let id = entry.take("_connectionId", oddities).text(oddities);
        // Who names the connection elsewhere has the server's port there, as we do and browsers; others
        // have a name there, or the client's port.
        let port = connection.as_ref().filter(|_| is_ours || id.is_some());
        let port = port
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0);
        let address = address(&told, port.unwrap_or_else(|| target.port()));
        oddities.add_if(address.is_none() && !told.is_empty(), Oddity::Address);
        let name = id.or(connection);
        Self { name, address }
    }
}

/// An address of HAR: some write brackets, a port or a zone to it.
fn address(told: &str, port: u16) -> Option<SocketAddr> {
    let told = told.trim();
    if let Ok(address) = told.parse() {
        return Some(address);
    }
    let ip = told.trim_start_matches('[').trim_end_matches(']');
    let ip = ip.split('%').next().unwrap_or_default();
    let ip: IpAddr = ip.parse().ok()?;
    Some(SocketAddr::new(ip, port))
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
        reason: None,
    }
}
