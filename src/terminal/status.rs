//! What a session waits for at one instant, as `modtape status`, SIGUSR1 and Ctrl-T show it.
//!
//! A session makes it of its live view, `modtape status` of the journal where the session cannot be
//! asked. It passes the socket as the JSON that `status --json` prints (docs/formats.md).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::look::{Look, Paint};
use super::table::{Align, Table};
use super::words::{duration, seconds, size};
use crate::child::{self, Ends, Latest};
use crate::clock::Timestamp;
use crate::diagnose::processes::Activity;
use crate::diagnose::stuck::{self, Limits, Stuck, Waiting};
use crate::exchange::{ConnectionId, ExchangeId, Phase};
use crate::gomod::Base;
use crate::proxy::{InFlight, Live, ends, waiting};
use crate::shell;

/// What a session waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// Whose it is.
    #[serde(flatten)]
    pub(crate) session: SessionId,
    /// What it is made of.
    pub(crate) source: Source,
    /// Since the session began, microseconds.
    pub(crate) wall_us: u64,
    /// Of a journal: since it was written last, microseconds, if that is known.
    #[serde(default)]
    pub(crate) written_us: Option<u64>,
    /// Exchanges that are over.
    pub(crate) done: u64,
    /// Bytes of their bodies.
    pub(crate) body_bytes: u64,
    /// What the command's processes do, while no request is in flight or one is silent: a sentence.
    pub(crate) doing: Option<String>,
    /// What is in flight, oldest first.
    pub(crate) in_flight: Vec<Entry>,
    /// What keeps some of it waiting, the longest silence first.
    pub(crate) stuck: Vec<Cause>,
}

/// A session of modtape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionId {
    /// The recording's name; of a server, where it listens.
    pub(crate) recording: String,
    /// The recording's folder, absolute; names repeat from project to project. Of a server, where it keeps answers.
    #[serde(default)]
    pub(crate) path: String,
    /// What is done with it.
    pub(crate) verb: Verb,
    /// The process of modtape, if it is known.
    pub(crate) pid: Option<u32>,
    /// The wrapped command, redacted; empty without one.
    pub(crate) command: Vec<String>,
}

/// What is done with a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    /// It is written.
    Record,
    /// It is answered from.
    Replay,
    /// None: a module proxy answers from what it keeps.
    Serve,
}

/// What a status is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// The session was asked.
    Session,
    /// The journal: it knows the phase of what is silent only, and no dial that is not.
    Journal,
}

/// Something in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The exchange; `None` for a dial that no request owns yet.
    pub(crate) id: Option<ExchangeId>,
    /// The client connection.
    pub(crate) connection: ConnectionId,
    /// The host that it waits for.
    pub(crate) host: String,
    /// What it asks for, in words; empty for a dial.
    pub(crate) what: String,
    /// The phase that it is in, if that is known.
    pub(crate) phase: Option<Phase>,
    /// True while the session waits for its client or for its disk, and not for the upstream.
    pub(crate) is_paused: bool,
    /// Since it began, microseconds.
    pub(crate) total_us: u64,
    /// Since when the upstream sent nothing, or the phase began, microseconds; if that is known.
    pub(crate) silent_us: Option<u64>,
    /// Bytes of the response body so far.
    pub(crate) body_bytes: u64,
    /// How many there are in all, if that is known.
    pub(crate) length: Option<u64>,
    /// The address that it is connected to; while it connects, all that were tried.
    pub(crate) address: Option<String>,
    /// The parent proxy, without credentials.
    pub(crate) via: Option<String>,
    /// The program that is asked for credentials before the request is sent.
    #[serde(default)]
    pub(crate) awaits: Option<String>,
}

/// What keeps something waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cause {
    /// The code that `modtape help` explains.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) cause: String,
    /// False if what is seen has other explanations, which are rare.
    pub(crate) is_certain: bool,
    /// What the go command will do about it.
    pub(crate) go: String,
    /// What the user can do, the safest first.
    pub(crate) choices: Vec<String>,
    /// What waits for it: places in `in_flight`, from 0.
    pub(crate) waiting: Vec<usize>,
}

/// A session that can be asked at any time.
#[derive(Debug, Clone)]
pub(crate) struct StatusSource {
    pub(crate) session: SessionId,
    pub(crate) live: Live,
    /// The places of GOPROXY and GOSUMDB.
    pub(crate) bases: Arc<[Base]>,
    pub(crate) limits: Limits,
    /// What the command's processes do.
    pub(crate) processes: Latest,
}

