//! The timeline in Chrome's trace event format, for Perfetto and chrome://tracing.
//!
//! The JSON object form of "Trace Event Format" (Google): complete events (`X`) whose lanes are threads
//! of a few made-up processes, with names and order as metadata (`M`), counters (`C`) and instants
//! (`i`). Times are microseconds since the start of the recording. Slices of one lane nest or do not
//! overlap, as the format demands: HTTP/2 streams that overlap have lanes of their own.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::source::{Format, Item, Source};
use crate::diagnose::case::{self, Case};
use crate::diagnose::finding::{Exhibit, Finding};
use crate::diagnose::rules::findings;
use crate::diagnose::timeline::{self, Connections, Timeline};
use crate::exchange::{ConnectionId, ExchangeId};
use crate::recording::Row;
use crate::recording::processes::{Process, Sample};
use crate::shell::escape_json;

/// The made-up processes that group the lanes.
const RECORDING: u32 = 1;
const CONNECTIONS: u32 = 2;
const PROCESSES: u32 = 3;

/// The lanes of [`RECORDING`]; those of findings follow.
const IDLE: u64 = 1;
const IN_FLIGHT: u64 = 2;
const FINDINGS: u64 = 3;

/// A trace that is being written.
pub(crate) struct Trace<W: Write> {
    out: BufWriter<W>,
    has_events: bool,
    timeline: Timeline,
    /// The place of an exchange among the timeline's items.
    items: HashMap<(u32, ExchangeId), usize>,
    /// The lane of each item of the timeline.
    lanes: Vec<u64>,
    exchanges: u64,
}

/// An event.
#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    cat: &'a str,
    ph: &'static str,
    ts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<u64>,
    pid: u32,
    tid: u64,
    /// The scope of an instant: its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

/// Where an event is drawn.
#[derive(Clone, Copy)]
struct Lane {
    pid: u32,
    tid: u64,
}

