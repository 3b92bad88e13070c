//! Which whole answer a request led to, its redirects followed as far as the recording goes.

use std::collections::HashMap;

use super::{Faulty, is_answer};
use crate::gomod::{Location, REDIRECTS, redirect_target};
use crate::recording::Row;
use crate::redact::url_key;

/// The answers of a recording by what was asked.
pub(super) struct Answers<'a, L> {
    rows: &'a [Row],
    location: L,
    /// The last sound answer to each URL, else the last redirect; empty if none is redirected.
    by_url: HashMap<String, usize>,
}

impl<'a, L: FnMut(&Row) -> Option<String>> Answers<'a, L> {
    /// `location` reads a redirect's `Location`.
    pub(super) fn new(rows: &'a [Row], faulty: &Faulty, location: L) -> Self {
        let is_sound = |(_, row): &(usize, &Row)| is_answer(row, faulty);
        let answers = || rows.iter().enumerate().filter(is_sound);
        let mut by_url = HashMap::new();
        if answers().any(|(_, row)| row.is_redirect()) {
            let (whole, redirects): (Vec<_>, Vec<_>) =
                answers().partition(|(_, row)| !row.is_redirect());
            let ordered = redirects.into_iter().chain(whole);
            by_url.extend(ordered.map(|(number, row)| (url_key(&row.url), number)));
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
        for _ in 0..REDIRECTS {
            let Some(row) = self.rows.get(at).filter(|row| row.is_redirect()) else {
                return Ok(at);
            };
            let to = (self.location)(row).and_then(|location| redirect_target(&row.url, &location));
            let to = to.ok_or_else(|| String::from("redirected to an invalid URL"))?;
            let found = self.by_url.get(&url_key(&to));
            at = *found.ok_or_else(|| {
                let host = Location::of(&to).host;
                format!("redirected to {host}, which was not recorded")
            })?;
        }
        Err("redirected in a circle".into())
    }
}
