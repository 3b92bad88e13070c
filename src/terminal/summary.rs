//! What a recorder or a replay prints at its end.
//!
//! Pure: plain data and a [`Look`] in, text out; the caller prints. Everything that came from
//! a peer or a file goes through [`Look::plain`]. Never decides what is true: `diagnose` did.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::live::{LeftOver, left_over};
use super::look::{Look, Paint};
use super::packets::packets_text;
use super::report::brief;
use super::split;
use super::words::{count, duration, size};
use crate::diagnose::empty::{Facts, why_empty};
use crate::diagnose::report::Report;
use crate::diagnose::rerun::Rerun;
use crate::diagnose::routes::Loop;
use crate::diagnose::split::Split;
use crate::diagnose::tally::{RateLimited, Tally, modules, rate_limited};
use crate::gomod::{Base, Location};
use crate::proxy::Filled;
use crate::recording::format::{Fault, Gap, Manifest, Packets, Replayable};
use crate::recording::{Durability, Recording};
use crate::replay::{Miss, Misses};

/// How many hosts a warning names.
const HOSTS: usize = 3;

/// How many responses with the wrong content are named.
const FAULTS: usize = 5;

/// How many misses are listed.
const MISSES: usize = 20;

/// A recording that was just closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded<'a> {
    /// The recording, as it was read back.
    pub(crate) recording: &'a Recording,
    /// The last manifest.
    pub(crate) manifest: &'a Manifest,
    /// The command line that records the same again.
    pub(crate) rerun: &'a Rerun,
    /// The requests that were still in flight when the session ended.
    pub(crate) left_over: &'a LeftOver,
    /// What the end of each response waited for.
    pub(crate) durability: Durability,
    /// What could not be written, if anything.
    pub(crate) failure: Option<&'a str>,
    /// The user's module cache; empty if it is not known.
    pub(crate) cache: &'a str,
    /// Whether the command was given an empty module cache.
    pub(crate) was_cold: bool,
    /// Whether the main module has `vendor/modules.txt`.
    pub(crate) has_vendor: bool,
}

/// The summary of a recorder, without the last line feed.
pub(crate) fn recorded(message: &Recorded<'_>, look: Look) -> String {
    let Recorded {
        recording,
        manifest,
        ..
    } = *message;
    let (rows, connections) = (recording.rows(), &recording.table().connections);
    let facts = Facts {
        rerun: message.rerun,
        mode: manifest.mode,
        cache: message.cache,
        was_cold: message.was_cold,
        has_vendor: message.has_vendor,
        connections,
    };
    let report = Report::of(recording);
    let tally = &report.tally;
    let reasons = match tally.requests {
        0 => why_empty(&manifest.go_env, &facts),
        _ => Vec::new(),
    };
    let summary = Summary {
        recording: &recording.dir().to_string_lossy(),
        split: &report.split,
        tally,
        left_over: message.left_over,
        gaps: recording.gaps(),
        failure: message.failure,
        rate_limited: &rate_limited(rows, |row| recording.answer_field(row, "retry-after")),
        loops: &report.loops,
        replayable: &manifest.replayable,
        why_empty: &reasons,
        durability: message.durability,
        redacted: manifest.redacted,
        intercept_all: manifest.intercept_all,
        packets: manifest.packets,
        report: Some(&report),
    };
    render(&summary, look)
}

/// The part of the summary that `--quiet` prints too.
pub(crate) fn losses(message: &Recorded<'_>) -> Vec<String> {
    let recording = message.recording;
    let tally = Tally::of(recording.rows(), &recording.table().connections);
    let lost = incomplete(message.failure, recording.gaps());
    let lost = lost.map(|what| format!("the recording is incomplete: {what}"));
    lost.chain(distrusted(&tally)).collect()
}

/// The line that is printed before a replay, without a line feed: the recording that is used.
/// `fills` says whether the network is asked for what it lacks.
pub(crate) fn replaying(recording: &Recording, bases: &[Base], fills: bool, look: Look) -> String {
    let manifest = recording.manifest();
    let name = recording.name();
    let modules = count(modules(recording.rows(), bases, &manifest.direct), "module");
    let date = manifest.started.get(..10).unwrap_or(&manifest.started);
    let env = |name: &str| manifest.go_env.get(name).map(String::as_str);
    let by = match (&manifest.go_version, env("GOOS"), env("GOARCH")) {
        (None, ..) => String::new(),
        (Some(version), Some(os), Some(arch)) => format!(" by {version} {os}/{arch}"),
        (Some(version), ..) => format!(" by {version}"),
    };
    let facts = format!("({modules}, recorded {date}{by})");
    let network = match fills {
        true => "what is missing is asked for and added",
        false => "nothing is forwarded",
    };
    let line = format!("modtape: replaying {name} {facts}; {network}");
    look.plain(&line).into_owned()
}

