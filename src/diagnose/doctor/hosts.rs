//! The hosts that the settings name: names, TCP, parent proxies, TLS, HTTP.

use super::facts::{
    Asked, Certificate, DnsAnswer, Facts, Failure, Handshake, Host, Lookup, Outcome, Place, Query,
    Role, Step, Tcp, Verdict,
};
use super::{Row, State};
use crate::gomod::{GoProxy, ProxyTarget, Separator};
use crate::words::duration;

/// A lookup that takes longer is felt: a resolver nearby answers within 50 ms.
const SLOW_LOOKUP_US: u64 = 500_000;

/// A round trip round the world takes 300 ms.
const SLOW_TCP_US: u64 = 500_000;

/// TCP's round trip, one or two of TLS, and the server's signature.
const SLOW_TLS_US: u64 = 1_000_000;

/// Half of the requests take longer: a round trip, and what a cache takes.
const SLOW_ANSWER_US: u64 = 500_000;

/// A certificate is renewed weeks before it expires.
const SOON_S: i64 = 3 * 86_400;

/// The rows on a host.
pub(super) fn rows(facts: &Facts, host: &Host) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(host.lookup.as_ref().map(lookup));
    rows.extend(host.tcp.iter().map(|tcp| family(host, tcp)));
    rows.extend(parent(host));
    rows.extend(host.small.as_ref().map(|small| tls(host, small)));
    rows.extend(post_quantum(facts, host));
    rows.extend(protocol(facts, host));
    for place in &host.places {
        rows.extend(place.request.as_ref().map(|asked| request(place, asked)));
        rows.extend(supported(place));
    }
    let mut reasons = host.places.iter().map(|place| why_unneeded(facts, place));
    // Each place that is asked there has a reason of its own, or is needed.
    if let Some(Some(why)) = reasons.next()
        && reasons.all(|why| why.is_some())
    {
        for row in rows.iter_mut().filter(|row| row.state != State::Ok) {
            row.state = State::Ok;
            row.text.push_str(&format!(" (not needed: {why})"));
        }
    }
    rows
}

/// Whether the go command asks there.
pub(super) fn is_needed(facts: &Facts, place: &Place) -> bool {
    why_unneeded(facts, place).is_none()
}

/// Why the go command never asks the checksum database itself, if it does not.
fn why_unneeded(facts: &Facts, place: &Place) -> Option<&'static str> {
    if place.role != Role::Sumdb {
        return None;
    }
    // What matches every path of one element matches every module (`module.MatchPrefixPatterns`).
    let exempt = facts.go.get("GONOSUMDB");
    if exempt
        .split(',')
        .any(|pattern| matches!(pattern, "*" | "*/"))
    {
        return Some("GONOSUMDB exempts every module");
    }
    let list = GoProxy::parse(facts.go.get("GOPROXY"));
    if matches!(&list.entries[..], [only] if only.target == ProxyTarget::Off) {
        return Some("GOPROXY=off forbids all downloads");
    }
    let has_own_url = facts.go.get("GOSUMDB").contains(char::is_whitespace);
    (!has_own_url && is_relayed(facts, &list)).then_some("a module proxy relays the database")
}

/// Whether a module proxy relays the checksum database, as `dbDial` asks them: 200 ends the search, 404 and
/// 410 lead to the next entry, any other failure does so only before a bar.
fn is_relayed(facts: &Facts, list: &GoProxy) -> bool {
    for (index, entry) in list.entries.iter().enumerate() {
        let mut places = facts.hosts.iter().flat_map(|host| &host.places);
        // Folders and `direct` have no place.
        let Some(place) = places.find(|place| place.role == Role::Proxy(index)) else {
            continue;
        };
        match place.supported.as_ref().and_then(|asked| asked.status) {
            Some(200) => return true,
            Some(404 | 410) => {}
            _ if entry.separator == Some(Separator::Pipe) => {}
            _ => return false,
        }
    }
    false
}

