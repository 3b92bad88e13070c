//! Answers from a recording, and from the network what it lacks: the one replay that can reach somebody.
//!
//! What is asked for is recorded whole before the client gets any of it, behind what is there; then it
//! is given as all else is, out of the recording. What has a name for ever is never asked for again. What may
//! have changed is, once it is a minute old, and if nobody answers what was recorded is given. Several
//! clients that ask for one thing at once cost one request.

use std::collections::HashMap;
use std::io::Read as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header, request};
use hyper::body::{Body as _, Incoming};
use rawzip::{FileReader, ReaderAt};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::answer;
use super::client_leg::ClientLeg;
use super::context::Context;
use super::git;
use super::replayed::{self, Given};
use super::request_body;
use super::response_body::Outgoing;
use super::ticket::Ticket;
use crate::clock::{Clock, Timestamp};
use crate::coding::Coding;
use crate::exchange::{Body, Exchange, Hex, chain, field};
use crate::gomod::{Kind, ModuleZip, Route, TEXT_LIMIT, check_content, redirect_target};
use crate::recording::Recording;
use crate::recording::reader::Stored;
use crate::redact::url_without_secrets;
use crate::replay::{
    Added, Asked, GivenAt, Misses, REQUEST_LIMIT, Replay, is_failure, may_change, question,
};
use crate::tls::Protocol;

/// How long an answer counts that may change: proxy.golang.org lets others keep lists for as long.
const FRESH: Duration = Duration::from_secs(60);

/// Fields of a client's request that are not sent on (RFC 9110 sections 7.6.1, 13.1 and 14.2).
const NOT_SENT: [HeaderName; 13] = [
    header::HOST,
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// A request on its way.
pub(crate) type Fetching<'a> = Pin<Box<dyn Future<Output = Fetched> + Send + 'a>>;

/// What came of a request: it is on record, or why not, in words.
pub(crate) type Fetched = Result<(), String>;

/// Sends requests to the network, and records what comes.
pub(crate) trait Fetch: Send + Sync {
    /// Sends one request, as it is; returns once the answer is on record.
    fn fetch(&self, request: Request<Bytes>) -> Fetching<'_>;
}

/// A recording that is added to while it answers.
pub struct Fill {
    replay: Arc<Replay>,
    added: Added,
    given: GivenAt,
    fetch: Arc<dyn Fetch>,
    // Std Mutexes: held for a map operation, never across an await.
    flights: Mutex<HashMap<String, Arc<OnceCell<Fetched>>>>,
    recorded: AtomicU64,
    fetched: AtomicU64,
    stale: AtomicU64,
    failed: Mutex<Misses>,
}

/// How many requests were answered, and whence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filled {
    /// From the recording.
    pub(crate) recorded: u64,
    /// From the network.
    pub(crate) fetched: u64,
    /// From the recording although it may be outdated: nobody else answered.
    pub(crate) stale: u64,
    /// By nobody.
    pub(crate) failed: Misses,
}

/// A request as it is looked for.
struct Wanted<'a> {
    head: &'a request::Parts,
    body: &'a Bytes,
    /// Its URL without the secrets that are known.
    url: &'a str,
    /// What it asks for.
    question: String,
}

/// An answer that was fetched.
struct FromNetwork {
    given: Given,
    /// Whether this request is what it was fetched for: another one that waited for the same cost nothing.
    is_first: bool,
}

impl Wanted<'_> {
    fn has_credentials(&self) -> bool {
        self.head.headers.contains_key(header::AUTHORIZATION)
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: self.head.method.as_str(),
            url: self.url,
            body: self.body,
        }
    }
}

impl Fill {
    /// Answers from `replay`; `added` is what `fetch` adds to its recording.
    pub(crate) fn new(replay: Arc<Replay>, added: Added, fetch: Arc<dyn Fetch>) -> Self {
        Self {
            given: GivenAt::of(replay.recording(), replay.bases()),
            replay,
            added,
            fetch,
            flights: Mutex::default(),
            recorded: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            failed: Mutex::default(),
        }
    }

    pub(crate) const fn replay(&self) -> &Arc<Replay> {
        &self.replay
    }

    /// How many requests were answered so far.
    pub(crate) fn filled(&self) -> Filled {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failed = failed.clone();
        // Tunnels to hosts that are not on the recording.
        for refused in self.replay.misses().tunnels() {
            failed.add(refused.what.clone(), refused.instead.clone());
        }
        Filled {
            recorded: count(&self.recorded),
            fetched: count(&self.fetched),
            stale: count(&self.stale),
            failed,
        }
    }

