//! Errors as they are told: the chain once, in one line, then what helps if that is known.

use std::error::Error;
use std::fmt;
use std::io::Write as _;

use super::again;
use super::terminal::{Look, Paint, plain};
use crate::cli::Global;
use crate::recording::folder::ResolveError;
use crate::shell;

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
pub(super) trait Advise<T> {
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
pub(super) fn complain(error: &anyhow::Error, global: &Global) {
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
    if let Some(advised) = error.downcast_ref::<Advised>() {
        return Some(advised.help.clone());
    }
    match error.downcast_ref::<ResolveError>()? {
        ResolveError::TooFew { have: 0, .. } => Some("try `modtape demo`".into()),
        ResolveError::NotFound {
            similar: Some(similar),
            ..
        } => Some(format!("did you mean {similar}?")),
        ResolveError::NotFound { recordings_dir, .. }
        | ResolveError::TooFew { recordings_dir, .. } => {
            let place = match recordings_dir.to_string_lossy() {
                usual if usual == again::RECORDINGS => String::new(),
                other => format!(" --recordings {}", shell::word(&other)),
            };
            Some(format!("try `modtape recordings list{place}`"))
        }
        ResolveError::Reference { .. } => Some("@last is the newest, @2 the one before".into()),
        ResolveError::NoFolder { .. } | ResolveError::Unreadable { .. } => None,
    }
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
    }

    #[test]
    fn who_has_no_recordings_is_shown_the_demo() {
        let none = ResolveError::TooFew {
            name: "@last".into(),
            recordings_dir: "recordings".into(),
            have: 0,
        };
        assert_eq!(help_of(&none.into()).as_deref(), Some("try `modtape demo`"));
        assert_eq!(help_of(&anyhow::anyhow!("no idea")), None);
    }
}
