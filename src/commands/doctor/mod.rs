//! `modtape doctor`: the settings of the go command, and whether what they name works.

mod page;
mod settings;
mod sites;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use percent_encoding::percent_decode_str;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::dialling;
use super::failure::{Advise as _, Failure, USAGE};
use super::runtime::block_on;
use super::session::Variables;
use crate::child;
use crate::cli::{DoctorArgs, Global};
use crate::clock::Clock;
use crate::diagnose::doctor::facts::{self, Cache, Facts, NetrcFile};
use crate::diagnose::doctor::report;
use crate::files::read_small;
use crate::gomod::{GoProxy, GoSum, MachineRule, Netrc};
use crate::recording::caches::{CacheFolder, CheckedModules};
use crate::redact::Redactor;
use crate::sockets::OwnSockets;
use crate::terminal::{Look, Progress, json, to_stdout};
use crate::tls::{self, ClientConfigs, RootSources, Roots, RootsError};
use crate::upstream::probe::{LIMITS, Trust, probe};
use crate::upstream::{Dialer, Reach, Settings};
use settings::Effective;
use sites::{Planned, Sites};

/// Exit code where something is broken.
const BROKEN: u8 = 1;

/// How long a file system, or a pipe in place of a file, may take.
const FILE_LIMIT: Duration = Duration::from_secs(5);

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
    let (trust, file_error) = trust(args, &variables).await?;
    let effective = Effective::find_out(&variables).await;
    let netrc = read_netrc(&effective).await;
    let rule = effective.machine_rule();
    let sites = Sites::plan(&effective, &netrc.1, rule);
    let dialer = Dialer::new(Settings {
        clock: Clock::start(),
        limits: LIMITS,
        tls: ClientConfigs::new(&trust.roots),
        parents,
        overrides,
        reach: Reach::default(),
        sockets: OwnSockets::default(),
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
    let looking = look_at_cache(cache, effective.go_sum(), redactor.clone());
    let hosts = watched(probing, global);
    let (cache, folders, hosts) = tokio::join!(looking, folders(&effective), hosts);
    let count = trust.system.certificates().len();
    Ok(Facts {
        folders,
        roots: facts::Roots {
            count,
            extra: trust.roots.certificates().len() - count,
            file_error,
        },
        netrc: judged(netrc.0, &netrc.1, &effective, rule),
        go: effective.go(&redactor),
        way_in: effective.way_in(&variables),
        hosts,
        cache,
    })
}

/// Runs what reads files on another thread; `None` if they do not answer in time.
async fn limited<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let looking = tokio::task::spawn_blocking(look);
    tokio::time::timeout(FILE_LIMIT, looking).await.ok()?.ok()
}

/// The roots with and without those of `--upstream-ca`, and why SSL_CERT_FILE gives none.
async fn trust(
    args: &DoctorArgs,
    variables: &Variables,
) -> Result<(Trust, Option<String>), Failure> {
    let sources = RootSources {
        file: variables.ssl_cert_file.clone(),
        dirs: variables.ssl_cert_dir.clone(),
        extra: Vec::new(),
    };
    let extra = args.dial.upstream_ca.clone();
    let read = limited(move || -> Result<_, RootsError> {
        let system = Roots::load(&sources)?;
        let named = sources.file.clone();
        let roots = Roots::load(&RootSources { extra, ..sources })?;
        let error = named.and_then(|file| alone(file).err());
        let error = error.map(|error| crate::exchange::chain(&error));
        Ok((Trust { roots, system }, error))
    });
    let read = read.await.with_context(|| {
        format!("the files with trusted certificates cannot be read within {FILE_LIMIT:?}")
    });
    let read = read.help("see what SSL_CERT_FILE and SSL_CERT_DIR name: a pipe that nobody writes to, or a file system that does not answer");
    Ok(read??)
}

/// The roots in one file.
fn alone(file: PathBuf) -> Result<Roots, RootsError> {
    Roots::load(&RootSources {
        file: Some("/dev/null".into()),
        dirs: Some("/dev/null".into()),
        extra: vec![file],
    })
}

/// The entries of GOPROXY that are folders.
async fn folders(effective: &Effective) -> Vec<facts::Folder> {
    let list = GoProxy::parse(effective.get("GOPROXY"));
    let mut folders = Vec::new();
    for url in list.urls() {
        let Some(path) = url.strip_prefix("file://") else {
            continue;
        };
        let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let read = limited(move || fs::read_dir(path).err().map(|error| error.to_string()));
        let error = read.await.unwrap_or_else(|| Some(silent()));
        let url = url.to_owned();
        folders.push(facts::Folder { url, error });
    }
    folders
}

/// Why there is no answer to [`limited`].
fn silent() -> String {
    format!("its file system does not answer within {FILE_LIMIT:?}")
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

/// Looks at the module cache. Of a file system that is slow, what is known in time is told; one that does
/// not answer is not waited for.
async fn look_at_cache(
    path: Option<PathBuf>,
    go_sum: impl FnOnce() -> Option<GoSum> + Send + 'static,
    redactor: Redactor,
) -> Cache {
    let Some(path) = path else {
        return Cache::default();
    };
    let (at, in_it) = (path.clone(), path.clone());
    let modules = limited(move || go_sum().map(|go_sum| child::check_modules(&in_it, &go_sum)));
    let around = async {
        let Some(folder) = limited(move || child::storage(&at)).await else {
            return Cache::of(CacheFolder {
                path: path.display().to_string(),
                exists: true,
                write_error: Some(silent()),
                ..CacheFolder::default()
            });
        };
        let (known, home) = (Cache::of(folder.clone()), settings::home());
        let look = move || child::look_at(folder, &path, home.as_deref(), &redactor);
        limited(look).await.unwrap_or(known)
    };
    let (around, modules) = tokio::join!(around, modules);
    Cache {
        // None was looked at in time.
        modules: modules.unwrap_or_else(|| Some(CheckedModules::default())),
        ..around
    }
}

/// The netrc file, as far as it can be read.
async fn read_netrc(effective: &Effective) -> (NetrcFile, Netrc) {
    let mut file = NetrcFile {
        goauth: effective.other_goauth(),
        ..NetrcFile::default()
    };
    let Some(path) = effective.netrc_path() else {
        return (file, Netrc::default());
    };
    file.path = Some(path.display().to_string());
    let read = limited(move || {
        let found = fs::metadata(&path);
        (found, read_small(&path, NETRC))
    });
    let Some((found, read)) = read.await else {
        file.exists = true;
        file.error = Some(silent());
        return (file, Netrc::default());
    };
    file.exists = found.is_ok();
    file.is_open = found.is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    match read {
        Ok(bytes) if file.goauth.is_none() => {
            let netrc = Netrc::parse(&String::from_utf8_lossy(&bytes));
            file.machines = netrc.logins.len();
            file.incomplete = netrc.incomplete.clone();
            file.has_default = netrc.has_default;
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
            file.unread
                .extend(netrc.unread_for(url, rule).map(str::to_owned));
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
