//! What `replay --on-miss record` asks for: through a proxy of our own, into a run that is appended.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use tokio::sync::Mutex;

use super::appended_run::{Addition, AppendedRun, Locked};
use super::client::{Client, Outward};
use super::runtime::Stop;
use super::seal::{Judgement, Terms};
use crate::child::GoFacts;
use crate::cli::Global;
use crate::clock::Clock;
use crate::diagnose::content::Checked;
use crate::diagnose::routes::Routes;
use crate::proxy::{Fetch, Fetching};
use crate::recording::Recording;
use crate::recording::format::Manifest;
use crate::recording::format::State::Sealed;

/// The verb, as it stands in the journal.
const VERB: &str = "replay";

/// Sends what a recording lacks to the network. The run begins with the first request, so that a replay which
/// lacks nothing adds none.
pub(super) struct Network {
    clock: Clock,
    /// The wrapped command, redacted.
    command: Vec<String>,
    /// The settings of the user's go command.
    go: GoFacts,
    /// How long an upstream may be silent is the client's; held while that starts.
    state: Mutex<State>,
}

enum State {
    /// Nothing was asked for yet.
    Waiting(Box<(Outward, Locked)>),
    Running(Box<AppendedRun>, Arc<Client>),
    /// It could not be started.
    Broken(String),
}

impl Network {
    pub(super) fn new(
        clock: Clock,
        outward: Outward,
        locked: Locked,
        command: Vec<String>,
        go: GoFacts,
    ) -> Self {
        Self {
            clock,
            command,
            go,
            state: Mutex::new(State::Waiting(Box::new((outward, locked)))),
        }
    }

    /// The client; starts it with the first request.
    async fn client(&self) -> Result<Arc<Client>, String> {
        let mut state = self.state.lock().await;
        let nothing = State::Broken(String::from("the run was given up while it began"));
        *state = match std::mem::replace(&mut *state, nothing) {
            State::Waiting(parts) => {
                let started = self.start(*parts).await;
                started.unwrap_or_else(|error| State::Broken(format!("{error:#}")))
            }
            state => state,
        };
        match &*state {
            State::Running(_, client) => Ok(Arc::clone(client)),
            State::Broken(why) => Err(why.clone()),
            State::Waiting(_) => Err(String::new()),
        }
    }

    async fn start(&self, (outward, locked): (Outward, Locked)) -> anyhow::Result<State> {
        let addition = Addition {
            verb: VERB,
            trace: outward.parent.trace,
            command: self.command.clone(),
        };
        let run = locked.begin(self.clock, addition)?;
        let client = Client::start(self.clock, outward, Some(run.recorder.clone())).await?;
        Ok(State::Running(Box::new(run), Arc::new(client)))
    }

    /// Closes the run, if there is one; the recording is what it was before, if not. A sealed one stays
    /// sealed if it still answers every command with what was added; else it is told what keeps it from that.
    pub(super) async fn close(
        self,
        stop: &Stop,
        global: &Global,
    ) -> anyhow::Result<Option<Judgement>> {
        match self.state.into_inner() {
            State::Waiting(parts) => {
                let (_, locked) = *parts;
                let state = locked.before.manifest().state;
                locked.close(stop, global, |_, _, _, manifest| manifest.state = state)?;
                Ok(None)
            }
            State::Running(run, client) => {
                Client::close(client).await;
                let before = run.before.manifest().clone();
                let mut unsealed = None;
                let judge = |recording: &Recording,
                             routes: &Routes,
                             checked: &Checked,
                             manifest: &mut Manifest| {
                    // Settings that cannot be parsed were never sealed.
                    let terms = Terms::of(&before, &self.go, false).ok();
                    let terms = terms.filter(|_| before.state == Sealed);
                    match terms.map(|terms| terms.judge(recording, routes, checked)) {
                        Some(judged) if judged.is_whole() => manifest.state = Sealed,
                        judged => unsealed = judged,
                    }
                };
                run.close(stop, global, judge).await?;
                Ok(unsealed)
            }
            State::Broken(why) => Err(anyhow::anyhow!(why)),
        }
    }
}

impl Fetch for Network {
    fn fetch(&self, request: Request<Bytes>) -> Fetching<'_> {
        Box::pin(async move {
            let client = self.client().await?;
            let passed = client.pass(request).await;
            passed.map_err(|error| format!("{error:#}"))
        })
    }
}
