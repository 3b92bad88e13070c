//! The rules: one file a cause, each a function from a [`Case`] to what it found.
//!
//! A rule says which pieces of the timeline its cause explains. What they cost, which of two causes
//! that explain the same seconds stays, and the order, are decided here for all of them.

mod asked_twice;
mod bandwidth;
mod broken_off;
mod cache_lock;
mod certificate;
mod checksum_database;
mod cold_module;
mod comma;
mod credentials;
mod damaged_cache;
mod database_timeout;
mod dead;
mod dead_connection;
mod dead_entry;
mod direct;
mod distance;
mod failed_upstream;
pub(crate) use failed_upstream::tells_of_failure;
mod go_sum;
mod handshake;
mod handshakes;
mod ipv6;
mod large_zip;
mod looks;
mod mirrors;
mod name_lookup;
mod no_request;
mod nothing_recorded;
mod old_go;
mod own_time;
mod parent_proxy;
mod patterns;
mod private_module;
mod probes;
mod processors;
mod rate_limit;
mod redirect_target;
mod refusals;
mod renamed_module;
mod request_loop;
mod retracted;
mod serial_chain;
mod silence;
mod silent;
mod slow;
mod ssh_master;
mod terminal_prompt;
mod toolchain;
mod unknown_version;
mod unneeded_zips;
mod unpacking;
mod unpruned_graph;
mod unreachable;
mod unwritable_cache;
mod version_list;
mod wrong_content;

use std::cell::LazyCell;

use super::case::Case;
use super::estimate::{Change, Schedule};
use super::finding::{Confidence, Evidence, Finding, SHOWN, Severity};
use super::timeline::{PARTS, sum};
use crate::words::count;

/// A rule.
pub(crate) struct Rule {
    /// Stable.
    pub(crate) code: &'static str,
    /// The cause in a few words, for lists of rules.
    pub(crate) name: &'static str,
    /// What `modtape help CODE` says: plain ASCII, at most 80 columns.
    pub(crate) page: &'static str,
    /// What of it there is in a recording.
    find: fn(&Case<'_>) -> Vec<Found>,
}

/// A rule of the file of this name, whose page lies beside it.
macro_rules! rule {
    ($code:literal, $file:ident, $name:literal) => {
        Rule {
            code: $code,
            name: $name,
            page: include_str!(concat!(stringify!($file), ".txt")),
            find: $file::find,
        }
    };
}

/// The rules, the more specific before the more general: of two that explain the same seconds the
/// earlier stays.
pub(crate) const RULES: &[Rule] = &[
    rule!("MT104", certificate, "a certificate is not accepted"),
    rule!("MT105", parent_proxy, "the HTTP proxy on the way refuses"),
    rule!("MT103", ipv6, "IPv6 leads nowhere, IPv4 works"),
    rule!(
        "MT110",
        redirect_target,
        "a redirect leads nowhere, or in a loop"
    ),
    rule!(
        "MT112",
        checksum_database,
        "the checksum database cannot be reached, or is slow"
    ),
    rule!("MT102", name_lookup, "a name lookup fails, or is slow"),
    rule!("MT116", dead_entry, "a dead GOPROXY entry before a bar"),
    rule!("MT107", handshake, "the TLS handshake fails, or is slow"),
    rule!(
        "MT125",
        database_timeout,
        "a proxy gives up on the checksum database"
    ),
    rule!(
        "MT118",
        old_go,
        "a go line that the Go that runs is too old for"
    ),
    rule!(
        "MT123",
        failed_upstream,
        "a failed fetch of a proxy's, dressed as 404"
    ),
    rule!("MT117", patterns, "a pattern of GOPRIVATE matches nothing"),
    rule!(
        "MT114",
        private_module,
        "a private module asked of a public proxy"
    ),
    rule!("MT115", credentials, "credentials are missing, or refused"),
    rule!("MT111", comma, "a GOPROXY entry failed before a comma"),
    rule!("MT126", probes, "slow answers to prefix probes"),
    rule!("MT127", version_list, "slow lists of versions"),
    rule!("MT121", cold_module, "a proxy had to fetch a version first"),
    rule!("MT108", dead_connection, "an HTTP/2 connection is dead"),
    rule!("MT101", silence, "a server does not answer"),
    rule!("MT109", broken_off, "a response was broken off"),
    rule!(
        "MT122",
        rate_limit,
        "too many requests, a failing server, an odd status"
    ),
    rule!(
        "MT124",
        unknown_version,
        "a version that a proxy does not know"
    ),
    rule!("MT106", unreachable, "a host cannot be reached, or late"),
    rule!(
        "MT301",
        go_sum,
        "go.sum, checksum database and server disagree"
    ),
    rule!("MT302", mirrors, "two servers disagree on a module version"),
    rule!(
        "MT307",
        unwritable_cache,
        "the module cache is full, or cannot be written"
    ),
    rule!("MT306", damaged_cache, "the module cache is damaged"),
    rule!("MT305", renamed_module, "a module that was renamed"),
    rule!(
        "MT304",
        wrong_content,
        "an answer is not what was asked for"
    ),
    rule!(
        "MT208",
        terminal_prompt,
        "ssh, git or a helper asks its user"
    ),
    rule!(
        "MT207",
        cache_lock,
        "another process holds a lock of the module cache"
    ),
    rule!(
        "MT209",
        ssh_master,
        "a leftover ssh master keeps a pipe open"
    ),
    rule!("MT206", no_request, "the time without a request"),
    rule!("MT210", unpacking, "zips are unpacked and hashed"),
    rule!("MT113", direct, "modules came from their repositories"),
    rule!("MT131", toolchain, "a Go toolchain was downloaded"),
    rule!("MT204", handshakes, "a connection for each request"),
    rule!("MT132", large_zip, "a large zip"),
    rule!("MT205", bandwidth, "the line is the limit"),
    rule!("MT211", request_loop, "the same requests again and again"),
    rule!("MT134", unpruned_graph, "a module graph that is not pruned"),
    rule!("MT902", own_time, "modtape itself was slow"),
    rule!("MT201", processors, "GOMAXPROCS bounds the go command"),
    rule!("MT203", distance, "the host is far away"),
    rule!(
        "MT202",
        serial_chain,
        "requests had to wait for one another"
    ),
    rule!("MT128", asked_twice, "refusals are asked for twice"),
    rule!(
        "MT303",
        retracted,
        "a version that was retracted, or a deprecated module"
    ),
    rule!("MT133", unneeded_zips, "zips that no build uses"),
    rule!("MT901", nothing_recorded, "nothing was recorded"),
];

/// What a rule found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// How bad it is.
    pub(super) severity: Severity,
    /// One sentence: the cause, with host, module or process, and its number.
    pub(super) title: String,
    /// How sure it is.
    pub(super) confidence: Confidence,
    /// What shows it, the most telling first; never empty.
    pub(super) evidence: Vec<Evidence>,
    /// What to try, and what that will do.
    pub(super) hint: Option<String>,
    /// The seconds that it explains.
    pub(super) explains: Explained,
}

