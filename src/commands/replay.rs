//! `modtape replay`: runs a command again with no network, from a recording.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;

use super::answers;
use super::appended_run::Locked;
use super::client::{Credentials, Outward};
use super::dialling;
use super::failure::{Advise as _, Failure, USAGE, exit_code};
use super::network::Network;
use super::record::RunContext;
use super::runtime::{Stop, block_on};
use super::selection::{defects, resolve};
use super::session::{Known, Parts, Purpose, Session};
use crate::child::{self, Remembered};
use crate::cli::{Global, OnMiss, ReplayArgs};
use crate::diagnose::rerun::{self, COLD, Rerun};
use crate::diagnose::routes::Routes;
use crate::diagnose::stuck;
use crate::exchange::{Mode, Target};
use crate::gomod::{DEFAULT_HOSTS, GoProxy, GoSumDb, Kind};
use crate::proxy::{Deadlines, Fetch, Fill, Filled, Others, Policy, Propagation, Responder};
use crate::recording::reader::ConnectionRow;
use crate::recording::{Recording, folder};
use crate::redact::Redactor;
use crate::replay::{Added, Options, Replay};
use crate::telemetry::Log;
use crate::terminal::Console;
use crate::terminal::words::count;
use crate::terminal::{Look, plain, say, summary, warn};
use crate::tls;
use crate::upstream::Exposed;

/// Runs the verb.
pub(super) fn run(args: &ReplayArgs, global: &Global, log: &Log) -> Result<ExitCode, Failure> {
    let dir = resolve(&args.name, global)?;
    let mut recording = Recording::open(&dir).map_err(anyhow::Error::new)?;
    refuse_defects(&recording, args.strict, global)?;
    // Nothing has begun: a signal may end the process.
    let _ = answers::complete_faults(&mut recording, &Stop::default(), global);
    let context = RunContext {
        log: log.clone(),
        ..RunContext::default()
    };
    let code = block_on(replay(args, global, recording, context))??;
    Ok(exit_code(code))
}

/// Unfinished, incomplete and damaged recordings replay with one warning; `--strict` refuses them.
fn refuse_defects(recording: &Recording, strict: bool, global: &Global) -> anyhow::Result<()> {
    let defects: Vec<String> = defects(recording)
        .into_iter()
        .map(|defect| defect.what)
        .collect();
    if defects.is_empty() {
        return Ok(());
    }
    let name = recording.name();
    let message = format!("{name} {}", defects.join("; it "));
    if strict {
        let message = Err(anyhow::anyhow!(message));
        return message.help("without --strict, modtape replays what was recorded");
    }
    warn(global, message);
    Ok(())
}

