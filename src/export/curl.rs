//! An exchange as a curl command that asks the same again, and a script of such commands that
//! compares what comes.
//!
//! A recording may come from anybody and a command is made to be pasted, so nothing in it is obeyed
//! by a shell or a terminal, taken for an option or for a file to read. Single quotes do that in every
//! shell, and hold no control characters: what has some is left out.

use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::source::{Format, Item, Source};
use crate::exchange::{Begin, ByteString, Fields, Opened};
use crate::gomod::Location;
use crate::shell::{self, is_terminal_control, plain};

/// A script for sh that is being written.
pub(crate) struct Script<'a, W: Write> {
    out: BufWriter<W>,
    source: &'a Source<'a>,
    exchanges: u64,
}

impl<'a, W: Write> Script<'a, W> {
    pub(crate) fn begin(out: W, source: &'a Source<'a>) -> io::Result<Self> {
        let mut out = BufWriter::new(out);
        let (id, started) = (&source.manifest().id, &source.manifest().started);
        let head = format!("what recording {id} of {started} asked");
        out.write_all(SCRIPT.replace("WHAT", &plain(&head)).as_bytes())?;
        Ok(Self {
            out,
            source,
            exchanges: 0,
        })
    }
}

impl<W: Write> Format for Script<'_, W> {
    fn push(&mut self, item: &Item<'_>) -> io::Result<()> {
        self.exchanges += 1;
        self.out.write_all(command(item, self.source).as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.out.write_all(b"exit \"$differ\"\n")?;
        self.out.flush()?;
        Ok(self.exchanges)
    }
}

/// What the script begins with. `ask ID STATUS SHA256 ARGUMENTS…` asks once.
const SCRIPT: &str = include_str!("ask.sh");

/// Comments, then the command; only comments where nothing can be asked.
fn command(item: &Item<'_>, source: &Source<'_>) -> String {
    let listed = &item.listed;
    let mut text = format!("\n# #{} {}\n", listed.id, plain(&listed.what()));
    let phases: Vec<_> = listed.phases_us.iter().collect();
    if !phases.is_empty() {
        let phases = phases
            .iter()
            .map(|(phase, us)| format!("{phase} {:?}", Duration::from_micros(*us)));
        let phases: Vec<_> = phases.collect();
        let total = Duration::from_micros(listed.total_us);
        text.push_str(&format!("# {total:?}: {}\n", phases.join(", ")));
    }
    let begin = &item.exchange.begin;
    let curl = match Curl::of(begin, item.dial, Likeness::Exact) {
        Ok(curl) => curl,
        Err(error) => {
            source.note_missing(format!("exchange {}: {error}", listed.id));
            return format!("{text}# not asked: {}\n", plain(&error.to_string()));
        }
    };
    source.note_unprintable(curl.unprintable);
    for left_out in &curl.left_out {
        text.push_str(&format!("# {}\n", plain(left_out)));
    }
    let Some(status) = listed.status else {
        return format!("{text}# it had no answer:\n# curl -sS{}\n", curl.arguments);
    };
    let whole = item.exchange.end().is_some() && begin.method != "HEAD";
    let digest = listed
        .body_sha256
        .filter(|_| whole && listed.body_bytes > 0);
    let digest = digest.map_or_else(|| String::from("-"), |digest| digest.to_string());
    format!(
        "{text}ask {} {status} {digest}{}\n",
        listed.id, curl.arguments
    )
}

/// A command and what it lacks.
pub(crate) struct Curl {
    /// What stands behind `curl -sS` in one line, with a space before it.
    pub(crate) arguments: String,
    /// What the request had that the command has not, in words.
    pub(crate) left_out: Vec<String>,
    /// How many header fields that includes since their values cannot stand in a command.
    pub(crate) unprintable: u64,
}

/// Why there is no command for a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CurlError {
    #[error("{0} is not an http or https URL")]
    Scheme(String),
    #[error("a CONNECT asks for a tunnel and not for an answer")]
    Connect,
    /// Nothing with control characters can be pasted.
    #[error("its {part} has control characters: {text}")]
    Control { part: &'static str, text: String },
}