/// Parts of the wall time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Explained {
    /// Pieces of the timeline, as indices.
    pub(super) pieces: Vec<usize>,
    /// Times when no request was in flight: from, to.
    pub(super) idle: Vec<(u64, u64)>,
    /// True if nothing came in them, to the end: a hang.
    pub(super) is_stall: bool,
    /// What would be different without the cause, if that is a matter of requests alone.
    pub(super) change: Option<Change>,
}

impl Explained {
    /// These pieces; one that is named twice counts once.
    pub(super) fn pieces(mut pieces: Vec<usize>) -> Self {
        pieces.sort_unstable();
        pieces.dedup();
        Self {
            pieces,
            ..Self::default()
        }
    }

    /// These parts of the time without a request.
    pub(super) fn idle(idle: Vec<(u64, u64)>) -> Self {
        Self {
            idle,
            ..Self::default()
        }
    }

    /// The same, in which nothing came to the end if `is_stall`.
    pub(super) fn hung(self, is_stall: bool) -> Self {
        Self { is_stall, ..self }
    }

    /// The same, of which an estimate can say what the run would have taken with this change.
    pub(super) fn but_for(self, change: Change) -> Self {
        Self {
            change: Some(change),
            ..self
        }
    }
}

/// `, and 3 more requests`; empty if there are none.
fn and_more(requests: usize) -> String {
    match requests {
        0 => String::new(),
        more => format!(", and {}", count(more as u64, "more request")),
    }
}

/// The code of a note that guesses at why there was no request.
const NOTHING_RECORDED: &str = "MT901";

/// A finding that costs less is not worth a line, microseconds; nor is one that costs less than this
/// part of the wall time.
const LEAST_US: u64 = 500_000;
const LEAST_PART: u64 = 20;