fn lookup(lookup: &Lookup) -> Row {
    let is_answered =
        |query: &&Query| !matches!(query.answer, DnsAnswer::Silence | DnsAnswer::Failed(_));
    let first = lookup.queries.iter().find(is_answered);
    // The system asks one resolver after the other: what stands behind the first that answers does
    // no harm.
    let is_firsts = |query: &Query| first.is_none_or(|first| first.resolver == query.resolver);
    let end = lookup.queries.iter().rposition(is_firsts);
    let asked = &lookup.queries[..end.map_or(0, |last| last + 1)];
    let silent = asked
        .iter()
        .find(|query| query.answer == DnsAnswer::Silence);
    let unanswered = |query: &Query| {
        let (resolver, kind) = (&query.resolver, kind(query));
        let time = duration(query.took_us);
        format!("{resolver} does not answer {kind} within {time}")
    };
    let answers = match (first, asked.first()) {
        (Some(first), _) => {
            let same = asked
                .iter()
                .filter(|query| query.resolver == first.resolver);
            let same = same.map(|query| format!("{} {}", kind(query), answer(query)));
            let same: Vec<String> = same.collect();
            format!("{} from {}", same.join(", "), first.resolver)
        }
        (None, Some(query)) => format!("{}: {}", query.resolver, answer(query)),
        (None, None) => String::from("no resolver is known"),
    };
    let time = duration(lookup.took_us);
    let (state, text) = match (&lookup.error, silent) {
        (Some(error), _) => (State::Broken, format!("{error} ({time}); {answers}")),
        (None, Some(silent)) if first.is_some() => {
            let text = format!("{}; {time}, {answers}", unanswered(silent));
            (State::Slow, text)
        }
        (None, _) if lookup.took_us >= SLOW_LOOKUP_US => {
            (State::Slow, format!("{time}, {answers}"))
        }
        (None, _) if first.is_none() => (State::Ok, format!("{time}, from the system")),
        (None, _) => (State::Ok, format!("{time}, {answers}")),
    };
    let mut row = Row::new("dns", lookup.name.as_str(), state, text);
    row = row.number("lookup_us", lookup.took_us);
    for (is_v6, us, addresses) in [
        (false, "a_us", "a_addresses"),
        (true, "aaaa_us", "aaaa_addresses"),
    ] {
        let of_kind = |query: &&Query| query.is_v6 == is_v6;
        let Some(query) = lookup.queries.iter().filter(is_answered).find(of_kind) else {
            continue;
        };
        row = row.number(us, query.took_us);
        if let DnsAnswer::Addresses(count) = query.answer {
            row = row.number(addresses, count as i64);
        }
    }
    row.name("resolver", first.map(|first| &*first.resolver))
}

const fn kind(query: &Query) -> &'static str {
    if query.is_v6 { "AAAA" } else { "A" }
}

fn answer(query: &Query) -> String {
    let time = duration(query.took_us);
    match &query.answer {
        DnsAnswer::Addresses(0) => format!("none in {time}"),
        DnsAnswer::Addresses(1) => format!("1 address in {time}"),
        DnsAnswer::Addresses(count) => format!("{count} addresses in {time}"),
        DnsAnswer::NoName => format!("no such name in {time}"),
        DnsAnswer::Error(2) => String::from("SERVFAIL"),
        DnsAnswer::Error(5) => String::from("REFUSED"),
        DnsAnswer::Error(code) => format!("error {code}"),
        DnsAnswer::Silence => format!("nothing in {time}"),
        DnsAnswer::Failed(error) => error.clone(),
    }
}

/// TCP by family. IPv6 without an answer costs time as long as IPv4 has one.
fn family(host: &Host, tcp: &Tcp) -> Row {
    let (check, name, us) = match tcp.is_v6 {
        false => ("tcp4", "IPv4", "tcp4_us"),
        true => ("tcp6", "IPv6", "tcp6_us"),
    };
    let other = host.tcp.iter().find(|other| other.is_v6 != tcp.is_v6);
    let has_other = other.is_some_and(|other| other.error.is_none());
    let time = duration(tcp.took_us);
    let (state, text) = match &tcp.error {
        // The next address is tried at once.
        Some(error) if has_other && tcp.took_us < SLOW_TCP_US => {
            (State::Ok, format!("{name} is not used: {error}"))
        }
        Some(error) if has_other => (
            State::Slow,
            format!("{name} does not answer, which each dial waits for: {error} ({time})"),
        ),
        Some(error) => (State::Broken, format!("{error} ({time})")),
        None if tcp.took_us >= SLOW_TCP_US => (State::Slow, format!("{name} connects in {time}")),
        None => (State::Ok, format!("{name} connects in {time}")),
    };
    let subject = host.via.as_deref().unwrap_or(&host.name);
    Row::new(check, subject, state, text)
        .number(us, tcp.took_us)
        .number("addresses", tcp.addresses as i64)
}

