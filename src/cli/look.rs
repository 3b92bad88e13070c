//! Looking at recordings: `ls`, `show`, `export`, `recordings`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Bodies;
use super::values::exchange_id;

/// `modtape ls`
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// Only what this takes: `host:goproxy.cn kind:zip,mod module:golang.org/x/* time:>500ms size:>1MB
    /// status:4xx phase:wait>80% outcome:fallthrough -probe "text"` (space and, comma or, - not; `modtape help filter`)
    #[arg(short, long, value_name = "FILTER", allow_hyphen_values = true)]
    pub(crate) filter: Option<String>,
    /// Order by
    #[arg(long, value_name = "KEY", default_value = "start")]
    pub(crate) sort: SortKey,
    /// Only the first so many
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What exchanges can be ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortKey {
    /// When they started
    Start,
    /// The longest first
    Time,
    /// The largest body first
    Size,
    /// By host, then start
    Host,
    /// By status, then start
    Status,
}

/// `modtape show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The exchange's number; `#` in front is fine
    #[arg(value_parser = exchange_id)]
    pub(crate) id: u64,
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// Only the headers
    #[arg(long, group = "part")]
    pub(crate) headers: bool,
    /// Only the timings
    #[arg(long, group = "part")]
    pub(crate) timings: bool,
    /// Only the body, as it was received
    #[arg(long, group = "part")]
    pub(crate) body: bool,
    /// A curl command that asks the same again
    #[arg(long, group = "part")]
    pub(crate) curl: bool,
    /// All of it as JSON
    #[arg(long, group = "part")]
    pub(crate) json: bool,
    /// Write to this file instead of stdout; `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `modtape export`
#[derive(Debug, Args)]
#[command(after_help = "\
What was never recorded (gaps, bodies that were not kept) is said on stderr, and is no failure. What \
was recorded and cannot be read is left out and named there: then the exit code is 3.")]
pub(crate) struct ExportArgs {
    /// The format
    pub(crate) format: ExportFormat,
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// Write to this file, of goproxy to this new folder; `-` is stdout
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Only what this takes: `host:goproxy.cn kind:zip,mod module:golang.org/x/* time:>500ms size:>1MB
    /// status:4xx phase:wait>80% outcome:fallthrough -probe "text"` (space and, comma or, - not; `modtape help filter`)
    #[arg(short, long, value_name = "FILTER", allow_hyphen_values = true)]
    pub(crate) filter: Option<String>,
    /// Which bodies a HAR holds: small ones are up to 64 KiB
    #[arg(long, value_name = "WHICH", default_value = "small")]
    pub(crate) har_bodies: Bodies,
    /// Which bodies a capture shows whole: small ones are up to 64 KiB, larger ones are cut to 4 KiB
    #[arg(long, value_name = "WHICH", default_value = "small")]
    pub(crate) pcap_bodies: Bodies,
    /// Copy the live capture (record --pcap tls) instead, without what opens it
    #[arg(long, conflicts_with_all = ["filter", "pcap_bodies"])]
    pub(crate) no_secrets: bool,
}

/// Formats that a recording can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// HTTP Archive 1.2, for every HAR viewer
    Har,
    /// A packet capture for Wireshark, in clear text: each exchange is a TCP stream of its own
    Pcapng,
    /// A JSON object a line, as `show --json` has it
    Ndjson,
    /// A table for spreadsheets, a line an exchange; `'` before what they would take for a formula
    Csv,
    /// A script that asks the same again and compares statuses and digests
    Curl,
    /// A folder for `GOPROXY=file://DIR`: the modules that it holds, and their checksums
    Goproxy,
}

/// `modtape recordings`
#[derive(Debug, Args)]
pub(crate) struct RecordingsArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub(crate) command: RecordingsCommand,
}

/// What to do with recordings.
#[derive(Debug, Subcommand)]
pub(crate) enum RecordingsCommand {
    /// List them, newest first
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Tell all about one
    Info {
        /// A name, a path, @last, or @2 for the one before
        #[arg(default_value = "@last")]
        name: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the folder of one, or of all
    Path {
        /// A name, a path, @last, or @2 for the one before
        name: Option<String>,
    },
}
