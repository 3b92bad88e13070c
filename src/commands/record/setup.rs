//! From flags and settings to the parts of a session, and to the manifest.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use time::OffsetDateTime;

use crate::capture;
use crate::child;
use crate::cli::{Global, Mode, RecordArgs};
use crate::clock::{Clock, wall_text};
use crate::commands::dialling;
use crate::commands::failure::Advise as _;
use crate::commands::output_file::probe;
use crate::commands::session::Session;
use crate::diagnose::rerun;
use crate::exchange::{Hex, Target, TargetError};
use crate::gomod::{Base, DEFAULT_HOSTS, GoProxy, GoSumDb, ProxyTarget};
use crate::proxy::{Others, Policy, Propagation};
use crate::recording::format::{CommandSpan, FORMAT_VERSION, HAR, Manifest, Open, RunMode};
use crate::redact::{self, Redactor};
use crate::terminal::{say, warn};
use crate::tls;
use crate::upstream::{Named, Overrides, Reach};

/// The name of this program in manifests and journals.
pub(in crate::commands) const TOOL: &str = concat!("modtape ", env!("CARGO_PKG_VERSION"));

/// The settings of `go env` that are in the manifest besides those that a replay needs.
pub(in crate::commands) const FACTS: [&str; 4] = ["GOVERSION", "GOOS", "GOARCH", "GOFLAGS"];

/// The targets that flags name.
pub(in crate::commands) struct TargetFlags {
    pub(super) overrides: Overrides,
    pub(super) intercept: BTreeSet<String>,
    pub(super) tunnel: BTreeSet<String>,
    pub(super) propagation: Propagation,
}

impl TargetFlags {
    pub(in crate::commands) fn parse(args: &RecordArgs) -> anyhow::Result<Self> {
        Ok(Self {
            overrides: dialling::overrides(&args.upstream.dial)?,
            intercept: hosts("--intercept", &args.intercept)?,
            tunnel: hosts("--tunnel", &args.tunnel)?,
            propagation: propagation(&args.propagate)?,
        })
    }
}

fn hosts(flag: &str, values: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let parse = |value: &String| {
        let value = value.trim();
        match Target::new(value, 443) {
            Ok(target) => Ok(target.host().to_owned()),
            Err(error) => not_a_host(flag, value, error),
        }
    };
    values.iter().map(parse).collect()
}

/// `HOST` or `HOST=HEADER`, each.
fn propagation(values: &[String]) -> anyhow::Result<Propagation> {
    let mut propagation = Propagation::default();
    for value in values {
        let (host, field) = match value.split_once('=') {
            Some((host, field)) => (host, Some(field)),
            None => (&**value, None),
        };
        let named = hosts("--propagate", &[host.to_owned()])?;
        for host in named {
            let added = propagation.add(host, field);
            added
                .map_err(|why| anyhow!("--propagate {}: {why}", redact::url_without_secrets(value)))
                .help("such as --propagate modules.corp.example=X-Trace-ID")?;
        }
    }
    Ok(propagation)
}

/// The hosts of `--propagate` whose requests over TLS are not seen.
pub(super) fn out_of_sight(policy: &Policy) -> Option<String> {
    let is_seen = |host: &&String| policy.intercepted().any(|seen| seen == *host);
    let hosts = policy.propagation.hosts();
    let hidden: Vec<&str> = hosts
        .filter(|host| !policy.intercept_all && !is_seen(host))
        .map(String::as_str)
        .collect();
    (!hidden.is_empty()).then(|| hidden.join(","))
}

/// The error for a value that is not a host, with what to write instead.
fn not_a_host(flag: &str, value: &str, error: TargetError) -> anyhow::Result<String> {
    let shown = redact::url_without_secrets(value);
    let message = |what: &str| Err(anyhow!("{flag} {shown}: {what}"));
    let named = match value.contains("://") {
        true => Target::of_url(value),
        false => value.parse().ok(),
    };
    let pattern = value.strip_prefix("*.").or_else(|| value.strip_prefix('.'));
    match (named, pattern) {
        (Some(target), _) => {
            message("expected a host without a port; the flag applies to every port")
                .help(format!("{flag} {}", target.host()))
        }
        (None, Some(_)) => message("patterns are not supported").help(format!(
            "name each host, such as {flag} git.example.com,pkg.example.com; \
             --intercept-all takes every host"
        )),
        (None, None) => message(&error.to_string()).help(format!("such as {flag} git.example.com")),
    }
}