fn parent(host: &Host) -> Option<Row> {
    let row = |subject: &str, state, text: String| {
        let row = Row::new("parent-proxy", subject, state, text);
        row.name("for", Some(&host.name))
    };
    match (&host.dial, host.via.as_deref()) {
        (Outcome::Took(us), Some(via)) => {
            let text = format!("opens a tunnel to {} in {}", host.name, duration(*us));
            Some(row(via, State::Ok, text).number("connect_us", *us))
        }
        (Outcome::Failed(failure), via) => match failure.step {
            Step::Parent { .. } | Step::Settings => {
                let text = timed(failure);
                let subject = via.unwrap_or("HTTPS_PROXY");
                Some(row(subject, State::Broken, text).number("connect_us", failure.after_us))
            }
            Step::Untested => {
                let text = String::from("not tested: go supports an https proxy, modtape does not");
                Some(row("HTTPS_PROXY", State::Ok, text))
            }
            Step::Lookup | Step::Tcp => None,
        },
        _ => None,
    }
}

fn tls(host: &Host, shaken: &Handshake) -> Row {
    let certificate = shaken.certificate.as_ref();
    let time = duration(shaken.took_us);
    let (state, text) = match (&shaken.error, certificate) {
        (Some(error), certificate) => {
            let inspected = certificate.filter(|one| one.verdict == Verdict::UnknownIssuer);
            let by = inspected.and_then(|certificate| inspector(host, certificate));
            let by = by.map_or(String::new(), |by| {
                format!("; it is most likely TLS inspection by {by:?}")
            });
            (State::Broken, format!("{error}{by} ({time})"))
        }
        (None, certificate) => {
            let mut parts = vec![format!("{} in {time}", shaken.version.unwrap_or("TLS"))];
            let mut state = match shaken.took_us {
                0..SLOW_TLS_US => State::Ok,
                _ => State::Slow,
            };
            if let Some(certificate) = certificate {
                parts.extend(
                    certificate
                        .issuer
                        .as_ref()
                        .map(|issuer| format!("issuer {issuer:?}")),
                );
                let expires = certificate.expires.as_ref();
                parts.extend(expires.map(|day| format!("until {day}")));
                if certificate.valid_s.is_some_and(|left| left < SOON_S) {
                    state = State::Slow;
                    parts.push(String::from("which is soon"));
                }
                if let Some(by) = inspector(host, certificate) {
                    parts.push(format!("TLS inspection by {by:?}, which is trusted"));
                }
                if !certificate.is_trusted_by_go {
                    parts.push(String::from(
                        "trusted by --upstream-ca only: go itself would refuse it",
                    ));
                }
            }
            (state, parts.join(", "))
        }
    };
    let row = Row::new("tls", host.name.as_str(), state, text).number("tls_us", shaken.took_us);
    let row = row.name("version", shaken.version);
    match certificate {
        None => row,
        Some(certificate) => row
            .name("issuer", certificate.issuer.as_deref())
            .name("expires", certificate.expires.as_deref()),
    }
}

/// The name of the authority of an inspecting proxy, if the certificate of a well-known host is
/// not its operator's own: Google issues the certificates of its hosts itself.
fn inspector<'a>(host: &Host, certificate: &'a Certificate) -> Option<&'a str> {
    const GOOGLES: [&str; 3] = ["golang.org", "google.cn", "googleapis.com"];
    let name = host.name.split(':').next().unwrap_or(&host.name);
    let is_googles = GOOGLES.iter().any(|domain| {
        let rest = name.strip_suffix(domain);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    });
    let organisation = certificate.issuer_organisation.as_deref();
    let is_own = organisation.is_some_and(|name| name.starts_with("Google"));
    let issuer = certificate.issuer.as_deref().or(organisation);
    issuer.filter(|_| is_googles && !is_own)
}

