//! Parsers for the values of flags.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, Time};

use super::{FailOn, Instant};

/// The default folder of recordings.
pub(super) const RECORDINGS: &str = "recordings";

/// A folder of recordings; an empty variable counts as not set, as with `HTTPS_PROXY`.
pub(super) fn folder(text: OsString) -> PathBuf {
    if text.is_empty() {
        return PathBuf::from(RECORDINGS);
    }
    PathBuf::from(text)
}

/// The path of a file; `-` is refused, since stdout and stderr are in use.
pub(super) fn file(text: OsString) -> Result<PathBuf, String> {
    match text == "-" {
        true => Err(String::from("expected the path of a file")),
        false => Ok(PathBuf::from(text)),
    }
}

/// `127.0.0.1:4040`, `[::1]:4040`; without a port, a free one.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let alone = || bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, 0));
    text.parse().or_else(|_| alone()).map_err(|_| {
        String::from("expected an IP address, such as 127.0.0.1, 127.0.0.1:4040 or [::1]:4040")
    })
}

/// As [`listen`]; also `:9464`, which is that port on loopback.
pub(super) fn metrics(text: &str) -> Result<SocketAddr, String> {
    match text.strip_prefix(':').map(str::parse) {
        Some(Ok(port)) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => listen(text).map_err(|_| {
            String::from("expected an IP address, or a port on loopback: 127.0.0.1:9464 or :9464")
        }),
    }
}

/// `modules.corp.example`, `192.0.2.7`, `[2001:db8::7]`: the host of a URL, without a port.
pub(super) fn host(text: &str) -> Result<String, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    if let Ok(ip) = bare.unwrap_or(text).parse::<IpAddr>() {
        return Ok(match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_name = (1..=253).contains(&text.len()) && text.chars().all(fits);
    match is_name && !text.starts_with(['-', '.']) {
        true => Ok(text.to_owned()),
        false => Err(String::from(
            "expected a host, such as modules.corp.example: its port is that of --listen",
        )),
    }
}

/// `10.0.0.0/8`, `2001:db8::/32`, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let alone = || text.parse().map(|ip: IpAddr| IpNet::from(ip));
    let network = text
        .parse()
        .or_else(|_| alone())
        .map(|network: IpNet| network.trunc());
    network.map_err(|_| String::from("expected a network, such as 10.0.0.0/8 or 2001:db8::/32"))
}

/// `443`.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| String::from("expected a port from 1 to 65535"))
}

/// `1000`.
pub(super) fn uid(text: &str) -> Result<u32, String> {
    let number = text.parse();
    number.map_err(|_| String::from("expected a number, such as 1000: `id -u NAME` prints it"))
}

/// `system.slice/build.service`, as a line of /proc/PID/cgroup has it behind the second colon.
pub(super) fn cgroup(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    let has_part = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    // nft has no escapes in its quotes.
    match has_part && !path.contains(|c: char| c == '"' || c.is_control()) {
        true => Ok(path.to_owned()),
        false => Err(String::from(
            "expected the path of a control group, such as system.slice/build.service",
        )),
    }
}

/// `256MB`, `20GiB`, `65536`: bytes; `MB` counts in thousands, `MiB` in 1,024s.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("B", 1),
    ];
    let unit = UNITS.iter().find_map(|(name, bytes)| {
        let at = text.len().checked_sub(name.len())?;
        let end = text.get(at..)?;
        end.eq_ignore_ascii_case(name)
            .then(|| (&text[..at], *bytes))
    });
    let (number, unit) = unit.unwrap_or((text, 1));
    let number = number.trim().parse::<u64>().ok();
    let bytes = number.and_then(|number| number.checked_mul(unit));
    bytes.ok_or_else(|| String::from("expected a size, such as 256MB or 20GiB"))
}

/// The words that `--fail-on` takes beside codes and `total>DURATION`.
pub(crate) const GATES: [(&str, FailOn); 3] = [
    ("problem", FailOn::Problem),
    ("slow", FailOn::Slow),
    ("stall", FailOn::Stall),
];

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = text.trim().to_ascii_lowercase();
        if let Some((_, gate)) = GATES.iter().find(|(name, _)| *name == word) {
            return Ok(gate.clone());
        }
        let digits = word.strip_prefix("mt").unwrap_or(&word);
        if digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Code(format!("MT{digits}")));
        }
        let limit = word.strip_prefix("total").map(str::trim);
        match limit.map(|limit| limit.strip_prefix('>').map(str::trim)) {
            Some(Some(limit)) => return duration(limit).map(Self::Total),
            Some(None) => {
                return Err(String::from(
                    "expected total>DURATION, in quotes: 'total>60s' (without them a shell writes to a file of that name)",
                ));
            }
            None => {}
        }
        let expected = "expected a code such as MT106, or problem, slow, stall or 'total>60s'";
        let near = GATES
            .iter()
            .find(|(name, _)| strsim::levenshtein(name, &word) <= 2);
        Err(match near {
            Some((name, _)) => format!("{expected}; did you mean {name}?"),
            None => expected.to_owned(),
        })
    }
}

