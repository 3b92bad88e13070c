//! `modtape export`: a recording in another format, and what of it could not be exported.

mod goproxy;
mod otlp;

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use super::failure::{Advise as _, FAILED, Failure, USAGE};
use super::output_file::write_file;
use super::runtime::{Stop, Stoppable};
use super::selection::{self, open};
use crate::capture::sink::Section;
use crate::capture::{self, StripError, Stripped};
use crate::cli::{self, ExportArgs, ExportFormat, Global};
use crate::export::curl::Script;
use crate::export::har::Har;
use crate::export::pcapng::Capture;
use crate::export::rows::{Csv, Ndjson};
use crate::export::source::{Bodies, Format, Losses, Source};
use crate::export::trace::Trace;
use crate::recording::format::{CAPTURE, HAR, LIVE_CAPTURE};
use crate::recording::{Recording, Row};
use crate::terminal::words::count;
use crate::terminal::{Progress, plain, say, to_stdout, warn};

/// Writes the recording in the requested format. Leaving out exchanges that cannot be read is a
/// failure, although the rest is written.
pub(super) fn run(args: &ExportArgs, global: &Global) -> Result<ExitCode, Failure> {
    let filter = selection::filter(args.filter.as_deref())?;
    let is_tree = args.format == ExportFormat::Goproxy;
    if is_tree {
        goproxy::check_output(args)?;
    }
    let recording = open(&args.name, global)?;
    if is_tree {
        let report = goproxy::write(args, &recording, global)?;
        print_losses(&report.losses, &recording, global);
        report.print(&args.output, global);
        return Ok(exit_code(report.losses.missing.is_empty()));
    }
    if args.format == ExportFormat::Otlp {
        return otlp::run(args, &filter, &recording, global);
    }
    if is_part_of(&args.output, &recording) {
        let path = args.output.display();
        let error = anyhow!("{path} is part of the recording: choose another file");
        return Err(Failure::new(USAGE, error));
    }
    if args.no_secrets {
        return strip(args, global, &recording);
    }
    // A timeline is the command's; whatever else was fetched has none in it.
    let recording = match args.format {
        ExportFormat::Trace => recording.of_command(),
        _ => recording,
    };
    let rows = selection::rows(&recording, &filter);
    let is_shown = args.output == Path::new("-") && std::io::stdout().is_terminal();
    let export = |out: &mut dyn Write| -> anyhow::Result<Written> {
        let source = Source::of(&recording);
        let mut progress = Progress::new("exchange", rows.len(), global);
        let format = format(args, out, &source, &rows, is_shown);
        let fed = source.feed(&rows, [format], |number| progress.step(number));
        let exchanges: io::Result<u64> = fed.into_iter().sum();
        let exchanges =
            exchanges.with_context(|| format!("cannot export {}", recording.dir().display()))?;
        let losses = source.into_losses();
        Ok(Written { exchanges, losses })
    };
    let mut is_whole = true;
    if args.output == Path::new("-") {
        refuse_terminal(is_shown && args.format == ExportFormat::Pcapng)?;
        to_stdout(|out| {
            let losses = export(out)?.losses;
            print_losses(&losses, &recording, global);
            is_whole = losses.missing.is_empty();
            Ok(())
        })?;
    } else {
        // A pipe may block for ever: there a signal must end the process at once.
        let stop = match std::fs::metadata(&args.output) {
            Ok(found) if !found.is_file() => Stop::default(),
            _ => Stop::listen()?,
        };
        let stop = &stop;
        let written = write_file(&args.output, |out| export(&mut Stoppable { out, stop }));
        let Written { exchanges, losses } = stop.explain(written)?;
        print_losses(&losses, &recording, global);
        is_whole = losses.missing.is_empty();
        let path = args.output.display().to_string();
        let exchanges = count(exchanges, "exchange");
        say(global, format!("{exchanges} written to {}", plain(&path)));
    }
    Ok(exit_code(is_whole))
}

/// Success if all that was recorded is in the export.
fn exit_code(is_whole: bool) -> ExitCode {
    match is_whole {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    }
}

/// A finished export.
struct Written {
    /// How many exchanges are in the file.
    exchanges: u64,
    losses: Losses,
}

