//! The life of one client connection, as states that consume themselves: each step takes what the
//! one before has found out, and gives the next, or says why the connection is over.
//!
//! ```text
//! accepted ─→ Connect ─→ Connected ─→ Hello ─→ Intercepted    requests inside TLS
//!          │                       └→ Blind ─→ Tunnel         bytes both ways, unread
//!          └→ Plain                                           requests in clear text
//! ```
//!
//! One place records the end.

mod client;
mod connect;
mod intercept;
pub(super) mod opening;
mod refusal;
mod serve;
mod tunnel;

use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use self::client::{Client, ClientIo, PLACE_WANTED};
use self::connect::{Connect, Connected, Inside};
use self::intercept::Intercepted;
use self::opening::Opening;
use self::tunnel::Tunnel;
use super::client_leg::{ClientLeg, Destination};
use super::context::Context;
use super::io::{Prefixed, Tap};
use super::places::Place;
use super::upstreams::Upstreams;
use crate::capture::{Stream, Wire};
use crate::exchange::{ConnectionId, chain};
use crate::tls::Protocol;
use crate::upstream::keep_alive;

/// What a listener's clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// HTTP to a proxy: CONNECT, or absolute URLs.
    Proxy,
    /// TLS to what they take for the origin; the server name says which.
    Origin,
}

/// The client's first request.
enum FirstRequest {
    Connect(Connect),
    Plain(Plain),
}

/// Requests in clear text, with absolute URLs.
struct Plain {
    io: Prefixed<ClientIo>,
}

/// A connection that is set up, for the rest of its life.
enum Open {
    Plain(Plain),
    Intercepted(Intercepted),
    Tunnel(Tunnel),
}

/// Lives the life of a connection and records its end.
pub(super) async fn run(
    context: Arc<Context>,
    id: ConnectionId,
    place: Place,
    socket: TcpStream,
    peer: SocketAddr,
    entrance: Entrance,
) {
    // Head and body leave as separate writes: without this the second waits for an ACK.
    let _ = socket.set_nodelay(true);
    keep_alive(&socket);
    let wire = Wire::accepted(socket, peer, context.capture.as_ref());
    let mut client = Client::new(context, id, place, peer, wire.stream().cloned());
    if let Some(captured) = &client.captured {
        captured.has_read(format!("connection={id}"));
    }
    let io = Tap::new(wire, Arc::clone(&client.marks));
    let context = Arc::clone(&client.context);
    let wanted = client.place.wanted_in_setup(Arc::clone(&client.marks));
    let open = tokio::select! {
        // First the setup itself: it records how far a connection came that is stopped.
        biased;
        // Boxed, and dropped before what follows begins: it is larger, and would else be kept for
        // as long as the connection lasts.
        open = Box::pin(open(&mut client, io, entrance)) => open,
        () = context.stop.cancelled() => Err(context.stopped()),
        () = wanted => Err(String::from(PLACE_WANTED)),
    };
    let is_tunnel = matches!(open, Ok(Open::Tunnel(_)));
    let why = match open {
        Ok(Open::Plain(plain)) => plain.serve(&client).await,
        Ok(Open::Intercepted(intercepted)) => intercepted.serve(&client).await,
        Ok(Open::Tunnel(tunnel)) => tunnel.relay(&client).await,
        Err(why) => why,
    };
    client.closed(is_tunnel, &why);
}

/// The whole setup, or why the connection is over before.
async fn open(client: &mut Client, io: ClientIo, entrance: Entrance) -> Result<Open, String> {
    let connected = match entrance {
        Entrance::Origin => Connected::to_origin(io)?,
        Entrance::Proxy => match first_request(client, io).await? {
            FirstRequest::Connect(connect) => connect.dial(client).await?,
            FirstRequest::Plain(plain) => return Ok(Open::Plain(plain)),
        },
    };
    Ok(match connected.listen(client).await? {
        Inside::Hello(hello) => Open::Intercepted(Intercepted::after(hello, client).await?),
        Inside::Blind(blind) => Open::Tunnel(blind.open(client)?),
    })
}

/// Reads the first request that may pass; a CONNECT has to show the token, where one is asked for.
async fn first_request(client: &mut Client, mut io: ClientIo) -> Result<FirstRequest, String> {
    loop {
        let head = match read_opening(client, &mut io).await? {
            Opening::Connect(head) => head,
            Opening::Request { read } => {
                let io = Prefixed::new(read, io);
                return Ok(FirstRequest::Plain(Plain { io }));
            }
            Opening::Tls => {
                let why = "the client spoke TLS to the proxy port: use http://";
                return Err(why.to_owned());
            }
        };
        let credentials = head.credentials.iter().map(Vec::as_slice);
        if client.gate.admits(credentials) {
            return Ok(FirstRequest::Connect(Connect { io, head }));
        }
        client.denied_target = head.target.to_string();
        // A client that did not wait for the answer has sent bytes that are no request.
        let closes = client.gate.is_shut() || !head.rest.is_empty();
        let answer = client.gate.challenge_head(closes);
        if let Err(error) = io.write_all(answer.as_bytes()).await {
            return Err(format!("the client broke off: {error}"));
        }
        if closes {
            client.hang_up(&mut io).await;
            return Err(String::from("the client did not show the token"));
        }
        client.marks.expect_read();
    }
}

async fn read_opening(client: &mut Client, io: &mut ClientIo) -> Result<Opening, String> {
    let limit = client.context.deadlines.connect_head;
    match tokio::time::timeout(limit, opening::read(io)).await {
        Ok(Ok(opening)) => {
            client.started = client.marks.first_read().unwrap_or(client.started);
            Ok(opening)
        }
        Ok(Err(error)) => {
            let why = chain(&error);
            client.refuse(io, StatusCode::BAD_REQUEST, None, &why).await;
            Err(why)
        }
        Err(_) => Err(format!("the client sent no whole head within {limit:?}")),
    }
}

impl Plain {
    async fn serve(self, client: &Client) -> String {
        client.captured.iter().for_each(Stream::is_plain);
        let leg = ClientLeg::new(
            &client.context,
            client.id,
            client.side(),
            Destination::Plain,
            Protocol::Http1,
            client.captured.clone(),
        );
        let upstreams = Upstreams::new(leg, None, None);
        serve::run(client, upstreams, self.io, Some(client.gate.clone())).await
    }
}