    /// What this run has added already, if it still counts.
    fn of_this_run(&self, wanted: &Wanted<'_>, now: Timestamp) -> Option<Given> {
        let found = self.added.find(&wanted.question).ok()??;
        let status = found.hit.exchange.status()?;
        let is_old = now.since(found.at) >= FRESH;
        let may_change = may_change(wanted.asked(), status, self.replay.bases());
        if is_failure(status) || may_change && is_old || self.fault(&found.hit.exchange).is_some() {
            return None;
        }
        replayed::play(&self.replay, &found.hit, &wanted.head.headers).ok()
    }

    /// Whether a recorded answer with this status is to be asked for again.
    fn is_outdated(&self, wanted: &Wanted<'_>, status: StatusCode) -> bool {
        let (asked, bases) = (wanted.asked(), self.replay.bases());
        if status.is_client_error() && wanted.has_credentials() {
            return true;
        }
        if !may_change(asked, status.as_u16(), bases) {
            return false;
        }
        let when = self.given.when(asked, bases);
        let age = when.and_then(|when| Clock::wall_now().duration_since(when).ok());
        is_failure(status.as_u16()) || age.is_none_or(|age| age >= FRESH)
    }

    /// What is recorded, unless it is a redirect that leads to nothing on record: its secrets are not there,
    /// so that nobody can be asked for what it led to.
    async fn recorded(&self, context: &Context, wanted: &Wanted<'_>) -> Option<Given> {
        let Wanted {
            head, body, url, ..
        } = wanted;
        let given = replayed::recorded(context, &self.replay, head, body, url).await;
        let given = given.ok()?;
        let to = given.response.headers().get(header::LOCATION);
        let to = to.filter(|_| given.response.status().is_redirection());
        let to = to.and_then(|to| redirect_target(url, to.to_str().ok()?));
        let Some(to) = to.filter(|to| *to != url_without_secrets(to)) else {
            return Some(given);
        };
        let asked = question(head.method.as_str(), &to, false, None);
        let is_added = matches!(self.added.find(&asked), Ok(Some(_)));
        let leads_on = is_added || replayed::find(&self.replay, head, &to).is_ok();
        leads_on.then_some(given)
    }

    /// Asks the network, or waits for somebody who does; the answer, or why there is none.
    async fn ask(&self, wanted: &Wanted<'_>, url: &str) -> Result<FromNetwork, String> {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            let flight = flights.entry(wanted.question.clone());
            Arc::clone(flight.or_default())
        };
        // If the client leaves whose request it was, another one that waits takes over.
        let is_first = AtomicBool::new(false);
        let send = || {
            is_first.store(true, Ordering::Relaxed);
            self.send(wanted, url)
        };
        let fetched = flight.get_or_init(send).await.clone();
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let known = flights.get(&wanted.question);
        if known.is_some_and(|known| Arc::ptr_eq(known, &flight)) {
            flights.remove(&wanted.question);
        }
        drop(flights);
        fetched?;
        let found = self.added.find(&wanted.question);
        let found = found.map_err(|error| format!("the journal cannot be read: {error}"))?;
        let found = found.ok_or("what was answered is not on record")?;
        if let Some(fault) = self.fault(&found.hit.exchange) {
            return Err(format!("what was answered is something else: {fault}"));
        }
        let given = replayed::play(&self.replay, &found.hit, &wanted.head.headers);
        Ok(FromNetwork {
            given: given.map_err(|error| chain(&error))?,
            is_first: is_first.into_inner(),
        })
    }

    async fn send(&self, wanted: &Wanted<'_>, url: &str) -> Fetched {
        let mut request = Request::builder()
            .method(wanted.head.method.clone())
            .uri(url)
            .body(wanted.body.clone())
            .map_err(|error| error.to_string())?;
        *request.headers_mut() = wanted.head.headers.clone();
        // Those of the connection that it came on; and what asks for a part, or for nothing if nothing is new:
        // what is kept is whole.
        for own in NOT_SENT {
            request.headers_mut().remove(own);
        }
        self.fetch.fetch(request).await
    }

    /// Why an answer is not what it was asked for, if it is not.
    fn fault(&self, exchange: &Exchange) -> Option<String> {
        let end = exchange.end().filter(|end| end.status == 200)?;
        let route = Route::of(&exchange.begin.url, self.replay.bases());
        let body = end.body.as_ref()?;
        let recording = self.replay.recording();
        if matches!(route.kind, Kind::Zip | Kind::Toolchain) {
            let is_coded = field(&end.headers, "content-encoding").is_some();
            return match is_coded {
                true => None,
                false => zip_fault(recording, body, &route),
            };
        }
        let content = recording.body(body).map_err(|error| chain(&error));
        let content = content.and_then(|bytes| {
            let Ok(reader) = Coding::of(&end.headers).reader(bytes, body.bytes) else {
                return Ok(None);
            };
            let mut content = Vec::new();
            let read = reader.take(TEXT_LIMIT + 1).read_to_end(&mut content);
            read.map_err(|error| error.to_string())?;
            Ok(Some(content))
        });
        match content {
            Ok(Some(content)) => {
                let checked = check_content(&route, &content);
                checked.err().map(|fault| fault.to_string())
            }
            Ok(None) => None,
            Err(why) => Some(why),
        }
    }

    fn fails(&self, what: String, why: &str) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.add(what, Some(why.to_owned()));
    }
}

