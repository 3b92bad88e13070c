//! Whether a replay of the same command will find all it needs.
//!
//! Says "complete" only if nothing speaks against it; each reason ends with the command that
//! completes the recording. What cannot be known errs towards "partial": a replay that was called
//! complete and then misses something is worse than one that was called partial and does not.

use std::collections::{BTreeMap, BTreeSet};

use crate::exchange::MadeBy;
use crate::gomod::{Base, DEFAULT_HOSTS, GoProxy, GoSumDb, Kind, ProxyTarget, Route, replay_key};
use crate::recording::Row;
use crate::recording::format::{Gap, Replayable};
use crate::recording::reader::RowState;

use super::again::record_line;
use super::split::Connections;
use super::tally::{listed, tunnels};

/// How many hosts or requests a reason names.
const NAMED: usize = 3;

/// Where the go command sends telemetry: no module fetch goes there (`x/telemetry/internal/upload`).
const TELEMETRY: &str = "telemetry.go.dev";

/// All that the answer depends on.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// The recording's name, as `-o` takes it.
    pub name: &'a str,
    /// The wrapped command, redacted; empty without one.
    pub command: &'a [String],
    /// The exchanges.
    pub rows: &'a [Row],
    /// The client connections.
    pub connections: &'a Connections,
    /// What `go env` says.
    pub go_env: &'a BTreeMap<String, String>,
    /// Places of the effective GOPROXY and GOSUMDB.
    pub bases: &'a [Base],
    /// Whether the command was given an empty module cache.
    pub was_cold: bool,
    /// What was not recorded.
    pub gaps: &'a [Gap],
    /// False for `--bodies none`.
    pub bodies_kept: bool,
    /// What could not be written, if anything: it may not even have left a gap.
    pub failure: Option<&'a str>,
}

/// Says whether a replay of the same command will find all it needs, and if not, why.
pub fn replayable(recorded: &Recorded<'_>) -> Replayable {
    let reasons: Vec<String> = [
        of_bodies(recorded),
        of_gaps(recorded).or_else(|| of_failure(recorded)),
        of_cache(recorded),
        of_tunnels(recorded),
        of_unfinished(recorded),
    ]
    .into_iter()
    .flatten()
    .collect();
    Replayable {
        complete: reasons.is_empty(),
        reasons,
    }
}

impl Recorded<'_> {
    /// The command that records all of it once more.
    fn again(&self, options: &[&str]) -> String {
        let options: Vec<&str> = options
            .iter()
            .copied()
            .chain(["-o", self.name, "--force"])
            .collect();
        format!("`{}`", record_line(&options, self.command))
    }

    /// What a row asks for, so that the same question by another way is known as such.
    fn question(&self, row: &Row) -> String {
        let key = replay_key(&row.url, self.bases).unwrap_or_else(|| row.url.clone());
        format!("{} {key}", row.method)
    }
}

fn of_bodies(recorded: &Recorded<'_>) -> Option<String> {
    (!recorded.bodies_kept)
        .then(|| format!("bodies were not kept; {} keeps them", recorded.again(&[])))
}

fn of_gaps(recorded: &Recorded<'_>) -> Option<String> {
    let [first, more @ ..] = recorded.gaps else {
        return None;
    };
    let more = match more.len() {
        0 => String::new(),
        1 => " and 1 more gap".into(),
        more => format!(" and {more} more gaps"),
    };
    let (Gap { what, why }, again) = (first, recorded.again(&[]));
    Some(format!(
        "not recorded: {what}: {why}{more}; {again} records it anew"
    ))
}

fn of_failure(recorded: &Recorded<'_>) -> Option<String> {
    let (failure, again) = (recorded.failure?, recorded.again(&[]));
    Some(format!(
        "not all could be written: {failure}; {again} records it anew"
    ))
}

