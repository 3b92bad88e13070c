//! The verbs: a file or a folder each, and with `terminal` the only code that prints, reads the
//! environment or chooses paths.

mod answers;
mod appended_run;
mod ca;
mod cache;
mod client;
mod completions;
mod demo;
mod dialling;
mod diff;
mod direct;
mod doctor;
mod enter;
mod env;
mod export;
mod failure;
mod fetch;
mod import;
mod ls;
mod manual;
mod metrics;
mod naming;
mod network;
mod objects;
mod otlp;
mod output_file;
mod record;
mod recordings;
mod replay;
mod report;
mod runtime;
mod seal;
mod selection;
mod serve;
mod session;
mod share;
mod show;
mod status;
mod verify;
mod view;
mod why;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use self::failure::{FAILED, Failure, USAGE, WRAPPER_FAILED};
use crate::cli::{Cli, Command, Global, LogFormat};
use crate::telemetry::{self, Format, Log, Logs};
use crate::terminal;

/// Runs one verb, prints its error if it fails, and returns the exit code.
pub fn run(cli: &Cli) -> ExitCode {
    let mut log = Log::default();
    let outcome = dispatch(cli, &mut log);
    // What is said below comes after it.
    log.flush();
    outcome.unwrap_or_else(|failure| {
        let own = if wraps(&cli.command) {
            WRAPPER_FAILED
        } else {
            FAILED
        };
        failure::print(&failure.error, &cli.global);
        let code = failure.code.unwrap_or(own);
        // The same code as for a command line that cannot be parsed: see `usage_code`.
        let is_usage = code == USAGE && may_wrap(&cli.command);
        ExitCode::from(if is_usage { WRAPPER_FAILED } else { code })
    })
}

/// The exit code of a command line that cannot be parsed.
pub fn usage_code(words: &[std::ffi::OsString]) -> ExitCode {
    ExitCode::from(if Cli::wraps(words) {
        WRAPPER_FAILED
    } else {
        USAGE
    })
}

fn wraps(command: &Command) -> bool {
    match command {
        Command::Record(args) => !args.command.is_empty(),
        Command::Replay(args) => !args.command.is_empty(),
        Command::Serve(args) => !args.command.is_empty(),
        _ => false,
    }
}

const fn may_wrap(command: &Command) -> bool {
    matches!(
        command,
        Command::Record(_) | Command::Replay(_) | Command::Serve(_)
    )
}

/// Runs the verb; `log` is set once there is one.
fn dispatch(cli: &Cli, log: &mut Log) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    if !matches!(cli.command, Command::Serve(_)) {
        *log = logs(global, false)?;
    }
    match &cli.command {
        Command::Record(args) => record::run(args, global, log),
        Command::Replay(args) => replay::run(args, global, log),
        Command::Serve(_) => {
            // Its file may have those of the logs.
            let settings = serve::Settings::of(&cli.words)?;
            *log = logs(&settings.global, true)?;
            serve::run(settings, log.clone())
        }
        Command::Demo => demo::run(global),
        Command::Fetch(args) => Ok(fetch::run(args)?),
        Command::Enter(args) => enter::run(args),
        Command::Env(args) => env::run(args),
        Command::Status(args) => Ok(status::run(args, global)?),
        Command::View(args) => view::run(args, global),
        Command::Ca(args) => Ok(ca::run(args, global)?),
        Command::Cache(args) => cache::run(args, global),
        Command::Why(args) => Ok(why::run(args, global)?),
        Command::Diff(args) => Ok(diff::run(args, global)?),
        Command::Verify(args) => verify::run(args, global),
        Command::Report(args) => report::run(args, global),
        Command::Ls(args) => ls::run(args, global),
        Command::Show(args) => Ok(show::run(args, global)?),
        Command::Seal(args) => seal::run(args, global),
        Command::Export(args) => export::run(args, global),
        Command::Import(args) => import::run(args, global),
        Command::Push(args) => share::push(args, global),
        Command::Pull(args) => share::pull(args, global),
        Command::Recordings(args) => Ok(recordings::run(args, global)?),
        Command::Doctor(args) => doctor::run(args, global),
        Command::Completions(args) => Ok(completions::run(args)?),
        Command::Man(args) => Ok(manual::man(args, global)?),
        Command::Help(args) => manual::help(args, global),
        Command::Version(args) => Ok(manual::version(args)?),
    }
}

/// Sets the logs up; `warns` if there are warnings even without `-v`. Gives a handle on their destinations.
fn logs(global: &Global, warns: bool) -> Result<Log, Failure> {
    let logs = Logs {
        verbose: global.verbose,
        warns: warns && !global.quiet,
        file: global.log_file.clone(),
        format: match global.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
            LogFormat::Ecs => Format::Ecs,
        },
    };
    let message = global.clone();
    let on_failure = move |error: &std::io::Error| {
        let path = message.log_file.as_deref().unwrap_or_else(|| Path::new(""));
        let what = format!("cannot write the log {}: {error}", path.display());
        terminal::warn(&message, format!("{what}; log lines are missing"));
    };
    Ok(telemetry::install(&logs, Arc::new(on_failure))?)
}
