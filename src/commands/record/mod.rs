//! `modtape record`: runs a command, records what it fetches, and says where the time went.

mod direct;
mod setup;
mod writing;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::{KeyLog, NoKeyLog};

use super::dialling::{self, LIMITS};
use super::failure::{Failure, USAGE, exit_code};
use super::naming::Naming;
use super::otlp::AfterCommand;
use super::runtime::block_on;
use super::seal::seal;
use super::session::{Known, Parts, Purpose, Session, running};
use crate::capture::KeyLogs;
use crate::child::is_go;
use crate::cli::{Global, Mode, RecordArgs, SealArgs};
use crate::diagnose::stuck;
use crate::exchange::field;
use crate::gomod::{self, GoProxy};
use crate::proxy::{Deadlines, Policy, Responder};
use crate::recording::Recording;
use crate::redact::Redactor;
use crate::telemetry::Log;
use crate::terminal::Console;
use crate::terminal::{say, warn};
use crate::tls::{self, ClientConfigs};
use crate::upstream::{self, Dialer};

pub(super) use setup::{FACTS, TOOL, TargetFlags, open};
pub(super) use writing::dumb_repositories;
use writing::{Closed, INCOMPLETE, Writing};

/// What is a stall, and what modtape gives up by itself.
fn stall_limits(args: &RecordArgs) -> stuck::Limits {
    let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    stuck::Limits {
        stall_us: us(args.upstream.stall_after),
        connect_us: us(LIMITS.connect),
        tls_us: us(LIMITS.tls),
        idle_us: args.upstream.upstream_idle_timeout.map(us),
    }
}

/// Runs the verb.
pub(super) fn run(args: &RecordArgs, global: &Global, log: &Log) -> Result<ExitCode, Failure> {
    let usage = |error| Failure::new(USAGE, error);
    let flags = TargetFlags::parse(args).map_err(usage)?;
    let naming = Naming::of(args, global).map_err(usage)?;
    let traces = AfterCommand::of(&args.otlp, global)?;
    let context = RunContext {
        log: log.clone(),
        ..RunContext::default()
    };
    let recording = record(args, global, flags, naming, context);
    let closed = block_on(recording)??;
    let mut outcome = Ok(());
    if let (true, Some(0), Some(recording)) = (args.seal, closed.exit_code, &closed.recording) {
        let sealing = sealing(args);
        let sealed = seal(recording.dir(), &sealing, global);
        // The command's own end is not that of the recording.
        outcome = sealed
            .map(drop)
            .map_err(|failure| Failure::new(INCOMPLETE, failure.error));
    }
    if let (Some(traces), Some(recording)) = (traces, &closed.recording) {
        traces.send(recording.dir(), global);
    }
    outcome?;
    Ok(exit_code(closed.exit_code.unwrap_or(0)))
}

/// How what was recorded is sealed.
fn sealing(args: &RecordArgs) -> SealArgs {
    SealArgs {
        name: String::new(),
        all: false,
        json: false,
        dial: args.upstream.dial.clone(),
        upstream_idle_timeout: args.upstream.upstream_idle_timeout,
    }
}

/// What a command runs in, where that is not the user's folder and environment.
#[derive(Debug, Default)]
pub(super) struct RunContext {
    /// The command's folder.
    pub(super) folder: Option<PathBuf>,
    /// Variables that the command gets on top of the user's.
    pub(super) settings: Vec<(String, String)>,
    /// Where log lines go.
    pub(super) log: Log,
    /// Whether the origin is gone afterwards, so that a rerun could not use the same flags.
    pub(super) is_one_off: bool,
}