/// Whether the go command's ClientHello is as large as the one that was tried.
pub(super) fn sends_large_hello(facts: &Facts) -> bool {
    let is_off = facts
        .go
        .get("GODEBUG")
        .split(',')
        .any(|one| one.trim() == "tlsmlkem=0");
    // Since 1.24 (crypto/tls); an unknown version is most likely a newer one.
    !is_off && facts.go.minor().is_none_or(|minor| minor >= 24)
}

/// The large ClientHello, where the small one was answered.
fn post_quantum(facts: &Facts, host: &Host) -> Option<Row> {
    let (small, large) = (host.small.as_ref()?, host.large.as_ref()?);
    if small.error.is_some() {
        return None;
    }
    let (bytes, time) = (large.hello_bytes, duration(large.took_us));
    let (state, text) = match &large.error {
        None => (
            State::Ok,
            format!("a ClientHello of {bytes} bytes is answered in {time}"),
        ),
        Some(error) => {
            let what = format!(
                "a ClientHello of {bytes} bytes is lost: {error} ({time}); {} bytes pass",
                small.hello_bytes
            );
            match sends_large_hello(facts) {
                true => (State::Broken, what),
                false => (State::Ok, format!("{what}, and this go sends a small one")),
            }
        }
    };
    let row = Row::new("tls-post-quantum", host.name.as_str(), state, text);
    Some(
        row.number("tls_us", large.took_us)
            .number("hello_bytes", bytes as i64),
    )
}

/// Whether GODEBUG keeps go from HTTP/2.
pub(super) fn is_http2_off(facts: &Facts) -> bool {
    let mut settings = facts.go.get("GODEBUG").split(',');
    settings.any(|one| one.trim() == HTTP2_OFF)
}

/// The setting of GODEBUG that does (net/http).
pub(super) const HTTP2_OFF: &str = "http2client=0";

fn protocol(facts: &Facts, host: &Host) -> Option<Row> {
    let small = host.small.as_ref().filter(|small| small.error.is_none())?;
    let (state, text) = match small.alpn {
        Some("h2") if is_http2_off(facts) => (
            State::Slow,
            format!("HTTP/2, but GODEBUG={HTTP2_OFF} keeps go from it"),
        ),
        Some("h2") => (State::Ok, String::from("HTTP/2")),
        _ => (
            State::Slow,
            String::from("HTTP/1.1 only: go makes a new connection for most requests"),
        ),
    };
    let row = Row::new("http", host.name.as_str(), state, text);
    Some(row.name("alpn", Some(small.alpn.unwrap_or("http/1.1"))))
}

fn request(place: &Place, asked: &Asked) -> Row {
    let times = Times::of(&asked.first_byte_us);
    let measured = match &times {
        Some(times) => format!(
            "first byte p50 {}, max {} of {}",
            duration(times.p50_us),
            duration(times.max_us),
            asked.first_byte_us.len()
        ),
        None => String::from("no answer"),
    };
    let (state, text) = match (fault(place, asked), &times) {
        (Some(why), _) => (State::Broken, format!("{why}; {measured}")),
        (None, Some(times)) if times.p50_us >= SLOW_ANSWER_US => (State::Slow, measured),
        (None, _) => (State::Ok, format!("{measured}{}", note(asked))),
    };
    let mut row = Row::new("request", place.url.as_str(), state, text);
    row = row.name("path", Some(&asked.path));
    if let Some(status) = asked.status {
        row = row.number("status", status);
    }
    if let Some(times) = times {
        row = row
            .number("p50_us", times.p50_us)
            .number("max_us", times.max_us);
        row = row.number("answers", asked.first_byte_us.len() as i64);
    }
    row
}

/// The median and the maximum of some times.
struct Times {
    p50_us: u64,
    max_us: u64,
}

impl Times {
    fn of(times: &[u64]) -> Option<Self> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        Some(Self {
            p50_us: *sorted.get(sorted.len().saturating_sub(1) / 2)?,
            max_us: *sorted.last()?,
        })
    }
}

