//! Finds the recorded answer to a request, by meaning; explains a miss.
//!
//! Holds no dialer and no socket: what is not on the recording cannot be had here. Matching goes in
//! this order: exact (scheme, host, path and query in one spelling, without secrets; where the
//! recorded requests differ in these, the one that is asked for); the same module request from
//! another host of the recorded GOPROXY list; what can be derived (a narrower tile cut from a wider
//! one, a redirect's target whatever its query). Repeated answers keep their order, the last stays.
//! What the manifest calls faulty answers nothing.
//! A 304 or a part answers only requests that asked for it; a 401 or 407 answers none if the recording
//! has the response to the same request with credentials. Some answers are made of recorded ones instead:
//! [`made`] says which.

mod added;
#[cfg(any(test, fuzzing))]
pub mod check;
mod condition;
mod git;
mod index;
mod ledger;
mod made;
mod mutable;
mod played;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

pub(crate) use added::{Added, question};
pub(crate) use condition::Conditions;
pub(crate) use git::{GitAsked, GitFetch, GitFound, REQUEST_LIMIT, is_of_repository};
pub(crate) use ledger::{Account, Miss, Misses};
pub(crate) use made::Options;
pub(crate) use mutable::{Asked, Given as GivenAt, is_failure, may_change};
pub(crate) use played::{PlayError, Played};

use crate::catalog::EditError;
use crate::exchange::{Exchange, Target, field};
use crate::gomod::{self, Base, Route, canonical, redirect_target, replay_key};
use crate::recording::reader::{BodyError, BodyReader, ConnectionRow, ContentError, ReadError};
use crate::recording::{Recording, Row};
use crate::tls::Protocol;
use condition::Fit;
use index::{Index, TileKey, TileRow, Unusable};
use ledger::{Ledger, Tunnel, what};
use made::{Instead, Made, Outcome};

/// A recording that answers.
pub struct Replay {
    recording: Recording,
    index: Index,
    made: Made,
    bases: Arc<[Base]>,
    /// The command that would record what is missing.
    recorder: String,
    // A std Mutex: held while an answer is chosen, never across an await.
    cursors: Mutex<HashMap<String, usize>>,
    /// Made for the first request to a git repository.
    git: OnceLock<git::Repositories>,
    ledger: Arc<Ledger>,
}

/// A recorded answer.
#[derive(Debug)]
pub(crate) struct Hit {
    /// The exchange whose answer it is.
    pub(crate) exchange: Exchange,
    /// Only so many bytes of the body: a tile cut to a narrower one.
    pub(crate) cut: Option<u64>,
}