/// Records a command.
pub(super) async fn record(
    args: &RecordArgs,
    global: &Global,
    flags: TargetFlags,
    naming: Naming,
    context: RunContext,
) -> Result<Closed, Failure> {
    let extra_roots = args.upstream.dial.upstream_ca.clone();
    let intercepts = args.intercept_all || !flags.intercept.is_empty() || !flags.tunnel.is_empty();
    let purpose = Purpose::Recording { intercepts };
    let mut session = Session::open(&args.run, &args.command, extra_roots, purpose).await?;
    if let Some(folder) = context.folder {
        session.run_in(folder);
    }
    session.logs_to(context.log);
    if args.cold {
        session.isolate()?;
    }
    let reach = setup::reach(&session, &flags, &context.settings);
    let parents = dialling::parents(&args.upstream.dial, &session.variables);
    let parents = parents.map_err(|error| Failure::new(USAGE, error))?;
    let key_log = setup::key_log(args, &session, global)?;
    let gateway = session.gateway(session.go.get("GOPROXY"), session.go.get("GOSUMDB"), true)?;
    let mut policy = match &gateway {
        Some(_) => Policy::none(),
        None => setup::policy(args, &session, flags.intercept, flags.tunnel),
    };
    policy.propagation = flags.propagation;
    if gateway.is_none()
        && let Some(hosts) = setup::out_of_sight(&policy)
    {
        let what = "their requests over https pass unseen and get no ids";
        warn(
            global,
            format!("--propagate {hosts}: {what}; add --intercept {hosts}"),
        );
    }
    let redactor = match args.no_redact {
        true => Redactor::off(),
        false => Redactor::new(tls::random()),
    };
    let redactor = session.knowing(redactor, &args.command);
    let mut defaults = Defaults::of(&session, &redactor);
    if args.command.first().is_none_or(|program| is_go(program)) {
        defaults.announce(global);
    }
    announce_options(args, global, &session);
    let mut manifest = setup::manifest(args, &session, &redactor, &policy);
    if context.is_one_off {
        manifest.options.clear();
    }
    let bases = gomod::bases(&manifest.go_env);
    let known = Known {
        goproxy: GoProxy::parse(session.go.get("GOPROXY")),
        bases: &bases,
        policy: &policy,
    };
    // Scrapes are answered until the recording is closed.
    let measuring = session.measure(known, global)?;
    let writing = Writing::begin(args, &session, naming, manifest)?;
    let capture = writing.capture.clone();
    let key_log: Arc<dyn KeyLog> = match (&capture, key_log) {
        (None, None) => Arc::new(NoKeyLog),
        (_, file) => Arc::new(KeyLogs::new(capture.clone(), file)),
    };
    let dialer = Dialer::new(upstream::Settings {
        clock: session.clock,
        limits: LIMITS,
        tls: ClientConfigs::new(&session.roots).logging_keys(Arc::clone(&key_log)),
        parents,
        overrides: flags.overrides,
        reach,
        sockets: session.sockets.clone(),
    });
    let dialer = dialer.capturing(capture.clone());
    if args.command.is_empty() {
        session.greeting = listening(&session, writing.folder());
    }
    let parts = Parts {
        name: writing.name(),
        folder: writing.folder().to_owned(),
        policy,
        responder: Responder::Upstream(dialer),
        recorder: Some(writing.recorder.clone()),
        capture,
        gateway,
        key_log,
        redactor,
        bases,
        deadlines: Deadlines {
            upstream_idle: args.upstream.upstream_idle_timeout,
            ..Deadlines::default()
        },
        metrics: measuring.as_ref().map(|it| it.metrics.clone()),
    };
    let console = Console::new(global, stall_limits(args));
    let served = session
        .serve(parts, context.settings, global, console)
        .await;
    let closed = writing.close(args, global, served).await?;
    if closed.recording.as_ref().is_some_and(is_asked_by_go) {
        defaults.announce(global);
    }
    Ok(closed)
}

/// Why Go's default settings are used, until that is said.
struct Defaults {
    why: Option<String>,
    has_goproxy: bool,
}

impl Defaults {
    fn of(session: &Session, redactor: &Redactor) -> Self {
        let why = session.go.defaults_because.as_deref();
        Self {
            why: why.map(|why| redactor.text(why)),
            has_goproxy: session.go.get("GOPROXY") == session.variables.go("GOPROXY"),
        }
    }

    /// Says so, once: at the start for a go command, and where there is no command; for another
    /// command once a Go program has sent requests. Other programs do not use Go's settings.
    fn announce(&mut self, global: &Global) {
        if let Some(why) = self.why.take() {
            let message = match self.has_goproxy {
                true => "using GOPROXY and GOSUMDB of the environment, or Go's defaults",
                false => "using Go's default GOPROXY and GOSUMDB",
            };
            say(global, format!("modtape: {why}; {message}"));
        }
    }
}

/// Whether any request came from Go's HTTP client: cmd/go keeps its user agent.
fn is_asked_by_go(recording: &Recording) -> bool {
    let mut exchanges = recording.rows().iter().map(|row| recording.exchange(row));
    exchanges.any(|exchange| {
        let agent = exchange.ok();
        let agent = agent.and_then(|it| Some(field(&it.begin.headers, "user-agent")?.into_owned()));
        agent.is_some_and(|agent| agent.starts_with("Go-http-client/"))
    })
}

fn announce_options(args: &RecordArgs, global: &Global, session: &Session) {
    if args.intercept_all {
        say(
            global,
            "modtape: --intercept-all: this run's root can sign certificates for any host name",
        );
    }
    let past = match session.mode() {
        Mode::Gateway => setup::past_gateway(session)
            .map(|past| format!("a gateway does not see {past}; --mode mitm does")),
        // Whatever a command in a namespace connects to arrives.
        _ if args.run.netns => None,
        Mode::Auto | Mode::Mitm => setup::past_proxy(session).map(|hosts| {
            format!(
                "GOPROXY is on loopback ({hosts}), which go asks past every proxy; --mode gateway sees it"
            )
        }),
        Mode::Transparent => None,
    };
    if let Some(past) = past {
        say(global, format!("modtape: {past}"));
    }
    if args.no_redact {
        say(
            global,
            "modtape: --no-redact: the recording will hold secrets in clear text",
        );
    }
    if let Some(pid) = session
        .variables
        .outer_pid
        .filter(|pid| running::with_pid(*pid).is_some())
    {
        say(
            global,
            format!(
                "modtape: running inside the recorder with pid {pid}: upstream connections go through it"
            ),
        );
    }
}

fn listening(session: &Session, dir: &std::path::Path) -> Option<String> {
    if let Some(redirected) = session.redirected() {
        let listeners = redirected.listeners.iter().map(ToString::to_string);
        return Some(format!(
            "modtape: recording to {} what is redirected to {}\n\
             modtape: rules that redirect: `modtape env --mode transparent --uid U`, for root; variables for its clients: eval \"$(modtape env)\"     end with Ctrl-C",
            dir.display(),
            listeners.collect::<Vec<_>>().join(" and "),
        ));
    }
    Some(format!(
        "modtape: recording to {} on http://{}\n\
         modtape: in another terminal: eval \"$(modtape env)\"     end with Ctrl-C",
        dir.display(),
        session.address?
    ))
}
