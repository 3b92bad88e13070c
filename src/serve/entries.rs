//! The entries of the upstream GOPROXY, asked in turn.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use tokio::sync::OnceCell;

use super::breaker::Breaker;
use super::counts::{Attempt, Attempts, Counts, Outcome};
use super::failure::Failure;
use super::item::Item;
use super::upstream::{Upstream, said};
use crate::clock::{Clock, Timestamp};
use crate::diagnose::rules::tells_of_failure;
use crate::exchange::chain;
use crate::gomod::{Base, GoProxy, ProxyTarget, Separator, TEXT_LIMIT};
use crate::redact::url_without_secrets;

/// How long all attempts at an answer's head may take together.
const ALL: Duration = Duration::from_secs(30);

/// How often an entry is asked again that broke off, or is overloaded.
const AGAIN: u32 = 2;

/// How long is waited before an entry is asked again, at least; up to twice as long, and twice that the next time.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest Retry-After that is waited for; an entry that wants longer is passed over.
const PATIENCE: Duration = Duration::from_secs(5);

/// Values of `WWW-Authenticate` that are passed on.
const CHALLENGES: usize = 8;

/// The list, and what is known of each entry.
#[derive(Debug)]
pub(crate) struct Entries {
    upstream: Upstream,
    clock: Clock,
    entries: Vec<Entry>,
    jitter: RandomState,
}

#[derive(Debug)]
struct Entry {
    /// Its place in the list, which is its path at the gateway.
    place: usize,
    /// Its URL, without secrets.
    shown: String,
    /// Its host, with the port where that is not the scheme's own: its name in metrics.
    host: String,
    /// What came of the requests to that host.
    attempts: Arc<Attempts>,
    /// What stands behind it.
    separator: Option<Separator>,
    /// For requests for modules.
    modules: Breaker,
    /// For requests to the checksum database, which the entry relays, or the gateway asks in its place.
    database: Breaker,
    /// The gateway has found out which of the two it is.
    is_asked_for_database: OnceCell<()>,
}

/// The least that an entry gets of that time, though others come after it.
const SHARE: Duration = Duration::from_secs(5);

/// With less than that it is not asked at all, so that it is not blamed.
const LEAST: Duration = Duration::from_secs(1);

/// What came of asking.
#[derive(Debug)]
pub(super) enum Asked {
    /// The entry has a zip, which comes. Whoever takes it says what it was.
    Zip(Response<Incoming>),
    /// The tree that stands in for the entries has a zip of so many bytes.
    File(File, u64),
    /// The entry has a text, which is whole. Whoever takes it says whether it was right.
    Text(Bytes),
    /// No entry has it: the status and the words of the last one.
    Absent(StatusCode, String),
    /// Nobody could tell.
    Failed(Failure),
}

/// What one entry said.
enum Said {
    Zip(Response<Incoming>, Attempt),
    Text(Bytes, Attempt),
    Absent(StatusCode, String),
    /// No usable answer; the next entry may have one.
    Nothing(Failure),
    /// An answer that is none, such as 403: behind a comma it is the last word, as for go.
    Refused(Failure),
}

impl Entries {
    /// The module proxies of a list; none, if nobody is to be asked.
    pub(super) fn new(
        goproxy: &GoProxy,
        upstream: Upstream,
        clock: Clock,
        counts: &Counts,
    ) -> Self {
        let entries = goproxy.entries.iter().enumerate();
        let host = |url: &str| Base::of(url).map(|base| base.host).unwrap_or_default();
        let entries = entries.filter_map(|(place, entry)| match &entry.target {
            ProxyTarget::Url(url) => Some(Entry {
                place,
                shown: url_without_secrets(url),
                attempts: counts.attempts(&host(url)),
                host: host(url),
                separator: entry.separator,
                modules: Breaker::default(),
                database: Breaker::default(),
                is_asked_for_database: OnceCell::new(),
            }),
            // Clients have `direct` in their own list; here nobody runs git.
            ProxyTarget::Direct | ProxyTarget::Off => None,
        });
        Self {
            upstream,
            clock,
            entries: entries.collect(),
            jitter: RandomState::new(),
        }
    }

    /// Begins to ask for an item.
    pub(super) fn asking<'a>(&'a self, item: &'a Item) -> Asking<'a> {
        Asking {
            entries: self,
            item,
            deadline: None,
            next: 0,
            again: 0,
            failures: Vec::new(),
            absent: None,
            judged: None,
        }
    }

