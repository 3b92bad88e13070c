//! A session: a listener with a certificate authority of its own, and the wrapped command.
//! Recording and replaying share it.

mod listeners;
mod namespace;
pub(crate) mod running;
pub(crate) mod socket;
pub(crate) mod token;
mod variables;
mod way;

use std::convert::Infallible;
use std::ffi::OsString;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::variables::{Variables, user_file};
pub(in crate::commands) use self::way::{Purpose, Way};

use self::listeners::Listeners;
use self::namespace::{Entered, Entering};
use self::running::{Announcement, Own, Redirected, Running};
use self::socket::Socket;
use super::failure::{Advise as _, Failure, USAGE};
use super::metrics;
use crate::ca::{Bundle, CertificateAuthority, Leafs, Scope};
use crate::capture::Capture;
use crate::child::{
    self, Environment, GoAuth, GoFacts, Interruption, PrivateDir, ProcessLimits, Repositories,
    Signals, SpawnError, StatusSignals, Watch, WayIn,
};
use crate::cli::{Global, Mode, RunArgs};
use crate::clock::Clock;
use crate::exchange::{Hex, SpanId, TraceFlags, TraceParent};
use crate::gomod::{Base, Front, GoProxy};
use crate::proxy::{
    Access, Context, Deadlines, Entrance, Gateway, Live, Policy, Proxy, Redirection, Responder,
    Stalls, Token, Windows,
};
use crate::recording::format::{Event, Packets};
use crate::recording::{MainModule, Recorder, writer};
use crate::redact::Redactor;
use crate::sockets::OwnSockets;
use crate::telemetry::metrics::{Metrics, Scrapes, Scraping};
use crate::telemetry::{self, Log};
use crate::terminal::status::{SessionId, StatusSource, Verb};
use crate::terminal::words::count;
use crate::terminal::{Console, LeftOver, say, warn};
use crate::tls::{self, RootSources, Roots};
use crate::upstream::Exposed;

/// A bound listener and everything that a command needs to trust it.
pub(super) struct Session {
    pub(super) clock: Clock,
    pub(super) variables: Variables,
    pub(super) roots: Roots,
    /// The command's span, which those of its requests are part of.
    pub(super) parent: TraceParent,
    /// The span that the command's own is part of: that of the TRACEPARENT that modtape was given.
    pub(super) outer_span: Option<SpanId>,
    /// Where clients connect, or the first of two such addresses; `None` where that is in a network
    /// namespace.
    pub(super) address: Option<SocketAddr>,
    /// Modtape's own connections, where rules of the firewall may redirect them.
    pub(super) sockets: OwnSockets,
    pub(super) go: GoFacts,
    /// A message for the time when other terminals can find this recorder.
    pub(super) greeting: Option<String>,
    /// The token that clients must send, if one is required.
    pub(super) token: Option<Token>,
    /// Where metrics are scraped, until [`Self::measure`] takes it.
    scrapes: Option<Scrapes>,
    listeners: Listeners,
    limits: ProcessLimits,
    private: Option<PrivateDir>,
    command: Vec<OsString>,
    folder: Option<PathBuf>,
    way: Way,
    run: RunArgs,
    log: Log,
}

/// What differs between recording and replaying.
pub(super) struct Parts {
    /// The recording's name.
    pub(super) name: String,
    /// The recording's folder.
    pub(super) folder: PathBuf,
    pub(super) policy: Policy,
    pub(super) responder: Responder,
    pub(super) recorder: Option<Recorder>,
    pub(super) capture: Option<Capture>,
    /// The module proxy that it is, where it is no proxy.
    pub(super) gateway: Option<Gateway>,
    /// Receives TLS secrets; usually it drops them.
    pub(super) key_log: Arc<dyn rustls::KeyLog>,
    pub(super) redactor: Redactor,
    pub(super) bases: Vec<Base>,
    pub(super) deadlines: Deadlines,
    /// Counts what passes, with `--metrics`.
    pub(super) metrics: Option<Metrics>,
}

/// Whom a command's requests go to, as far as it is known before.
pub(super) struct Known<'a> {
    /// The command's GOPROXY.
    pub(super) goproxy: GoProxy,
    /// The places of GOPROXY and GOSUMDB.
    pub(super) bases: &'a [Base],
    pub(super) policy: &'a Policy,
}

