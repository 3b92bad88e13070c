//! The command line and nothing else: what can be asked for, parsed to its types.

mod parse;
mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use self::values::{duration, exchange_id, file, folder, listen};

/// See, record, explain and replay what the go command fetches
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
#[command(after_help = "\
Try `modtape demo` first: it needs no network and no Go.
More: `modtape help filter`, `modtape help exit-codes`, `modtape help environment`")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log a line for each exchange to stderr; twice: connections too
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Draw with ASCII only
    #[arg(long, global = true)]
    pub(crate) ascii: bool,
    /// Log a line for each exchange to this file
    #[arg(long, global = true, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(file))]
    pub(crate) log_file: Option<PathBuf>,
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Folder of recordings
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "MODTAPE_RECORDINGS",
        default_value = values::RECORDINGS,
        value_parser = OsStringValueParser::new().map(folder)
    )]
    pub(crate) recordings: PathBuf,
    /// Whether `--recordings` is on the command line; [`Cli::of`] finds out.
    #[arg(skip)]
    pub(crate) recordings_is_given: bool,
}

impl Global {
    /// Whether nobody named a folder of recordings.
    pub(crate) fn has_default_recordings(&self) -> bool {
        self.recordings.as_os_str() == values::RECORDINGS
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless the environment says otherwise.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Record what a command fetches; without a command, record until Ctrl-C
    Record(Box<RecordArgs>),
    /// Answer from a recording, with no network; without a command, serve until Ctrl-C
    Replay(Box<ReplayArgs>),
    /// Record and replay an embedded sample: no network, no Go needed
    Demo,
    /// List the exchanges of a recording
    Ls(LsArgs),
    /// Show one exchange
    Show(ShowArgs),
    /// Write a recording in another format
    Export(ExportArgs),
    /// Make a recording of another tool's file
    Import(ImportArgs),
    /// Manage recordings
    Recordings(RecordingsArgs),
    /// Print what another terminal needs to use a running recorder
    Env(EnvArgs),
    /// Show a running recorder's certificate authority
    Ca(CaArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them to a folder
    Man(ManArgs),
    /// Print the help of a command, or on filter, exit-codes or environment
    Help(HelpArgs),
    /// Print the version
    Version(VersionArgs),
    /// Ask for URLs through HTTPS_PROXY, as the go command would: the demo's client without a Go
    #[command(hide = true)]
    Fetch(FetchArgs),
}

/// `modtape record`
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// Name or path of the recording [default: VERB-MMDD-HHMM]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the recording that -o names, if there is one
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Give the command an empty GOPATH and module cache, so that every download is seen
    #[arg(long, requires = "command")]
    pub(crate) cold: bool,
    /// How safe a recorded exchange is before the command sees its end
    #[arg(long, value_name = "MODE", default_value = "process")]
    pub(crate) durability: Durability,
    /// Exit with 74 if anything could not be recorded
    #[arg(long)]
    pub(crate) require_complete: bool,
    /// Keep bodies, or only their digests
    #[arg(long, value_name = "WHICH", default_value = "all")]
    pub(crate) bodies: KeepBodies,
    /// Keep secrets as they are, and mark the recording
    #[arg(long)]
    pub(crate) no_redact: bool,
    /// Write the HAR here instead of session.har
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, value_parser = OsStringValueParser::new().try_map(file))]
    pub(crate) har: Option<Option<PathBuf>>,
    /// Write no HAR
    #[arg(long, conflicts_with_all = ["har", "har_bodies"])]
    pub(crate) no_har: bool,
    /// Which bodies the HAR holds: small ones are up to 64 KiB
    #[arg(long, value_name = "WHICH", default_value = "small")]
    pub(crate) har_bodies: Bodies,
    /// Which packet captures are written for Wireshark
    #[arg(long, value_name = "WHICH", default_value = "clear")]
    pub(crate) pcap: Pcap,
    /// Which bodies the capture shows whole: larger ones than 64 KiB are cut to 4 KiB
    #[arg(long, value_name = "WHICH", default_value = "small")]
    pub(crate) pcap_bodies: Bodies,
    /// What to do where the disk is too slow for --pcap tls
    #[arg(long, value_name = "WHAT", default_value = "wait")]
    pub(crate) pcap_slow_disk: SlowDisk,
    /// Add the TLS secrets of both legs to this file (NSS key log format) [env:
    /// MODTAPE_SSLKEYLOGFILE, else SSLKEYLOGFILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) keylog: Option<PathBuf>,
    /// Intercept these hosts too
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) intercept: Vec<String>,
    /// Intercept every host
    #[arg(long)]
    pub(crate) intercept_all: bool,
    /// Never intercept these hosts
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) tunnel: Vec<String>,
    /// Where and how to connect.
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
    /// How to run the command.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The command to record
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Where and how the upstream leg connects.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct UpstreamArgs {
    /// Proxy to go through: a URL, `env` for HTTPS_PROXY and NO_PROXY, or `none`
    #[arg(long, value_name = "URL", default_value = "env")]
    pub(crate) upstream_proxy: String,
    /// Trust the certificates in this file too
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream_ca: Vec<PathBuf>,
    /// Use these addresses for a host, as curl's --resolve
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    pub(crate) resolve: Vec<String>,
    /// Connect elsewhere, as curl's --connect-to
    #[arg(long, value_name = "HOST:PORT:ADDR:PORT")]
    pub(crate) connect_to: Vec<String>,
    /// Say so when an upstream is silent for so long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) stall_after: Duration,
    /// Turn an upstream's silence into a 504 after so long [default: wait as go would]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) upstream_idle_timeout: Option<Duration>,
}

