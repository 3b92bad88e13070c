//! The command line: verbs and flags, parsed to their types.

mod cache;
mod configured;
mod parse;
mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ipnet::IpNet;
use time::OffsetDateTime;

pub(crate) use self::cache::{
    CacheExportArgs, CacheGcArgs, CacheImportArgs, CacheLsArgs, CachePullArgs, CacheStatArgs,
    CacheVerifyArgs, StoreArgs,
};
pub(crate) use self::configured::{Setting, Takes, flags_in, in_one_line};
pub(crate) use self::values::GATES;
use self::values::{
    cgroup, duration, exchange_id, file, folder, host, instant, listen, metrics, network, port,
    size, uid,
};

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
More: `modtape help filter`, `modtape help exit-codes`, `modtape help environment`, `modtape help findings`")]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The words that it was parsed from.
    #[arg(skip)]
    pub(crate) words: Vec<OsString>,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Print errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log each exchange to stderr; -vv logs connections too
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// Print ASCII characters only
    #[arg(long, global = true)]
    pub(crate) ascii: bool,
    /// Log each exchange to this file
    #[arg(long, global = true, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(file))]
    pub(crate) log_file: Option<PathBuf>,
    /// Format of log lines
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Folder that holds the recordings
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
    /// Whether the folder of recordings is the default.
    pub(crate) fn has_default_recordings(&self) -> bool {
        self.recordings.as_os_str() == values::RECORDINGS
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// Colour on a terminal, unless the environment says otherwise
    Auto,
    /// Colour always
    Always,
    /// No colour
    Never,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines of text
    Text,
    /// JSON with OpenTelemetry's names, one object per line
    Json,
    /// JSON as the Elastic Common Schema has it, one object per line
    Ecs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Record what a command fetches; without a command, record until Ctrl-C
    Record(Box<RecordArgs>),
    /// Answer from a recording, with no network; without a command, serve until Ctrl-C
    Replay(Box<ReplayArgs>),
    /// Serve modules to a team, or to one command: what was fetched once is kept, and served when nobody else answers
    Serve(Box<ServeArgs>),
    /// Look after what `modtape serve` keeps
    Cache(CacheArgs),
    /// Record and replay an embedded sample: no network, no Go needed
    Demo,
    /// Explain why a recorded command was slow or stuck
    Report(ReportArgs),
    /// Say what requires a module, which of its versions won, and what its requests cost
    Why(WhyArgs),
    /// Compare two recordings: what was served, by whom, and how fast
    Diff(DiffArgs),
    /// List the exchanges of a recording
    Ls(LsArgs),
    /// Show one exchange
    Show(ShowArgs),
    /// Complete a recording, so that every command finds what it needs in it, and prove it
    Seal(SealArgs),
    /// Write a recording in another format
    Export(ExportArgs),
    /// Convert another tool's file to a recording
    Import(ImportArgs),
    /// Compare what a recording holds with go.sum and the checksum database
    Verify(VerifyArgs),
    /// Send a recording to an object store
    Push(PushArgs),
    /// Fetch a recording from an object store
    Pull(PullArgs),
    /// Manage recordings
    Recordings(RecordingsArgs),
    /// Check Go's settings and the networks that they lead to, before any command needs them
    Doctor(DoctorArgs),
    /// Print the variables that send another terminal through a running recorder
    Env(EnvArgs),
    /// Show what running recorders and replays wait for, why, and what can be done
    Status(StatusArgs),
    /// Show a recording in a browser, while it is written too
    View(ViewArgs),
    /// Show a running recorder's certificate authority
    Ca(CaArgs),
    /// Print a shell's completion script
    Completions(CompletionsArgs),
    /// Print the manual page, or write every page to a folder
    Man(ManArgs),
    /// Print help on a command or a topic: filter, exit-codes, environment, findings
    Help(HelpArgs),
    /// Print the version
    Version(VersionArgs),
    /// Request URLs through HTTPS_PROXY as the go command would: the demo's client where Go is missing
    #[command(hide = true)]
    Fetch(FetchArgs),
    /// Enter a network namespace, report to the recorder that waits for it, and become the command
    #[command(hide = true)]
    Enter(EnterArgs),
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
    /// Run the command with an empty GOPATH and module cache, so that it downloads everything
    #[arg(long, requires = "command")]
    pub(crate) cold: bool,
    /// What a response must survive before the command sees its end
    #[arg(long, value_name = "MODE", default_value = "process")]
    pub(crate) durability: Durability,
    /// Exit with code 74 if anything could not be recorded
    #[arg(long)]
    pub(crate) require_complete: bool,
    /// Seal the recording once the command has succeeded: see `modtape seal`
    #[arg(long, requires = "command")]
    pub(crate) seal: bool,
    /// Which bodies to keep
    #[arg(long, value_name = "WHICH", default_value = "all")]
    pub(crate) bodies: KeepBodies,
    /// Store secrets in clear text; the recording is marked as such
    #[arg(long)]
    pub(crate) no_redact: bool,
    /// Write the HAR to FILE instead of the recording's session.har
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(file))]
    pub(crate) har: Option<PathBuf>,
    /// Write no HAR
    #[arg(long, conflicts_with_all = ["har", "har_bodies"])]
    pub(crate) no_har: bool,
    /// Which response bodies the HAR contains
    #[arg(long, value_name = "WHICH", default_value = "small")]
    pub(crate) har_bodies: Bodies,
    /// Which packet captures to write for Wireshark
    #[arg(long, value_name = "WHICH", default_value = "clear")]
    pub(crate) pcap: Pcap,
    /// Which bodies the clear-text capture contains
    #[arg(long, value_name = "WHICH", default_value = "small")]
    pub(crate) pcap_bodies: Bodies,
    /// Append the TLS secrets of both connections to this file (NSS key log format) [env:
    /// MODTAPE_SSLKEYLOGFILE, else SSLKEYLOGFILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) keylog: Option<PathBuf>,
    /// Intercept these hosts too; the default hosts come from GOPROXY and GOSUMDB
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) intercept: Vec<String>,
    /// Intercept every host
    #[arg(long)]
    pub(crate) intercept_all: bool,
    /// Relay connections to these hosts without intercepting them
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(crate) tunnel: Vec<String>,
    /// Send the trace to these hosts: a traceparent field, or the trace id in the field HEADER
    #[arg(long, value_name = "HOST[=HEADER]", value_delimiter = ',')]
    pub(crate) propagate: Vec<String>,
    /// The command to record
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
    /// Where and how to connect.
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
    /// How to run the command.
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Where its traces are sent.
    #[command(flatten)]
    pub(crate) otlp: OtlpArgs,
}

