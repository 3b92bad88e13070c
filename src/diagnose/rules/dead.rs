//! What the rules on hosts that cannot be reached have in common.

use super::{Explained, Found};
use crate::diagnose::case::Case;
use crate::diagnose::dials::Step;
use crate::diagnose::finding::{Confidence, Evidence, Severity};
use crate::diagnose::hosts::{FailedDial, Host};
use crate::exchange::DialFailure;
use crate::words::{count, duration};

/// A host whose dials failed at these steps.
pub(super) struct Dead<'a> {
    pub(super) name: &'a str,
    pub(super) host: &'a Host,
    /// The items that failed.
    pub(super) items: Vec<usize>,
    /// Why the first of them failed.
    pub(super) reason: DialFailure,
    /// How many of them got no answer at all.
    pub(super) silent: usize,
    /// The longest, microseconds.
    longest_us: u64,
}

impl<'a> Dead<'a> {
    /// The hosts whose dials failed at a step that `is_meant`.
    pub(super) fn all(
        case: &'a Case<'_>,
        is_meant: impl Fn(Step) -> bool,
    ) -> impl Iterator<Item = Self> {
        case.hosts.iter().filter_map(move |(name, host)| {
            let failed = host.failed.iter();
            let failed: Vec<&FailedDial> = failed
                .filter(|failed| is_meant(failed.failure.step))
                .collect();
            let items: Vec<usize> = failed.iter().map(|failed| failed.item).collect();
            let us = |item: &usize| {
                let item = &case.timeline.items[*item];
                item.until - item.from
            };
            Some(Self {
                name,
                host,
                reason: failed.first()?.failure.reason,
                longest_us: items.iter().map(us).max()?,
                silent: failed
                    .iter()
                    .filter(|failed| failed.failure.is_silent)
                    .count(),
                items,
            })
        })
    }

    /// Those that cannot be connected to: TCP, or the handshake.
    pub(super) fn unreachable(case: &'a Case<'_>) -> impl Iterator<Item = Self> {
        Self::all(case, |step| match step {
            Step::Connect => true,
            Step::Handshake => true,
            Step::Name | Step::Parent | Step::Certificate => false,
        })
    }

    /// Whether most of them got no answer at all; else something answered, and said no.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent * 2 > self.items.len()
    }

    /// Whether the host answers others, and was reached after all.
    pub(super) const fn is_reached_at_times(&self) -> bool {
        self.host.requests > self.host.errors
    }

    /// `cannot be reached`, or what else is true of it.
    pub(super) const fn is_not_reached(&self) -> &'static str {
        match self.is_reached_at_times() {
            true => "is not always reached",
            false => "cannot be reached",
        }
    }

    /// `3 dials got no answer from 192.0.2.1:443, 30.0 s at most`
    pub(super) fn how(&self, case: &Case<'_>) -> String {
        let dials = count(self.items.len() as u64, "dial");
        let at = match self.address(case) {
            Some(first) => format!(" from {first}"),
            None => String::new(),
        };
        let longest = duration(self.longest_us);
        let each = if self.items.len() == 1 {
            longest
        } else {
            format!("up to {longest} each")
        };
        match self.is_silent() {
            true => format!("{dials} got no answer{at} ({each})"),
            false => format!("{dials} failed: {}", self.why(case)),
        }
    }

    /// The first address that it was connected to, or that was tried.
    fn address<'c>(&self, case: &Case<'c>) -> Option<&'c str> {
        self.items.iter().find_map(|item| {
            let dial = case.dial_of(&case.timeline.items[*item])?;
            let upstream = dial.upstream.as_ref();
            let connected = upstream.and_then(|upstream| upstream.addr.as_deref());
            connected.or_else(|| Some(&*dial.tries.first()?.addr))
        })
    }

    /// Whether all that were connected to were addresses of IPv6.
    pub(super) fn is_over_v6(&self, case: &Case<'_>) -> bool {
        let dials = self.items.iter().filter_map(|item| {
            let dial = case.dial_of(&case.timeline.items[*item])?;
            dial.upstream.as_ref()?.addr.as_deref()
        });
        let mut dials = dials.peekable();
        dials.peek().is_some() && dials.all(|addr| addr.starts_with('['))
    }

    /// The error of the first.
    pub(super) fn why(&self, case: &Case<'_>) -> String {
        let first = self.items.first();
        let dial = first.and_then(|item| case.dial_of(&case.timeline.items[*item]));
        let error = dial.and_then(|dial| dial.error.clone());
        error.unwrap_or_default()
    }

    pub(super) fn evidence(&self, case: &Case<'_>) -> Vec<Evidence> {
        let items = self.items.iter();
        items
            .map(|item| {
                let Some(dial) = case.dial_of(&case.timeline.items[*item]) else {
                    return case.exhibit(*item, String::new());
                };
                let error = dial.error.clone().unwrap_or_default();
                case.exhibit(*item, error)
            })
            .collect()
    }

    /// A finding about it, that explains all of the time that its failed dials took.
    pub(super) fn found(&self, case: &Case<'_>, title: String, hint: Option<String>) -> Found {
        // A failed dial only cost time.
        let severity = match self.is_reached_at_times() {
            true => Severity::Slow,
            false => case.severity(),
        };
        let pieces = case.pieces_of(&self.items, None);
        let is_stall = self.is_silent() && severity == Severity::Problem;
        Found {
            severity,
            title,
            confidence: Confidence::Certain,
            evidence: self.evidence(case),
            hint,
            explains: Explained::pieces(pieces).hung(is_stall),
        }
    }
}
