//! What recording costs: the release binary as a child process, under load from here.
//!
//! `cargo bench --bench cost` starts an origin (this executable in another role), and for each run
//! a fresh recorder, and drives both from one thread. It prints CPU per request, throughput and
//! latency beside those of the same client without a recorder, and of other programs in its place
//! (`--rival`, `--also`; `benches/rivals/run`). The roles `origin` and `relay` also serve
//! `benches/tidy` and `benches/ways`. Nothing here leaves loopback.

mod client;
#[path = "../../tests/it/support/corpus.rs"]
#[expect(
    dead_code,
    reason = "a library for tests: the bench needs its folders only"
)]
mod corpus;
mod figures;
mod load;
mod origin;
mod plan;
mod relay;
mod report;
mod subject;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

/// What recording costs, in CPU, throughput, latency and memory
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    plan: PlanArgs,
    #[command(subcommand)]
    role: Option<Role>,
}

/// How long and what.
#[derive(Debug, Clone, Args)]
struct PlanArgs {
    /// Rounds; each runs everything once, in an order of its own
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    rounds: u32,
    /// Seconds of load in each run
    #[arg(long, default_value_t = 1.0)]
    window: f64,
    /// Bytes of the large body
    #[arg(long, default_value_t = 500_000_000)]
    big_bytes: u64,
    /// Tunnels of the idle load
    #[arg(long, default_value_t = 1000)]
    idle: u32,
    /// Only the loads whose name contains this; may be given again
    #[arg(long)]
    only: Vec<String>,
    /// modtape once more with other options, `group=--durability group`; may be given again
    #[arg(long, value_name = "NAME=OPTIONS", value_parser = named, allow_hyphen_values = true)]
    also: Vec<(String, Vec<String>)>,
    /// Another proxy in its place, `NAME=PROGRAM ARGUMENTS`; may be given again
    #[arg(long, value_name = "NAME=COMMAND", value_parser = named)]
    rival: Vec<(String, Vec<String>)>,
    /// The program to measure: a copy of what `cargo build --release` makes, since `cargo bench` puts
    /// its own build, with less optimisation, in that one's place
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/modtape"))]
    modtape: PathBuf,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// What cargo passes to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// What else this executable can be.
#[derive(Debug, Clone, Subcommand)]
enum Role {
    /// Serve over TLS until stdin ends; prints the address
    Origin(OriginArgs),
    /// Relay every CONNECT to one address until stdin ends; prints its own
    Relay {
        /// Where every connection leads
        #[arg(long)]
        to: SocketAddr,
        /// What passes takes half of this longer, each way
        #[arg(long, default_value_t = 0)]
        round_trip_ms: u64,
    },
}

/// What the origin serves.
#[derive(Debug, Clone, Args)]
struct OriginArgs {
    /// Write the root certificate here
    #[arg(long)]
    root: PathBuf,
    /// Serve this corpus folder (it has `proxy/` and `heads/`)
    #[arg(long)]
    corpus: Option<PathBuf>,
}

/// `NAME=WORD WORD…`
fn named(text: &str) -> Result<(String, Vec<String>), String> {
    let (name, words) = text.split_once('=').ok_or("no = after the name")?;
    let words = words.split_ascii_whitespace().map(str::to_owned);
    Ok((name.to_owned(), words.collect()))
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(async {
        match cli.role {
            Some(Role::Origin(args)) => origin::run(&args).await,
            Some(Role::Relay { to, round_trip_ms }) => {
                relay::run(to, Duration::from_millis(round_trip_ms)).await
            }
            None => report::print(&plan::run(&cli.plan).await?, cli.plan.json),
        }
    })
}
