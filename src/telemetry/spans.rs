//! The spans of a recording, as OTLP has them: one for the recorded command, one for each exchange, one for
//! each of its phases.
//!
//! Names and attributes are those of OpenTelemetry's semantic conventions 1.44 (HTTP client spans; CLI programs);
//! what they have no name for is below `modtape.`. The ids are those of the recording; where it has none they are
//! derived from those that it has, so that whoever sends a recording twice sends the same spans.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;
use crate::diagnose::finding::{Exhibit, Finding};
use crate::diagnose::outcome::{Listed, Meaning};
use crate::exchange::{
    Ending, Exchange, Hex, MadeBy, Opened, Phase, SpanId, Target, TraceId, field,
};
use crate::filter::Outcome;
use crate::gomod::{Kind, Route};
use crate::recording::format::{Manifest, Open};
use crate::recording::reader::ReadError;
use crate::recording::{Recording, Row};
use crate::redact::Redactor;

/// How the phases of exchanges are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phases {
    /// Not at all.
    None,
    /// As events of the exchange's span.
    Events,
    /// As spans of their own, children of the exchange's.
    Spans,
}

/// The phases that are shown: what lies between them is no work of anybody that is known.
const SHOWN: [Phase; 6] = [
    Phase::Dns,
    Phase::Connect,
    Phase::Tls,
    Phase::Send,
    Phase::Wait,
    Phase::Receive,
];

/// The longest text of an attribute, bytes: a recording may come from anybody, and collectors refuse requests of
/// more than 4 MiB.
const LONGEST: usize = 16 << 10;

/// The most words of a command.
const WORDS: usize = 1000;

/// The methods that the conventions know; others are `_OTHER`.
const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];

/// The flags of a span: it is sampled, and whether its parent is of another process is known.
const FLAGS: u32 = 1 | SpanFlags::ContextHasIsRemoteMask as u32;

/// What makes spans of a recording.
pub(crate) struct Spans<'a> {
    recording: &'a Recording,
    meaning: Meaning<'a>,
    phases: Phases,
    runs: Vec<Run<'a>>,
    /// For what was recorded with `--no-redact`: spans have no secrets in any case.
    redactor: Redactor,
}

/// A run of the recording: all stamps in it count from its start.
struct Run<'a> {
    open: &'a Open,
    /// Its root span.
    root: SpanId,
    /// When it began, nanoseconds since 1970.
    began: u64,
    /// Its last known instant, since it began.
    last: Timestamp,
}

impl Run<'_> {
    /// Nanoseconds since 1970.
    fn at(&self, stamp: Timestamp) -> u64 {
        let nanos = stamp.as_micros().saturating_mul(1000);
        self.began.saturating_add(nanos)
    }
}

impl<'a> Spans<'a> {
    pub(crate) fn of(recording: &'a Recording, phases: Phases) -> Self {
        let manifest = recording.manifest();
        let mut last: BTreeMap<u32, Timestamp> = BTreeMap::new();
        for row in recording.rows() {
            let last = last.entry(row.run).or_default();
            *last = row.until().max(*last);
        }
        let has_one_run = recording.runs().len() == 1;
        let runs = (0_u32..).zip(recording.runs()).map(|(number, open)| {
            let derived = || {
                let of = [manifest.id.as_bytes(), &number.to_be_bytes()];
                derive(open.trace, Hex([0; 8]), &of)
            };
            let recorded = manifest.span.filter(|_| number == 0).map(|span| span.id);
            let wall = Timestamp::from_micros(manifest.wall_us);
            let last = last.get(&number).copied().unwrap_or_default();
            Run {
                open,
                root: recorded.filter(|id| id.0 != [0; 8]).unwrap_or_else(derived),
                began: nanos(&open.wall)
                    .or_else(|| nanos(&manifest.started))
                    .unwrap_or(0),
                last: match has_one_run || (number == 0 && !recording.is_added(0)) {
                    true => last.max(wall),
                    false => last,
                },
            }
        });
        Self {
            recording,
            meaning: Meaning::of(recording),
            phases,
            runs: runs.collect(),
            redactor: match manifest.redacted {
                true => Redactor::off(),
                false => redactor(manifest),
            },
        }
    }