/// Metrics, and the thread that answers scrapes of them until this is dropped.
pub(super) struct Measuring {
    pub(super) metrics: Metrics,
    _scraping: Scraping,
}

/// The recording's folder, absolute.
fn folder_of(parts: &Parts) -> PathBuf {
    std::path::absolute(&parts.folder).unwrap_or_else(|_| parts.folder.clone())
}

/// What makes a command trust us.
struct Trust {
    bundle: Bundle,
    leafs: Leafs,
}

/// Sockets that send something to other commands.
struct Sockets {
    /// The token, if there is one.
    token: Option<Socket>,
    /// What the session waits for.
    status: Option<Socket>,
}

/// How a session ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The command's exit code; `None` without a command.
    pub(super) code: Option<i32>,
    /// What interrupted it, and the requests that were in flight then.
    pub(super) left_over: LeftOver,
    /// From the start of the session to the command's end, microseconds.
    pub(super) wall_us: u64,
    /// The command's own GOPATH and module cache, if it had some: it is removed when this is dropped.
    pub(super) private: Option<PrivateDir>,
    /// What became of its packets, if it ran in a network namespace.
    pub(super) packets: Option<Packets>,
}

impl Outcome {
    /// The exit code of modtape: the command's, or 124 if `--timeout` ended a session without a
    /// command.
    pub(super) fn exit_code(&self) -> Option<i32> {
        let timed_out = self.left_over.interruption == Some(Interruption::Timeout);
        self.code.or_else(|| timed_out.then_some(TIMED_OUT))
    }
}

/// The exit code of timeout(1), which is also that of a command that `--timeout` ended.
const TIMED_OUT: i32 = 124;

impl Session {
    /// Binds the listener, reads the roots and asks the go command for its settings. Invalid
    /// settings fail here, before anything is written.
    pub(super) async fn open(
        run: &RunArgs,
        command: &[OsString],
        extra_roots: Vec<PathBuf>,
        purpose: Purpose<'_>,
    ) -> Result<Self, Failure> {
        let token = token::required(run)?;
        let variables = Variables::read();
        let roots = Roots::load(&RootSources {
            file: variables.ssl_cert_file.clone(),
            dirs: variables.ssl_cert_dir.clone(),
            extra: extra_roots,
        })?;
        let listeners = Listeners::bind(run)?;
        let scrapes = metrics::bind(&run.metrics)?;
        let program = command.first().map(OsString::as_os_str);
        if let (Some(program), Some(path)) = (program, &variables.path) {
            child::look_up(program, path).map_err(not_run)?;
        }
        let go = match child::go_for(program, variables.path.as_ref()) {
            Some(go) => {
                let folder = child::folder_of(command);
                GoFacts::ask(&go, folder.as_deref(), variables.go("GOTOOLCHAIN")).await
            }
            None => GoFacts::defaults(String::from("there is no go command on the PATH")),
        };
        let way = Way::of(run, &go, &variables, purpose)?;
        // A gateway for containers runs where no go is.
        let go = match way.mode.is_gateway() {
            true => go.or_by_environment(&variables.go),
            false => go,
        };
        // A gateway lends its clients the user's credentials. A command gets the token in its GOPROXY, unasked.
        let is_open = way.mode.is_gateway() && token.is_none() && !run.token_is_given;
        let token = match is_open && !command.is_empty() {
            true => Some(Token::random()),
            false => token,
        };
        let limits = ProcessLimits::now();
        limits.raise_descriptors();
        let (parent, outer_span) = span_in(variables.traceparent.as_deref());
        Ok(Self {
            clock: Clock::start(),
            limits,
            parent,
            outer_span,
            address: listeners.addresses().first().copied(),
            listeners,
            sockets: match run.mode.is_transparent() {
                true => OwnSockets::followed(),
                false => OwnSockets::default(),
            },
            roots,
            go,
            variables,
            greeting: None,
            token,
            scrapes,
            private: None,
            folder: None,
            command: command.to_vec(),
            way,
            run: run.clone(),
            log: Log::default(),
        })
    }

    /// How the command's requests reach this recorder: never [`Mode::Auto`].
    pub(super) const fn mode(&self) -> Mode {
        self.way.mode
    }

