//! `modtape diff`: what differs between two recordings.

use std::process::ExitCode;

use super::answers::{Answers, complete_faults};
use super::runtime::Stop;
use super::selection::open;
use crate::cli::{DiffArgs, DiffWhat, Global};
use crate::diagnose::diff::{Compared, Diff, Pair, Scope};
use crate::terminal::{Look, Progress, diff, json, to_stdout};

/// Exit code where the content differs.
const DIFFERS: u8 = 1;

/// Prints the differences.
pub(super) fn run(args: &DiffArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let (mut a, mut b) = (open(&args.a, global)?, open(&args.b, global)?);
    // Nothing is written: a signal may end the process.
    let stop = Stop::default();
    let _ = complete_faults(&mut a, &stop, global);
    let _ = complete_faults(&mut b, &stop, global);
    let compared = |recording| Compared {
        recording,
        source: Answers(recording),
    };
    let both = Pair {
        a: compared(&a),
        b: compared(&b),
    };
    let scope = Scope {
        content: args.what != DiffWhat::Timing,
        timing: args.what != DiffWhat::Content,
    };
    let mut progress = None;
    let found = Diff::of(&both, scope, |done, all| {
        let progress =
            progress.get_or_insert_with(|| Progress::new("comparing answer", all, global));
        progress.step(done);
    });
    drop(progress);
    let text = match args.json {
        true => json::pretty(&found)?,
        false => diff::text(&found, Look::of_stdout(global)),
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(match found.differs() {
        true => ExitCode::from(DIFFERS),
        false => ExitCode::SUCCESS,
    })
}
