//! Records to rows: one small row an exchange, without headers and bodies.
//!
//! What a recording keeps in memory while it is open; everything else is read again when asked for.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read as _};

use serde::{Deserialize, Serialize};

use super::scan::{Damage, DamageKind, Findings, Span, scan};
use crate::clock::Timestamp;
use crate::exchange::{
    Abort, Begin, Closed, ConnectionId, Digest, End, ExchangeId, Hex, MadeBy, Mode, Opened, Stall,
    Target, Timings,
};
use crate::recording::format::{
    Close, Connection, FORMAT_VERSION, Gap, Manifest, Open, Replayable, State, Totals,
};
use crate::recording::line::{BeginSummary, EndSummary, Happened, RowState, Summary};
use crate::recording::manifest::open_from;

/// How much of the journal is read at once, bytes.
const READ_AHEAD: usize = 256 << 10;

/// What lists and filters need of an exchange, without reading it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The exchange; unique within its run.
    pub id: ExchangeId,
    /// The run that it belongs to, counted from 0: each `open` line of the journal begins one.
    pub(crate) run: u32,
    /// The client connection that it came on.
    pub(crate) connection: ConnectionId,
    /// When it started, since its run was opened.
    #[serde(rename = "started_us")]
    pub(crate) started: Timestamp,
    /// The phases that are known.
    #[serde(rename = "phases_us")]
    pub(crate) phases: Timings,
    /// What we took after the last byte was read, microseconds.
    pub(crate) own_us: u64,
    /// Status, if a head came.
    pub status: Option<u16>,
    /// What became of it.
    pub(crate) state: RowState,
    /// Who wrote the response, if it is whole.
    pub(crate) made_by: Option<MadeBy>,
    /// Bytes of the response body.
    pub(crate) bytes: u64,
    /// Method.
    pub method: Cow<'static, str>,
    /// Absolute URL, redacted.
    pub url: String,
    /// Where its `begin` stands.
    pub begin: Span,
    /// Where its `end` or `abort` stands.
    pub end: Option<Span>,
    /// Digest of the response body.
    pub body: Option<Digest>,
}

/// A method; the usual ones take no memory of their own.
pub(super) fn method(text: &str) -> Cow<'static, str> {
    let usual = ["GET", "HEAD", "POST", "CONNECT"];
    let usual = usual.into_iter().find(|usual| *usual == text);
    usual.map_or_else(|| Cow::Owned(text.to_owned()), Cow::Borrowed)
}

#[cfg(test)]
impl Row {
    /// A GET of `url` that an origin answered, for tests.
    pub(crate) fn answered(id: ExchangeId, url: &str, status: u16) -> Self {
        Self {
            id,
            run: 0,
            connection: 1,
            started: Timestamp::default(),
            phases: Timings::default(),
            own_us: 0,
            status: Some(status),
            state: RowState::Ended,
            made_by: Some(MadeBy::Origin),
            bytes: 0,
            method: "GET".into(),
            url: url.into(),
            begin: Span::default(),
            end: None,
            body: None,
        }
    }
}

/// Rows may come from an index, which says what it likes: records are held against them.
impl Row {
    /// When it was over, as far as is known.
    pub fn until(&self) -> Timestamp {
        let us = self.phases.total_us().saturating_add(self.own_us);
        Timestamp::from_micros(self.started.as_micros().saturating_add(us))
    }

    /// True for a CONNECT that was refused: no request was read yet.
    pub(crate) fn is_connect(&self) -> bool {
        self.method == "CONNECT"
    }

    /// Whether modtape, as a gateway, said that it relays the checksum database: the one answer of its own that
    /// is no error.
    pub(crate) fn is_relay_offer(&self) -> bool {
        let is_own = self.made_by == Some(MadeBy::Modtape) && self.status == Some(200);
        is_own && self.url.ends_with("/supported")
    }