/// The median first byte of a place that answers.
pub(super) fn median(place: &Place) -> Option<u64> {
    let asked = place.request.as_ref()?;
    let is_fine = fault(place, asked).is_none();
    Some(Times::of(&asked.first_byte_us)?.p50_us).filter(|_| is_fine)
}

/// What go cannot use of an answer, if it cannot.
pub(super) fn fault(place: &Place, asked: &Asked) -> Option<String> {
    if let Some(error) = &asked.error {
        return Some(error.clone());
    }
    let said = match &asked.message {
        Some(message) => format!(": {message}"),
        None => String::new(),
    };
    match asked.status? {
        200..=399 => None,
        // A proxy that serves some modules only.
        404 | 410 if place.role != Role::Sumdb => None,
        // A proxy that is forbidden to serve that one, and serves what else it is asked for.
        403 if is_relaying(place) => None,
        401 | 403 | 407 if !place.has_credentials => {
            let status = asked.status.unwrap_or(0);
            Some(format!("{status}, and go has no credentials for it{said}"))
        }
        status @ (401 | 403) => Some(format!("{status}: the credentials are refused{said}")),
        status => Some(format!("{status}{said}")),
    }
}

/// Whether a module proxy relays the checksum database, with what credentials it was given.
fn is_relaying(place: &Place) -> bool {
    let supported = place.supported.as_ref();
    supported.and_then(|asked| asked.status) == Some(200)
}

/// What else is worth knowing of an answer that go can use.
fn note(asked: &Asked) -> String {
    match (asked.status, &asked.redirects_to) {
        (Some(300..=399), Some(host)) => format!(", redirects to {host}, which was not asked"),
        (Some(403), _) => String::from(
            ", 403: it does not serve golang.org/x/text, and after a comma go asks no other for it",
        ),
        (Some(status @ (404 | 410)), _) => {
            format!(", {status}: it has no golang.org/x/text, and the next entry is asked")
        }
        _ => String::new(),
    }
}

fn supported(place: &Place) -> Option<Row> {
    let asked = place.supported.as_ref()?;
    // The request before it said so.
    if asked.error.is_some()
        && place
            .request
            .as_ref()
            .is_some_and(|one| one.error.is_some())
    {
        return None;
    }
    let time = asked
        .first_byte_us
        .last()
        .map_or(String::new(), |us| duration(*us));
    let (state, text) = match (&asked.error, asked.status) {
        (Some(error), _) => (State::Broken, error.clone()),
        (None, Some(200)) => (State::Ok, format!("relays the checksum database ({time})")),
        (None, Some(status @ (404 | 410))) => (
            State::Ok,
            format!("does not relay the checksum database ({status} in {time})"),
        ),
        (None, Some(status)) => (
            State::Broken,
            format!("{status} in {time}: go takes that for a failure of the checksum database"),
        ),
        (None, None) => (State::Broken, String::from("no answer")),
    };
    let mut row = Row::new("sumdb-supported", place.url.as_str(), state, text);
    row = row.name("path", Some(&asked.path));
    if let Some(status) = asked.status {
        row = row.number("status", status);
    }
    if let Some(us) = asked.first_byte_us.last() {
        row = row.number("first_byte_us", *us);
    }
    Some(row)
}

/// A failure with the time that it took, unless it says so itself.
pub(super) fn timed(failure: &Failure) -> String {
    let text = &failure.text;
    match text.contains(" within ") {
        true => text.clone(),
        false => format!("{text} ({})", duration(failure.after_us)),
    }
}

/// Why a place cannot be used, if it cannot: the first step that failed.
pub(super) fn why_unusable(host: &Host, place: &Place) -> Option<String> {
    if let Outcome::Failed(failure) = &host.dial {
        if failure.step == Step::Untested {
            return None;
        }
        return Some(timed(failure));
    }
    if let Some(error) = host.small.as_ref().and_then(|small| small.error.as_ref()) {
        return Some(error.clone());
    }
    let asked = place.request.as_ref()?;
    fault(place, asked)
}
