//! The long part of a connection's life: serving or relaying, once its opening is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server;
use tokio_util::sync::CancellationToken;

use super::access::Gate;
use super::channel::Channel;
use super::connection::{ClientIo, Connection};
use super::io::Prefixed;
use super::room::Doing;
use super::serve;
use super::tunnel;
use crate::capture::{Stream, Wire};

/// What the opening of a connection led to. Its future is dropped before what follows begins: it is
/// larger, and would else be kept for as long as the connection lasts.
pub(super) enum Next {
    /// Nothing more; why.
    Over(String),
    /// Requests come in clear text.
    Plain(Arc<Channel>, Prefixed<ClientIo>),
    /// Requests come inside TLS.
    Intercepted(Arc<Channel>, Box<server::TlsStream<Prefixed<ClientIo>>>),
    /// Octets pass both ways.
    Tunnel(Prefixed<ClientIo>, Wire),
}

impl Connection {
    /// What comes after the opening, for the rest of the connection's life.
    pub(super) async fn follow(&mut self, next: Next) -> String {
        let seat = Arc::clone(&self.place.seat);
        match next {
            Next::Over(why) => why,
            Next::Tunnel(mut io, mut upstream) => {
                self.is_tunnel = true;
                let legs = self.stream.iter().chain(upstream.stream());
                legs.for_each(Stream::blinds);
                seat.does(Doing::Tunnel(self.context.clock.now()));
                tunnel::relay(&self.context, &mut io, &mut upstream, &self.marks).await
            }
            Next::Plain(channel, io) => {
                let gate = Some(self.gate.clone());
                self.serve(channel, io, gate).await
            }
            // Boxed: a future holds a value once for every step that passes it on.
            Next::Intercepted(channel, io) => self.serve(channel, io, None).await,
        }
    }

    async fn serve<IO>(&self, channel: Arc<Channel>, io: IO, gate: Option<Gate>) -> String
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let seat = &self.place.seat;
        seat.does(Doing::Serving(Arc::clone(channel.watch())));
        self.serving.store(true, Ordering::Relaxed);
        // Boxed with its exact type, so that the other ways do not take its room.
        let mut serving = Box::pin(serve::run(Arc::clone(&channel), io, gate));
        tokio::select! {
            why = &mut serving => why,
            () = seat.leave.cancelled() => {
                channel.ended.cancel();
                tokio::select! {
                    _ = &mut serving => {}
                    () = overstays(&channel) => {}
                }
                String::from(ROOM_WANTED)
            }
        }
    }
}

/// How long who was told to go may take to leave once all is answered.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Returns once a client that was told to go has had its time. Over HTTP/2 it has to say that it
/// heard us, and may never do so.
async fn overstays(channel: &Channel) {
    let clock = channel.context().clock;
    let told = clock.now();
    loop {
        let now = clock.now();
        let done = channel.watch().done_since();
        let until = done.map_or(now, |done| done.max(told)) + LEAVE_WITHIN;
        if now >= until {
            return;
        }
        tokio::time::sleep_until(clock.instant(until)).await;
    }
}

/// Returns when a connection that serves nobody has to go.
pub(super) async fn left(leave: &CancellationToken, serving: &AtomicBool) {
    leave.cancelled().await;
    if serving.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// Why an idle connection ended: all descriptors that are for clients are taken.
pub(super) const ROOM_WANTED: &str = "idle, and its place was wanted by another client";
