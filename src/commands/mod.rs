//! The verbs: one file each, and the only code that prints, reads the environment or chooses paths.

mod advice;
mod again;
mod answers;
mod ca;
mod completions;
mod console;
mod curl;
mod demo;
mod door;
mod env;
mod export;
mod fetch;
mod files;
mod goproxy;
mod har;
mod help;
mod import;
mod json;
mod lines;
mod listed;
mod ls;
mod man;
mod odd;
mod opened;
mod pcapng;
mod picked;
mod progress;
mod record;
mod recordings;
mod replay;
mod runtime;
mod session;
mod settings;
mod show;
mod stop;
mod summary;
mod table;
mod terminal;
mod trace;
mod version;
mod words;
mod written;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::{Cli, Command, Global, LogFormat};
use crate::telemetry::{self, Format, Logs};

/// A command line that is wrong, of a verb that wraps no command (design of exit codes: README).
const USAGE: u8 = 2;

/// Could not do it.
const FAILED: u8 = 3;

/// modtape itself failed, of a verb that wraps a command: GNU env's and docker's 125, so that 2
/// and 3 stay the command's own.
const WRAPPER_FAILED: u8 = 125;

/// What is said on stderr, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code; `None` takes the verb's own for "could not do it".
    code: Option<u8>,
    error: anyhow::Error,
}

impl Failure {
    fn new(code: u8, error: anyhow::Error) -> Self {
        Self {
            code: Some(code),
            error,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            code: None,
            error: error.into(),
        }
    }
}

/// Runs one verb to its exit code; whatever went wrong is said here.
pub fn run(cli: &Cli) -> ExitCode {
    let outcome = logs(&cli.global).and_then(|()| dispatch(cli));
    outcome.unwrap_or_else(|failure| {
        let own = if wraps(&cli.command) {
            WRAPPER_FAILED
        } else {
            FAILED
        };
        advice::complain(&failure.error, &cli.global);
        let code = failure.code.unwrap_or(own);
        // As a command line that cannot be parsed: see `usage_code`.
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
        _ => false,
    }
}

const fn may_wrap(command: &Command) -> bool {
    matches!(command, Command::Record(_) | Command::Replay(_))
}

fn dispatch(cli: &Cli) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Record(args) => record::run(args, global),
        Command::Replay(args) => replay::run(args, global),
        Command::Demo => demo::run(global),
        Command::Fetch(args) => Ok(fetch::run(args)?),
        Command::Env(args) => env::run(args),
        Command::Ca(args) => Ok(ca::run(args, global)?),
        Command::Ls(args) => ls::run(args, global),
        Command::Show(args) => Ok(show::run(args, global)?),
        Command::Export(args) => export::run(args, global),
        Command::Import(args) => import::run(args, global),
        Command::Recordings(args) => Ok(recordings::run(args, global)?),
        Command::Completions(args) => Ok(completions::run(args)?),
        Command::Man(args) => Ok(man::run(args, global)?),
        Command::Help(args) => help::run(args, global),
        Command::Version(args) => Ok(version::run(args)?),
    }
}

fn logs(global: &Global) -> Result<(), Failure> {
    let logs = Logs {
        verbose: global.verbose,
        file: global.log_file.clone(),
        format: match global.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        },
    };
    let told = global.clone();
    let on_failure = move |error: &std::io::Error| {
        let path = told.log_file.as_deref().unwrap_or_else(|| Path::new(""));
        let what = format!("cannot write the log {}: {error}", path.display());
        terminal::warn(&told, format!("{what}; lines of it are missing"));
    };
    telemetry::install(&logs, Box::new(on_failure))?;
    Ok(())
}

/// All traffic runs on one thread: no exchange crosses another, which is what costs.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.context("cannot start")
}

/// Runs a task on a runtime of its own; a name that is still being looked up keeps nobody waiting.
fn block_on<T>(task: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(task);
    runtime.shutdown_background();
    Ok(outcome)
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(FAILED))
}
