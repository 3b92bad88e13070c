//! The client leg: what happens to a TCP connection from the go command.
//!
//! It opens with `CONNECT host:port`. We relay it blindly (a tunnel), or answer the TLS handshake
//! ourselves (interception) and serve the requests inside. Never prints, never touches a file.

mod access;
mod answer;
mod cause;
mod client_leg;
mod connection_log;
mod context;
mod fill;
mod gateway;
mod git;
mod guard;
mod handler;
mod headers;
mod io;
mod limits;
mod live;
mod places;
mod policy;
mod pool;
mod propagation;
mod replayed;
mod request_body;
mod response_body;
mod response_head;
mod session;
mod stall;
mod stream_limit;
mod ticket;
mod upstream_connection;
mod upstreams;
mod windows;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

pub use access::Access;
pub(crate) use access::{Credentials, Token};
pub(crate) use answer::{ID_FIELD, NAME};
pub use context::{Context, Responder};
pub(crate) use fill::{Fetch, Fetching, Fill, Filled};
pub use gateway::Gateway;
pub use limits::Deadlines;
pub use live::Live;
pub(crate) use live::{InFlight, Passed};
pub use policy::Others;
pub use policy::Policy;
pub(crate) use pool::IDLE_MOST;
pub use propagation::Propagation;
pub(crate) use replayed::accepts_gzip;
pub(crate) use session::Destinations;
pub use session::{Entrance, Redirection};
pub(crate) use stall::{Notice, Stalls, ends, waiting};
pub use windows::Windows;

use places::Places;

/// What holds for any bytes of a client: for fuzz targets and their twins in the tests.
#[cfg(any(test, fuzzing))]
pub mod check {
    pub use super::guard::check::requests;
    pub use super::session::check::{connect_head, hello};
}

/// How long to wait after an accept that failed for want of descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How long exchanges in flight may take to end once everything is told to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// True if only the one connection is lost that was to be accepted, and the next may be there
/// (accept(2), "Error handling").
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        matches!(
            errno,
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PERM
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
        )
    })
}

/// Accepts connections and runs their sessions.
pub struct Proxy {
    listeners: Vec<TcpListener>,
    context: Arc<Context>,
    entrance: Entrance,
    places: usize,
}

impl Proxy {
    /// Takes a bound listener: the caller knows the port, and tests bind port 0.
    pub fn new(listener: TcpListener, context: Arc<Context>, entrance: Entrance) -> Self {
        Self {
            listeners: vec![listener],
            context,
            entrance,
            places: usize::MAX,
        }
    }

    /// The same at further listeners.
    #[must_use]
    pub fn and_at(mut self, listeners: impl IntoIterator<Item = TcpListener>) -> Self {
        self.listeners.extend(listeners);
        self
    }

    /// Serves no more clients than that at once: the others wait, and idle ones make room for them.
    #[must_use]
    pub fn with_places(mut self, places: usize) -> Self {
        self.places = places;
        self
    }

    /// Accepts until the stop token is cancelled; returns once every connection's task is over.
    pub async fn run(self) {
        let context = &self.context;
        tokio::select! {
            never = self.accept() => match never {},
            () = context.stop.cancelled() => {}
        }
        drop(self.listeners);
        // With its last client, a gateway's idle upstream connections end.
        drop(self.entrance);
        context.tasks.close();
        tokio::select! {
            () = context.tasks.wait() => {}
            () = tokio::time::sleep(DRAIN) => {
                context.drained.cancel();
                context.tasks.wait().await;
            }
        }
    }

    /// The next connection of any listener; none waits for the others.
    async fn next(&self) -> std::io::Result<(TcpStream, SocketAddr)> {
        let accepted = self.context.next_connection.load(Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "only which is asked first")]
        let (later, first) = self
            .listeners
            .split_at(accepted as usize % self.listeners.len());
        poll_fn(|cx| {
            let mut listeners = first.iter().chain(later);
            let accepted = listeners.find_map(|listener| match listener.poll_accept(cx) {
                Poll::Ready(accepted) => Some(accepted),
                Poll::Pending => None,
            });
            accepted.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    async fn accept(&self) -> std::convert::Infallible {
        let context = &self.context;
        let places = Places::new(self.places, context.clock);
        let mut is_logged = false;
        loop {
            let (stream, peer) = match self.next().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !std::mem::replace(&mut is_logged, true) {
                        tracing::warn!(target: "modtape::connection", %error, "cannot accept");
                    }
                    if !is_of_one_connection(&error) {
                        tokio::time::sleep(BACK_OFF).await;
                    }
                    continue;
                }
            };
            is_logged = false;
            let id = context.next_connection.fetch_add(1, Ordering::Relaxed) + 1;
            // One client waits here with a descriptor of its own, all others in the kernel's queue.
            let Some(place) = places.enter().await else {
                continue;
            };
            let entrance = self.entrance.clone();
            let life = session::run(Arc::clone(context), id, place, stream, peer, entrance);
            context.tasks.spawn(life);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn only_what_lasts_makes_accepting_wait() {
        for (errno, expected) in [
            (Errno::CONNABORTED, true),
            (Errno::PERM, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
            (Errno::BADF, false),
        ] {
            assert_eq!(is_of_one_connection(&errno.into()), expected, "{errno}");
        }
    }
}
