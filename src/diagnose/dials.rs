//! How a dial failed: at which step, and whether something answered.

use crate::exchange::{CUT_OFF, DialFailure, Opened, STOPPED};

/// A step of a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// The name was looked up.
    Name,
    /// TCP was opened.
    Connect,
    /// The parent proxy was asked for a tunnel.
    Parent,
    /// The TLS handshake, before a certificate was judged.
    Handshake,
    /// The certificate was judged.
    Certificate,
}

/// A dial that led nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The step that it did not get past.
    pub(crate) step: Step,
    /// True if nothing came back within the time that there was; false if something answered, and said
    /// no.
    pub(crate) is_silent: bool,
    /// Why, in one word.
    pub(crate) reason: DialFailure,
}

/// A dial that its client, or the end of the command, cut short is silent if it had lasted so long,
/// microseconds, or was told as a stall: before that nobody can tell.
const SILENT_US: u64 = 5_000_000;

impl Failure {
    /// How `dial` failed; `None` if it succeeded, or was not needed any more while it was young.
    /// `was_told` is true if it was told as a stall while it lasted.
    pub(crate) fn of(dial: &Opened, was_told: bool) -> Option<Self> {
        let reason = dial.failure()?;
        let phases = [dial.dns_us, dial.connect_us, dial.tls_us];
        let upstream = dial.upstream.as_ref();
        // Nothing was dialled, or modtape forbids what was found; or the upstream's part was done.
        let is_done = reason.is_the_clients() && upstream.is_some_and(|up| up.tls.is_some());
        if phases == [None; 3] || reason == DialFailure::Forbidden || is_done {
            return None;
        }
        let has_parent = upstream.is_some_and(|up| up.via.is_some());
        let step = match phases {
            [.., Some(_)] if reason.is_of_certificate() => Step::Certificate,
            [.., Some(_)] => Step::Handshake,
            // Whatever is looked up or connected to on the way to a parent proxy is that proxy.
            _ if has_parent => Step::Parent,
            [_, Some(_), _] => Step::Connect,
            _ => Step::Name,
        };
        let last_us = phases.into_iter().flatten().next_back().unwrap_or(0);
        let is_cut = reason.is_cut();
        let is_distrust = reason == DialFailure::ClientDistrust;
        if is_cut && (is_distrust || (last_us < SILENT_US && !was_told)) {
            return None;
        }
        Some(Self {
            step,
            is_silent: is_cut || reason.is_silence(),
            reason,
        })
    }
}

/// Whether an exchange stopped because its client left or the run ended, and not because of the
/// upstream.
pub(crate) fn is_given_up(why: &str) -> bool {
    [CUT_OFF, STOPPED, "the client "]
        .iter()
        .any(|begin| why.starts_with(begin))
}

/// Whether an exchange stopped because modtape gave up a silent upstream (`--upstream-idle-timeout`).
pub(crate) fn is_timed_out(why: &str) -> bool {
    why.contains(" sent nothing for ") || why.contains("no response head from ")
}
