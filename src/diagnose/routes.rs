//! What each exchange of a recording asks for: by its own URL, or by the URL whose redirect it
//! followed.

use std::collections::{HashMap, HashSet};

use crate::exchange::ExchangeId;
use crate::gomod::{self, Base, Kind, REDIRECTS, Route, redirect_target};
use crate::recording::{Recording, Row};
use crate::redact::url_key;

/// What the rows of a recording ask for.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// The places of the recorded GOPROXY and GOSUMDB.
    bases: Vec<Base>,
    /// The URL that was asked first, by run and exchange that came of its redirect.
    first: HashMap<(u32, ExchangeId), String>,
    /// Redirects that come back to where they were, or are too many to be followed.
    loops: Vec<Loop>,
}

/// Redirects that lead nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loop {
    /// The run of the exchange that was asked first.
    pub(crate) run: u32,
    /// That exchange.
    pub(crate) id: ExchangeId,
    /// Its URL.
    pub(crate) url: String,
    /// How many redirects there were.
    pub(crate) redirects: usize,
}

/// Exchanges each of which was redirected to the next.
struct Chain<'a> {
    first: &'a Row,
    keys: HashSet<String>,
    redirects: usize,
    is_loop: bool,
}

impl Routes {
    /// Those of a recording, by the settings that it was made with.
    pub(crate) fn of(recording: &Recording) -> Self {
        let bases = gomod::bases(&recording.manifest().go_env);
        let location = |row: &Row| recording.answer_field(row, "location");
        Self::following(recording.rows(), bases, location)
    }

    /// Follows the redirects of `rows`, which are in order. `location` reads a redirect's `Location`.
    pub(super) fn following(
        rows: &[Row],
        bases: Vec<Base>,
        mut location: impl FnMut(&Row) -> Option<String>,
    ) -> Self {
        let mut found = Self {
            bases,
            ..Self::default()
        };
        let mut chains: Vec<Chain<'_>> = Vec::new();
        // The chain that leads to a URL, by its key.
        let mut leads: HashMap<String, usize> = HashMap::new();
        for row in rows {
            let is_redirect = row.is_redirect();
            if leads.is_empty() && !is_redirect {
                continue;
            }
            let own = url_key(&row.url);
            let chain = leads.get(&own).copied();
            if let Some(chain) = chain {
                let first = chains[chain].first.url.clone();
                found.first.insert((row.run, row.id), first);
            }
            let target = is_redirect.then(|| location(row)).flatten();
            let Some(target) = target.and_then(|to| redirect_target(&row.url, &to)) else {
                continue;
            };
            let chain = chain.unwrap_or_else(|| {
                chains.push(Chain {
                    first: row,
                    keys: HashSet::from([own]),
                    redirects: 0,
                    is_loop: false,
                });
                chains.len() - 1
            });
            let target = url_key(&target);
            let links = &mut chains[chain];
            links.redirects += 1;
            links.is_loop |= links.redirects >= REDIRECTS || !links.keys.insert(target.clone());
            leads.insert(target, chain);
        }
        let loops = chains.iter().filter(|chain| chain.is_loop);
        let loops = loops.map(|chain| Loop {
            run: chain.first.run,
            id: chain.first.id,
            url: chain.first.url.clone(),
            redirects: chain.redirects,
        });
        found.loops.extend(loops);
        found
    }

    /// What a row asks for.
    pub(crate) fn route(&self, row: &Row) -> Route {
        let own = Route::of(&row.url, &self.bases);
        if own.kind != Kind::Other {
            return own;
        }
        match self.first.get(&(row.run, row.id)) {
            Some(first) => match Route::of(first, &self.bases) {
                Route {
                    kind: Kind::Other, ..
                } => own,
                route => route,
            },
            None => own,
        }
    }

    /// The places of the recorded GOPROXY and GOSUMDB.
    pub(crate) fn bases(&self) -> &[Base] {
        &self.bases
    }

    /// Redirects that come back to where they were, or are too many to be followed.
    pub(crate) fn loops(&self) -> &[Loop] {
        &self.loops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZIP: &str = "https://proxy.golang.org/a.b/c/@v/v1.0.0.zip";

    #[test]
    fn what_a_redirect_led_to_is_of_the_module_that_was_asked_for() {
        let rows = [
            Row::answered(1, ZIP, 302),
            Row::answered(2, "https://storage.googleapis.com/x", 200),
            Row::answered(3, "https://proxy.golang.org/d.e/moved/@v/list", 301),
            Row::answered(4, "https://proxy.golang.org/there", 307),
            Row::answered(
                5,
                "https://store.example/b%20c?Signature=redacted:0123456789abcdef",
                200,
            ),
            Row::answered(6, "https://store.example/other", 200),
        ];
        let routes = Routes::following(&rows, Vec::new(), |row| {
            let to = match row.id {
                1 => "https://storage.googleapis.com/x#fragment",
                3 => "/there",
                _ => "https://store.example/b c?Signature=redacted:fedcba9876543210",
            };
            Some(to.to_owned())
        });
        let what: Vec<_> = rows.iter().map(|row| routes.route(row).what()).collect();
        assert_eq!(
            what,
            [
                "zip a.b/c v1.0.0",
                "zip a.b/c v1.0.0",
                "list d.e/moved",
                "list d.e/moved",
                "list d.e/moved",
                "/other"
            ]
        );
        assert_eq!(routes.loops(), []);
    }

    #[test]
    fn redirects_that_lead_nowhere_are_loops() {
        let other = "https://proxy.golang.org/other";
        let rows = [
            Row::answered(1, ZIP, 302),
            Row::answered(2, other, 302),
            Row::answered(3, ZIP, 302),
        ];
        let to = |row: &Row| Some(if row.url == ZIP { other } else { ZIP }.to_owned());
        let looped = |redirects| Loop {
            run: 0,
            id: 1,
            url: ZIP.into(),
            redirects,
        };
        assert_eq!(
            Routes::following(&rows, Vec::new(), to).loops(),
            [looped(3)]
        );
        // A query that grows makes each URL another one.
        let rows: Vec<_> = (0..REDIRECTS as u64)
            .map(|n| {
                Row::answered(
                    n + 1,
                    &if n == 0 {
                        ZIP.into()
                    } else {
                        format!("{other}?{n}")
                    },
                    302,
                )
            })
            .collect();
        let to = |row: &Row| Some(format!("/other?{}", row.id));
        assert_eq!(
            Routes::following(&rows, Vec::new(), to).loops(),
            [looped(REDIRECTS)]
        );
        assert_eq!(Routes::following(&rows[1..], Vec::new(), to).loops(), []);
    }
}