    /// Whether a client that follows redirects followed this one (RFC 9110 section 15.4, as `net/http`).
    pub(crate) fn is_redirect(&self) -> bool {
        let is_followed = matches!(self.status, Some(301 | 302 | 303 | 307 | 308));
        is_followed && self.state == RowState::Ended
    }

    /// Whether `begin`, of this time, is the record that this row tells of.
    pub(super) fn began_as(&self, at: Timestamp, begin: &Begin) -> bool {
        (self.id, self.connection, self.started) == (begin.id, begin.connection, at)
            && (&*self.method, &self.url) == (&*begin.method, &begin.url)
    }

    /// Whether this row tells of no end.
    pub(super) fn is_unended(&self) -> bool {
        self.state == RowState::InFlight
            && (self.phases, self.own_us, self.bytes) == (Timings::default(), 0, 0)
            && (self.status, self.made_by, self.body) == (None, None, None)
    }

    /// Whether `end` is the record that this row tells of.
    pub(super) fn ended_as(&self, end: &End) -> bool {
        let body = end.body.as_ref();
        self.state == RowState::Ended
            && (self.id, self.status, self.made_by) == (end.id, Some(end.status), Some(end.made_by))
            && (self.phases, self.own_us) == (end.phases_us, end.own_us)
            && self.bytes == body.map_or(0, |body| body.bytes)
            && self.body == body.map(|body| body.sha256)
    }

    /// Whether `abort` is the record that this row tells of.
    pub(super) fn stopped_as(&self, abort: &Abort) -> bool {
        self.state == RowState::Aborted
            && (self.id, self.status) == (abort.id, abort.status)
            && (self.phases, self.bytes) == (abort.phases_us, abort.body_bytes)
            && (self.own_us, self.made_by, self.body) == (0, None, None)
    }
}

/// A client connection, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// How it was set up; `None` if that line is lost.
    pub opened: Option<Opened>,
    /// Its further dials, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) again: Vec<Opened>,
    /// How it ended; `None` while it is open.
    pub closed: Option<Closed>,
    /// When that was, since its run was opened.
    #[serde(default, rename = "closed_us", skip_serializing_if = "Option::is_none")]
    pub(crate) closed_at: Option<Timestamp>,
    /// When its first line was written, since its run was opened.
    #[serde(rename = "at_us")]
    pub(crate) at: Timestamp,
}

impl ConnectionRow {
    /// How it was set up, and its further dials, in order.
    pub fn dials(&self) -> impl DoubleEndedIterator<Item = &Opened> {
        self.opened.iter().chain(&self.again)
    }

    /// One of [`dials`](Self::dials).
    pub(crate) fn dial(&self, index: usize) -> Option<&Opened> {
        match (&self.opened, index) {
            (Some(opened), 0) => Some(opened),
            (opened, index) => self.again.get(index - usize::from(opened.is_some())),
        }
    }

    /// The dial that an exchange with `url` went through that was over at `until`: the one to its host that
    /// began last before that, where there are several; `None` where none leads there.
    pub fn dial_of(&self, url: &str, until: Timestamp) -> Option<&Opened> {
        let target = Target::of_url(url);
        let is_there = |dial: &&Opened| target.as_ref().is_none_or(|to| leads_to(dial, to));
        let before = self.dials().filter(|dial| dial.started_us <= until);
        // Records are written when a dial is over, and it may last longer than it was waited for.
        let dial = before.filter(is_there).max_by_key(|dial| dial.started_us);
        dial.or_else(|| self.opened.as_ref().filter(is_there))
    }
}

/// The dials of a connection that has many, and many exchanges: finding that of one takes no longer for
/// all the others.
#[derive(Debug)]
pub(crate) struct Dials<'a> {
    first: Option<&'a Opened>,
    /// All of them, by start.
    all: Vec<&'a Opened>,
    /// Those that lead to a target, by start.
    by_target: HashMap<Target, Vec<&'a Opened>>,
}