/// How the wrapped command is run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct RunArgs {
    /// Address to listen on; without a port, or with port 0, a free one is taken. Other than
    /// loopback needs --token
    #[arg(long, value_name = "ADDR[:PORT]", default_value = "127.0.0.1:0", value_parser = listen)]
    pub(crate) listen: SocketAddr,
    /// What clients must show to use the proxy: `auto` makes a new secret, which `modtape env` tells
    #[arg(
        long,
        value_name = "none|auto|TOKEN",
        default_value = "none",
        env = "MODTAPE_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: String,
    /// Whether `--token` is on the command line; [`Cli::of`] finds out.
    #[arg(skip)]
    pub(crate) token_is_given: bool,
    /// End the command, or the recorder that has none, after so long, and exit with 124
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

/// When a recorded exchange is safe from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// Safe from a kill of modtape: written before the command sees the end
    Process,
    /// And from a power cut, all but the last 50 ms
    Group,
    /// And from a power cut, wholly: every end waits for the disk
    Strict,
}

/// Which bodies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeepBodies {
    /// All of them
    All,
    /// None: digests and sizes only; cannot be replayed
    None,
}

/// Which bodies an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bodies {
    /// All of them
    All,
    /// Up to 64 KiB
    Small,
    /// None
    None,
}

/// Which packet captures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pcap {
    /// None
    None,
    /// The exchanges in clear text, each a TCP stream of its own; made when the recording closes
    Clear,
    /// The real records of both legs as they pass, with the secrets that open them: not to be shared
    Tls,
    /// Both
    Both,
}

impl Pcap {
    /// Whether the exchanges are shown in clear text.
    pub(crate) const fn has_clear(self) -> bool {
        matches!(self, Self::Clear | Self::Both)
    }

    /// Whether the real records are captured.
    pub(crate) const fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Both)
    }
}

/// What happens where packets come faster than the disk takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SlowDisk {
    /// The traffic waits: nothing is missing
    Wait,
    /// Packets are cut to their headers, which tell the true length
    Cut,
}

/// `modtape replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The recording: a name, a path, @last, or @2 for the one before
    pub(crate) name: String,
    /// Exit with 1 if anything was asked for that is not on the recording
    #[arg(long)]
    pub(crate) strict: bool,
    /// Let the command keep its own GOPATH and module cache
    #[arg(long, requires = "command")]
    pub(crate) warm: bool,
    /// Keep the user's Go settings instead of the recorded ones
    #[arg(long, requires = "command")]
    pub(crate) keep_env: bool,
    /// How to run the command.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The command to run
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

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

/// `modtape import`
#[derive(Debug, Args)]
#[command(after_help = "\
What a HAR cannot tell is not made up: the recording has no settings of the go command, no trailers, \
and no ends of connections. A body stands in it as the HAR has it: decoded, without its content \
coding. An exchange whose body the HAR left out, cut or replaced counts as aborted. What is odd is \
said in one line a kind; the exit code is 3 if an HTTP entry was lost or the file is cut off.")]
pub(crate) struct ImportArgs {
    /// The format
    pub(crate) format: ImportFormat,
    /// The file, plain, gzip or zip: of a browser, mitmproxy, Charles, Playwright or modtape
    pub(crate) file: PathBuf,
    /// Name or path of the recording [default: FORMAT-MMDD-HHMM]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the recording that -o names, if there is one
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Keep secrets as they are, and mark the recording
    #[arg(long)]
    pub(crate) no_redact: bool,
}

/// Formats that a recording can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// HTTP Archive 1.2
    Har,
}

/// `modtape env`
#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    /// A shell or format, or one variable's name [default: sh]
    #[arg(value_name = "SHELL|VAR")]
    pub(crate) what: Option<String>,
    /// Print what takes the variables back
    #[arg(long, conflicts_with = "recording")]
    pub(crate) unset: bool,
    /// As JSON
    #[arg(long, conflicts_with_all = ["what", "unset"])]
    pub(crate) json: bool,
    /// The recorder that writes this recording [default: the newest]
    #[arg(long, value_name = "NAME")]
    pub(crate) recording: Option<String>,
}

/// `modtape ca`
#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    /// What to show.
    #[command(subcommand)]
    pub(crate) command: CaCommand,
}

/// What to show of the certificate authority.
#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Print the path of the bundle: system roots and ours
    Path {
        /// The recorder that writes this recording [default: the newest]
        #[arg(long, value_name = "NAME")]
        recording: Option<String>,
    },
    /// Print our root certificate (PEM), and on stderr what it can vouch for
    Show {
        /// The recorder that writes this recording [default: the newest]
        #[arg(long, value_name = "NAME")]
        recording: Option<String>,
    },
}

/// `modtape completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// `modtape man`
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// `modtape version`
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `modtape help`
#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// A command, or a topic: filter, exit-codes, environment
    #[arg(value_name = "COMMAND|TOPIC")]
    pub(crate) about: Vec<String>,
}

/// `modtape fetch`
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// What to ask for, in this order
    pub(crate) urls: Vec<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_two_dashes_is_the_commands() {
        let cli = Cli::try_parse_from(["modtape", "record", "--cold", "--", "go", "-x", "--help"]);
        let Command::Record(record) = cli.unwrap().command else {
            panic!()
        };
        assert!(record.cold);
        assert_eq!(record.command, ["go", "-x", "--help"]);
    }
}
