//! `modtape replay`: runs a command again with no network, from a recording.

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::answers;
use super::failure::{Advise as _, Failure, exit_code};
use super::record::RunContext;
use super::runtime::block_on;
use super::selection::{defects, resolve};
use super::session::{Parts, Session};
use crate::child::{self, Remembered};
use crate::cli::{Global, ReplayArgs};
use crate::diagnose::rerun::{self, COLD, Rerun};
use crate::diagnose::stuck;
use crate::exchange::Target;
use crate::gomod::GoSumDb;
use crate::proxy::{Deadlines, Others, Policy, Responder};
use crate::recording::{Recording, folder};
use crate::redact::Redactor;
use crate::replay::{Options, Replay};
use crate::terminal::Console;
use crate::terminal::{Look, plain, say, summary, warn};
use crate::tls;

/// Runs the verb.
pub(super) fn run(args: &ReplayArgs, global: &Global) -> Result<ExitCode, Failure> {
    let dir = resolve(&args.name, global)?;
    let mut recording = Recording::open(&dir).map_err(anyhow::Error::new)?;
    refuse_defects(&recording, args.strict, global)?;
    answers::complete_faults(&mut recording, global);
    let code = block_on(replay(args, global, recording, RunContext::default()))??;
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
    let mut session = Session::open(&args.run, &args.command, Vec::new()).await?;
    if let Some(folder) = context.folder {
        session.run_in(folder);
    }
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
    say(global, summary::replaying(&recording, &bases, look));
    let options = Options {
        answers: args.answers,
        as_of: args.as_of.clone(),
    };
    let replay = Replay::answering(recording, advice.line(&[]), options);
    let replay = std::sync::Arc::new(replay);
    if args.warm
        && let Some(told) = newer_head(&replay, &settings, &session)
    {
        warn(global, told);
    }
    let mut intercept = replay.hosts();
    intercept.extend(replay.recording().manifest().intercepted.iter().cloned());
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
    };
    let parts = Parts {
        name,
        folder: dir,
        policy,
        bases: replay.bases().to_vec(),
        responder: Responder::Replay(std::sync::Arc::clone(&replay)),
        recorder: None,
        capture: None,
        key_log: std::sync::Arc::new(rustls::NoKeyLog),
        redactor: session.knowing(Redactor::new(tls::random()), &args.command),
        deadlines: Deadlines::default(),
    };
    if args.command.is_empty() {
        let address = session.address;
        session.greeting = Some(format!(
            "modtape: answering on http://{address}; in another terminal: eval \"$(modtape env)\"     end with Ctrl-C"
        ));
    }
    let console = Console::new(global, stuck::Limits::default());
    let served = session.serve(parts, settings, global, console).await;
    let outcome = served?;
    let misses = replay.misses();
    let hosts = misses.refused_hosts();
    let hosts = (!hosts.is_empty()).then(|| rerun::intercept(hosts.iter().map(String::as_str)));
    let recorder = advice.line(&Vec::from_iter(hosts));
    let message = summary::Replayed {
        hits: replay.hits(),
        misses: &misses,
        recorder: &recorder,
    };
    say(global, summary::replayed(&message, look));
    let code = outcome.exit_code().unwrap_or(0);
    Ok(if code == 0 && args.strict && !misses.is_empty() {
        1
    } else {
        code
    })
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
    let recorded = child::replayed_settings(&recording.manifest().go_env);
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
    recorded.into_iter().collect()
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