/// Where the upstream leg connects, and whom it trusts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct DialArgs {
    /// Proxy to connect through: a URL, `env` (HTTPS_PROXY and NO_PROXY) or `none`
    #[arg(long, value_name = "URL", default_value = "env")]
    pub(crate) upstream_proxy: String,
    /// Also trust the CA certificates in this PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream_ca: Vec<PathBuf>,
    /// Connect to ADDR instead of looking HOST up, like curl's --resolve
    #[arg(long, value_name = "HOST:PORT:ADDR")]
    pub(crate) resolve: Vec<String>,
    /// Connect to ADDR:PORT instead of HOST:PORT, like curl's --connect-to
    #[arg(long, value_name = "HOST:PORT:ADDR:PORT")]
    pub(crate) connect_to: Vec<String>,
}

/// Where and how the upstream leg connects.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct UpstreamArgs {
    /// Where it connects.
    #[command(flatten)]
    pub(crate) dial: DialArgs,
    /// Report an upstream that has sent nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) stall_after: Duration,
    /// Answer 504 when an upstream has sent nothing for this long [default: wait, as go does]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) upstream_idle_timeout: Option<Duration>,
}

/// Where metrics are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Telemetry")]
pub(crate) struct MetricsArgs {
    /// Answer Prometheus at http://ADDR:PORT/metrics. Without a port, a free one is chosen; `:9464` is that
    /// port on loopback
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = metrics)]
    pub(crate) metrics: Option<SocketAddr>,
}

