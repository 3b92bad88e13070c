//! Which rows answer what: maps from requests to rows, made once when a recording is opened.

use std::collections::{BTreeSet, HashMap};

use percent_encoding::percent_decode_str;

use super::condition::is_unconditional;
use super::without_secrets;
use crate::exchange::MadeBy;
use crate::gomod::{Base, Route, Tile, replay_key};
use crate::recording::Row;
use crate::recording::reader::RowState;

/// Why a row is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
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
    /// What a module request was answered with, by whichever host: whole answers and redirects.
    pub(super) modules: HashMap<String, Vec<usize>>,
    /// That there is no such module, said by a host. One that was not asked might have it, so this
    /// counts for others only where no host had it.
    pub(super) absent: HashMap<String, Vec<usize>>,
    pub(super) tiles: HashMap<(String, Coordinate), Vec<(Tile, usize)>>,
    /// Answers that a redirect led to, by what stands before the query: a signature is another
    /// each time.
    pub(super) by_path: HashMap<String, Vec<usize>>,
    pub(super) odd: HashMap<String, Odd>,
    pub(super) hosts: BTreeSet<String>,
}

/// Height, level and index of a tile, whatever its width.
pub(super) type Coordinate = (u8, u8, u64);

/// Host, once-decoded path and query without secrets.
pub(super) fn exact_key(method: &str, url: &str) -> String {
    format!("{method} {}", decoded(&without_secrets(url)))
}

/// Once-decoded: `!` arrives as `%21` in module paths and bare in lookups.
pub(super) fn decoded(url: &str) -> String {
    percent_decode_str(url).decode_utf8_lossy().into_owned()
}

/// A URL's decoded path with its host, which is what stays of a signed one.
pub(super) fn without_query(url: &str) -> String {
    decoded(url.split(['?', '#']).next().unwrap_or(url))
}

impl Index {
    /// `redirected` are the paths that some recorded answer led to, without their queries.
    pub(super) fn new(rows: &[Row], bases: &[Base], redirected: &BTreeSet<String>) -> Self {
        let mut index = Self::default();
        let rows = rows.iter().enumerate();
        for (number, row) in rows.filter(|(_, row)| !row.is_connect()) {
            index.add(number, row, bases, redirected);
        }
        index
    }

    /// What answers a module request, whichever host it is sent to.
    pub(super) fn of_module(&self, key: &str) -> Option<&Vec<usize>> {
        self.modules.get(key).or_else(|| self.absent.get(key))
    }

    fn add(&mut self, number: usize, row: &Row, bases: &[Base], redirected: &BTreeSet<String>) {
        let exact = exact_key(&row.method, &row.url);
        let odd = match (row.state, row.made_by) {
            (RowState::InFlight, _) => Some(Odd::InFlight),
            (RowState::Aborted, _) => Some(Odd::Aborted),
            (RowState::Ended, Some(MadeBy::Modtape)) => Some(Odd::Ours),
            (RowState::Ended, _) => None,
        };
        if let Some(odd) = odd {
            self.odd.insert(exact, odd);
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
            let slot = self.tiles.entry((sumdb, tile.coordinate())).or_default();
            slot.push((tile, number));
        }
        let path = without_query(&row.url);
        if row.method == "GET" && redirected.contains(&path) {
            self.by_path.entry(path).or_default().push(number);
        }
        self.exact.entry(exact).or_default().push(number);
    }
}
