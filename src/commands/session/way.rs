//! How the command's requests reach modtape, where the user has left that open.

use anyhow::anyhow;

use super::variables::Variables;
use crate::child::GoFacts;
use crate::cli::{Mode, RunArgs};
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::gomod::GoProxy;

/// What requests are for, as far as their way depends on it.
#[derive(Debug, Clone, Copy)]
pub(in crate::commands) enum Purpose<'a> {
    /// They are recorded. Connections can be intercepted in one mode only: `intercepts` says that the user
    /// wants it.
    Recording { intercepts: bool },
    /// They are answered from a recording, with its GOPROXY, or with the user's own.
    Replaying { goproxy: Option<&'a str> },
}

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
    /// What is asked for, or what fits the system, the go command and its settings.
    ///
    /// An error is one of usage: what a replay has to answer must not pass it by.
    pub(super) fn of(
        run: &RunArgs,
        go: &GoFacts,
        variables: &Variables,
        purpose: Purpose<'_>,
    ) -> Result<Self, Failure> {
        let ignored = variables.why_untrusted(go);
        let past = match purpose {
            // Whatever a command in a namespace connects to arrives.
            Purpose::Replaying { .. } if run.netns => None,
            Purpose::Replaying { goproxy } => {
                past_proxies(goproxy.unwrap_or_else(|| go.get("GOPROXY")))
            }
            Purpose::Recording { .. } => None,
        };
        Ok(match (run.mode, past) {
            (Mode::Auto, Some(why)) => Self {
                mode: Mode::Gateway,
                why: Some(format!("{why}; git is not seen")),
                is_trusted: ignored.is_none(),
            },
            (Mode::Mitm, Some(why)) => {
                let error = Err(anyhow!("--mode mitm would not see all requests: {why}"));
                let error =
                    error.help("--mode gateway sees it, and is what a replay without --mode uses");
                return error.map_err(|error| Failure::new(USAGE, error));
            }
            (Mode::Auto, None) => {
                let intercepts = matches!(purpose, Purpose::Recording { intercepts: true });
                Self::fitting(ignored, intercepts || run.netns)
            }
            (mode, _) => Self {
                mode,
                is_trusted: mode != Mode::Mitm || ignored.is_none(),
                why: ignored.filter(|_| mode == Mode::Mitm),
            },
        })
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

/// Why requests to these module proxies reach no proxy, if some do not.
fn past_proxies(goproxy: &str) -> Option<String> {
    let hosts = GoProxy::parse(goproxy).loopback_hosts();
    let hosts = (!hosts.is_empty()).then(|| hosts.join(", "))?;
    Some(format!(
        "GOPROXY is on loopback ({hosts}), which go asks past every proxy"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_asks_what_is_on_loopback_past_every_proxy() {
        let why = "GOPROXY is on loopback (127.0.0.1:4080), which go asks past every proxy";
        for (goproxy, expected) in [
            ("http://127.0.0.1:4080,direct", Some(why)),
            ("https://proxy.golang.org|http://127.0.0.1:4080", Some(why)),
            ("https://proxy.golang.org,direct", None),
            ("off", None),
        ] {
            assert_eq!(past_proxies(goproxy).as_deref(), expected, "{goproxy}");
        }
    }

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