/// The summary of a replay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Replayed<'a> {
    /// How many requests were answered.
    pub(crate) hits: u64,
    /// The requests that were not.
    pub(crate) misses: &'a Misses,
    /// The command line that records what is missing.
    pub(crate) recorder: &'a str,
    /// What became of the packets of a command in a network namespace.
    pub(crate) packets: Option<Packets>,
}

/// The summary of a replay that asks the network for what is missing: all lines, without the last line feed.
pub(crate) fn filled(filled: &Filled, name: &str, look: Look) -> String {
    let Filled {
        recorded,
        fetched,
        stale,
        failed,
    } = filled;
    let mut unanswered = format!("{} failed", failed.total());
    if !failed.is_empty() {
        unanswered = look.paint(Paint::Red, &unanswered);
    }
    let mut line = format!("modtape: {recorded} answered from {}", look.plain(name));
    if *stale > 0 {
        line.push_str(&format!(
            ", {stale} more though nobody could say whether they are outdated"
        ));
    }
    let mut lines = vec![format!("{line}, {fetched} fetched and added, {unanswered}")];
    let listed = failed.distinct().iter().take(MISSES);
    lines.extend(listed.map(|miss| miss_line("failed", miss, look)));
    let more = failed.distinct().len().saturating_sub(MISSES);
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    text_of(&lines)
}

/// All lines, without the last line feed. A request that was repeated is listed once.
///
/// "0 went to the network" is not counted: a replay has no code that connects.
pub(crate) fn replayed(replayed: &Replayed<'_>, look: Look) -> String {
    let Replayed {
        hits,
        misses,
        recorder,
        packets,
    } = *replayed;
    let mut missing = format!("{} missing", misses.total());
    if !misses.is_empty() {
        missing = look.paint(Paint::Red, &missing);
    }
    let mut lines = vec![format!(
        "modtape: {hits} answered, {missing}, 0 went to the network"
    )];
    lines.extend(packets.iter().map(namespace));
    let asked = misses.distinct();
    let listed = asked.iter().take(MISSES);
    lines.extend(listed.map(|miss| miss_line("missing", miss, look)));
    match (asked.len().saturating_sub(MISSES), misses.unlisted()) {
        (0, _) => {}
        (more, 0) => lines.push(format!("  and {more} more")),
        (more, others) => lines.push(format!("  and {more} more, and others {others} times")),
    }
    if !misses.is_empty() {
        lines.push(format!(
            "  record what is missing: {}",
            look.plain(recorder)
        ));
    }
    text_of(&lines)
}

fn miss_line(what: &str, miss: &Miss, look: Look) -> String {
    let mut line = format!("  {what}: {}", look.plain(&miss.what));
    if miss.times > 1 {
        line.push_str(&format!(", asked {} times", miss.times));
    }
    if let Some(instead) = &miss.instead {
        line.push_str(&format!(" ({})", look.plain(instead)));
    }
    line
}

/// What the summary of a recorder is made of.
#[derive(Debug, Clone, Copy)]
struct Summary<'a> {
    /// The recording, as the user would name it.
    recording: &'a str,
    /// Where the time went.
    split: &'a Split,
    /// Counts of requests, connections and failures.
    tally: &'a Tally,
    /// The requests that were still in flight when the session ended.
    left_over: &'a LeftOver,
    /// What was not recorded.
    gaps: &'a [Gap],
    /// What could not be written, if anything.
    failure: Option<&'a str>,
    /// Hosts that answered 429.
    rate_limited: &'a BTreeMap<String, RateLimited>,
    /// Redirects in a loop, with the description of the request.
    loops: &'a [(Loop, String)],
    /// Whether a replay will find all it needs.
    replayable: &'a Replayable,
    /// Why there was no request; used only if there was none.
    why_empty: &'a [String],
    /// What the end of each response waits for.
    durability: Durability,
    /// False for `--no-redact`.
    redacted: bool,
    /// True for `--intercept-all`.
    intercept_all: bool,
    /// What became of the packets of a command in a network namespace.
    packets: Option<Packets>,
    /// Why it was slow or stuck.
    report: Option<&'a Report>,
}

