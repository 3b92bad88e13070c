//! The one change of a setting that would help most.
//!
//! What is broken goes before what is slow. No line weakens the checks of certificates or checksums.

use super::facts::{Facts, Failure, Host, Origin, Outcome, Place, Role, Step, Verdict};
use super::hosts::{
    HTTP2_OFF, is_http2_off, is_needed, median, sends_large_hello, timed, why_unusable,
};
use crate::diagnose::public_hosts::is_public_entry;
use crate::diagnose::rights;
use crate::diagnose::setting::{Source, assignment};
use crate::gomod::{
    GoProxy, PATTERN_SETTINGS, Separator, corrected_goproxy, corrected_patterns, goproxy_mistakes,
};
use crate::shell;
use crate::words::duration;

/// A line for a shell, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advice {
    /// The line.
    pub(crate) command: String,
    /// What was measured, and what the line will do.
    pub(crate) reason: String,
}

/// A proxy is worth moving forward if half of its answers come so much sooner.
const SOONER_US: u64 = 200_000;

/// The best advice, if a setting helps.
pub(super) fn best(facts: &Facts) -> Option<Advice> {
    type Rule = fn(&Facts) -> Option<Advice>;
    let certain: [Rule; 7] = [goproxy, roots, parent, issuer, hello, patterns, credentials];
    let others: [Rule; 9] = [
        dead_entry,
        checksum_database,
        comma,
        no_cache,
        forbidden_part,
        full_cache,
        remote_cache,
        http2,
        faster_entry,
    ];
    let first = |rules: &[Rule]| rules.iter().find_map(|rule| rule(facts));
    // No setting mends a module proxy of one's own, and none of the others matters as much.
    let others = || first(&others).filter(|_| !is_own_proxy_down(facts));
    let mut advice = first(&certain).or_else(others)?;
    if advice.command.contains("redacted:") {
        let back = "; put the credentials back where it says redacted";
        advice.reason.push_str(back);
    }
    Some(advice)
}

/// The line that gives a setting another value.
fn set(facts: &Facts, name: &str, value: &str) -> String {
    assignment(name, &shell::word(value), source(facts, name))
}

fn source(facts: &Facts, name: &str) -> Source {
    match facts.go.setting(name).map(|setting| &setting.origin) {
        Some(Origin::Environment(_)) => Source::Environment,
        _ => Source::File,
    }
}

fn roots(facts: &Facts) -> Option<Advice> {
    let roots = &facts.roots;
    if roots.count + roots.extra > 0 {
        return None;
    }
    Some(match &roots.file_error {
        Some(error) => Advice {
            command: String::from("unset SSL_CERT_FILE"),
            reason: format!(
                "it gives no certificate ({error}); the system's own bundle has its place then"
            ),
        },
        None => Advice {
            command: String::from("export SSL_CERT_FILE=FILE"),
            reason: String::from(
                "go trusts 0 roots; FILE is a bundle of CA certificates, which the system's package \
                 ca-certificates has",
            ),
        },
    })
}