/// Replays, and returns the exit code that is passed on.
pub(super) async fn replay(
    args: &ReplayArgs,
    global: &Global,
    recording: Recording,
    context: RunContext,
) -> Result<i32, Failure> {
    let roots = args.dial.upstream_ca.clone();
    // What is recorded without one was asked as go has it by default.
    let recorded = (!args.keep_env).then(|| recording.manifest().go_env.get("GOPROXY"));
    let goproxy = recorded.map(|it| it.map_or("", String::as_str));
    let purpose = Purpose::Replaying { goproxy };
    let mut session = Session::open(&args.run, &args.command, roots, purpose).await?;
    // Before anything is said: nobody else may write to the recording.
    let locked = match args.on_miss {
        OnMiss::Record => Some(lock(&recording)?),
        OnMiss::Error => None,
    };
    if let Some(folder) = context.folder {
        session.run_in(folder);
    }
    session.logs_to(context.log);
    if !args.warm {
        session.isolate()?;
    }
    let name = recording.name();
    let mut settings = settings(args, global, &recording, &session);
    settings.extend(context.settings);
    let advice = advice(args, global, &recording);
    let dir = recording.dir().to_owned();
    let look = Look::of_stderr(global);
    let bases = crate::gomod::bases(&recording.manifest().go_env);
    let fills = locked.is_some();
    say(global, summary::replaying(&recording, &bases, fills, look));
    let options = Options {
        answers: args.answers,
        as_of: args.as_of.clone(),
    };
    let replay = Replay::answering(recording, advice.line(&[]), options);
    let replay = Arc::new(replay);
    if args.warm
        && !fills
        && let Some(told) = newer_head(&replay, &settings, &session)
    {
        warn(global, told);
    }
    let mut intercept = replay.hosts();
    intercept.extend(replay.recording().manifest().intercepted.iter().cloned());
    if fills {
        intercept.extend(DEFAULT_HOSTS.map(str::to_owned));
    }
    // An invalid host name cannot be in a certificate, and no client can request it.
    intercept.retain(|host| Target::new(host, 443).is_ok());
    let policy = Policy {
        intercept,
        intercept_all: false,
        tunnel: BTreeSet::new(),
        others: Others::Refuse {
            recording: name.clone(),
            tunnelled: replay.tunnelled(),
        },
        propagation: Propagation::default(),
    };
    let setting = |name: &str| {
        let recorded = settings.iter().find(|(known, _)| known == name);
        recorded.map_or_else(|| session.go.get(name), |(_, value)| value)
    };
    let gateway = session.gateway(setting("GOPROXY"), setting("GOSUMDB"), fills)?;
    let redactor = session.knowing(Redactor::new(tls::random()), &args.command);
    let filling = match locked {
        Some(locked) => {
            let exposed = session.exposed(&settings);
            let filling = Filling::of(args, &session, &replay, &redactor, exposed, locked);
            Some(filling?)
        }
        None => None,
    };
    let known = Known {
        goproxy: GoProxy::parse(setting("GOPROXY")),
        bases: replay.bases(),
        policy: &policy,
    };
    let measuring = session.measure(known, global)?;
    let responder = match &filling {
        Some(filling) => Responder::Fill(Arc::clone(&filling.fill)),
        None => Responder::Replay(Arc::clone(&replay)),
    };
    let parts = Parts {
        name,
        folder: dir,
        policy,
        bases: replay.bases().to_vec(),
        responder,
        recorder: None,
        capture: None,
        gateway,
        key_log: std::sync::Arc::new(rustls::NoKeyLog),
        redactor,
        deadlines: Deadlines::default(),
        metrics: measuring.as_ref().map(|it| it.metrics.clone()),
    };
    if let (Some(address), true) = (session.address, args.command.is_empty()) {
        session.greeting = Some(match session.redirected() {
            Some(_) => String::from(
                "modtape: answering what is redirected to it: `modtape env --mode transparent --uid U` prints rules, for root     end with Ctrl-C",
            ),
            None => format!(
                "modtape: answering on http://{address}; in another terminal: eval \"$(modtape env)\"     end with Ctrl-C"
            ),
        });
    }
    let console = Console::new(global, stuck::Limits::default());
    let served = session.serve(parts, settings, global, console).await;
    if let Some(filling) = filling {
        let filled = filling.close(global).await?;
        let outcome = served?;
        say(
            global,
            summary::filled(&filled, &replay.recording().name(), look),
        );
        let code = outcome.exit_code().unwrap_or(0);
        let is_strict = code == 0 && args.strict && !filled.failed.is_empty();
        return Ok(if is_strict { 1 } else { code });
    }
    let outcome = served?;
    let misses = replay.misses();
    let hosts = misses.refused_hosts();
    let hosts = (!hosts.is_empty()).then(|| rerun::intercept(hosts.iter().map(String::as_str)));
    let recorder = advice.line(&Vec::from_iter(hosts));
    let message = summary::Replayed {
        hits: replay.hits(),
        misses: &misses,
        recorder: &recorder,
        packets: outcome.packets,
    };
    say(global, summary::replayed(&message, look));
    let code = outcome.exit_code().unwrap_or(0);
    Ok(if code == 0 && args.strict && !misses.is_empty() {
        1
    } else {
        code
    })
}

/// Keeps everybody else from adding to a recording.
fn lock(recording: &Recording) -> anyhow::Result<Locked> {
    let locked = Locked::open(recording.dir())?;
    if locked.before.rows().len() != recording.rows().len() {
        let name = recording.name();
        let error = Err(anyhow::anyhow!("{name} was added to just now"));
        return error.help("run the same again");
    }
    Ok(locked)
}

/// A replay that asks the network for what is missing.
struct Filling {
    fill: Arc<Fill>,
    network: Arc<Network>,
}

impl Filling {
    fn of(
        args: &ReplayArgs,
        session: &Session,
        replay: &Arc<Replay>,
        redactor: &Redactor,
        exposed: Option<Exposed>,
        locked: Locked,
    ) -> Result<Self, Failure> {
        let usage = |error| Failure::new(USAGE, error);
        let outward = Outward {
            sockets: session.sockets.clone(),
            exposed,
            overrides: dialling::overrides(&args.dial).map_err(usage)?,
            parents: dialling::parents(&args.dial, &session.variables).map_err(usage)?,
            roots: session.roots.clone(),
            idle: args.upstream_idle_timeout,
            redactor: redactor.clone(),
            bases: replay.bases().to_vec(),
            // The command sends its own credentials.
            credentials: Credentials::default(),
            parent: session.parent,
            last_ids: locked.before.last_ids(),
        };
        let added = Added::to(&locked.before);
        let added = added.context("cannot read the journal")?;
        let command = redactor.argv(&args.command);
        let go = session.go.clone();
        let network = Network::new(session.clock, outward, locked, command, go);
        let network = Arc::new(network);
        let fetch: Arc<dyn Fetch> = Arc::clone(&network) as _;
        let fill = Fill::new(Arc::clone(replay), added, fetch);
        Ok(Self {
            fill: Arc::new(fill),
            network,
        })
    }