impl StatusSource {
    /// What the session waits for now.
    pub(crate) async fn now(&self) -> Status {
        let told = self.ask_tcp().await;
        let (now, in_flight) = (self.live.now(), self.live.in_flight());
        let waiting: Vec<_> = in_flight
            .iter()
            .map(|entry| {
                let told = ends(entry).and_then(|ends| told.get(&ends).copied());
                waiting(entry, now, &self.bases, told)
            })
            .collect();
        let passed = self.live.passed();
        let processes = self.processes.get();
        let activity = processes.as_ref().and_then(|doing| {
            let activity = Activity::of(&doing.sample)?;
            Some((activity, doing.lasted_us))
        });
        let mut stuck = causes(&waiting, &self.limits);
        let kept = activity
            .as_ref()
            .and_then(|(activity, us)| activity.stuck(*us));
        stuck.extend(kept.map(Cause::from));
        Status {
            schema: SCHEMA,
            session: self.session.clone(),
            source: Source::Session,
            wall_us: now.as_micros(),
            written_us: None,
            done: passed.exchanges,
            body_bytes: passed.bytes,
            in_flight: in_flight.iter().map(|one| Entry::of(one, now)).collect(),
            doing: activity.map(|(activity, us)| activity.lasting(us)),
            stuck,
        }
    }
}