/// A parent proxy that lets nothing through.
fn parent(facts: &Facts) -> Option<Advice> {
    let hosts = facts.hosts.iter().filter(|host| host.via.is_some());
    let hosts: Vec<&Host> = hosts.collect();
    let via = hosts.first()?.via.as_deref()?;
    let failed = hosts.iter().filter_map(|host| match &host.dial {
        Outcome::Failed(failure) => Some((*host, failure)),
        _ => None,
    });
    let failed: Vec<(&Host, &Failure)> = failed.collect();
    let wants_credentials = |step| {
        let is_unauthorized = true;
        step == Step::Parent { is_unauthorized }
    };
    if let Some((_, failure)) = failed.iter().find(|(_, one)| wants_credentials(one.step)) {
        let (scheme, rest) = via.split_once("://").unwrap_or(("http", via));
        return Some(Advice {
            command: format!("export HTTPS_PROXY={scheme}://USER:PASSWORD@{rest}"),
            reason: failure.text.clone(),
        });
    }
    let is_dead = |step| matches!(step, Step::Lookup | Step::Tcp);
    if failed.len() == hosts.len() && failed.iter().all(|(_, failure)| is_dead(failure.step)) {
        let (_, failure) = failed.first()?;
        return Some(Advice {
            command: String::from("unset HTTPS_PROXY https_proxy"),
            reason: format!("{}; without it go connects directly", timed(failure)),
        });
    }
    let is_refused = |step| matches!(step, Step::Parent { .. });
    let (host, failure) = failed
        .iter()
        .find(|(_, failure)| is_refused(failure.step))?;
    let name = host.name.split(':').next().unwrap_or(&host.name);
    let list = match facts.go.get("NO_PROXY") {
        "" => name.to_owned(),
        list => format!("{list},{name}"),
    };
    // Of two spellings go takes the upper one.
    let spelling = match facts.go.setting("NO_PROXY").map(|setting| &setting.origin) {
        Some(Origin::Environment(spelling)) => spelling,
        _ => "NO_PROXY",
    };
    Some(Advice {
        command: format!("export {spelling}={}", shell::word(&list)),
        reason: format!(
            "{}; if this machine can reach {name} without it",
            failure.text
        ),
    })
}

/// A certificate of an authority that is not trusted.
fn issuer(facts: &Facts) -> Option<Advice> {
    let host = facts.hosts.iter().find(|host| {
        let shaken = host.small.as_ref();
        let certificate = shaken.and_then(|shaken| shaken.certificate.as_ref());
        let is_unknown = certificate.is_some_and(|one| one.verdict == Verdict::UnknownIssuer);
        is_unknown && host.places.iter().any(|place| is_needed(facts, place))
    })?;
    let certificate = host.small.as_ref()?.certificate.as_ref()?;
    let issuer = certificate.issuer.as_deref().unwrap_or("without a name");
    let named = match &facts.roots.file_error {
        Some(error) => format!(" (the one that it names now gives none: {error})"),
        None => String::new(),
    };
    Some(Advice {
        command: String::from("export SSL_CERT_FILE=FILE"),
        reason: format!(
            "the certificate of {} comes from {issuer:?}, which go does not trust; FILE is a bundle of \
             the system's roots and that one{named}, if whoever runs this network confirms that it is theirs",
            host.name
        ),
    })
}

/// A ClientHello of two packets that is lost.
fn hello(facts: &Facts) -> Option<Advice> {
    let lost = facts.hosts.iter().find_map(|host| {
        let (small, large) = (host.small.as_ref()?, host.large.as_ref()?);
        let is_lost = small.error.is_none() && large.error.is_some();
        is_lost.then_some((host, small, large))
    });
    let (host, small, large) = lost.filter(|_| sends_large_hello(facts))?;
    let value = match facts.go.get("GODEBUG") {
        "" => String::from("tlsmlkem=0"),
        value => format!("{value},tlsmlkem=0"),
    };
    Some(Advice {
        command: format!("export GODEBUG={}", shell::word(&value)),
        reason: format!(
            "{} answers a ClientHello of {} bytes in {} and none of {} bytes, which go sends",
            host.name,
            small.hello_bytes,
            duration(small.took_us),
            large.hello_bytes
        ),
    })
}

/// A list that go cannot read.
fn goproxy(facts: &Facts) -> Option<Advice> {
    let setting = facts.go.setting("GOPROXY")?;
    let corrected = corrected_goproxy(&setting.value)?;
    let mut mistakes = goproxy_mistakes(&setting.value).into_iter();
    let first = mistakes.find(|mistake| !mistake.is_harmless)?;
    Some(Advice {
        command: set(facts, "GOPROXY", &corrected),
        reason: format!("{:?} {}", first.entry, first.what),
    })
}