/// Why a recorded answer cannot be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// It is not there: the two lines that the client is shown.
    #[error("{0}")]
    Miss(String),
    /// It is there, and damaged.
    #[error("the recorded exchange is damaged")]
    Read(#[from] ReadError),
    /// Its body is missing or was altered.
    #[error("{}", body_fault(.0))]
    Body(#[from] BodyError),
    /// What another answer is made of cannot be read.
    #[error("what the answer is made of cannot be read")]
    Content(#[from] ContentError),
    /// What another answer is made of is not what it should be.
    #[error("the recorded answer is not valid")]
    Edit(#[from] EditError),
}

/// Only what differs from its digest is damaged.
const fn body_fault(error: &BodyError) -> &'static str {
    match error {
        BodyError::WrongSize { .. } | BodyError::Mismatch { .. } => "the recorded body is damaged",
        BodyError::Missing { .. } | BodyError::Unreadable { .. } | BodyError::NotKept(_) => {
            "the recorded body cannot be read"
        }
    }
}

impl Replay {
    /// Indexes a recording, without the answers that its manifest says are faulty. `recorder` is the command
    /// line that a miss advises.
    pub fn new(recording: Recording, recorder: String) -> Self {
        Self::answering(recording, recorder, Options::default())
    }

    /// The same, for answers as these options say.
    pub(crate) fn answering(recording: Recording, recorder: String, options: Options) -> Self {
        let bases: Arc<[Base]> = Arc::from(gomod::bases(&recording.manifest().go_env));
        let made = Made::new(&recording, &bases, options);
        let mut index = Index::new(
            recording.rows(),
            &bases,
            &redirected(&recording),
            &recording.manifest().replayable.faults,
            |row| has_credentials(&recording, row),
        );
        for settled in made.settled(recording.rows(), &bases) {
            index.keep_last(&settled);
        }
        Self {
            index,
            made,
            recording,
            bases,
            recorder,
            cursors: Mutex::default(),
            git: OnceLock::new(),
            ledger: Arc::default(),
        }
    }

    /// The recording.
    pub(crate) const fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Base paths of the recorded GOPROXY.
    pub(crate) fn bases(&self) -> &[Base] {
        &self.bases
    }

    /// How many records the largest tree has whose head the lookups of a checksum database carry here; `None`
    /// without lookups.
    pub(crate) fn largest_head(&self, sumdb: &str) -> Option<u64> {
        self.made.largest_head(sumdb)
    }

    /// Requests answered so far.
    pub(crate) fn hits(&self) -> u64 {
        self.ledger.hits()
    }

    /// How many requests had no recorded answer so far.
    pub(crate) fn missed(&self) -> u64 {
        self.ledger.misses().total()
    }

    /// The requests so far that had no recorded answer.
    pub(crate) fn misses(&self) -> Misses {
        self.ledger.misses().clone()
    }

    /// Counts a tunnel to `target` that was refused, and why, as missing: whatever would have been
    /// asked in it is not here.
    pub(crate) fn refused(&self, target: &Target, why: &str) {
        let host = Some(target.host());
        let what = format!("CONNECT {target}");
        self.ledger.refused(what, Tunnel { host }, why);
    }

    /// The same of a connection to `target` that was redirected.
    pub(crate) fn refused_redirected(&self, target: &Target, why: &str) {
        let host = Some(target.host());
        let what = format!("connection to {target}");
        self.ledger.refused(what, Tunnel { host }, why);
    }

    /// The same of a host whose address was asked for, where no connection can follow.
    pub(crate) fn refused_name(&self, name: &str, why: &str) {
        let host = Some(name);
        let what = format!("address of {name}");
        self.ledger.refused(what, Tunnel { host }, why);
    }

    /// The same of one whose address leads nowhere.
    pub(crate) fn refused_address(&self, address: SocketAddr, why: &str) {
        let what = format!("connection to {address}");
        self.ledger.refused(what, Tunnel { host: None }, why);
    }

    /// Hosts that any recorded exchange went to.
    pub(crate) fn hosts(&self) -> BTreeSet<String> {
        self.index.hosts.clone()
    }

    /// Hosts that were tunnelled and never intercepted when the recording was made.
    pub(crate) fn tunnelled(&self) -> BTreeSet<String> {
        let opened = self.recording.connections().flat_map(ConnectionRow::dials);
        let tunnels = opened.filter(|opened| opened.mode == crate::exchange::Mode::Tunnel);
        let hosts =
            tunnels.filter_map(|opened| opened.target.parse::<crate::exchange::Target>().ok());
        hosts
            .map(|target| target.host().to_owned())
            .filter(|host| !self.index.hosts.contains(host))
            .collect()
    }

    /// The protocol that the host spoke when it was recorded.
    pub(crate) fn protocol(&self, host: &str) -> Option<Protocol> {
        let opened = self.recording.connections().flat_map(ConnectionRow::dials);
        opened
            .filter(|opened| {
                let target = opened.target.parse::<crate::exchange::Target>();
                target.is_ok_and(|target| target.host() == host)
            })
            .filter_map(|opened| opened.upstream.as_ref()?.alpn.as_deref())
            .find_map(|alpn| Protocol::from_alpn(alpn.as_bytes()))
    }

    /// The recorded answer to a request for an absolute URL under these conditions.
    pub(crate) fn find(
        &self,
        method: &str,
        url: &str,
        conditions: &Conditions,
    ) -> Result<Hit, AnswerError> {
        let found = self
            .exact(method, url, conditions)
            .or_else(|| self.unrecorded(method, url, Made::of_unrecorded))
            .or_else(|| self.same_module(method, url, conditions))
            .or_else(|| self.cut_tile(method, url))
            .or_else(|| self.redirect_target(method, url, conditions))
            .or_else(|| self.unrecorded(method, url, Made::of_unknown));
        let (row, cut) = match found {
            None => return Err(AnswerError::Miss(self.miss(method, url))),
            Some(Found::Row { row, cut }) => match self.made.instead(row) {
                None => (row, cut),
                Some(instead) => return self.make(method, url, instead),
            },
            Some(Found::Unrecorded(instead)) => return self.make(method, url, &instead),
        };
        let exchange = self.exchange(method, url, row)?;
        Ok(Hit { exchange, cut })
    }

    /// A made answer.
    fn make(&self, method: &str, url: &str, instead: &Instead) -> Result<Hit, AnswerError> {
        let made = self.made.make(&self.recording, method, url, instead);
        let exchange = match made.inspect_err(|error| self.damaged(method, url, error))? {
            Outcome::New(exchange) => *exchange,
            Outcome::Recorded(row) => {
                let mut exchange = self.exchange(method, url, row)?;
                exchange.begin.method = method.to_owned();
                exchange
            }
            Outcome::Nothing(why) => {
                return Err(AnswerError::Miss(self.missing(method, url, Some(&why))));
            }
        };
        Ok(Hit {
            exchange,
            cut: None,
        })
    }

    fn exchange(&self, method: &str, url: &str, row: usize) -> Result<Exchange, AnswerError> {
        let Some(row) = self.recording.rows().get(row) else {
            return Err(AnswerError::Miss(self.miss(method, url)));
        };
        let exchange = self.recording.exchange(row);
        Ok(exchange.inspect_err(|error| self.damaged(method, url, error))?)
    }

    /// The bytes of an answer's body, verified.
    pub(crate) fn body(&self, hit: &Hit) -> Result<Option<BodyReader>, AnswerError> {
        let begin = &hit.exchange.begin;
        let body = hit.exchange.end().and_then(|end| end.body.as_ref());
        let (method, url) = (&begin.method, &begin.url);
        let body = match body.map(|body| self.recording.body(body)).transpose() {
            Err(BodyError::NotKept(_)) => {
                let why = self.recording.why_not_kept(begin.id);
                let why = format!("its body was not kept: {why}");
                return Err(AnswerError::Miss(self.missing(method, url, Some(&why))));
            }
            body => body.inspect_err(|error| self.damaged(method, url, error))?,
        };
        self.ledger.hit();
        Ok(body)
    }

    /// Where to report that the body of a hit turns out to be damaged while it is sent.
    pub(crate) fn account(&self, hit: &Hit) -> Account {
        let begin = &hit.exchange.begin;
        Account {
            ledger: Arc::clone(&self.ledger),
            method: begin.method.clone(),
            url: begin.url.clone(),
            bases: Arc::clone(&self.bases),
        }
    }

    /// Counts an answer that is recorded but cannot be sent as missing.
    pub(crate) fn cannot_send(&self, hit: &Hit, why: &dyn std::error::Error) {
        let begin = &hit.exchange.begin;
        self.damaged(&begin.method, &begin.url, why);
    }

    /// Counts an answer that is recorded but cannot be read as missing.
    fn damaged(&self, method: &str, url: &str, error: &dyn std::error::Error) {
        let what = what(url, &self.bases);
        self.ledger.missed(method, what, Some(error.to_string()));
    }

    fn exact(&self, method: &str, url: &str, conditions: &Conditions) -> Option<Found> {
        let key = index::exact_key(method, url);
        let rows = self.index.exact.get(&key)?;
        if !self.index.mixed.contains(&key) {
            return Some(Found::whole(self.next(&key, rows, conditions)?));
        }
        let asked = canonical(url);
        let row = |number: &usize| self.recording.rows().get(*number);
        let is_asked =
            |number: &&usize| row(number).is_some_and(|row| canonical(&row.url) == asked);
        let same: Vec<usize> = rows.iter().filter(is_asked).copied().collect();
        if !same.is_empty() {
            let key = format!("{method} {asked}");
            return Some(Found::whole(self.next(&key, &same, conditions)?));
        }
        // Redaction left marks, which tell the recorded requests apart and fit no other.
        let answer = |number: &usize| row(number).map(|row| (row.status, row.body));
        let first = rows.first().and_then(answer);
        let are_equal = rows.iter().all(|number| answer(number) == first);
        let rows = Some(rows).filter(|_| are_equal)?;
        Some(Found::whole(self.next(&key, rows, conditions)?))
    }

    fn unrecorded(
        &self,
        method: &str,
        url: &str,
        made: impl FnOnce(&Made, &str, &Route) -> Option<Instead>,
    ) -> Option<Found> {
        let route = Route::of(url, &self.bases);
        made(&self.made, method, &route).map(Found::Unrecorded)
    }

    fn same_module(&self, method: &str, url: &str, conditions: &Conditions) -> Option<Found> {
        let key = format!("{method} {}", replay_key(url, &self.bases)?);
        let rows = self.index.of_module(&key)?;
        Some(Found::whole(self.next(&key, rows, conditions)?))
    }

    fn cut_tile(&self, method: &str, url: &str) -> Option<Found> {
        let route = Route::of(url, &self.bases);
        let wanted = route.tile.filter(|_| method == "GET")?;
        let tiles = self.index.tiles.get(&TileKey {
            sumdb: route.sumdb?,
            coordinate: wanted.coordinate(),
        })?;
        let wider = tiles.iter().filter(|known| wanted.is_cut_from(&known.tile));
        let TileRow { row, .. } = wider.min_by_key(|known| known.tile.width)?;
        let (row, cut) = (*row, Some(wanted.len_bytes() as u64));
        Some(Found::Row { row, cut })
    }

    fn redirect_target(&self, method: &str, url: &str, conditions: &Conditions) -> Option<Found> {
        let path = index::without_query(url);
        let rows = self.index.by_path.get(&path).filter(|_| method == "GET")?;
        let places = || (0..rows.len()).rev();
        let find = |least| self.fitting(rows, places(), conditions, least);
        let place = find(Fit::Fits).or_else(|| find(Fit::Alike))?;
        Some(Found::whole(*rows.get(place)?))
    }

    /// The next of the answers to a key that fits the conditions; the last one stays.
    fn next(&self, key: &str, rows: &[usize], conditions: &Conditions) -> Option<usize> {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = cursors.entry(key.to_owned()).or_default();
        let find = |least| {
            let next = self.fitting(rows, *cursor..rows.len(), conditions, least);
            next.or_else(|| self.fitting(rows, (0..*cursor).rev(), conditions, least))
        };
        let place = find(Fit::Fits).or_else(|| find(Fit::Alike))?;
        *cursor = (*cursor).max(place + 1);
        rows.get(place).copied()
    }

    /// The first of these places whose answer was given to the same conditions, else the first whose
    /// answer fits at least so well.
    fn fitting(
        &self,
        rows: &[usize],
        places: impl Iterator<Item = usize>,
        conditions: &Conditions,
        least: Fit,
    ) -> Option<usize> {
        let mut first = None;
        let mut looks = 0;
        for place in places {
            let row = self.recording.rows().get(*rows.get(place)?)?;
            let recorded = || {
                looks += 1;
                let exchange = self.recording.exchange(row).ok()?;
                Some(Conditions::recorded(&exchange.begin.headers))
            };
            match conditions.fit(row.status.unwrap_or_default(), recorded) {
                Fit::Same => return Some(place),
                fit if fit >= least => {
                    first.get_or_insert(place);
                }
                _ => {}
            }
            if looks >= LOOKS || first.is_some() && conditions.is_empty() {
                break;
            }
        }
        first
    }

    fn miss(&self, method: &str, url: &str) -> String {
        let key = index::exact_key(method, url);
        let instead = match self.index.unusable.get(&key) {
            _ if self.index.mixed.contains(&key) => Some(
                "it was recorded with several values of a secret in its URL, which cannot be compared",
            ),
            // An answer that was not given fits other conditions only.
            _ if self.index.exact.contains_key(&key) => {
                Some("only a conditional answer (304/206) was recorded")
            }
            Some(Unusable::Aborted) => Some("it was recorded only in part, so it is not replayed"),
            Some(Unusable::InFlight) => Some("it was in flight when the recorder ended"),
            Some(Unusable::Ours) => Some("modtape itself answered it then, so it is not replayed"),
            Some(Unusable::Faulty(why)) => {
                let why =
                    format!("it was answered with something else, which is not replayed: {why}");
                return self.missing(method, url, Some(&why));
            }
            None => None,
        };
        self.missing(method, url, instead)
    }

    /// Counts a miss; the two lines that the client is shown.
    fn missing(&self, method: &str, url: &str, instead: Option<&str>) -> String {
        let what = what(url, &self.bases);
        let name = self.recording.name();
        let mut text = format!("not on recording {name}: {what}");
        if let Some(instead) = instead {
            let instead = instead.replace(char::is_control, "?");
            text = format!("{text} ({instead})");
        }
        self.ledger.missed(method, what, instead.map(str::to_owned));
        format!("{text}\nrecord it: {}", self.recorder)
    }
}

/// What answers.
enum Found {
    /// A row, by its number, and perhaps only so many bytes of its body.
    Row { row: usize, cut: Option<u64> },
    /// Something that is made for what was not asked then.
    Unrecorded(Instead),
}

impl Found {
    const fn whole(row: usize) -> Self {
        Self::Row { row, cut: None }
    }
}

/// How many recorded requests are read again to compare conditions, for one answer.
const LOOKS: usize = 64;

/// Where recorded redirects led, without queries. Few exchanges are redirects: each is read.
fn redirected(recording: &Recording) -> BTreeSet<String> {
    let rows = recording.rows().iter();
    let redirects = rows.filter(|row| {
        row.status
            .is_some_and(|status| (300..400).contains(&status))
    });
    redirects
        .filter_map(|row| {
            let exchange = recording.exchange(row).ok()?;
            let location = field(&exchange.end()?.headers, "location")?;
            let target = redirect_target(&row.url, &location)?;
            Some(index::without_query(&target))
        })
        .collect()
}

/// Whether a request came with credentials, as far as they are seen in its fields.
fn has_credentials(recording: &Recording, row: &Row) -> bool {
    let exchange = recording.exchange(row);
    exchange.is_ok_and(|exchange| field(&exchange.begin.headers, "authorization").is_some())
}
