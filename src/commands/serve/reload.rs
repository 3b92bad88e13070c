//! SIGHUP: the options are read again, and what they make takes the place of what runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::config::Settings;
use super::from::Held;
use super::gateway::Asking;
use super::running::{Fixed, Plan, RELOADED, Running, leads_to};
use super::{certificate, goproxy_of};
use crate::commands::failure::Failure;
use crate::gomod::GoProxy;
use crate::proxy::Token;
use crate::serve::{Certificate, Server};
use crate::telemetry::Log;
use crate::terminal::status::SessionId;
use crate::terminal::{say, say_always, warn};

/// How many servers may be on their way out at once; another one ends the oldest.
const RETIRING: usize = 4;

/// How long a reload waits until the log file is open again: longer than lines wait to be written before.
const REOPENING: Duration = Duration::from_secs(2);

/// What runs, and what of it can be another.
pub(super) struct Current {
    pub(super) fixed: Fixed,
    /// What is served in place of an upstream.
    pub(super) held: Option<Held>,
    /// The options of the start.
    pub(super) first: Settings,
    /// Those of the last reload, if there was one.
    pub(super) last: Option<Settings>,
    pub(super) token: Option<Token>,
    /// What clients have as GOPROXY.
    pub(super) goproxy: String,
    pub(super) running: Running,
    /// Who it is, for those who look at it from outside, and what they see in flight.
    pub(super) id: SessionId,
    pub(super) asking: watch::Sender<Asking>,
    pub(super) servers: watch::Sender<Arc<Server>>,
    /// Where clients speak TLS.
    pub(super) certificates: Option<watch::Sender<Arc<Certificate>>>,
    pub(super) log: Log,
    pub(super) retiring: Retiring,
}

/// Servers that others have followed.
#[derive(Default)]
pub(super) struct Retiring {
    tasks: JoinSet<()>,
    /// Ends each at once, the oldest first.
    hurry: VecDeque<CancellationToken>,
}

impl Current {
    /// Reads everything again, and says what came of it; after an error all stays as it was.
    pub(super) async fn reload(&mut self) {
        self.reopen_log().await;
        if let Err(failure) = self.reload_all().await {
            let why = failure.error;
            warn(
                &self.first.global,
                format!("{why:#}; the settings stay as they were"),
            );
        }
    }

