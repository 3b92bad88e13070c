//! `modtape doctor`: the settings of the go command, and whether what they name works.

mod page;
mod settings;
mod sites;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::dialling;
use super::failure::{Failure, USAGE};
use super::runtime::block_on;
use super::session::Variables;
use crate::child;
use crate::cli::{DoctorArgs, Global};
use crate::clock::Clock;
use crate::diagnose::doctor::facts::{self, Cache, Facts, NetrcFile};
use crate::diagnose::doctor::report;
use crate::gomod::{GoProxy, MachineRule, Netrc};
use crate::redact::Redactor;
use crate::terminal::{Look, Progress, json, to_stdout};
use crate::tls::{self, ClientConfigs, RootSources, Roots};
use crate::upstream::probe::{LIMITS, Trust, probe};
use crate::upstream::{Dialer, Reach, Settings};
use settings::Effective;
use sites::{Planned, Sites};

/// Exit code where something is broken.
const BROKEN: u8 = 1;

/// How long the file system of the module cache may take.
const CACHE_LIMIT: Duration = Duration::from_secs(5);

/// How often the progress line is drawn.
const TICK: Duration = Duration::from_millis(250);

/// The largest netrc file that is read, bytes.
const NETRC: u64 = 1 << 20;

/// Runs the verb.
pub(super) fn run(args: &DoctorArgs, global: &Global) -> Result<ExitCode, Failure> {
    let facts = block_on(find_out(args, global))??;
    let report = report(&facts);
    let look = Look::of_stdout(global);
    let text = match args.json {
        true => json::pretty(&page::Json::of(&facts, &report))?,
        false => page::text(&facts, &report, look, global),
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(match report.is_broken() {
        true => ExitCode::from(BROKEN),
        false => ExitCode::SUCCESS,
    })
}

async fn find_out(args: &DoctorArgs, global: &Global) -> Result<Facts, Failure> {
    let usage = |error| Failure::new(USAGE, error);
    let variables = Variables::read();
    let overrides = dialling::overrides(&args.dial).map_err(usage)?;
    let parents = dialling::parents(&args.dial, &variables).map_err(usage)?;
    let trust = trust(args, &variables)?;
    let effective = Effective::find_out(&variables).await;
    let netrc = read_netrc(&effective);
    let rule = effective.machine_rule();
    let sites = Sites::plan(&effective, &netrc.1, rule);
    let dialer = Dialer::new(Settings {
        clock: Clock::start(),
        limits: LIMITS,
        tls: ClientConfigs::new(&trust.roots),
        parents,
        overrides,
        reach: Reach::default(),
    });

    let mut probing = JoinSet::new();
    for (number, planned) in sites.0.into_iter().enumerate() {
        let (dialer, trust) = (dialer.clone(), trust.clone());
        probing.spawn(async move {
            let Planned { site, places } = planned;
            let (host, asked) = probe(dialer, trust, site).await;
            (number, Planned::filled(host, places, asked))
        });
    }
    let cache = effective.module_cache();
    let redactor = Redactor::new(tls::random());
    let looking = look_at_cache(cache, redactor.clone());
    let hosts = watched(probing, global);
    let (cache, hosts) = tokio::join!(looking, hosts);
    Ok(Facts {
        folders: folders(&effective),
        roots: roots(&variables, &trust),
        netrc: judged(netrc.0, &netrc.1, &effective, rule),
        go: effective.go(&redactor),
        hosts,
        cache,
    })
}

/// The roots with and without those of `--upstream-ca`.
fn trust(args: &DoctorArgs, variables: &Variables) -> Result<Trust, Failure> {
    let sources = RootSources {
        file: variables.ssl_cert_file.clone(),
        dirs: variables.ssl_cert_dir.clone(),
        extra: Vec::new(),
    };
    let system = Roots::load(&sources)?;
    let roots = Roots::load(&RootSources {
        extra: args.dial.upstream_ca.clone(),
        ..sources
    })?;
    Ok(Trust { roots, system })
}

fn roots(variables: &Variables, trust: &Trust) -> facts::Roots {
    let count = trust.system.certificates().len();
    let file = variables.ssl_cert_file.as_deref();
    let alone = |file: &Path| {
        Roots::load(&RootSources {
            file: Some("/dev/null".into()),
            dirs: Some("/dev/null".into()),
            extra: vec![file.to_owned()],
        })
    };
    let error = file.and_then(|file| alone(file).err());
    facts::Roots {
        count,
        extra: trust.roots.certificates().len() - count,
        file_error: error.map(|error| crate::exchange::chain(&error)),
    }
}

/// The entries of GOPROXY that are folders.
fn folders(effective: &Effective) -> Vec<facts::Folder> {
    let list = GoProxy::parse(effective.get("GOPROXY"));
    let folders = list
        .urls()
        .filter_map(|url| Some((url, url.strip_prefix("file://")?)));
    let folders = folders.map(|(url, path)| {
        let path = percent_decode_str(path).decode_utf8_lossy();
        facts::Folder {
            url: url.to_owned(),
            error: fs::read_dir(&*path).err().map(|error| error.to_string()),
        }
    });
    folders.collect()
}

/// Waits for all hosts, with a line on a terminal meanwhile.
async fn watched(mut probing: JoinSet<(usize, facts::Host)>, global: &Global) -> Vec<facts::Host> {
    let mut progress = Progress::new("checking host", probing.len(), global);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut hosts = Vec::new();
    loop {
        tokio::select! {
            done = probing.join_next() => match done {
                Some(Ok(host)) => hosts.push(host),
                Some(Err(_)) => {}
                None => break,
            },
            _ = tick.tick() => progress.step(hosts.len()),
        }
    }
    hosts.sort_by_key(|(number, _)| *number);
    hosts.into_iter().map(|(_, host)| host).collect()
}

/// Looks at the module cache; a file system that does not answer is not waited for.
async fn look_at_cache(path: Option<PathBuf>, redactor: Redactor) -> Cache {
    let Some(path) = path else {
        return Cache::default();
    };
    let shown = path.display().to_string();
    let looking = tokio::task::spawn_blocking(move || child::look_at(&path, &redactor));
    match tokio::time::timeout(CACHE_LIMIT, looking).await {
        Ok(Ok(cache)) => cache,
        Ok(Err(_)) | Err(_) => Cache {
            write_error: Some(format!(
                "its file system does not answer within {CACHE_LIMIT:?}"
            )),
            looked_at: shown.clone(),
            exists: true,
            path: Some(shown),
            ..Cache::default()
        },
    }
}

/// The netrc file, as far as it can be read.
fn read_netrc(effective: &Effective) -> (NetrcFile, Netrc) {
    let mut file = NetrcFile {
        goauth: effective.other_goauth(),
        ..NetrcFile::default()
    };
    let Some(path) = effective.netrc_path() else {
        return (file, Netrc::default());
    };
    file.path = Some(path.display().to_string());
    let read = fs::metadata(&path).and_then(|found| {
        file.exists = true;
        file.is_open = found.permissions().mode() & 0o077 != 0;
        if !found.is_file() || found.len() > NETRC {
            return Err(std::io::Error::other("it is not a small file"));
        }
        fs::read(&path)
    });
    match read {
        Ok(bytes) if file.goauth.is_none() => {
            let netrc = Netrc::parse(&String::from_utf8_lossy(&bytes));
            file.machines = netrc.logins.len();
            file.incomplete = netrc.incomplete.clone();
            (file, netrc)
        }
        Ok(_) => (file, Netrc::default()),
        Err(error) => {
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            file.error = (!is_missing).then(|| error.to_string());
            (file, Netrc::default())
        }
    }
}

/// The same with the entries that miss the proxies that they name.
fn judged(
    mut file: NetrcFile,
    netrc: &Netrc,
    effective: &Effective,
    rule: MachineRule,
) -> NetrcFile {
    let list = GoProxy::parse(effective.get("GOPROXY"));
    for url in list.urls().filter_map(|url| url.strip_prefix("https://")) {
        let url = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
        let Some(machine) = netrc.near_miss(url, rule) else {
            continue;
        };
        if file.incomplete.iter().any(|one| one == machine) {
            continue;
        }
        let authority = url.split('/').next().unwrap_or(url);
        let host = authority.split(':').next().unwrap_or(authority);
        let expected = match rule {
            MachineRule::Host => host,
            MachineRule::Prefix => authority,
        };
        file.mistakes.push(facts::MachineMistake {
            machine: machine.to_owned(),
            expected: expected.to_owned(),
        });
    }
    // Entries for other hosts are nobody's business here.
    let named = |machine: &String| list.hosts().iter().any(|host| machine.contains(&**host));
    file.incomplete.retain(named);
    file
}
