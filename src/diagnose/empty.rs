//! Why a recording has no exchange at all.
//!
//! A recorder that saw nothing must not leave it at "0 requests": each reason names the setting or
//! the state that explains it, and what to do. Sources: the Go modules reference ("Environment
//! variables", "Vendoring"), `golang.org/x/net/http/httpproxy` for loopback.

use std::collections::BTreeMap;

use crate::exchange::Opened;
use crate::gomod::{GoProxy, ProxyTarget, go_words, is_go};
use crate::recording::format::RunMode;
use crate::recording::reader::ConnectionRow;

use super::replayable::unseen_loopback;
use super::rerun::{COLD, GATEWAY, Rerun, intercept};
use super::tally::{listed, tunnels};
use super::timeline::Connections;

/// How many hosts are named.
const NAMED: usize = 3;

/// What the settings of Go do not tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// How it is recorded once more, with the wrapped command if there is one.
    pub(crate) rerun: &'a Rerun,
    /// How its requests would have reached the recorder.
    pub(crate) mode: Option<RunMode>,
    /// The user's module cache, as far as it is known; else empty.
    pub(crate) cache: &'a str,
    /// Whether it was given an empty module cache.
    pub(crate) was_cold: bool,
    /// Whether the main module has `vendor/modules.txt`.
    pub(crate) has_vendor: bool,
    /// The client connections that there were.
    pub(crate) connections: &'a Connections,
}

/// Says why nothing was recorded, the surest reason first; never nothing.
///
/// `go_env` is what `go env` says. A connection that was made outweighs all settings: then the
/// command did reach for the network.
pub(crate) fn why_empty(go_env: &BTreeMap<String, String>, facts: &Facts<'_>) -> Vec<String> {
    let connected = of_connections(facts);
    if !connected.is_empty() {
        return connected;
    }
    if facts.rerun.command.is_empty() {
        return vec!["nothing connected: `modtape env` prints what a client must be told".into()];
    }
    let value = |name: &str| go_env.get(name).map_or("", String::as_str);
    let mut reasons = of_goproxy(value("GOPROXY"), facts);
    reasons.extend(of_vendor(value("GOFLAGS"), facts));
    if reasons.is_empty() {
        reasons.push(of_cache(facts));
    }
    reasons
}

fn of_connections(facts: &Facts<'_>) -> Vec<String> {
    let opened = || facts.connections.values().flat_map(ConnectionRow::dials);
    let mut reasons = Vec::new();
    let tunnelled = tunnels(facts.connections);
    if !tunnelled.is_empty() {
        let hosts: Vec<&str> = tunnelled.keys().map(String::as_str).collect();
        let line = facts.rerun.line(&[intercept(hosts.iter().copied())]);
        let hosts = listed(hosts, NAMED);
        reasons.push(format!(
            "what went to {hosts} was tunnelled, so its requests were not seen: `{line}` sees them"
        ));
    }
    let failed: Vec<(&Opened, &str)> = opened()
        .filter_map(|opened| Some((opened, opened.error.as_deref()?)))
        .collect();
    if let [(first, error), more @ ..] = &failed[..] {
        let more = match more.len() {
            0 => String::new(),
            more => format!(", and {more} more failed"),
        };
        let target = &first.target;
        reasons.push(format!(
            "no request came over the connection to {target}: {error}{more}"
        ));
    }
    let quiet = opened().count() - failed.len();
    if reasons.is_empty() && quiet > 0 {
        let s = if quiet == 1 { "" } else { "s" };
        reasons.push(format!("{quiet} connection{s} came, but no request on it"));
    }
    reasons
}

fn of_goproxy(value: &str, facts: &Facts<'_>) -> Vec<String> {
    let goproxy = GoProxy::parse(value);
    let mut reasons = Vec::new();
    if goproxy
        .entries
        .first()
        .is_some_and(|entry| entry.target == ProxyTarget::Off)
    {
        reasons.push("GOPROXY=off forbids the go command to download anything".into());
    }
    if let Some(unseen) = unseen_loopback(&goproxy, facts.mode) {
        let line = facts.rerun.line(&[GATEWAY.into()]);
        reasons.push(format!("{unseen}: `{line}` sees it"));
    }
    if let Some(url) = goproxy.folder() {
        reasons.push(format!(
            "GOPROXY={url} is a folder, which is read without a request"
        ));
    }
    reasons
}

