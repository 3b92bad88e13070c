//! Why a verb failed: the exit code, and the error as it is shown: the chain once, in one line, then
//! what helps if that is known.

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::Global;
use crate::terminal::{Look, Paint, plain};

/// A command line that is wrong, of a verb that wraps no command (docs/recording.md, "Exit codes").
pub(crate) const USAGE: u8 = 2;

/// Could not do it.
pub(crate) const FAILED: u8 = 3;

/// modtape itself failed, of a verb that wraps a command: GNU env's and docker's 125, so that 2
/// and 3 stay the command's own.
pub(crate) const WRAPPER_FAILED: u8 = 125;

/// What is said on stderr, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code; `None` takes the verb's own for "could not do it".
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
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            code: None,
            error: error.into(),
        }
    }
}

/// A command's exit code as ours.
pub(crate) fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(FAILED))
}

/// An error together with what helps.
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

/// Adds what helps to an error.
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

/// Tells `error` on stderr: `error: a: b`, and a line `help: …` if something is known to help.
///
/// Whatever a recording or a path smuggled into it reaches the terminal as visible characters.
pub(crate) fn complain(error: &anyhow::Error, global: &Global) {
    let look = Look::of_stderr(global);
    let mut stderr = std::io::stderr().lock();
    let mark = look.paint(Paint::Red, "error:");
    // Nobody listening is no error.
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
    fn advice_is_not_part_of_the_chain_and_survives_context() {
        let failed: anyhow::Result<()> = Err(anyhow::anyhow!("c").context("b"));
        let error = failed.help("try d").context("a").unwrap_err();
        assert_eq!(format!("{error:#}"), "a: b: c");
        assert_eq!(help_of(&error).as_deref(), Some("try d"));
        assert_eq!(help_of(&anyhow::anyhow!("no idea")), None);
    }
}
