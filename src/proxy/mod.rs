//! The client leg: what happens to a TCP connection from the go command.
//!
//! It opens with `CONNECT host:port`. We relay it blindly (a tunnel), or answer the TLS handshake
//! ourselves (interception) and serve the requests inside. Never prints, never touches a file.

mod accept;
mod access;
mod answer;
mod asked;
mod body;
mod channel;
#[cfg(any(test, fuzzing))]
pub mod check;
mod connection;
mod context;
mod cutter;
mod frames;
mod framing;
mod guard;
mod handler;
mod headers;
mod intercept;
mod live;
mod opening;
mod outgoing;
mod pair;
mod play;
mod policy;
mod prefixed;
mod request_body;
mod responder;
mod serve;
mod sieve;
mod stall;
mod tap;
mod ticket;
mod tunnel;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

pub use access::{Access, Token, TokenError};
pub use connection::Entrance;
pub use context::{Context, Deadlines};
pub use live::{InFlight, Live, Passed};
pub use policy::{Decision, Others, Policy};
pub use responder::Responder;
pub use stall::{Stall, Stalls};

use connection::Connection;

/// How long to wait after an accept that failed for want of descriptors.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Accepts connections and lives their lives.
pub struct Proxy {
    listener: TcpListener,
    context: Arc<Context>,
    entrance: Entrance,
}

impl Proxy {
    /// Takes a bound listener: whoever binds knows the port, and tests bind port 0.
    pub const fn new(listener: TcpListener, context: Arc<Context>, entrance: Entrance) -> Self {
        Self {
            listener,
            context,
            entrance,
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until told to stop; returns once every connection's task is over.
    pub async fn run(self) {
        let context = &self.context;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = context.stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection::new(context, peer);
                    context.tasks.spawn(connection.run(stream, self.entrance));
                }
                Err(error) => {
                    tracing::warn!(target: "modtape::connection", %error, "cannot accept");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
        drop(self.listener);
        context.tasks.close();
        context.tasks.wait().await;
    }
}