fn of_vendor(goflags: &str, facts: &Facts<'_>) -> Option<String> {
    // The last one counts; the command's own flags come after those of GOFLAGS.
    let own = facts
        .rerun
        .command
        .iter()
        .map(String::as_str)
        .take_while(|word| *word != "--");
    let flags = goflags.split_whitespace().chain(own);
    let mode = flags
        .filter_map(|flag| flag.trim_start_matches('-').strip_prefix("mod="))
        .last();
    if !heeds_vendor(&facts.rerun.command) {
        return None;
    }
    let advice = "`-mod=mod` makes the go command download them";
    match mode {
        Some("vendor") => Some(format!(
            "-mod=vendor takes modules from the vendor folder: {advice}"
        )),
        None if facts.has_vendor => Some(format!(
            "modules come from the vendor folder, as there is one: {advice}"
        )),
        _ => None,
    }
}

/// Whether a go command of these words takes packages from the vendor folder (Go modules reference,
/// "Vendoring"). Those with a version run outside the main module, and `list -m` asks for modules.
fn heeds_vendor(command: &[String]) -> bool {
    let mut words = go_words(command).unwrap_or_default().into_iter();
    let loads = matches!(
        words.next(),
        Some("build" | "generate" | "install" | "list" | "run" | "test" | "vet")
    );
    loads && !words.any(|word| word.contains('@') || word == "-m" || word == "--m")
}