    /// Counts from now on, with `--metrics`, and answers scrapes.
    pub(super) fn measure(
        &mut self,
        known: Known<'_>,
        global: &Global,
    ) -> anyhow::Result<Option<Measuring>> {
        let Some(scrapes) = self.scrapes.take() else {
            return Ok(None);
        };
        let bases = known.bases.iter().map(Base::host_name);
        let intercepted = known.policy.intercepted().map(String::as_str);
        let metrics = Metrics::new(telemetry::metrics::Setup {
            clock: self.clock,
            hosts: bases.chain(intercepted).map(str::to_owned).collect(),
            goproxy: known.goproxy,
        });
        let scraping = metrics::answer(scrapes, metrics.clone(), global)?;
        Ok(Some(Measuring {
            metrics,
            _scraping: scraping,
        }))
    }

    /// Gives the command a GOPATH and module cache of its own.
    pub(super) fn isolate(&mut self) -> anyhow::Result<()> {
        let parent = std::env::temp_dir();
        let private = PrivateDir::new(&parent);
        let message = || format!("cannot make a private GOPATH in {}", parent.display());
        self.private = Some(private.with_context(message)?);
        Ok(())
    }

    /// The redactor, which also hides the token, and secrets in the paths of the user's own module
    /// proxies.
    pub(super) fn knowing(&self, redactor: Redactor, command: &[OsString]) -> Redactor {
        let redactor = match &self.token {
            Some(token) => redactor.knowing(token.secret()),
            None => redactor,
        };
        let [goproxy, gosumdb] = ["GOPROXY", "GOSUMDB"].map(|name| self.go.get(name));
        let settings = [goproxy, gosumdb, self.variables.go("GOPROXY")];
        let redactor = settings
            .into_iter()
            .fold(redactor, |known, urls| known.knowing_bases(urls));
        // `env GOPROXY=… go …`
        let words = command.iter().map(|word| word.to_string_lossy());
        words.fold(redactor, |redactor, word| {
            match word.split_once("GOPROXY=") {
                Some((_, urls)) => redactor.knowing_bases(urls),
                None => redactor,
            }
        })
    }

    /// What the command works on, if there is a command.
    pub(super) fn main_module(&self) -> Option<MainModule> {
        let folder = self.folder.as_deref();
        self.command.first()?;
        child::main_module(&self.command, &self.go, folder)
    }

    /// What of this machine a command with these settings of go reaches; `None` if its loopback is that of
    /// this machine.
    pub(super) fn exposed(&self, settings: &[(String, String)]) -> Option<Exposed> {
        let set = settings.iter().filter(|(name, _)| name == "GOPROXY");
        let set = set.map(|(_, value)| value.as_str());
        // Where no go command is known, there may be one in what the command starts.
        let own = [self.go.get("GOPROXY"), self.variables.go("GOPROXY")];
        let goproxy: Vec<&str> = set.chain(own).collect();
        let named = &self.run.host_port;
        let exposed = || namespace::exposed(&goproxy, named);
        self.run.netns.then(exposed)
    }

    /// Where log lines go: without a command, SIGHUP may begin the file anew.
    pub(super) fn logs_to(&mut self, log: Log) {
        self.log = log;
    }

    /// Runs the command in this folder instead of the current one.
    pub(super) fn run_in(&mut self, folder: PathBuf) {
        self.folder = Some(folder);
    }