    /// Closes the run, and says what was answered, and by whom.
    async fn close(self, global: &Global) -> anyhow::Result<Filled> {
        let Self { fill, network } = self;
        let (filled, name) = (fill.filled(), fill.replay().recording().name());
        drop(fill);
        // Requests that were given up let go of it at their next turn.
        while Arc::strong_count(&network) > 1 {
            tokio::task::yield_now().await;
        }
        let network = Arc::into_inner(network);
        let network = network.context("a request is still on its way")?;
        let stop = Stop::listen()?;
        if let Some(judged) = network.close(&stop, global).await? {
            let what = match judged.missing() {
                0 => String::from("`modtape seal` says why"),
                missing => format!(
                    "{} missing for other commands; `modtape seal` asks for them",
                    count(missing, "answer")
                ),
            };
            say(
                global,
                format!("modtape: {name} is no longer sealed: {what}"),
            );
        }
        if stop.is_heard() {
            let what =
                "a signal may have stopped the check of what was added; the next replay does it";
            warn(global, what);
        }
        Ok(filled)
    }
}

/// The recorded Go settings; says which of them differ from the user's.
fn settings(
    args: &ReplayArgs,
    global: &Global,
    recording: &Recording,
    session: &Session,
) -> Vec<(String, String)> {
    if args.keep_env {
        return Vec::new();
    }
    let redactor = session.knowing(Redactor::new(tls::random()), &args.command);
    let mut recorded = child::replayed_settings(&recording.manifest().go_env);
    if args.on_miss == OnMiss::Record {
        // What is private is asked for with the user's credentials.
        recorded.remove("GOAUTH");
    }
    let goproxy = recorded.get("GOPROXY").cloned();
    for (name, value) in &recorded {
        let own = session.go.get(name);
        if own != value && name != "GOAUTH" && session.go.defaults_because.is_none() {
            let own = if own.is_empty() { "(not set)" } else { own };
            let own = redactor.go_setting(name, own);
            let own = plain(&own).into_owned();
            let value = plain(value).into_owned();
            say(
                global,
                format!(
                    "modtape: using the recorded {name}={value} instead of {own} (--keep-env keeps yours)"
                ),
            );
        }
    }
    if args.on_miss == OnMiss::Error
        && let Some(goproxy) = goproxy
        && !went_to_repositories(recording)
    {
        // Where the proxies have nothing, go goes on to what a replay has nothing of, and would tell of that.
        let goproxy = GoProxy::parse(&goproxy).without_direct();
        recorded.insert("GOPROXY".into(), goproxy.to_string());
    }
    recorded.into_iter().collect()
}

/// Whether a recorded command looked for a module where its repository is, as far as is known.
fn went_to_repositories(recording: &Recording) -> bool {
    let routes = Routes::of(recording);
    let kinds = recording.rows().iter().map(|row| routes.route(row).kind);
    let is_theirs = |kind| matches!(kind, Kind::Vcs | Kind::Discovery);
    let mut opened = recording.connections().flat_map(ConnectionRow::dials);
    !recording.manifest().direct.is_empty()
        || kinds.into_iter().any(is_theirs)
        || opened.any(|opened| opened.mode == Mode::Tunnel)
}

/// What to do about a tree head that the command's GOPATH remembers and that is newer than all of the
/// recording: no tile from then is here that would prove the recorded trees in it, and go verifies nothing
/// without.
fn newer_head(replay: &Replay, settings: &[(String, String)], session: &Session) -> Option<String> {
    let recorded = settings.iter().find(|(name, _)| name == "GOSUMDB");
    let sumdb = recorded.map_or_else(|| session.go.get("GOSUMDB"), |(_, value)| value);
    let sumdb: GoSumDb = sumdb.parse().ok()?;
    let name = sumdb.name()?;
    let largest = replay.largest_head(name)?;
    let remembered = child::remembered(session.go.get("GOPATH"), name)?;
    let Remembered { path, size } = remembered;
    (size > largest).then(|| {
        format!(
            "go will not verify anything that is not in go.sum: {} is the head of {name} with {size} records, and \
             the newest on recording {} has {largest}; leave out --warm, which keeps that file, or record (and \
             seal) again",
            path.display(),
            replay.recording().name(),
        )
    })
}

/// The command line that records missing responses, with the flags of the recording.
fn advice(args: &ReplayArgs, global: &Global, recording: &Recording) -> Rerun {
    let manifest = recording.manifest();
    let mut options = rerun::trusted(&manifest.options);
    if !args.command.is_empty() {
        options.push(COLD.into());
    }
    // A new name: `--force` would replace the recording by what this one command requests.
    let output = match folder::is_path(&args.name) {
        true => recording.dir().with_file_name(more(recording)),
        false => more(recording).into(),
    };
    Rerun {
        options,
        place: rerun::place(&output, global),
        command: Redactor::new(tls::random()).argv(&args.command),
    }
}

fn more(recording: &Recording) -> String {
    format!("{}-more", recording.name())
}