fn of_cache(facts: &Facts<'_>) -> String {
    if facts.was_cold {
        return "the command asked for no module: it may need none".into();
    }
    let place = match facts.cache {
        "" => String::new(),
        cache => format!(" ({cache})"),
    };
    let line = facts.rerun.line(&[COLD.into()]);
    if !facts
        .rerun
        .command
        .first()
        .is_some_and(|program| is_go(program))
    {
        return format!(
            "nothing was asked for: the command needs no module, or the module cache had them all: \
             `{line}` starts with an empty one"
        );
    }
    format!(
        "the module cache{place} most likely had all that was needed: \
         `{line}` starts with an empty one"
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::{connection, connections};
    use super::*;
    use crate::exchange::Mode;

    /// A run that owns its parts.
    #[derive(Default)]
    struct Case {
        mode: Option<RunMode>,
        cache: &'static str,
        was_cold: bool,
        has_vendor: bool,
        connections: Connections,
    }

    fn why(env: &[(&str, &str)], command: &str, case: &Case) -> Vec<String> {
        let go_env = env
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let facts = Facts {
            rerun: &Rerun {
                command,
                ..Rerun::default()
            },
            mode: case.mode,
            cache: case.cache,
            was_cold: case.was_cold,
            has_vendor: case.has_vendor,
            connections: &case.connections,
        };
        why_empty(&go_env, &facts)
    }

    #[test]
    fn a_warm_cache_is_the_reason_when_there_is_no_other() {
        let env = [("GOPROXY", "https://proxy.golang.org,direct")];
        let known = Case {
            cache: "/go/pkg/mod",
            ..Case::default()
        };
        assert_eq!(
            why(&env, "go build ./...", &known),
            [
                "the module cache (/go/pkg/mod) most likely had all that was needed: \
              `modtape record --cold -- go build ./...` starts with an empty one"
            ]
        );
        assert_eq!(
            why(
                &env,
                "go version",
                &Case {
                    was_cold: true,
                    ..Case::default()
                }
            ),
            ["the command asked for no module: it may need none"]
        );
        let other = why(&env, "make all", &Case::default());
        assert!(other[0].starts_with("nothing was asked for: the command needs no module, or"));
        let by_path = why(&env, "/usr/local/go/bin/go build", &Case::default());
        assert!(by_path[0].starts_with("the module cache"), "{by_path:?}");
    }

    #[test]
    fn goproxy_can_be_the_reason() {
        for (value, expected) in [
            ("off", "GOPROXY=off forbids"),
            (
                "http://127.0.0.1:3000,direct",
                "GOPROXY is on loopback (127.0.0.1:3000), which the go command never asks through a \
                 proxy: `modtape record --mode gateway -- go mod download` sees it",
            ),
            (
                "http://localhost:3000",
                "GOPROXY is on loopback (localhost:3000)",
            ),
            ("http://[::1]:3000", "GOPROXY is on loopback ([::1]:3000)"),
            (
                "file:///srv/go|direct",
                "GOPROXY=file:///srv/go is a folder",
            ),
            ("https://goproxy.corp,off", "the module cache most likely"),
            ("http://localhost.corp,off", "the module cache most likely"),
        ] {
            let reasons = why(&[("GOPROXY", value)], "go mod download", &Case::default());
            let [reason] = &reasons[..] else {
                panic!("{value}: {reasons:?}")
            };
            assert!(reason.starts_with(expected), "{value}: {reason}");
        }
    }

    #[test]
    fn loopback_is_no_reason_where_its_requests_arrive() {
        let reason = |mode| {
            let env = [("GOPROXY", "http://127.0.0.1:3000")];
            let case = Case {
                mode: Some(mode),
                ..Case::default()
            };
            why(&env, "go mod download", &case).remove(0)
        };
        for mode in [RunMode::Gateway, RunMode::Netns] {
            let reason = reason(mode);
            assert!(reason.starts_with("the module cache"), "{reason}");
        }
        let reason = reason(RunMode::Transparent);
        let expected = "GOPROXY is on loopback (127.0.0.1:3000), which the rules of the firewall do \
             not redirect: `modtape record --mode gateway -- go mod download` sees it";
        assert_eq!(reason, expected);
    }

    #[test]
    fn a_vendor_folder_can_be_the_reason() {
        let vendor = |flags, command, has_vendor| {
            let env = [("GOFLAGS", flags)];
            let reasons = why(
                &env,
                command,
                &Case {
                    has_vendor,
                    ..Case::default()
                },
            );
            reasons[0].contains("vendor folder")
        };
        assert!(vendor("-trimpath -mod=vendor", "go build", false));
        assert!(vendor("", "go build -mod=vendor", false));
        assert!(vendor("", "go build", true));
        assert!(!vendor("", "go build -mod=mod", true));
        assert!(!vendor("-mod=vendor", "go build -mod=mod", true));
        for command in [
            "go mod tidy",
            "go get x",
            "go install x.example/y@v1.2.3",
            "go run x.example/y@latest",
            "go list -m all",
            "make lint",
            "true",
        ] {
            assert!(!vendor("", command, true), "{command}");
            assert!(!vendor("-mod=vendor", command, true), "{command}");
        }
        for command in [
            "go1.27.3 vet ./...",
            "/opt/go/bin/go run .",
            "go list ./...",
        ] {
            assert!(vendor("", command, true), "{command}");
        }
        assert!(!vendor("", "go build", false));
    }

    #[test]
    fn connections_without_requests_outweigh_the_settings() {
        let mut failed = connection(3, Mode::Intercept, "proxy.golang.org:443");
        failed.error = Some("cannot resolve proxy.golang.org".into());
        let mut again = failed.clone();
        again.id = 4;
        let tunnel = connection(1, Mode::Tunnel, "github.com:443");
        let made = |opened| Case {
            connections: connections(opened),
            ..Case::default()
        };
        assert_eq!(
            why(
                &[("GOPROXY", "off")],
                "go get -u",
                &made(vec![tunnel, failed, again])
            ),
            [
                "what went to github.com was tunnelled, so its requests were not seen: \
                 `modtape record --intercept github.com -- go get -u` sees them",
                "no request came over the connection to proxy.golang.org:443: \
                 cannot resolve proxy.golang.org, and 1 more failed",
            ]
        );
        let unused = made(vec![connection(1, Mode::Intercept, "go.dev:443")]);
        assert_eq!(
            why(&[], "go get", &unused),
            ["1 connection came, but no request on it"]
        );
    }

    #[test]
    fn without_a_command_clients_must_be_told() {
        let reasons = why(&[("GOPROXY", "off")], "", &Case::default());
        assert_eq!(
            reasons,
            ["nothing connected: `modtape env` prints what a client must be told"]
        );
    }
}