    /// Serves until the command ends; without a command, until a signal.
    pub(super) async fn serve(
        self,
        mut parts: Parts,
        settings: Vec<(String, String)>,
        global: &Global,
        console: Console,
    ) -> Result<Outcome, Failure> {
        // No key is in memory yet.
        child::guard_memory();
        let lifetime = lifetime(self.command.is_empty(), self.run.timeout);
        let own = running::folder()?;
        let own = Own::make(&own).with_context(|| format!("cannot use {}", own.display()))?;
        let trust = match &parts.gateway {
            None => Some(self.trust(&parts, &own, lifetime)?),
            Some(_) => None,
        };
        let here = self.address.map(token::on_this_machine);
        let bare = here.map_or_else(String::new, |here| format!("http://{here}"));
        let token = self.token.as_ref().map(Token::secret);
        let gateway = parts.gateway.as_ref();
        let on_path = token::on_path(&bare, token);
        let gosumdb = gateway.and_then(|gateway| gateway.gosumdb(&on_path));
        let no_proxy = here
            .and_then(|here| child::past_proxies(&self.variables.no_proxy, &here.ip().to_string()));
        let url = match gateway {
            Some(gateway) => gateway.goproxy(&on_path),
            None => token.map_or_else(|| bare.clone(), |token| token::with_token(&bare, token)),
        };
        // Before the recorder is announced: from then on a signal may come.
        let signals = self.command.is_empty().then(Signals::listen_to_all);
        let signals = signals.transpose()?;
        let asks = StatusSignals::listen()?;
        let sockets = self.sockets(&own, global);
        let announcement = self.announce(&own, &parts, &bare, &sockets, trust.as_ref());
        if let Err(error) = &announcement {
            warn(
                global,
                format!("`modtape env` cannot find this recorder: {error:#}"),
            );
        }
        let line = self.way.line(global.verbose > 0);
        if let Some(line) = line.filter(|_| !self.run.netns) {
            say(global, line);
        }
        if let Some(greeting) = &self.greeting {
            say(global, greeting);
        }
        let name = parts.name.clone();
        let recorder = parts.recorder.clone();
        let watch = Watch::new(self.clock, self.address, parts.redactor.clone());
        let session = self.id(&parts);
        let places = self.places(&parts.responder);
        let (bundle, leafs) = trust.map(|trust| (trust.bundle, trust.leafs)).unzip();
        let entrance = match parts.gateway.take() {
            Some(gateway) => Entrance::Gateway(Arc::new(gateway)),
            None => self.entrance(),
        };
        let is_redirected = self.run.mode.is_transparent();
        let context = self.context(parts, leafs);
        let live = context.live.clone();
        if let Some(metrics) = &context.metrics {
            context.expose(metrics);
        }
        let stalls = Stalls::of(&context, console.limits());
        let status = StatusSource {
            session,
            live: live.clone(),
            bases: Arc::clone(&context.bases),
            limits: console.limits(),
            processes: watch.latest(),
        };
        // Ended when dropped.
        let _answering = self.answer(sockets, &status);
        let exposed = self.exposed(&settings);
        let mut serving = tokio::task::JoinSet::new();
        let mut listeners = self.listeners.into_iter();
        // With --netns, clients connect inside.
        if let Some(first) = listeners.next() {
            let proxy = Proxy::new(first, Arc::clone(&context), entrance).and_at(listeners);
            serving.spawn(proxy.with_places(places).run());
        }

        let traceparent = self.parent.to_string();
        let way = match &bundle {
            Some(bundle) if is_redirected || self.run.netns => WayIn::Redirected {
                bundle: bundle.path(),
            },
            Some(bundle) => WayIn::Proxy {
                url: &url,
                bundle: bundle.path(),
            },
            None => WayIn::Gateway {
                goproxy: &url,
                gosumdb: gosumdb.as_deref(),
                no_proxy: no_proxy.as_deref(),
            },
        };
        let mut environment = Environment::through(&child::Recorder {
            way,
            name: &name,
            pid: std::process::id(),
            traceparent: &traceparent,
        });
        let given = self.variables.traceparent.as_deref();
        if given.and_then(TraceParent::parse).is_none() {
            // It belongs to a trace that the command is no part of (W3C Trace Context, section 3.3).
            environment.unset.push(String::from("TRACESTATE"));
        }
        // The recorded GOPROXY is what a gateway stands for, and so is a GOSUMDB with a URL.
        let is_ours = |name: &str| match name {
            "GOPROXY" => bundle.is_none(),
            "GOSUMDB" => gosumdb.is_some(),
            _ => false,
        };
        for (name, value) in settings.iter().filter(|(name, _)| !is_ours(name)) {
            environment.set(name, value);
        }
        if let Some(private) = &self.private {
            child::private_go_dirs(&mut environment, private.path(), &self.go.settings);
        }
        let wraps = !self.command.is_empty();
        let (mut argv, mut entering) = (self.command, None);
        if let Some(exposed) = exposed {
            let prepared = Entering::prepare(own.path(), argv, exposed)?;
            (argv, entering) = (prepared.1, Some(prepared.0));
        }
        let command = child::Command {
            argv,
            folder: self.folder,
            environment,
            timeout: self.run.timeout,
            limits: self.limits,
        };
        let log = self.log;
        let reopens = || {
            let (log, global) = (log.clone(), global.clone());
            // It may block; the traffic does not wait for it, and neither does the end.
            drop(tokio::task::spawn_blocking(move || match log.reopen() {
                Ok(path) => say(
                    &global,
                    format!("modtape: SIGHUP: {} is opened again", path.display()),
                ),
                Err(error) => {
                    let why = anyhow!(error);
                    warn(&global, format!("{why:#}; log lines go where they went"));
                }
            }));
        };
        let reopens = log.has_file().then_some(&reopens as &(dyn Fn() + Sync));
        // A terminal sends SIGHUP when it goes away.
        let reopens = reopens.filter(|_| std::fs::File::open("/dev/tty").is_err());
        let inside = OnceLock::new();
        let mut entering = Box::pin(Entering::enter(entering, &context, places, &inside));
        let mut outcome = tokio::select! {
            outcome = until_end(&command, signals, &live, self.clock, &reopens) => outcome,
            Some(failure) = &mut entering => Err(failure),
            never = console.watch(stalls, asks, &status) => match never {},
            never = outlived(global, lifetime), if bundle.is_some() => match never {},
            // Without a command whatever is started in a shell that has our variables would be looked at.
            never = watch.run(quiet(live.clone()), |at, sample| {
                if let Some(recorder) = &recorder {
                    recorder.note(at, &Event::Sample(sample));
                }
            }), if wraps => match never {},
        };
        let ended_itself = |outcome: &Outcome| outcome.left_over.interruption.is_none();
        if self.run.netns && inside.get().is_none() && outcome.as_ref().is_ok_and(ended_itself) {
            // The process ended before it was the command, and says why; or the command was faster than the
            // news of it.
            if let Ok(Some(failure)) = tokio::time::timeout(LAST_WORD, &mut entering).await {
                outcome = Err(failure);
            }
        }
        drop(entering);
        if let Ok(outcome) = &mut outcome {
            outcome.private = self.private;
            outcome.packets = inside.get().and_then(Entered::packets);
        }
        drop(recorder);
        if global.quiet {
            warn_timeout(global, &outcome, command.timeout);
        }
        context.stop.cancel();
        let access = context.access.clone();
        drop(context);
        serving.join_all().await;
        if let Some(inside) = inside.into_inner() {
            inside.end().await;
        }
        drop(announcement);
        if access.refused() > 0 {
            let refused = count(access.refused(), "request");
            let status = access.status().as_u16();
            warn(
                global,
                format!("{refused} refused with {status}: no valid token"),
            );
        }
        outcome
    }

