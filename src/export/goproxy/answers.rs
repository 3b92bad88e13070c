//! Which rows answer, and where their redirects lead within the recording.

use std::collections::{HashMap, HashSet};

use crate::exchange::{ExchangeId, MadeBy};
use crate::gomod::{Location, redirect_target};
use crate::recording::Row;
use crate::recording::reader::RowState;
use crate::recording::reader::redirects::{STEPS, is_redirect, key};

/// The answers of a recording by what was asked.
pub(super) struct Answers<'a, L> {
    rows: &'a [Row],
    location: L,
    /// The last sound answer to each URL, else the last redirect; empty if none is redirected.
    by_url: HashMap<String, usize>,
}

/// Exchanges whose answers are not what they were asked for, by run and exchange.
pub(crate) type Faulty = HashSet<(u32, ExchangeId)>;

/// Is it an answer of the origin's that a file or a redirect comes of?
pub(super) fn is_answer(row: &Row, faulty: &Faulty) -> bool {
    row.method == "GET"
        && row.state == RowState::Ended
        && row.made_by == Some(MadeBy::Origin)
        && (row.status == Some(200) || is_redirect(row))
        && !faulty.contains(&(row.run, row.id))
}

impl<'a, L: FnMut(&Row) -> Option<String>> Answers<'a, L> {
    /// `location` reads a redirect's `Location`.
    pub(super) fn new(rows: &'a [Row], faulty: &Faulty, location: L) -> Self {
        let is_sound = |(_, row): &(usize, &Row)| is_answer(row, faulty);
        let answers = || rows.iter().enumerate().filter(is_sound);
        let mut by_url = HashMap::new();
        if answers().any(|(_, row)| is_redirect(row)) {
            let (whole, redirects): (Vec<_>, Vec<_>) =
                answers().partition(|(_, row)| !is_redirect(row));
            let ordered = redirects.into_iter().chain(whole);
            by_url.extend(ordered.map(|(number, row)| (key(&row.url), number)));
        }
        Self {
            rows,
            location,
            by_url,
        }
    }

    /// The number of the row with the whole answer that row `number` leads to, or how it leads nowhere.
    pub(super) fn follow(&mut self, number: usize) -> Result<usize, String> {
        let mut at = number;
        for _ in 0..STEPS {
            let Some(row) = self.rows.get(at).filter(|row| is_redirect(row)) else {
                return Ok(at);
            };
            let to = (self.location)(row).and_then(|location| redirect_target(&row.url, &location));
            let to = to.ok_or_else(|| String::from("redirected to an invalid URL"))?;
            let found = self.by_url.get(&key(&to));
            at = *found.ok_or_else(|| {
                let host = Location::of(&to).host;
                format!("redirected to {host}, which was not recorded")
            })?;
        }
        Err("redirected in a circle".into())
    }
}
