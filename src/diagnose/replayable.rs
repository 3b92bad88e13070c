//! Whether a replay of the same command will find all it needs.
//!
//! Says "complete" only if nothing speaks against it; one command, which heeds every reason, completes
//! the recording. What cannot be known errs towards "partial": a replay that was called
//! complete and then misses something is worse than one that was called partial and does not.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::exchange::{MadeBy, Mode, Target};
use crate::gomod::{DEFAULT_HOSTS, GoProxy, GoSumDb, Kind, ProxyTarget, Route, replay_key};
use crate::recording::Row;
use crate::recording::format::{FAULTS, Fault, Gap, Replayable, RunMode};
use crate::recording::reader::{ConnectionRow, RowState};

use super::rerun::{COLD, GATEWAY, Rerun, intercept};
use super::routes::Routes;
use super::tally::{host_of, listed, tunnels};
use super::timeline::Connections;

/// How many hosts or requests a reason names.
const NAMED: usize = 3;

/// Where the go command sends telemetry: no module fetch goes there (`x/telemetry/internal/upload`).
const TELEMETRY: &str = "telemetry.go.dev";

/// All that the answer depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded<'a> {
    /// How all of it is recorded once more.
    pub(crate) rerun: &'a Rerun,
    /// The exchanges.
    pub(crate) rows: &'a [Row],
    /// The client connections.
    pub(crate) connections: &'a Connections,
    /// How its requests reached the recorder.
    pub(crate) mode: Option<RunMode>,
    /// What `go env` says.
    pub(crate) go_env: &'a BTreeMap<String, String>,
    /// Whether the command was given an empty module cache.
    pub(crate) was_cold: bool,
    /// What was not recorded.
    pub(crate) gaps: &'a [Gap],
    /// False for `--bodies none`.
    pub(crate) bodies_kept: bool,
    /// What could not be written, if anything: it may not even have left a gap.
    pub(crate) failure: Option<&'a str>,
    /// Answers that are not what they were asked for.
    pub(crate) faults: &'a [Fault],
    /// What the rows ask for.
    pub(crate) routes: &'a Routes,
    /// Repositories that were served in git's dumb protocol, by host and path.
    pub(crate) dumb_repositories: &'a BTreeSet<String>,
    /// What ended the command before its time, if anything did: `--timeout`, a signal.
    pub(crate) cut_short: Option<&'a str>,
}

/// Something that speaks against a complete replay.
struct Reason {
    what: String,
    /// What recording again does about it; empty if that alone does nothing.
    helps: &'static str,
    /// The options that it takes.
    options: Vec<String>,
}

impl Reason {
    /// Whatever it was, the same once more may have it.
    fn simple(what: impl Into<String>, helps: &'static str) -> Self {
        Self {
            what: what.into(),
            helps,
            options: Vec::new(),
        }
    }
}

/// Says whether a replay of the same command will find all it needs, and if not, why.
pub(crate) fn replayable(recorded: &Recorded<'_>) -> Replayable {
    let reasons: Vec<Reason> = [
        of_bodies(recorded),
        of_gaps(recorded).or_else(|| of_failure(recorded)),
        of_end(recorded),
        of_goproxy(recorded),
        of_cache(recorded),
        of_tunnels(recorded),
        of_failed_dials(recorded),
        of_unfinished(recorded),
        of_dumb_repositories(recorded),
        of_faults(recorded),
    ]
    .into_iter()
    .flatten()
    .collect();
    Replayable {
        complete: reasons.is_empty(),
        reasons: told(reasons, recorded.rerun),
        faults: recorded.faults.iter().take(FAULTS).cloned().collect(),
        unchecked: false,
    }
}

/// The reasons in words, and once the command that heeds them all.
fn told(reasons: Vec<Reason>, rerun: &Rerun) -> Vec<String> {
    let options: Vec<String> = reasons
        .iter()
        .flat_map(|reason| reason.options.clone())
        .collect();
    let line = rerun.line(&options);
    if let [Reason { what, helps, .. }] = &reasons[..] {
        return vec![match *helps {
            "" => what.clone(),
            helps => format!("{what}; `{line}` {helps}"),
        }];
    }
    let is_helped = reasons.iter().any(|reason| !reason.helps.is_empty());
    let whats = reasons.into_iter().map(|reason| reason.what);
    whats
        .chain(is_helped.then(|| format!("`{line}` records all of it anew")))
        .collect()
}

impl Recorded<'_> {
    /// What a row asks for, so that the same question by another way is known as such.
    fn question(&self, row: &Row) -> String {
        if row.method == "POST" {
            // The body says what it asks for, and each of git's is another.
            return format!("{} {}", row.run, row.id);
        }
        let key = replay_key(&row.url, self.routes.bases()).unwrap_or_else(|| row.url.clone());
        format!("{} {key}", row.method)
    }
}

fn of_bodies(recorded: &Recorded<'_>) -> Option<Reason> {
    (!recorded.bodies_kept).then(|| Reason::simple("bodies were not kept", "keeps them"))
}

