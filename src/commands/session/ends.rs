//! What ends a session: its command, a signal, a time that was set; and how long its root lives.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::anyhow;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::Failure;
use super::super::terminal::warn;
use super::Outcome;
use crate::child::{self, Interruption, SpawnError};
use crate::cli::Global;
use crate::clock::{Clock, Timestamp};
use crate::proxy::Live;

/// How long the authority of a wrapped command lives, unless `--timeout` says that it may run longer.
const LIFETIME_OF_A_COMMAND: Duration = Duration::from_secs(24 * 3600);

/// How long it lives when other terminals use it.
const LIFETIME_WITHOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long it lives at most, whatever `--timeout` says.
const LIFETIME_AT_MOST: Duration = Duration::from_secs(90 * 24 * 3600);

/// How long the authority lives: no shorter than the run may take.
pub(super) fn lifetime(is_alone: bool, timeout: Option<Duration>) -> Duration {
    let usual = if is_alone {
        LIFETIME_WITHOUT
    } else {
        LIFETIME_OF_A_COMMAND
    };
    timeout.map_or(usual, |timeout| timeout.clamp(usual, LIFETIME_AT_MOST))
}

/// Says so when a run outlives its authority: its clients would only speak of a certificate.
pub(super) async fn outlived(global: &Global, lifetime: Duration) -> Infallible {
    tokio::time::sleep(lifetime).await;
    let hours = lifetime.as_secs() / 3600;
    warn(
        global,
        format!(
            "this run's root has ended after {hours} h: no new connection will be trusted; \
             start again, with --timeout for a longer one"
        ),
    );
    std::future::pending().await
}

/// Runs the command, or waits for a signal where there is none.
pub(super) async fn until_end(
    command: &child::Command,
    ends: Option<Ends>,
    live: &Live,
    clock: Clock,
) -> Result<Outcome, Failure> {
    let mut in_flight = Vec::new();
    let mut in_flight_at = Timestamp::default();
    // The clients of a recorder without a command run in other terminals, and know of no signal.
    let clients_hear = ends.is_none();
    let mut interrupted = |by: Interruption| {
        in_flight = live.cut_off_by(&in_words(by, command.timeout), clients_hear);
        in_flight_at = live.now();
    };
    let (code, interruption) = if let Some(ends) = ends {
        let interruption = ends.heard(command.timeout).await;
        interrupted(interruption);
        (None, Some(interruption))
    } else {
        let end = child::run(command, &mut interrupted).await;
        let end = end.map_err(not_run)?;
        (Some(end.code), end.interruption)
    };
    Ok(Outcome {
        code,
        in_flight,
        in_flight_at,
        interruption,
        wall_us: clock.now().as_micros(),
    })
}

/// What ends a session early, as the user knows it: `--timeout 6s`, `Ctrl-C`.
pub(super) fn in_words(by: Interruption, timeout: Option<Duration>) -> String {
    match (by, timeout) {
        (Interruption::Interrupt, _) => String::from("Ctrl-C"),
        (Interruption::Terminate, _) => String::from("a signal"),
        (Interruption::Timeout, Some(timeout)) => format!("--timeout {timeout:?}"),
        (Interruption::Timeout, None) => String::from("--timeout"),
    }
}

/// The exit codes of GNU env(1).
pub(super) fn not_run(error: SpawnError) -> Failure {
    let code = match &error {
        SpawnError::NotFound { .. } | SpawnError::NoInterpreter { .. } => 127,
        SpawnError::NotExecutable { .. } => 126,
        SpawnError::Signals(_) => 125,
    };
    Failure::new(code, anyhow!(error))
}

/// What ends a session without a command.
pub(super) struct Ends {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Ends {
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn heard(mut self, timeout: Option<Duration>) -> Interruption {
        let timed_out = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Interruption::Interrupt,
            _ = self.terminate.recv() => Interruption::Terminate,
            _ = self.hang_up.recv() => Interruption::Terminate,
            () = timed_out => Interruption::Timeout,
        }
    }
}
