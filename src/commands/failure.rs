//! Why a verb failed: the exit code, and how the error is printed: its chain in one line, then a
//! line of help if there is one.

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::Global;
use crate::terminal::{Look, Paint, plain};

/// Exit code of an invalid command line, for verbs that wrap no command (docs/recording.md, "Exit
/// codes").
pub(crate) const USAGE: u8 = 2;

/// Exit code of a failure.
pub(crate) const FAILED: u8 = 3;

/// Exit code of a failure of modtape itself, for verbs that wrap a command: 125 as in GNU env and
/// docker, so that 2 and 3 are the command's own.
pub(crate) const WRAPPER_FAILED: u8 = 125;

/// The error for stderr, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code; `None` takes [`FAILED`] or [`WRAPPER_FAILED`], as the verb has it.
    pub(crate) code: Option<u8>,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    pub(crate) fn new(code: u8, error: anyhow::Error) -> Self {
        Self {
            code: Some(code),
            error,
        }
    }

    /// The same, and where in a file it is: `FILE:LINE: a: b`. Its help stays.
    pub(crate) fn at(self, place: &str) -> Self {
        let error = match self.error.downcast::<Advised>() {
            Ok(Advised { error, help }) => {
                let error = anyhow::anyhow!("{place}: {error:#}");
                Advised { error, help }.into()
            }
            Err(error) => anyhow::anyhow!("{place}: {error:#}"),
        };
        let code = self.code;
        Self { code, error }
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

/// The exit code of modtape for that of a command.
pub(crate) fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(FAILED))
}

/// An error with a line of help.
#[derive(Debug)]
struct Advised {
    error: anyhow::Error,
    help: String,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Advised {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

/// Adds a line of help to an error.
pub(crate) trait Advise<T> {
    /// `help` completes "help: ": lower case, commands in backticks.
    fn help(self, help: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Advise<T> for Result<T, E> {
    fn help(self, help: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| {
            let (error, help) = (error.into(), help.into());
            Advised { error, help }.into()
        })
    }
}

/// Prints `error` to stderr: `error: a: b`, and a line `help: …` if there is help.
///
/// Control characters from a recording or a path are printed as visible characters.
pub(crate) fn print(error: &anyhow::Error, global: &Global) {
    let look = Look::of_stderr(global);
    let mut stderr = std::io::stderr().lock();
    let mark = look.paint(Paint::Red, "error:");
    // A closed stderr is not an error.
    let _ = writeln!(stderr, "{mark} {}", plain(&format!("{error:#}")));
    if let Some(help) = help_of(error) {
        let _ = writeln!(stderr, "help: {}", plain(&help));
    }
}

fn help_of(error: &anyhow::Error) -> Option<String> {
    let advised = error.downcast_ref::<Advised>()?;
    Some(advised.help.clone())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_place_is_put_before_the_chain_and_advice_survives() {
        let failed: anyhow::Result<()> = Err(anyhow::anyhow!("b").context("--x"));
        let error = failed.help("try y").unwrap_err();
        let failure = Failure::new(USAGE, error).at("a.toml:3");
        assert_eq!(format!("{:#}", failure.error), "a.toml:3: --x: b");
        assert_eq!(help_of(&failure.error).as_deref(), Some("try y"));
    }

    #[test]
    fn advice_is_not_part_of_the_chain_and_survives_context() {
        let failed: anyhow::Result<()> = Err(anyhow::anyhow!("c").context("b"));
        let error = failed.help("try d").context("a").unwrap_err();
        assert_eq!(format!("{error:#}"), "a: b: c");
        assert_eq!(help_of(&error).as_deref(), Some("try d"));
        assert_eq!(help_of(&anyhow::anyhow!("no idea")), None);
    }
}
