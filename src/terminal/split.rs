//! Where the time went, as lines with bars.

use super::look::Look;
use crate::diagnose::processes::Kind;
use crate::diagnose::split::Split;
use crate::diagnose::tally::Tally;
use crate::exchange::Phase;
use crate::recording::Durability;
use crate::words::{bar, columns, count, duration, percent, size};

/// The width where there is no terminal that reports it, as in a log, columns.
pub(super) const WIDE: usize = 120;

/// How many hosts are listed beside a part of the time.
const HOSTS: usize = 3;

/// How much of what was done without a request is listed.
const DOINGS: usize = 3;

/// What the lines are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// Where the time went.
    pub(super) split: &'a Split,
    /// Counts of requests, connections and failures.
    pub(super) tally: &'a Tally,
    /// What the end of each response waited for, if it is known.
    pub(super) durability: Option<Durability>,
    /// What was done while no request was in flight, the longest first.
    pub(super) idle: &'a [(Kind, u64)],
    /// How many requests have no end on record although the recorder ended in order.
    pub(super) lost: u64,
}

/// A part of the wall time.
struct Part {
    label: &'static str,
    us: u64,
    facts: Vec<String>,
}

/// The parts of one per cent and more, the longest first.
pub(super) fn split_lines(facts: &Facts<'_>, look: Look) -> Vec<String> {
    let split = facts.split;
    let mut parts = parts(facts, look);
    parts.retain(|part| part.us > 0 && u128::from(part.us) * 100 >= u128::from(split.wall_us));
    parts.sort_by_key(|part| std::cmp::Reverse(part.us));
    parts
        .iter()
        .map(|part| part_line(part, split.wall_us, look))
        .collect()
}

fn parts(facts: &Facts<'_>, look: Look) -> Vec<Part> {
    let (split, tally) = (facts.split, facts.tally);
    let of = |label, phases: &[Phase], facts| Part {
        label,
        us: phases.iter().map(|phase| split.phases[*phase]).sum(),
        facts,
    };
    let by_host = |label, phases: &[Phase]| of(label, phases, host_facts(split, phases, look));
    let mut received = vec![size(tally.body_bytes)];
    received.extend(
        tally
            .slowest_pace
            .map(|pace| format!("slowest body {}/s", size(pace))),
    );
    let connecting = [Phase::Dns, Phase::Connect, Phase::Tls];
    vec![
        by_host("waiting for first bytes", &[Phase::Wait]),
        of(
            "connecting (DNS+TCP+TLS)",
            &connecting,
            dial_facts(facts, look),
        ),
        of("receiving", &[Phase::Receive], received),
        by_host("sending", &[Phase::Send]),
        by_host("blocked (client/modtape)", &[Phase::Blocked]),
        own_time(facts),
        Part {
            label: "no request in flight",
            us: split.idle_us,
            facts: unseen_facts(facts, look)
                .into_iter()
                .chain(idle_facts(facts))
                .collect(),
        },
    ]
}

/// The time of modtape itself, if it is 5 % or more, with the flag that is the reason, if there is
/// one.
fn own_time(facts: &Facts<'_>) -> Part {
    let us = facts.split.own_us;
    let reasons: &[&str] = match facts.durability {
        Some(Durability::Strict) => &["by --durability strict", "which waits for the disk"],
        Some(Durability::Process | Durability::Group) | None => &["writing to a slow disk?"],
    };
    Part {
        label: "modtape's own time",
        us: match u128::from(us) * 20 > u128::from(facts.split.wall_us) {
            true => us,
            false => 0,
        },
        facts: reasons.iter().map(|fact| (*fact).to_owned()).collect(),
    }
}

fn host_facts(split: &Split, phases: &[Phase], look: Look) -> Vec<String> {
    let hosts = split.hosts(phases).into_iter().take(HOSTS);
    hosts
        .map(|(host, us)| format!("{} {}", look.plain(host), duration(us)))
        .collect()
}

fn dial_facts(facts: &Facts<'_>, look: Look) -> Vec<String> {
    let (split, tally) = (facts.split, facts.tally);
    let mut facts = vec![count(tally.dials, "connection")];
    if tally.failed_dials > 0 {
        facts.push(format!("{} failed", tally.failed_dials));
    }
    let hosts = split.hosts(&[Phase::Dns, Phase::Connect, Phase::Tls]);
    let failed = hosts.into_iter().filter_map(|(host, us)| {
        let addresses = &tally.failed.get(host)?.addresses;
        let at = match addresses.first() {
            Some(first) if addresses.len() == 1 => format!(" ({first})"),
            Some(first) => format!(" ({first}, and {} more)", addresses.len() - 1),
            None => String::new(),
        };
        Some(format!("{}{at} {}", look.plain(host), duration(us)))
    });
    let failed = failed.take(HOSTS);
    // A narrow terminal has no room for the address, which is also in the line that gives the
    // reason.
    match look.width.unwrap_or(WIDE) {
        110.. => failed.chain(facts).collect(),
        _ => facts,
    }
}

/// Requests inside a tunnel are not seen, and of those whose end is lost nobody knows how long they took:
/// both are named beside the time without a request.
fn unseen_facts(facts: &Facts<'_>, look: Look) -> Vec<String> {
    let lost = match facts.lost {
        0 => None,
        lost => Some(format!("{} whose end is lost", count(lost, "request"))),
    };
    let tunnels = facts.tally.tunnels.iter().take(HOSTS);
    let tunnels =
        tunnels.map(|(host, bytes)| format!("tunnelled: {} {}", look.plain(host), size(*bytes)));
    lost.into_iter().chain(tunnels).collect()
}

/// What the command's processes did meanwhile, if that is worth a word.
fn idle_facts(facts: &Facts<'_>) -> impl Iterator<Item = String> {
    let part = facts.split.wall_us / 100;
    let idle = facts.idle.iter().filter(move |(_, us)| *us > part);
    idle.take(DOINGS)
        .map(|(kind, us)| format!("{} {}", kind.in_words(), duration(*us)))
}

/// `  waiting for first bytes   39.9 s  83%  ███████████████████▏  proxy.golang.org 33.6 s`
fn part_line(part: &Part, wall_us: u64, look: Look) -> String {
    let share = format!("{}%", percent(part.us, wall_us));
    let mut line = format!("  {:<24}  {:>7} {share:>4}", part.label, duration(part.us));
    let width = look.width.unwrap_or(WIDE);
    let cells = match width {
        110.. => 23,
        70.. => 10,
        _ => 0,
    };
    if cells > 0 {
        let bar = bar(part.us, wall_us, cells, look.ascii);
        line.push_str(&format!("  {bar:<cells$}"));
    }
    let mut room = width.saturating_sub(columns(&line) + 2);
    let mut separator = "  ";
    for fact in &part.facts {
        let needed = columns(fact);
        if needed > room {
            break;
        }
        line.push_str(separator);
        line.push_str(fact);
        room = room.saturating_sub(needed + 2);
        separator = ", ";
    }
    line.truncate(line.trim_end().len());
    line
}