    /// The root span of each run: the recorded command with these findings, or the verb of modtape that had no
    /// command, or that added to the recording later.
    pub(crate) fn roots(&self, findings: &[Finding]) -> Vec<Span> {
        let runs = (0_u32..).zip(&self.runs);
        let roots = runs.map(|(number, run)| match (number, &run.open.added_by) {
            (_, Some(verb)) => self.added(run, verb),
            (0, None) => self.command(run, findings),
            (_, None) => self.added(run, "record"),
        });
        roots.collect()
    }

    fn command(&self, run: &Run<'_>, findings: &[Finding]) -> Span {
        let manifest = self.recording.manifest();
        let mut attributes = self.of_recording();
        let program = manifest.command.first().map(|program| executable(program));
        if let Some(program) = program {
            attributes.push(text("process.executable.name", program));
            attributes.push(self.words(&manifest.command));
        }
        let mut status = Status::default();
        if let Some(code) = manifest.exit_code {
            attributes.push(number("process.exit.code", i64::from(code)));
            if code != 0 {
                attributes.push(text("error.type", &code.to_string()));
                status = error(&format!("exit code {code}"));
            }
        }
        let parent = manifest.span.and_then(|span| span.parent);
        let is_remote = match parent {
            Some(_) => SpanFlags::ContextIsRemoteMask as u32,
            None => 0,
        };
        Span {
            parent_span_id: parent.map_or_else(Vec::new, |parent| parent.0.to_vec()),
            flags: FLAGS | is_remote,
            name: program.map_or_else(|| String::from("modtape record"), cut),
            kind: match program {
                Some(_) => SpanKind::Client.into(),
                None => SpanKind::Internal.into(),
            },
            events: findings.iter().map(|it| self.finding(run, it)).collect(),
            status: Some(status),
            ..self.root(run, attributes)
        }
    }

    /// The root of a run that is not the recorded command's.
    fn added(&self, run: &Run<'_>, verb: &str) -> Span {
        let mut attributes = self.of_recording();
        if !run.open.command.is_empty() {
            attributes.push(self.words(&run.open.command));
        }
        let links = self.runs.first().filter(|first| first.root != run.root);
        let links = links.map(|first| Link {
            trace_id: first.open.trace.0.to_vec(),
            span_id: first.root.0.to_vec(),
            flags: FLAGS,
            ..Link::default()
        });
        Span {
            name: cut(&format!("modtape {verb}")),
            kind: SpanKind::Internal.into(),
            links: links.into_iter().collect(),
            ..self.root(run, attributes)
        }
    }

    fn root(&self, run: &Run<'_>, attributes: Vec<KeyValue>) -> Span {
        Span {
            trace_id: run.open.trace.0.to_vec(),
            span_id: run.root.0.to_vec(),
            flags: FLAGS,
            start_time_unix_nano: run.began,
            end_time_unix_nano: run.at(run.last),
            attributes,
            status: Some(Status::default()),
            ..Span::default()
        }
    }

    fn words(&self, command: &[String]) -> KeyValue {
        let words = &command[..command.len().min(WORDS)];
        list("process.command_args", &self.redactor.argv(words))
    }

    fn of_recording(&self) -> Vec<KeyValue> {
        let manifest = self.recording.manifest();
        vec![
            text("modtape.recording", &self.recording.name()),
            text("modtape.recording.id", &manifest.id),
        ]
    }

