//! What an exchange means to the go command: what was requested, its outcome, and where go asks next.
//!
//! Pure. The fields of [`Listed`] are those of `ls --json` and `show --json`: names and units stay.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, Digest, ExchangeId, MadeBy, Timings};
use crate::filter::{Outcome, Subject};
use crate::gomod::{Base, GoProxy, Kind, Location, ProxyTarget, Route, Separator};
use crate::recording::format::Manifest;
use crate::recording::reader::RowState;
use crate::recording::{Recording, Row};

use super::routes::{Loop, Routes};

/// An exchange with its meaning, as lists print it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Listed<'a> {
    /// The exchange; unique within its run.
    pub(crate) id: ExchangeId,
    /// The run, from 0.
    pub(crate) run: u32,
    /// The client connection that it came on.
    pub(crate) connection: ConnectionId,
    /// Method.
    pub(crate) method: &'a str,
    /// Absolute URL, redacted.
    pub(crate) url: &'a str,
    /// Lower case, with the port where it is not the scheme's own.
    pub(crate) host: String,
    /// What was asked for: `kind`, `module` and `version`.
    #[serde(flatten)]
    pub(crate) route: Route,
    /// Status, if a head came.
    pub(crate) status: Option<u16>,
    /// `in-flight`, `ended` or `aborted`.
    pub(crate) state: RowState,
    /// Who wrote the response, if it is whole: `origin` or `modtape`.
    pub(crate) made_by: Option<MadeBy>,
    /// Its outcome: `ok`, `probe`, `fallthrough`, `error`, `modtape`, `aborted`, `in-flight`.
    #[serde(serialize_with = "by_name")]
    pub(crate) outcome: Outcome,
    /// Why the answer is not what it was asked for, as was found at close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<String>,
    /// When it started, since its run was opened.
    pub(crate) started_us: Timestamp,
    /// The phases that happened.
    pub(crate) phases_us: Timings,
    /// Their sum.
    pub(crate) total_us: u64,
    /// What modtape took afterwards.
    pub(crate) own_us: u64,
    /// Bytes of the response body, content-encoded.
    pub(crate) body_bytes: u64,
    /// Its digest, if it is whole.
    pub(crate) body_sha256: Option<Digest>,
    /// Where the go command asks next after this response; `None` if it does not.
    #[serde(skip)]
    pub(crate) next: Option<String>,
}

/// Whether the go command takes an answer for an error, or for none: of a module proxy and a checksum
/// database it takes nothing but 200, and follows redirects (cmd/go `web.Response.Err`).
pub(crate) fn is_refusal(row: &Row, route: &Route) -> bool {
    row.status
        .is_some_and(|status| refuses(status, row.is_redirect(), route.kind))
}

const fn refuses(status: u16, is_redirect: bool, kind: Kind) -> bool {
    match kind {
        Kind::Discovery | Kind::Vcs | Kind::Other => status >= 400,
        _ => status != 200 && !is_redirect,
    }
}

/// The outcome of an exchange that has just ended with an answer of an origin, as far as that can be known before
/// the recording is whole: whether a path was only tried is not.
pub(crate) fn outcome_so_far(goproxy: &GoProxy, route: &Route, url: &str, status: u16) -> Outcome {
    let is_redirect = matches!(status, 301 | 302 | 303 | 307 | 308);
    if !refuses(status, is_redirect, route.kind) {
        return Outcome::Ok;
    }
    let is_next =
        asks_each_entry(route.kind) && next(goproxy, &Location::of(url), status).is_some();
    match is_next {
        true => Outcome::Fallthrough,
        false => Outcome::Error,
    }
}

impl Listed<'_> {
    /// What was asked for, for people: `zip golang.org/x/net v0.34.0`.
    pub(crate) fn what(&self) -> String {
        self.route.what_by(self.method, &self.host)
    }

    /// What a filter asks about.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            id: self.id,
            connection: self.connection,
            method: self.method,
            url: self.url,
            host: &self.host,
            route: &self.route,
            status: self.status,
            outcome: self.outcome,
            phases: &self.phases_us,
            bytes: self.body_bytes,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's serialize_with gives a reference"
)]
fn by_name<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.name())
}

/// What the settings of a recording say about its URLs, and its answers about each other.
pub(crate) struct Meaning<'a> {
    rows: &'a [Row],
    routes: Routes,
    /// What is wrong with answers, by run and exchange.
    faults: BTreeMap<(u32, ExchangeId), String>,
    goproxy: GoProxy,
    /// Modules of which something was found; made for the first response that may be a probe's.
    found: OnceCell<BTreeSet<String>>,
}