/// How the wrapped command is run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct RunArgs {
    /// How the command's requests reach modtape
    #[arg(long, value_name = "MODE", default_value = "auto")]
    pub(crate) mode: Mode,
    /// Run the command in a network namespace of its own that nothing leaves: each of its TCP connections is
    /// recorded, relayed on the record or refused. Linux only
    #[arg(long, requires = "command", conflicts_with = "mode")]
    pub(crate) netns: bool,
    /// With --netns, lead these ports on loopback to those of the host
    #[arg(
        long,
        value_name = "PORT",
        value_delimiter = ',',
        requires = "netns",
        value_parser = port
    )]
    pub(crate) host_port: Vec<u16>,
    /// Address to listen on. Without a port, a free one is chosen. An address other than loopback
    /// needs --token; with --mode transparent it needs --from, and there may be one of each family
    #[arg(long, value_name = "ADDR[:PORT]", default_value = "127.0.0.1:0", value_parser = listen)]
    pub(crate) listen: Vec<SocketAddr>,
    /// With --mode transparent: clients of other machines that may connect, by their network
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(crate) from: Vec<IpNet>,
    /// Secret that clients must send to use the proxy: `auto` makes a new one, which `modtape env`
    /// prints
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
    /// End the command, or a recorder without one, after this long and exit with code 124
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Where metrics are.
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
}

/// How the command's requests reach modtape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// As it fits the system and the go command: mitm
    Auto,
    /// Through HTTPS_PROXY; the command trusts a root certificate of this run
    Mitm,
    /// As its GOPROXY, over http on loopback; no certificate is needed
    Gateway,
    /// Redirected by rules of the firewall, which `modtape env --mode transparent` prints; clients trust a
    /// root certificate of this run
    Transparent,
}

impl Mode {
    /// As it is spelled.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Mitm => "mitm",
            Self::Gateway => "gateway",
            Self::Transparent => "transparent",
        }
    }

    /// Whether modtape is the command's GOPROXY.
    pub(crate) const fn is_gateway(self) -> bool {
        matches!(self, Self::Gateway)
    }

    /// Whether the kernel redirects connections to modtape.
    pub(crate) const fn is_transparent(self) -> bool {
        matches!(self, Self::Transparent)
    }
}

/// What a recorded exchange survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// Survives a killed modtape: each response is written to the file first
    Process,
    /// Survives power loss, except for the last 50 ms: fsync runs in the background
    Group,
    /// Survives power loss; each response waits for fsync
    Strict,
}

/// Which bodies are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeepBodies {
    /// Every body
    All,
    /// Digests and sizes only; such a recording cannot be replayed
    None,
}

/// Which bodies an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bodies {
    /// Every body, whole
    All,
    /// Bodies up to 64 KiB; a packet capture holds the first 4 KiB of larger ones
    Small,
    /// No bodies
    None,
}

/// How traces show the phases of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OtlpPhases {
    /// Not at all
    None,
    /// As events of its span
    Events,
    /// As spans below its span
    Spans,
}

/// Where traces are sent.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Telemetry")]
pub(crate) struct OtlpArgs {
    /// Send the recording as OpenTelemetry traces when it has ended: to this base URL, else as
    /// OTEL_EXPORTER_OTLP_ENDPOINT and its like say, which send without this flag too
    #[arg(
        long,
        value_name = "URL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(crate) otlp: Option<String>,
    /// How traces show the phases of exchanges
    #[arg(long, value_name = "HOW", default_value = "spans")]
    pub(crate) otlp_phases: OtlpPhases,
}

/// Which packet captures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pcap {
    /// No capture
    None,
    /// The exchanges in clear text, one TCP stream each; written when the recording ends
    Clear,
    /// The real TLS records of both connections with their decryption secrets: do not share it
    Tls,
    /// Both captures
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