/// How like the recorded request the command's is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// As a person wants it who looks at the answer: readable, and short.
    Readable,
    /// With all fields that shape the answer.
    Exact,
}

/// What curl says itself in any case.
const FRAMING: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

/// What a person who looks at the answer does not want: gzip, and somebody else's name.
const UNREADABLE: [&str; 2] = ["user-agent", "accept-encoding"];

impl Curl {
    /// The command that asks what `begin` asked, of the address that answered then.
    pub(crate) fn of(
        begin: &Begin,
        opened: Option<&Opened>,
        likeness: Likeness,
    ) -> Result<Self, CurlError> {
        let url = &begin.url;
        if !["http://", "https://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(CurlError::Scheme(url.clone()));
        }
        if begin.method == "CONNECT" {
            return Err(CurlError::Connect);
        }
        for (part, text) in [("method", &begin.method), ("URL", url)] {
            if text.chars().any(is_terminal_control) {
                let text = text.clone();
                return Err(CurlError::Control { part, text });
            }
        }
        let mut command = String::new();
        command.push_str(if begin.version == "HTTP/2" {
            " --http2"
        } else {
            " --http1.1"
        });
        match begin.method.as_str() {
            "GET" => {}
            "HEAD" => command.push_str(" --head"),
            method => add(&mut command, "-X", method),
        }
        if url.contains(['[', ']', '{', '}']) {
            command.push_str(" --globoff");
        }
        if let Some((option, value)) = opened.and_then(|opened| pin(url, opened)) {
            add(&mut command, option, &value);
        }
        let (mut left_out, mut unprintable) = (Vec::new(), 0);
        for (name, bytes) in wanted(&begin.headers, likeness) {
            let text = std::str::from_utf8(&bytes.0).ok();
            let Some(value) = text.filter(|text| !text.chars().any(is_terminal_control)) else {
                let what = text.map_or("is not UTF-8", |_| "has control characters");
                let value = bytes.to_text();
                left_out.push(format!(
                    "the command lacks the header {name}, which {what}: {value}"
                ));
                unprintable += 1;
                continue;
            };
            if !is_token(name) || value.contains("redacted:") {
                left_out.push(format!("the command lacks the header {name}: {value}"));
                continue;
            }
            // With nothing behind the colon curl would leave the field out (curl(1), --header).
            let header = match value {
                "" => format!("{name};"),
                value => format!("{name}: {value}"),
            };
            add(&mut command, "-H", &header);
        }
        if !matches!(begin.method.as_str(), "GET" | "HEAD") {
            left_out.push("the command lacks the request's body".into());
        }
        if url.contains("redacted:") {
            left_out.push("the URL's secrets were redacted".into());
        }
        command.push(' ');
        command.push_str(&shell::quoted(url));
        Ok(Self {
            arguments: command,
            left_out,
            unprintable,
        })
    }
}

fn wanted(headers: &Fields, likeness: Likeness) -> impl Iterator<Item = (&str, &ByteString)> {
    let is_in = |name: &str, names: &[&str]| names.iter().any(|n| name.eq_ignore_ascii_case(n));
    let wanted = move |name: &str| {
        let is_unread = likeness == Likeness::Readable && is_in(name, &UNREADABLE);
        !is_unread && !is_in(name, &FRAMING)
    };
    headers
        .iter()
        .filter(move |(name, _)| wanted(name))
        .map(|(name, value)| (name.as_str(), value))
}

/// A field's name (RFC 9110 section 5.6.2): to curl `@name` would be a file.
fn is_token(name: &str) -> bool {
    let is_tchar = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !name.is_empty() && name.bytes().all(is_tchar)
}