    /// A finding, at the first time that its evidence has.
    fn finding(&self, run: &Run<'_>, finding: &Finding) -> Event {
        let evidence = finding.evidence.iter();
        let first = evidence.filter_map(|it| self.time_of(&it.what)).min();
        let cost = i64::try_from(finding.cost_us).unwrap_or(i64::MAX);
        let mut attributes = vec![
            text("modtape.finding.code", finding.code),
            text("modtape.finding.severity", finding.severity.name()),
            text("modtape.finding.title", &self.redactor.text(&finding.title)),
            number("modtape.finding.cost_us", cost),
        ];
        if let Some(hint) = &finding.hint {
            attributes.push(text("modtape.finding.hint", &self.redactor.text(hint)));
        }
        Event {
            time_unix_nano: first.unwrap_or(run.began),
            name: String::from("modtape.finding"),
            attributes,
            ..Event::default()
        }
    }

    /// When a piece of evidence was, nanoseconds since 1970.
    fn time_of(&self, what: &Exhibit) -> Option<u64> {
        let (run, stamp) = match what {
            Exhibit::Exchange { run, id } => {
                let mut rows = self.recording.rows().iter();
                let row = rows.find(|row| (row.run, row.id) == (*run, *id))?;
                (*run, row.started)
            }
            Exhibit::Connection { run, id } => {
                let connection = self.recording.connection_in(*run, *id)?;
                (*run, connection.dials().next()?.started_us)
            }
            Exhibit::Sample { run, t_us } => (*run, *t_us),
            Exhibit::Setting { .. } | Exhibit::File { .. } => return None,
        };
        let run = self.runs.get(usize::try_from(run).ok()?)?;
        Some(run.at(stamp))
    }

    /// The span of an exchange, and those of its phases.
    pub(crate) fn of_exchange(&self, row: &Row) -> Result<Vec<Span>, SpanError> {
        let exchange = self.recording.exchange(row)?;
        let run = usize::try_from(row.run).ok();
        let run = run.and_then(|run| self.runs.get(run));
        let run = run.ok_or(SpanError::Run)?;
        let connection = self.recording.connection_in(row.run, row.connection);
        let asked = Asked {
            exchange: &exchange,
            dial: connection.and_then(|connection| connection.dial_of(&row.url, row.until())),
            listed: self.meaning.list(row),
            redactor: &self.redactor,
        };
        let id = match exchange.begin.span {
            Hex([0, 0, 0, 0, 0, 0, 0, 0]) => {
                derive(run.open.trace, run.root, &[&row.id.to_be_bytes()])
            }
            id => id,
        };
        let until = match exchange.ending {
            Ending::InFlight => run.last.max(row.started),
            Ending::Ended(_) | Ending::Aborted(_) => {
                let us = exchange.timings().total_us();
                Timestamp::from_micros(row.started.as_micros().saturating_add(us))
            }
        };
        let mut span = Span {
            trace_id: run.open.trace.0.to_vec(),
            span_id: id.0.to_vec(),
            parent_span_id: run.root.0.to_vec(),
            flags: FLAGS,
            name: cut(&asked.name()),
            kind: SpanKind::Client.into(),
            start_time_unix_nano: run.at(row.started),
            end_time_unix_nano: run.at(until),
            ..Span::default()
        };
        let status;
        (span.attributes, status) = asked.attributes();
        span.status = Some(status);
        let mut spans = vec![];
        let mut at = row.started.as_micros();
        for (phase, us) in exchange.timings().iter() {
            let (from, to) = (at, at.saturating_add(us));
            at = to;
            if !SHOWN.contains(&phase) {
                continue;
            }
            let named = text("modtape.phase", phase.name());
            let start_time_unix_nano = run.at(Timestamp::from_micros(from));
            match self.phases {
                Phases::None => {}
                Phases::Events => span.events.push(Event {
                    time_unix_nano: start_time_unix_nano,
                    name: phase.name().to_owned(),
                    attributes: vec![named, unsigned("modtape.phase.duration_us", us)],
                    ..Event::default()
                }),
                Phases::Spans => spans.push(Span {
                    trace_id: span.trace_id.clone(),
                    span_id: derive(run.open.trace, id, &[phase.name().as_bytes()])
                        .0
                        .to_vec(),
                    parent_span_id: span.span_id.clone(),
                    flags: FLAGS,
                    name: phase.name().to_owned(),
                    kind: SpanKind::Internal.into(),
                    start_time_unix_nano,
                    end_time_unix_nano: run.at(Timestamp::from_micros(to)),
                    attributes: vec![named],
                    status: Some(Status::default()),
                    ..Span::default()
                }),
            }
        }
        spans.insert(0, span);
        Ok(spans)
    }
}

