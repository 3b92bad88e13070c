//! Zips that were asked for and that no answer holds, and why.

use std::collections::BTreeMap;

use super::Catalog;
use super::path::path;
use crate::exchange::{ExchangeId, MadeBy};
use crate::gomod::{Kind, Location, Route};
use crate::recording::Row;
use crate::recording::reader::RowState;

/// A zip that was asked for and has no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// What was asked for: `zip golang.org/x/net v0.34.0`, or the path of an unknown URL.
    pub(crate) what: String,
    /// Who was asked last.
    pub(crate) host: String,
    /// The exchange.
    pub(crate) id: ExchangeId,
    /// Why there is no file.
    pub(crate) why: String,
}

impl Catalog {
    /// Zips that were asked for and have no file, each once, by path; without those whose answer was
    /// whole, but faulty or unreadable. `route` says what a row asked for, `broke_off` why an answer did.
    pub(crate) fn zips_left_out(
        &self,
        rows: &[Row],
        route: impl Fn(&Row) -> Route,
        mut broke_off: impl FnMut(&Row) -> Option<String>,
    ) -> Vec<LeftOut> {
        let mut found = BTreeMap::new();
        for row in rows.iter().filter(|row| row.method == "GET") {
            let route = route(row);
            let path = match (route.kind, path(&route)) {
                (Kind::Zip | Kind::Toolchain, Some(Ok(path))) => path,
                (Kind::Other, _) if route.path.ends_with(".zip") => row.url.clone(),
                _ => continue,
            };
            if self.has(&path) {
                continue;
            }
            let Some(why) = self.why_not(row, &path, route.kind, &mut broke_off) else {
                // It was asked again, and there is more to say of that.
                found.remove(&path);
                continue;
            };
            let left_out = LeftOut {
                what: route.what(),
                host: Location::of(&row.url).host,
                id: row.id,
                why,
            };
            found.insert(path, left_out);
        }
        found.into_values().collect()
    }

    fn why_not(
        &self,
        row: &Row,
        path: &str,
        kind: Kind,
        broke_off: &mut impl FnMut(&Row) -> Option<String>,
    ) -> Option<String> {
        let status = row.status.unwrap_or_default();
        Some(match (row.state, row.made_by) {
            (RowState::InFlight, _) => "it was in flight when the recorder ended".into(),
            (RowState::Aborted, _) => match broke_off(row) {
                Some(why) => format!("it broke off: {why}"),
                None => "it broke off".into(),
            },
            (RowState::Ended, Some(MadeBy::Modtape)) => {
                format!("modtape itself answered, with status {status}")
            }
            _ if row.is_redirect() => match self.astray.get(path) {
                Some(how) => format!("it was {how}"),
                None => "it was redirected, and what came of that is not here".into(),
            },
            _ if status != 200 => format!("status {status}"),
            _ if kind == Kind::Other => "no module has a zip at such a URL".into(),
            _ => return None,
        })
    }
}
