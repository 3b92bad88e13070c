//! How a dial failed: at which step, and whether something answered.

use crate::exchange::{Opened, STOPPED};

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
pub(crate) struct Failure<'a> {
    /// The step that it did not get past.
    pub(crate) step: Step,
    /// True if nothing came back within the time that there was; false if something answered, and said
    /// no.
    pub(crate) is_silent: bool,
    /// The error, as recorded.
    pub(crate) error: &'a str,
}

/// A dial that its client, or the end of the command, cut short is silent if it had lasted so long,
/// microseconds: before that nobody can tell.
const SILENT_US: u64 = 800_000;

impl<'a> Failure<'a> {
    /// How `dial` failed; `None` if it succeeded, or was not needed any more while it was young.
    pub(crate) fn of(dial: &'a Opened) -> Option<Self> {
        let error = dial.error.as_deref()?;
        let phases = [dial.dns_us, dial.connect_us, dial.tls_us];
        if phases == [None; 3] {
            // Forbidden by a rule: nothing was dialled.
            return None;
        }
        let is_certificate = CERTIFICATE.iter().any(|words| error.contains(words));
        let has_winner = dial.tries.iter().any(|tried| tried.error.is_none());
        let has_parent = dial.upstream.as_ref().is_some_and(|up| up.via.is_some());
        let step = match phases {
            [.., Some(_)] if is_certificate => Step::Certificate,
            [.., Some(_)] => Step::Handshake,
            [_, Some(_), _] if has_parent && (has_winner || error.contains("parent proxy")) => {
                Step::Parent
            }
            [_, Some(_), _] => Step::Connect,
            _ => Step::Name,
        };
        let last_us = phases.into_iter().flatten().next_back().unwrap_or(0);
        let is_cut = !dial.has_failed() || error.starts_with(CUT_OFF);
        if is_cut && (dial.is_distrust() || last_us < SILENT_US) {
            return None;
        }
        let ran_out = error.starts_with("no connection to") || error.contains("no answer within");
        let is_unanswered = step == Step::Connect
            && !dial.tries.is_empty()
            && dial.tries.iter().all(|tried| {
                let why = tried.error.as_deref().unwrap_or_default();
                why == "no answer" || why.contains("timed out")
            });
        Some(Self {
            step,
            is_silent: is_cut || ran_out || is_unanswered,
            error,
        })
    }
}

/// How the error of what was in flight begins when the user, or `--timeout`, ended the command
/// (`proxy::live`).
const CUT_OFF: &str = "cut off by ";

/// Whether an exchange stopped because its client left or the run ended, and not because of the
/// upstream.
pub(crate) fn is_given_up(why: &str) -> bool {
    [CUT_OFF, STOPPED, "the client "]
        .iter()
        .any(|begin| why.starts_with(begin))
}

/// How our words for a certificate that is not accepted begin (`tls::errors`).
const CERTIFICATE: [&str; 4] = [
    "its certificate",
    "an issuer of its certificate",
    "an issuer's key usage",
    "it does not send its intermediate",
];
