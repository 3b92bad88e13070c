//! `modtape status`: what running recorders and replays wait for right now.
//!
//! Each is asked on its socket: only it knows the phase of what moves, and the dials that no journal
//! has yet. Where it cannot be asked (its runtime folder is gone, or another one: `su`, a container
//! that shares the recordings) a recorder is found by the lock on its journal, which has each request
//! and, after `--stall-after`, each silence.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::failure::Advise as _;
use super::runtime::block_on;
use super::selection::resolve;
use super::session::running::{self, Running};
use super::session::socket;
use crate::cli::{Global, StatusArgs};
use crate::clock::{Clock, stamp_at};
use crate::diagnose::outcome::Meaning;
use crate::diagnose::processes::{Activity, Lasting};
use crate::diagnose::stuck::{self, Limits, Waiting};
use crate::exchange::{ConnectionId, ExchangeId, Phase, Stall};
use crate::gomod;
use crate::recording::format::JOURNAL;
use crate::recording::reader::{RowState, Status as Progress};
use crate::recording::{Recording, folder};
use crate::shell;
use crate::terminal::status::{Cause, Entry, SCHEMA, SessionId, Source, Status, Verb, causes};
use crate::terminal::words::seconds;
use crate::terminal::{Look, json, plain, say, to_open_stdout};

/// How long `--watch` waits before it looks again.
const AGAIN: Duration = Duration::from_secs(1);

/// Prints what each session waits for, once or until all are over.
pub(super) fn run(args: &StatusArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let wanted = args.recording.as_deref();
    let first = sessions(wanted, global)?;
    if first.is_empty() {
        return none(wanted, global);
    }
    let is_open = print(&first, args, global)?;
    if args.watch && is_open {
        block_on(watch(&first, args, global))??;
    }
    Ok(ExitCode::SUCCESS)
}

async fn watch(first: &[Status], args: &StatusArgs, global: &Global) -> anyhow::Result<()> {
    let mut paths = folders_of(first);
    loop {
        tokio::time::sleep(AGAIN).await;
        let sessions = sessions(args.recording.as_deref(), global)?;
        for path in paths.iter().filter(|path| !is_among(path, &sessions)) {
            if let Some(gone) = gone(path) {
                say(
                    global,
                    plain(&format!("modtape: {}: {gone}", path.display())),
                );
            }
        }
        if sessions.is_empty() {
            say(global, "modtape: nothing is recorded or replayed any more");
            return Ok(());
        }
        if !print(&sessions, args, global)? {
            return Ok(());
        }
        paths = folders_of(&sessions);
    }
}

/// The folders of the recordings that are written.
fn folders_of(sessions: &[Status]) -> Vec<PathBuf> {
    let written = sessions
        .iter()
        .filter(|status| status.session.verb == Verb::Record);
    written
        .map(|status| status.session.path.clone().into())
        .collect()
}

fn is_among(path: &Path, sessions: &[Status]) -> bool {
    let mut sessions = sessions.iter();
    sessions.any(|status| Path::new(&status.session.path) == path)
}

/// One session below the other; with `--watch`, a terminal is cleared first. False once nobody reads it.
fn print(sessions: &[Status], args: &StatusArgs, global: &Global) -> anyhow::Result<bool> {
    let look = Look::of_stdout(global);
    to_open_stdout(|out| {
        if args.json {
            for session in sessions {
                out.write_all(json::line(session)?.as_bytes())?;
            }
            return Ok(());
        }
        if args.watch && look.is_terminal {
            out.write_all(b"\x1b[H\x1b[J")?;
        }
        for (number, session) in sessions.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            for line in session.lines(look) {
                writeln!(out, "{line}")?;
            }
        }
        if args.watch && !look.is_terminal {
            writeln!(out)?;
        }
        Ok(())
    })
}

/// What the sessions wait for, the newest first; those of one recording only, if one is given.
fn sessions(wanted: Option<&str>, global: &Global) -> anyhow::Result<Vec<Status>> {
    // Without a folder where recorders are announced, their journals are there still.
    let announced = running::matching(wanted).unwrap_or_default();
    let asked: Vec<Status> = announced.iter().filter_map(ask).collect();
    if !asked.is_empty() {
        return Ok(asked);
    }
    let folders = match wanted {
        Some(name) => match resolve(name, global) {
            Ok(path) => vec![path],
            Err(_) if announced.is_empty() => return Ok(Vec::new()),
            Err(_) => Vec::new(),
        },
        None => open_folders(&global.recordings)?,
    };
    let written = folders.iter().filter_map(|path| of_journal(path));
    Ok(written.collect())
}

