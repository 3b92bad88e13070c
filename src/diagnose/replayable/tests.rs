use super::*;
use crate::diagnose::sample::{connection, connections, in_flight, row};
use crate::exchange::{DISTRUST, Mode, UpstreamSide};

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
    cut_short: Option<&'static str>,
    dumb: &'static [&'static str],
    faults: Vec<Fault>,
    options: &'static [&'static str],
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
        cut_short: None,
        dumb: &[],
        faults: Vec::new(),
        options: &[],
    };
    change(&mut case);
    let command: Vec<String> = case.command.split_whitespace().map(str::to_owned).collect();
    let env = case
        .env
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    let found = replayable(&Recorded {
        rerun: &Rerun {
            options: case.options.iter().map(|option| (*option).into()).collect(),
            place: ["-o", "ci", "--force"].map(str::to_owned).into(),
            command,
        },
        rows: &case.rows,
        connections: &case.connections,
        mode: Some(RunMode::Mitm),
        go_env: &env,
        was_cold: case.was_cold,
        gaps: &case.gaps,
        bodies_kept: case.bodies_kept,
        failure: case.failure,
        cut_short: case.cut_short,
        dumb_repositories: &case.dumb.iter().map(|&name| name.to_owned()).collect(),
        faults: &case.faults,
        routes: &Routes::default(),
    });
    assert_eq!(found.complete, found.reasons.is_empty());
    found.reasons
}

#[test]
fn a_whole_cold_recording_is_complete() {
    assert_eq!(reasons(|_| {}), [""; 0]);
}

#[test]
fn an_answer_that_is_something_else_makes_it_partial() {
    let fault = |exchange| Fault {
        run: 0,
        exchange,
        kind: Kind::Info,
        what: "info a.b/c v1.0.0".into(),
        host: "proxy.golang.org".into(),
        why: "it is an HTML page".into(),
    };
    assert_eq!(
        reasons(|case| case.faults = vec![fault(7)]),
        [
            "1 answer is not what it was asked for, first info a.b/c v1.0.0 from proxy.golang.org (#7): \
             it is an HTML page; `modtape record -o ci --force -- go mod tidy` asks again"
        ]
    );
    let more = reasons(|case| case.faults = vec![fault(7), fault(8)]);
    assert!(more[0].starts_with("2 answers are not what they were asked for, first info"));
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
fn one_command_heeds_every_reason_and_has_the_flags_that_there_were() {
    let dials = vec![connection(1, Mode::Tunnel, "sum.golang.org:443")];
    let found = reasons(|case| {
        case.options = &["--intercept=git.corp", "--connect-to=::127.0.0.1:1"];
        case.connections = connections(dials);
        case.was_cold = false;
    });
    let [cache, tunnel, again] = &found[..] else {
        panic!("{found:?}")
    };
    assert!(!cache.contains("modtape record") && !tunnel.contains("modtape record"));
    assert_eq!(
        again,
        "`modtape record --intercept git.corp,sum.golang.org --connect-to ::127.0.0.1:1 --cold \
         -o ci --force -- go mod tidy` records all of it anew"
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
            "bodies were not kept",
            "not recorded: body of exchange 9: no space left on device and 1 more gap",
            "`modtape record -o ci --force -- go mod tidy` records all of it anew",
        ]
    );
}

#[test]
fn a_repository_in_the_dumb_protocol_is_named() {
    assert_eq!(
        reasons(|case| case.dumb = &["git.test/lib"]),
        [
            "git.test/lib was served in git's dumb protocol, in which a repository cannot be replayed"
        ]
    );
}

#[test]
fn a_request_of_git_is_not_asked_again_by_another_to_the_same_url() {
    let url = "https://git.test/lib/git-upload-pack";
    let found = reasons(|case| {
        case.rows = vec![Row::answered(1, url, 200), Row::answered(2, url, 200)];
        for row in &mut case.rows {
            row.method = "POST".into();
        }
        case.rows[0].state = RowState::Aborted;
    });
    let [found] = &found[..] else {
        panic!("{found:?}")
    };
    assert!(
        found.starts_with("1 request has no whole answer"),
        "{found}"
    );
}

#[test]
fn a_command_that_was_ended_may_have_asked_for_more() {
    assert_eq!(
        reasons(|case| case.cut_short = Some("--timeout")),
        [
            "--timeout ended the command: what it had yet to ask for is not here; \
          `modtape record -o ci --force -- go mod tidy` records it anew"
        ]
    );
    // Nothing else ends a recorder without a command.
    let alone = reasons(|case| {
        (case.cut_short, case.command, case.was_cold) = (Some("Ctrl-C"), "", true);
    });
    assert_eq!(alone, [""; 0]);
}

#[test]
fn what_goes_past_every_proxy_is_not_here() {
    for (goproxy, expected) in [
        (
            "http://127.0.0.1:3000,https://proxy.golang.org",
            "GOPROXY is on loopback (127.0.0.1:3000), which the go command never asks through a \
             proxy: what came from there is not here; `modtape record --mode gateway -o ci --force -- \
             go mod tidy` has it",
        ),
        (
            "https://proxy.golang.org,file:///srv/go",
            "GOPROXY=file:///srv/go is a folder, which is read without a request: what came from \
             there is not here; `modtape record -o ci --force -- go mod tidy` with a module proxy \
             instead has it",
        ),
    ] {
        let found = reasons(|case| case.env = vec![("GOPROXY", goproxy)]);
        assert_eq!(found, [expected], "{goproxy}");
    }
}

#[test]
fn a_host_that_could_not_be_reached_makes_it_partial_unless_it_was_asked_after_all() {
    let failed = |id, mode, host, error: &str| {
        let mut failed = connection(id, mode, host);
        failed.error = Some(error.into());
        failed.upstream = Some(UpstreamSide::default());
        failed
    };
    let refused = "connection refused";
    let mut forbidden = failed(6, Mode::Refuse, "10.0.0.1:443", "a private address");
    forbidden.upstream = None;
    let dials = vec![
        failed(1, Mode::Refuse, "sum.golang.org:443", refused),
        failed(2, Mode::Refuse, "proxy.golang.org:443", refused),
        failed(3, Mode::Intercept, "sum.golang.org:443", refused),
        failed(4, Mode::Intercept, "goproxy.corp:443", refused),
        // The client's own doing, as when it needs a connection no more.
        failed(5, Mode::Intercept, "git.corp:443", "the client ended it"),
        // Our own rules: a replay has them too.
        forbidden,
    ];
    assert_eq!(
        reasons(|case| case.connections = connections(dials)),
        [
            "nothing was asked of sum.golang.org and of 1 more host: connection refused; \
          `modtape record -o ci --force -- go mod tidy` tries again"
        ]
    );
    let distrust = vec![failed(1, Mode::Intercept, "goproxy.corp:443", DISTRUST)];
    let found = reasons(|case| case.connections = connections(distrust));
    assert!(found[0].starts_with("nothing was asked of goproxy.corp: the client does not trust"));
}
