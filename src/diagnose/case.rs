//! All that the rules look at: a recording's exchanges with their meaning, its connections, its
//! settings, and one time axis.
//!
//! Built once for all rules. Pure data: the texts of refusals are read when it is built.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::dials::Failure;
use super::finding::{Evidence, Exhibit, Severity};
use super::hosts::{Host, hosts};
use super::outcome::{Listed, Meaning};
use super::processes::{Gap, Sampled, gaps};
use super::requirements::{Graph, Requirements, Selection};
use super::routes::Loop;
use super::setting;
use super::timeline::{Connections, Item, Piece, Source, Timeline};
use crate::coding::Coding;
use crate::exchange::{
    Body, ClientSide, ConnectionId, DialFailure, Ending, Exchange, ExchangeId, Fields, MadeBy,
    Mode, Opened, Phase, Stall, Target, Tried, UpstreamSide, field,
};
use crate::filter::Outcome;
use crate::gomod::{Base, GoProxy, GoSum, GoSumDb, Location, ProxyTarget, redirect_target};
use crate::recording::format::Manifest;
use crate::recording::reader::{ConnectionRow, Dials, RowState, StallRow, Status};
use crate::recording::{Recording, Row};
use crate::shell;
use crate::words::duration;

/// How much of a refusal's text is kept, bytes. What the go command prints of it is less.
const TEXT: usize = 4096;

/// How large a refusal may be once it is decoded, bytes; one that is larger is no text for people.
const DECODED: u64 = 256 << 10;

/// What the rules look at.
pub(crate) struct Case<'a> {
    /// Command, settings, exit code.
    pub(crate) manifest: &'a Manifest,
    /// False if the recorder was killed, or still writes.
    pub(crate) is_closed: bool,
    /// How many exchanges have no end on record although the recorder ended in order: the disk took it no
    /// more.
    pub(crate) lost: u64,
    /// The exchanges, in the order of the recording's rows.
    pub(crate) asked: Vec<Asked<'a>>,
    /// The client connections.
    pub(crate) connections: &'a Connections,
    /// When everything was.
    pub(crate) timeline: Timeline,
    /// The effective GOPROXY.
    pub(crate) goproxy: GoProxy,
    /// The effective GOSUMDB, if it names a checksum database.
    pub(crate) sumdb: Option<GoSumDb>,
    /// Silences that were noticed while they lasted.
    pub(crate) stalls: BTreeMap<(u32, ExchangeId), &'a Stall>,
    /// The connections whose dial was told as a stall while it lasted, by run and id.
    pub(crate) told_dials: BTreeSet<(u32, ConnectionId)>,
    /// The first exchange that was redirected to a host, by that host: its index.
    pub(crate) redirects: BTreeMap<String, usize>,
    /// Redirects that lead back to where they were.
    pub(crate) loops: Vec<Loop>,
    /// The hosts, by name.
    pub(crate) hosts: BTreeMap<String, Host>,
    /// The go.mod files that were served, and that of the main module.
    pub(crate) requirements: Requirements,
    /// The go.sum of the main module, if it is known.
    pub(crate) go_sum: Option<GoSum>,
    /// The looks at the command's processes, in order.
    pub(crate) samples: Vec<Sampled>,
    /// The times without a request that somebody looked at.
    pub(crate) gaps: Vec<Gap>,
    /// The dial that each exchange went through.
    dials: Vec<Option<&'a Opened>>,
    /// The places of GOPROXY by their hosts; `None` where two have the same.
    entries: HashMap<String, Option<usize>>,
    graph: OnceCell<Graph>,
    selection: OnceCell<Selection>,
}

/// An exchange with its meaning and, if it was refused or broke off, what was said.
pub(crate) struct Asked<'a> {
    /// The row.
    pub(crate) row: &'a Row,
    /// Its meaning.
    pub(crate) listed: Listed<'a>,
    /// What a status of 400 and more, or a broken-off exchange, came with.
    pub(crate) refusal: Option<Refusal>,
}

/// What came instead of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Header fields, as far as they came.
    pub(crate) headers: Fields,
    /// The beginning of the body, if it is text.
    pub(crate) text: String,
    /// Why it broke off, or why modtape answered itself.
    pub(crate) why: String,
    /// Whether the request came with credentials.
    pub(crate) had_credentials: bool,
    /// The longest silence within the body of one that broke off, if there was a long one, microseconds.
    pub(crate) longest_silence_us: Option<u64>,
}

