//! `modtape serve`: a module proxy that keeps what it has fetched.

mod announced;
mod config;
mod filling;
mod from;
mod gateway;
mod notify;
mod private;
mod recording;
mod reload;
mod running;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::announced::Announced;
pub(super) use self::config::Settings;
pub(super) use self::filling::Filling;
use self::from::Held;
use self::recording::UpstreamRecording;
use self::reload::{Current, Retiring};
use self::running::{Fixed, Plan};
use super::failure::{self, Advise as _, Failure, USAGE};
use super::metrics;
use super::otlp;
use super::session::{Variables, token};
use crate::child::{self, Environment, GoFacts, ProcessLimits, Signals};
use crate::cli::ServeArgs;
use crate::clock::Clock;
use crate::files::read_small;
use crate::gomod::{GoProxy, ProxyTarget, Separator, TEXT_LIMIT, go_words};
use crate::proxy::Token;
use crate::recording::MainModule;
use crate::redact::{Redactor, url_without_secrets};
use crate::serve::{
    Certificate, Counts, Disk, Done, Files, Listening, Memory, Server, Sources, Tiers,
};
use crate::telemetry::Log;
use crate::telemetry::metrics::{Metrics, Setup};
use crate::terminal::words::{count, size};
use crate::terminal::{say, say_always, warn};
use crate::tls;

/// Where it listens if nothing else is said; with a command, on a free port.
const ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4080);