    /// The gateway to these settings of go, if there is to be one; with the user's credentials if it `dials`.
    pub(super) fn gateway(
        &self,
        goproxy: &str,
        gosumdb: &str,
        dials: bool,
    ) -> Result<Option<Gateway>, Failure> {
        if !self.mode().is_gateway() {
            return Ok(None);
        }
        let usage = |error| Failure::new(USAGE, error);
        let front = Front::new(goproxy, gosumdb);
        if front.is_empty() {
            let goproxy = Redactor::new(tls::random()).go_setting("GOPROXY", goproxy);
            let message = anyhow!("GOPROXY={goproxy} has no module proxy that a gateway could be");
            return Err::<_, _>(message)
                .help("--mode mitm sees what comes straight from repositories")
                .map_err(usage);
        }
        let auth = match dials {
            true => self.go_auth().map_err(usage)?,
            false => GoAuth::off(),
        };
        Ok(Some(Gateway::new(front, auth, self.token.is_some())))
    }

    /// The credentials that go would send.
    fn go_auth(&self) -> anyhow::Result<GoAuth> {
        let netrc = self.variables.read_netrc();
        let known = self.go.settings.get("GOAUTH").map(String::as_str);
        let auth = match known {
            // Go before 1.24 knows no such setting.
            None if self.go.defaults_because.is_none() => GoAuth::of_netrc(netrc),
            None | Some("") => GoAuth::parse("netrc", netrc)?,
            Some(value) => GoAuth::parse(value, netrc)?,
        };
        let auth = auth.running_in(self.folder.clone());
        Ok(auth.with_environment(self.variables.silent_git()))
    }

