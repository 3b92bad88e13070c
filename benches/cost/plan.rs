//! The rounds: everything once in each, in an order of its own, always with a fresh recorder.
//!
//! Machines throttle in bursts, so runs that are compared lie close together, and of each figure
//! the better half counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::PlanArgs;
use crate::client::Route;
use crate::load::{LOADS, Run};
use crate::subject::Subject;

/// Every run, by the load's place in [`LOADS`] and whether it was recorded.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) args: PlanArgs,
    pub(crate) runs: BTreeMap<(usize, bool), Vec<Run>>,
}

/// The origin's process; its stdin ends with this value, and so does it.
struct Origin {
    address: SocketAddr,
    root: PathBuf,
    _folder: TempDir,
    _child: Child,
}

/// Runs all rounds.
pub(crate) async fn run(args: &PlanArgs) -> anyhow::Result<Results> {
    let origin = Origin::start().await?;
    let mut results = Results {
        args: args.clone(),
        runs: BTreeMap::new(),
    };
    let mut plan: Vec<_> = LOADS
        .iter()
        .enumerate()
        .filter(|(_, load)| load.name.contains(&args.only))
        .flat_map(|(load, _)| [(load, false), (load, true)])
        .collect();
    for round in 0..args.rounds {
        shuffle(&mut plan, u64::from(round));
        for &(load, is_recorded) in &plan {
            eprint!(
                "\rround {} of {}  {:<16}",
                round + 1,
                args.rounds,
                LOADS[load].name
            );
            let run = one(args, &origin, load, is_recorded).await;
            let run = run.with_context(|| LOADS[load].name)?;
            results
                .runs
                .entry((load, is_recorded))
                .or_default()
                .push(run);
        }
    }
    eprintln!("\r{:40}", "");
    Ok(results)
}

async fn one(
    args: &PlanArgs,
    origin: &Origin,
    load: usize,
    is_recorded: bool,
) -> anyhow::Result<Run> {
    let subject = match is_recorded {
        true => Some(Subject::start(&args.modtape, origin.address, &origin.root).await?),
        false => None,
    };
    let route = match &subject {
        Some(subject) => Route::new(subject.address, true, subject.bundle.clone())?,
        None => Route::new(origin.address, false, origin.root.clone())?,
    };
    let extent = (Duration::from_secs_f64(args.window), args.big_bytes);
    LOADS[load].run(&route, subject.as_ref(), extent).await
}

impl Origin {
    async fn start() -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("cost-", Path::new(env!("CARGO_TARGET_TMPDIR")))?;
        let root = folder.path().join("root.pem");
        let mut child = Command::new(std::env::current_exe()?)
            .args(["origin", "--root"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok(Self {
            address: line.trim().parse().context("the origin did not start")?,
            root,
            _folder: folder,
            _child: child,
        })
    }
}

/// The same order for the same seed, so that two machines run the same plan (Fisher and Yates, with
/// the generator of Marsaglia's "Xorshift RNGs", 2003).
fn shuffle<T>(plan: &mut [T], seed: u64) {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (seed + 1);
    for last in (1..plan.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        plan.swap(
            last,
            usize::try_from(state % (last as u64 + 1)).unwrap_or(last),
        );
    }
}