/// `250ms`, `10s`, `2m`, `1h30m`; a bare number is seconds, as in timeout(1).
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let form = || String::from("expected a duration such as 500ms, 10s, 2m or 1h30m");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let seconds = match unit {
            "ms" => 0.001,
            "s" | "" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(form()),
        };
        let number: f64 = number.parse().map_err(|_| form())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| form())?;
        total = total.checked_add(part).ok_or_else(form)?;
        rest = tail;
    }
    if total.is_zero() {
        return Err(String::from("expected a duration above zero"));
    }
    Ok(total)
}

/// `2026-01-15`, a day, which means its end in UTC; or `2026-01-15T10:00:00+01:00` (RFC 3339).
pub(super) fn instant(text: &str) -> Result<Instant, String> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok();
    let end = day.map(|day| {
        let last = Time::MIDNIGHT - time::Duration::nanoseconds(1);
        day.with_time(last).assume_utc()
    });
    let at = end.or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok());
    let at =
        at.ok_or("expected a day such as 2026-01-15, or an instant such as 2026-01-15T10:00:00Z")?;
    let text = text.to_owned();
    Ok(Instant { at, text })
}

/// `78` or `#78`.
pub(super) fn exchange_id(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits
        .parse()
        .map_err(|_| String::from("expected the number of an exchange, such as 78"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_port() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1:0"),
            ("127.0.0.1:4040", "127.0.0.1:4040"),
            ("::1", "[::1]:0"),
            ("[::1]", "[::1]:0"),
            ("[::1]:4040", "[::1]:4040"),
        ] {
            assert_eq!(listen(text), Ok(address.parse().unwrap()), "{text}");
        }
        for text in ["", ":4040", "4040", "localhost:0", "[127.0.0.1", "::1]"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_has_neither_scheme_nor_port() {
        for (text, own) in [
            ("modules.corp.example", "modules.corp.example"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8::7", "[2001:db8::7]"),
            ("[2001:db8::7]", "[2001:db8::7]"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(own));
        }
        for text in [
            "",
            "a.example:80",
            "https://a.example",
            "a/b",
            "-a",
            ".a",
            "a b",
            "a,b",
        ] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_and_users_are_numbers() {
        assert_eq!(port("443"), Ok(443));
        for text in ["", "0", "x", "70000", "-1"] {
            let error = port(text).unwrap_err();
            assert_eq!(error, "expected a port from 1 to 65535", "{text}");
        }
        assert_eq!(uid("0"), Ok(0));
        let told = "expected a number, such as 1000: `id -u NAME` prints it";
        assert_eq!(uid("ana"), Err(told.to_owned()));
    }

    #[test]
    fn an_empty_folder_is_none() {
        assert_eq!(folder(OsString::new()), PathBuf::from("recordings"));
        assert_eq!(folder("x".into()), PathBuf::from("x"));
    }

    #[test]
    fn a_gate_is_read_in_upper_and_lower_case_and_a_typing_error_told() {
        let minute = FailOn::Total(Duration::from_secs(60));
        for (text, gate) in [
            ("problem", FailOn::Problem),
            ("Slow", FailOn::Slow),
            (" stall", FailOn::Stall),
            ("MT131", FailOn::Code("MT131".into())),
            ("mt131", FailOn::Code("MT131".into())),
            ("131", FailOn::Code("MT131".into())),
            ("total>60s", minute.clone()),
            ("total > 1m", minute),
        ] {
            assert_eq!(text.parse(), Ok(gate), "{text}");
        }
        for (text, told) in [
            ("problems", "did you mean problem?"),
            ("stal", "did you mean stall?"),
            ("MT13", "expected a code"),
            ("", "expected a code"),
            ("total", "in quotes"),
            ("total>=60s", "expected a duration"),
            ("total>fast", "expected a duration"),
            ("total:60s", "expected total>DURATION"),
        ] {
            let error = text.parse::<FailOn>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("1h30m", 5_400_000),
            ("2", 2_000),
            ("1.5s", 1_500),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "0s",
            "s",
            "10x",
            "-1s",
            "1..2s",
            "99999999999999999999h",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
