//! Finds the recorded answer to a request, by meaning; explains a miss.
//!
//! Holds no dialer and no socket: what is not on the recording cannot be had here. Matching goes in
//! this order: exact (host, once-decoded path, query without secrets); the same module request from
//! another host of the recorded GOPROXY list; what can be derived (a narrower tile cut from a wider
//! one, a redirect's target whatever its query). Repeated answers keep their order, the last stays.

#[cfg(any(test, fuzzing))]
pub mod check;
mod index;
mod played;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub use index::Odd;
pub use played::{PlayError, Played};

use crate::exchange::{Exchange, field};
use crate::gomod::{Base, GoProxy, GoSumDb, Route, Tile, replay_key};
use crate::recording::reader::{BodyError, BodyReader, ConnectionRow, ReadError};
use crate::recording::{Recording, Row};
use crate::redact;
use crate::tls::Protocol;
use index::Index;

/// A recording that answers.
pub struct Replay {
    recording: Recording,
    index: Index,
    bases: Vec<Base>,
    /// The command that would record what is missing.
    recorder: String,
    // std Mutexes: held for a map operation, never across an await.
    cursors: Mutex<HashMap<String, usize>>,
    misses: Mutex<Vec<Miss>>,
    hits: AtomicU64,
}

/// Something that was asked for and is not on the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// In words: `zip golang.org/x/net v0.34.0`.
    pub what: String,
    /// What the recording has instead, if there is something near.
    pub instead: Option<String>,
}

/// A recorded answer.
#[derive(Debug)]
pub struct Hit {
    /// The exchange whose answer it is.
    pub exchange: Exchange,
    /// Only so many octets of the body: a tile cut to a narrower one.
    pub cut: Option<u64>,
}

