//! How the command's requests reach modtape, where the user has left that open.

use super::variables::Variables;
use crate::child::GoFacts;
use crate::cli::{Mode, RunArgs};

/// The mode that is used, and why it is that one.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Way {
    pub(super) mode: Mode,
    /// Where the user has not chosen it, or where go does not go along with it.
    why: Option<String>,
    /// Whether the go command trusts our root.
    is_trusted: bool,
}

impl Way {
    /// What is asked for, or what fits the system, the go command and its settings. Connections can be
    /// intercepted in one mode only: `intercepts` says that the user wants it.
    pub(super) fn of(run: &RunArgs, go: &GoFacts, variables: &Variables, intercepts: bool) -> Self {
        let ignored = variables.why_untrusted(go);
        match run.mode {
            Mode::Auto => Self::fitting(ignored, intercepts),
            mode => Self {
                mode,
                is_trusted: mode != Mode::Mitm || ignored.is_none(),
                why: ignored.filter(|_| mode == Mode::Mitm),
            },
        }
    }

    /// `ignored` says why the go command would not trust our root.
    pub(in crate::commands) fn fitting(ignored: Option<String>, intercepts: bool) -> Self {
        let is_trusted = ignored.is_none();
        let (mode, why) = match ignored {
            None => (Mode::Mitm, "go trusts a root of this run".to_owned()),
            Some(ignored) if intercepts => (
                Mode::Mitm,
                format!("hosts are to be intercepted, but {ignored}"),
            ),
            Some(ignored) => (Mode::Gateway, format!("{ignored}; git is not seen")),
        };
        Self {
            mode,
            why: Some(why),
            is_trusted,
        }
    }

    /// The line that says so: always where `is_verbose`, else if it is not what people expect.
    pub(super) fn line(&self, is_verbose: bool) -> Option<String> {
        let why = self.why.as_ref()?;
        let is_usual = self.mode == Mode::Mitm && self.is_trusted;
        (is_verbose || !is_usual).then(|| format!("modtape: mode {}: {why}", self.name()))
    }

    /// The mode, as `--mode` spells it.
    pub(in crate::commands) fn name(&self) -> &'static str {
        self.mode.name()
    }

    /// Why it is that one; empty where the user has chosen it.
    pub(in crate::commands) fn why(&self) -> &str {
        self.why.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old() -> Option<String> {
        crate::child::ignores_ssl_cert_file("macos", "go1.24.11", "")
    }

    #[test]
    fn the_mode_is_one_that_the_go_command_goes_along_with() {
        for (ignored, intercepts, expected) in [
            (None, false, Mode::Mitm),
            (None, true, Mode::Mitm),
            (old(), false, Mode::Gateway),
            (old(), true, Mode::Mitm),
        ] {
            let way = Way::fitting(ignored.clone(), intercepts);
            assert_eq!(way.mode, expected, "{ignored:?} {intercepts}");
        }
    }

    #[test]
    fn what_is_not_as_people_expect_is_said() {
        let quiet = Way::fitting(None, false);
        assert!(quiet.line(false).is_none());
        assert_eq!(
            quiet.line(true).as_deref(),
            Some("modtape: mode mitm: go trusts a root of this run")
        );
        let gateway = Way::fitting(old(), false).line(false);
        assert_eq!(
            gateway.as_deref(),
            Some(
                "modtape: mode gateway: go1.24.11 does not heed SSL_CERT_FILE on macOS: go1.27 is the first that does; git is not seen"
            )
        );
        let intercepts = Way::fitting(old(), true).line(false);
        let expected = "modtape: mode mitm: hosts are to be intercepted, but go1.24.11 ";
        assert!(intercepts.is_some_and(|line| line.starts_with(expected)));
    }
}