/// `modtape serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// File with options, each by its name: `listen = "127.0.0.1:4080"`; those of the command line win. SIGHUP
    /// reads it again
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(file))]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:4080; with a command, a free port]
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = listen)]
    pub(crate) listen: Option<SocketAddr>,
    /// Secret that the paths of clients must begin with, or that they show as a password: `auto` makes a new one.
    /// An address other than loopback needs one, or --htpasswd
    #[arg(
        long,
        value_name = "none|auto|TOKEN",
        default_value = "none",
        env = "MODTAPE_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: String,
    /// Users and passwords that let clients ask too: an htpasswd file with hashes of bcrypt (`htpasswd -B`)
    #[arg(long, value_name = "FILE")]
    pub(crate) htpasswd: Option<PathBuf>,
    /// Host by which clients know this machine, for the GOPROXY that is printed [default: the address, or the
    /// machine's own name]
    #[arg(long, value_name = "NAME", value_parser = host)]
    pub(crate) host: Option<String>,
    /// Certificates to show to clients, a PEM file with this server's own first: they speak TLS then. It is read
    /// again when it has changed
    #[arg(long, value_name = "FILE", requires = "tls_key", value_parser = OsStringValueParser::new().try_map(file))]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of `--tls-cert`, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_parser = OsStringValueParser::new().try_map(file))]
    pub(crate) tls_key: Option<PathBuf>,
    /// How many connections one client address may have at once [default: 256; this machine, any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) client_connections: Option<u32>,
    /// Module proxies to fetch from, as in GOPROXY [default: GOPROXY]
    #[arg(long, value_name = "LIST")]
    pub(crate) upstream: Option<String>,
    /// Folder where answers are kept [default: modtape/modules in your cache folder]; or the object store that is
    /// shared with other machines, s3://BUCKET/PREFIX, gs://… or az://…: its endpoint and keys are in the usual
    /// variables, such as AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID. Both may be given
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) store: Vec<PathBuf>,
    /// How much disk answers may take; those that were not used for longest make room (0: none stays)
    #[arg(long, value_name = "SIZE", default_value = "20GB", value_parser = size)]
    pub(crate) disk_max: u64,
    /// Redis or Valkey that replicas share: what changes, and whose turn it is to fetch. redis://, rediss:// or
    /// redis+unix:///PATH
    #[arg(
        long,
        value_name = "URL",
        env = "MODTAPE_REDIS",
        hide_env_values = true
    )]
    pub(crate) redis: Option<String>,
    /// Ask nobody: serve what is kept
    #[arg(long, conflicts_with = "upstream")]
    pub(crate) offline: bool,
    /// Ask nobody: serve a recording, or a tree of files (of `modtape export goproxy`, or GOMODCACHE)
    #[arg(long, value_name = "RECORDING|TREE", conflicts_with_all = ["upstream", "offline", "store"])]
    pub(crate) from: Option<String>,
    /// Keep what goes upstream as a recording of this name, or at this path: `modtape report` explains it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["from", "offline"])]
    pub(crate) record: Option<PathBuf>,
    /// How much memory answers may take (0: each is read from the store)
    #[arg(long, value_name = "SIZE", default_value = "256MB", value_parser = size)]
    pub(crate) memory: u64,
    /// Fetch nothing before it is asked for
    #[arg(long)]
    pub(crate) no_ahead: bool,
    /// How long requests in flight may take to end after a signal
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(crate) grace: Duration,
    /// Where metrics are.
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    /// Where it fetches.
    #[command(flatten)]
    pub(crate) dial: DialArgs,
    /// Leave an upstream that has sent nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration, help_heading = "Upstream")]
    pub(crate) upstream_idle_timeout: Duration,
    /// The command to run with this GOPROXY
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// `modtape cache`
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

/// What to do with what `modtape serve` keeps.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Drop a module, a version, or what changes of it, wherever it is kept
    Purge(PurgeArgs),
    /// Fill a store with all that a go.sum or a go.mod names
    Pull(CachePullArgs),
    /// List the modules of a store, or the versions of one
    Ls(CacheLsArgs),
    /// Count what a store has
    Stat(CacheStatArgs),
    /// Hold all that a store has against its digests, and against what proves it
    Verify(CacheVerifyArgs),
    /// Make room, and remove what nobody needs
    Gc(CacheGcArgs),
    /// Write a store to an archive, which another one takes over an air gap
    Export(CacheExportArgs),
    /// Keep what is proved of an archive
    Import(CacheImportArgs),
}