impl<'a> Meaning<'a> {
    /// Takes the settings that a recording was made with, and the modules that it has.
    pub(crate) fn of(recording: &'a Recording) -> Self {
        let routes = Routes::of(recording);
        Self::by(recording.manifest(), recording.rows(), routes)
    }

    /// The same of rows whose routes are known.
    pub(super) fn by(manifest: &Manifest, rows: &'a [Row], routes: Routes) -> Self {
        let faults = manifest.replayable.faults.iter();
        let goproxy = manifest.go_env.get("GOPROXY").map_or("", String::as_str);
        Self {
            rows,
            routes,
            faults: faults
                .map(|fault| ((fault.run, fault.exchange), fault.why.clone()))
                .collect(),
            goproxy: GoProxy::parse(goproxy),
            found: OnceCell::new(),
        }
    }

    /// Redirects that lead back to where they were.
    pub(crate) fn loops(&self) -> &[Loop] {
        self.routes.loops()
    }

    /// What a redirect loop began with, in words.
    pub(crate) fn what_looped(&self, found: &Loop) -> String {
        Route::of(&found.url, self.routes.bases()).what()
    }

    fn found(&self) -> &BTreeSet<String> {
        self.found.get_or_init(|| {
            let rows = self.rows.iter();
            let answered = rows.filter(|row| row.status.is_some_and(|status| status < 300));
            let routes = answered.map(|row| self.routes.route(row));
            let asked = routes.filter(|route| asks_each_entry(route.kind));
            asked.filter_map(|route| route.module).collect()
        })
    }

    /// The outcome of an exchange.
    fn outcome(&self, row: &Row, route: &Route, goes_on: bool) -> Outcome {
        let is_gone = matches!(row.status, Some(404 | 410));
        match (row.state, row.made_by) {
            (RowState::InFlight, _) => Outcome::InFlight,
            (RowState::Aborted, _) => Outcome::Aborted,
            (RowState::Ended, Some(MadeBy::Modtape)) => Outcome::Modtape,
            _ if !is_refusal(row, route) => Outcome::Ok,
            _ if is_gone && self.is_probe(route) => Outcome::Probe,
            _ if goes_on => Outcome::Fallthrough,
            _ => Outcome::Error,
        }
    }

    /// Whether a path was only tried: the go command asks for each path above a package's, and the
    /// module turned out to be another one.
    fn is_probe(&self, route: &Route) -> bool {
        let Some(tried) = route
            .module
            .as_deref()
            .filter(|_| asks_each_entry(route.kind))
        else {
            return false;
        };
        let found = self.found();
        if found.contains(tried) {
            return false;
        }
        let below = format!("{tried}/");
        let first = found.range(below.clone()..).next();
        first.is_some_and(|module| module.starts_with(&below))
            || tried
                .match_indices('/')
                .any(|(at, _)| found.contains(&tried[..at]))
    }

    /// A row with its meaning.
    pub(crate) fn list<'r>(&self, row: &'r Row) -> Listed<'r> {
        let route = self.routes.route(row);
        let refused = row.status.filter(|_| {
            let is_whole = row.state == RowState::Ended;
            is_whole && is_refusal(row, &route) && asks_each_entry(route.kind)
        });
        let location = Location::of(&row.url);
        let next = refused.and_then(|status| next(&self.goproxy, &location, status));
        Listed {
            outcome: self.outcome(row, &route, next.is_some()),
            id: row.id,
            run: row.run,
            connection: row.connection,
            method: &row.method,
            url: &row.url,
            fault: self.faults.get(&(row.run, row.id)).cloned(),
            status: row.status,
            state: row.state,
            made_by: row.made_by,
            started_us: row.started,
            phases_us: row.phases,
            total_us: row.phases.total_us(),
            own_us: row.own_us,
            body_bytes: row.bytes,
            body_sha256: row.body,
            next,
            host: location.host,
            route,
        }
    }
}

/// Where the go command asks next if the entry of GOPROXY that `location` lies below answers
/// with `status` (Go modules reference, "GOPROXY protocol": 404 and 410 before a comma, any
/// error before a bar).
fn next(goproxy: &GoProxy, location: &Location<'_>, status: u16) -> Option<String> {
    let entries = &goproxy.entries;
    let fits = |target: &ProxyTarget| match target {
        ProxyTarget::Url(url) => Base::of(url).filter(|base| base.strip(location).is_some()),
        ProxyTarget::Direct | ProxyTarget::Off => None,
    };
    let fitting = entries
        .iter()
        .enumerate()
        .filter_map(|(number, entry)| Some((number, fits(&entry.target)?.path.len())));
    let (number, _) = fitting.max_by_key(|(_, length)| *length)?;
    let goes_on = match entries[number].separator? {
        Separator::Comma => matches!(status, 404 | 410),
        Separator::Pipe => status >= 400,
    };
    match &entries.get(number + 1).filter(|_| goes_on)?.target {
        ProxyTarget::Url(url) => Some(Location::of(url).host),
        ProxyTarget::Direct => Some("direct".into()),
        ProxyTarget::Off => Some("off".into()),
    }
}