/// Asks a session on its socket; one that is of another version, or ends just now, is asked in vain.
fn ask(running: &Running) -> Option<Status> {
    let told = socket::ask(running.status.as_deref()?).ok();
    let status = told.and_then(|told| serde_json::from_str::<Status>(&told).ok());
    let status = status.filter(|status| status.schema == SCHEMA);
    status.or_else(|| of_journal(&running.recording))
}

/// The folders of recordings that no recorder has closed, the newest first.
fn open_folders(recordings: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listing = folder::list(recordings);
    let listing = listing.with_context(|| format!("cannot read {}", recordings.display()))?;
    let entries = listing.entries.into_iter();
    Ok(entries.map(|entry| entry.path).collect())
}

/// What a recorder waits for as far as its journal tells; `None` if no recorder writes there.
fn of_journal(dir: &Path) -> Option<Status> {
    let recording = Recording::open(dir).ok()?.of_command();
    if recording.status() != Progress::Recording {
        return None;
    }
    let open = recording.runs().last()?;
    let run = u32::try_from(recording.runs().len()).ok()?.checked_sub(1)?;
    let now = stamp_at(&open.wall, Clock::wall_now()).unwrap_or_default();
    let now = now.max(recording.table().last);
    let rows: Vec<_> = recording
        .rows()
        .iter()
        .filter(|row| row.run == run)
        .collect();
    let meaning = Meaning::of(&recording);
    let bases = gomod::bases(&recording.manifest().go_env);
    let stalls = last_stalls(&recording, run);
    let answered = rows.iter().filter(|row| row.state == RowState::Ended);
    let answered: HashSet<ConnectionId> = answered.map(|row| row.connection).collect();
    let mut seen: Vec<Seen> = Vec::new();
    for row in rows.iter().filter(|row| row.state == RowState::InFlight) {
        let listed = meaning.list(row);
        let stall = stalls.get(&(Some(row.id), row.connection)).copied();
        let connection = recording.connection_in(run, row.connection);
        let upstream = connection.and_then(|connection| {
            let dial = connection.dial_of(&row.url, now)?;
            dial.upstream.as_ref()
        });
        seen.push(Seen {
            entry: Entry {
                awaits: None,
                id: Some(row.id),
                connection: row.connection,
                host: listed.host.clone(),
                what: listed.what(),
                phase: stall.map(|stall| stall.phase),
                is_paused: false,
                total_us: now.micros_since(row.started),
                silent_us: stall.map(|stall| now.micros_since(stall.since_us)),
                body_bytes: stall.map_or(0, |stall| stall.body_bytes),
                length: stall.and_then(|stall| stall.length),
                address: upstream.and_then(|upstream| upstream.addr.clone()),
                via: upstream.and_then(|upstream| upstream.via.clone()),
            },
            kind: Some(listed.route.kind),
            is_h2: upstream.is_some_and(|upstream| upstream.alpn.as_deref() == Some("h2")),
            is_tls: row.url.starts_with("https:"),
            is_asking: stall.is_some_and(|stall| stall.is_asking),
            is_reused: answered.contains(&row.connection),
            unacknowledged_bytes: stall.and_then(|stall| stall.unacknowledged_bytes),
        });
    }
    for ((_, connection), stall) in stalls.range(..(Some(0), 0)) {
        let connection = recording.connection_in(run, *connection);
        if connection.is_some_and(|connection| connection.opened.is_some()) {
            continue;
        }
        seen.push(Seen {
            entry: Entry {
                awaits: None,
                id: None,
                connection: stall.connection,
                host: stall.host.clone(),
                what: String::new(),
                phase: Some(stall.phase),
                is_paused: false,
                total_us: now.micros_since(stall.since_us),
                silent_us: Some(now.micros_since(stall.since_us)),
                body_bytes: 0,
                length: None,
                address: stall.address.clone(),
                via: stall.via.clone(),
            },
            kind: None,
            is_h2: false,
            is_tls: false,
            is_asking: stall.is_asking,
            is_reused: false,
            unacknowledged_bytes: stall.unacknowledged_bytes,
        });
    }
    let waiting: Vec<_> = seen.iter().map(|seen| seen.waiting(&bases)).collect();
    // What is on record as a stall was one by the recorder's own limit.
    let limits = Limits {
        stall_us: 0,
        ..Limits::default()
    };
    let over = rows.iter().filter(|row| row.state != RowState::InFlight);
    let mut stuck = causes(&waiting, &limits);
    let mut lasting = Lasting::default();
    let mut sample = None;
    for row in recording.samples().iter().filter(|row| row.run == run) {
        sample = recording.sample(row).ok();
        lasting.see(row.at, sample.as_ref());
    }
    let activity = sample.as_ref().and_then(Activity::of);
    let activity = activity.map(|activity| (activity, now.micros_since(lasting.since())));
    let kept = activity
        .as_ref()
        .and_then(|(activity, us)| activity.stuck(*us));
    stuck.extend(kept.map(Cause::from));
    Some(Status {
        schema: SCHEMA,
        session: SessionId {
            recording: recording.name(),
            path: std::path::absolute(dir).map_or_else(
                |_| dir.display().to_string(),
                |path| path.display().to_string(),
            ),
            verb: Verb::Record,
            pid: running::recorder_of(dir),
            command: open.command.clone(),
        },
        source: Source::Journal,
        wall_us: now.as_micros(),
        written_us: written_us(dir),
        done: over.clone().count() as u64,
        body_bytes: over.fold(0, |sum, row| sum.saturating_add(row.bytes)),
        doing: activity.map(|(activity, us)| activity.lasting(us)),
        in_flight: seen.into_iter().map(|seen| seen.entry).collect(),
        stuck,
    })
}

