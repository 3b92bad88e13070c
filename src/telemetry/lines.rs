//! A log line as one JSON object: with OpenTelemetry's names, or as the Elastic Common Schema (ECS) has it.
//!
//! Both are flat: names have dots, as ECS's loggers write them. Text is what tracing-subscriber makes of an event.

use std::fmt::{self, Debug, Write};
use std::net::SocketAddr;

use tracing::field::{Field as Key, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::fields::{Field, Shape, field};

/// The version of ECS that lines follow.
const ECS: &str = "8.11.0";

/// Whose names the fields have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Otel,
    Ecs,
}

/// Writes events as lines of JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonLines(pub(super) Names);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self.0 {
            Names::Otel => otel(&mut out, event),
            Names::Ecs => ecs(&mut out, event),
        }
    }
}

fn otel(out: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let metadata = event.metadata();
    out.write_str("{\"timestamp\":\"")?;
    SystemTime.format_time(out)?;
    let level = metadata.level().as_str();
    write!(out, "\",\"level\":\"{level}\",\"target\":\"")?;
    escaped(out, metadata.target())?;
    out.write_char('"')?;
    let mut fields = Fields::new(out, Names::Otel);
    event.record(&mut fields);
    fields.done?;
    out.write_str("}\n")
}

fn ecs(out: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let metadata = event.metadata();
    out.write_str("{\"@timestamp\":\"")?;
    SystemTime.format_time(out)?;
    let level = match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    write!(out, "\",\"log.level\":\"{level}\",\"message\":\"")?;
    let mut message = Message {
        out,
        is_begun: false,
        is_whole: false,
        done: Ok(()),
    };
    event.record(&mut message);
    message.done?;
    write!(
        out,
        "\",\"ecs.version\":\"{ECS}\",\"service.name\":\"modtape\",\"process.pid\":{},\"log.logger\":\"",
        std::process::id()
    )?;
    escaped(out, metadata.target())?;
    out.write_str("\",\"event.dataset\":\"modtape.")?;
    let area = area(metadata.target());
    escaped(out, area)?;
    out.write_char('"')?;
    let mut fields = Fields::new(out, Names::Ecs);
    event.record(&mut fields);
    fields.done?;
    let facts = fields.facts;
    out.write_str(kind(area, &facts))?;
    if let Some(outcome) = outcome(area, &facts) {
        write!(out, ",\"event.outcome\":\"{outcome}\"")?;
    }
    out.write_str("}\n")
}

/// What a line is about: the second word of a target, `exchange` of `modtape::exchange`.
fn area(target: &str) -> &str {
    let mut words = target.split("::").skip(1);
    words.next().unwrap_or("log")
}

/// ECS's categorization fields. Their values are lists from which one may choose.
fn kind(area: &str, facts: &Facts) -> &'static str {
    let is_end = facts.has_duration;
    match area {
        "exchange" | "access" if is_end && facts.has_failed() => {
            r#","event.kind":"event","event.category":["web"],"event.type":["access","error"]"#
        }
        "exchange" | "access" if is_end => {
            r#","event.kind":"event","event.category":["web"],"event.type":["access"]"#
        }
        "exchange" | "access" => {
            r#","event.kind":"event","event.category":["web"],"event.type":["info"]"#
        }
        "connection" if facts.is_closed => {
            r#","event.kind":"event","event.category":["network"],"event.type":["connection","end"]"#
        }
        "connection" if facts.is_opened => {
            r#","event.kind":"event","event.category":["network"],"event.type":["connection","start"]"#
        }
        "connection" => {
            r#","event.kind":"event","event.category":["network"],"event.type":["info"]"#
        }
        _ => r#","event.kind":"event""#,
    }
}

/// Whether what the line is about succeeded, where it says so.
fn outcome(area: &str, facts: &Facts) -> Option<&'static str> {
    if facts.has_failed() {
        return Some("failure");
    }
    match (area, facts.status) {
        // How one proxy of a list leaves a module to the next.
        ("exchange", Some(404 | 410)) => Some("unknown"),
        ("exchange", Some(400..)) => Some("failure"),
        (_, Some(_)) => Some("success"),
        (_, None) => facts.is_opened.then_some("success"),
    }
}