pub(super) fn run(settings: Settings, log: Log) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot start")?;
    let outcome = runtime.block_on(serve(settings, log));
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: Settings, log: Log) -> Result<ExitCode, Failure> {
    let (args, global) = (&settings.args, &settings.global);
    otlp::warn_of_none("serve", global);
    let wraps = !args.command.is_empty();
    // From here on SIGHUP ends nothing; a command gets its own signals.
    let signals = match wraps {
        true => None,
        false => Some(Signals::listen_to_all().context("cannot listen to signals")?),
    };
    let variables = Variables::read();
    let clock = Clock::start();
    ProcessLimits::now().raise_descriptors();
    let go = variables.go_settings_of(&args.command).await;
    let held = match &args.from {
        Some(name) => Some(Held::open(name, global)?),
        None => None,
    };
    let plan = Plan::of(&settings, &variables, &go, clock, held.as_ref())?;
    let shown = certificate(args, clock).map_err(|failure| settings.locate(failure))?;
    // What is kept of others says nothing of a recording, and what is kept of that is kept there.
    let of_its_own = match &held {
        Some(_) => Some(tempfile::tempdir().context("cannot make a folder for what is served")?),
        None => None,
    };
    let store = match (&of_its_own, &plan.folder) {
        (Some(folder), _) => folder.path().to_owned(),
        (None, Some(store)) => store.clone(),
        (None, None) => default_store(&variables)?,
    };
    let disk = Disk::open(&store)
        .with_context(|| format!("cannot keep anything in {}", store.display()))
        .help("--store DIR names another folder")?;
    let any = SocketAddr::new(ADDRESS.ip(), 0);
    let address = args.listen.unwrap_or(if wraps { any } else { ADDRESS });
    let listener = TcpListener::bind(address).await;
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            let help = unbound(address, &error);
            let failed = Err::<ExitCode, _>(error);
            let failed = failed.with_context(|| format!("cannot listen on {address}"));
            return Ok(failed.help(help)?);
        }
    };
    let address = listener.local_addr()?;
    let scrapes = metrics::bind(&args.metrics)?;
    let shared = plan.shared_store(args, &variables, clock)?;
    // Last, since it is there from now on.
    let recording = args.record.as_deref().map(|name| {
        UpstreamRecording::begin(name, args, &plan.goproxy, clock, &go, &variables, global)
    });
    let tiers = Tiers::new(clock, Memory::new(args.memory), disk, args.disk_max);
    // Which upstream has answered is counted apart.
    let metrics = scrapes.as_ref().map(|_| {
        Metrics::new(Setup {
            clock,
            hosts: [crate::serve::HOST.to_owned()].into(),
            goproxy: GoProxy::parse(""),
        })
    });
    let fixed = Fixed {
        clock,
        recording: recording.transpose()?,
        variables,
        go,
        tiers: Arc::new(tiers.sharing(shared)),
        redis: plan.redis.clone(),
        counts: Arc::new(Counts::new(metrics)),
        private: private::Store::below(&store, args.memory, args.disk_max),
        address,
    };

    let goproxy = goproxy_of(args, &plan, held.as_ref(), address, shown.is_some());
    let from = shown_list(&plan.list);
    let also = plan.shared.as_ref();
    let also = also.map_or(String::new(), |place| format!(" and {place}"));
    let kept = format!("{}{also}", store.display());
    let token = plan.access.token.clone();
    let running = plan.start(&fixed).await?;
    let redactor = Redactor::new(tls::random());
    let id = announced::id_of(address, &store, redactor.argv(&args.command));
    let (asking, of_status) = watch::channel(running.asking(&id));
    // Who runs it in a container, for example, may have no folder for that.
    let _announced = Announced::begin(&fixed, id.clone(), of_status)
        .map_err(|error| {
            tracing::info!(target: "modtape::serve", "`modtape status` does not see this server: {error:#}");
        })
        .ok();
    let stop = CancellationToken::new();
    // A command's own requests end with it.
    let grace = if wraps { Duration::ZERO } else { args.grace };
    let (servers, of_listener) = watch::channel(Arc::clone(&running.server));
    // Scrapes are answered until it ends.
    let _scraping = match (scrapes, fixed.counts.metrics()) {
        (Some(scrapes), Some(metrics)) => {
            show(&fixed, metrics, of_listener.clone());
            Some(metrics::answer(scrapes, metrics.clone(), global)?)
        }
        _ => None,
    };
    let (certificates, of_handshakes) = shown.map(watch::channel).unzip();
    let mut serving = JoinSet::new();
    serving.spawn(crate::serve::hear(of_listener.clone(), stop.clone()));
    let listening = Listening {
        listener,
        servers: of_listener,
        certificates: of_handshakes,
        // To the client, to ourselves, and from there on; and files of the store.
        places: ProcessLimits::now().clients(4, 256),
        of_each: args.client_connections,
    };
    serving.spawn(crate::serve::serve(listening, stop.clone(), grace));
    let mut current = Current {
        fixed,
        held,
        first: settings,
        last: None,
        token,
        goproxy,
        running,
        id,
        asking,
        servers,
        certificates,
        log,
        retiring: Retiring::default(),
    };
    let code = match signals {
        None => {
            let (args, go) = (&current.first.args, &current.fixed.go);
            expect(&current.running.server, &args.command, go);
            let code = wrapped(args, &current.goproxy).await.map(Some);
            stop.cancel();
            serving.join_all().await;
            code
        }
        Some(mut signals) => {
            current.announce(&kept, &from);
            while signals.next().await.signal == Signal::HUP {
                current.reload().await;
            }
            stop.cancel();
            let global = &current.first.global;
            say(global, "requests in flight may end; Ctrl-C again ends them");
            let again = async { while signals.next().await.signal == Signal::HUP {} };
            tokio::select! {
                _ = serving.join_all() => {}
                () = again => {}
            }
            Ok(None)
        }
    };
    let global = current.first.global.clone();
    let (mut fixed, held) = current.close().await;
    if let Some(recording) = fixed.recording.take() {
        let exit_code = code.as_ref().ok().copied().flatten();
        if let Err(error) = recording.close(exit_code, &global).await {
            warn(&global, format!("cannot close the recording: {error:#}"));
        }
    }
    if code.is_ok() {
        say(&global, summary(fixed.counts.now()));
        if let Some(held) = &held {
            held.summarize(&global);
        }
    }
    code.map(|code| failure::exit_code(code.unwrap_or(0)))
}

