//! A blind tunnel: bytes both ways, unread; only their number and times are kept.

use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;

use super::client::{Client, ClientIo, PLACE_WANTED};
use crate::capture::{Stream, Wire};
use crate::clock::Clock;
use crate::proxy::io::{Marks, Prefixed};
use crate::proxy::places::IDLE_TUNNEL;

/// Bytes on their way, each direction. Larger buffers save little (the bytes wait in the kernel
/// anyway), and an idle tunnel keeps both.
const BUFFER_BYTES: usize = 8 * 1024;

/// A tunnel that is open.
pub(super) struct Tunnel {
    pub(super) client: Prefixed<ClientIo>,
    pub(super) upstream: Wire,
}

impl Tunnel {
    /// Relays until both sides have closed, either breaks off, nothing passes for too long, or we
    /// are told to stop. Says how it ended.
    pub(super) async fn relay(mut self, client: &Client) -> String {
        let context = &client.context;
        let legs = client.captured.iter().chain(self.upstream.stream());
        legs.for_each(Stream::blinds);
        let (began, marks) = (context.clock.now(), &client.marks);
        let idle_since = || Some(marks.last_passed().max(began));
        let wanted = client.place.wanted(IDLE_TUNNEL, idle_since);
        let copying = copy_bidirectional_with_sizes(
            &mut self.client,
            &mut self.upstream,
            BUFFER_BYTES,
            BUFFER_BYTES,
        );
        let limit = context.deadlines.tunnel_idle;
        tokio::select! {
            outcome = copying => match outcome {
                Ok(_) => String::from("both sides closed"),
                Err(error) => error.to_string(),
            },
            () = idle(context.clock, &client.marks, limit) => {
                format!("nothing passed for {limit:?}")
            }
            () = context.stop.cancelled() => context.stopped(),
            () = wanted => String::from(PLACE_WANTED),
        }
    }
}

/// Returns once no byte has passed for `limit`.
async fn idle(clock: Clock, marks: &Marks, limit: Duration) {
    // Before the first byte the tunnel's own beginning counts.
    let began = clock.now();
    loop {
        let deadline = marks.last_passed().max(began) + limit;
        if clock.now() >= deadline {
            return;
        }
        tokio::time::sleep_until(clock.instant(deadline)).await;
    }
}