/// The option that makes curl connect to the address that was used; not through a parent proxy.
fn pin(url: &str, opened: &Opened) -> Option<(&'static str, String)> {
    let upstream = opened
        .upstream
        .as_ref()
        .filter(|upstream| upstream.via.is_none())?;
    let addr: SocketAddr = upstream.addr.as_deref()?.parse().ok()?;
    let (host, port) = host_and_port(url)?;
    let ip = match addr {
        SocketAddr::V4(addr) => addr.ip().to_string(),
        SocketAddr::V6(addr) => format!("[{}]", addr.ip()),
    };
    if host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[') {
        return None;
    }
    Some(if addr.port() == port {
        ("--resolve", format!("{host}:{port}:{ip}"))
    } else {
        (
            "--connect-to",
            format!("{host}:{port}:{ip}:{}", addr.port()),
        )
    })
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let own_port = if url.starts_with("http://") { 80 } else { 443 };
    let host = Location::of(url).host;
    match host.rsplit_once(':') {
        Some((name, port)) if !host.ends_with(']') => Some((name.into(), port.parse().ok()?)),
        _ => Some((host, own_port)),
    }
}

fn add(command: &mut String, option: &str, value: &str) {
    for word in [option, &shell::word(value)] {
        command.push(' ');
        command.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Hex;
    use crate::export::sample::connection;

    fn begin(method: &str, url: &str, headers: &[(&str, &str)]) -> Begin {
        let field = |(name, value): &(&str, &str)| ((*name).to_owned(), ByteString::from(*value));
        Begin {
            id: 140,
            connection: 3,
            span: Hex([1; 8]),
            method: method.into(),
            url: url.into(),
            version: "HTTP/2".into(),
            headers: headers.iter().map(field).collect(),
        }
    }

    fn of(begin: &Begin, opened: Option<&Opened>) -> String {
        let curl = Curl::of(begin, opened, Likeness::Readable).unwrap();
        format!("curl -sS{}", curl.arguments)
    }

    #[test]
    fn the_same_is_asked_of_the_same_address() {
        let url = "https://proxy.golang.org/k8s.io/api/@v/v0.32.0.mod";
        let headers = [
            ("user-agent", "Go-http-client/2.0"),
            ("accept-encoding", "gzip"),
        ];
        let begin = begin("GET", url, &headers);
        let command = |addr| of(&begin, Some(&connection(addr)));
        assert_eq!(
            command("142.250.4.141:443"),
            "curl -sS --http2 --resolve proxy.golang.org:443:142.250.4.141 \
             'https://proxy.golang.org/k8s.io/api/@v/v0.32.0.mod'"
        );
        assert!(
            command("[2001:db8::1]:8443")
                .contains("--connect-to 'proxy.golang.org:443:[2001:db8::1]:8443'")
        );
    }

    #[test]
    fn what_cannot_be_asked_again_is_said() {
        let headers = [("authorization", "Basic redacted:12ab"), ("accept", "*/*")];
        let curl = Curl::of(
            &begin("POST", "https://h/x", &headers),
            None,
            Likeness::Readable,
        );
        let curl = curl.unwrap();
        assert_eq!(
            curl.arguments,
            " --http2 -X POST -H 'accept: */*' 'https://h/x'"
        );
        assert_eq!(curl.left_out.len(), 2);
        assert!(
            Curl::of(
                &begin("GET", "file:///etc/passwd", &[]),
                None,
                Likeness::Exact
            )
            .is_err()
        );
    }

    #[test]
    fn what_no_shell_and_no_terminal_can_be_given_is_left_out_and_counted() {
        let mut begin = begin(
            "GET",
            "https://h/x",
            &[("x", "a\u{1b}'; id #"), ("y", "it's")],
        );
        begin.headers.push(("z".into(), ByteString(vec![0xff])));
        let curl = Curl::of(&begin, None, Likeness::Exact).unwrap();
        assert_eq!(curl.arguments, r" --http2 -H 'y: it'\''s' 'https://h/x'");
        assert_eq!((curl.left_out.len(), curl.unprintable), (2, 2));
        for (method, url) in [("GET", "https://h/\n"), ("G\0T", "https://h/")] {
            assert!(Curl::of(&self::begin(method, url, &[]), None, Likeness::Exact).is_err());
        }
    }
}