impl StatusSource {
    /// What TCP says of the connections that are silent; on a thread of its own, since that reads of all
    /// that there are.
    async fn ask_tcp(&self) -> HashMap<Ends, u64> {
        let now = self.live.now();
        let is_silent =
            |entry: &&InFlight| now.micros_since(entry.progress) >= self.limits.stall_us;
        let in_flight = self.live.in_flight();
        let silent = in_flight.iter().filter(is_silent);
        let wanted: HashSet<Ends> = silent.filter_map(ends).collect();
        if wanted.is_empty() {
            return HashMap::new();
        }
        let asked = tokio::task::spawn_blocking(move || child::unacknowledged(&wanted));
        let told = tokio::time::timeout(ANSWER, asked).await;
        told.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// How long what TCP says is waited for.
const ANSWER: Duration = Duration::from_secs(1);

/// The version of the JSON.
pub(crate) const SCHEMA: u32 = 1;

impl Status {
    /// That of a session with nothing in flight, which has just begun.
    pub(crate) const fn idle(session: SessionId, source: Source) -> Self {
        Self {
            schema: SCHEMA,
            session,
            source,
            wall_us: 0,
            written_us: None,
            done: 0,
            body_bytes: 0,
            doing: None,
            in_flight: Vec::new(),
            stuck: Vec::new(),
        }
    }

    /// Adds what another part of the same session has in flight, and what keeps that waiting.
    pub(crate) fn add(&mut self, part: Self) {
        let before = self.in_flight.len();
        self.in_flight.extend(part.in_flight);
        self.stuck.extend(part.stuck.into_iter().map(|mut cause| {
            cause.waiting.iter_mut().for_each(|place| *place += before);
            cause
        }));
    }

    /// The lines of it.
    pub(crate) fn lines(&self, look: Look) -> Vec<String> {
        let mut lines = vec![self.heading(look)];
        if !self.in_flight.is_empty() {
            let mut table = Table::new([
                ("ID", Align::Right),
                ("STATE", Align::Left),
                ("FOR", Align::Right),
                ("HOST", Align::Left),
                ("WHAT", Align::Left),
            ]);
            for entry in self.in_flight.iter().take(LISTED) {
                let id = entry.id.map_or_else(|| "-".into(), |id| format!("#{id}"));
                let host = look.plain(&entry.host).into_owned();
                let lasted = duration(entry.silent_us.unwrap_or(entry.total_us));
                let what = entry.what(look);
                table.row([
                    id.into(),
                    entry.state().into(),
                    lasted.into(),
                    host.into(),
                    what.into(),
                ]);
            }
            lines.extend(table.lines(look).map(|line| line.trim_end().to_owned()));
        }
        if let more @ 1.. = self.in_flight.len().saturating_sub(LISTED) {
            lines.push(format!("  and {more} more"));
        }
        // A cause says it better.
        if let Some(doing) = self.doing.as_ref().filter(|_| self.stuck.is_empty()) {
            lines.push(look.plain(doing).into_owned());
        }
        for cause in &self.stuck {
            let sentence = format!("{} [{}]", look.plain(&cause.cause), cause.code);
            lines.push(look.paint(Paint::Yellow, &sentence));
            lines.push(format!("{}. Choices:", capital(&cause.go)));
            let choices = cause.choices.iter();
            lines.extend(choices.map(|choice| format!("  - {}", look.plain(choice))));
        }
        if self.source == Source::Journal {
            let written = self
                .written_us
                .map(|us| format!(", written {} ago", seconds(us)));
            let note = format!(
                "from the journal{}: the recorder itself cannot be asked from here",
                written.unwrap_or_default()
            );
            lines.push(look.paint(Paint::Dim, &note));
        }
        lines
    }

    /// `recordings/tidy-1122-0452  recording 1m12s  pid 4121  go mod tidy   2 in flight, 207 done`
    fn heading(&self, look: Look) -> String {
        let doing = match self.session.verb {
            Verb::Record => "recording",
            Verb::Replay => "replaying",
            Verb::Serve => "serving",
        };
        let name = look.paint(Paint::Bold, &look.plain(&self.session.place()));
        let mut line = format!("{name}  {doing} {}", duration(self.wall_us));
        if let Some(pid) = self.session.pid {
            line.push_str(&format!("  pid {pid}"));
        }
        let words = self.session.command.iter().map(|word| shell::word(word));
        let command = words.collect::<Vec<_>>().join(" ");
        if !command.is_empty() {
            line.push_str(&format!("  {}", look.plain(&command)));
        }
        let (in_flight, done) = (self.in_flight.len(), self.done);
        line.push_str(&format!("   {in_flight} in flight, {done} done"));
        if self.body_bytes > 0 {
            line.push_str(&format!(", {}", size(self.body_bytes)));
        }
        line
    }
}

impl SessionId {
    /// The recording's folder as one would name it here.
    fn place(&self) -> Cow<'_, str> {
        let path = Path::new(&self.path);
        let here = std::env::current_dir().ok();
        match here.and_then(|here| Some(path.strip_prefix(here).ok()?.to_owned())) {
            Some(below) if !below.as_os_str().is_empty() => below.display().to_string().into(),
            _ if !self.path.is_empty() => Cow::Borrowed(&self.path),
            _ => Cow::Borrowed(&self.recording),
        }
    }
}

/// How many requests in flight are listed.
const LISTED: usize = 40;

/// The causes of what is in flight.
pub(crate) fn causes(waiting: &[Waiting<'_>], limits: &Limits) -> Vec<Cause> {
    let causes = stuck::causes(waiting, limits).into_iter();
    causes.map(Cause::from).collect()
}

impl From<Stuck> for Cause {
    fn from(stuck: Stuck) -> Self {
        Self {
            code: stuck.code.to_owned(),
            cause: stuck.cause,
            is_certain: stuck.is_certain,
            go: stuck.go,
            choices: stuck.choices,
            waiting: stuck.members,
        }
    }
}

impl Entry {
    fn of(entry: &InFlight, now: Timestamp) -> Self {
        Self {
            id: entry.id,
            connection: entry.connection,
            host: entry.host.clone(),
            what: entry.what.clone(),
            phase: Some(entry.phase),
            is_paused: entry.is_paused,
            total_us: now.micros_since(entry.started),
            silent_us: Some(now.micros_since(entry.progress)),
            body_bytes: entry.bytes,
            length: entry.length,
            address: entry.address.clone(),
            via: entry.via.clone(),
            awaits: entry.awaits.clone(),
        }
    }

    fn state(&self) -> &'static str {
        match self.phase {
            Some(Phase::Receive) if self.is_paused => "client reads",
            Some(phase) => in_words(phase),
            None => "in flight",
        }
    }

    /// What it asks for and how much of it came, or where it connects to.
    fn what(&self, look: Look) -> String {
        if self.what.is_empty() {
            let address = self.address.as_deref().unwrap_or_default();
            return look.plain(address).into_owned();
        }
        let mut what = look.plain(&self.what).into_owned();
        if let Some(awaits) = &self.awaits {
            what.push_str(&format!(" (waits for {})", look.plain(awaits)));
        }
        if self.body_bytes > 0 {
            let so_far = size(self.body_bytes);
            let of = self.length.map(|length| format!(" of {}", size(length)));
            what.push_str(&format!(" ({so_far}{})", of.unwrap_or_default()));
        }
        what
    }
}

/// A phase as a state.
pub(super) const fn in_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Blocked => "blocked",
        Phase::Dns => "resolving",
        Phase::Connect => "connecting",
        Phase::Tls => "TLS handshake",
        Phase::Send => "sending",
        Phase::Wait => "waiting headers",
        Phase::Receive => "receiving",
    }
}

/// A sentence with its first letter large.
fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