/// The silences of a run that are not over, by exchange and connection; those of dials, which belong to
/// no exchange, come first.
fn last_stalls(
    recording: &Recording,
    run: u32,
) -> BTreeMap<(Option<ExchangeId>, ConnectionId), &Stall> {
    let mut last = BTreeMap::new();
    for row in recording.stalls().iter().filter(|row| row.run == run) {
        last.insert((row.stall.id, row.stall.connection), &row.stall);
    }
    last.retain(|_, stall| !stall.is_over);
    last
}

/// Something in flight by the journal.
struct Seen {
    entry: Entry,
    kind: Option<gomod::Kind>,
    is_h2: bool,
    is_tls: bool,
    is_asking: bool,
    is_reused: bool,
    unacknowledged_bytes: Option<u64>,
}

impl Seen {
    fn waiting<'a>(&'a self, bases: &[gomod::Base]) -> Waiting<'a> {
        let entry = &self.entry;
        Waiting {
            id: entry.id,
            connection: entry.connection,
            host: &entry.host,
            is_sumdb: stuck::is_sumdb(&entry.host, bases),
            kind: self.kind,
            is_h2: self.is_h2,
            // Of what is not known to be silent, it is supposed that it moves.
            phase: entry.phase.unwrap_or(Phase::Receive),
            is_asking: self.is_asking,
            silent_us: entry.silent_us.unwrap_or(0),
            is_upstreams_turn: entry.silent_us.is_some(),
            bytes: entry.body_bytes,
            length: entry.length,
            address: entry.address.as_deref(),
            unacknowledged_bytes: self.unacknowledged_bytes,
            via: entry.via.as_deref(),
            is_tls: self.is_tls,
            is_reused: self.is_reused,
            awaits: None,
        }
    }
}

/// Since when nothing was written to the journal, microseconds.
fn written_us(dir: &Path) -> Option<u64> {
    let written = fs::metadata(dir.join(JOURNAL)).ok()?.modified().ok()?;
    let ago = Clock::wall_now().duration_since(written).ok()?;
    u64::try_from(ago.as_micros()).ok()
}

/// The error if there is nothing to print: what was left unfinished is told of.
fn none<T>(wanted: Option<&str>, global: &Global) -> anyhow::Result<T> {
    let dir = match wanted {
        Some(name) => Some(resolve(name, global)?),
        None => open_folders(&global.recordings)
            .ok()
            .and_then(|folders| folders.into_iter().next()),
    };
    let gone = dir.as_deref().and_then(gone);
    let word = |dir: &Path| shell::word(&dir.to_string_lossy()).into_owned();
    match (wanted, dir, gone) {
        (Some(name), Some(dir), Some(gone)) => {
            Err(anyhow!("{name} is not recorded any more: {gone}")).help(format!(
                "`modtape report {}` explains it as far as it got",
                word(&dir)
            ))
        }
        (Some(name), dir, _) => {
            let dir = word(&dir.unwrap_or_else(|| name.into()));
            Err(anyhow!("{name} is not recorded or replayed now"))
                .help(format!("`modtape report {dir}` explains what was recorded"))
        }
        (None, Some(dir), Some(gone)) => Err(anyhow!(
            "nothing is recorded or replayed now; {} was left unfinished: {gone}",
            dir.display()
        ))
        .help(format!(
            "`modtape report {}` explains it as far as it got",
            word(&dir)
        )),
        (None, ..) => Err(anyhow!("nothing is recorded or replayed now"))
            .help("start it in another terminal: `modtape record -- go mod tidy`"),
    }
}

/// `its recorder is gone, and wrote last 12 s ago`, if nobody closed the recording.
fn gone(dir: &Path) -> Option<String> {
    let recording = Recording::open(dir).ok()?.of_command();
    if recording.status() != Progress::Unfinished {
        return None;
    }
    let written = written_us(dir).map(|us| format!(", and wrote last {} ago", seconds(us)));
    Some(format!(
        "its recorder is gone{}",
        written.unwrap_or_default()
    ))
}
