//! What to do where something is broken and no setting helps: whom to ask, and what to show them.

use super::facts::{Facts, Host, Verdict};
use super::{Row, State};
use crate::diagnose::public_hosts::is_public;

/// What to send to the one who is asked.
const EVIDENCE: &str =
    "send the row above, or `modtape doctor --json`, which holds no credentials, along";

/// The next step, by the first check that is broken: a later one often fails for the same reason.
pub(super) fn next_step(facts: &Facts, rows: &[Row]) -> Option<String> {
    let row = rows.iter().find(|row| row.state == State::Broken)?;
    Some(match row.check {
        "go" => String::from(
            "install Go (https://go.dev/dl/), or put the folder of the go command on the PATH; `command -v go` finds it then",
        ),
        "setting" => setting(&row.subject, facts.go.get(&row.subject)),
        "folder" => format!(
            "`ls -ld {}` shows whether it is there and who may read it; GOPROXY names it",
            row.subject.strip_prefix("file://").unwrap_or(&row.subject)
        ),
        "netrc" => format!(
            "if that host wants credentials, mend the line in {}; a complete one is `machine HOST login USER password TOKEN`",
            row.subject
        ),
        "clock" => String::from(
            "set the clock of this machine: `sudo timedatectl set-ntp true`, or `sudo date -s` by hand",
        ),
        "dns" => names(facts, &row.subject),
        "tcp4" | "tcp6" => {
            let vpn = match is_public(&row.subject) {
                true => "",
                false => "connect the VPN, if one leads there; else ",
            };
            let host = with_port(facts, &row.subject);
            format!(
                "{vpn}ask who runs this network to let this machine connect to {host} by TCP: {EVIDENCE}"
            )
        }
        "parent-proxy" => format!(
            "ask who runs the proxy {} to let {} through: {EVIDENCE}",
            row.subject,
            measured(row, "for").unwrap_or("these hosts")
        ),
        "tls" | "tls-post-quantum" => tls(facts, &row.subject),
        "request" | "sumdb-supported" => request(row),
        "roots" => String::from(
            "install the system's package of CA certificates (ca-certificates), which go reads",
        ),
        "module-cache" | "space" => format!(
            "`ls -ld {0}` and `df -h {0}` show whose it is and how full its disk is",
            row.subject
        ),
        _ => format!("ask who runs {}: {EVIDENCE}", row.subject),
    })
}

fn setting(name: &str, value: &str) -> String {
    match (name, value) {
        ("GOPROXY", "off") => String::from(
            "`go env -u GOPROXY` (or unset GOPROXY, if the environment sets it) lets go download again, unless it is off on purpose",
        ),
        ("GOPROXY", _) => String::from(
            "write GOPROXY as URLs between commas, such as https://proxy.golang.org,direct; who runs a proxy of your own knows its URL",
        ),
        ("GOSUMDB", _) => String::from(
            "`go env -u GOSUMDB` (or unset GOSUMDB, if the environment sets it) goes back to sum.golang.org; who runs a database of your own has its whole key, NAME+HASH+KEY",
        ),
        (name, _) => format!(
            "write {name} as the beginnings of module paths between commas, such as git.corp.example,*.team.example: `modtape help MT117`"
        ),
    }
}

/// A name that cannot be looked up: of all hosts, or of this one only.
fn names(facts: &Facts, name: &str) -> String {
    if facts.is_offline() {
        return format!(
            "no name can be looked up: see whether this machine has a network at all (cable, wireless, VPN) and what /etc/resolv.conf names; `getent hosts {name}` asks the same resolvers"
        );
    }
    let others = match facts.hosts.iter().any(Host::is_resolved) {
        true => "other names can be looked up: ",
        false => "",
    };
    format!(
        "{others}check the spelling of {name} in the settings, and whether a VPN has to be on for it; `getent hosts {name}` asks the same resolvers; ask who runs them: {EVIDENCE}"
    )
}

fn tls(facts: &Facts, host: &str) -> String {
    let mut hosts = facts.hosts.iter();
    let found = hosts.find(|one| one.name == host);
    let certificate = found.and_then(|one| one.small.as_ref()?.certificate.as_ref());
    match certificate.map(|certificate| certificate.verdict) {
        Some(Verdict::Expired | Verdict::NotYetValid) => format!(
            "see whether the clock of this machine is right (`date`); if it is, ask who runs {host} to renew its certificate: {EVIDENCE}"
        ),
        Some(Verdict::WrongName) => format!(
            "see whether {host} leads to the right address (`getent hosts {host}`), and whether this network wants a login in a browser first; else ask who runs {host}: {EVIDENCE}"
        ),
        Some(_) => format!("ask who runs {host}, or the proxy before it: {EVIDENCE}"),
        None => format!(
            "ask who runs this network's firewall: it lets TCP to {host} through and TLS not; `curl -sv https://{host}/` shows the same: {EVIDENCE}"
        ),
    }
}

fn request(row: &Row) -> String {
    let (scheme, rest) = row
        .subject
        .split_once("://")
        .unwrap_or(("https", &row.subject));
    let host = rest.split('/').next().unwrap_or(rest);
    let path = measured(row, "path").unwrap_or_default();
    format!(
        "ask who runs {host} why `curl -sSi {scheme}://{host}{path}` gets no good answer: {EVIDENCE}"
    )
}

/// The port that a host is asked on, if its name has none.
fn with_port(facts: &Facts, host: &str) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    let plain = format!("http://{host}");
    let mut places = facts.hosts.iter().flat_map(|host| &host.places);
    let is_plain = places.any(|place| place.url.starts_with(&plain));
    match (has_port, is_plain) {
        (true, _) => host.to_owned(),
        (false, true) => format!("{host}:80"),
        (false, false) => format!("{host}:443"),
    }
}

fn measured<'a>(row: &'a Row, key: &str) -> Option<&'a str> {
    let mut measured = row.measured.iter();
    measured.find_map(|(name, measure)| match measure {
        super::Measure::Text(text) if *name == key => Some(&**text),
        _ => None,
    })
}