/// All lines, without the last line feed.
fn render(summary: &Summary<'_>, look: Look) -> String {
    let mut lines = left_over(summary.left_over, look);
    lines.push(headline(summary, look));
    let is_empty = summary.tally.requests == 0;
    // Without a request there may still be a hang: a connection that was never established.
    if !is_empty || summary.split.phases.total_us() > 0 {
        let facts = split::Facts {
            split: summary.split,
            tally: summary.tally,
            durability: Some(summary.durability),
            idle: summary.report.map_or(&[], |report| &report.idle),
            lost: summary.report.map_or(0, |report| report.lost),
        };
        lines.extend(split::split_lines(&facts, look));
    }
    // Where a cause is known that kept it from its first request, nothing else has to be guessed.
    let was_kept = summary
        .report
        .is_some_and(|report| report.causes().next().is_some());
    // Why it was slow or stuck, before what that means for a replay.
    let report = summary.report.into_iter();
    lines.extend(report.flat_map(|report| brief(report, look)));
    if is_empty {
        let reasons = summary.why_empty.iter().filter(|_| !was_kept);
        lines.extend(reasons.map(|reason| format!("  {}", look.plain(reason))));
    } else {
        lines.extend(replayable_lines(summary.replayable, look));
    }
    let packets = summary.packets.iter();
    let packets =
        packets.filter(|packets| packets.can_leave || packets.blocked() + packets.left > 0);
    lines.extend(packets.map(namespace));
    lines.extend(warnings(summary, look));
    text_of(&lines)
}

fn namespace(packets: &Packets) -> String {
    format!("  namespace: {}", packets_text(packets))
}

fn headline(summary: &Summary<'_>, look: Look) -> String {
    let Tally {
        requests,
        body_bytes,
        ..
    } = summary.tally;
    let what = match requests {
        0 => "no requests".into(),
        _ => count(*requests, "request"),
    };
    let time = duration(summary.split.wall_us);
    let bytes = match requests {
        0 => String::new(),
        _ => format!(" ({})", size(*body_bytes)),
    };
    let said = look.paint(Paint::Bold, &format!("modtape: {what} in {time}{bytes}"));
    format!("{said}  recording: {}", look.plain(summary.recording))
}

/// For what a replay is complete that was only recorded, and how it becomes more.
const COMPLETE: &str = "this command; `modtape seal` makes it complete for every command";

fn replayable_lines(replayable: &Replayable, look: Look) -> Vec<String> {
    let partial = look.paint(Paint::Yellow, "partial:");
    match &replayable.reasons[..] {
        [] if replayable.complete => {
            vec![format!("  replay: complete for {COMPLETE}")]
        }
        [] => vec![format!(
            "  replay: {}",
            look.paint(Paint::Yellow, "partial")
        )],
        [reason] => vec![format!("  replay: {partial} {}", look.plain(reason))],
        reasons => {
            let reasons = reasons
                .iter()
                .map(|reason| format!("    - {}", look.plain(reason)));
            std::iter::once(format!("  replay: {partial}"))
                .chain(reasons)
                .collect()
        }
    }
}

/// The warnings.
fn warnings(summary: &Summary<'_>, look: Look) -> Vec<String> {
    let mark = look.paint(Paint::Red, "! INCOMPLETE:");
    let marked = |text: String| format!("{mark} {}", look.plain(&text));
    let incomplete = incomplete(summary.failure, summary.gaps);
    let mut lines: Vec<String> = incomplete.map(marked).collect();
    let mark = look.paint(Paint::Yellow, "!");
    let marked = |text: String| format!("{mark} {}", look.plain(&text));
    if summary.tally.requests > 0 {
        // The reasons why a replay is partial are printed already.
        let reasons = &summary.replayable.reasons;
        let is_told = |why: &str| reasons.iter().any(|reason| reason.contains(why));
        // So is what findings below say of the same host, with the cause.
        let titles: Vec<&str> = summary
            .report
            .into_iter()
            .flat_map(Report::causes)
            .map(|cause| &*cause.title)
            .collect();
        let causes = summary.report.into_iter().flat_map(Report::causes);
        let codes: Vec<&str> = causes.map(|cause| cause.code).collect();
        let is_found = |host: &str| titles.iter().any(|title| title.contains(host));
        lines.extend(failed(summary.tally, |host, why| is_told(why) || is_found(host)).map(marked));
        let has = |code: &str| codes.contains(&code);
        if !has("MT304") {
            lines.extend(faults(summary.replayable, is_told).map(marked));
        }
        let limited = limited(summary.rate_limited, is_found);
        lines.extend(limited.map(marked));
        if !has("MT110") {
            lines.extend(loops(summary.loops).map(marked));
        }
    }
    lines.extend(distrusted(summary.tally).map(marked));
    if !summary.redacted {
        lines.push(format!(
            "{mark} not redacted: the recording may hold secrets in clear text"
        ));
    }
    if summary.intercept_all {
        lines.push(format!(
            "{mark} every host was intercepted: the run's root could sign certificates for any host name"
        ));
    }
    lines
}

