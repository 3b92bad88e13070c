//! What a rule found: a cause, what it cost, how sure that is, and what to try.
//!
//! The fields are those of `report --format json` (docs/formats.md): names and units stay.

use serde::{Serialize, Serializer};

use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, ExchangeId};

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
    /// Where it is explained.
    #[serde(rename = "docs", serialize_with = "docs")]
    pub(crate) help: &'static str,
}

/// How many pieces of evidence a finding lists.
pub(crate) const SHOWN: usize = 20;

fn docs<S: Serializer>(code: &&'static str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("modtape help {code}"))
}