impl Refusal {
    /// A header field by its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        Some(field(&self.headers, name)?.into_owned())
    }
}

impl<'a> Case<'a> {
    /// Reads what the rules need of a recording. `connections` is what [`connections`] says of it.
    pub(crate) fn of(recording: &'a Recording, connections: &'a Connections) -> Self {
        Self::by(recording, connections, &Meaning::of(recording))
    }

    /// The same by a meaning of it that is known.
    pub(crate) fn by(
        recording: &'a Recording,
        connections: &'a Connections,
        meaning: &Meaning<'_>,
    ) -> Self {
        let refusal = |row: &Row| {
            // Of what the go command takes nobody reads the text.
            let is_answer = matches!(row.status, Some(200 | 301..=303 | 307 | 308));
            let is_told = !is_answer || row.state == RowState::Aborted;
            let exchange = is_told.then(|| recording.exchange(row).ok()).flatten()?;
            Some(self::refusal(exchange))
        };
        let is_closed = matches!(recording.status(), Status::Closed | Status::Sealed);
        let manifest = recording.manifest();
        // Of one that was killed, the manifest does not know how long it was.
        let wall_us = match is_closed {
            true => manifest.wall_us,
            false => manifest.wall_us.max(recording.table().last.as_micros()),
        };
        let rows = recording.rows();
        // What was told as a stall was still in flight then.
        let told = recording.stalls().iter();
        let told: BTreeSet<_> = told.map(|row| (row.run, row.stall.id)).collect();
        let last = rows.iter().map(|row| row.run).max();
        let is_lost = |row: &Row| {
            let is_last = is_closed && Some(row.run) == last;
            let is_told = || told.contains(&(row.run, Some(row.id)));
            is_last && row.state == RowState::InFlight && !is_told()
        };
        let mut case = Self::laid_out(manifest, rows, connections, meaning, wall_us, is_lost);
        case.is_closed = is_closed;
        case.requirements = Requirements::of(recording, &case.asked);
        case.go_sum = recording.main_sum();
        let stalls = recording.stalls().iter();
        let of_exchange = |row: &'a StallRow| Some(((row.run, row.stall.id?), &row.stall));
        case.stalls = stalls.filter_map(of_exchange).collect();
        let dials = recording
            .stalls()
            .iter()
            .filter(|row| is_dialling(&row.stall));
        case.told_dials = dials.map(|row| (row.run, row.stall.connection)).collect();
        for (index, asked) in case.asked.iter_mut().enumerate() {
            asked.refusal = refusal(asked.row);
            if asked.row.is_redirect()
                && let Some(to) = recording.answer_field(asked.row, "location")
                && let Some(to) = redirect_target(&asked.row.url, &to)
            {
                let host = Location::of(&to).host;
                case.redirects.entry(host).or_insert(index);
            }
        }
        case.hosts = hosts(&case);
        case.samples = samples(recording);
        case.gaps = gaps(&case.samples, &case.timeline);
        case
    }

    /// The same without what has to be read again.
    #[cfg(test)]
    pub(super) fn made_of(
        manifest: &'a Manifest,
        rows: &'a [Row],
        connections: &'a Connections,
        meaning: &Meaning<'_>,
        wall_us: u64,
    ) -> Self {
        let is_lost = |_: &Row| false;
        let mut case = Self::laid_out(manifest, rows, connections, meaning, wall_us, is_lost);
        case.hosts = hosts(&case);
        case
    }

    fn laid_out(
        manifest: &'a Manifest,
        rows: &'a [Row],
        connections: &'a Connections,
        meaning: &Meaning<'_>,
        wall_us: u64,
        is_lost: impl Fn(&Row) -> bool,
    ) -> Self {
        let setting = |name: &str| manifest.go_env.get(name).map_or("", String::as_str);
        let asked = rows.iter().map(|row| Asked {
            row,
            listed: meaning.list(row),
            refusal: None,
        });
        let goproxy = GoProxy::parse(setting("GOPROXY"));
        Self {
            manifest,
            is_closed: true,
            lost: rows.iter().filter(|row| is_lost(row)).count() as u64,
            asked: asked.collect(),
            connections,
            dials: dials(rows, connections),
            timeline: Timeline::of(rows, connections, wall_us, is_lost),
            entries: entries(&goproxy),
            goproxy,
            sumdb: setting("GOSUMDB").parse().ok(),
            stalls: BTreeMap::new(),
            told_dials: BTreeSet::new(),
            redirects: BTreeMap::new(),
            loops: meaning.loops().to_vec(),
            hosts: BTreeMap::new(),
            requirements: Requirements::default(),
            go_sum: None,
            samples: Vec::new(),
            gaps: Vec::new(),
            graph: OnceCell::new(),
            selection: OnceCell::new(),
        }
    }