/// What all rules find, the worst first.
pub(crate) fn findings(case: &Case<'_>) -> Vec<Finding> {
    let mut told = Told::of(case);
    let found = RULES.iter().flat_map(|rule| {
        let found = (rule.find)(case).into_iter();
        found.map(move |found| (rule.code, found))
    });
    let (notes, causes): (Vec<_>, Vec<_>) =
        found.partition(|(_, found)| found.severity == Severity::Note);
    let mut findings = Vec::new();
    let mut small = Vec::new();
    let schedule = LazyCell::new(|| Schedule::of(case));
    let estimate = |change: &Change| schedule.as_ref()?.wall_us(change);
    for (code, found) in causes {
        let Some(cost_us) = told.claim(&found) else {
            continue;
        };
        let is_worth_it =
            cost_us >= LEAST_US && cost_us >= case.timeline.wall_us.div_ceil(LEAST_PART);
        if found.severity == Severity::Problem || is_worth_it {
            told.take(&found.explains);
            let estimate_us = found.explains.change.as_ref().and_then(estimate);
            findings.push(Finding {
                estimate_us,
                ..finding(code, found, cost_us)
            });
        } else if found.confidence == Confidence::Certain {
            // It is true, and cost nothing to speak of.
            let severity = Severity::Note;
            small.push((code, Found { severity, ..found }));
        }
    }
    // Where the command was kept waiting, that is why it asked for nothing.
    let is_told = !findings.is_empty();
    let notes = notes
        .into_iter()
        .filter(|(code, _)| !(is_told && *code == NOTHING_RECORDED));
    // A note takes no time away from a cause, nor a cause from a note.
    let untold = Told::of(case);
    for (code, found) in notes.chain(small) {
        let cost_us = untold.claim(&found).unwrap_or(0);
        findings.push(finding(code, found, cost_us));
    }
    findings.sort_by(|a, b| {
        let rank = |finding: &Finding| (finding.severity, std::cmp::Reverse(finding.cost_us));
        let of_rank = rank(a).cmp(&rank(b));
        of_rank.then_with(|| (a.code, &a.title).cmp(&(b.code, &b.title)))
    });
    findings
}

fn finding(code: &'static str, found: Found, cost_us: u64) -> Finding {
    let evidence_total = found.evidence.len();
    let mut evidence = found.evidence;
    evidence.truncate(SHOWN);
    Finding {
        code,
        severity: found.severity,
        title: found.title,
        cost_us,
        is_stall: found.explains.is_stall,
        confidence: found.confidence,
        evidence,
        evidence_total,
        hint: found.hint,
        estimate_us: None,
        help: code,
    }
}

/// Which seconds are explained already.
struct Told<'a, 'r> {
    case: &'a Case<'r>,
    pieces: Vec<bool>,
    idle: Vec<(u64, u64)>,
}

impl<'a, 'r> Told<'a, 'r> {
    fn of(case: &'a Case<'r>) -> Self {
        Self {
            case,
            pieces: vec![false; case.timeline.pieces.len()],
            idle: Vec::new(),
        }
    }

    /// What a finding costs of the time that no other explains, microseconds; `None` if others explain
    /// nearly all of it.
    fn claim(&self, found: &Found) -> Option<u64> {
        let Explained { pieces, idle, .. } = &found.explains;
        let share = |piece: &usize| self.case.timeline.pieces[*piece].share;
        let all: u128 = pieces.iter().map(share).sum();
        let new = pieces.iter().filter(|piece| !self.pieces[**piece]);
        let new: u128 = new.map(share).sum();
        let length =
            |spans: &[(u64, u64)]| sum(spans.iter().map(|(from, to)| to.saturating_sub(*from)));
        let free = without(idle, &self.idle);
        let all = to_us(all).saturating_add(length(idle));
        let new = to_us(new).saturating_add(length(&free));
        // What takes no time, such as a refusal that came at once, is told unless it was part of
        // what is told.
        let is_told = match all {
            0 => !pieces.is_empty() && pieces.iter().all(|piece| self.pieces[*piece]),
            _ => new.saturating_mul(5) < all,
        };
        (!is_told).then_some(new)
    }

    fn take(&mut self, explained: &Explained) {
        for piece in &explained.pieces {
            self.pieces[*piece] = true;
        }
        self.idle.extend(&explained.idle);
        self.idle = union(std::mem::take(&mut self.idle));
    }
}

/// The same instants as spans that do not overlap, in order.
fn union(mut spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    spans.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::with_capacity(spans.len());
    for (from, to) in spans {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

fn to_us(parts: u128) -> u64 {
    u64::try_from(parts / PARTS).unwrap_or(u64::MAX)
}

/// What of `spans` none of `others`, which are in order and do not overlap, covers.
fn without(spans: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = Vec::new();
    for (from, to) in spans {
        let mut at = *from;
        let first = others.partition_point(|(_, end)| end <= from);
        for (begin, end) in &others[first..] {
            if begin >= to {
                break;
            }
            if *begin > at {
                left.push((at, *begin));
            }
            at = at.max(*end);
        }
        if at < *to {
            left.push((at, *to));
        }
    }
    left
}

#[cfg(test)]
mod tests;