fn zip_fault(recording: &Recording, body: &Body, route: &Route) -> Option<String> {
    let reader: Box<dyn ReaderAt> = match recording.stored(body) {
        Ok(Stored::Inline(bytes)) => Box::new(bytes),
        Ok(Stored::File(file)) => Box::new(FileReader::from(file)),
        Err(error) => return Some(chain(&error)),
    };
    let (module, version) = (route.module.as_deref(), route.version.as_deref());
    let zip = ModuleZip::open(
        reader,
        body.bytes,
        module.unwrap_or_default(),
        version.unwrap_or_default(),
    );
    zip.err().map(|fault| chain(&fault))
}

/// Answers one request from the recording or from the network, or says why neither has an answer.
pub(super) async fn answer(
    leg: &ClientLeg,
    fill: &Fill,
    mut ticket: Ticket,
    head: &request::Parts,
    body: Option<Incoming>,
    url: &str,
) -> Response<Outgoing> {
    let context = &leg.context;
    let limit = context.deadlines.request_body_idle;
    let is_sent = body.as_ref().is_some_and(|body| !body.is_end_stream());
    let is_h2 = leg.protocol == Protocol::H2;
    let body = match body {
        Some(body) => request_body::read(body, is_h2, limit, REQUEST_LIMIT).await,
        None => Ok(Bytes::new()),
    };
    let body = match body {
        Ok(body) => body,
        Err(fault) => return answer::fault(leg, ticket, &fault).await,
    };
    ticket.sending(None);
    let known = context.redactor.known(url);
    if is_sent && body.is_empty() {
        let why = "what this request sends is too long to be kept";
        return answer::own(ticket, StatusCode::BAD_GATEWAY, why).await;
    }
    let sent = is_sent.then(|| Hex(Sha256::digest(&body).into()));
    let has_credentials = head.headers.contains_key(header::AUTHORIZATION);
    let wanted = Wanted {
        head,
        body: &body,
        url: &known,
        question: question(head.method.as_str(), &known, has_credentials, sent),
    };
    if let Some(given) = fill.of_this_run(&wanted, context.clock.now()) {
        fill.recorded.fetch_add(1, Ordering::Relaxed);
        return replayed::give(leg, ticket, given).await;
    }
    let recorded = match fill.recorded(context, &wanted).await {
        Some(given) if !fill.is_outdated(&wanted, given.response.status()) => {
            fill.recorded.fetch_add(1, Ordering::Relaxed);
            return replayed::give(leg, ticket, given).await;
        }
        recorded => recorded,
    };
    let had = recorded.as_ref().map(|given| given.response.status());
    let count = |count: &AtomicU64| {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let why = match fill.ask(&wanted, url).await {
        Ok(fetched) if is_better(fetched.given.response.status(), had) => {
            count(match fetched.is_first {
                true => &fill.fetched,
                false => &fill.recorded,
            });
            return replayed::give(leg, ticket, fetched.given).await;
        }
        Ok(_) => String::new(),
        Err(why) => why,
    };
    if let Some(given) = recorded {
        count(&fill.stale);
        return replayed::give(leg, ticket, given).await;
    }
    fill.fails(ticket.what(), &context.redactor.text(&why));
    match git::is_command(head) {
        true => answer::refuse_git(ticket, &why).await,
        false => answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await,
    }
}

/// Whether a fetched answer takes the place of a recorded one: nobody's failure does, nor that something is
/// gone, as in the replays to come.
fn is_better(fetched: StatusCode, had: Option<StatusCode>) -> bool {
    let is_found = |status: StatusCode| matches!(status.as_u16(), 200..400);
    match had {
        None => true,
        Some(had) if is_found(had) => is_found(fetched),
        Some(_) => !is_failure(fetched.as_u16()),
    }
}