    /// How bad a failure is: what the command survived only cost time.
    pub(crate) fn severity(&self) -> Severity {
        match self.manifest.exit_code {
            Some(0) => Severity::Slow,
            _ => Severity::Problem,
        }
    }

    /// A setting of the go command, empty if it is not known.
    pub(crate) fn setting(&self, name: &str) -> &str {
        self.manifest.go_env.get(name).map_or("", String::as_str)
    }

    /// The words that give a setting of the go command another value.
    pub(crate) fn assignment(&self, name: &str, value: &str) -> String {
        let exported = self.manifest.exported.as_ref();
        let source = exported.map_or(setting::Source::Unknown, |exported| {
            match exported.iter().any(|one| one == name) {
                true => setting::Source::Environment,
                false => setting::Source::File,
            }
        });
        setting::assignment(name, &shell::quoted(value), source)
    }

    /// The host of the checksum database itself.
    pub(crate) fn sumdb_host(&self) -> Option<String> {
        self.sumdb.as_ref()?.host()
    }

    /// The place of GOPROXY that a host belongs to: its index among the entries.
    pub(crate) fn entry_of(&self, host: &str) -> Option<usize> {
        self.entries.get(host).copied().flatten()
    }

    /// What requires what.
    pub(crate) fn graph(&self) -> &Graph {
        self.graph.get_or_init(|| self.requirements.graph())
    }

    /// The versions that the go command takes.
    pub(crate) fn selection(&self) -> &Selection {
        self.selection.get_or_init(|| self.graph().select())
    }

    /// The exchange of an item; `None` for a dial.
    pub(crate) fn asked_by(&self, item: &Item) -> Option<&Asked<'a>> {
        match item.source {
            Source::Row(row) => self.asked.get(row),
            Source::Dial(..) => None,
        }
    }

    /// The dial that an item went through: its own, or the one of its connection that leads there.
    pub(crate) fn dial_of(&self, item: &Item) -> Option<&'a Opened> {
        match item.source {
            Source::Row(row) => self.dials.get(row).copied().flatten(),
            Source::Dial(key, index) => self.connections.get(&key)?.dial(index),
        }
    }

    /// How the dial that an item went through failed, if it did.
    pub(crate) fn failure_of(&self, item: &Item) -> Option<Failure> {
        let dial = self.dial_of(item)?;
        let key = match item.source {
            Source::Row(row) => (self.asked[row].row.run, dial.id),
            Source::Dial(key, _) => key,
        };
        Failure::of(dial, self.told_dials.contains(&key))
    }

    /// The pieces for which `is_meant` says so, as indices.
    pub(crate) fn pieces(&self, mut is_meant: impl FnMut(&Item, &Piece) -> bool) -> Vec<usize> {
        let pieces = self.timeline.pieces.iter().enumerate();
        let meant = pieces.filter(|(_, piece)| is_meant(&self.timeline.items[piece.item], piece));
        meant.map(|(index, _)| index).collect()
    }

    /// The pieces of these items, as indices; of one phase only, if one is given.
    pub(crate) fn pieces_of(&self, items: &[usize], phase: Option<Phase>) -> Vec<usize> {
        let ranges = items
            .iter()
            .map(|item| self.timeline.items[*item].pieces.clone());
        let pieces = ranges.flatten();
        let is_meant = |piece: &usize| match phase {
            Some(phase) => self.timeline.pieces[*piece].phase == Some(phase),
            None => true,
        };
        pieces.filter(is_meant).collect()
    }

    /// The items for which `is_meant` says so, as indices.
    pub(crate) fn items(&self, mut is_meant: impl FnMut(&Item) -> bool) -> Vec<usize> {
        let items = self.timeline.items.iter().enumerate();
        items
            .filter(|(_, item)| is_meant(item))
            .map(|(index, _)| index)
            .collect()
    }

    /// The items of these exchanges, as far as they are there.
    pub(crate) fn items_named(
        &self,
        named: impl Iterator<Item = (u32, ExchangeId)>,
    ) -> BTreeMap<(u32, ExchangeId), usize> {
        let named: BTreeSet<_> = named.collect();
        let mut items = BTreeMap::new();
        if named.is_empty() {
            return items;
        }
        for (item, asked) in self.asked.iter().enumerate() {
            let key = (asked.row.run, asked.row.id);
            if named.contains(&key) {
                items.entry(key).or_insert(item);
            }
        }
        items
    }

    /// The last silence of an exchange that was noticed while it lasted.
    pub(crate) fn stall_of(&self, row: &Row) -> Option<&'a Stall> {
        self.stalls.get(&(row.run, row.id)).copied()
    }

    /// How long an item was in a phase.
    pub(crate) fn phase_us(&self, item: &Item, phase: Phase) -> u64 {
        let pieces = &self.timeline.pieces[item.pieces.clone()];
        let pieces = pieces.iter().filter(|piece| piece.phase == Some(phase));
        pieces.map(|piece| piece.to - piece.from).sum()
    }

    /// An item as evidence.
    pub(crate) fn exhibit(&self, item: usize, shows: String) -> Evidence {
        let what = match self.timeline.items[item].source {
            Source::Row(row) => {
                let row = self.asked[row].row;
                let (run, id) = (row.run, row.id);
                Exhibit::Exchange { run, id }
            }
            Source::Dial((run, id), _) => Exhibit::Connection { run, id },
        };
        Evidence { what, shows }
    }

    /// Items as evidence that they took time in a phase, the longest first.
    pub(crate) fn exhibits(&self, items: &[usize], phase: Phase, doing: &str) -> Vec<Evidence> {
        let us = |item: usize| self.phase_us(&self.timeline.items[item], phase);
        let mut items: Vec<usize> = items.to_vec();
        items.sort_by_key(|item| std::cmp::Reverse(us(*item)));
        let evidence = items.into_iter();
        evidence
            .map(|item| {
                let what = self.what(item);
                let took = duration(us(item));
                self.exhibit(item, format!("{what}: {took} {doing}"))
            })
            .collect()
    }

    /// What an item asks for, in words: `zip golang.org/x/net v0.34.0`, `a connection`.
    pub(crate) fn what(&self, item: usize) -> String {
        match self.asked_by(&self.timeline.items[item]) {
            Some(asked) => asked.listed.what(),
            None => String::from("a connection"),
        }
    }
}