impl<'a> Dials<'a> {
    pub(crate) fn of(connection: &'a ConnectionRow) -> Self {
        let mut all: Vec<&Opened> = connection.dials().collect();
        all.sort_by_key(|dial| dial.started_us);
        let mut by_target: HashMap<Target, Vec<&Opened>> = HashMap::new();
        for &dial in &all {
            for target in targets(dial) {
                by_target.entry(target).or_default().push(dial);
            }
        }
        let first = connection.opened.as_ref();
        Self {
            first,
            all,
            by_target,
        }
    }

    /// As [`ConnectionRow::dial_of`].
    pub(crate) fn dial_of(&self, url: &str, until: Timestamp) -> Option<&'a Opened> {
        let last = |dials: &[&'a Opened]| {
            let before = dials.partition_point(|dial| dial.started_us <= until);
            dials[..before].last().copied()
        };
        let Some(target) = Target::of_url(url) else {
            return last(&self.all).or(self.first);
        };
        let dials = self.by_target.get(&target)?;
        let first = self.first.filter(|dial| leads_to(dial, &target));
        last(dials).or(first)
    }
}

/// Does this dial lead to `target`?
fn leads_to(dial: &Opened, target: &Target) -> bool {
    targets(dial).any(|it| it == *target)
}

/// Where a dial leads, by the name of CONNECT and by that of the ClientHello.
fn targets(dial: &Opened) -> impl Iterator<Item = Target> {
    let dialled = dial.target.parse::<Target>().ok();
    let sni = dial.client.sni.as_deref();
    let sni = sni.filter(|_| dial.mode == Mode::Intercept);
    let named = dialled.as_ref().zip(sni);
    let named = named.and_then(|(dialled, sni)| Target::new(sni, dialled.port()).ok());
    let named = named.filter(|named| Some(named) != dialled.as_ref());
    dialled.into_iter().chain(named)
}

/// A silence of an upstream, as the last record of it tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StallRow {
    /// The run that it belongs to.
    pub(crate) run: u32,
    /// What the last record of it says: how long it was by then, and whether it was over.
    #[serde(flatten)]
    pub stall: Stall,
}

/// Where a sample of the command's processes stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleRow {
    /// The run that it belongs to, as in [`Row`].
    pub(crate) run: u32,
    /// When it was taken, since its run was opened.
    #[serde(rename = "at_us")]
    pub at: Timestamp,
    /// Its line.
    pub(crate) line: Span,
}

/// All that is kept in memory of a journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// The runs, in order.
    pub(crate) runs: Vec<Open>,
    /// The exchanges, by run, start and id.
    pub(crate) rows: Vec<Row>,
    /// The client connections, by run and id.
    pub(crate) connections: BTreeMap<(u32, ConnectionId), ConnectionRow>,
    /// The silences of upstreams that were noticed while they lasted, in order.
    pub(crate) stalls: Vec<StallRow>,
    /// Where the samples of the command's processes stand, by run and time.
    pub(crate) samples: Vec<SampleRow>,
    /// What was not recorded or is lost.
    pub(crate) gaps: Vec<Gap>,
    /// What is wrong with the journal.
    pub(crate) damage: Vec<Damage>,
    /// Bytes after the last record that are none.
    pub(crate) tail: Option<Span>,
    /// The last `close`, if nothing follows it.
    pub(crate) close: Option<Close>,
    /// The highest sequence number; 0 without records.
    pub(crate) last_seq: u64,
    /// The latest stamp of the last run.
    pub(crate) last: Timestamp,
    /// Bytes of the journal.
    pub(crate) journal_bytes: u64,
}

impl Table {
    /// The version of the first `open` that is of another format than ours.
    pub(crate) fn foreign_version(&self, known: u32) -> Option<u32> {
        let opened = self.runs.iter().map(|open| open.format);
        let unknown = self.damage.iter().filter_map(|damage| match damage.kind {
            DamageKind::Unknown { format } => format,
            _ => None,
        });
        opened.chain(unknown).find(|version| *version != known)
    }