pub(super) fn policy(
    args: &RecordArgs,
    session: &Session,
    named: BTreeSet<String>,
    tunnel: BTreeSet<String>,
) -> Policy {
    let [goproxy, gosumdb] = ["GOPROXY", "GOSUMDB"].map(|name| session.go.get(name));
    let intercept = intercepted(goproxy, gosumdb, named);
    Policy {
        intercept,
        intercept_all: args.intercept_all,
        tunnel,
        others: Others::Tunnel,
        propagation: Propagation::default(),
    }
}

/// The hosts that are intercepted: those of Go's own module proxy and checksum database, those of the settings,
/// whatever their ports, and those that flags `named`.
fn intercepted(goproxy: &str, gosumdb: &str, named: BTreeSet<String>) -> BTreeSet<String> {
    let sumdb = gosumdb.parse::<GoSumDb>().ok();
    let set = GoProxy::parse(goproxy).hosts().into_iter();
    let set = set.chain(sumdb.and_then(|sumdb| sumdb.host()));
    let without_port = set.filter_map(|host| {
        let target = Target::with_default_port(&host, 443);
        target.ok().map(|target| target.host().to_owned())
    });
    let own = DEFAULT_HOSTS.map(str::to_owned).into_iter();
    own.chain(without_port).chain(named).collect()
}

/// What of the command's requests passes a gateway by, in words.
pub(super) fn past_gateway(session: &Session) -> Option<String> {
    let goproxy = GoProxy::parse(session.go.get("GOPROXY"));
    let mut targets = goproxy.entries.iter().map(|entry| &entry.target);
    let is_direct = targets.any(|target| *target == ProxyTarget::Direct);
    let is_direct = is_direct || !session.go.get("GONOPROXY").is_empty();
    let repositories = is_direct.then(|| String::from("what comes straight from repositories"));
    let folder = goproxy.folder().map(str::to_owned);
    let past: Vec<String> = [repositories, folder].into_iter().flatten().collect();
    (!past.is_empty()).then(|| past.join(", "))
}

/// What of the command's requests passes a proxy by, in words: go asks no proxy for what is on loopback.
pub(super) fn past_proxy(session: &Session) -> Option<String> {
    let hosts = GoProxy::parse(session.go.get("GOPROXY")).loopback_hosts();
    (!hosts.is_empty()).then(|| hosts.join(", "))
}

/// The targets that may be dialled: for clients on other machines, public ones and those that the
/// user named.
///
/// Go's own default hosts do not count as named: if their names lead to a private address, it is
/// not theirs.
pub(super) fn reach(
    session: &Session,
    flags: &TargetFlags,
    settings: &[(String, String)],
) -> Reach {
    let addresses = session.addresses();
    let is_local = addresses.iter().all(|address| address.ip().is_loopback());
    let reach = Reach::all_but(addresses).of_this_machine(session.exposed(settings));
    if is_local {
        return reach;
    }
    let reach = match session.redirected() {
        Some(_) => reach.or_of_networks(),
        None => reach,
    };
    let goproxy = GoProxy::parse(session.go.get("GOPROXY"));
    let sumdb = session.go.get("GOSUMDB").parse::<GoSumDb>().ok();
    let place = |url: &str| {
        let port = if url.starts_with("http://") { 80 } else { 443 };
        Target::with_default_port(&Base::of(url)?.host, port).ok()
    };
    let sumdb = sumdb.and_then(|sumdb| Target::with_default_port(&sumdb.base()?.host, 443).ok());
    let targets = goproxy.urls().filter_map(place).chain(sumdb);
    let is_named = |target: &Target| !DEFAULT_HOSTS.contains(&target.host());
    reach.public_or(Named {
        hosts: flags.intercept.union(&flags.tunnel).cloned().collect(),
        targets: targets.filter(is_named).collect(),
    })
}