    /// A root for this run, and the bundle that has it.
    fn trust(&self, parts: &Parts, own: &Own, lifetime: Duration) -> anyhow::Result<Trust> {
        let authority = self.authority(&parts.policy, lifetime)?;
        let bundle = Bundle::write(own.path(), self.roots.certificates(), authority.root());
        let bundle = bundle.with_context(|| format!("cannot write {}", own.path().display()))?;
        let leafs = Leafs::new(authority)?.logging_keys(Arc::clone(&parts.key_log));
        Ok(Trust { bundle, leafs })
    }

    /// What its clients speak, where it is no module proxy.
    fn entrance(&self) -> Entrance {
        if !self.run.mode.is_transparent() {
            return Entrance::Proxy;
        }
        let redirection = Redirection::new(self.listeners.addresses(), self.sockets.clone());
        let redirection = redirection.with_clients_from(self.run.from.clone());
        Entrance::Redirected(Arc::new(redirection))
    }

    /// What its clients connect to, without knowing it, if the kernel redirects them.
    pub(super) fn redirected(&self) -> Option<Redirected> {
        self.run.mode.is_transparent().then(|| Redirected {
            listeners: self.listeners.addresses(),
            from: self.run.from.clone(),
            uid: rustix::process::geteuid().as_raw(),
            marks: self.sockets.are_marked(),
        })
    }

    /// All addresses where clients connect.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// How many clients are served at once.
    fn places(&self, responder: &Responder) -> usize {
        let legs = match responder {
            Responder::Upstream(_) => 2,
            Responder::Replay(_) => 1,
            // To the client, to ourselves and from there on.
            Responder::Fill(_) => 3,
        };
        let pooled = match (self.mode().is_gateway(), responder) {
            (true, Responder::Upstream(_)) => crate::proxy::IDLE_MOST as u64,
            _ => 0,
        };
        self.limits.clients(legs, writer::most_open() + pooled)
    }

    fn authority(
        &self,
        policy: &Policy,
        lifetime: Duration,
    ) -> anyhow::Result<CertificateAuthority> {
        let hosts = policy.intercepted().cloned().collect();
        let scope = if policy.intercept_all {
            Scope::AllNames(hosts)
        } else {
            Scope::Hosts(hosts)
        };
        let now = self.clock.wall_start();
        Ok(CertificateAuthority::new(&scope, now, lifetime)?)
    }

    /// Who this session is, for those who look at it from outside.
    fn id(&self, parts: &Parts) -> SessionId {
        SessionId {
            recording: parts.name.clone(),
            path: folder_of(parts).display().to_string(),
            verb: match parts.responder {
                Responder::Upstream(_) => Verb::Record,
                Responder::Replay(_) | Responder::Fill(_) => Verb::Replay,
            },
            pid: Some(std::process::id()),
            command: parts.redactor.argv(&self.command),
        }
    }

    /// The sockets that other commands read from.
    fn sockets(&self, own: &Own, global: &Global) -> Sockets {
        let open = |name: &str, what: &str| {
            let opened = Socket::open(own.path(), name);
            opened.map_err(|error| format!("{what}: {error}"))
        };
        let token = self.token.as_ref();
        Sockets {
            token: token.and_then(|_| {
                let opened = open("token", "`modtape env` cannot print the token");
                opened.map_err(|why| warn(global, why)).ok()
            }),
            status: open(
                "status",
                "`modtape status` knows only what the journal says",
            )
            .map_err(|why| tracing::info!("{why}"))
            .ok(),
        }
    }

    /// The tasks that answer on the sockets.
    fn answer(&self, sockets: Sockets, status: &StatusSource) -> tokio::task::JoinSet<()> {
        let mut tasks = tokio::task::JoinSet::new();
        if let (Some(socket), Some(token)) = (sockets.token, self.token.clone()) {
            let text = move || std::future::ready(token.secret().as_bytes().to_vec());
            tasks.spawn(socket.run(text));
        }
        if let Some(socket) = sockets.status {
            let status = status.clone();
            let text = move || {
                let status = status.clone();
                async move { serde_json::to_vec(&status.now().await).unwrap_or_default() }
            };
            tasks.spawn(socket.run(text));
        }
        tasks
    }

