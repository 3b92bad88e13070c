//! `modtape recordings`: `list`, `info` and `path`.
//!
//! The list opens only those that no recorder closed; `info` reads the whole journal, so that all
//! damage shows.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use super::failure::FAILED;
use super::selection::resolve;
use super::session::running;
use crate::cli::{Global, RecordingsArgs, RecordingsCommand};
use crate::clock::{Timestamp, wall_text_at};
use crate::diagnose::tally::Tally;
use crate::exchange::chain;
use crate::gomod::Location;
use crate::recording::Recording;
use crate::recording::folder::{self, Entry};
use crate::recording::format::{Gap, Manifest, Packets, Replayable, RunMode, State, Totals};
use crate::recording::reader::Status;
use crate::terminal::table::{Align, Table};
use crate::terminal::words::{count, duration, size};
use crate::terminal::{Look, Paint, json, packets_text, say, to_stdout, warn};

/// Runs the subcommand.
pub(super) fn run(args: &RecordingsArgs, global: &Global) -> anyhow::Result<ExitCode> {
    match &args.command {
        RecordingsCommand::List { json } => return list(*json, global),
        RecordingsCommand::Info { name, json } => info(name, *json, global)?,
        RecordingsCommand::Path { name } => match name {
            Some(name) => print_path(&resolve(name, global)?, global)?,
            None => print_path(&global.recordings, global)?,
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the bytes of the path, or on a terminal visible characters.
fn print_path(path: &Path, global: &Global) -> anyhow::Result<()> {
    let look = Look::of_stdout(global);
    to_stdout(|out| {
        if look.is_terminal {
            writeln!(out, "{}", look.plain(&path.to_string_lossy()))?;
        } else {
            out.write_all(path.as_os_str().as_bytes())?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
}

/// One recording; the fields of `recordings list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    /// Its folder's name.
    name: String,
    /// Its folder.
    path: String,
    /// `closed`, `sealed`, `recording`, `unfinished`, or `unreadable`.
    status: &'static str,
    /// When it was started, RFC 3339 in UTC.
    started: Option<String>,
    /// The wrapped command; empty without one.
    command: Vec<String>,
    /// Wall time, microseconds.
    wall_us: u64,
    /// Exchanges begun.
    exchanges: u64,
    /// Bytes of response bodies.
    body_bytes: u64,
    /// The wrapped command's exit code.
    exit_code: Option<i32>,
    /// Whether a replay will be complete, as far as that is known without reading the journal of a
    /// closed recording.
    replayable: bool,
    /// Why the recording cannot be read, if it is `unreadable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Lists the recordings; the exit code says whether all could be read.
fn list(as_json: bool, global: &Global) -> anyhow::Result<ExitCode> {
    let dir = &global.recordings;
    let listing = folder::list(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let entries = listing.entries;
    if entries.is_empty() && listing.unreadable.is_empty() {
        let look = Look::of_stderr(global);
        let shown = dir.display().to_string();
        say(
            global,
            format!(
                "no recordings in {}; try `modtape demo`",
                look.plain(&shown)
            ),
        );
    }
    let lines: Vec<_> = entries.iter().map(Line::of).collect();
    let look = Look::of_stdout(global);
    to_stdout(|out| {
        if as_json {
            for line in &lines {
                out.write_all(json::line(line)?.as_bytes())?;
            }
        } else if !lines.is_empty() {
            for line in table(&lines, look).lines(look) {
                out.write_all(line.as_bytes())?;
            }
        }
        Ok(())
    })?;
    for (path, error) in &listing.unreadable {
        warn(global, format!("cannot read {}: {error}", path.display()));
    }
    let unread = lines.iter().filter_map(|line| line.error.as_deref());
    for error in unread.clone() {
        warn(global, error);
    }
    Ok(match listing.unreadable.is_empty() && unread.count() == 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILED),
    })
}

impl Line {
    fn of(entry: &Entry) -> Self {
        let mut line = Self {
            name: entry.name.clone(),
            path: entry.path.to_string_lossy().into_owned(),
            status: "unreadable",
            started: None,
            command: Vec::new(),
            wall_us: 0,
            exchanges: 0,
            body_bytes: 0,
            exit_code: None,
            replayable: false,
            error: None,
        };
        let closed = entry
            .manifest
            .as_ref()
            .filter(|manifest| manifest.state != State::Open);
        let mut is_whole = true;
        let (manifest, extent) = if let Some(manifest) = closed {
            line.status = match manifest.state {
                State::Sealed => "sealed",
                State::Open | State::Closed => "closed",
            };
            (manifest.clone(), Extent::of_closed(manifest))
        } else {
            let recording = match Recording::open(&entry.path) {
                Ok(recording) => recording,
                Err(error) => {
                    line.error = Some(chain(&error));
                    return line;
                }
            };
            line.status = status_word(recording.status());
            is_whole = recording.damage().is_empty() && recording.torn_tail().is_none();
            (recording.manifest().clone(), Extent::of(&recording))
        };
        line.started = Some(started(&manifest));
        line.command = manifest.command;
        line.wall_us = extent.wall_us;
        line.exchanges = extent.totals.exchanges;
        line.body_bytes = extent.totals.body_bytes;
        line.exit_code = manifest.exit_code;
        line.replayable = manifest.replayable.complete && is_whole;
        line
    }
}

fn table(lines: &[Line], look: Look) -> Table<6> {
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("STARTED", Align::Left),
        ("STATUS", Align::Left),
        ("TOOK", Align::Right),
        ("RECORDED", Align::Left),
        ("COMMAND", Align::Left),
    ]);
    for line in lines {
        let started = line
            .started
            .as_deref()
            .map_or("-", |started| to_seconds(started));
        let recorded = format!(
            "{}, {}",
            count(line.exchanges, "exchange"),
            size(line.body_bytes)
        );
        table.row([
            look.plain(&line.name).into_owned().into(),
            look.plain(started).into_owned().into(),
            line.status.into(),
            duration(line.wall_us).into(),
            recorded.into(),
            look.plain(&line.command.join(" ")).into_owned().into(),
        ]);
    }
    table
}

/// RFC 3339 up to its seconds.
fn to_seconds(started: &str) -> &str {
    started.get(..19).unwrap_or(started)
}

const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Closed => "closed",
        Status::Sealed => "sealed",
        Status::Recording => "recording",
        Status::Unfinished => "unfinished",
    }
}

/// When a recording was started, in the form of all outputs; unchanged if it is not a valid time.
fn started(manifest: &Manifest) -> String {
    let started = wall_text_at(&manifest.started, Timestamp::default());
    started.unwrap_or_else(|| manifest.started.clone())
}

/// How much a recording holds.
struct Extent {
    totals: Totals,
    /// From the start of its last run to its end, microseconds.
    wall_us: u64,
}

impl Extent {
    /// From the manifest of a closed recording, else counted in the journal.
    fn of(recording: &Recording) -> Self {
        if matches!(recording.status(), Status::Closed | Status::Sealed) {
            return Self::of_closed(recording.manifest());
        }
        let table = recording.table();
        Self {
            totals: table.totals(),
            wall_us: table.last.as_micros(),
        }
    }

    fn of_closed(manifest: &Manifest) -> Self {
        Self {
            totals: manifest.totals,
            wall_us: manifest.wall_us,
        }
    }
}

/// The fields of `recordings info --json`.
#[derive(Debug, Serialize)]
struct Info {
    /// Its folder's name.
    name: String,
    /// Its folder.
    path: String,
    /// The random id.
    id: String,
    /// `closed`, `sealed`, `recording` or `unfinished`.
    status: Status,
    /// The process that records it right now, if that can be found.
    recorder_pid: Option<u32>,
    /// When it was started, RFC 3339 in UTC.
    started: String,
    /// The wrapped command; empty without one.
    command: Vec<String>,
    /// Its exit code.
    exit_code: Option<i32>,
    /// How its requests reached the recorder.
    mode: Option<RunMode>,
    /// Wall time, microseconds.
    wall_us: u64,
    /// How many recorders wrote it, one after the other.
    runs: usize,
    /// Counts.
    totals: Totals,
    /// How many of what modtape answered itself are offers to relay the checksum database.
    #[serde(skip)]
    relay_offers: u64,
    /// Connections that were dialled for requests, as a report counts them.
    #[serde(skip)]
    dials: u64,
    /// What became of the packets of a command in a network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<Packets>,
    /// Whether a replay will be complete, and if not, why.
    replayable: Replayable,
    /// Exchanges by host, the host with the most exchanges first.
    hosts: Vec<Host>,
    /// Hosts that were intercepted.
    intercepted: Vec<String>,
    /// Whether every host was intercepted.
    intercept_all: bool,
    /// Whether secrets were redacted.
    redacted: bool,
    /// The settings of the go command.
    go_env: BTreeMap<String, String>,
    /// The go command's version.
    go_version: Option<String>,
    /// The program that wrote it.
    tool: String,
    /// The format's version.
    format: u32,
    /// What was not recorded or is lost.
    gaps: Vec<Gap>,
    /// What is wrong with the journal.
    damage: Vec<Place>,
    /// Bytes after the last record: normal where a recorder was killed.
    torn_tail_bytes: u64,
}

/// One host.
#[derive(Debug, Serialize)]
struct Host {
    host: String,
    exchanges: u64,
    body_bytes: u64,
}

/// One damaged place.
#[derive(Debug, Serialize)]
struct Place {
    offset: u64,
    bytes: u64,
    what: String,
}

/// Describes one recording.
fn info(name: &str, as_json: bool, global: &Global) -> anyhow::Result<()> {
    let dir = resolve(name, global)?;
    let mut info = Info::of(&Recording::open_whole(&dir)?);
    info.recorder_pid = (info.status == Status::Recording)
        .then(|| running::recorder_of(&dir))
        .flatten();
    let look = Look::of_stdout(global);
    to_stdout(|out| {
        if as_json {
            Ok(out.write_all(json::pretty(&info)?.as_bytes())?)
        } else {
            info.write(out, look)
        }
    })
}

impl Info {
    fn of(recording: &Recording) -> Self {
        let manifest = recording.manifest().clone();
        let Extent { totals, wall_us } = Extent::of(recording);
        let damage = recording.damage().iter().map(|damage| Place {
            offset: damage.span.offset,
            bytes: damage.span.len,
            what: damage.to_string(),
        });
        Self {
            name: recording.name(),
            path: recording.dir().to_string_lossy().into_owned(),
            started: started(&manifest),
            id: manifest.id,
            status: recording.status(),
            recorder_pid: None,
            command: manifest.command,
            exit_code: manifest.exit_code,
            mode: manifest.mode,
            wall_us,
            runs: recording.runs().len(),
            totals,
            relay_offers: recording
                .rows()
                .iter()
                .filter(|row| row.is_relay_offer())
                .count() as u64,
            dials: Tally::of(recording.rows(), &recording.table().connections).dials,
            packets: manifest.packets,
            replayable: since_damaged(recording, manifest.replayable),
            hosts: hosts(recording),
            intercepted: manifest.intercepted,
            intercept_all: manifest.intercept_all,
            redacted: manifest.redacted,
            go_env: manifest.go_env,
            go_version: manifest.go_version,
            tool: manifest.tool,
            format: manifest.format,
            gaps: recording.gaps().to_vec(),
            damage: damage.collect(),
            torn_tail_bytes: recording.torn_tail().map_or(0, |tail| tail.len),
        }
    }

    fn write(&self, out: &mut dyn Write, look: Look) -> anyhow::Result<()> {
        let mut line = |name: &str, text: &str| {
            let name = look.paint(Paint::Dim, &format!("{name:<12}"));
            writeln!(out, "{name} {}", look.plain(text))
        };
        line("recording", &format!("{} ({})", self.name, self.path))?;
        line("status", &self.status())?;
        line("started", &self.started)?;
        if !self.command.is_empty() {
            line("command", &self.command.join(" "))?;
        }
        if let Some(code) = self.exit_code {
            line("exit code", &code.to_string())?;
        }
        if let Some(mode) = self.mode {
            line("mode", mode.name())?;
        }
        line("wall time", &duration(self.wall_us))?;
        line("exchanges", &self.exchanges())?;
        line("bodies", &size(self.totals.body_bytes))?;
        line("connections", &self.connections())?;
        if let Some(packets) = &self.packets {
            line("namespace", &packets_text(packets))?;
        }
        self.write_replay(&mut line)?;
        for (number, host) in self.hosts.iter().enumerate() {
            let exchanges = count(host.exchanges, "exchange");
            let text = format!("{}  {exchanges}, {}", host.host, size(host.body_bytes));
            line(if number == 0 { "hosts" } else { "" }, &text)?;
        }
        let all = self.intercept_all.then_some("every host");
        line("intercepted", all.unwrap_or(&self.intercepted.join(", ")))?;
        let redacted = if self.redacted {
            "redacted"
        } else {
            "not redacted: may be in clear text"
        };
        line("secrets", redacted)?;
        let go = self.go_version.as_deref().unwrap_or("no go command");
        line(
            "made by",
            &format!("{}, {go}, format {}", self.tool, self.format),
        )?;
        for gap in &self.gaps {
            line("gap", &format!("{}: {}", gap.what, gap.why))?;
        }
        for place in &self.damage {
            line("damage", &place.what)?;
        }
        Ok(())
    }

    fn write_replay(
        &self,
        line: &mut impl FnMut(&str, &str) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let is_known = !matches!(self.status, Status::Recording | Status::Unfinished);
        match &self.replayable {
            Replayable { complete: true, .. } => line(
                "replay",
                match self.status {
                    Status::Sealed => "complete for every command",
                    _ => "complete for its command",
                },
            ),
            _ if self.status == Status::Recording => {
                line("replay", "unknown until the recorder ends")
            }
            Replayable { reasons, .. } if reasons.is_empty() || !is_known => {
                line("replay", "unknown: the recorder did not shut down cleanly")
            }
            Replayable {
                reasons, faults, ..
            } => {
                line("replay", "partial")?;
                reasons.iter().try_for_each(|reason| line("", reason))?;
                faults
                    .iter()
                    .try_for_each(|fault| line("fault", &fault.to_string()))
            }
        }
    }

    fn status(&self) -> String {
        let mut status = match (self.status, self.recorder_pid) {
            (Status::Recording, Some(pid)) => format!("being recorded by pid {pid}"),
            (Status::Recording, None) => String::from("being recorded"),
            (status, _) => status_word(status).to_owned(),
        };
        if !self.damage.is_empty() {
            let places = count(self.damage.len() as u64, "place");
            status.push_str(&format!(", damaged in {places}"));
        }
        // A line that is being written may be incomplete.
        if self.torn_tail_bytes > 0 && self.status != Status::Recording {
            let tail = size(self.torn_tail_bytes);
            status.push_str(&format!(", {tail} of an unfinished line at the end"));
        }
        status
    }

    fn exchanges(&self) -> String {
        let Totals {
            exchanges,
            aborted,
            made_by_modtape,
            ..
        } = self.totals;
        let mut text = exchanges.to_string();
        if aborted > 0 {
            text.push_str(&format!(", {aborted} without a complete response"));
        }
        match made_by_modtape.saturating_sub(self.relay_offers) {
            0 => {}
            errors => text.push_str(&format!(", {errors} answered by modtape itself")),
        }
        match self.relay_offers {
            0 => {}
            1 => text.push_str(", 1 in which modtape offered to relay the checksum database"),
            many => text.push_str(&format!(
                ", {many} in which modtape offered to relay the checksum database"
            )),
        }
        text
    }

    fn connections(&self) -> String {
        let Totals {
            connections,
            tunnels,
            tunnel_bytes,
            ..
        } = self.totals;
        let mut text = connections.to_string();
        if tunnels > 0 {
            let (tunnels, bytes) = (count(tunnels, "tunnel"), size(tunnel_bytes));
            text.push_str(&format!(", of which {tunnels} ({bytes})"));
        }
        // These are the clients'. A gateway has its own upstream, and any connection may be dialled again.
        if self.dials != connections.saturating_sub(tunnels) {
            text.push_str(&format!("; {} upstream", count(self.dials, "dial")));
        }
        text
    }
}

/// What the manifest says of replays, which no longer holds if the journal was changed after the
/// close.
fn since_damaged(recording: &Recording, message: Replayable) -> Replayable {
    let is_whole = recording.damage().is_empty() && recording.torn_tail().is_none();
    if is_whole || !message.complete {
        return message;
    }
    Replayable {
        complete: false,
        reasons: vec!["was complete when closed; damaged since".into()],
        faults: Vec::new(),
        unchecked: false,
    }
}

/// The host with the most exchanges first, then by name.
fn hosts(recording: &Recording) -> Vec<Host> {
    let mut hosts = BTreeMap::<String, (u64, u64)>::new();
    for row in recording.rows() {
        let (exchanges, bytes) = hosts.entry(Location::of(&row.url).host).or_default();
        *exchanges += 1;
        *bytes = bytes.saturating_add(row.bytes);
    }
    let hosts = hosts
        .into_iter()
        .map(|(host, (exchanges, body_bytes))| Host {
            host,
            exchanges,
            body_bytes,
        });
    let mut hosts: Vec<_> = hosts.collect();
    hosts.sort_by_key(|host| std::cmp::Reverse(host.exchanges));
    hosts
}
