//! `modtape report`: why a recorded command was slow or stuck.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::failure::{Advise as _, Failure, USAGE};
use super::manual;
use super::output_file::write_file;
use super::selection::open;
use crate::cli::{FailOn, Global, ReportArgs, ReportFormat};
use crate::diagnose::finding::{Finding, Severity};
use crate::diagnose::report::Report;
use crate::diagnose::rules::RULES;
use crate::recording::Recording;
use crate::report::{Data, html};
use crate::terminal::words::count;
use crate::terminal::{Look, Progress, json, report, say, to_stdout, warn};

/// Exit code where the answer is a bad one: `--fail-on` found what it names.
const FOUND: u8 = 1;

/// Prints the report.
pub(super) fn run(args: &ReportArgs, global: &Global) -> Result<ExitCode, Failure> {
    check(&args.fail_on)?;
    let recording = open(&args.name, global)?.of_command();
    let made = Report::of(&recording);
    let output = args.output.as_deref();
    let output = output.filter(|path| *path != Path::new("-"));
    let look = output.map_or_else(|| Look::of_stdout(global), |_| Look::of_file(global));
    let bytes = match args.format {
        ReportFormat::Text => report::text(&made, look).into_bytes(),
        ReportFormat::Markdown => report::markdown(&made).into_bytes(),
        ReportFormat::Json => json::pretty(&made)?.into_bytes(),
        ReportFormat::Html => page(&recording, &made, global)?,
    };
    match output {
        Some(path) => write_file(path, |file| Ok(file.write_all(&bytes)?))?,
        None => to_stdout(|out| Ok(out.write_all(&bytes)?))?,
    }
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        for line in report::annotations(&made) {
            say(global, line);
        }
    }
    let hits: Vec<String> = args
        .fail_on
        .iter()
        .filter_map(|what| hit(what, &made))
        .collect();
    for hit in &hits {
        say(global, format!("modtape: --fail-on: {hit}"));
    }
    Ok(match hits.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FOUND),
    })
}

/// The report as a page.
fn page(recording: &Recording, made: &Report, global: &Global) -> Result<Vec<u8>, Failure> {
    let mut progress = Progress::new("exchange", recording.rows().len(), global);
    let (data, unread) = Data::of(recording, made, |number| progress.step(number));
    drop(progress);
    if unread > 0 {
        let lost = count(unread as u64, "exchange");
        warn(
            global,
            format!("not on the page, since the recording is damaged there: {lost}"),
        );
    }
    Ok(html(&data).context("cannot make the page")?)
}

/// A code that no rule has is a typing error, and would never fail.
fn check(fail_on: &[FailOn]) -> Result<(), Failure> {
    for what in fail_on {
        let FailOn::Code(code) = what else { continue };
        if !RULES.iter().any(|rule| rule.code == code) {
            let error = Err(anyhow!("--fail-on {code}: no finding has this code"));
            let near = manual::similar_codes(code);
            let error =
                error.help(near.unwrap_or_else(|| String::from("see `modtape help findings`")));
            return error.map_err(|error| Failure::new(USAGE, error));
        }
    }
    Ok(())
}

/// What of the report is named, if anything.
fn hit(what: &FailOn, report: &Report) -> Option<String> {
    let is_named = |finding: &&Finding| match what {
        FailOn::Code(named) => finding.code == named,
        FailOn::Problem => finding.severity == Severity::Problem,
        FailOn::Slow => finding.severity != Severity::Note,
        FailOn::Stall => finding.is_stall,
        FailOn::Total(_) => false,
    };
    if let FailOn::Total(limit) = what {
        let took = Duration::from_micros(report.wall_us);
        return (took > *limit).then(|| format!("it took {took:.1?}, more than {limit:?}"));
    }
    let mut findings = report.findings.iter();
    let found = findings.find(is_named)?;
    Some(format!(
        "{} {}",
        found.code,
        crate::terminal::plain(&found.title)
    ))
}
