//! `modtape export otlp`: the spans of a recording, sent to a collector or written to a file.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::{exit_code, is_part_of, print_losses};
use crate::cli::{ExportArgs, Global};
use crate::clock::Clock;
use crate::commands::failure::{FAILED, Failure, USAGE};
use crate::commands::otlp::{batches, drop_unusable, exporter, send, variables};
use crate::commands::output_file::write_file;
use crate::commands::runtime::{Stop, Stoppable, block_on};
use crate::commands::selection;
use crate::export::source::Losses;
use crate::filter::Filter;
use crate::recording::Recording;
use crate::telemetry::otlp::{Batches, Destination};
use crate::terminal::words::count;
use crate::terminal::{Progress, plain, say, to_stdout, warn};

/// Sends, or writes if there is a file for it.
pub(super) fn run(
    args: &ExportArgs,
    filter: &Filter,
    recording: &Recording,
    global: &Global,
) -> Result<ExitCode, Failure> {
    let mut variables = variables();
    drop_unusable(&mut variables, global);
    let rows = selection::rows(recording, filter);
    let usage = |error| Failure::new(USAGE, error);
    let mut batches = batches(recording, &rows, args.otlp_phases.into(), &variables, None);
    if args.output_is_given {
        write(args, &mut batches, recording, global)?;
    } else {
        let given = args.to.as_deref().map(|url| ("--to", url));
        let destination = Destination::of(&variables, given);
        let destination = destination.map_err(|error| usage(error.into()))?;
        let rows = rows.len();
        send_all(destination, &mut batches, rows, global)?;
    }
    let losses = Losses {
        missing: batches.missing,
        unnamed: batches.unnamed,
        ..Losses::default()
    };
    print_losses(&losses, recording, global);
    Ok(exit_code(losses.missing.is_empty()))
}

/// Writes OTLP's JSON, a batch a line.
fn write(
    args: &ExportArgs,
    batches: &mut Batches<'_>,
    recording: &Recording,
    global: &Global,
) -> Result<(), Failure> {
    if is_part_of(&args.output, recording) {
        let path = args.output.display();
        let error = anyhow!("{path} is part of the recording: choose another file");
        return Err(Failure::new(USAGE, error));
    }
    let mut spans = 0;
    let mut lines = |out: &mut dyn Write| -> anyhow::Result<()> {
        let mut out = std::io::BufWriter::new(out);
        for batch in batches.by_ref() {
            writeln!(out, "{}", crate::shell::escape_json(batch.json()))?;
            spans += batch.spans;
        }
        Ok(out.flush()?)
    };
    if args.output == Path::new("-") {
        to_stdout(lines)?;
        return Ok(());
    }
    let stop = Stop::listen()?;
    let written = write_file(&args.output, |out| {
        lines(&mut Stoppable { out, stop: &stop })
    });
    stop.explain(written)?;
    let path = args.output.display().to_string();
    let spans = count(spans, "span");
    say(global, format!("{spans} written to {}", plain(&path)));
    Ok(())
}

fn send_all(
    destination: Destination,
    batches: &mut Batches<'_>,
    rows: usize,
    global: &Global,
) -> Result<(), Failure> {
    let to = destination.to_string();
    let clock = Clock::start();
    let exporter = exporter(destination, clock).with_context(|| to.clone())?;
    let stop = Stop::listen()?;
    let mut progress = Progress::new("exchange", rows, global);
    let sent = block_on(async {
        let step = |left: usize| progress.step(rows.saturating_sub(left));
        tokio::select! {
            sent = send(&exporter, clock, batches, None, step) => Ok(sent),
            () = stop.heard() => {
                let error = anyhow!("stopped by a signal: not all was sent");
                Err(Failure::new(stop.code().unwrap_or(FAILED), error))
            }
        }
    })??;
    drop(progress);
    if let Some(message) = &sent.message {
        warn(global, plain(&format!("{to} says: {message}")));
    }
    let spans = count(sent.spans, "span");
    if let Some(error) = sent.failure {
        let part = match sent.spans {
            0 => String::new(),
            _ => format!(" after {spans}"),
        };
        return Err(anyhow!("{error}").context(format!("{to}{part}")).into());
    }
    if sent.rejected > 0 {
        let rejected = count(sent.rejected, "span");
        let error = anyhow!("{to} rejected {rejected} of {}", sent.spans + sent.rejected);
        return Err(error.into());
    }
    say(global, format!("{spans} sent to {to}"));
    Ok(())
}