    /// What the journal tells of what the manifest would say; `None` without a run.
    ///
    /// What it does not tell errs on the side of caution: not redacted, not replayable.
    pub(crate) fn manifest(&self) -> Option<Manifest> {
        let table = self;
        let open = table.runs.first()?;
        let opened = table.connections.values().flat_map(ConnectionRow::dials);
        let intercepted: BTreeSet<String> = opened
            .filter(|opened| opened.mode == Mode::Intercept)
            .filter_map(|opened| Some(opened.target.rsplit_once(':')?.0.to_owned()))
            .collect();
        let (id, started) = (open.recording.clone(), open.wall.clone());
        Some(Manifest {
            format: open.format,
            state: if table.close.is_some() {
                State::Closed
            } else {
                State::Open
            },
            command: open.command.clone(),
            intercepted: intercepted.into_iter().collect(),
            redacted: false,
            wall_us: table.last.as_micros(),
            totals: table
                .close
                .as_ref()
                .map_or_else(|| table.totals(), |close| close.totals),
            replayable: Replayable {
                complete: false,
                reasons: vec!["the manifest is missing or damaged".into()],
                faults: Vec::new(),
                unchecked: false,
            },
            exit_code: table.close.as_ref().and_then(|close| close.exit_code),
            ..Manifest::begun(&open.tool, id, started, open.trace)
        })
    }

    /// The counts that a recorder keeps ([`Recorder::totals`]), by the same rules, from what can be read.
    ///
    /// A connection counts once, however often it was dialled. What went through tunnels is known only
    /// of those that are closed.
    ///
    /// [`Recorder::totals`]: crate::recording::Recorder::totals
    pub(crate) fn totals(&self) -> Totals {
        let table = self;
        let rows = || table.rows.iter();
        let connections = || table.connections.values();
        let opened = || connections().filter_map(|row| row.opened.as_ref());
        let tunnelled = connections()
            .filter_map(|row| row.closed.as_ref())
            .filter(|closed| closed.tunnel);
        let made_by_us = |row: &&Row| row.made_by == Some(MadeBy::Modtape);
        Totals {
            exchanges: rows().count() as u64,
            aborted: rows().filter(|row| row.state != RowState::Ended).count() as u64,
            made_by_modtape: rows().filter(made_by_us).count() as u64,
            connections: opened().count() as u64,
            tunnels: opened()
                .filter(|opened| opened.mode == Mode::Tunnel)
                .count() as u64,
            body_bytes: rows().fold(0, |sum, row| sum.saturating_add(row.bytes)),
            tunnel_bytes: tunnelled.fold(0, |sum, closed| sum.saturating_add(closed.bytes())),
            gaps: table.gaps.len() as u64,
        }
    }
}

/// Reads the journal as long as it is now: a recorder may go on writing.
pub(crate) fn read_table(journal: &File, manifest: Option<&Manifest>) -> io::Result<Table> {
    let len = journal.metadata()?.len();
    let mut builder = Builder::new(manifest.map(open_from));
    let input = BufReader::with_capacity(READ_AHEAD, journal.take(len));
    let findings = scan(input, |span, record| builder.take(span, record))?;
    Ok(builder.finish_with(findings))
}

/// Makes a [`Table`] of records in the order of the journal.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    table: Table,
    /// The exchanges of the present run, each with its place in `rows`.
    begun: HashMap<ExchangeId, usize>,
    /// Stands in for an `open` that is lost: from the manifest, if there is one.
    lost_open: Option<Open>,
    /// Where each exchange's or connection's last silence stands in `stalls`, by run.
    silent: HashMap<(u32, Option<ExchangeId>, ConnectionId), usize>,
    /// How many lines a recorder says it could not write, by the number of the line that says so.
    told_lost: HashMap<u64, u64>,
}

impl Builder {
    /// A builder that puts `lost_open` where the `open` of a run is lost.
    pub(crate) fn new(lost_open: Option<Open>) -> Self {
        Self {
            lost_open,
            ..Self::default()
        }
    }

