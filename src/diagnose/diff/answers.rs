//! What a recording answers to each question that it was asked.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::diagnose::outcome::{Listed, Meaning};

use crate::exchange::{Digest, ExchangeId};
use crate::filter::Outcome;
use crate::gomod::{Kind, Route};
use crate::recording::reader::RowState;
use crate::recording::{Recording, Row};
use crate::redact::url_key;

/// An answer in a recording, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Answer {
    /// The run of the exchange, from 0.
    pub(crate) run: u32,
    /// The exchange.
    pub(crate) id: ExchangeId,
    /// Who answered, with the port where it is not the scheme's own.
    pub(crate) host: String,
    /// Status, if a head came.
    pub(crate) status: Option<u16>,
    /// `ok`, `probe`, `fallthrough`, `error`, `modtape`, `aborted` or `in-flight`.
    pub(crate) outcome: &'static str,
    /// Bytes of the body, content-encoded.
    pub(crate) body_bytes: u64,
    /// Its digest, if it is whole.
    pub(crate) body_sha256: Option<Digest>,
}

/// What became of one question: the exchange that counts.
pub(super) struct Found<'a> {
    /// The exchange.
    pub(super) row: &'a Row,
    /// Its meaning.
    pub(super) listed: Listed<'a>,
}

impl Found<'_> {
    /// Whether the go command could use it.
    pub(super) fn has_content(&self) -> bool {
        rank(self) == Rank::Content
    }

    /// What was asked for.
    pub(super) fn route(&self) -> &Route {
        &self.listed.route
    }

    /// As it is told.
    pub(super) fn answer(&self) -> Answer {
        Answer {
            run: self.row.run,
            id: self.row.id,
            host: self.listed.host.clone(),
            status: self.row.status,
            outcome: self.listed.outcome.name(),
            body_bytes: self.row.bytes,
            body_sha256: self.row.body,
        }
    }
}

/// How much an exchange says about what was asked for, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Nothing: it broke off, did not end, or modtape answered.
    Nothing,
    /// That it was refused.
    Refused,
    /// All.
    Content,
}

fn rank(found: &Found<'_>) -> Rank {
    match found.listed.outcome {
        Outcome::Ok if found.row.state == RowState::Ended => Rank::Content,
        Outcome::Ok | Outcome::Modtape | Outcome::Aborted | Outcome::InFlight => Rank::Nothing,
        Outcome::Probe | Outcome::Fallthrough | Outcome::Error => Rank::Refused,
    }
}

/// The exchanges that count, by what they ask for. A redirect is not among them, but what came of it.
pub(super) fn answers(recording: &Recording) -> BTreeMap<String, Found<'_>> {
    let meaning = Meaning::of(recording);
    let mut answers: BTreeMap<String, Found<'_>> = BTreeMap::new();
    for row in recording.rows() {
        if row.is_connect() || row.is_redirect() {
            continue;
        }
        let listed = meaning.list(row);
        let key = question(recording, row, &listed.route);
        let found = Found { row, listed };
        match answers.get(&key) {
            Some(known) if says_more(known, &found) => {}
            _ => drop(answers.insert(key, found)),
        }
    }
    answers
}

/// Whether `known` counts although `next` came later.
fn says_more(known: &Found<'_>, next: &Found<'_>) -> bool {
    let width = |found: &Found<'_>| found.route().tile.map_or(0, |tile| tile.width);
    (rank(known), width(known)) > (rank(next), width(next))
}

/// What a request asks for, whatever host it is sent to: of a tile its place in the log, since each
/// width of it is the beginning of a wider one.
fn question(recording: &Recording, row: &Row, route: &Route) -> String {
    let question = match (route.kind, &route.tile, &route.sumdb) {
        (Kind::Tile, Some(tile), Some(sumdb)) => {
            let (height, level, index) = (tile.height, tile.level, tile.index);
            format!("sumdb:{sumdb}/tile/{height}/{level}/{index}")
        }
        _ => route.key().unwrap_or_else(|| url_key(&row.url)),
    };
    if row.method == "GET" {
        return question;
    }
    // What is sent is a part of the question.
    let exchange = recording.exchange(row).ok();
    let sent = exchange
        .as_ref()
        .and_then(|exchange| exchange.request_body());
    let sent = sent.map_or_else(String::new, |body| body.sha256.to_string());
    format!("{} {question} {sent}", row.method)
}