/// Why a recorded answer cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is not there: the two lines that the client is shown.
    #[error("{0}")]
    Miss(String),
    /// It is there, and damaged.
    #[error("the recorded exchange is damaged")]
    Read(#[from] ReadError),
    /// Its body is missing or was altered.
    #[error("the recorded body is damaged")]
    Body(#[from] BodyError),
}

/// GOPROXY entries and checksum database that a recording was made with.
pub fn bases(go_env: &std::collections::BTreeMap<String, String>) -> Vec<Base> {
    let value = |name: &str| go_env.get(name).map_or("", String::as_str);
    let mut bases = GoProxy::parse(value("GOPROXY")).bases();
    let sumdb = value("GOSUMDB").parse::<GoSumDb>().ok();
    bases.extend(sumdb.and_then(|sumdb| sumdb.base()));
    bases
}

impl Replay {
    /// Indexes a recording. `recorder` is the command line that a miss advises.
    pub fn new(recording: Recording, recorder: String) -> Self {
        let bases = bases(&recording.manifest().go_env);
        Self {
            index: Index::new(recording.rows(), &bases, &redirected(&recording)),
            recording,
            bases,
            recorder,
            cursors: Mutex::default(),
            misses: Mutex::default(),
            hits: AtomicU64::new(0),
        }
    }

    /// The recording.
    pub const fn recording(&self) -> &Recording {
        &self.recording
    }

    /// Base paths of the recorded GOPROXY.
    pub fn bases(&self) -> &[Base] {
        &self.bases
    }

    /// Requests answered so far.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// What was asked for in vain so far, in order.
    pub fn misses(&self) -> Vec<Miss> {
        self.misses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Hosts that any recorded exchange went to.
    pub fn hosts(&self) -> BTreeSet<String> {
        self.index.hosts.clone()
    }

    /// Hosts that were tunnelled and never intercepted when the recording was made.
    pub fn tunnelled(&self) -> BTreeSet<String> {
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
    pub fn protocol(&self, host: &str) -> Option<Protocol> {
        let opened = self.recording.connections().flat_map(ConnectionRow::dials);
        opened
            .filter(|opened| {
                let target = opened.target.parse::<crate::exchange::Target>();
                target.is_ok_and(|target| target.host() == host)
            })
            .filter_map(|opened| opened.upstream.as_ref()?.alpn.as_deref())
            .find_map(|alpn| Protocol::from_alpn(alpn.as_bytes()))
    }

    /// The recorded answer to a request for an absolute URL.
    pub fn find(&self, method: &str, url: &str) -> Result<Hit, AnswerError> {
        let found = self
            .exact(method, url)
            .or_else(|| self.same_module(method, url))
            .or_else(|| self.cut_tile(method, url))
            .or_else(|| self.redirect_target(method, url));
        let Some((row, cut)) = found else {
            return Err(AnswerError::Miss(self.miss(method, url)));
        };
        let exchange = self
            .recording
            .exchange(row)
            .inspect_err(|error| self.damaged(method, url, error))?;
        Ok(Hit { exchange, cut })
    }

    /// The octets of an answer's body, verified.
    pub fn body(&self, hit: &Hit) -> Result<Option<BodyReader>, AnswerError> {
        let begin = &hit.exchange.begin;
        let body = hit.exchange.end().and_then(|end| end.body.as_ref());
        let body = body
            .map(|body| self.recording.body(body))
            .transpose()
            .inspect_err(|error| self.damaged(&begin.method, &begin.url, error))?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Ok(body)
    }

    /// What is there and cannot be given counts as missing.
    fn damaged(&self, method: &str, url: &str, error: &dyn std::error::Error) {
        let what = Route::of(&without_secrets(url), &self.bases).what();
        self.missed(method, what, Some(error.to_string()));
    }

    fn missed(&self, method: &str, what: String, instead: Option<String>) {
        let miss = Miss {
            what: if method == "GET" {
                what
            } else {
                format!("{method} {what}")
            },
            instead,
        };
        self.misses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(miss);
    }

    fn exact(&self, method: &str, url: &str) -> Option<(&Row, Option<u64>)> {
        let key = index::exact_key(method, url);
        Some((self.next(&key, self.index.exact.get(&key)?)?, None))
    }

    fn same_module(&self, method: &str, url: &str) -> Option<(&Row, Option<u64>)> {
        let key = format!("{method} {}", replay_key(url, &self.bases)?);
        Some((self.next(&key, self.index.modules.get(&key)?)?, None))
    }

    fn cut_tile(&self, method: &str, url: &str) -> Option<(&Row, Option<u64>)> {
        let route = Route::of(url, &self.bases);
        let wanted = route.tile.filter(|_| method == "GET")?;
        let tiles = self.index.tiles.get(&(route.sumdb?, wanted.coordinate()))?;
        let wider = |(tile, _): &&(Tile, usize)| wanted.is_cut_from(tile);
        let (_, row) = tiles
            .iter()
            .filter(wider)
            .min_by_key(|(tile, _)| tile.width)?;
        let row = self.recording.rows().get(*row)?;
        Some((row, Some(wanted.len_bytes() as u64)))
    }

    fn redirect_target(&self, method: &str, url: &str) -> Option<(&Row, Option<u64>)> {
        let path = index::without_query(url);
        let rows = self.index.by_path.get(&path).filter(|_| method == "GET")?;
        Some((self.recording.rows().get(*rows.last()?)?, None))
    }

    /// The next of the answers to a key; the last one stays.
    fn next(&self, key: &str, rows: &[usize]) -> Option<&Row> {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let cursor = cursors.entry(key.to_owned()).or_default();
        let row = rows.get(*cursor).or_else(|| rows.last())?;
        *cursor = (*cursor + 1).min(rows.len());
        self.recording.rows().get(*row)
    }

    fn miss(&self, method: &str, url: &str) -> String {
        let what = Route::of(&without_secrets(url), &self.bases).what();
        let name = self.recording.name();
        let instead = self
            .index
            .odd
            .get(&index::exact_key(method, url))
            .map(|odd| match odd {
                Odd::Aborted => "it was recorded only in part, so it is not replayed",
                Odd::InFlight => "it was in flight when the recorder ended",
                Odd::Ours => "modtape itself answered it then, so it is not replayed",
            });
        let mut text = format!("not on recording {name}: {what}");
        if let Some(instead) = instead {
            text = format!("{text} ({instead})");
        }
        self.missed(method, what, instead.map(str::to_owned));
        format!("{text}\nrecord it: {}", self.recorder)
    }
}

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
            let location = field(&exchange.end()?.headers, "location")?.into_owned();
            Some(index::without_query(&location))
        })
        .collect()
}

/// The URL without what redaction would hide, for comparing.
fn without_secrets(url: &str) -> String {
    redact::url_without_secrets(url)
}