    fn announce(
        &self,
        own: &Own,
        parts: &Parts,
        proxy: &str,
        sockets: &Sockets,
        trust: Option<&Trust>,
    ) -> anyhow::Result<Announcement> {
        let path = |socket: &Option<Socket>| Some(socket.as_ref()?.path().to_owned());
        let since = self
            .clock
            .wall_start()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let running = Running {
            pid: std::process::id(),
            name: parts.name.clone(),
            recording: folder_of(parts),
            proxy: proxy.to_owned(),
            token: path(&sockets.token),
            status: path(&sockets.status),
            bundle: trust.map(|trust| trust.bundle.path().to_owned()),
            goproxy: parts.gateway.as_ref().map(|gateway| gateway.goproxy(proxy)),
            gosumdb: parts
                .gateway
                .as_ref()
                .and_then(|gateway| gateway.gosumdb(proxy)),
            intercepted: if parts.policy.intercept_all {
                Vec::new()
            } else {
                parts.policy.intercepted().cloned().collect()
            },
            traceparent: self.parent.to_string(),
            wraps: !self.command.is_empty(),
            serves: false,
            redirected: self.redirected(),
            started_unix_us: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
        };
        running::sweep(&running::folder()?);
        Ok(Announcement::write(own, &running)?)
    }

    fn context(&self, parts: Parts, leafs: Option<Leafs>) -> Arc<Context> {
        Arc::new(Context {
            clock: self.clock,
            deadlines: parts.deadlines,
            access: match self.token.clone() {
                None => Access::open(),
                Some(token) if leafs.is_none() => Access::on_path(token),
                Some(token) => Access::with(token),
            },
            policy: parts.policy,
            leafs,
            responder: parts.responder,
            repositories: Repositories::new(self.variables.path.clone(), std::env::temp_dir()),
            recorder: parts.recorder,
            capture: parts.capture,
            redactor: parts.redactor,
            live: Live::new(self.clock),
            metrics: parts.metrics,
            bases: parts.bases.into(),
            windows: Windows::default(),
            trace: self.parent.trace,
            trace_flags: self.parent.flags,
            spans: RandomState::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            drained: CancellationToken::new(),
            next_exchange: AtomicU64::new(0),
            next_connection: AtomicU64::new(0),
        })
    }
}

/// How long a process that ended before it was the command is listened to.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Says, also with `--quiet`, that `--timeout` ended the run.
fn warn_timeout(global: &Global, outcome: &Result<Outcome, Failure>, timeout: Option<Duration>) {
    let Ok(outcome) = outcome else { return };
    if let Some(by @ Interruption::Timeout) = outcome.left_over.interruption {
        let by = in_words(by, timeout);
        let requests = count(outcome.left_over.in_flight.len() as u64, "request");
        warn(global, format!("ended by {by}, with {requests} in flight"));
    }
}

/// The lifetime of the authority with a wrapped command, unless `--timeout` lets it run longer.
const LIFETIME_OF_A_COMMAND: Duration = Duration::from_secs(24 * 3600);

/// The lifetime of the authority without a command, for clients in other terminals.
const LIFETIME_WITHOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest lifetime, whatever `--timeout` says.
const LIFETIME_AT_MOST: Duration = Duration::from_secs(90 * 24 * 3600);

/// The lifetime of the authority: not shorter than the run may take.
fn lifetime(is_alone: bool, timeout: Option<Duration>) -> Duration {
    let usual = if is_alone {
        LIFETIME_WITHOUT
    } else {
        LIFETIME_OF_A_COMMAND
    };
    timeout.map_or(usual, |timeout| timeout.clamp(usual, LIFETIME_AT_MOST))
}

/// Says when a run outlives its authority: clients would only report an invalid certificate.
async fn outlived(global: &Global, lifetime: Duration) -> Infallible {
    tokio::time::sleep(lifetime).await;
    let hours = lifetime.as_secs() / 3600;
    warn(
        global,
        format!(
            "this run's root certificate has expired after {hours} h: clients will trust no new \
             connection; start again, with --timeout for a longer run"
        ),
    );
    std::future::pending().await
}

/// A request that has brought nothing for so long leaves the command as idle as none does.
const SILENCE: Duration = Duration::from_secs(1);