/// `modtape cache purge`
#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// MODULE drops all of a module, MODULE@VERSION one version or branch, MODULE@list and MODULE@latest which
    /// versions there are
    #[arg(value_name = "MODULE[@VERSION|@list|@latest]")]
    pub(crate) module: String,
    /// Folder where a server keeps answers, or object store that servers share; may be given several times
    /// [default: modtape/modules in your cache folder]
    #[arg(long, value_name = "DIR|URL")]
    pub(crate) store: Vec<PathBuf>,
    /// Redis that the servers share: all of them are told
    #[arg(
        long,
        value_name = "URL",
        env = "MODTAPE_REDIS",
        hide_env_values = true
    )]
    pub(crate) redis: Option<String>,
    /// Also trust the CA certificates in this PEM file, for the object store and Redis
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream_ca: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `modtape replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The recording: a name, a path, @last, or @2 for the one before
    pub(crate) name: String,
    /// Exit with code 1 if a request was not in the recording
    #[arg(long)]
    pub(crate) strict: bool,
    /// How to answer [default: unified if the recording is sealed; else as recorded, but with one tree head
    /// for all lookups of a checksum database where the recorded tiles prove it]
    #[arg(long, value_name = "HOW")]
    pub(crate) answers: Option<Answers>,
    /// Answer which versions there are (list, @latest, branches) as of a day, up to its end in UTC, or of an
    /// RFC 3339 instant, by the recorded .info times
    #[arg(long, value_name = "DATE", value_parser = instant)]
    pub(crate) as_of: Option<Instant>,
    /// Let the command use your GOPATH and module cache instead of empty ones
    #[arg(long, requires = "command")]
    pub(crate) warm: bool,
    /// Keep your GOPROXY and related settings instead of the recorded ones
    #[arg(long, requires = "command")]
    pub(crate) keep_env: bool,
    /// What becomes of a request that is not in the recording
    #[arg(long, value_name = "WHAT", default_value = "error")]
    pub(crate) on_miss: OnMiss,
    /// Where --on-miss record connects.
    #[command(flatten)]
    pub(crate) dial: DialArgs,
    /// With --on-miss record, give up an answer when an upstream has sent nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration, help_heading = "Upstream")]
    pub(crate) upstream_idle_timeout: Duration,
    /// The command to run
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
    /// How to run the command.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// How a recording answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Answers {
    /// So that any order and any subset passes: one tree head, and lists of what is there whole
    Unified,
    /// As recorded; only tiles are cut from wider ones
    Faithful,
}

/// An instant, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instant {
    /// When it is; of a day, its last nanosecond in UTC.
    pub(crate) at: OffsetDateTime,
    /// As it was written.
    pub(crate) text: String,
}

/// What becomes of a request that is not in the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnMiss {
    /// It is refused; no network is used
    Error,
    /// The network is asked, and what it answers is added to the recording; so is what may have changed
    /// (lists, @latest, branches, refusals) once it is a minute old
    Record,
}

/// `modtape enter`: how `--netns` starts the command.
#[derive(Debug, Args)]
pub(crate) struct EnterArgs {
    /// The socket where the recorder waits.
    pub(crate) recorder: PathBuf,
    /// What the namespace has inside, as JSON.
    pub(crate) inside: String,
    /// The command.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// `modtape ls`
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// Only exchanges that match: `host:goproxy.cn kind:zip,mod module:golang.org/x/* time:>500ms size:>1MB
    /// status:4xx phase:wait>80% outcome:fallthrough -probe "text"` (space: and, comma: or, -: not; see `modtape help filter`)
    #[arg(short, long, value_name = "FILTER", allow_hyphen_values = true)]
    pub(crate) filter: Option<String>,
    /// Sort order
    #[arg(long, value_name = "KEY", default_value = "start")]
    pub(crate) sort: SortKey,
    /// Print only the first N
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
}

/// The order of exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortKey {
    /// By start time
    Start,
    /// Longest first
    Time,
    /// Largest response body first
    Size,
    /// By host, then start time
    Host,
    /// By status code, then start time
    Status,
}

/// `modtape report`
#[derive(Debug, Args)]
#[command(after_help = "\
Each finding has a code, such as MT106: `modtape help MT106` explains it, `modtape help findings` \
lists them.")]
pub(crate) struct ReportArgs {
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// The format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: ReportFormat,
    /// Write to this file instead of stdout; `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Exit with 1 if there is one of these: a code (MT106), problem (it failed or hung), slow (that, or
    /// it cost time), stall (it hung to the end), 'total>60s' (all of it took longer)
    #[arg(long, value_name = "WHAT,...", value_delimiter = ',')]
    pub(crate) fail_on: Vec<FailOn>,
}

/// The formats of `report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// For the summary of a CI job
    Markdown,
    /// For programs
    Json,
    /// A page for a browser, in one file
    Html,
}

/// What makes `report` exit with 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FailOn {
    /// A finding with this code.
    Code(String),
    /// Something failed or hung.
    Problem,
    /// Something failed, hung or cost time.
    Slow,
    /// Something got no answer.
    Stall,
    /// The command took longer than this.
    Total(Duration),
}

/// `modtape why`
#[derive(Debug, Args)]
#[command(after_help = "\
The requirements are those of the go.mod files on the recording; `record` keeps that of the main module too.")]
pub(crate) struct WhyArgs {
    /// The module's path, or one version of it: golang.org/x/text, golang.org/x/text@v0.21.0
    #[arg(value_name = "MODULE[@VERSION]")]
    pub(crate) module: String,
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `modtape verify`
#[derive(Debug, Args)]
#[command(after_help = "\
The hash of every zip and go.mod file on the recording is computed anew. It is compared with the go.sum that \
`record` kept (main.sum), with those of --go-sum, and with the recorded answers of the checksum database: their \
signatures are verified, and their proofs as far as the recorded tiles reach. Without --against nothing is asked \
of a network. The exit code is 1 if anything differs or is not what it was asked for, and else 3 if a second proxy \
gave no usable answer.")]
pub(crate) struct VerifyArgs {
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// Compare with this go.sum too
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(file))]
    pub(crate) go_sum: Vec<PathBuf>,
    /// Count an answer of the checksum database only where the recorded tiles prove it
    #[arg(long)]
    pub(crate) sumdb: bool,
    /// Ask this module proxy for the same files and compare; not for modules that GONOPROXY or GOPRIVATE keep back
    #[arg(long, value_name = "URL")]
    pub(crate) against: Option<String>,
    /// Exit with 1 also if nothing vouches for a module; an answer of the checksum database counts as with --sumdb
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where to connect.
    #[command(flatten)]
    pub(crate) dial: DialArgs,
}

/// `modtape diff`
#[derive(Debug, Args)]
#[command(after_help = "\
Requests are compared by what they ask for, whatever host and URL. The exit code is 1 if the content differs, \
and 0 if only hosts, statuses of refusals, tree heads, protocols, issuers or times do.")]
pub(crate) struct DiffArgs {
    /// The first recording: a name, a path, @last, or @2 for the one before
    pub(crate) a: String,
    /// The second recording
    pub(crate) b: String,
    /// What to compare
    #[arg(long, value_name = "WHAT", default_value = "all")]
    pub(crate) what: DiffWhat,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `diff` compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffWhat {
    /// What was served, and by whom
    Content,
    /// Where the time went; the exit code is 0
    Timing,
    /// Both
    All,
}

/// `modtape seal`
#[derive(Debug, Args)]
#[command(after_help = "\
What is missing is asked for of the recorded GOPROXY and GOSUMDB, and appended to the recording; a recording that \
lacks nothing is sealed without a network. Sealing can be interrupted: it goes on where it stopped.")]
pub(crate) struct SealArgs {
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// Fetch the zips of all versions that any go.mod names, not only of those that are used
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where it connects.
    #[command(flatten)]
    pub(crate) dial: DialArgs,
    /// Give up an answer when an upstream has sent nothing for this long [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Upstream")]
    pub(crate) upstream_idle_timeout: Option<Duration>,
}

/// `modtape show`
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The exchange's number, such as 78 or #78
    #[arg(value_parser = exchange_id)]
    pub(crate) id: u64,
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// Print only the header fields
    #[arg(long, group = "part")]
    pub(crate) headers: bool,
    /// Print only the timings
    #[arg(long, group = "part")]
    pub(crate) timings: bool,
    /// Print only the response body, as received
    #[arg(long, group = "part")]
    pub(crate) body: bool,
    /// Print a curl command that sends the same request
    #[arg(long, group = "part")]
    pub(crate) curl: bool,
    /// Print everything as JSON
    #[arg(long, group = "part")]
    pub(crate) json: bool,
    /// Write to this file instead of stdout; `-` is stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `modtape export`
#[derive(Debug, Args)]
#[command(after_help = "\
Gaps and bodies that were not kept are reported on stderr and are no failure. Exchanges that were \
recorded but cannot be read are left out and named there; the exit code is then 3.")]
pub(crate) struct ExportArgs {
    /// The format
    pub(crate) format: ExportFormat,
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// File to write, or for goproxy a new folder; `-` is stdout
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
    /// Only exchanges that match: `host:goproxy.cn kind:zip,mod module:golang.org/x/* time:>500ms size:>1MB
    /// status:4xx phase:wait>80% outcome:fallthrough -probe "text"` (space: and, comma: or, -: not; see `modtape help filter`)
    #[arg(short, long, value_name = "FILTER", allow_hyphen_values = true)]
    pub(crate) filter: Option<String>,
    /// Which response bodies a HAR contains
    #[arg(long, value_name = "WHICH", default_value = "small")]
    pub(crate) har_bodies: Bodies,
    /// Which bodies a packet capture contains
    #[arg(long, value_name = "WHICH", default_value = "small")]
    pub(crate) pcap_bodies: Bodies,
    /// Copy the live capture (record --pcap tls) without its decryption secrets
    #[arg(long, conflicts_with_all = ["filter", "pcap_bodies"])]
    pub(crate) no_secrets: bool,
    /// Collector that otlp sends to: a base URL, to which /v1/traces is appended [default: that of
    /// OTEL_EXPORTER_OTLP_ENDPOINT, else http://localhost:4318]
    #[arg(long, value_name = "URL", conflicts_with = "output")]
    pub(crate) to: Option<String>,
    /// How otlp shows the phases of exchanges
    #[arg(long, value_name = "HOW", default_value = "spans")]
    pub(crate) otlp_phases: OtlpPhases,
    /// Whether `-o` is on the command line; [`Cli::of`] finds out.
    #[arg(skip)]
    pub(crate) output_is_given: bool,
}

/// Formats that a recording can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// HTTP Archive 1.2, for every HAR viewer
    Har,
    /// Packet capture for Wireshark in clear text, one TCP stream per exchange
    Pcapng,
    /// One JSON object per line, as `show --json` prints it
    Ndjson,
    /// Table for spreadsheets, one line per exchange; formulas are escaped with `'`
    Csv,
    /// Shell script that repeats the requests and compares statuses and digests
    Curl,
    /// Timeline with lanes for connections, processes and findings, for Perfetto and chrome://tracing
    Trace,
    /// Folder for `GOPROXY=file://DIR`, with the recorded modules and their checksums
    Goproxy,
    /// OpenTelemetry traces: sent to a collector, or with -o one line of OTLP's JSON per batch
    Otlp,
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
    /// List the recordings, newest first
    List {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Describe one recording
    Info {
        /// The recording: a name, a path, @last, or @2 for the one before
        #[arg(default_value = "@last")]
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the path of one recording, or of the folder that holds all
    Path {
        /// The recording: a name, a path, @last, or @2 for the one before
        name: Option<String>,
    },
}

/// `modtape push`
#[derive(Debug, Args)]
#[command(after_help = "\
Endpoint and keys are in the usual variables, such as AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and \
AWS_SECRET_ACCESS_KEY. What the store has already is not sent again, whichever recording it came with. \
Whoever pulls finds the recording whole, or not at all, but for its HAR file, which `modtape export har` \
writes anew; a push that was stopped can be run again.")]
pub(crate) struct PushArgs {
    /// The recording: a name, a path, @last, or @2 for the one before
    pub(crate) name: String,
    /// Where to: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX; the name may stand at its end
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// Replace another recording of that name, and send what is there already
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `modtape pull`
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    /// The recording: s3://BUCKET/PREFIX/NAME, gs://…, az://…, or its name with --from
    #[arg(value_name = "URL|NAME")]
    pub(crate) place: String,
    /// Where a name is looked for
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// Name or path of the recording here [default: its name there]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the recording of that name, if there is one
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `modtape import`
#[derive(Debug, Args)]
#[command(after_help = "\
A HAR file has no Go settings, no trailers and no ends of connections, so the recording has none \
either. Bodies are stored decoded, as the HAR file holds them. An exchange whose body is missing, \
truncated or replaced in the HAR file counts as aborted. Problems are reported on stderr, one line \
per kind. The exit code is 3 if an HTTP entry was lost or the file is truncated.")]
pub(crate) struct ImportArgs {
    /// The format
    pub(crate) format: ImportFormat,
    /// The file (plain, gzip or zip), from a browser, mitmproxy, Charles, Playwright or modtape
    pub(crate) file: PathBuf,
    /// Name or path of the recording [default: FORMAT-MMDD-HHMM]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the recording that -o names, if there is one
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// Store secrets in clear text; the recording is marked as such
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
    /// A shell, a file format (dotenv, github) or the name of one variable [default: sh]
    #[arg(value_name = "SHELL|VAR")]
    pub(crate) what: Option<String>,
    /// Print commands that restore the variables
    #[arg(long, conflicts_with = "recording")]
    pub(crate) unset: bool,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["what", "unset"])]
    pub(crate) json: bool,
    /// Print rules of the firewall that redirect connections to a recorder with --mode transparent; SHELL is
    /// nft, iptables or tproxy [default: nft, and iptables as comments]
    #[arg(long, value_name = "MODE", conflicts_with = "json")]
    pub(crate) mode: Option<RulesMode>,
    /// Redirect the connections of this user
    #[arg(long, requires = "mode", value_parser = uid)]
    pub(crate) uid: Option<u32>,
    /// Redirect the connections of this control group (cgroup v2), by its path below the mount point
    #[arg(long, value_name = "PATH", requires = "mode", value_parser = cgroup)]
    pub(crate) cgroup: Option<String>,
    /// Redirect connections to these ports only
    #[arg(long, value_name = "PORT", value_delimiter = ',', requires = "mode", value_parser = port)]
    pub(crate) port: Vec<u16>,
    /// Use the recorder of this recording [default: the newest recorder]
    #[arg(long, value_name = "NAME")]
    pub(crate) recording: Option<String>,
    /// Name under which clients reach the recorder, such as host.docker.internal [default: its address]
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["unset", "mode"])]
    pub(crate) host: Option<String>,
}

/// The mode whose rules are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RulesMode {
    /// The kernel redirects connections to modtape
    Transparent,
}

/// `modtape view`
#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// The recording: a name, a path, @last, or @2 for the one before
    #[arg(default_value = "@last")]
    pub(crate) name: String,
    /// The address of the page, on this machine; with port 0, a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Only print the address
    #[arg(long)]
    pub(crate) no_open: bool,
}

/// `modtape status`
#[derive(Debug, Args)]
#[command(after_help = "\
SIGUSR1 to modtape prints the same to its stderr, and so does Ctrl-T where the terminal sends SIGINFO.")]
pub(crate) struct StatusArgs {
    /// Only the sessions of this recording [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) recording: Option<String>,
    /// Look again every second, until they are over
    #[arg(long)]
    pub(crate) watch: bool,
    /// Print one JSON object per session and line
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Print the path of the CA bundle: system roots and modtape's root
    Path {
        /// Use the recorder of this recording [default: the newest recorder]
        #[arg(long, value_name = "NAME")]
        recording: Option<String>,
    },
    /// Print modtape's root certificate (PEM), and on stderr the hosts that it covers
    Show {
        /// Use the recorder of this recording [default: the newest recorder]
        #[arg(long, value_name = "NAME")]
        recording: Option<String>,
    },
}

/// `modtape doctor`
#[derive(Debug, Args)]
#[command(after_help = "\
Requests are sent to the hosts of GOPROXY and GOSUMDB, through the proxy that HTTPS_PROXY names, and to no other, \
with the credentials that go would send. A proxy that only a PAC file names is not used, as it is not by go. \
-v prints the settings and where each comes from. The exit code is 1 if anything is broken.")]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Where to connect.
    #[command(flatten)]
    pub(crate) dial: DialArgs,
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
    /// Write one page per command to this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// `modtape version`
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `modtape help`
#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// A command, or a topic: filter, exit-codes, environment, findings, or a code such as MT106
    #[arg(value_name = "COMMAND|TOPIC")]
    pub(crate) about: Vec<String>,
}

/// `modtape fetch`
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// URLs to request, in this order
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
