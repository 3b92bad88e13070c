//! A blind tunnel: octets both ways, unread; only their number and times are kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};

use crate::capture::Wire;
use crate::clock::Clock;
use crate::proxy::context::Context;
use crate::proxy::io::Marks;

/// Octets on their way, each direction. Larger ones save little (they wait in the kernel anyway),
/// and an idle tunnel keeps both.
const BUFFER_BYTES: usize = 8 * 1024;

/// Relays until both sides have closed, somebody breaks off, nothing passes for too long, or we
/// are told to stop. Says how it ended.
pub(super) async fn relay(
    context: &Arc<Context>,
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    upstream: &mut Wire,
    marks: &Marks,
) -> String {
    let copying = copy_bidirectional_with_sizes(client, upstream, BUFFER_BYTES, BUFFER_BYTES);
    tokio::select! {
        outcome = copying => match outcome {
            Ok(_) => String::from("both sides closed"),
            Err(error) => error.to_string(),
        },
        () = idle(context.clock, marks, context.deadlines.tunnel_idle) => {
            format!("nothing passed for {:?}", context.deadlines.tunnel_idle)
        }
        () = context.stop.cancelled() => context.stopped(),
    }
}

/// Returns once no octet has passed for `limit`.
async fn idle(clock: Clock, marks: &Marks, limit: Duration) {
    // Before the first octet it is the tunnel's own beginning that counts.
    let began = clock.now();
    loop {
        let deadline = marks.last_passed().max(began) + limit;
        if clock.now() >= deadline {
            return;
        }
        tokio::time::sleep_until(clock.instant(deadline)).await;
    }
}