fn of_gaps(recorded: &Recorded<'_>) -> Option<Reason> {
    let [first, more @ ..] = recorded.gaps else {
        return None;
    };
    let more = match more.len() {
        0 => String::new(),
        1 => " and 1 more gap".into(),
        more => format!(" and {more} more gaps"),
    };
    let Gap { what, why } = first;
    Some(Reason::simple(
        format!("not recorded: {what}: {why}{more}"),
        "records it anew",
    ))
}

fn of_failure(recorded: &Recorded<'_>) -> Option<Reason> {
    let failure = recorded.failure?;
    Some(Reason::simple(
        format!("not all could be written: {failure}"),
        "records it anew",
    ))
}

/// A command that was ended may have asked for more. Without a command nothing ends by itself.
fn of_end(recorded: &Recorded<'_>) -> Option<Reason> {
    let what = recorded
        .cut_short
        .filter(|_| !recorded.rerun.command.is_empty())?;
    Some(Reason::simple(
        format!("{what} ended the command: what it had yet to ask for is not here"),
        "records it anew",
    ))
}

/// What the go command asks past every proxy, whether it did or not.
fn of_goproxy(recorded: &Recorded<'_>) -> Option<Reason> {
    let goproxy = recorded.go_env.get("GOPROXY").map_or("", String::as_str);
    let goproxy = GoProxy::parse(goproxy);
    let past = |what: &str| format!("{what}: what came from there is not here");
    if let Some(unseen) = unseen_loopback(&goproxy, recorded.mode) {
        return Some(Reason {
            options: vec![GATEWAY.into()],
            ..Reason::simple(past(&unseen), "has it")
        });
    }
    let url = goproxy.folder()?;
    let past = past(&format!(
        "GOPROXY={url} is a folder, which is read without a request"
    ));
    Some(Reason::simple(past, "with a module proxy instead has it"))
}

/// What a recorder of this mode does not see of a GOPROXY on loopback, in words; `None` where there is no
/// such entry, or where its requests arrive.
pub(super) fn unseen_loopback(goproxy: &GoProxy, mode: Option<RunMode>) -> Option<String> {
    let why = match mode {
        Some(RunMode::Gateway | RunMode::Netns) => return None,
        Some(RunMode::Transparent) => "which the rules of the firewall do not redirect",
        Some(RunMode::Mitm) | None => "which the go command never asks through a proxy",
    };
    let hosts = goproxy.loopback_hosts();
    let hosts = listed(hosts.iter().map(String::as_str), NAMED);
    (!hosts.is_empty()).then(|| format!("GOPROXY is on loopback ({hosts}), {why}"))
}

/// What was cached was not asked for. That there was anything in the cache can be proven only
/// where a zip was asked for without its go.mod; that there was not, never.
fn of_cache(recorded: &Recorded<'_>) -> Option<Reason> {
    if recorded.was_cold {
        return None;
    }
    let example = match cached_mod(recorded) {
        Some(module) => format!(", such as the go.mod of {module}"),
        None => String::new(),
    };
    if recorded.rerun.command.is_empty() {
        let what = format!(
            "what the clients had in their module caches was not asked for{example}; \
             clients with an empty GOMODCACHE ask for all"
        );
        return Some(Reason::simple(what, ""));
    }
    Some(Reason {
        what: format!(
            "recorded with the user's own module cache: what it held was not asked for{example}"
        ),
        helps: "completes it",
        options: vec![COLD.into()],
    })
}

/// A module whose zip was asked for, but not its go.mod, which the go command needs before.
fn cached_mod(recorded: &Recorded<'_>) -> Option<String> {
    let routes: Vec<Route> = recorded
        .rows
        .iter()
        .map(|row| Route::of(&row.url, recorded.routes.bases()))
        .collect();
    let named = |kind: Kind| {
        let of_kind = routes.iter().filter(move |route| route.kind == kind);
        of_kind.filter_map(|route| Some((route.module.as_deref()?, route.version.as_deref()?)))
    };
    let mods: BTreeSet<_> = named(Kind::Mod).collect();
    let (module, version) = named(Kind::Zip).find(|zip| !mods.contains(zip))?;
    Some(format!("{module} {version}"))
}

fn of_tunnels(recorded: &Recorded<'_>) -> Option<Reason> {
    let tunnelled = tunnels(recorded.connections);
    let hosts: Vec<&str> = tunnelled
        .keys()
        .map(String::as_str)
        .filter(|host| matters(recorded, host))
        .collect();
    if hosts.is_empty() {
        return None;
    }
    let options = vec![intercept(hosts.iter().copied())];
    let was = if hosts.len() == 1 { "was" } else { "were" };
    let hosts = listed(hosts, NAMED);
    Some(Reason {
        what: format!("{hosts} {was} tunnelled, so what came from there is not here"),
        helps: "has it",
        options,
    })
}