    /// The host of each entry, and whether it is left alone at the moment, for modules or for the checksum database.
    pub(super) fn breakers(&self) -> impl Iterator<Item = (&str, bool)> {
        let entries = self.entries.iter();
        entries.map(|entry| {
            let is_open = entry.modules.is_open() || entry.database.is_open();
            (entry.host.as_str(), is_open)
        })
    }

    /// Has the gateway find out who answers for the checksum database, once for each entry.
    async fn find_database(&self, entry: &Entry, database: &str) -> Result<(), Failure> {
        let ask = || async {
            let path = format!("sumdb/{database}/supported");
            let asked = self.ask(Method::GET, entry, &path, None);
            let (response, attempt) = asked.await?;
            let status = response.status();
            attempt.ended(Outcome::of_status(status));
            let _ = said(response).await;
            match status {
                StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
                _ => {
                    let why = format!("{} answered {status} for {path}", entry.shown);
                    Err(Failure::bad_gateway(why))
                }
            }
        };
        entry
            .is_asked_for_database
            .get_or_try_init(ask)
            .await
            .copied()
    }

    /// Leaves an entry alone for a while.
    fn gave_no_answer(&self, entry: &Entry, item: &Item, failure: Failure) -> Said {
        // A recording is not overloaded: what it lacks says nothing of what it has.
        if !self.upstream.is_recorded() && entry.breaker(item).failed(self.clock.now()) {
            let why = failure.text();
            tracing::warn!(target: "modtape::serve", "{} is left alone: {why}", entry.shown);
        }
        Said::Nothing(failure)
    }

    /// Asks an entry once. A text is read to its end, since one that breaks off may be whole another time.
    async fn attempt(&self, entry: &Entry, item: &Item) -> Result<Came, Missed> {
        if let Some(database) = item.route.sumdb.as_deref() {
            let found = self.find_database(entry, database).await;
            found.map_err(Missed::Head)?;
        }
        let response = self.request(Method::GET, entry, item).await;
        let (response, attempt) = response.map_err(|failure| match failure.status {
            // The gateway asks nobody for that.
            StatusCode::BAD_REQUEST => Missed::Unaskable(failure),
            _ => Missed::Head(failure),
        })?;
        if response.status() == StatusCode::OK && !item.is_zip() {
            return match text(item, response.into_body()).await {
                Ok(text) => Ok(Came::Text(text, attempt)),
                Err(failure) => {
                    attempt.ended(Outcome::Aborted);
                    Err(Missed::Text(failure))
                }
            };
        }
        Ok(Came::Response(response, attempt))
    }

    async fn request(
        &self,
        method: Method,
        entry: &Entry,
        item: &Item,
    ) -> Result<(Response<Incoming>, Attempt), Failure> {
        let authorization = item.asker().and_then(|asker| asker.authorization.as_ref());
        self.ask(method, entry, item.path(), authorization).await
    }