/// Has metrics show what the server counts.
fn show(fixed: &Fixed, metrics: &Metrics, servers: watch::Receiver<Arc<Server>>) {
    let sources = Sources {
        counts: Arc::clone(&fixed.counts),
        tiers: Arc::clone(&fixed.tiers),
        private: Arc::clone(fixed.private.shared_tiers()),
        redis: fixed.redis.clone(),
        servers,
    };
    sources.show(metrics);
    // What the folder holds is known once it was looked through.
    fixed.tiers.make_room();
}

impl Current {
    /// Says how clients use it, and tells a service manager that they can.
    fn announce(&self, kept: &str, from: &str) {
        let (args, global) = (&self.first.args, &self.first.global);
        say(
            global,
            match (&self.held, args.disk_max) {
                (Some(held), _) => format!("serving {}: nobody else is asked", held.what()),
                (None, 0) => format!(
                    "modules from {from} pass through, and stay in memory at most (--disk-max 0)"
                ),
                (None, _) => format!("modules from {from} are kept in {kept}"),
            },
        );
        let goproxy = self.shown_goproxy();
        say_always(format!(
            "use it: go env -w GOPROXY={goproxy}   (undo: go env -u GOPROXY)"
        ));
        if self.fixed.address.ip().is_unspecified() && args.host.is_none() {
            say(
                global,
                "clients may know this machine by another name: --host NAME prints that one",
            );
        }
        if let Some(socket) = &self.fixed.variables.notify_socket
            && let Err(error) = notify::ready(socket)
        {
            let socket = socket.display();
            warn(
                global,
                format!("cannot tell {socket} that all is ready: {error}"),
            );
        }
    }
}

/// What clients are shown, if they speak TLS.
fn certificate(args: &ServeArgs, clock: Clock) -> Result<Option<Arc<Certificate>>, Failure> {
    let (Some(chain), Some(key)) = (args.tls_cert.clone(), args.tls_key.clone()) else {
        return Ok(None);
    };
    let certificate = Certificate::load(Files { chain, key }, clock);
    let certificate = certificate.context("--tls-cert and --tls-key");
    Ok(Some(
        certificate.map_err(|error| Failure::new(USAGE, error))?,
    ))
}

/// What helps where nobody can listen.
fn unbound(address: SocketAddr, error: &io::Error) -> String {
    let (ip, port) = (address.ip(), address.port());
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program listens there (`ss -ltnp sport = :{port}` names it); --listen {} takes a free port",
            SocketAddr::new(ip, 0)
        ),
        io::ErrorKind::PermissionDenied => format!(
            "a port below 1024 needs root or CAP_NET_BIND_SERVICE (in a unit: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE); --listen {} needs neither",
            SocketAddr::new(ip, ADDRESS.port())
        ),
        io::ErrorKind::AddrNotAvailable => String::from(
            "this machine has no such address: `ip address` lists its own, and 0.0.0.0 is all of them",
        ),
        _ => String::from("--listen 127.0.0.1:0 takes a free port"),
    }
}

/// GOPROXY for clients: of this machine if a command is wrapped, else of any.
fn goproxy_of(
    args: &ServeArgs,
    plan: &Plan,
    held: Option<&Held>,
    address: SocketAddr,
    is_tls: bool,
) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    let port = address.port();
    let wraps = !args.command.is_empty();
    let host = match &args.host {
        Some(host) => format!("{host}:{port}"),
        None if address.ip().is_unspecified() && !wraps => format!("{}:{port}", machine()),
        None => token::on_this_machine(address).to_string(),
    };
    let base = format!("{scheme}://{host}");
    let base = token::on_path(&base, plan.access.token.as_ref().map(Token::secret));
    match held {
        // What is missing is to be told, and not sought elsewhere.
        Some(_) => base,
        None => goproxy_of_clients(&plan.list, &base),
    }
}