    /// Opens the log file again on another thread: that may block, and the traffic does not wait for it.
    async fn reopen_log(&self) {
        let log = self.log.clone();
        let reopening = tokio::task::spawn_blocking(move || log.reopen().map(drop));
        let why = match tokio::time::timeout(REOPENING, reopening).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => anyhow::Error::from(error),
            Ok(Err(error)) => anyhow::Error::from(error),
            Err(_) => anyhow!("the log file is not open yet"),
        };
        let global = &self.first.global;
        warn(global, format!("{why:#}; lines go where they went"));
    }

    async fn reload_all(&mut self) -> Result<(), Failure> {
        let mut next = self.first.again()?;
        // Where it listens decides whether it needs a token.
        next.args.listen = self.first.args.listen;
        let shown =
            certificate(&next.args, self.fixed.clock).map_err(|failure| next.locate(failure))?;
        let held = self.held.as_ref();
        let fixed = &self.fixed;
        let plan = Plan::of(&next, &fixed.variables, &fixed.go, fixed.clock, held);
        let mut plan = plan?;
        let last = self.last.as_ref().unwrap_or(&self.first);
        // `auto` is not another one each time.
        if next.args.token == last.args.token {
            plan.access.token.clone_from(&self.token);
        }
        let token = plan.access.token.clone();
        let is_tls = self.certificates.is_some();
        let goproxy = goproxy_of(&next.args, &plan, held, fixed.address, is_tls);
        let running = plan.start(&self.fixed).await?;

        self.servers.send_replace(Arc::clone(&running.server));
        self.asking.send_replace(running.asking(&self.id));
        let old = std::mem::replace(&mut self.running, running);
        self.retiring.add(old);
        let keeps_tls = shown.is_some() == is_tls;
        if let (Some(certificates), Some(shown)) = (&self.certificates, shown) {
            certificates.send_replace(shown);
        }
        let is_reloaded = |name: &str| match name {
            "tls-cert" | "tls-key" => keeps_tls,
            name => RELOADED.contains(&name),
        };
        let global = &self.first.global;
        let changed = next.changed(last).into_iter();
        let changed: Vec<_> = changed.filter(|name| is_reloaded(name)).collect();
        let what = match next.path() {
            Some(path) => path.display().to_string(),
            None => String::from("certificates and credentials"),
        };
        say(
            global,
            match changed.is_empty() {
                true => format!("{what}: read again"),
                false => format!("{what}: read again; changed: {}", changed.join(", ")),
            },
        );
        for name in next.changed(&self.first) {
            if !is_reloaded(name) {
                let place = next.place_of(name).map(|place| format!("{place}: "));
                let place = place.unwrap_or_default();
                warn(
                    global,
                    format!("{place}{name} stays as it was until a restart"),
                );
            }
        }
        self.tell_of_go(&next).await;
        if goproxy != self.goproxy {
            say_always(format!(
                "clients need another GOPROXY: go env -w GOPROXY={}",
                shown_goproxy(&goproxy, &next.args.token, token.as_ref()),
            ));
            self.goproxy = goproxy;
        }
        self.token = token;
        self.last = Some(next);
        Ok(())
    }

    /// Says which of go's settings are others than at the start, and stay as they were: the line that a server prints for
    /// its clients sets GOPROXY on its own machine, too.
    async fn tell_of_go(&self, next: &Settings) {
        let Fixed { variables, go, .. } = &self.fixed;
        let now = variables.go_settings_of(&[]).await;
        for name in ["GOPROXY", "GOSUMDB", "GONOSUMDB", "GOAUTH"] {
            let is_asked_for = match name {
                "GOPROXY" => {
                    let list = GoProxy::parse(now.get(name));
                    let leads_here = list.urls().any(|url| leads_to(url, self.fixed.address));
                    next.args.upstream.is_none() && self.held.is_none() && !leads_here
                }
                _ => true,
            };
            if is_asked_for && now.get(name) != go.get(name) {
                warn(
                    &self.first.global,
                    format!("go's {name} is another one now, and stays as it was until a restart"),
                );
            }
        }
    }

    /// What clients have as GOPROXY, for a terminal or a log.
    pub(super) fn shown_goproxy(&self) -> String {
        let args = &self.last.as_ref().unwrap_or(&self.first).args;
        shown_goproxy(&self.goproxy, &args.token, self.token.as_ref())
    }

    /// Ends what is on its way, all at once, and gives back what outlives it.
    pub(super) async fn close(self) -> (Fixed, Option<Held>) {
        for hurry in self.retiring.hurry {
            hurry.cancel();
        }
        tokio::join!(self.running.close(), self.retiring.tasks.join_all());
        (self.fixed, self.held)
    }
}

/// A GOPROXY without a secret that its owner knows: what is said here may be kept in a journal.
fn shown_goproxy(goproxy: &str, asked: &str, token: Option<&Token>) -> String {
    match token {
        Some(token) if asked != "auto" => goproxy.replace(token.secret(), "TOKEN"),
        _ => goproxy.to_owned(),
    }
}

impl Retiring {
    fn add(&mut self, old: Running) {
        while self.tasks.try_join_next().is_some() {}
        if self.hurry.len() >= RETIRING
            && let Some(oldest) = self.hurry.pop_front()
        {
            oldest.cancel();
        }
        let hurry = CancellationToken::new();
        self.hurry.push_back(hurry.clone());
        self.tasks.spawn(old.retire(hurry));
    }
}