    /// Takes the next record.
    pub(crate) fn take(&mut self, span: Span, record: Summary) {
        if !matches!(record.happened, Happened::Open(_)) {
            if self.table.runs.is_empty() || self.table.close.is_some() {
                self.damage(span, DamageKind::NoOpen);
                self.run(self.lost_open.clone().unwrap_or_else(nothing_known));
            }
            self.table.last = self.table.last.max(record.t_us);
        }
        match record.happened {
            Happened::Open(open) => self.run(open),
            Happened::Begin(begin) => self.begin(span, record.t_us, begin),
            Happened::End(end) => self.end(span, end),
            Happened::Connection(Connection::Opened(opened)) => {
                self.opened(span, record.t_us, opened);
            }
            Happened::Connection(Connection::Closed(closed)) => {
                self.closed(span, record.t_us, closed);
            }
            Happened::Gap(gap) => self.gap(record.seq, gap),
            Happened::Stall(stall) => self.stall(stall),
            Happened::Sample(_) => self.sample(span, record.t_us),
            Happened::Close(close) => self.table.close = Some(close),
        }
    }

    fn gap(&mut self, seq: u64, gap: Gap) {
        // The journal's owner skips the numbers of the lines that it lost.
        if let Some(count) = gap.lost_lines() {
            self.told_lost.insert(seq, count);
        }
        self.table.gaps.push(gap);
    }

    /// A further record of a silence takes the place of the one before.
    fn stall(&mut self, stall: Stall) {
        let run = self.run_index();
        let place = self.silent.entry((run, stall.id, stall.connection));
        let place = place.or_insert(self.table.stalls.len());
        match self.table.stalls.get_mut(*place) {
            Some(before) if before.stall.is_same(&stall) => before.stall = stall,
            _ => {
                *place = self.table.stalls.len();
                self.table.stalls.push(StallRow { run, stall });
            }
        }
    }

    fn sample(&mut self, line: Span, at: Timestamp) {
        let run = self.run_index();
        self.table.samples.push(SampleRow { run, at, line });
    }

    fn run(&mut self, open: Open) {
        self.table.runs.push(open);
        self.table.close = None;
        self.table.last = Timestamp::default();
        self.begun.clear();
    }