    /// Sends one request to an entry. Without an answer it is counted already.
    async fn ask(
        &self,
        method: Method,
        entry: &Entry,
        path: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<(Response<Incoming>, Attempt), Failure> {
        let attempt = Attempt::begin(&entry.attempts);
        let asked = self.upstream.ask(method, entry.place, path, authorization);
        match asked.await {
            Ok(response) => Ok((response, attempt)),
            Err(failure) => {
                match failure.status {
                    StatusCode::BAD_REQUEST => attempt.was_none(),
                    StatusCode::GATEWAY_TIMEOUT => attempt.ended(Outcome::Timeout),
                    _ => attempt.ended(Outcome::Failed),
                }
                Err(failure)
            }
        }
    }

    /// Whether the first entry has an item for whoever asks, as far as HEAD tells: servers that do not take HEAD say
    /// all kinds of things.
    pub(super) async fn tells_by_head(&self, item: &Item) -> bool {
        let Some(entry) = self.entries.first() else {
            return false;
        };
        if entry.breaker(item).is_open() {
            return false;
        }
        let asked = tokio::time::timeout(SHARE, self.request(Method::HEAD, entry, item)).await;
        let Ok(Ok((response, attempt))) = asked else {
            return false;
        };
        attempt.ended(Outcome::of_status(response.status()));
        response.status() == StatusCode::OK
    }

    async fn ask_entry(&self, entry: &Entry, item: &Item) -> Said {
        let breaker = entry.breaker(item);
        if !breaker.admits(self.clock.now()) {
            let why = "gave no answer a moment ago, and is left alone for up to 20 s";
            return Said::Nothing(Failure::timeout(format!("{} {why}", entry.shown)));
        }
        let mut again = 0;
        loop {
            let (response, attempt) = match self.attempt(entry, item).await {
                Ok(Came::Response(response, attempt)) => (response, attempt),
                Ok(Came::Text(text, attempt)) => {
                    breaker.answered();
                    return Said::Text(text, attempt);
                }
                // What was silent once is not waited for again.
                Err(Missed::Head(failure))
                    if failure.status == StatusCode::GATEWAY_TIMEOUT || again == AGAIN =>
                {
                    return self.gave_no_answer(entry, item, failure);
                }
                // Its fault, but no sign that others fare as badly.
                Err(Missed::Text(failure)) if again == AGAIN => return Said::Nothing(failure),
                Err(Missed::Unaskable(failure)) => return Said::Refused(failure),
                Err(Missed::Head(_) | Missed::Text(_)) => {
                    again += 1;
                    self.pause(again).await;
                    continue;
                }
            };
            breaker.answered();
            let status = response.status();
            match status {
                StatusCode::OK => return Said::Zip(response, attempt),
                StatusCode::NOT_FOUND | StatusCode::GONE => {
                    let text = said(response).await;
                    if !tells_of_failure(&text) {
                        attempt.ended(Outcome::Absent);
                        return Said::Absent(status, text);
                    }
                    attempt.ended(Outcome::Error);
                    let why = format!(
                        "{} says {status}, but its text tells of a failure",
                        entry.shown
                    );
                    return Said::Nothing(Failure::bad_gateway(format!(
                        "{why}: {}",
                        first_line(&text)
                    )));
                }
                _ => attempt.ended(Outcome::Error),
            }
            let pause = retry_after(&response);
            let challenges = challenges(&response);
            let text = said(response).await;
            let why = format!("{} answered {status}: {}", entry.shown, first_line(&text));
            if !is_passing(status) {
                let failure = Failure {
                    // What the client may be able to mend.
                    status: if status.is_client_error() {
                        status
                    } else {
                        StatusCode::BAD_GATEWAY
                    },
                    challenges,
                    ..Failure::bad_gateway(why)
                };
                return Said::Refused(failure);
            }
            if again == AGAIN || pause.is_some_and(|pause| pause > PATIENCE) {
                return Said::Nothing(Failure::bad_gateway(why));
            }
            again += 1;
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => self.pause(again).await,
            }
        }
    }

    /// Waits before the `again`th further attempt: not all who wait at the same moment.
    async fn pause(&self, again: u32) {
        let shortest = PAUSE * 2u32.pow(again - 1);
        let part = self.jitter.hash_one(self.clock.now()) % 1000;
        let more = shortest * (part as u32) / 1000;
        tokio::time::sleep(shortest + more).await;
    }
}

/// The entries that are still to be asked for an item.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    entries: &'a Entries,
    item: &'a Item,
    /// Set when the first one is asked: waiting for a place is nobody's fault.
    deadline: Option<Timestamp>,
    /// The place of the entry that is next.
    next: usize,
    /// How often the body of one has broken off.
    again: u32,
    failures: Vec<Failure>,
    /// What the last one said that does not have it.
    absent: Option<(StatusCode, String)>,
    /// The request whose answer whoever asks holds against what it should be.
    judged: Option<Attempt>,
}

