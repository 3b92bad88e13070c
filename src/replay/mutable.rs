//! Which recorded answers may be others today, and when they were given.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::index::exact_key;
use crate::exchange::MadeBy;
use crate::gomod::{Base, Kind, Route, is_canonical_version};
use crate::recording::reader::RowState;
use crate::recording::{Recording, Row};

/// A request, as far as its answer may change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Its method.
    pub(crate) method: &'a str,
    /// Its URL, absolute.
    pub(crate) url: &'a str,
    /// What it sends.
    pub(crate) body: &'a [u8],
}

/// Whether the answer to a request may be another tomorrow, if it had this status today.
///
/// Files of a version, records of the checksum database and its tiles stay as they are, and so do redirects to
/// them. Lists, the newest version, what a branch or a tag leads to, and what a repository has may change; and
/// what is not there today may be there tomorrow.
pub(crate) fn may_change(asked: Asked<'_>, status: u16, bases: &[Base]) -> bool {
    if !matches!(status, 200..400) {
        return true;
    }
    let route = Route::of(asked.url, bases);
    match route.kind {
        Kind::List | Kind::Latest | Kind::Discovery => true,
        Kind::Info => !route.version.as_deref().is_some_and(is_canonical_version),
        // What is fetched is named by its digests; what is there to be fetched is not.
        Kind::Vcs => {
            let lists_refs = |body: &[u8]| body.windows(LS_REFS.len()).any(|part| part == LS_REFS);
            asked.method != "POST" || lists_refs(asked.body)
        }
        Kind::Mod | Kind::Zip | Kind::Toolchain | Kind::Lookup | Kind::Tile => false,
        Kind::SumdbSupported | Kind::Other => false,
    }
}

/// Whether a status says that somebody failed, and nothing of what was asked for.
pub(crate) const fn is_failure(status: u16) -> bool {
    matches!(status, 429 | 500..)
}

/// The command of version 2 of git's protocol that lists refs (`gitprotocol-v2(5)`).
const LS_REFS: &[u8] = b"command=ls-refs";

/// When the recorded answers were given that may be others today.
#[derive(Debug, Default)]
pub(crate) struct Given(HashMap<String, SystemTime>);

impl Given {
    /// Those of a recording.
    pub(crate) fn of(recording: &Recording, bases: &[Base]) -> Self {
        let starts: Vec<Option<SystemTime>> = recording
            .runs()
            .iter()
            .map(|run| {
                OffsetDateTime::parse(&run.wall, &Rfc3339)
                    .ok()
                    .map(SystemTime::from)
            })
            .collect();
        let when = |row: &Row| {
            let start = (*starts.get(usize::try_from(row.run).ok()?)?)?;
            start.checked_add(Duration::from_micros(row.until().as_micros()))
        };
        let mut given = HashMap::new();
        let rows = recording.rows().iter();
        let is_answer = |row: &&Row| {
            let is_whole = row.state == RowState::Ended && row.made_by == Some(MadeBy::Origin);
            is_whole && !row.status.is_none_or(is_failure)
        };
        for row in rows.filter(is_answer) {
            let asked = Asked {
                method: &row.method,
                url: &row.url,
                body: LS_REFS,
            };
            if !may_change(asked, row.status.unwrap_or_default(), bases) {
                continue;
            }
            if let Some(at) = when(row) {
                let last = given.entry(key(&row.method, &row.url, bases)).or_insert(at);
                *last = (*last).max(at);
            }
        }
        Self(given)
    }

    /// When the last answer was given, by whichever host of the recorded GOPROXY; `None` if that is not known.
    pub(crate) fn when(&self, asked: Asked<'_>, bases: &[Base]) -> Option<SystemTime> {
        self.0.get(&key(asked.method, asked.url, bases)).copied()
    }
}

fn key(method: &str, url: &str, bases: &[Base]) -> String {
    match Route::of(url, bases).key() {
        Some(key) => format!("{method} {key}"),
        None => exact_key(method, url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_name_for_ever_stays_and_what_is_newest_changes() {
        let may_change = |path: &str, status| {
            let url = format!("https://proxy.golang.org/{path}");
            let asked = Asked {
                method: "GET",
                url: &url,
                body: b"",
            };
            may_change(asked, status, &[])
        };
        for path in [
            "a.b/c/@v/v1.0.0.info",
            "a.b/c/@v/v1.0.0.mod",
            "a.b/c/@v/v1.0.0.zip",
            "sumdb/sum.golang.org/lookup/a.b/c@v1.0.0",
            "sumdb/sum.golang.org/tile/8/0/001.p/3",
            "sumdb/sum.golang.org/supported",
        ] {
            assert!(!may_change(path, 200) && !may_change(path, 302), "{path}");
            assert!(may_change(path, 404) && may_change(path, 503), "{path}");
        }
        for path in [
            "a.b/c/@v/list",
            "a.b/c/@latest",
            "a.b/c/@v/main.info",
            "c?go-get=1",
        ] {
            assert!(may_change(path, 200), "{path}");
        }
    }

    #[test]
    fn what_a_repository_has_changes_and_what_is_fetched_of_it_does_not() {
        let url = "https://git.example/c.git/git-upload-pack";
        let of = |body: &[u8]| {
            let asked = Asked {
                method: "POST",
                url,
                body,
            };
            may_change(asked, 200, &[])
        };
        assert!(of(b"0014command=ls-refs\n0000"));
        assert!(!of(b"0011command=fetch0001000dwant 12\n0000"));
    }
}
