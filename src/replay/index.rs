//! Which rows answer what: maps from requests to rows, made once when a recording is opened.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::condition::is_unconditional;
use crate::exchange::MadeBy;
use crate::gomod::{Base, Coordinate, Route, Tile, canonical, replay_key};
use crate::recording::Row;
use crate::recording::reader::RowState;
use crate::redact::url_key;

/// Why an exchange is not replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It stopped on the way.
    Aborted,
    /// No end is recorded.
    InFlight,
    /// modtape answered it.
    Ours,
}

/// Rows by what they answer; numbers count in the recording's rows.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) exact: HashMap<String, Vec<usize>>,
    /// Those keys of `exact` whose URLs differ in what redaction hides.
    pub(super) mixed: HashSet<String>,
    /// What a module request was answered with, by whichever host: whole answers and redirects.
    pub(super) modules: HashMap<String, Vec<usize>>,
    /// That there is no such module, said by a host. One that was not asked might have it, so this
    /// counts for others only where no host had it.
    pub(super) absent: HashMap<String, Vec<usize>>,
    pub(super) tiles: HashMap<TileKey, Vec<TileRow>>,
    /// Answers that a redirect led to, by what stands before the query: a signature is another
    /// each time.
    pub(super) by_path: HashMap<String, Vec<usize>>,
    pub(super) unusable: HashMap<String, Unusable>,
    pub(super) hosts: BTreeSet<String>,
}

/// A tile of the log of a checksum database.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TileKey {
    /// The database's name.
    pub(super) sumdb: String,
    pub(super) coordinate: Coordinate,
}

/// A row that has a tile of a certain width.
#[derive(Debug)]
pub(super) struct TileRow {
    pub(super) tile: Tile,
    pub(super) row: usize,
}

/// Method and URL without secrets, in one spelling.
pub(super) fn exact_key(method: &str, url: &str) -> String {
    format!("{method} {}", url_key(url))
}

/// A URL up to its query, which is what stays of a signed one.
pub(super) fn without_query(url: &str) -> String {
    canonical(url.split(['?', '#']).next().unwrap_or(url))
}

impl Index {
    /// `redirected` are the paths that some recorded answer led to, without their queries.
    ///
    /// `has_credentials` looks into a row's request.
    pub(super) fn new(
        rows: &[Row],
        bases: &[Base],
        redirected: &BTreeSet<String>,
        has_credentials: impl Fn(&Row) -> bool,
    ) -> Self {
        let mut index = Self::default();
        let answers = rows.iter().enumerate().filter(|(_, row)| !row.is_connect());
        for (number, _) in answers {
            index.add(rows, number, bases, redirected);
        }
        index.prefer_authorised(rows, has_credentials);
        index
    }

    /// What answers a module request, whichever host it is sent to.
    pub(super) fn of_module(&self, key: &str) -> Option<&Vec<usize>> {
        self.modules.get(key).or_else(|| self.absent.get(key))
    }

    fn add(&mut self, rows: &[Row], number: usize, bases: &[Base], redirected: &BTreeSet<String>) {
        let row = &rows[number];
        let exact = exact_key(&row.method, &row.url);
        let unusable = match (row.state, row.made_by) {
            (RowState::InFlight, _) => Some(Unusable::InFlight),
            (RowState::Aborted, _) => Some(Unusable::Aborted),
            (RowState::Ended, Some(MadeBy::Modtape)) => Some(Unusable::Ours),
            (RowState::Ended, _) => None,
        };
        if let Some(unusable) = unusable {
            self.unusable.insert(exact, unusable);
            return;
        }
        let host = Base::of(&row.url).map(|base| base.host_name().to_owned());
        self.hosts.extend(host);
        let answers = match row.status {
            Some(404 | 410) => Some(&mut self.absent),
            Some(status @ 200..400) if is_unconditional(status) => Some(&mut self.modules),
            _ => None,
        };
        if let (Some(answers), Some(key)) = (answers, replay_key(&row.url, bases)) {
            let key = format!("{} {key}", row.method);
            answers.entry(key).or_default().push(number);
        }
        let route = Route::of(&row.url, bases);
        let tile = route.tile.filter(|_| row.method == "GET");
        if let (Some(tile), Some(sumdb), Some(200)) = (tile, route.sumdb, row.status) {
            let coordinate = tile.coordinate();
            let rows = self.tiles.entry(TileKey { sumdb, coordinate });
            rows.or_default().push(TileRow { tile, row: number });
        }
        let path = without_query(&row.url);
        if row.method == "GET" && redirected.contains(&path) {
            self.by_path.entry(path).or_default().push(number);
        }
        let answers = self.exact.entry(exact.clone()).or_default();
        let first = answers.first().and_then(|first| rows.get(*first));
        let is_other =
            |first: &Row| first.url != row.url && canonical(&first.url) != canonical(&row.url);
        if first.is_some_and(is_other) {
            self.mixed.insert(exact);
        }
        answers.push(number);
    }

    /// Leaves out the answers that a client without credentials got before one with credentials got
    /// another to the same request: a replay has neither credentials nor a reason to ask for them.
    fn prefer_authorised(&mut self, rows: &[Row], has_credentials: impl Fn(&Row) -> bool) {
        for answers in self.exact.values_mut().filter(|answers| answers.len() > 1) {
            let row = |number: &usize| rows.get(*number);
            let status =
                |number: &usize| row(number).and_then(|row| row.status).unwrap_or_default();
            let is_challenge = |number: &usize| matches!(status(number), 401 | 407);
            let is_allowed = |number: &usize| row(number).is_some_and(&has_credentials);
            let answered = answers
                .iter()
                .rposition(|number| !is_challenge(number) && is_unconditional(status(number)));
            // Some hosts deny that a private module is there.
            let is_found = |number: &usize| {
                matches!(status(number), 200..400) && is_unconditional(status(number))
            };
            let found = match answers.iter().any(|number| status(number) == 404) {
                true => answers
                    .iter()
                    .rposition(|number| is_found(number) && is_allowed(number)),
                false => None,
            };
            let mut place = 0..;
            answers.retain(|number| {
                let place = place.next();
                let is_outdone = is_challenge(number) && place < answered
                    || status(number) == 404 && place < found && !is_allowed(number);
                !is_outdone
            });
        }
    }
}