/// Hosts that were dialled and not reached, or whose client does not trust us: what was wanted there
/// was never asked. A CONNECT whose dial failed was refused; without a dial, the rules forbade it.
fn of_failed_dials(recorded: &Recorded<'_>) -> Option<Reason> {
    let asked = recorded.rows.iter().filter(|row| !row.is_connect());
    let asked: BTreeSet<String> = asked
        .filter_map(|row| Some(Target::of_url(&row.url)?.host().to_owned()))
        .collect();
    let dials = recorded
        .connections
        .values()
        .flat_map(ConnectionRow::dials)
        .filter(|dial| matches!(dial.mode, Mode::Intercept | Mode::Gateway | Mode::Refuse))
        .filter(|dial| dial.upstream.is_some())
        .filter(|dial| dial.has_failed() || dial.is_distrust());
    let mut failed = dials.filter_map(|dial| {
        let host = host_of(&dial.target);
        let is_wanted = !asked.contains(&host) && matters(recorded, &host);
        let error = dial.error.as_deref().filter(|_| is_wanted)?;
        Some((host, error))
    });
    let (host, error) = failed.next()?;
    let others: BTreeSet<String> = failed
        .map(|(other, _)| other)
        .filter(|other| *other != host)
        .collect();
    let more = match others.len() {
        0 => String::new(),
        1 => " and of 1 more host".into(),
        more => format!(" and of {more} more hosts"),
    };
    Some(Reason::simple(
        format!("nothing was asked of {host}{more}: {error}"),
        "tries again",
    ))
}

/// Whether a module fetch would use this host.
///
/// Where `direct` can be reached, or modules are private, any host can be a module's own: then all
/// count but the one that is known for something else.
fn matters(recorded: &Recorded<'_>, host: &str) -> bool {
    let value = |name: &str| recorded.go_env.get(name).map_or("", String::as_str);
    let goproxy = GoProxy::parse(value("GOPROXY"));
    let sumdb = value("GOSUMDB")
        .parse::<GoSumDb>()
        .ok()
        .and_then(|sumdb| sumdb.base());
    let is_named = goproxy
        .bases()
        .iter()
        .chain(&sumdb)
        .any(|base| base.host_name() == host);
    let is_direct = goproxy
        .entries
        .iter()
        .any(|entry| entry.target == ProxyTarget::Direct);
    let is_private = ["GOPRIVATE", "GONOPROXY"]
        .iter()
        .any(|name| !value(name).is_empty());
    let is_unknown = recorded.go_env.is_empty();
    let any_host = is_direct || is_private || is_unknown;
    is_named || DEFAULT_HOSTS.contains(&host) || (any_host && host != TELEMETRY)
}

/// Requests without a whole answer of the origin, unless the same was asked again with one.
fn of_unfinished(recorded: &Recorded<'_>) -> Option<Reason> {
    let is_whole = |row: &Row| row.state == RowState::Ended && row.made_by != Some(MadeBy::Modtape);
    let answered: BTreeSet<String> = recorded
        .rows
        .iter()
        .filter(|row| is_whole(row))
        .map(|row| recorded.question(row))
        .collect();
    let open: Vec<&Row> = recorded
        .rows
        .iter()
        .filter(|row| !row.is_connect() && !row.is_relay_offer())
        .filter(|row| !is_whole(row) && !answered.contains(&recorded.question(row)))
        .collect();
    let [first, more @ ..] = &open[..] else {
        return None;
    };
    let count = |state| open.iter().filter(|row| row.state == state).count();
    let parts = [
        (count(RowState::Aborted), "stopped on the way"),
        (count(RowState::InFlight), "still in flight at the end"),
        (count(RowState::Ended), "answered by modtape itself"),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<String> = parts
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    let was = if more.is_empty() {
        "request has"
    } else {
        "requests have"
    };
    let (parts, total) = (parts.join(", "), open.len());
    let example = recorded.routes.route(first).what();
    Some(Reason::simple(
        format!("{total} {was} no whole answer ({parts}), first {example}"),
        "asks again",
    ))
}

/// Whatever is asked in that protocol next depends on what came before: files of the server's disk.
fn of_dumb_repositories(recorded: &Recorded<'_>) -> Option<Reason> {
    let names = recorded.dumb_repositories;
    let [verb, its] = match names.len() {
        0 => return None,
        1 => ["was", "a repository"],
        _ => ["were", "repositories"],
    };
    let names = listed(names.iter().map(String::as_str), NAMED);
    Some(Reason::simple(
        format!("{names} {verb} served in git's dumb protocol, in which {its} cannot be replayed"),
        "",
    ))
}

/// Answers that the client cannot have used, whatever their status says.
fn of_faults(recorded: &Recorded<'_>) -> Option<Reason> {
    let first = recorded.faults.first()?;
    let answers = match recorded.faults.len() {
        1 => String::from("1 answer is not what it was"),
        more => format!("{more} answers are not what they were"),
    };
    Some(Reason::simple(
        format!("{answers} asked for, first {first}"),
        "asks again",
    ))
}