/// Begins a file of the requested format; `is_shown` if it goes to a terminal.
fn format<'a>(
    args: &ExportArgs,
    out: &'a mut dyn Write,
    source: &'a Source<'a>,
    rows: &[&Row],
    is_shown: bool,
) -> io::Result<Box<dyn Format + 'a>> {
    let (har, pcap) = (args.har_bodies.into(), args.pcap_bodies.into());
    Ok(match args.format {
        ExportFormat::Har => Box::new(Har::begin(out, source, har)?),
        ExportFormat::Pcapng => Box::new(Capture::begin(out, source, rows, pcap)?),
        ExportFormat::Ndjson => Box::new(Ndjson::begin(out)),
        ExportFormat::Csv => Box::new(Csv::begin(out, is_shown)?),
        ExportFormat::Curl => Box::new(Script::begin(out, source)?),
        ExportFormat::Trace => Box::new(Trace::begin(out, source, rows)?),
        ExportFormat::Goproxy => unreachable!("a tree is not one file"),
        ExportFormat::Otlp => unreachable!("spans are not fed by a source"),
    })
}

impl From<cli::Bodies> for Bodies {
    fn from(bodies: cli::Bodies) -> Self {
        match bodies {
            cli::Bodies::All => Self::All,
            cli::Bodies::Small => Self::Small,
            cli::Bodies::None => Self::None,
        }
    }
}

/// Copies the live capture, without its secrets.
fn strip(args: &ExportArgs, global: &Global, recording: &Recording) -> Result<ExitCode, Failure> {
    let path = recording.dir().join(LIVE_CAPTURE);
    let file = File::open(&path)
        .with_context(|| format!("cannot read {}", path.display()))
        .help(
            "only `modtape record --pcap tls` writes it; without --no-secrets, the export is a \
             clear-text capture",
        )?;
    let manifest = recording.manifest();
    let comment = format!(
        "recording={} trace={}\nThe TLS records of both connections as they were captured, without \
         their decryption secrets and without anything outside of TLS.",
        manifest.id, manifest.trace
    );
    let section = Section {
        tool: &manifest.tool,
        comment: &comment,
        origin: capture::LIVE,
    };
    let mut stripped = Stripped::default();
    let mut copy = |out: &mut dyn Write| -> Result<(), StripError> {
        stripped = capture::strip(&file, out, &section)?;
        Ok(())
    };
    let named = || format!("{} is damaged", path.display());
    if args.output == Path::new("-") {
        refuse_terminal(std::io::stdout().is_terminal())?;
        to_stdout(|out| copy(out).with_context(named))?;
    } else {
        write_file(&args.output, |file| copy(file).with_context(named))?;
        let packets = count(stripped.packets, "packet");
        let to = args.output.display().to_string();
        say(global, format!("{packets} written to {}", plain(&to)));
    }
    if stripped.is_cut {
        warn(global, "the capture ends in the middle of a packet");
    }
    Ok(exit_code(!stripped.is_cut))
}

fn refuse_terminal(is_shown: bool) -> Result<(), Failure> {
    if is_shown {
        Err::<(), _>(anyhow!("refusing to print binary data to a terminal"))
            .help("use -o FILE")
            .map_err(|error| Failure::new(USAGE, error))?;
    }
    Ok(())
}

/// Whether a file is part of the recording. Those that are made from the journal do not count: an
/// export may replace them.
fn is_part_of(path: &Path, recording: &Recording) -> bool {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let beside = || {
        Ok(parent
            .canonicalize()?
            .join(path.file_name().unwrap_or_default()))
    };
    let whole: std::io::Result<_> = path.canonicalize().or_else(|_| beside());
    let (Ok(whole), Ok(dir)) = (whole, recording.dir().canonicalize()) else {
        return false;
    };
    let is_projection = [HAR, CAPTURE].iter().any(|name| whole == dir.join(name));
    whole.starts_with(&dir) && !is_projection
}

/// How many gaps of a recording are named.
const NAMED: usize = 20;

/// Reports what the export lacks of `recording`.
fn print_losses(losses: &Losses, recording: &Recording, global: &Global) {
    for missing in &losses.missing {
        warn(global, format!("left out {}", plain(missing)));
    }
    if losses.unnamed > 0 {
        warn(global, format!("left out {} more", losses.unnamed));
    }
    if losses.not_kept > 0 {
        let bodies = match losses.not_kept {
            1 => String::from("1 body that was"),
            bodies => format!("{bodies} bodies that were"),
        };
        warn(global, format!("left out {bodies} not kept when recorded"));
    }
    if losses.unprintable > 0 {
        let fields = count(losses.unprintable, "header field");
        let named = "comments in the script name them";
        warn(
            global,
            format!("left out {fields} with control characters: {named}"),
        );
    }
    for gap in recording.gaps().iter().take(NAMED) {
        let text = format!("not recorded: {}: {}", gap.what, gap.why);
        warn(global, plain(&text));
    }
}