/// This machine's own name, as far as others may know it; else what stands for it.
fn machine() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_str().unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_known = !name.is_empty() && !name.starts_with("localhost") && name.chars().all(fits);
    match is_known {
        true => name.to_owned(),
        false => String::from("NAME-OF-THIS-MACHINE"),
    }
}

/// Fetches what the command will ask for, as far as its go.mod tells: zips too, for those that need them all.
fn expect(server: &Arc<Server>, command: &[OsString], go: &GoFacts) {
    let Some(MainModule::Module(path)) = child::main_module(command, go, None) else {
        return;
    };
    let Ok(go_mod) = read_small(&path, TEXT_LIMIT) else {
        return;
    };
    let words: Vec<_> = command
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words = go_words(&words).unwrap_or_default();
    let needs_zips = matches!(words[..], ["mod", "tidy" | "download" | "vendor", ..]);
    server.expect(&go_mod, needs_zips);
}

/// Runs the command with this GOPROXY; its exit code.
async fn wrapped(args: &ServeArgs, goproxy: &str) -> Result<i32, Failure> {
    let mut environment = Environment::default();
    environment.set("GOPROXY", goproxy);
    let command = child::Command {
        argv: args.command.clone(),
        folder: None,
        environment,
        timeout: None,
        limits: ProcessLimits::now(),
    };
    let end = child::run(&command, &mut |_| {}).await;
    let end = end.map_err(super::session::not_run)?;
    Ok(end.code)
}

/// The list for those who ask here: `direct` and `off` stay theirs, since nobody runs git here.
fn goproxy_of_clients(list: &GoProxy, base: &str) -> String {
    let mut entries = list.entries.iter().rev();
    let last = entries.next();
    let tail = last.and_then(|last| match last.target {
        ProxyTarget::Direct | ProxyTarget::Off => Some(last.target.to_string()),
        ProxyTarget::Url(_) => None,
    });
    let separator = entries.next().and_then(|entry| entry.separator);
    let separator = separator.unwrap_or(Separator::Comma).as_char();
    match tail {
        Some(tail) => format!("{base}{separator}{tail}"),
        None => base.to_owned(),
    }
}

fn shown_list(list: &GoProxy) -> String {
    let urls = list.urls().map(url_without_secrets);
    urls.collect::<Vec<_>>().join(", ")
}

/// What the cache was good for.
fn summary(done: Done) -> String {
    let answers = count(done.hits + done.joined + done.misses, "answer");
    let mut text = format!(
        "{answers}: {} from the cache, {} on their way, {} fetched; {} fetched ({})",
        done.hits,
        done.joined,
        done.misses,
        count(done.requests, "file"),
        size(done.bytes),
    );
    if done.ahead > 0 {
        let _ = write!(
            text,
            ", {} of them ahead ({}), of which {} were used ({})",
            done.ahead,
            size(done.ahead_bytes),
            done.used,
            size(done.used_bytes),
        );
    }
    text
}

/// The folder below the user's cache folder.
pub(super) fn default_store(variables: &Variables) -> anyhow::Result<PathBuf> {
    let folder = variables
        .cache
        .as_ref()
        .map(|cache| cache.join("modtape/modules"));
    folder
        .context("there is no cache folder, since HOME is not set")
        .help("--store DIR names one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_keep_their_way_to_repositories() {
        for (list, expected) in [
            (
                "https://proxy.golang.org,direct",
                "http://127.0.0.1:4080,direct",
            ),
            (
                "https://a.example|https://b.example|direct",
                "http://127.0.0.1:4080|direct",
            ),
            ("https://a.example,off", "http://127.0.0.1:4080,off"),
            ("https://a.example", "http://127.0.0.1:4080"),
        ] {
            assert_eq!(
                goproxy_of_clients(&GoProxy::parse(list), "http://127.0.0.1:4080"),
                expected
            );
        }
    }
}