/// What the recording lacks.
fn incomplete(failure: Option<&str>, gaps: &[Gap]) -> impl Iterator<Item = String> {
    failure.map(str::to_owned).into_iter().chain(missing(gaps))
}

/// Hosts that could not be reached or whose certificates were refused.
fn failed(tally: &Tally, is_told: impl Fn(&str, &str) -> bool) -> impl Iterator<Item = String> {
    let hosts = tally.failed.iter();
    let hosts = hosts.filter(move |(host, failed)| !is_told(host, &failed.why));
    hosts.take(HOSTS).map(|(host, failed)| {
        let connections = count(failed.connections, "connection");
        format!("{connections} to {host} failed: {}", failed.why)
    })
}

/// Responses with the wrong content.
fn faults(replayable: &Replayable, is_told: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
    let faults = replayable.faults.iter().map(Fault::to_string);
    let faults: Vec<_> = faults.filter(|fault| !is_told(fault)).collect();
    let more = faults.len().saturating_sub(FAULTS);
    let more = (more > 0).then(|| {
        format!("and {more} more responses with the wrong content: see `modtape recordings info`")
    });
    faults.into_iter().take(FAULTS).chain(more)
}

/// Hosts that answered 429 Too Many Requests.
fn limited(
    hosts: &BTreeMap<String, RateLimited>,
    is_told: impl Fn(&str) -> bool,
) -> impl Iterator<Item = String> {
    let hosts = hosts.iter().filter(move |(host, _)| !is_told(host));
    hosts.take(HOSTS).map(|(host, limited)| {
        let requests = count(limited.requests, "request");
        let wait = match limited.retry_after {
            Some(seconds) => format!("; it asks to wait {seconds} s"),
            None => String::new(),
        };
        format!("{host} answered {requests} with 429 Too Many Requests{wait}")
    })
}

/// Requests that were redirected in a loop.
fn loops(loops: &[(Loop, String)]) -> impl Iterator<Item = String> {
    loops.iter().take(HOSTS).map(|(found, what)| {
        let Loop {
            id, url, redirects, ..
        } = found;
        let (host, redirects) = (Location::of(url).host, count(*redirects as u64, "redirect"));
        format!("{what} from {host} (#{id}): {redirects} in a loop")
    })
}

/// Hosts whose clients refused the certificate of modtape, so that no request was seen.
fn distrusted(tally: &Tally) -> impl Iterator<Item = String> {
    let hosts = tally.distrusted.iter().take(HOSTS);
    hosts.map(|(host, connections)| {
        let connections = count(*connections, "connection");
        format!(
            "{connections} to {host}: the client does not trust modtape's root; it must read \
             SSL_CERT_FILE, GIT_SSL_CAINFO or CURL_CA_BUNDLE, or be given the file that they name"
        )
    })
}

/// One line about what was not recorded, for the summary and for all commands that open the
/// recording later.
pub(crate) fn missing(gaps: &[Gap]) -> Option<String> {
    let lost: u64 = gaps.iter().filter_map(Gap::lost_lines).sum();
    // The first gap of journal lines has the time; the numbers of lines of the others are added to
    // it.
    let (first, more) = match gaps.iter().position(|gap| gap.lost_lines().is_some()) {
        Some(at) => (gaps.get(at)?, gaps.len() - gaps_of_lines(gaps)),
        None => (gaps.first()?, gaps.len() - 1),
    };
    let what = match (first.lost_lines(), first.what.split_once(" since ")) {
        (Some(one), Some((_, since))) if one != lost => {
            format!("{} since {since}", count(lost, "journal line"))
        }
        _ => first.what.clone(),
    };
    let more = match more {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(format!("not recorded: {what}: {}{more}", first.why))
}

fn gaps_of_lines(gaps: &[Gap]) -> usize {
    let of_lines = gaps.iter().filter(|gap| gap.lost_lines().is_some());
    of_lines.count()
}

fn text_of(lines: &[String]) -> String {
    lines.join("\n")
}
