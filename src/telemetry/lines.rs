//! A log line as one JSON object: with OpenTelemetry's names, or as the Elastic Common Schema (ECS) has it.
//!
//! Both are flat: names have dots, as ECS's loggers write them. Text is what tracing-subscriber makes of an event.

use std::cell::RefCell;
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

thread_local! {
    /// A line without its time. Pieces that go to a [`Writer`] one by one cost twice as much.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

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
        out.write_str(match self.0 {
            Names::Otel => "{\"timestamp\":\"",
            Names::Ecs => "{\"@timestamp\":\"",
        })?;
        SystemTime.format_time(&mut out)?;
        LINE.with_borrow_mut(|line| {
            line.clear();
            match self.0 {
                Names::Otel => otel(line, event),
                Names::Ecs => ecs(line, event),
            }
            out.write_str(line)
        })
    }
}

fn otel(line: &mut String, event: &Event<'_>) {
    let metadata = event.metadata();
    line.push_str("\",\"level\":\"");
    line.push_str(metadata.level().as_str());
    line.push_str("\",\"target\":");
    quoted(line, metadata.target());
    event.record(&mut Fields::new(line, Names::Otel));
    line.push_str("}\n");
}

fn ecs(line: &mut String, event: &Event<'_>) {
    let metadata = event.metadata();
    line.push_str("\",\"log.level\":\"");
    line.push_str(match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    });
    line.push_str("\",\"message\":\"");
    event.record(&mut Message {
        line,
        is_begun: false,
        is_whole: false,
    });
    line.push_str("\",\"ecs.version\":\"");
    line.push_str(ECS);
    line.push_str("\",\"service.name\":\"modtape\",\"process.pid\":");
    digits(line, std::process::id().into());
    line.push_str(",\"log.logger\":");
    quoted(line, metadata.target());
    line.push_str(",\"event.dataset\":\"modtape.");
    let area = area(metadata.target());
    escaped(line, area);
    line.push('"');
    let mut fields = Fields::new(line, Names::Ecs);
    event.record(&mut fields);
    let facts = fields.facts;
    line.push_str(kind(area, &facts));
    if let Some(outcome) = outcome(area, &facts) {
        line.push_str(",\"event.outcome\":\"");
        line.push_str(outcome);
        line.push('"');
    }
    line.push_str("}\n");
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
struct Message<'a> {
    line: &'a mut String,
    is_begun: bool,
    /// The event has a text of its own.
    is_whole: bool,
}

impl Message<'_> {
    fn add(&mut self, key: &Key, write: impl FnOnce(&mut String)) {
        let name = key.name();
        if self.is_whole || !matches!(name, "message" | "method" | "url" | "path" | "status") {
            return;
        }
        self.is_whole = name == "message";
        if std::mem::replace(&mut self.is_begun, true) {
            self.line.push(' ');
        }
        write(self.line);
    }
}

impl Visit for Message<'_> {
    fn record_debug(&mut self, key: &Key, value: &dyn Debug) {
        self.add(key, |line| escaped_debug(line, value));
    }

    fn record_str(&mut self, key: &Key, value: &str) {
        self.add(key, |line| escaped(line, value));
    }

    fn record_u64(&mut self, key: &Key, value: u64) {
        self.add(key, |line| digits(line, value));
    }
}

/// Writes the fields of an event as members of an object that has some already.
struct Fields<'a> {
    line: &'a mut String,
    names: Names,
    facts: Facts,
}

impl<'a> Fields<'a> {
    fn new(line: &'a mut String, names: Names) -> Self {
        Self {
            line,
            names,
            facts: Facts::default(),
        }
    }