/// What was seen of the fields of an event.
#[derive(Debug, Default)]
struct Facts {
    status: Option<u64>,
    has_error: bool,
    has_duration: bool,
    is_opened: bool,
    is_closed: bool,
}

impl Facts {
    fn has_failed(&self) -> bool {
        self.has_error || self.status.is_some_and(|status| status >= 500)
    }
}

/// Writes the text of ECS's `message`: that of the event, or method, URL and status.
struct Message<'a, 'w> {
    out: &'a mut Writer<'w>,
    is_begun: bool,
    /// The event has a text of its own.
    is_whole: bool,
    done: fmt::Result,
}

impl Message<'_, '_> {
    fn add(&mut self, key: &Key, write: impl FnOnce(&mut Escaped<'_, '_>) -> fmt::Result) {
        let is_part = matches!(key.name(), "message" | "method" | "url" | "path" | "status");
        if self.is_whole || !is_part || self.done.is_err() {
            return;
        }
        self.is_whole = key.name() == "message";
        self.done = (|| {
            if std::mem::replace(&mut self.is_begun, true) {
                self.out.write_char(' ')?;
            }
            write(&mut Escaped(self.out))
        })();
    }
}

impl Visit for Message<'_, '_> {
    fn record_debug(&mut self, key: &Key, value: &dyn Debug) {
        self.add(key, |out| write!(out, "{value:?}"));
    }

    fn record_str(&mut self, key: &Key, value: &str) {
        self.add(key, |out| out.write_str(value));
    }

    fn record_u64(&mut self, key: &Key, value: u64) {
        self.add(key, |out| write!(out, "{value}"));
    }
}

/// Writes the fields of an event as members of an object that has some already.
struct Fields<'a, 'w> {
    out: &'a mut Writer<'w>,
    names: Names,
    facts: Facts,
    done: fmt::Result,
}

impl<'a, 'w> Fields<'a, 'w> {
    fn new(out: &'a mut Writer<'w>, names: Names) -> Self {
        Self {
            out,
            names,
            facts: Facts::default(),
            done: Ok(()),
        }
    }