    fn run_index(&self) -> u32 {
        u32::try_from(self.table.runs.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    fn opened(&mut self, span: Span, at: Timestamp, opened: Opened) {
        let id = opened.id;
        let row = self.connection(id, at);
        if opened.again {
            return row.again.push(opened);
        }
        if row.opened.is_some() {
            return self.damage(span, DamageKind::RepeatedConnection { id });
        }
        row.opened = Some(opened);
    }

    fn closed(&mut self, span: Span, at: Timestamp, closed: Closed) {
        let id = closed.id;
        let row = self.connection(id, at);
        if row.closed.is_some() {
            return self.damage(span, DamageKind::RepeatedConnection { id });
        }
        row.closed = Some(closed);
        row.closed_at = Some(at);
    }

    fn connection(&mut self, id: ConnectionId, at: Timestamp) -> &mut ConnectionRow {
        let key = (self.run_index(), id);
        let row = self.table.connections.entry(key);
        row.or_insert_with(|| ConnectionRow {
            at,
            ..ConnectionRow::default()
        })
    }

    fn begin(&mut self, span: Span, started: Timestamp, begin: BeginSummary) {
        let id = begin.id;
        if self.begun.contains_key(&id) {
            return self.damage(span, DamageKind::RepeatedExchange { id });
        }
        self.begun.insert(id, self.table.rows.len());
        self.table.rows.push(Row {
            id,
            run: self.run_index(),
            connection: begin.connection,
            started,
            phases: Timings::default(),
            own_us: 0,
            status: None,
            state: RowState::InFlight,
            made_by: None,
            bytes: 0,
            method: method(&begin.method),
            url: begin.url,
            begin: span,
            end: None,
            body: None,
        });
    }

    fn end(&mut self, span: Span, end: EndSummary) {
        let id = end.id;
        let Some(&index) = self.begun.get(&id) else {
            return self.damage(span, DamageKind::Orphan { id });
        };
        let row = &mut self.table.rows[index];
        if row.end.is_some() {
            return self.damage(span, DamageKind::RepeatedExchange { id });
        }
        row.end = Some(span);
        row.state = end.state;
        row.status = end.status;
        row.phases = end.phases;
        row.own_us = end.own_us;
        row.made_by = end.made_by;
        row.bytes = end.bytes;
        row.body = end.body;
    }

    fn damage(&mut self, span: Span, kind: DamageKind) {
        self.table.damage.push(Damage { span, kind });
    }

    /// The table, with what the scan of the same journal found.
    pub(crate) fn finish_with(mut self, mut findings: Findings) -> Table {
        let told = std::mem::take(&mut self.told_lost);
        findings.damage.retain(|damage| match damage.kind {
            DamageKind::Missing { from, to } => told.get(&(to + 1)) != Some(&(to - from + 1)),
            _ => true,
        });
        let missing = findings
            .damage
            .iter()
            .filter_map(|damage| match damage.kind {
                DamageKind::Missing { from, to } => Some(missing_lines(from, to)),
                _ => None,
            });
        self.table.gaps.extend(missing);
        self.table.damage.extend(findings.damage);
        self.table.damage.sort_by_key(|damage| damage.span.offset);
        self.table.tail = findings.tail;
        self.table.last_seq = findings.last_seq;
        self.table.journal_bytes = findings.bytes;
        self.table
            .rows
            .sort_unstable_by_key(|row| (row.run, row.started, row.id));
        self.table.rows.shrink_to_fit();
        self.table
            .samples
            .sort_by_key(|sample| (sample.run, sample.at));
        self.table
    }
}

fn missing_lines(from: u64, to: u64) -> Gap {
    Gap {
        what: format!("lines {from} to {to}"),
        why: "they are missing from the journal".into(),
    }
}

/// The `open` of a run of which neither journal nor manifest tells.
fn nothing_known() -> Open {
    Open {
        added_by: None,
        format: FORMAT_VERSION,
        recording: String::new(),
        wall: String::new(),
        trace: Hex([0; 16]),
        tool: String::new(),
        command: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::recording::format::Event;
    use crate::recording::writer::create;
    use crate::recording::{Durability, Journal, Recording, sample};

    fn dial(mode: Mode, target: &str, sni: Option<&str>, started_us: u64) -> Opened {
        Opened {
            id: 1,
            started_us: Timestamp::from_micros(started_us),
            again: started_us > 0,
            mode,
            target: target.into(),
            client: crate::exchange::ClientSide {
                sni: sni.map(str::to_owned),
                ..Default::default()
            },
            upstream: None,
            dns_us: None,
            connect_us: None,
            tls_us: None,
            tries: Vec::new(),
            error: None,
            reason: None,
        }
    }

    #[test]
    fn an_exchange_went_through_the_last_dial_to_its_host_and_through_no_other() {
        let plain = ConnectionRow {
            opened: Some(dial(Mode::Plain, "a.example:80", None, 0)),
            again: vec![
                dial(Mode::Plain, "c.example:80", None, 20),
                dial(Mode::Plain, "a.example:80", None, 40),
            ],
            ..ConnectionRow::default()
        };
        // The first dial lasted longer than it was waited for.
        let overtaken = ConnectionRow {
            opened: Some(dial(Mode::Gateway, "a.example:443", None, 30)),
            again: vec![dial(Mode::Gateway, "a.example:443", None, 20)],
            ..ConnectionRow::default()
        };
        let named = ConnectionRow {
            opened: Some(dial(Mode::Intercept, "192.0.2.1:443", Some("a.example"), 9)),
            ..ConnectionRow::default()
        };
        for (row, url, until, expected) in [
            (&plain, "http://a.example/x", 10, Some(0)),
            (&plain, "http://c.example/x", 30, Some(20)),
            (&plain, "http://a.example/x", 50, Some(40)),
            // Refused before anybody was dialled.
            (&plain, "http://b.example/x", 50, None),
            (&plain, "http://a.example:81/x", 50, None),
            (&plain, "*", 50, Some(40)),
            (&overtaken, "https://a.example/x", 50, Some(30)),
            (&named, "https://a.example/x", 50, Some(9)),
            (&named, "https://a.example/x", 5, Some(9)),
            (&named, "https://192.0.2.1/x", 50, Some(9)),
            (&named, "https://b.example/x", 50, None),
        ] {
            let until = Timestamp::from_micros(until);
            let found = row.dial_of(url, until);
            let started = found.map(|dial| dial.started_us.as_micros());
            assert_eq!(started, expected, "{url} at {until:?}");
            assert_eq!(Dials::of(row).dial_of(url, until), found);
            let all: Vec<_> = (0..4).filter_map(|index| row.dial(index)).collect();
            assert_eq!(all, row.dials().collect::<Vec<_>>());
        }
    }

    /// Every kind of record, and what the sample has not: tunnels, one dialled again, one never
    /// closed, and an answer of our own.
    fn events() -> Vec<Event> {
        let mut events = sample::events();
        let close = events.pop();
        let mut again = sample::opened(2, Mode::Tunnel);
        if let Event::Connection(Connection::Opened(opened)) = &mut again {
            opened.again = true;
        }
        let mut closed = sample::closed(2);
        if let Event::Connection(Connection::Closed(closed)) = &mut closed {
            closed.tunnel = true;
        }
        let mut ours = sample::end(5, b"cannot resolve");
        if let Event::End(end) = &mut ours {
            end.made_by = MadeBy::Modtape;
        }
        events.extend([
            sample::opened(2, Mode::Tunnel),
            again,
            closed,
            sample::opened(3, Mode::Tunnel),
            sample::begin(5),
            ours,
            // A client that came and went without a word.
            sample::closed(4),
        ]);
        events.extend(close);
        events
    }

    #[test]
    fn a_silence_is_told_once_as_it_was_told_last() {
        let over = |event: Event| match event {
            Event::Stall(stall) => Event::Stall(Stall {
                silent_us: 12,
                is_over: true,
                ..stall
            }),
            other => other,
        };
        let events = [
            sample::open(),
            sample::stall(1, 7, 10),
            sample::stall(2, 7, 10),
            over(sample::stall(1, 7, 10)),
            sample::stall(1, 30, 10),
            sample::stall(2, 7, 20),
            sample::open(),
            sample::stall(2, 7, 10),
        ];
        let lines = sample::lines(1, events.to_vec()).concat();
        let mut builder = Builder::default();
        let findings = scan(&lines[..], |span, record| builder.take(span, record)).unwrap();
        let stalls = builder.finish_with(findings).stalls;
        let told: Vec<_> = stalls
            .iter()
            .map(|row| {
                (
                    row.run,
                    row.stall.id,
                    row.stall.silent_us,
                    row.stall.is_over,
                )
            })
            .collect();
        let expected = [
            (0, Some(1), 12, true),
            (0, Some(2), 20, false),
            (0, Some(1), 10, false),
            (1, Some(2), 10, false),
        ];
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn what_is_counted_while_recording_is_what_the_journal_tells() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("one");
        let folder = create(&dir, false).unwrap();
        let (recorder, journal) =
            Journal::start(folder, Clock::start(), Durability::Process, true).unwrap();
        for event in events() {
            recorder.note(Timestamp::default(), &event);
        }
        let counted = recorder.totals();
        drop(recorder);
        journal.run().await;
        let recording = Recording::open(&dir).unwrap();
        assert_eq!(recording.table().totals(), counted);
        let expected = Totals {
            exchanges: 5,
            aborted: 2,
            made_by_modtape: 1,
            connections: 3,
            tunnels: 2,
            body_bytes: 80_062,
            tunnel_bytes: 300,
            gaps: 1,
        };
        assert_eq!(counted, expected);
    }
}