fn patterns(facts: &Facts) -> Option<Advice> {
    PATTERN_SETTINGS.iter().find_map(|name| {
        let setting = facts.go.setting(name)?;
        if matches!(setting.origin, Origin::Other(_)) {
            return None;
        }
        let corrected = corrected_patterns(&setting.value)?;
        Some(Advice {
            command: set(facts, name, &corrected),
            reason: format!("{:?} has a pattern that matches nothing", setting.value),
        })
    })
}

/// The entries of GOPROXY that are hosts, in order.
fn entries(facts: &Facts) -> Vec<(usize, &Host, &Place)> {
    let mut entries: Vec<_> = facts
        .hosts
        .iter()
        .flat_map(|host| host.places.iter().map(move |place| (host, place)))
        .filter_map(|(host, place)| match place.role {
            Role::Proxy(index) => Some((index, host, place)),
            Role::Sumdb => None,
        })
        .collect();
    entries.sort_by_key(|(index, ..)| *index);
    entries
}

/// A proxy that wants credentials, or others.
fn credentials(facts: &Facts) -> Option<Advice> {
    let (_, host, place) = entries(facts).into_iter().find(|(.., place)| {
        let status = place.request.as_ref().and_then(|asked| asked.status);
        !place.has_credentials && status == Some(401)
    })?;
    if let Some(machine) = facts.netrc.unread.first() {
        let path = facts.netrc.path.as_deref().unwrap_or("~/.netrc");
        return Some(Advice {
            command: format!("${{EDITOR:-vi}} {}", shell::word(path)),
            reason: format!(
                "{} answers 401; go stops reading at the word `default` at the end of a line: move `machine {machine}` before it",
                place.url
            ),
        });
    }
    if let Some(mistake) = facts.netrc.mistakes.first() {
        let (wrong, right) = (&mistake.machine, &mistake.expected);
        let path = facts.netrc.path.as_deref().unwrap_or("~/.netrc");
        return Some(Advice {
            command: format!(
                "sed -i 's|machine {wrong} |machine {right} |' {}",
                shell::word(path)
            ),
            reason: format!(
                "{} answers 401, and `machine {wrong}` is not used",
                place.url
            ),
        });
    }
    let machine = match facts.go.minor() {
        Some(..24) => host.name.split(':').next().unwrap_or(&host.name),
        _ => &host.name,
    };
    // In an editor, so that no shell's history has the token, and in a file that others cannot read.
    let path = match facts.netrc.path.as_deref() {
        Some(path) => shell::word(path),
        None => "~/.netrc".into(),
    };
    Some(Advice {
        command: format!("(umask 077; ${{EDITOR:-vi}} {path})"),
        reason: format!(
            "{} answers 401, and go has no credentials for it: add `machine {machine} login USER password TOKEN`",
            place.url
        ),
    })
}

/// Whether a certificate came that is not trusted: another host may be inspected as well.
fn is_distrusted(host: &Host) -> bool {
    let certificate = host
        .small
        .as_ref()
        .and_then(|small| small.certificate.as_ref());
    certificate.is_some_and(|certificate| certificate.verdict != Verdict::Trusted)
}

/// Whether an entry that is not public cannot be used.
fn is_own_proxy_down(facts: &Facts) -> bool {
    let list = GoProxy::parse(facts.go.get("GOPROXY"));
    let is_down = |(index, host, place): &(usize, &Host, &Place)| {
        !is_public_entry(&list, *index) && why_unusable(host, place).is_some()
    };
    entries(facts).iter().any(is_down)
}

