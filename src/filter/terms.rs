//! What can be asked of an exchange, and whether it holds.

use std::fmt;

use super::globs::Glob;
use super::measures::{Bound, Range, Share};
use crate::exchange::{ConnectionId, ExchangeId, Phase, Timings};
use crate::gomod::{Kind, Route};

/// The outcome of an exchange for the go command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// It was answered, with less than 400.
    Ok,
    /// 404 or 410 for a path above or below the module's own: the go command asks for each.
    Probe,
    /// No answer, and the go command asks the next entry of GOPROXY.
    Fallthrough,
    /// Any other answer of 400 or more.
    Error,
    /// modtape answered it.
    Modtape,
    /// It broke off.
    Aborted,
    /// It was still going on when the recorder ended.
    InFlight,
}

impl Outcome {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Ok,
        Self::Probe,
        Self::Fallthrough,
        Self::Error,
        Self::Modtape,
        Self::Aborted,
        Self::InFlight,
    ];

    /// Its name in filters and in every output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Probe => "probe",
            Self::Fallthrough => "fallthrough",
            Self::Error => "error",
            Self::Modtape => "modtape",
            Self::Aborted => "aborted",
            Self::InFlight => "in-flight",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// All that a filter can ask of an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    /// The exchange.
    pub(crate) id: ExchangeId,
    /// The client connection that it came on.
    pub(crate) connection: ConnectionId,
    /// Method.
    pub(crate) method: &'a str,
    /// Absolute URL, redacted.
    pub(crate) url: &'a str,
    /// Lower case, with the port where it is not the scheme's own.
    pub(crate) host: &'a str,
    /// What was asked for.
    pub(crate) route: &'a Route,
    /// Status, if a head came.
    pub(crate) status: Option<u16>,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// The phases that happened.
    pub(crate) phases: &'a Timings,
    /// Bytes of the response body.
    pub(crate) bytes: u64,
}

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub(crate) struct FilterError {
    /// Where, in characters from 1.
    pub(crate) column: usize,
    /// What is wrong, and what would be right.
    pub(crate) problem: String,
}

/// What picks exchanges. The empty filter takes all.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Filter {
    pub(super) terms: Vec<Term>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Term {
    pub(super) is_negated: bool,
    pub(super) any_of: Vec<Test>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    Host(Glob),
    Module(Glob),
    Version(Glob),
    Method(Glob),
    Url(Glob),
    Text(String),
    Kind(Kind),
    Outcome(Outcome),
    Status(Range),
    NoStatus,
    Id(Range),
    Connection(Range),
    /// Bytes.
    Size(Bound),
    /// Microseconds in all.
    Time(Bound),
    Phase(Phase, Share),
}

impl Filter {
    /// Whether the filter takes an exchange.
    pub(crate) fn takes(&self, subject: &Subject<'_>) -> bool {
        let holds =
            |term: &Term| term.any_of.iter().any(|test| test.holds(subject)) != term.is_negated;
        self.terms.iter().all(holds)
    }
}

impl Test {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let text = |glob: &Glob, text: Option<&str>| text.is_some_and(|text| glob.fits(text));
        match self {
            Self::Host(glob) => glob.fits(subject.host) || glob.fits(name_of(subject.host)),
            Self::Module(glob) => text(glob, subject.route.module.as_deref()),
            Self::Version(glob) => text(glob, subject.route.version.as_deref()),
            Self::Method(glob) => glob.fits(subject.method),
            Self::Url(glob) => glob.fits(subject.url),
            Self::Text(part) => {
                let holds = |text: &str| text.to_lowercase().contains(part);
                holds(subject.url) || holds(&subject.route.what_by(subject.method, subject.host))
            }
            Self::Kind(kind) => subject.route.kind == *kind,
            Self::Outcome(outcome) => subject.outcome == *outcome,
            Self::Status(range) => subject
                .status
                .is_some_and(|status| range.has(status.into())),
            Self::NoStatus => subject.status.is_none(),
            Self::Id(range) => range.has(subject.id),
            Self::Connection(range) => range.has(subject.connection),
            Self::Size(bound) => bound.has(subject.bytes),
            Self::Time(bound) => bound.has(subject.phases.total_us()),
            Self::Phase(phase, share) => {
                let us = subject.phases[*phase];
                us.is_some_and(|us| share.has(us, subject.phases.total_us()))
            }
        }
    }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}