impl Asked<'_> {
    /// True if it was not answered, or with 400 and more though it was no probe.
    pub(crate) fn is_failure(&self) -> bool {
        !matches!(self.listed.outcome, Outcome::Ok | Outcome::Probe)
    }

    /// True if modtape answered it.
    pub(crate) fn is_ours(&self) -> bool {
        self.row.made_by == Some(MadeBy::Modtape)
    }

    /// What its refusal says, in lower case; empty if it was not refused.
    pub(crate) fn said(&self) -> String {
        let text = self.refusal.as_ref().map(|refusal| &*refusal.text);
        text.unwrap_or_default().to_ascii_lowercase()
    }
}

/// The client connections of a recording, with those dials that had not ended when the recorder was
/// killed: all that is known of them is that they were waited for.
pub(crate) fn connections(recording: &Recording) -> Cow<'_, Connections> {
    let mut connections = Cow::Borrowed(&recording.table().connections);
    let unended = recording
        .stalls()
        .iter()
        .filter(|row| is_dialling(&row.stall));
    let mut unended: Vec<&StallRow> = unended.collect();
    unended.retain(|row| {
        let known = connections.get(&(row.run, row.stall.connection));
        known.is_none_or(|row| row.opened.is_none())
    });
    // A plain request is dialled for by itself.
    let asked: BTreeSet<(u32, Option<ExchangeId>)> =
        unended.iter().map(|row| (row.run, row.stall.id)).collect();
    let rows = recording.rows().iter();
    let targets: BTreeMap<(u32, ExchangeId), String> = rows
        .filter(|row| asked.contains(&(row.run, Some(row.id))))
        .filter_map(|row| Some(((row.run, row.id), Target::of_url(&row.url)?.to_string())))
        .collect();
    for StallRow { run, stall } in unended {
        let of_request = || targets.get(&(*run, stall.id?));
        let Some(target) = stall.target.as_ref().or_else(of_request) else {
            continue;
        };
        let key = (*run, stall.connection);
        let opened = Some(pending(stall, target));
        let entry = connections.to_mut().entry(key).or_default();
        *entry = ConnectionRow {
            opened,
            ..entry.clone()
        };
    }
    connections
}