/// An entry that cannot be used, while others can. One that is not public stays: its private modules
/// would be asked of the others.
fn dead_entry(facts: &Facts) -> Option<Advice> {
    if facts.is_offline() {
        return None;
    }
    let entries = entries(facts);
    let mut dead = entries.iter().filter_map(|(index, host, place)| {
        // A status is an answer; what it costs is another matter.
        let has_answer = place
            .request
            .as_ref()
            .is_some_and(|asked| asked.status.is_some());
        let why = why_unusable(host, place)?;
        (!has_answer && !is_distrusted(host)).then_some((*index, *place, why))
    });
    let list = GoProxy::parse(facts.go.get("GOPROXY"));
    let (index, place, why) = dead.find(|(index, ..)| is_public_entry(&list, *index))?;
    let mut rest = list.clone();
    if index < rest.entries.len() {
        rest.entries.remove(index);
    }
    if let Some(last) = rest.entries.last_mut() {
        last.separator = None;
    }
    let command = match (
        rest.entries.is_empty(),
        place.url.contains("//proxy.golang.org"),
    ) {
        (_, true) if entries.len() == 1 => set(facts, "GOPROXY", "https://goproxy.cn,direct"),
        (true, _) => return None,
        (false, _) => set(facts, "GOPROXY", &rest.to_string()),
    };
    let effect = match list.entries.get(index)?.separator {
        Some(Separator::Pipe) => "each request waits for it first",
        _ => "go asks no other entry after that",
    };
    Some(Advice {
        command,
        reason: format!("{}: {why}; {effect}", place.url),
    })
}

/// The checksum database, where no module proxy relays it.
fn checksum_database(facts: &Facts) -> Option<Advice> {
    let (host, place) = facts.hosts.iter().find_map(|host| {
        let place = host.places.iter().find(|place| place.role == Role::Sumdb)?;
        is_needed(facts, place).then_some((host, place))
    })?;
    if facts.is_offline() || is_distrusted(host) {
        return None;
    }
    let why = why_unusable(host, place)?;
    // The same database under another host; its key is built into go.
    let is_default = facts.go.get("GOSUMDB") == "sum.golang.org";
    is_default.then(|| Advice {
        command: set(facts, "GOSUMDB", "sum.golang.google.cn"),
        reason: format!(
            "sum.golang.org: {why}; the same database, with the same key, has that host too"
        ),
    })
}

/// A public entry that answers with an error, with a comma behind it, which ends the search.
fn comma(facts: &Facts) -> Option<Advice> {
    let entries = entries(facts);
    let mut list = GoProxy::parse(facts.go.get("GOPROXY"));
    let (index, host, place) = entries.iter().find(|(index, host, place)| {
        let status = place.request.as_ref().and_then(|asked| asked.status);
        // Credentials are to be mended, not passed round.
        let is_answer = status.is_some_and(|status| !matches!(status, 401 | 403));
        is_answer && is_public_entry(&list, *index) && why_unusable(host, place).is_some()
    })?;
    let why = why_unusable(host, place)?;
    let entry = list.entries.get_mut(*index)?;
    if entry.separator != Some(Separator::Comma) {
        return None;
    }
    entry.separator = Some(Separator::Pipe);
    Some(Advice {
        command: set(facts, "GOPROXY", &list.to_string()),
        reason: format!(
            "{}: {why}; after a comma go asks the next entry for 404 and 410 only",
            place.url
        ),
    })
}

fn no_cache(facts: &Facts) -> Option<Advice> {
    let error = facts.cache.write_error.as_ref()?;
    let path = facts.cache.path.as_deref()?;
    // One that is not there can as well be elsewhere, without sudo.
    let forbidden = facts.cache.forbidden.as_ref();
    let forbidden = forbidden.filter(|one| one.is_own || facts.cache.exists);
    let line = forbidden.and_then(|one| rights::line(one, path, facts.cache.exists));
    Some(Advice {
        command: line.unwrap_or_else(|| other_cache(facts)),
        reason: format!("{path} cannot be written: {error}"),
    })
}

