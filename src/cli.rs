//! The command line and nothing else: what can be asked for, parsed to its types.

mod about;
mod import;
mod kept;
mod look;
mod values;
mod void;
mod words;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use about::{CompletionsArgs, HelpArgs, ManArgs, VersionArgs};
pub(crate) use import::ImportArgs;
pub(crate) use kept::{Bodies, Durability, KeepBodies, Pcap, SlowDisk};
pub(crate) use look::{
    ExportArgs, ExportFormat, LsArgs, RecordingsArgs, RecordingsCommand, ShowArgs, SortKey,
};

use self::values::{duration, folder, listen};

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
    #[arg(long, global = true, value_name = "FILE")]
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
    #[arg(long)]
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
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(crate) har: Option<Option<PathBuf>>,
    /// Write no HAR
    #[arg(long, conflicts_with = "har")]
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
    /// End the command, or the recorder that has none, after so long, and exit with 124
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
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
    #[arg(long)]
    pub(crate) warm: bool,
    /// Keep the user's Go settings instead of the recorded ones
    #[arg(long)]
    pub(crate) keep_env: bool,
    /// How to run the command.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The command to run
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// `modtape env`
#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    /// A shell or format, or one variable's name [default: sh]
    #[arg(value_name = "SHELL|VAR")]
    pub(crate) what: Option<String>,
    /// Print what takes the variables back
    #[arg(long)]
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
