//! The rounds: everything once in each, in an order of its own, always with a fresh recorder.
//!
//! Machines throttle in bursts, so runs that are compared lie close together, and of each figure
//! the better half counts.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::PlanArgs;
use crate::client::Route;
use crate::load::{Extent, LOADS, Load, Run};
use crate::origin::Origin;
use crate::subject::Program;

/// Every run, by the load's place in [`LOADS`] and the way's in `ways`.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) args: PlanArgs,
    pub(crate) ways: Vec<Way>,
    pub(crate) runs: BTreeMap<(usize, usize), Vec<Run>>,
}

/// How long one run may take: some rivals leave a request without an answer.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a rival may take for a small part of a load, its start included.
const TRIAL_LIMIT: Duration = Duration::from_secs(10);

/// A way from the client to the origin.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) name: String,
    /// `None`: straight there.
    pub(crate) program: Option<Program>,
}

impl Way {
    fn is_rival(&self) -> bool {
        matches!(self.program, Some(Program::Rival(_)))
    }
}

/// The way without a proxy, the first of all.
pub(crate) const DIRECT: usize = 0;

/// The way through modtape as it is by default, the second.
pub(crate) const RECORDED: usize = 1;

/// All ways, in the order of the report.
fn ways(args: &PlanArgs) -> Vec<Way> {
    let modtape = |options: &[String]| Program::Modtape {
        path: args.modtape.clone(),
        options: options.to_vec(),
    };
    let way = |name: &str, program| Way {
        name: name.to_owned(),
        program,
    };
    let mut ways = vec![way("direct", None), way("recorded", Some(modtape(&[])))];
    for (name, options) in &args.also {
        ways.push(way(name, Some(modtape(options))));
    }
    for (name, command) in &args.rival {
        ways.push(way(name, Some(Program::Rival(command.clone()))));
    }
    ways
}

/// Runs all rounds.
pub(crate) async fn run(args: &PlanArgs) -> anyhow::Result<Results> {
    let origin = Origin::start().await?;
    let mut results = Results {
        args: args.clone(),
        ways: ways(args),
        runs: BTreeMap::new(),
    };
    let is_wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|only| name.contains(only));
    let plan: Vec<_> = LOADS
        .iter()
        .enumerate()
        .filter(|(_, load)| is_wanted(load.name))
        .flat_map(|(load, _)| (0..results.ways.len()).map(move |way| (load, way)))
        .collect();
    let mut plan = possible(args, &origin, &results.ways, plan).await;
    let is_terminal = std::io::stderr().is_terminal();
    for round in 0..args.rounds {
        shuffle(&mut plan, u64::from(round));
        let mut failed = Vec::new();
        for &(load, way) in &plan {
            let through = &results.ways[way];
            if is_terminal {
                let (name, by) = (LOADS[load].name, &through.name);
                eprint!("\rround {} of {}  {name} {by:<24}", round + 1, args.rounds);
            }
            match one(args, &origin, load, through, LIMIT).await {
                Ok(run) => results.runs.entry((load, way)).or_default().push(run),
                Err(error) if through.is_rival() => {
                    eprintln!("\rwithout {error:#}");
                    failed.push((load, way));
                }
                Err(error) => return Err(error),
            }
        }
        // Not again in the rounds to come, and the table lacks its row.
        plan.retain(|pair| !failed.contains(pair));
        results.runs.retain(|pair, _| !failed.contains(pair));
    }
    if is_terminal {
        eprintln!("\r{:60}", "");
    }
    Ok(results)
}

/// The plan without what a rival cannot do, which is tried in small and said before the rounds.
async fn possible(
    args: &PlanArgs,
    origin: &Origin,
    ways: &[Way],
    plan: Vec<(usize, usize)>,
) -> Vec<(usize, usize)> {
    let small = PlanArgs {
        window: 0.2,
        big_bytes: 1_000_000,
        idle: 10,
        ..args.clone()
    };
    let mut possible = Vec::new();
    for (load, way) in plan {
        if ways[way].is_rival()
            && let Err(error) = one(&small, origin, load, &ways[way], TRIAL_LIMIT).await
        {
            eprintln!("without {error:#}");
        } else {
            possible.push((load, way));
        }
    }
    possible
}

/// One run, within a limit.
async fn one(
    args: &PlanArgs,
    origin: &Origin,
    load: usize,
    way: &Way,
    limit: Duration,
) -> anyhow::Result<Run> {
    let run = tokio::time::timeout(limit, through(args, origin, &LOADS[load], way)).await;
    let run = run.unwrap_or_else(|_| bail!("not over after {limit:?}"));
    run.with_context(|| format!("{}, {}", LOADS[load].name, way.name))
}

async fn through(args: &PlanArgs, origin: &Origin, load: &Load, way: &Way) -> anyhow::Result<Run> {
    let subject = match &way.program {
        Some(program) => Some(program.start(origin, load.protocol).await?),
        None => None,
    };
    let route = match &subject {
        Some(subject) => Route::new(subject.address, true, subject.bundle.clone())?,
        None => Route::new(origin.address, false, origin.root.clone())?,
    };
    let extent = Extent {
        window: Duration::from_secs_f64(args.window),
        big_bytes: args.big_bytes,
        idle: args.idle,
    };
    load.run(&route, subject.as_ref(), extent).await
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
