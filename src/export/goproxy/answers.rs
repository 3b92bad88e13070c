//! Which rows answer, and where their redirects lead within the recording.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::exchange::MadeBy;
use crate::gomod::Location;
use crate::recording::Row;
use crate::recording::reader::RowState;
use crate::redact::url_without_secrets;

/// How many redirects are followed one after another, as `net/http` does.
const STEPS: usize = 10;

/// The answers of a recording by what was asked.
pub(super) struct Answers<'a, L> {
    rows: &'a [Row],
    location: L,
    /// The last whole answer to each URL, else the last redirect; empty if none is redirected.
    by_url: HashMap<String, usize>,
}

/// Is it an answer of the origin's that a file or a redirect comes of?
pub(super) fn is_answer(row: &Row) -> bool {
    row.method == "GET"
        && row.state == RowState::Ended
        && row.made_by == Some(MadeBy::Origin)
        && (row.status == Some(200) || is_redirect(row))
}

/// RFC 9110 section 15.4: those that `net/http` follows.
fn is_redirect(row: &Row) -> bool {
    matches!(row.status, Some(301 | 302 | 303 | 307 | 308))
}

impl<'a, L: FnMut(&Row) -> Option<String>> Answers<'a, L> {
    /// `location` reads a redirect's `Location`.
    pub(super) fn new(rows: &'a [Row], location: L) -> Self {
        let answers = || rows.iter().enumerate().filter(|(_, row)| is_answer(row));
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

    /// The number of the row with the whole answer that row `number` leads to, or the host where the
    /// recording ends.
    pub(super) fn follow(&mut self, number: usize) -> Result<usize, String> {
        let mut at = number;
        for _ in 0..STEPS {
            let Some(row) = self.rows.get(at).filter(|row| is_redirect(row)) else {
                return Ok(at);
            };
            let to = (self.location)(row).and_then(|location| absolute(&row.url, location));
            let to = to.ok_or_else(|| String::from("a place that is no URL"))?;
            let found = self.by_url.get(&key(&to));
            at = *found.ok_or_else(|| Location::of(&to).host)?;
        }
        Err("itself".into())
    }
}

fn absolute(base: &str, location: String) -> Option<String> {
    // As it is: `url` would change how it is written.
    if location.contains("://") {
        return Some(location);
    }
    let joined = Url::parse(base).ok()?.join(&location).ok()?;
    Some(joined.into())
}

/// What is the same in a redirect and in the request that followed it: secrets may be marked by
/// different runs, and an escaped octet may be written bare.
fn key(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let url = url_without_secrets(url);
    percent_decode_str(&url).decode_utf8_lossy().into_owned()
}