    /// The name of a field that stands in the table.
    fn name_of(&self, field: &Field) -> &'static str {
        match self.names {
            Names::Otel => field.otel,
            Names::Ecs => field.ecs,
        }
    }

    /// Writes a member whose name needs no escapes.
    fn member(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> fmt::Result {
        self.out.write_str(",\"")?;
        self.out.write_str(name)?;
        self.out.write_str("\":")?;
        write(self.out)
    }

    fn text(&mut self, name: &str, value: &str) -> fmt::Result {
        self.member(name, |out| quoted(out, value))
    }

    /// Writes a field whose value is no text.
    fn scalar(&mut self, key: &Key, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.done.is_err() {
            return;
        }
        self.done = match field(key.name()) {
            Some(field) => self.member(self.name_of(field), write),
            None => self.unknown(key).and_then(|()| write(self.out)),
        };
    }

    /// Writes the name of a field that the table does not have.
    fn unknown(&mut self, key: &Key) -> fmt::Result {
        self.out.write_str(",\"modtape.")?;
        self.out.write_str(key.name())?;
        self.out.write_str("\":")
    }

    /// Writes a text by its shape.
    fn shaped(&mut self, field: &Field, value: &str) -> fmt::Result {
        let name = self.name_of(field);
        match field.shape {
            Shape::Plain | Shape::Duration => self.text(name, value),
            Shape::HttpVersion => self.text(name, value.strip_prefix("HTTP/").unwrap_or(value)),
            Shape::TlsVersion => self.text(name, value.strip_prefix("TLS ").unwrap_or(value)),
            Shape::Address => self.address(name, value),
            Shape::Url => self.url(name, value),
        }
    }

    fn address(&mut self, name: &str, value: &str) -> fmt::Result {
        let Ok(address) = value.parse::<SocketAddr>() else {
            // A connection without an address has none to tell.
            return match value.is_empty() {
                true => Ok(()),
                false => self.text(name, value),
            };
        };
        let side = name.strip_suffix("address").unwrap_or(name);
        let ip = address.ip();
        self.member(name, |out| write!(out, "\"{ip}\""))?;
        if self.names == Names::Ecs {
            self.out.write_str(",\"")?;
            write!(self.out, "{side}ip\":\"{ip}\"")?;
        }
        write!(self.out, ",\"{side}port\":{}", address.port())
    }

    fn url(&mut self, name: &str, value: &str) -> fmt::Result {
        let Some((_, rest)) = value.split_once("://") else {
            // The target of a CONNECT.
            return self.text("url.original", value);
        };
        self.text(name, value)?;
        if self.names == Names::Otel {
            return Ok(());
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let after_ip = host.rfind(']').unwrap_or(0);
        let domain = match host[after_ip..].find(':') {
            Some(colon) => &host[..after_ip + colon],
            None => host,
        };
        self.text("url.domain", domain)?;
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        match path {
            "" => Ok(()),
            path => self.text("url.path", path),
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_debug(&mut self, key: &Key, value: &dyn Debug) {
        if self.done.is_err() {
            return;
        }
        let debug = |out: &mut Writer<'_>| {
            out.write_char('"')?;
            write!(Escaped(out), "{value:?}")?;
            out.write_char('"')
        };
        self.done = match (key.name(), field(key.name())) {
            // It is written by then.
            ("message", _) if self.names == Names::Ecs => Ok(()),
            ("message", _) => self.member("message", debug),
            (name, Some(field)) => {
                self.facts.has_error |= name == "error";
                match field.shape {
                    Shape::Plain | Shape::Duration => self.member(self.name_of(field), debug),
                    _ => self.shaped(field, &format!("{value:?}")),
                }
            }
            (_, None) => self.unknown(key).and_then(|()| debug(self.out)),
        };
        if key.name() == "message" {
            self.facts.is_opened = is_text(value, "opened");
            self.facts.is_closed = is_text(value, "closed");
        }
    }

    fn record_str(&mut self, key: &Key, value: &str) {
        if self.done.is_err() {
            return;
        }
        self.facts.has_error |= key.name() == "error";
        self.done = match (key.name(), field(key.name())) {
            ("message", _) if self.names == Names::Ecs => Ok(()),
            ("message", _) => self.text("message", value),
            (_, Some(field)) => self.shaped(field, value),
            (_, None) => self.unknown(key).and_then(|()| quoted(self.out, value)),
        };
    }

    fn record_u64(&mut self, key: &Key, value: u64) {
        match key.name() {
            "status" => self.facts.status = Some(value),
            "duration_us" => {
                self.facts.has_duration = true;
                if self.names == Names::Ecs {
                    return self.scalar(key, |out| write!(out, "{}", value.saturating_mul(1000)));
                }
            }
            _ => {}
        }
        self.scalar(key, |out| write!(out, "{value}"));
    }

    fn record_i64(&mut self, key: &Key, value: i64) {
        self.scalar(key, |out| write!(out, "{value}"));
    }

    fn record_bool(&mut self, key: &Key, value: bool) {
        self.scalar(key, |out| write!(out, "{value}"));
    }
}

/// Whether a value's text is this one, without making it.
fn is_text(value: &dyn Debug, text: &str) -> bool {
    struct Rest<'a>(&'a str);
    impl Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Rest(text);
    write!(rest, "{value:?}").is_ok() && rest.0.is_empty()
}

fn quoted(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    escaped(out, text)?;
    out.write_char('"')
}

/// Writes the inside of a JSON string.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escaped(self.0, text)
    }
}

/// Writes a text with the escapes of JSON (RFC 8259 section 7), and of DEL and the C1 controls, which terminals obey.
fn escaped(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    let mut rest = text;
    // What is escaped is a byte of ASCII, or begins with 0xc2, as the C1 controls do in UTF-8.
    let needs = |byte: u8| byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f | 0xc2);
    while let Some(at) = rest.bytes().position(needs) {
        let (plain, after) = rest.split_at(at);
        out.write_str(plain)?;
        let mut chars = after.chars();
        match chars.next() {
            Some('"') => out.write_str("\\\"")?,
            Some('\\') => out.write_str("\\\\")?,
            Some('\n') => out.write_str("\\n")?,
            Some('\t') => out.write_str("\\t")?,
            Some('\r') => out.write_str("\\r")?,
            Some(c) if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
            Some(c) => out.write_char(c)?,
            None => {}
        }
        rest = chars.as_str();
    }
    out.write_str(rest)
}