/// Why there is no span of an exchange.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpanError {
    /// Its lines cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It belongs to a run that has no `open` line.
    #[error("its run has no `open` line")]
    Run,
}

/// An exchange, and what is known of it.
struct Asked<'a> {
    exchange: &'a Exchange,
    dial: Option<&'a Opened>,
    listed: Listed<'a>,
    redactor: &'a Redactor,
}

impl Asked<'_> {
    /// The method, as the conventions know it.
    fn method(&self) -> &str {
        let method = &*self.exchange.begin.method;
        match METHODS.contains(&method) {
            true => method,
            false => "_OTHER",
        }
    }

    /// `GET {module}/@v/{version}.zip`
    fn name(&self) -> String {
        let method = match self.method() {
            "_OTHER" => "HTTP",
            method => method,
        };
        match self.template() {
            Some(template) => format!("{method} {template}"),
            None => method.to_owned(),
        }
    }

    fn template(&self) -> Option<&'static str> {
        let is_request = self.method() != "CONNECT";
        is_request.then(|| template(&self.listed.route)).flatten()
    }

    fn attributes(&self) -> (Vec<KeyValue>, Status) {
        let begin = &self.exchange.begin;
        let route = &self.listed.route;
        let mut attributes = vec![text("http.request.method", self.method())];
        if self.method() == "_OTHER" {
            attributes.push(text("http.request.method_original", &begin.method));
        }
        if let Some(target) = Target::of_url(&begin.url) {
            attributes.push(text("server.address", target.host()));
            attributes.push(number("server.port", target.port().into()));
        }
        attributes.push(text("url.full", &self.redactor.url(&begin.url)));
        if let Some(template) = self.template() {
            attributes.push(text("url.template", template));
        }
        if let Some(agent) = field(&begin.headers, "user-agent") {
            attributes.push(text("user_agent.original", &self.redactor.text(&agent)));
        }
        let end = self.exchange.end();
        let version = end.map_or(&begin.version, |end| &end.version);
        if let Some(version) = version.strip_prefix("HTTP/") {
            attributes.push(text("network.protocol.name", "http"));
            attributes.push(text("network.protocol.version", version));
        }
        self.add_connection(&mut attributes);
        if let Some(status) = self.exchange.status() {
            attributes.push(number("http.response.status_code", status.into()));
        }
        if let Some(body) = self.exchange.request_body() {
            attributes.push(unsigned("http.request.body.size", body.bytes));
        }
        attributes.push(unsigned(
            "http.response.body.size",
            self.exchange.body_bytes(),
        ));
        let attempts = end.map_or(0, |end| end.attempts.len());
        if attempts > 0 {
            attributes.push(unsigned("http.request.resend_count", attempts as u64));
        }
        attributes.push(unsigned("modtape.exchange.id", begin.id));
        attributes.push(text("modtape.kind", &route.kind.to_string()));
        attributes.push(text("modtape.outcome", self.listed.outcome.name()));
        if let Some(module) = &route.module {
            attributes.push(text("go.module.path", module));
        }
        if let Some(version) = &route.version {
            attributes.push(text("go.module.version", version));
        }
        let failure = self.failure();
        if let Some(failure) = &failure {
            attributes.push(text("error.type", &failure.kind));
        }
        if let Ending::Aborted(abort) = &self.exchange.ending {
            attributes.push(text("modtape.phase", abort.phase.name()));
        }
        let status = failure.map_or_else(Status::default, |failure| {
            error(&self.redactor.text(&failure.why))
        });
        (attributes, status)
    }

    fn add_connection(&self, attributes: &mut Vec<KeyValue>) {
        let Some(upstream) = self.dial.and_then(|dial| dial.upstream.as_ref()) else {
            return;
        };
        let peer = upstream.addr.as_deref();
        if let Some(peer) = peer.and_then(|peer| peer.parse::<SocketAddr>().ok()) {
            attributes.push(text("network.peer.address", &peer.ip().to_string()));
            attributes.push(number("network.peer.port", peer.port().into()));
        }
        let tls = upstream.tls.as_deref();
        if let Some(version) = tls.and_then(|tls| tls.strip_prefix("TLS ")) {
            attributes.push(text("tls.protocol.name", "tls"));
            attributes.push(text("tls.protocol.version", version));
        }
    }

    /// What went wrong, if the exchange is an error. That a module proxy has not what is looked for in several
    /// places is none.
    fn failure(&self) -> Option<Failure> {
        let status = self.exchange.status();
        let by_status = |status: u16| Failure {
            kind: status.to_string(),
            why: String::new(),
        };
        match (self.listed.outcome, &self.exchange.ending) {
            (Outcome::InFlight, _) | (_, Ending::InFlight) => Some(Failure {
                kind: String::from("in_flight"),
                why: String::from("its end is not on record"),
            }),
            (_, Ending::Aborted(abort)) => Some(Failure {
                kind: String::from("aborted"),
                why: abort.why.clone(),
            }),
            (Outcome::Ok | Outcome::Probe, _) => None,
            (Outcome::Fallthrough, _) if matches!(status, Some(404 | 410)) => None,
            (_, Ending::Ended(end)) if end.made_by == MadeBy::Modtape => {
                let dial = self.dial.filter(|dial| dial.error.is_some());
                let reason = dial.and_then(Opened::failure);
                let reason = reason.and_then(|reason| serde_json::to_value(reason).ok());
                let reason = reason.as_ref().and_then(|reason| reason.as_str());
                (end.status >= 400).then(|| Failure {
                    kind: reason.map_or_else(|| end.status.to_string(), str::to_owned),
                    why: dial.and_then(|dial| dial.error.clone()).unwrap_or_default(),
                })
            }
            (Outcome::Fallthrough | Outcome::Error | Outcome::Modtape | Outcome::Aborted, _) => {
                status.filter(|status| *status >= 400).map(by_status)
            }
        }
    }
}