/// What was cached was not asked for. That there was anything in the cache can be proven only
/// where a zip was asked for without its go.mod; that there was not, never.
fn of_cache(recorded: &Recorded<'_>) -> Option<String> {
    if recorded.was_cold {
        return None;
    }
    let example = match cached_mod(recorded) {
        Some(module) => format!(", such as the go.mod of {module}"),
        None => String::new(),
    };
    if recorded.command.is_empty() {
        return Some(format!(
            "what the clients had in their module caches was not asked for{example}; \
             clients with an empty GOMODCACHE ask for all"
        ));
    }
    let again = recorded.again(&["--cold"]);
    Some(format!(
        "recorded with the user's own module cache: what it held was not asked for{example}; \
         {again} completes it"
    ))
}

/// A module whose zip was asked for, but not its go.mod, which the go command needs before.
fn cached_mod(recorded: &Recorded<'_>) -> Option<String> {
    let routes: Vec<Route> = recorded
        .rows
        .iter()
        .map(|row| Route::of(&row.url, recorded.bases))
        .collect();
    let named = |kind: Kind| {
        let of_kind = routes.iter().filter(move |route| route.kind == kind);
        of_kind.filter_map(|route| Some((route.module.as_deref()?, route.version.as_deref()?)))
    };
    let mods: BTreeSet<_> = named(Kind::Mod).collect();
    let (module, version) = named(Kind::Zip).find(|zip| !mods.contains(zip))?;
    Some(format!("{module} {version}"))
}