/// Whether the go command asks the next entry of GOPROXY for this where one has it not.
///
/// The rest of a checksum database is asked of the place that `supported` led to, once for a run
/// (`cmd/go/internal/modfetch.dbClient.initBase`).
const fn asks_each_entry(kind: Kind) -> bool {
    match kind {
        Kind::List | Kind::Latest | Kind::Info | Kind::Mod | Kind::Zip | Kind::Toolchain => true,
        Kind::SumdbSupported => true,
        Kind::Lookup | Kind::Tile | Kind::Discovery | Kind::Vcs | Kind::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a recording that was made with this GOPROXY, and in which nothing was found.
    fn meaning(goproxy: &str) -> Meaning<'static> {
        let goproxy = GoProxy::parse(goproxy);
        Meaning {
            rows: &[],
            routes: Routes::following(&[], goproxy.bases(), |_| None),
            faults: BTreeMap::new(),
            goproxy,
            found: OnceCell::new(),
        }
    }

    fn next(goproxy: &str, url: &str, status: u16) -> Option<String> {
        super::next(&GoProxy::parse(goproxy), &Location::of(url), status)
    }

    #[test]
    fn only_what_each_entry_is_asked_for_goes_on_to_the_next() {
        let meaning = meaning("https://goproxy.corp,direct");
        for (path, state, expected) in [
            ("x.example/y/@v/list", RowState::Ended, Some("direct")),
            ("x.example/y/@latest", RowState::Ended, Some("direct")),
            ("x.example/y/@v/v1.0.0.zip", RowState::Ended, Some("direct")),
            ("x.example/y/@v/v1.0.0.zip", RowState::Aborted, None),
            (
                "sumdb/sum.golang.org/supported",
                RowState::Ended,
                Some("direct"),
            ),
            (
                "sumdb/sum.golang.org/lookup/x.example/y@v1.0.0",
                RowState::Ended,
                None,
            ),
            ("sumdb/sum.golang.org/tile/8/0/001", RowState::Ended, None),
            ("elsewhere", RowState::Ended, None),
        ] {
            let row = Row {
                state,
                ..gone(path)
            };
            let listed = meaning.list(&row);
            assert_eq!(
                listed.next.as_deref(),
                expected,
                "{path} {}",
                listed.route.kind
            );
        }
    }

    #[test]
    fn a_path_above_or_below_a_module_that_was_found_is_a_probe() {
        let meaning = Meaning {
            found: BTreeSet::from(["x.example/y".to_owned()]).into(),
            ..meaning("https://goproxy.corp,direct")
        };
        for (path, outcome) in [
            ("x.example/y/@v/list", Outcome::Fallthrough),
            ("x.example/@v/list", Outcome::Probe),
            ("x.example/y/z/@v/list", Outcome::Probe),
            ("x.example/yz/@v/list", Outcome::Fallthrough),
            ("elsewhere", Outcome::Error),
        ] {
            let route = Route::of(
                &format!("https://goproxy.corp/{path}"),
                meaning.routes.bases(),
            );
            let row = gone(path);
            let goes_on = asks_each_entry(route.kind);
            assert_eq!(meaning.outcome(&row, &route, goes_on), outcome, "{path}");
        }
    }

    fn gone(path: &str) -> Row {
        Row::answered(1, &format!("https://goproxy.corp/{path}"), 404)
    }

    #[test]
    fn a_comma_passes_on_what_is_not_there_and_a_bar_every_error() {
        let url = "https://goproxy.corp/x/@v/list";
        let list = "https://goproxy.corp,https://proxy.golang.org|direct";
        assert_eq!(next(list, url, 404).as_deref(), Some("proxy.golang.org"));
        assert_eq!(next(list, url, 500), None);
        assert_eq!(next(list, url, 200), None);
        let url = "https://proxy.golang.org/x/@v/list";
        assert_eq!(next(list, url, 500).as_deref(), Some("direct"));
        assert_eq!(next("https://proxy.golang.org", url, 404), None);
        assert_eq!(next(list, "https://elsewhere.example/x", 404), None);
    }
}
