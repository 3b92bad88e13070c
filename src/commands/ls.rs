//! `modtape ls`: the exchanges of a recording, as a table or as JSON.

use std::cmp::Reverse;
use std::io::Write;
use std::process::ExitCode;

use super::failure::Failure;
use super::selection;
use super::selection::open;
use crate::cli::{Global, LsArgs, SortKey};
use crate::diagnose::outcome::{Listed, Meaning};
use crate::exchange::{MadeBy, Phase};
use crate::filter::Filter;
use crate::gomod::Location;
use crate::recording::Recording;
use crate::recording::reader::RowState;
use crate::terminal::json;
use crate::terminal::table::{Align, Cell, Table};
use crate::terminal::words::{count, duration, since_start, size};
use crate::terminal::{Look, Paint, to_stdout};

/// Prints the list.
pub(super) fn run(args: &LsArgs, global: &Global) -> Result<ExitCode, Failure> {
    let filter = selection::filter(args.filter.as_deref())?;
    let recording = open(&args.name, global)?;
    let list = List::new(&recording, &filter, args.sort, args.top);
    let look = Look::of_stdout(global);
    to_stdout(|out| match args.json {
        true => list.write_json(out),
        false => list.write_table(out, look),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The exchanges that are listed, and the extent of the whole recording.
struct List<'a> {
    listed: Vec<Listed<'a>>,
    exchanges: usize,
    total_us: u64,
}

impl<'a> List<'a> {
    fn new(recording: &'a Recording, filter: &Filter, sort: SortKey, top: Option<usize>) -> Self {
        let rows = recording.rows();
        let times = rows.iter().map(|row| row.phases.total_us());
        let total_us = times.fold(0, u64::saturating_add);
        let mut shown = selection::rows(recording, filter);
        // All sorts are stable: what is equal stays by start.
        match sort {
            SortKey::Start => {}
            SortKey::Time => shown.sort_by_key(|row| Reverse(row.phases.total_us())),
            SortKey::Size => shown.sort_by_key(|row| Reverse(row.bytes)),
            SortKey::Host => shown.sort_by_cached_key(|row| Location::of(&row.url).host),
            SortKey::Status => shown.sort_by_key(|row| (row.status.is_none(), row.status)),
        }
        shown.truncate(top.unwrap_or(usize::MAX));
        let meaning = Meaning::of(recording);
        let listed = shown.into_iter().map(|row| meaning.list(row)).collect();
        Self {
            listed,
            exchanges: rows.len(),
            total_us,
        }
    }

    fn write_json(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        for one in &self.listed {
            out.write_all(json::line(one)?.as_bytes())?;
        }
        Ok(())
    }

    fn write_table(&self, out: &mut dyn Write, look: Look) -> anyhow::Result<()> {
        let mut table = Table::new([
            ("ID", Align::Right),
            ("START", Align::Right),
            ("TIME", Align::Right),
            ("WAIT", Align::Right),
            ("RECV", Align::Right),
            ("SIZE", Align::Right),
            ("STATUS", Align::Left),
            ("HOST", Align::Left),
            ("WHAT", Align::Left),
        ]);
        for one in &self.listed {
            table.row(cells(one, look));
        }
        for line in table.lines(look).skip(usize::from(self.listed.is_empty())) {
            out.write_all(line.as_bytes())?;
        }
        writeln!(out, "{}", self.footer())?;
        Ok(())
    }

    /// `4 of 412 exchanges, 10.3 s of 93.7 s request time`
    fn footer(&self) -> String {
        let (shown, all) = (self.listed.len(), count(self.exchanges as u64, "exchange"));
        let total = duration(self.total_us);
        if shown == self.exchanges {
            return format!("{all}, {total} request time");
        }
        let part = duration(sum(&self.listed));
        format!("{shown} of {all}, {part} of {total} request time")
    }
}

fn sum(listed: &[Listed<'_>]) -> u64 {
    let times = listed.iter().map(|one| one.total_us);
    times.fold(0, u64::saturating_add)
}

fn cells(one: &Listed<'_>, look: Look) -> [Cell; 9] {
    let phase = |phase: Phase| one.phases_us[phase].map_or_else(|| "-".into(), duration);
    let has_time = one.phases_us.iter().next().is_some();
    let what = match &one.next {
        Some(next) => format!("{} (then {next})", one.what()),
        None => one.what(),
    };
    [
        format!("#{}", one.id).into(),
        since_start(one.started_us.as_micros()).into(),
        if has_time {
            duration(one.total_us)
        } else {
            "-".into()
        }
        .into(),
        phase(Phase::Wait).into(),
        phase(Phase::Receive).into(),
        if one.status.is_some() {
            size(one.body_bytes)
        } else {
            "-".into()
        }
        .into(),
        status(one, look),
        look.plain(&one.host).into_owned().into(),
        look.plain(&what).into_owned().into(),
    ]
}

/// `200`, `404→`, `502 by modtape`, `200 aborted`, `200 faulty`, `in flight`.
pub(super) fn status(one: &Listed<'_>, look: Look) -> Cell {
    let arrow = if one.next.is_some() {
        look.glyph("→", "->")
    } else {
        ""
    };
    let code = one.status.map(|status| format!("{status}{arrow}"));
    let code = code.unwrap_or_default();
    let (text, paint) = match one.state {
        RowState::InFlight => ("in flight".into(), Some(Paint::Yellow)),
        RowState::Aborted => (format!("{code} aborted"), Some(Paint::Red)),
        RowState::Ended if one.made_by == Some(MadeBy::Modtape) => {
            let is_error = one.status.is_none_or(|status| status >= 400);
            (format!("{code} by modtape"), is_error.then_some(Paint::Red))
        }
        RowState::Ended if one.fault.is_some() => (format!("{code} faulty"), Some(Paint::Red)),
        RowState::Ended if one.status.is_some_and(|status| status >= 500) => {
            (code, Some(Paint::Red))
        }
        RowState::Ended if one.status.is_some_and(|status| status >= 400) => {
            (code, Some(Paint::Yellow))
        }
        RowState::Ended => (code, None),
    };
    Cell::painted(text.trim_start().into(), paint)
}