impl Asking<'_> {
    /// Asks until an entry has the item, or all were asked.
    pub(super) async fn next(&mut self) -> Asked {
        let Entries { entries, clock, .. } = self.entries;
        while let Some(entry) = entries.get(self.next) {
            let others = u32::try_from(entries.len() - self.next).unwrap_or(u32::MAX);
            self.next += 1;
            let now = clock.now();
            let left = self.deadline.get_or_insert(now + ALL).since(now);
            if left < LEAST {
                let why = format!("no time was left for {}", entry.shown);
                self.failures.push(Failure::timeout(why));
                continue;
            }
            let share = (left / others).max(SHARE.min(left));
            let asked = self.entries.ask_entry(entry, self.item);
            let said = tokio::time::timeout(share, asked).await;
            let said = said.unwrap_or_else(|_| {
                let seconds = share.as_secs();
                let why = format!("{} gave no answer within {seconds} s", entry.shown);
                self.entries
                    .gave_no_answer(entry, self.item, Failure::timeout(why))
            });
            match said {
                Said::Zip(response, attempt) => {
                    self.judged = Some(attempt);
                    return Asked::Zip(response);
                }
                Said::Text(text, attempt) => {
                    self.judged = Some(attempt);
                    return Asked::Text(text);
                }
                Said::Absent(status, text) => self.absent = Some((status, text)),
                Said::Nothing(failure) => self.failures.push(failure),
                Said::Refused(failure) => {
                    self.failures.push(failure);
                    if entry.separator != Some(Separator::Pipe) {
                        self.next = entries.len();
                    }
                }
            }
        }
        match self.absent.take() {
            // A 404 is no word on what an entry that gave no answer may have.
            Some((status, text)) if self.failures.is_empty() => Asked::Absent(status, text),
            _ if self.failures.is_empty() => {
                let why = "it is not kept here, and nobody is asked";
                Asked::Failed(Failure::timeout(why))
            }
            _ => Asked::Failed(Failure::of_all(&self.failures)),
        }
    }

    /// What the last entry sent broke off after a silence: it is asked again, unless it was given up for that, or has
    /// had its chances.
    pub(super) fn broke_off(&mut self, failure: Failure, silence: Duration) {
        self.judge(Outcome::Aborted);
        self.deadline = None;
        if self.entries.upstream.is_given_up(silence) || self.again == AGAIN {
            self.failures.push(failure);
        } else {
            self.again += 1;
            self.next -= 1;
        }
    }

    /// What the last entry sent is not what was asked for: another one may have it.
    pub(super) fn was_wrong(&mut self, failure: Failure) {
        self.judge(Outcome::Wrong);
        self.failures.push(failure);
    }

    /// What the last entry sent was whole, and what was asked for.
    pub(super) fn was_right(&mut self) {
        self.judge(Outcome::Ok);
    }

    fn judge(&mut self, outcome: Outcome) {
        if let Some(attempt) = self.judged.take() {
            attempt.ended(outcome);
        }
    }
}

/// What comes of one attempt.
enum Came {
    /// A text, whole.
    Text(Bytes, Attempt),
    /// A zip that comes, or what is no answer.
    Response(Response<Incoming>, Attempt),
}

/// Why an attempt came to nothing.
enum Missed {
    /// No answer began.
    Head(Failure),
    /// A text began, and broke off or did not end.
    Text(Failure),
    /// No server is asked for such a thing.
    Unaskable(Failure),
}

impl Entry {
    fn breaker(&self, item: &Item) -> &Breaker {
        match item.route.sumdb {
            Some(_) => &self.database,
            None => &self.modules,
        }
    }
}

/// Reads a text.
async fn text(item: &Item, body: Incoming) -> Result<Bytes, Failure> {
    let limit = usize::try_from(TEXT_LIMIT).unwrap_or(usize::MAX);
    let text = Limited::new(body, limit).collect().await;
    let text = text.map_err(|error| {
        let error: &(dyn std::error::Error + 'static) = &*error;
        let why = format!("{} broke off: {}", item.path(), chain(error));
        Failure::bad_gateway(why)
    })?;
    // Not a part of what hyper has read, which would be kept with it.
    Ok(Bytes::copy_from_slice(&text.to_bytes()))
}

/// Whether the same request may fare better in a moment.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How long the server asks to be left alone (RFC 9110 section 10.2.3); a date counts as too long.
fn retry_after(response: &Response<Incoming>) -> Option<Duration> {
    let value = response.headers().get(header::RETRY_AFTER)?;
    let seconds = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Some(seconds.map_or(Duration::MAX, Duration::from_secs))
}

/// What the server wants to be shown; more than a few values are left out.
fn challenges(response: &Response<Incoming>) -> Vec<HeaderValue> {
    let values = response.headers().get_all(header::WWW_AUTHENTICATE);
    values.iter().take(CHALLENGES).cloned().collect()
}

fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        "without a word"
    } else {
        line
    }
}