fn of_tunnels(recorded: &Recorded<'_>) -> Option<String> {
    let tunnelled = tunnels(recorded.connections);
    let hosts: Vec<&str> = tunnelled
        .keys()
        .map(String::as_str)
        .filter(|host| matters(recorded, host))
        .collect();
    if hosts.is_empty() {
        return None;
    }
    let again = recorded.again(&["--intercept", &hosts.join(",")]);
    let was = if hosts.len() == 1 { "was" } else { "were" };
    let hosts = listed(hosts, NAMED);
    Some(format!(
        "{hosts} {was} tunnelled, so what came from there is not here; {again} has it"
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
fn of_unfinished(recorded: &Recorded<'_>) -> Option<String> {
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
    let (parts, total, again) = (parts.join(", "), open.len(), recorded.again(&[]));
    let example = Route::of(&first.url, recorded.bases).what();
    Some(format!(
        "{total} {was} no whole answer ({parts}), first {example}; {again} asks again"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{connection, connections, in_flight, row};
    use super::*;
    use crate::exchange::Mode;

    const MOD: &str = "https://proxy.golang.org/golang.org/x/net/@v/v0.34.0.mod";
    const ZIP: &str = "https://proxy.golang.org/golang.org/x/net/@v/v0.34.0.zip";

    /// A recording that owns its parts.
    struct Case {
        env: Vec<(&'static str, &'static str)>,
        command: &'static str,
        rows: Vec<Row>,
        connections: Connections,
        was_cold: bool,
        gaps: Vec<Gap>,
        bodies_kept: bool,
        failure: Option<&'static str>,
    }

    /// The reasons against a cold recording of `go mod tidy` that `change` alters.
    fn reasons(change: impl FnOnce(&mut Case)) -> Vec<String> {
        let mut case = Case {
            env: vec![("GOPROXY", "https://proxy.golang.org,direct")],
            command: "go mod tidy",
            rows: vec![row(1, MOD, 0, &[]), row(2, ZIP, 0, &[])],
            connections: Connections::new(),
            was_cold: true,
            gaps: Vec::new(),
            bodies_kept: true,
            failure: None,
        };
        change(&mut case);
        let command: Vec<String> = case.command.split_whitespace().map(str::to_owned).collect();
        let env = case
            .env
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let found = replayable(&Recorded {
            name: "ci",
            command: &command,
            rows: &case.rows,
            connections: &case.connections,
            go_env: &env,
            bases: &[],
            was_cold: case.was_cold,
            gaps: &case.gaps,
            bodies_kept: case.bodies_kept,
            failure: case.failure,
        });
        assert_eq!(found.complete, found.reasons.is_empty());
        found.reasons
    }

    #[test]
    fn a_whole_cold_recording_is_complete() {
        assert_eq!(reasons(|_| {}), [""; 0]);
    }

    #[test]
    fn a_warm_cache_makes_it_partial() {
        assert_eq!(
            reasons(|case| case.was_cold = false),
            [
                "recorded with the user's own module cache: what it held was not asked for; \
              `modtape record --cold -o ci --force -- go mod tidy` completes it"
            ]
        );
        let zip = vec![row(1, ZIP, 0, &[])];
        let proven = reasons(|case| (case.was_cold, case.rows) = (false, zip));
        assert!(
            proven[0].contains("such as the go.mod of golang.org/x/net v0.34.0;"),
            "{proven:?}"
        );
        let served = reasons(|case| (case.was_cold, case.command) = (false, ""));
        assert!(
            served[0].ends_with("clients with an empty GOMODCACHE ask for all"),
            "{served:?}"
        );
    }

    #[test]
    fn a_tunnel_matters_where_a_module_could_come_from_it() {
        let hosts = [
            "github.com:443",
            "telemetry.go.dev:443",
            "sum.golang.org:443",
        ];
        let tunnels = (1..)
            .zip(hosts)
            .map(|(id, host)| connection(id, Mode::Tunnel, host));
        let tunnels = connections(tunnels.collect());
        let with = |env: &[(&'static str, &'static str)]| {
            let connections = tunnels.clone();
            reasons(|case| (case.env, case.connections) = (env.to_vec(), connections)).join("\n")
        };
        assert_eq!(
            with(&[("GOPROXY", "https://goproxy.corp,direct")]),
            "github.com and sum.golang.org were tunnelled, so what came from there is not here; \
             `modtape record --intercept github.com,sum.golang.org -o ci --force -- go mod tidy` \
             has it"
        );
        assert!(with(&[("GOPROXY", "https://goproxy.corp")]).starts_with("sum.golang.org was"));
        let private = [
            ("GOPROXY", "https://goproxy.corp"),
            ("GOPRIVATE", "git.corp"),
        ];
        assert!(with(&private).starts_with("github.com and"));
        let named = with(&[("GOPROXY", "https://github.com/goproxy")]);
        assert!(
            named.starts_with("github.com and sum.golang.org were"),
            "{named}"
        );
    }

    #[test]
    fn a_request_without_a_whole_answer_counts_unless_it_was_asked_again() {
        let mut aborted = row(1, MOD, 0, &[]);
        aborted.state = RowState::Aborted;
        let mut ours = row(3, "https://sum.golang.org/lookup/a.b/c@v1.0.0", 0, &[]);
        ours.made_by = Some(MadeBy::Modtape);
        let open = vec![aborted.clone(), in_flight(2, ZIP, 0), ours];
        assert_eq!(
            reasons(|case| case.rows = open),
            [
                "3 requests have no whole answer (1 stopped on the way, 1 still in flight at the \
              end, 1 answered by modtape itself), first mod golang.org/x/net v0.34.0; \
              `modtape record -o ci --force -- go mod tidy` asks again"
            ]
        );
        let by_another = row(4, &MOD.replace("proxy.golang.org", "goproxy.cn"), 9, &[]);
        let settled = vec![aborted, by_another];
        assert_eq!(reasons(|case| case.rows = settled), [""; 0]);
    }

    #[test]
    fn what_could_not_be_written_may_have_left_no_gap() {
        assert_eq!(
            reasons(|case| case.failure = Some("no space left on device")),
            ["not all could be written: no space left on device; \
              `modtape record -o ci --force -- go mod tidy` records it anew"]
        );
    }

    #[test]
    fn gaps_and_bodies_that_were_not_kept_come_first() {
        let gap = Gap {
            what: "body of exchange 9".into(),
            why: "no space left on device".into(),
        };
        let gaps = vec![gap.clone(), gap];
        let found = reasons(|case| (case.gaps, case.bodies_kept) = (gaps, false));
        assert_eq!(
            found,
            [
                "bodies were not kept; `modtape record -o ci --force -- go mod tidy` keeps them",
                "not recorded: body of exchange 9: no space left on device and 1 more gap; \
                 `modtape record -o ci --force -- go mod tidy` records it anew",
            ]
        );
    }
}