/// The file for the HAR. A file that `--har` names is created now, so that an invalid path fails
/// before a long run.
pub(super) fn har_file(args: &RecordArgs, dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    if args.no_har {
        return Ok(None);
    }
    let Some(path) = &args.har else {
        return Ok(Some(dir.join(HAR)));
    };
    probe(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Some(path.clone()))
}

/// The file for TLS secrets, if there is to be one. A variable is set for other programs too: if
/// its file cannot be opened, the command is recorded all the same.
pub(super) fn key_log(
    args: &RecordArgs,
    session: &Session,
    global: &Global,
) -> anyhow::Result<Option<File>> {
    let open = |path: &PathBuf| {
        let opened = capture::open_key_log(path);
        opened.with_context(|| format!("cannot add TLS secrets to {}", path.display()))
    };
    if args.keylog.is_some() {
        return args.keylog.as_ref().map(open).transpose();
    }
    let Some(path) = &session.variables.key_log else {
        return Ok(None);
    };
    match open(path) {
        Ok(file) => {
            let path = path.display();
            say(
                global,
                format!("modtape: SSLKEYLOGFILE: TLS secrets go to {path}"),
            );
            Ok(Some(file))
        }
        Err(error) => {
            warn(global, format!("SSLKEYLOGFILE: {error:#}"));
            Ok(None)
        }
    }
}

pub(super) fn manifest(
    args: &RecordArgs,
    session: &Session,
    redactor: &Redactor,
    policy: &Policy,
) -> Manifest {
    // Not GOPATH and similar settings: they name folders of this machine.
    let is_kept = |name: &str| child::SETTINGS.contains(&name) || FACTS.contains(&name);
    let settings = session.go.settings.iter().filter(|(name, _)| is_kept(name));
    let id = Hex(tls::random::<8>()).to_string();
    Manifest {
        command: redactor.argv(&args.command),
        options: redactor.argv(&rerun::options(args)),
        mode: Some(match session.mode() {
            _ if args.run.netns => RunMode::Netns,
            Mode::Auto | Mode::Mitm => RunMode::Mitm,
            Mode::Gateway => RunMode::Gateway,
            Mode::Transparent => RunMode::Transparent,
        }),
        go_env: settings
            .map(|(name, value)| (name.clone(), redactor.go_setting(name, value)))
            .collect(),
        exported: Some(session.variables.go.keys().cloned().collect()),
        go_version: session.go.settings.get("GOVERSION").cloned(),
        processors: match args.command.is_empty() {
            true => None,
            false => session.variables.processors,
        },
        intercepted: policy.intercepted().cloned().collect(),
        intercept_all: args.intercept_all,
        redacted: !args.no_redact,
        span: Some(CommandSpan {
            id: session.parent.span,
            parent: session.outer_span,
        }),
        ..Manifest::begun(TOOL, id, wall(session.clock), session.parent.trace)
    }
}

/// How a run of a recording with this manifest begins.
pub(in crate::commands) fn open(manifest: &Manifest, clock: Clock) -> Open {
    Open {
        added_by: None,
        format: FORMAT_VERSION,
        recording: manifest.id.clone(),
        wall: wall(clock),
        trace: manifest.trace,
        tool: TOOL.to_owned(),
        command: manifest.command.clone(),
    }
}

/// The wall clock when the monotonic clock was at 0.
fn wall(clock: Clock) -> String {
    wall_text(OffsetDateTime::from(clock.wall_start())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_intercepted_whatever_their_port_and_family() {
        let flags = ["2001:db8::1", "[::1]", "Git.Example."].map(str::to_owned);
        let named = hosts("--intercept", &flags).unwrap();
        let goproxy = "https://[2001:db8::2]:8443,https://b.example:4443/path,direct";
        let gosumdb = "sum.example+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        let found = intercepted(goproxy, gosumdb, named);
        for host in [
            "2001:db8::1",
            "::1",
            "git.example",
            "2001:db8::2",
            "b.example",
            "sum.example",
            "proxy.golang.org",
        ] {
            assert!(found.contains(host), "{host}: {found:?}");
        }
    }
}