/// Whether a silence is one of a dial.
const fn is_dialling(stall: &Stall) -> bool {
    matches!(stall.phase, Phase::Dns | Phase::Connect | Phase::Tls)
}

/// The dial that each row went through.
fn dials<'a>(rows: &[Row], connections: &'a Connections) -> Vec<Option<&'a Opened>> {
    let mut several: HashMap<(u32, ConnectionId), Dials<'a>> = HashMap::new();
    let dial = |row: &Row| {
        let key = (row.run, row.connection);
        let connection = connections.get(&key)?;
        if connection.again.is_empty() {
            return connection.dial_of(&row.url, row.until());
        }
        let dials = several.entry(key).or_insert_with(|| Dials::of(connection));
        dials.dial_of(&row.url, row.until())
    };
    rows.iter().map(dial).collect()
}

/// The places of GOPROXY by their hosts: of two on one host nobody can tell which was meant.
fn entries(goproxy: &GoProxy) -> HashMap<String, Option<usize>> {
    let mut entries = HashMap::new();
    for (index, entry) in goproxy.entries.iter().enumerate() {
        if let ProxyTarget::Url(url) = &entry.target
            && let Some(base) = Base::of(url)
        {
            let place = entries.entry(base.host);
            place
                .and_modify(|known| *known = None)
                .or_insert(Some(index));
        }
    }
    entries
}

/// A dial that had not ended.
fn pending(stall: &Stall, target: &str) -> Opened {
    let us = |phase: Phase| (stall.phase == phase).then_some(stall.silent_us);
    let connect_us = us(Phase::Connect).or_else(|| us(Phase::Tls).map(|_| 0));
    let tried = stall.address.iter().flat_map(|tried| tried.split(", "));
    let tried = tried.filter(|_| stall.phase == Phase::Connect && !stall.is_asking);
    Opened {
        id: stall.connection,
        started_us: stall.since_us,
        again: false,
        mode: match stall.id {
            Some(_) => Mode::Plain,
            None => Mode::Intercept,
        },
        target: target.to_owned(),
        client: ClientSide::default(),
        upstream: Some(UpstreamSide {
            addr: stall.address.clone().filter(|_| stall.phase == Phase::Tls),
            via: stall.via.clone(),
            ..UpstreamSide::default()
        }),
        dns_us: us(Phase::Dns).or_else(|| connect_us.map(|_| 0)),
        connect_us,
        tls_us: us(Phase::Tls),
        tries: tried
            .map(|addr| Tried {
                addr: addr.to_owned(),
                took_us: stall.silent_us,
                error: Some("no answer".into()),
                reason: None,
            })
            .collect(),
        error: Some(match stall.is_asking {
            true => "cut off by the end of the recording while the parent proxy was asked".into(),
            false => "cut off by the end of the recording: no answer".into(),
        }),
        reason: Some(DialFailure::CutOff),
    }
}

/// The samples that can be read.
fn samples(recording: &Recording) -> Vec<Sampled> {
    let rows = recording.samples().iter();
    let samples = rows.filter_map(|row| {
        let sample = recording.sample(row).ok()?;
        let (run, at) = (row.run, row.at);
        Some(Sampled { run, at, sample })
    });
    samples.collect()
}

/// What an exchange came with instead of an answer.
fn refusal(exchange: Exchange) -> Refusal {
    let had_credentials = field(&exchange.begin.headers, "authorization").is_some();
    let refusal = match exchange.ending {
        Ending::InFlight => Refusal::default(),
        Ending::Aborted(abort) => Refusal {
            headers: abort.headers,
            why: abort.why,
            longest_silence_us: abort.longest_silence_us,
            ..Refusal::default()
        },
        Ending::Ended(end) => {
            let body = end.body.as_ref();
            let text = body.and_then(|body| text_of(body, &end.headers));
            let text = text.unwrap_or_default();
            let is_ours = end.made_by == MadeBy::Modtape;
            Refusal {
                why: if is_ours { text.clone() } else { String::new() },
                text,
                headers: end.headers,
                ..Refusal::default()
            }
        }
    };
    Refusal {
        had_credentials,
        ..refusal
    }
}

/// The beginning of a body that stands in the journal, decoded.
fn text_of(body: &Body, headers: &Fields) -> Option<String> {
    let encoded = &body.inline.as_ref()?.0;
    let decoded = Coding::of(headers).decode(encoded, DECODED).ok()?;
    let end = decoded.len().min(TEXT);
    Some(String::from_utf8_lossy(&decoded[..end]).into_owned())
}