    /// The name of a field that stands in the table.
    fn name_of(&self, field: &Field) -> &'static str {
        match self.names {
            Names::Otel => field.otel,
            Names::Ecs => field.ecs,
        }
    }

    /// Begins a member; its name needs no escapes.
    fn begin(&mut self, name: &str) {
        self.line.push_str(",\"");
        self.line.push_str(name);
        self.line.push_str("\":");
    }

    /// Begins a member for a field.
    fn begin_field(&mut self, key: &Key) {
        match field(key.name()) {
            Some(field) => self.begin(self.name_of(field)),
            None => self.begin_unknown(key),
        }
    }

    /// Begins a member for a field that the table does not have.
    fn begin_unknown(&mut self, key: &Key) {
        self.line.push_str(",\"modtape.");
        self.line.push_str(key.name());
        self.line.push_str("\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.begin(name);
        quoted(self.line, value);
    }

    /// Writes a text by its shape.
    fn shaped(&mut self, field: &Field, value: &str) {
        let name = self.name_of(field);
        match field.shape {
            Shape::Plain | Shape::Duration => self.text(name, value),
            Shape::HttpVersion => self.text(name, value.strip_prefix("HTTP/").unwrap_or(value)),
            Shape::TlsVersion => self.text(name, value.strip_prefix("TLS ").unwrap_or(value)),
            Shape::Address => self.address(name, value),
            Shape::Url => self.url(name, value),
        }
    }

    fn address(&mut self, name: &str, value: &str) {
        let parsed = value.parse::<SocketAddr>();
        let Some((ip, _)) = value.rsplit_once(':').filter(|_| parsed.is_ok()) else {
            // A connection without an address has none to tell.
            if !value.is_empty() {
                self.text(name, value);
            }
            return;
        };
        let ip = ip.trim_matches(['[', ']']);
        let side = name.strip_suffix("address").unwrap_or(name);
        self.text(name, ip);
        if self.names == Names::Ecs {
            self.part(side, "ip");
            quoted(self.line, ip);
        }
        self.part(side, "port");
        digits(self.line, parsed.map_or(0, |address| address.port()).into());
    }

    /// Begins a member whose name has two parts.
    fn part(&mut self, side: &str, word: &str) {
        self.line.push_str(",\"");
        self.line.push_str(side);
        self.line.push_str(word);
        self.line.push_str("\":");
    }

    fn url(&mut self, name: &str, value: &str) {
        let Some((_, rest)) = value.split_once("://") else {
            // The target of a CONNECT.
            return self.text("url.original", value);
        };
        self.text(name, value);
        if self.names == Names::Otel {
            return;
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
        self.text("url.domain", domain);
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        if !path.is_empty() {
            self.text("url.path", path);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, key: &Key, value: &dyn Debug) {
        let name = key.name();
        if name == "message" {
            self.facts.is_opened = is_text(value, "opened");
            self.facts.is_closed = is_text(value, "closed");
            if self.names == Names::Ecs {
                // It is written by then.
                return;
            }
            self.begin("message");
        } else if let Some(field) = field(name) {
            self.facts.has_error |= name == "error";
            if !matches!(field.shape, Shape::Plain | Shape::Duration) {
                return self.shaped(field, &format!("{value:?}"));
            }
            self.begin(self.name_of(field));
        } else {
            self.begin_unknown(key);
        }
        self.line.push('"');
        escaped_debug(self.line, value);
        self.line.push('"');
    }

    fn record_str(&mut self, key: &Key, value: &str) {
        let name = key.name();
        self.facts.has_error |= name == "error";
        match field(name) {
            Some(field) => self.shaped(field, value),
            None if name == "message" => match self.names {
                Names::Otel => self.text(name, value),
                Names::Ecs => {}
            },
            None => {
                self.begin_unknown(key);
                quoted(self.line, value);
            }
        }
    }

    fn record_u64(&mut self, key: &Key, value: u64) {
        let mut shown = value;
        match key.name() {
            "status" => self.facts.status = Some(value),
            "duration_us" => {
                self.facts.has_duration = true;
                if self.names == Names::Ecs {
                    shown = value.saturating_mul(1000);
                }
            }
            _ => {}
        }
        self.begin_field(key);
        digits(self.line, shown);
    }

    fn record_i64(&mut self, key: &Key, value: i64) {
        self.begin_field(key);
        let _ = write!(self.line, "{value}");
    }

    fn record_bool(&mut self, key: &Key, value: bool) {
        self.begin_field(key);
        self.line.push_str(if value { "true" } else { "false" });
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

/// Writes a number, without the detour over a formatter: a line has a dozen.
fn digits(line: &mut String, mut number: u64) {
    let mut buffer = [b'0'; 20];
    let mut from = buffer.len();
    loop {
        from -= 1;
        buffer[from] += u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.push_str(std::str::from_utf8(&buffer[from..]).unwrap_or_default());
}

fn quoted(line: &mut String, text: &str) {
    line.push('"');
    escaped(line, text);
    line.push('"');
}

/// Writes the inside of a JSON string, of a value's text.
fn escaped_debug(line: &mut String, value: &dyn Debug) {
    struct Escaped<'a>(&'a mut String);
    impl Write for Escaped<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            escaped(self.0, text);
            Ok(())
        }
    }
    // Neither a String nor a value of ours fails.
    let _ = write!(Escaped(line), "{value:?}");
}

/// Writes a text with the escapes of JSON (RFC 8259 section 7), and of DEL and the C1 controls, which terminals obey.
fn escaped(line: &mut String, text: &str) {
    let mut rest = text;
    // What is escaped is a byte of ASCII, or begins with 0xc2, as the C1 controls do in UTF-8.
    let needs = |byte: u8| byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f | 0xc2);
    while let Some(at) = rest.bytes().position(needs) {
        let (plain, after) = rest.split_at(at);
        line.push_str(plain);
        let mut chars = after.chars();
        match chars.next() {
            Some('"') => line.push_str("\\\""),
            Some('\\') => line.push_str("\\\\"),
            Some('\n') => line.push_str("\\n"),
            Some('\t') => line.push_str("\\t"),
            Some('\r') => line.push_str("\\r"),
            Some(c) if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            Some(c) => line.push(c),
            None => {}
        }
        rest = chars.as_str();
    }
    line.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_json_has_it() {
        for text in [
            "",
            "plain",
            "\"\\/\n\r\t\u{8}\u{c}\0",
            "\u{7f}\u{80}\u{9b}31m\u{a0}é\u{2028}",
            "日本語 \u{1b}[0m",
        ] {
            let mut line = String::new();
            quoted(&mut line, text);
            let read: String = serde_json::from_str(&line).unwrap();
            assert_eq!(read, text);
            assert!(!line.contains(|c: char| c.is_control()), "{line}");
        }
    }

    #[test]
    fn numbers_have_their_digits() {
        for number in [0, 7, 10, 65_535, u64::MAX] {
            let mut line = String::new();
            digits(&mut line, number);
            assert_eq!(line, number.to_string());
        }
    }

    fn of_url(url: &str) -> String {
        let mut line = String::new();
        Fields::new(&mut line, Names::Ecs).url("url.full", url);
        line
    }

    #[test]
    fn the_parts_of_a_url_are_those_of_rfc_3986() {
        for (url, domain, path) in [
            ("https://a.example/x/@v/list?q#f", "a.example", "/x/@v/list"),
            ("https://u:p@a.example:8443/x", "a.example", "/x"),
            ("http://[2001:db8::1]:80/", "[2001:db8::1]", "/"),
            ("http://[2001:db8::1]/", "[2001:db8::1]", "/"),
            ("https://a.example?q=/x@y:1", "a.example", ""),
        ] {
            let mut expected = format!(",\"url.full\":\"{url}\",\"url.domain\":\"{domain}\"");
            if !path.is_empty() {
                expected += &format!(",\"url.path\":\"{path}\"");
            }
            assert_eq!(of_url(url), expected);
        }
        assert_eq!(
            of_url("a.example:443"),
            ",\"url.original\":\"a.example:443\""
        );
    }

    #[test]
    fn an_address_is_told_in_parts() {
        let mut line = String::new();
        Fields::new(&mut line, Names::Ecs).address("client.address", "[2001:db8::1]:80");
        let ip = "2001:db8::1";
        let expected =
            format!(",\"client.address\":\"{ip}\",\"client.ip\":\"{ip}\",\"client.port\":80");
        assert_eq!(line, expected);
        line.clear();
        Fields::new(&mut line, Names::Otel).address("client.address", "");
        assert_eq!(line, "");
    }
}