/// The line that puts the module cache elsewhere. A name that others can guess in a folder that they can
/// write to would let them put files there first.
fn other_cache(facts: &Facts) -> String {
    match &facts.cache.elsewhere {
        Some(path) => set(facts, "GOMODCACHE", path),
        None => {
            let folder = r#""$(mktemp -d /var/tmp/gomodcache.XXXXXXXXXX)""#;
            assignment("GOMODCACHE", folder, source(facts, "GOMODCACHE"))
        }
    }
}

fn forbidden_part(facts: &Facts) -> Option<Advice> {
    let forbidden = facts.cache.forbidden.as_ref()?;
    let path = facts.cache.path.as_deref()?;
    let whose = format!("{} belongs to {}", forbidden.path, rights::owner(forbidden));
    let (command, reason) = match rights::line(forbidden, path, true) {
        Some(line) if forbidden.is_own => {
            let reason = "go adds files there; you own it, and its mode forbids it";
            (line, reason.to_owned())
        }
        Some(line) => {
            let effect = "the module cache becomes yours again, and go needs no sudo";
            (line, format!("{whose}; {effect}"))
        }
        None => (other_cache(facts), whose),
    };
    Some(Advice { command, reason })
}

fn full_cache(facts: &Facts) -> Option<Advice> {
    let free = facts.cache.free_bytes?;
    (free < super::machine::FULL).then(|| Advice {
        command: String::from("go clean -modcache"),
        reason: format!(
            "{} MB are free; it empties the module cache",
            free / 1_000_000
        ),
    })
}

fn remote_cache(facts: &Facts) -> Option<Advice> {
    let cache = &facts.cache;
    let kind = cache.file_system.as_deref().filter(|_| cache.is_remote)?;
    let path = cache.path.as_deref()?;
    Some(Advice {
        command: other_cache(facts),
        reason: format!("{path} is on {kind}, over a network"),
    })
}

/// HTTP/2 that go is kept from.
fn http2(facts: &Facts) -> Option<Advice> {
    let mut shaken = facts.hosts.iter().filter_map(|host| host.small.as_ref());
    let is_offered = shaken.any(|small| small.alpn == Some("h2"));
    if !is_offered || !is_http2_off(facts) {
        return None;
    }
    let settings = facts.go.get("GODEBUG").split(',');
    let rest: Vec<&str> = settings.filter(|one| one.trim() != HTTP2_OFF).collect();
    Some(Advice {
        command: match rest.is_empty() {
            true => String::from("unset GODEBUG"),
            false => format!("export GODEBUG={}", shell::word(&rest.join(","))),
        },
        reason: format!("{HTTP2_OFF} makes go open a connection for most requests"),
    })
}

/// A later entry that answers much sooner than the first. Only public ones change places, across public
/// ones: what moves behind them is asked for what they have seen.
fn faster_entry(facts: &Facts) -> Option<Advice> {
    let entries = entries(facts);
    let (first, _, slow) = *entries.first()?;
    let slow_us = median(slow)?;
    let others = entries.iter().skip(1).filter_map(|(index, _, place)| {
        // Only one that has the module can stand in for the first.
        let is_whole = place.request.as_ref()?.status == Some(200);
        Some((*index, *place, median(place)?)).filter(|_| is_whole)
    });
    let (index, fast, fast_us) = others.min_by_key(|(.., us)| *us)?;
    if fast_us.saturating_add(SOONER_US) > slow_us || fast_us > slow_us / 2 {
        return None;
    }
    let mut list = GoProxy::parse(facts.go.get("GOPROXY"));
    if !(first..=index).all(|entry| is_public_entry(&list, entry)) {
        return None;
    }
    let targets = (
        list.entries[first].target.clone(),
        list.entries[index].target.clone(),
    );
    (list.entries[index].target, list.entries[first].target) = targets;
    Some(Advice {
        command: set(facts, "GOPROXY", &list.to_string()),
        reason: format!(
            "half of the answers of {} come within {}, those of {} within {}",
            fast.url,
            duration(fast_us),
            slow.url,
            duration(slow_us)
        ),
    })
}
