//! Which rows answer what: maps from requests to rows, made once when a recording is opened.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::condition::is_unconditional;
use crate::exchange::MadeBy;
use crate::gomod::{Base, Coordinate, Route, Tile, canonical, replay_key};
use crate::recording::Row;
use crate::recording::format::Fault;
use crate::recording::reader::RowState;
use crate::redact::url_key;

/// Why an exchange is not replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It stopped on the way.
    Aborted,
    /// No end is recorded.
    InFlight,
    /// modtape answered it.
    Ours,
    /// It is not what it was asked for: why.
    Faulty(String),
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
    /// `redirected` are the paths that some recorded answer led to, without their queries. What is among the
    /// `faults` answers nothing.
    ///
    /// `has_credentials` looks into a row's request.
    pub(super) fn new(
        rows: &[Row],
        bases: &[Base],
        redirected: &BTreeSet<String>,
        faults: &[Fault],
        has_credentials: impl Fn(&Row) -> bool,
    ) -> Self {
        let mut index = Self::default();
        let faults = faults.iter();
        let faults: HashMap<_, &str> = faults
            .map(|fault| ((fault.run, fault.exchange), &*fault.why))
            .collect();
        let answers = rows.iter().enumerate().filter(|(_, row)| !row.is_connect());
        for (number, row) in answers {
            match faults.get(&(row.run, row.id)) {
                Some(why) => index.add_faulty(row, why, bases),
                None => index.add(rows, number, bases, redirected),
            }
        }
        index.prefer_authorised(rows, has_credentials);
        index
    }

    /// Leaves one answer to each request that has one among `settled`, the last of those.
    pub(super) fn keep_last(&mut self, settled: &HashSet<usize>) {
        for answers in self.exact.values_mut().chain(self.modules.values_mut()) {
            if let Some(last) = answers.iter().rfind(|number| settled.contains(number)) {
                *answers = vec![*last];
            }
        }
    }

    /// What answers a module request, whichever host it is sent to.
    pub(super) fn of_module(&self, key: &str) -> Option<&Vec<usize>> {
        self.modules.get(key).or_else(|| self.absent.get(key))
    }

    /// Notes why an answer is not given. That another host had none does not count in its place: this one had
    /// something.
    fn add_faulty(&mut self, row: &Row, why: &str, bases: &[Base]) {
        let exact = exact_key(&row.method, &row.url);
        self.unusable
            .insert(exact, Unusable::Faulty(why.to_owned()));
        if let Some(key) = replay_key(&row.url, bases) {
            let key = format!("{} {key}", row.method);
            self.modules.entry(key).or_default();
        }
        let host = Base::of(&row.url).map(|base| base.host_name().to_owned());
        self.hosts.extend(host);
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
            put(answers.entry(key).or_default(), rows, number);
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
            put(self.by_path.entry(path).or_default(), rows, number);
        }
        let answers = self.exact.entry(exact.clone()).or_default();
        // Each run redacts with a key of its own.
        let was_replaced = put(answers, rows, number);
        if was_replaced {
            self.mixed.remove(&exact);
        }
        let first = answers.first().and_then(|first| rows.get(*first));
        let is_other =
            |first: &Row| first.url != row.url && canonical(&first.url) != canonical(&row.url);
        if first.is_some_and(is_other) && answers.last() == Some(&number) {
            self.mixed.insert(exact);
        }
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

/// Adds an answer behind those that are there. One of a later run takes the place of those of earlier runs, which
/// asked before it, unless it has nothing where they had something: then it is left out. Returns true if it took
/// their place.
pub(super) fn put(answers: &mut Vec<usize>, rows: &[Row], number: usize) -> bool {
    let row = |number: usize| rows.get(number);
    let is_found = |row: &Row| matches!(row.status, Some(200..400));
    let last = answers.last().and_then(|last| row(*last));
    let is_later = row(number)
        .zip(last)
        .is_some_and(|(row, last)| row.run != last.run);
    if is_later {
        let had = answers
            .iter()
            .filter_map(|number| row(*number))
            .any(is_found);
        if had && !row(number).is_some_and(is_found) {
            return false;
        }
        answers.clear();
    }
    answers.push(number);
    is_later
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which statuses answer, of a list with these runs and statuses.
    fn answering(asked: &[(u32, u16)]) -> Vec<u16> {
        let url = "https://proxy.golang.org/a.b/c/@v/list";
        let rows: Vec<Row> = (1..)
            .zip(asked)
            .map(|(id, (run, status))| Row {
                run: *run,
                ..Row::answered(id, url, *status)
            })
            .collect();
        let index = Index::new(&rows, &[], &BTreeSet::new(), &[], |_| false);
        let answers = &index.exact[&exact_key("GET", url)];
        answers
            .iter()
            .filter_map(|number| rows[*number].status)
            .collect()
    }

    #[test]
    fn a_later_run_takes_the_place_of_earlier_ones_unless_it_was_refused_what_they_had() {
        assert_eq!(answering(&[(0, 200), (0, 201)]), [200, 201]);
        assert_eq!(answering(&[(0, 200), (0, 201), (1, 202)]), [202]);
        assert_eq!(answering(&[(0, 404), (1, 200), (1, 404)]), [200, 404]);
        assert_eq!(answering(&[(0, 200), (1, 500), (1, 404)]), [200]);
        assert_eq!(answering(&[(0, 200), (1, 500), (2, 203)]), [203]);
        assert_eq!(answering(&[(0, 500), (1, 404)]), [404]);
    }

    #[test]
    fn marks_of_two_runs_are_no_two_secrets() {
        let url = |mark| format!("https://proxy.golang.org/a?token=redacted:{mark}");
        let row = |id, run, mark| Row {
            run,
            ..Row::answered(id, &url(mark), 200)
        };
        let (one, two) = ("0123456789abcdef", "fedcba9876543210");
        let mixed = |rows: &[Row]| {
            !Index::new(rows, &[], &BTreeSet::new(), &[], |_| false)
                .mixed
                .is_empty()
        };
        assert!(mixed(&[row(1, 0, one), row(2, 0, two)]));
        assert!(!mixed(&[row(1, 0, one), row(2, 1, two)]));
        assert!(!mixed(&[row(1, 0, one), row(2, 0, two), row(3, 1, one)]));
    }
}