/// Tells, each time that it is called, whether the command's processes are worth a look: since the
/// last call there was no request in flight, or one is silent.
fn quiet(live: Live) -> impl FnMut() -> bool {
    let mut begun = None;
    move || {
        let activity = live.activity(SILENCE);
        let was_idle = activity.in_flight == 0 && begun == Some(activity.begun);
        begun = Some(activity.begun);
        was_idle || activity.is_silent
    }
}

/// Runs the command; without a command, waits for a signal.
async fn until_end(
    command: &child::Command,
    signals: Option<Signals>,
    live: &Live,
    clock: Clock,
    reopens: &Option<&(dyn Fn() + Sync)>,
) -> Result<Outcome, Failure> {
    let mut left_over = LeftOver::default();
    // The clients of a recorder without a command run in other terminals, and get no signal.
    let clients_hear = signals.is_none();
    let mut interrupted = |by: Interruption| {
        left_over = LeftOver {
            in_flight: live.cut_off_by(&in_words(by, command.timeout), clients_hear),
            at: live.now(),
            interruption: Some(by),
        };
    };
    let code = if let Some(signals) = signals {
        let interruption = interruption(signals, command.timeout, *reopens).await;
        interrupted(interruption);
        None
    } else {
        let end = child::run(command, &mut interrupted).await;
        let end = end.map_err(not_run)?;
        left_over.interruption = end.interruption;
        Some(end.code)
    };
    Ok(Outcome {
        code,
        left_over,
        wall_us: clock.now().as_micros(),
        private: None,
        packets: None,
    })
}

/// The text for what ended a session early: `--timeout 6s`, `Ctrl-C`.
fn in_words(by: Interruption, timeout: Option<Duration>) -> String {
    match (by, timeout) {
        (Interruption::Interrupt, _) => String::from("Ctrl-C"),
        (Interruption::Terminate, _) => String::from("a signal"),
        (Interruption::Timeout, Some(timeout)) => format!("--timeout {timeout:?}"),
        (Interruption::Timeout, None) => String::from("--timeout"),
    }
}

/// The exit codes of GNU env(1).
pub(super) fn not_run(error: SpawnError) -> Failure {
    let code = match &error {
        SpawnError::NotFound { .. } | SpawnError::NoInterpreter { .. } => 127,
        SpawnError::NotExecutable { .. } => 126,
        SpawnError::Signals(_) => 125,
    };
    Failure::new(code, anyhow!(error))
}

/// Waits for what ends a session without a command. SIGHUP does not where it `reopens` the log.
async fn interruption(
    mut signals: Signals,
    timeout: Option<Duration>,
    reopens: Option<&(dyn Fn() + Sync)>,
) -> Interruption {
    let timed_out = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let signalled = async {
        loop {
            let heard = signals.next().await;
            match reopens.filter(|_| heard.signal == rustix::process::Signal::HUP) {
                Some(reopens) => reopens(),
                None => return heard.what,
            }
        }
    };
    tokio::select! {
        interruption = signalled => interruption,
        () = timed_out => Interruption::Timeout,
    }
}

/// A new span of the trace that we are part of, or of a new one; and the span in TRACEPARENT.
fn span_in(traceparent: Option<&str>) -> (TraceParent, Option<SpanId>) {
    let given = traceparent.and_then(TraceParent::parse);
    if let (None, Some(text)) = (given, traceparent) {
        // Without the value, which may be a secret by mistake.
        tracing::debug!(target: "modtape::connection", bytes = text.len(), "ignoring an invalid TRACEPARENT");
    }
    let own = TraceParent {
        trace: given.map_or_else(|| Hex(tls::random()), |given| given.trace),
        span: Hex(tls::random()),
        flags: given.map_or(TraceFlags::SAMPLED, |given| given.flags),
    };
    (own, given.map(|given| given.span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued_and_a_malformed_one_ignored() {
        let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (ours, outer) = span_in(Some(given));
        assert_eq!(ours.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(outer.expect("it is given").to_string(), "b7ad6b7169203331");
        assert_ne!(Some(ours.span), outer);
        assert_ne!(span_in(Some("00")).0.trace, span_in(None).0.trace);
        assert_eq!(span_in(Some("00")).1, None);
    }
}
