//! `modtape show`: one exchange, whole or in parts.

mod body;
mod sections;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;
use serde::Serialize;

use super::curl::{Curl, Likeness};
use super::failure::Advise as _;
use super::files::write_file;
use super::selection::open;
use crate::cli::{Global, ShowArgs};
use crate::clock::wall_text_at;
use crate::diagnose::outcome::{Listed, Meaning};
use crate::exchange::{Abort, Begin, End, Exchange, Opened, Outcome, traceparent};
use crate::recording::{Recording, Row};
use crate::shell;
use crate::terminal::json;
use crate::terminal::{Look, plain, say, to_stdout};

/// Prints the exchange, or the part of it that was asked for.
pub(super) fn run(args: &ShowArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let recording = open(&args.name, global)?;
    let shown = Shown::find(&recording, args, global)?;
    let output = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    let look = output.map_or_else(|| Look::of_stdout(global), |_| Look::of_file(global));
    if args.body {
        body::write(&shown, output, look, global)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = Vec::new();
    write(&mut text, &shown, args, (look, global))?;
    match output {
        Some(path) => write_file(path, |file| Ok(file.write_all(&text)?))?,
        None => to_stdout(|out| Ok(out.write_all(&text)?))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Whatever but the body, which is as large as it is.
fn write(
    out: &mut dyn Write,
    shown: &Shown<'_>,
    args: &ShowArgs,
    (look, global): (Look, &Global),
) -> anyhow::Result<()> {
    if args.curl {
        let curl = Curl::of(&shown.exchange.begin, shown.opened, Likeness::Readable)?;
        for left_out in &curl.left_out {
            say(global, plain(left_out));
        }
        writeln!(out, "curl -sS{}", curl.arguments)?;
    } else if args.json {
        out.write_all(json::pretty(&shown.json())?.as_bytes())?;
    } else {
        let all = !args.headers && !args.timings;
        if all {
            sections::write_general(out, shown, look)?;
        }
        if all || args.timings {
            sections::write_timings(out, shown, look)?;
        }
        if all || args.headers {
            sections::write_headers(out, shown, look)?;
        }
        if all {
            body::write_summary(out, shown, look)?;
        }
    }
    Ok(())
}

/// Which keys there are, and what they mean (docs/formats.md): grows when one goes or changes.
const SCHEMA: u32 = 1;

/// An exchange with all that is known of it.
pub(super) struct Shown<'a> {
    recording: &'a Recording,
    pub(super) listed: Listed<'a>,
    pub(super) exchange: Exchange,
    pub(super) opened: Option<&'a Opened>,
    /// As W3C Trace Context has it.
    pub(super) traceparent: String,
    /// RFC 3339 in UTC, if the recording knows when it began.
    pub(super) started: Option<String>,
}

impl<'a> Shown<'a> {
    fn find(recording: &'a Recording, args: &ShowArgs, global: &Global) -> anyhow::Result<Self> {
        let rows = recording.rows().iter().filter(|row| row.id == args.id);
        let rows: Vec<&Row> = rows.collect();
        let Some(row) = rows.last() else {
            let (id, name) = (args.id, recording.name());
            let missing = anyhow!("there is no exchange {id} in {name}");
            let path = recording.dir().to_string_lossy();
            return Err(missing).help(format!("try `modtape ls {}`", shell::word(&path)));
        };
        if rows.len() > 1 {
            let runs = rows.len();
            say(
                global,
                format!("{runs} runs have an exchange {}: this is the last", args.id),
            );
        }
        Self::new(recording, row, &Meaning::of(recording))
    }

    pub(super) fn new(
        recording: &'a Recording,
        row: &'a Row,
        meaning: &Meaning,
    ) -> anyhow::Result<Self> {
        let exchange = recording.exchange(row)?;
        let run = usize::try_from(row.run).ok();
        let run = run.and_then(|run| recording.runs().get(run));
        let trace = run.map_or_else(|| recording.manifest().trace, |open| open.trace);
        let connection = recording.connection_in(row.run, row.connection);
        Ok(Self {
            recording,
            listed: meaning.list(row),
            traceparent: traceparent(trace, exchange.begin.span),
            started: run.and_then(|open| wall_text_at(&open.wall, row.started)),
            opened: connection.and_then(|connection| connection.dial_of(&row.url, row.until())),
            exchange,
        })
    }

    const fn abort(&self) -> Option<&Abort> {
        match &self.exchange.outcome {
            Outcome::Aborted(abort) => Some(abort),
            Outcome::InFlight | Outcome::Ended(_) => None,
        }
    }

    /// What `--json` shows: the fields of `ls --json`, and these.
    pub(super) fn json(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        struct Whole<'a> {
            schema: u32,
            #[serde(flatten)]
            listed: &'a Listed<'a>,
            what: &'a str,
            started: Option<&'a str>,
            traceparent: &'a str,
            opened: Option<&'a Opened>,
            request: &'a Begin,
            response: Option<&'a End>,
            abort: Option<&'a Abort>,
        }
        Whole {
            schema: SCHEMA,
            listed: &self.listed,
            what: &self.listed.what,
            started: self.started.as_deref(),
            traceparent: &self.traceparent,
            opened: self.opened,
            request: &self.exchange.begin,
            response: self.exchange.end(),
            abort: self.abort(),
        }
    }
}
