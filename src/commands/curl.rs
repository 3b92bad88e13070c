//! An exchange as a curl command that asks the same again.
//!
//! Pure. A recording may come from anybody and the command is made to be pasted, so nothing in it
//! is obeyed by a shell, taken for an option or for a file to read.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::bail;

use crate::exchange::{Begin, Fields, Opened};
use crate::gomod::Location;

/// A command and what it lacks.
pub(super) struct Curl {
    /// What stands behind `curl -sS` in one line, with a space before it.
    pub(super) arguments: String,
    /// What the request had that the command has not, in words.
    pub(super) left_out: Vec<String>,
}

/// How like the recorded request the command's is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
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
    pub(super) fn of(
        begin: &Begin,
        opened: Option<&Opened>,
        likeness: Likeness,
    ) -> anyhow::Result<Self> {
        let url = &begin.url;
        if !["http://", "https://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            bail!("{url} is not an http or https URL");
        }
        if begin.method == "CONNECT" {
            bail!("a CONNECT asks for a tunnel and not for an answer");
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
        let mut left_out = Vec::new();
        for (name, value) in wanted(&begin.headers, likeness) {
            let value = value.as_ref();
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
        command.push_str(&quoted(url));
        Ok(Self {
            arguments: command,
            left_out,
        })
    }
}

fn wanted(headers: &Fields, likeness: Likeness) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    let is_in = |name: &str, names: &[&str]| names.iter().any(|n| name.eq_ignore_ascii_case(n));
    let wanted = move |name: &str| {
        let is_unread = likeness == Likeness::Readable && is_in(name, &UNREADABLE);
        !is_unread && !is_in(name, &FRAMING)
    };
    headers
        .iter()
        .filter(move |(name, _)| wanted(name))
        .map(|(name, value)| (name.as_str(), value.to_text()))
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
    // Writing to a String cannot fail.
    let _ = write!(command, " {option} {}", word(value));
}

/// A word of a shell's command: as it is if it has no special character, else in quotes.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"-_./:,@%+=[]".contains(&c);
    if !text.is_empty() && !text.contains(['[', ']']) && text.bytes().all(is_plain) {
        return text.into();
    }
    quoted(text)
}

/// In quotes, so that sh, bash and zsh take it as it is; with control characters in `$'…'`
/// (POSIX.1-2024, section 2.2.4), since the command itself must not command the terminal.
fn quoted(text: &str) -> String {
    use super::terminal::obeyed;
    if !text.chars().any(obeyed) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut quoted = String::from("$'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if obeyed(c) => {
                for octet in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Three octal digits: what follows cannot be taken for a fourth.
                    let _ = write!(quoted, "\\{octet:03o}");
                }
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::clock::Timestamp;
    use crate::exchange::{ClientSide, Hex, Mode, Octets, UpstreamSide};

    fn begin(method: &str, url: &str, headers: &[(&str, &str)]) -> Begin {
        let field = |(name, value): &(&str, &str)| ((*name).to_owned(), Octets::from(*value));
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

    fn opened(addr: &str) -> Opened {
        Opened {
            id: 3,
            again: false,
            started_us: Timestamp::default(),
            mode: Mode::Intercept,
            target: "proxy.golang.org:443".into(),
            client: ClientSide::default(),
            upstream: Some(UpstreamSide {
                addr: Some(addr.into()),
                ..UpstreamSide::default()
            }),
            dns_us: None,
            connect_us: None,
            tls_us: None,
            tries: Vec::new(),
            error: None,
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
        let command = |addr| of(&begin, Some(&opened(addr)));
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
    fn a_shell_takes_every_word_as_it_was() {
        let hostile = "https://h/a'b$(id)`id`\\\"\u{1b}[2J\u{9b}7\n&;|<>*?~#{x}é";
        let headers = [("x-name", "'; id #"), ("@/etc/passwd", "x")];
        let curl = of(&begin("GE T", hostile, &headers), None);
        assert!(!curl.chars().any(super::super::terminal::obeyed));
        let script = format!("curl() {{ printf '%s\\0' \"$@\"; }}; {curl}");
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        let words: Vec<_> = words.trim_end_matches('\0').split('\0').collect();
        let expected = [
            "-sS",
            "--http2",
            "-X",
            "GE T",
            "--globoff",
            "-H",
            "x-name: '; id #",
            hostile,
        ];
        assert_eq!(words, expected);
    }
}