impl<W: Write> Trace<W> {
    /// Begins a trace with all but the exchanges.
    pub(crate) fn begin(out: W, source: &Source<'_>, rows: &[&Row]) -> io::Result<Self> {
        let recording = source.recording();
        let connections = case::connections(recording);
        let case = Case::of(recording, &connections);
        let timeline = case.timeline.clone();
        let items = recording.rows().iter().enumerate();
        let mut trace = Self {
            out: BufWriter::new(out),
            has_events: false,
            items: items
                .map(|(index, row)| ((row.run, row.id), index))
                .collect(),
            lanes: Vec::new(),
            timeline,
            exchanges: 0,
        };
        let manifest = recording.manifest();
        let about = json!({
            "recording": recording.name(),
            "command": manifest.command,
            "started": manifest.started,
            "tool": manifest.tool,
        });
        let about = escape_json(about.to_string());
        write!(
            trace.out,
            "{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":["
        )?;
        let is_whole = rows.len() == recording.rows().len();
        trace.draw_recording(&case)?;
        trace.lay_lanes(&case, rows)?;
        trace.draw_dials(&case, is_whole)?;
        trace.draw_processes(source)?;
        Ok(trace)
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let json = escape_json(serde_json::to_string(event)?);
        let before: &[u8] = if self.has_events { b",\n" } else { b"\n" };
        self.has_events = true;
        self.out.write_all(before)?;
        self.out.write_all(json.as_bytes())
    }

    /// A name, or the place in an order, of a lane or of a process.
    fn metadata(&mut self, lane: Lane, name: &str, args: Value) -> io::Result<()> {
        self.event(&Event {
            name,
            cat: "__metadata",
            ph: "M",
            ts: 0,
            dur: None,
            pid: lane.pid,
            tid: lane.tid,
            s: None,
            args,
        })
    }

    fn process(&mut self, pid: u32, name: &str) -> io::Result<()> {
        let lane = Lane { pid, tid: 0 };
        self.metadata(lane, "process_name", json!({ "name": name }))?;
        self.metadata(lane, "process_sort_index", json!({ "sort_index": pid }))
    }

    fn lane(&mut self, lane: Lane, name: &str) -> io::Result<()> {
        self.metadata(lane, "thread_name", json!({ "name": name }))?;
        let order = json!({ "sort_index": lane.tid });
        self.metadata(lane, "thread_sort_index", order)
    }

    /// A slice from one time to another.
    fn slice(
        &mut self,
        lane: Lane,
        (from, to): (u64, u64),
        (cat, name): (&str, &str),
        args: Value,
    ) -> io::Result<()> {
        self.event(&Event {
            name,
            cat,
            ph: "X",
            ts: from,
            dur: Some(to.saturating_sub(from)),
            pid: lane.pid,
            tid: lane.tid,
            s: None,
            args,
        })
    }

    /// What is of the recording as a whole: when no request was in flight, how many were, findings.
    fn draw_recording(&mut self, case: &Case<'_>) -> io::Result<()> {
        self.process(RECORDING, "recording")?;
        let lane = |tid| Lane {
            pid: RECORDING,
            tid,
        };
        self.lane(lane(IDLE), "no request in flight")?;
        for (from, to) in self.timeline.idle.clone() {
            let name = ("idle", "no request in flight");
            self.slice(lane(IDLE), (from, to), name, Value::Null)?;
        }
        for (ts, requests) in in_flight(&self.timeline) {
            self.event(&Event {
                name: "requests in flight",
                cat: "requests",
                ph: "C",
                ts,
                dur: None,
                pid: RECORDING,
                tid: IN_FLIGHT,
                s: None,
                args: json!({ "requests": requests }),
            })?;
        }
        for (number, finding) in findings(case).iter().enumerate() {
            let lane = lane(FINDINGS + number as u64);
            self.draw_finding(case, finding, lane)?;
        }
        Ok(())
    }

    /// A finding where its evidence is, or at the start where that has no time.
    fn draw_finding(&mut self, case: &Case<'_>, finding: &Finding, lane: Lane) -> io::Result<()> {
        let name = format!("{} {}", finding.code, finding.title);
        self.lane(lane, &format!("finding {}", finding.code))?;
        let args = json!({
            "code": finding.code,
            "severity": finding.severity,
            "title": finding.title,
            "cost_us": finding.cost_us,
            "confidence": finding.confidence,
            "hint": finding.hint,
            "estimate_us": finding.estimate_us,
            "evidence": finding.evidence,
        });
        let spans = self.spans(case, finding);
        if spans.is_empty() {
            return self.event(&Event {
                name: &name,
                cat: "finding",
                ph: "i",
                ts: 0,
                dur: None,
                pid: lane.pid,
                tid: lane.tid,
                s: Some("t"),
                args,
            });
        }
        for span in spans {
            self.slice(lane, span, ("finding", &name), args.clone())?;
        }
        Ok(())
    }

    /// When the evidence of a finding was, without overlaps.
    fn spans(&self, case: &Case<'_>, finding: &Finding) -> Vec<(u64, u64)> {
        let mut spans = Vec::new();
        for evidence in &finding.evidence {
            match &evidence.what {
                Exhibit::Exchange { run, id } => {
                    let item = self.items.get(&(*run, *id)).copied();
                    let item = item.and_then(|item| self.timeline.items.get(item));
                    spans.extend(item.map(|item| (item.from, item.until)));
                }
                Exhibit::Connection { run, id } => {
                    let dial = case.connections.get(&(*run, *id));
                    let dial = dial.and_then(|row| row.opened.as_ref());
                    spans.extend(dial.map(|dial| {
                        let from = self.timeline.at(*run, dial.started_us);
                        let phases = [dial.dns_us, dial.connect_us, dial.tls_us];
                        let us = phases.into_iter().flatten().fold(0, u64::saturating_add);
                        (from, from.saturating_add(us))
                    }));
                }
                Exhibit::Sample { run, t_us } => {
                    let at = self.timeline.at(*run, *t_us);
                    spans.push((at, at));
                }
                Exhibit::Setting { .. } | Exhibit::File { .. } => {}
            }
        }
        spans.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (from, to) in spans {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        merged
    }

    /// Gives each exchange and each failed dial a lane, and names those that are used.
    fn lay_lanes(&mut self, case: &Case<'_>, rows: &[&Row]) -> io::Result<()> {
        self.process(CONNECTIONS, "connections")?;
        let is_drawn: BTreeSet<(u32, ExchangeId)> =
            rows.iter().map(|row| (row.run, row.id)).collect();
        let is_whole = rows.len() == case.asked.len();
        let mut of_connection: BTreeMap<(u32, ConnectionId), Vec<usize>> = BTreeMap::new();
        for (index, item) in self.timeline.items.iter().enumerate() {
            let key = match item.source {
                timeline::Source::Row(row) => {
                    let row = case.asked[row].row;
                    let is_drawn = is_drawn.contains(&(row.run, row.id));
                    is_drawn.then_some((row.run, row.connection))
                }
                timeline::Source::Dial(key, _) => is_whole.then_some(key),
            };
            if let Some(key) = key {
                of_connection.entry(key).or_default().push(index);
            }
        }
        self.lanes = vec![0; self.timeline.items.len()];
        let runs = case.asked.last().map_or(0, |asked| asked.row.run);
        let mut next = 1;
        for (key, items) in of_connection {
            let used = lanes(&self.timeline, items, |item, lane| {
                self.lanes[item] = next + lane;
            });
            let name = connection_name(key, case.connections, runs > 0);
            for lane in 0..used {
                let name = match lane {
                    0 => name.clone(),
                    lane => format!("{name} ({})", lane + 1),
                };
                let lane = Lane {
                    pid: CONNECTIONS,
                    tid: next + lane,
                };
                self.lane(lane, &name)?;
            }
            next += used;
        }
        Ok(())
    }

    /// The dials that failed before there was a request.
    fn draw_dials(&mut self, case: &Case<'_>, is_whole: bool) -> io::Result<()> {
        for index in 0..self.timeline.items.len() {
            let timeline::Source::Dial((run, connection), _) = self.timeline.items[index].source
            else {
                continue;
            };
            let dial = case.dial_of(&self.timeline.items[index]);
            let Some(dial) = dial.filter(|_| is_whole) else {
                continue;
            };
            let args = json!({
                "run": run,
                "connection": connection,
                "target": dial.target,
                "error": dial.error,
                "tries": dial.tries,
                "via": dial.upstream.as_ref().and_then(|upstream| upstream.via.clone()),
            });
            let name = format!("no connection to {}", dial.target);
            self.draw_item(index, ("dial", &name), args)?;
        }
        Ok(())
    }

    /// An item with its phases inside.
    fn draw_item(&mut self, index: usize, name: (&str, &str), args: Value) -> io::Result<()> {
        let lane = Lane {
            pid: CONNECTIONS,
            tid: self.lanes[index],
        };
        let item = &self.timeline.items[index];
        let span = (item.from, item.until);
        let pieces = item.pieces.clone();
        self.slice(lane, span, name, args)?;
        for piece in pieces {
            let piece = &self.timeline.pieces[piece];
            let span = (piece.from, piece.to);
            let name = piece.phase.map_or("modtape", |phase| phase.name());
            self.slice(lane, span, ("phase", name), Value::Null)?;
        }
        Ok(())
    }

    /// What the command's processes did, a lane each. A sample holds until the next one.
    fn draw_processes(&mut self, source: &Source<'_>) -> io::Result<()> {
        let recording = source.recording();
        if recording.samples().is_empty() {
            return Ok(());
        }
        self.process(PROCESSES, "processes of the command")?;
        let mut shown: BTreeMap<u32, Shown> = BTreeMap::new();
        let mut named = BTreeSet::new();
        let mut last = 0;
        for row in recording.samples() {
            // Runs follow each other, and the clock of one may go on beyond what is known of its end.
            let at = self.timeline.at(row.run, row.at).max(last);
            last = at;
            let sample = match recording.sample(row) {
                Ok(sample) => sample,
                Err(error) => {
                    source.note_missing(format!("a sample: {error}"));
                    Sample::default()
                }
            };
            let mut now: BTreeMap<u32, Process> = sample
                .processes
                .into_iter()
                .map(|process| (process.pid, process))
                .collect();
            // What did not change goes on.
            let is_over = |pid: &u32, shown: &Shown| {
                now.get(pid).is_none_or(|process| shown.differs(process))
            };
            let over: Vec<u32> = shown
                .iter()
                .filter(|(pid, shown)| is_over(pid, shown))
                .map(|(pid, _)| *pid)
                .collect();
            for pid in over {
                if let Some(shown) = shown.remove(&pid) {
                    self.draw_process(pid, &shown, at)?;
                }
            }
            now.retain(|pid, _| !shown.contains_key(pid));
            for (pid, process) in now {
                if named.insert(pid) {
                    let name = format!("{} {pid}", process.name);
                    let tid = u64::from(pid);
                    self.lane(
                        Lane {
                            pid: PROCESSES,
                            tid,
                        },
                        &name,
                    )?;
                }
                shown.insert(pid, Shown { since: at, process });
            }
        }
        let end = self.timeline.wall_us.max(last);
        for (pid, shown) in shown {
            self.draw_process(pid, &shown, end)?;
        }
        Ok(())
    }

    fn draw_process(&mut self, pid: u32, shown: &Shown, until: u64) -> io::Result<()> {
        let lane = Lane {
            pid: PROCESSES,
            tid: pid.into(),
        };
        let args = serde_json::to_value(&shown.process)?;
        let state = args["state"].as_str().unwrap_or_default();
        let name = format!("{}: {state}", shown.process.name);
        self.slice(lane, (shown.since, until), ("process", &name), args)
    }
}

/// A process as it was seen first, since it has been so.
struct Shown {
    since: u64,
    process: Process,
}

impl Shown {
    /// Whether something else is to be drawn. Counters grow with every look, and are those of the first.
    fn differs(&self, process: &Process) -> bool {
        let Process {
            name, state, file, ..
        } = process;
        (&self.process.name, &self.process.state, &self.process.file) != (name, state, file)
    }
}

/// `connection 3: proxy.golang.org:443`, with the run where there are several.
fn connection_name(key: (u32, ConnectionId), connections: &Connections, has_runs: bool) -> String {
    let opened = connections.get(&key).and_then(|row| row.opened.as_ref());
    let target = opened.map_or(String::new(), |opened| format!(": {}", opened.target));
    let run = match has_runs {
        true => format!("run {}, ", key.0 + 1),
        false => String::new(),
    };
    format!("{run}connection {}{target}", key.1)
}

/// Puts each of `items` in the first lane that is free when it begins; gives the number of lanes.
fn lanes(timeline: &Timeline, mut items: Vec<usize>, mut put: impl FnMut(usize, u64)) -> u64 {
    items.sort_by_key(|item| (timeline.items[*item].from, *item));
    let mut free: BTreeSet<u64> = BTreeSet::new();
    // Those that are taken, by when they are free again; the first to be free on top.
    let mut taken: BinaryHeap<std::cmp::Reverse<(u64, u64)>> = BinaryHeap::new();
    let mut used = 0;
    for index in items {
        let item = &timeline.items[index];
        while let Some(std::cmp::Reverse((until, lane))) = taken.peek().copied() {
            if until > item.from {
                break;
            }
            taken.pop();
            free.insert(lane);
        }
        let lane = free.pop_first().unwrap_or_else(|| {
            used += 1;
            used - 1
        });
        put(index, lane);
        taken.push(std::cmp::Reverse((item.until, lane)));
    }
    used
}

/// How many requests were in flight, from each instant on at which that changed.
fn in_flight(timeline: &Timeline) -> Vec<(u64, i64)> {
    let mut changes: BTreeMap<u64, i64> = BTreeMap::new();
    for item in &timeline.items {
        *changes.entry(item.from).or_default() += 1;
        *changes.entry(item.until).or_default() -= 1;
    }
    let mut now = 0;
    let changes = changes.into_iter().filter(|(_, change)| *change != 0);
    let counts = changes.map(|(at, change)| {
        now += change;
        (at, now)
    });
    counts.collect()
}

impl<W: Write> Format for Trace<W> {
    fn push(&mut self, item: &Item<'_>) -> io::Result<()> {
        let listed = &item.listed;
        let Some(index) = self.items.get(&(listed.run, listed.id)).copied() else {
            return Ok(());
        };
        let args = json!({
            "id": listed.id,
            "run": listed.run,
            "method": listed.method,
            "url": listed.url,
            "kind": listed.route.kind,
            "module": listed.route.module,
            "version": listed.route.version,
            "status": listed.status,
            "outcome": listed.outcome.name(),
            "body_bytes": listed.body_bytes,
            "total_us": listed.total_us,
            "fault": listed.fault,
            "why": item.abort().map(|abort| &abort.why),
        });
        self.exchanges += 1;
        self.draw_item(index, ("request", &listed.what()), args)
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()?;
        Ok(self.exchanges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::exchange::Phase;
    use crate::recording::reader::RowState;

    fn row(id: u64, started: u64, us: u64) -> Row {
        let url = "https://proxy.golang.org/a.b/c/@v/list";
        Row {
            started: Timestamp::from_micros(started),
            phases: [(Phase::Wait, us)].into_iter().collect(),
            state: RowState::Ended,
            ..Row::answered(id, url, 200)
        }
    }

    #[test]
    fn what_overlaps_has_lanes_of_its_own_and_what_follows_takes_the_first_that_is_free() {
        let rows = [
            row(1, 0, 100),
            row(2, 10, 20),
            row(3, 20, 10),
            row(4, 30, 10),
            row(5, 100, 0),
            row(6, 100, 10),
        ];
        let timeline = Timeline::of(&rows, &Connections::default(), 0, |_| false);
        let mut found = vec![0; rows.len()];
        let used = lanes(&timeline, (0..rows.len()).collect(), |item, lane| {
            found[item] = lane;
        });
        assert_eq!((found, used), (vec![0, 1, 2, 1, 0, 0], 3));
        let changes = [(0, 1), (10, 2), (20, 3), (30, 2), (40, 1)];
        assert_eq!(in_flight(&timeline)[..5], changes);
        assert_eq!(in_flight(&timeline).last(), Some(&(110, 0)));
    }
}