/// An error.
struct Failure {
    /// One of few: the status, or a word.
    kind: String,
    /// In words; empty where the status says it.
    why: String,
}

/// What URLs of this kind have in common; `None` where that is nothing.
pub(crate) fn template(route: &Route) -> Option<&'static str> {
    Some(match route.kind {
        Kind::List => "{module}/@v/list",
        Kind::Latest => "{module}/@latest",
        Kind::Info => "{module}/@v/{version}.info",
        Kind::Mod => "{module}/@v/{version}.mod",
        Kind::Zip => "{module}/@v/{version}.zip",
        Kind::Toolchain => "golang.org/toolchain/@v/{version}.zip",
        Kind::SumdbSupported => "/sumdb/{database}/supported",
        Kind::Lookup => "/lookup/{module}@{version}",
        Kind::Tile => "/tile/{height}/{level}/{tile}",
        Kind::Discovery => "{path}?go-get=1",
        Kind::Vcs if route.path.ends_with("/git-upload-pack") => "{repository}/git-upload-pack",
        Kind::Vcs => "{repository}/info/refs",
        Kind::Other => return None,
    })
}

/// A span id that is the same whenever it is asked for.
fn derive(trace: TraceId, parent: SpanId, of: &[&[u8]]) -> SpanId {
    let mut digest = Sha256::new();
    digest.update(b"modtape span");
    digest.update(trace.0);
    digest.update(parent.0);
    for part in of {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    // An id of zeros is none.
    id[7] |= u8::from(id == [0; 8]);
    Hex(id)
}

/// The redactor of a recording that has secrets. Its marks are the same each time. Their key is made of what spans
/// do not show, since who has the key can try what a mark stands for.
fn redactor(manifest: &Manifest) -> Redactor {
    let mut digest = Sha256::new();
    let settings = manifest
        .go_env
        .iter()
        .flat_map(|(name, value)| [name, value]);
    let parts = [&manifest.id].into_iter().chain(settings);
    for part in parts.chain(&manifest.command) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let redactor = Redactor::new(digest.finalize().into());
    let urls = ["GOPROXY", "GOSUMDB"].into_iter();
    let urls = urls.filter_map(|name| Some(manifest.go_env.get(name)?.as_str()));
    // `env GOPROXY=… go …`
    let given = manifest.command.iter();
    let given = given.filter_map(|word| Some(word.split_once("GOPROXY=")?.1));
    urls.chain(given).fold(redactor, Redactor::knowing_bases)
}

/// Nanoseconds since 1970 of a time in RFC 3339.
fn nanos(wall: &str) -> Option<u64> {
    let wall = OffsetDateTime::parse(wall, &Rfc3339).ok()?;
    u64::try_from(wall.unix_timestamp_nanos()).ok()
}

/// The name of a program without its folders.
fn executable(program: &str) -> &str {
    let name = program.rsplit('/').next();
    name.filter(|name| !name.is_empty()).unwrap_or(program)
}

fn error(why: &str) -> Status {
    Status {
        message: cut(why),
        code: StatusCode::Error.into(),
    }
}

/// The text, or its beginning and `…`.
fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let mut end = LONGEST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// An attribute that is text.
pub(super) fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(cut(value)))
}

