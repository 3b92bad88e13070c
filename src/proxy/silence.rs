//! The upstream's silence before the head of its answer, where a limit to it is wished.
//!
//! It counts only while it is the upstream's turn: as long as the client uploads, or rests while it
//! does, nobody can expect an answer.

use std::time::Duration;

use super::request_body::{self, SharedKept};
use crate::clock::Clock;

/// Returns once the upstream was silent for `limit` though it was its turn; never without a limit.
pub(super) async fn silence(
    clock: Clock,
    limit: Option<Duration>,
    kept: Option<SharedKept>,
) -> Duration {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    let asked = clock.now();
    loop {
        // It may become the upstream's turn just after this look: the next one still comes in time.
        let deadline = match kept
            .as_ref()
            .map_or(Some(asked), request_body::upstreams_turn)
        {
            Some(since) => since + limit,
            None => clock.now() + limit,
        };
        if clock.now() >= deadline {
            return limit;
        }
        tokio::time::sleep_until(clock.instant(deadline)).await;
    }
}
