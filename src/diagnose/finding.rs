//! What a rule found: a cause, what it cost, how sure that is, and what to try.
//!
//! The fields are those of `report --format json` (docs/formats.md): names and units stay.

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, ExchangeId};
use crate::words::duration;

/// How bad it is. In the order in which findings are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Something failed, or hung until the end.
    Problem,
    /// It cost time.
    Slow,
    /// Worth knowing; nothing is wrong.
    Note,
}

impl Severity {
    /// Its name in every output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Slow => "slow",
            Self::Note => "note",
        }
    }
}

/// How sure a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Confidence {
    /// What is recorded has no other explanation.
    Certain,
    /// What is recorded has other explanations that are rare.
    Likely,
}

/// One thing on the recording that shows what a finding says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Evidence {
    /// What it is.
    #[serde(flatten)]
    pub(crate) what: Exhibit,
    /// What it shows, with its number: `30.0 s until the dial was given up`.
    pub(crate) shows: String,
}

/// What a piece of evidence is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Exhibit {
    /// An exchange, as `modtape show` takes it.
    Exchange {
        /// The run, from 0.
        run: u32,
        /// The exchange; unique within its run.
        id: ExchangeId,
    },
    /// A client connection.
    Connection {
        /// The run, from 0.
        run: u32,
        /// The connection; unique within its run.
        id: ConnectionId,
    },
    /// A look at the command's processes.
    Sample {
        /// The run, from 0.
        run: u32,
        /// When it was taken, since its run was opened.
        t_us: Timestamp,
    },
    /// A setting of the go command.
    Setting {
        /// Its name.
        name: String,
    },
    /// A file or folder of the machine that recorded.
    File {
        /// `go.sum`, or a whole path.
        path: String,
    },
}

/// A cause, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Stable; `modtape help CODE` explains it.
    pub(crate) code: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// One sentence: the cause, with host, module or process, and its number.
    pub(crate) title: String,
    /// How much of the wall time it explains, microseconds.
    pub(crate) cost_us: u64,
    /// True for a hang: nothing came, to the end.
    #[serde(rename = "stall")]
    pub(crate) is_stall: bool,
    /// How sure it is.
    pub(crate) confidence: Confidence,
    /// What shows it, the most telling first; at most [`SHOWN`].
    pub(crate) evidence: Vec<Evidence>,
    /// How many such pieces there are in all.
    pub(crate) evidence_total: usize,
    /// What to try, and what that will do.
    pub(crate) hint: Option<String>,
    /// What the whole run would have taken with the hint taken, microseconds: a run of the recorded
    /// requests in a model. `None` if the model does not fit, or if it saves next to nothing.
    pub(crate) estimate_us: Option<u64>,
    /// Where it is explained.
    #[serde(rename = "docs", serialize_with = "docs")]
    pub(crate) help: &'static str,
}

impl Finding {
    /// What to try, and what the run would then have taken, in words. `wall_us` is what it took.
    pub(crate) fn advice(&self, wall_us: u64) -> Option<String> {
        let hint = self.hint.as_ref()?;
        Some(match self.estimate_us {
            Some(us) => format!(
                "{hint}; with that, about {} instead of {} (estimated)",
                duration(us),
                duration(wall_us)
            ),
            None => hint.clone(),
        })
    }
}

/// How many pieces of evidence a finding lists.
pub(crate) const SHOWN: usize = 20;

fn docs<S: Serializer>(code: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("modtape help {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_ends_with_its_estimate() {
        let advice = |estimate_us| {
            let finding = Finding {
                code: "MT201",
                severity: Severity::Slow,
                title: String::new(),
                cost_us: 0,
                is_stall: false,
                confidence: Confidence::Certain,
                evidence: Vec::new(),
                evidence_total: 0,
                hint: Some("GOMAXPROCS=16".into()),
                estimate_us,
                help: "MT201",
            };
            finding.advice(41_000_000)
        };
        assert_eq!(advice(None).as_deref(), Some("GOMAXPROCS=16"));
        let told = "GOMAXPROCS=16; with that, about 3.10 s instead of 41.0 s (estimated)";
        assert_eq!(advice(Some(3_100_000)).as_deref(), Some(told));
    }
}