fn number(key: &str, value: i64) -> KeyValue {
    pair(key, Value::IntValue(value))
}

fn unsigned(key: &str, value: u64) -> KeyValue {
    number(key, i64::try_from(value).unwrap_or(i64::MAX))
}

fn list(key: &str, words: &[String]) -> KeyValue {
    let words = words.iter().map(|word| AnyValue {
        value: Some(Value::StringValue(cut(word))),
    });
    let values = words.collect();
    pair(key, Value::ArrayValue(ArrayValue { values }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_the_same_again_and_differ_by_all_that_they_are_of() {
        let (trace, other) = (Hex([1; 16]), Hex([2; 16]));
        let id = derive(trace, Hex([3; 8]), &[b"dns"]);
        assert_eq!(id, derive(trace, Hex([3; 8]), &[b"dns"]));
        for differs in [
            derive(other, Hex([3; 8]), &[b"dns"]),
            derive(trace, Hex([4; 8]), &[b"dns"]),
            derive(trace, Hex([3; 8]), &[b"tls"]),
            derive(trace, Hex([3; 8]), &[b"d", b"ns"]),
        ] {
            assert_ne!(id, differs);
        }
    }

    #[test]
    fn secret_elements_of_a_proxys_path_are_replaced_by_the_same_mark_each_time() {
        let secret = "Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5";
        let mut manifest = Manifest::begun("modtape 1", "1".into(), "".into(), Hex([1; 16]));
        let set = |name: &str, host: &str| (name.into(), format!("https://{host}/{secret}/go"));
        let marked = |manifest: &Manifest| {
            redactor(manifest).url(&format!("https://a.b/{secret}/go/x/@v/list"))
        };
        for name in ["GOPROXY", "GOSUMDB"] {
            manifest.go_env = [set(name, "a.b")].into();
            assert!(!marked(&manifest).contains(secret), "{name}");
        }
        manifest.go_env.clear();
        manifest.command = vec![format!("GOPROXY=https://a.b/{secret}")];
        let first = marked(&manifest);
        assert!(!first.contains(secret), "{first}");
        assert_eq!(first, marked(&manifest));
        manifest.id = "2".into();
        assert_ne!(first, marked(&manifest));
    }

    #[test]
    fn what_is_too_long_says_that_it_is_cut() {
        let long = "é".repeat(LONGEST);
        let cut = cut(&long);
        assert!(cut.len() <= LONGEST + '…'.len_utf8() && cut.ends_with("é…"));
        assert_eq!(executable("/usr/bin/go"), "go");
        assert_eq!(executable("/"), "/");
    }
}
