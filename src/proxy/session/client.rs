//! The client of a connection: what is known from accept to close.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, StatusCode};
use tokio::io::AsyncWriteExt as _;

use super::name_checks::NameCheck;
use crate::capture::{Stream, Wire};
use crate::clock::Timestamp;
use crate::exchange::{ClientSide, Closed, ConnectionId, Mode, Target};
use crate::proxy::access::Gate;
use crate::proxy::answer::Answer;
use crate::proxy::client_leg::{ClientLeg, Destination};
use crate::proxy::connection_log::{self, Setup};
use crate::proxy::context::Context;
use crate::proxy::handler;
use crate::proxy::io::{Marks, Tap, linger};
use crate::proxy::places::Place;
use crate::proxy::ticket::{Beginning, Ticket};
use crate::tls::Protocol;
use crate::upstream::Journey;

/// Why an idle connection ended: all descriptors that are for clients are taken.
pub(super) const PLACE_WANTED: &str = "idle, and its place was wanted by another client";

/// The client's socket, counted.
pub(super) type ClientIo = Tap<Wire>;

/// The client of a connection.
pub(super) struct Client {
    pub(super) context: Arc<Context>,
    pub(super) id: ConnectionId,
    pub(super) peer: SocketAddr,
    pub(super) marks: Arc<Marks>,
    /// When its first byte was read; until then, when it connected.
    pub(super) started: Timestamp,
    /// Its connection in the packet capture, if there is one.
    pub(super) captured: Option<Stream>,
    pub(super) place: Place,
    pub(super) gate: Gate,
    /// What is found out about the name that the client sent, where the kernel redirected it.
    pub(super) name_check: Option<NameCheck>,
    /// The target of the last CONNECT that came without the token; empty if there was none.
    pub(super) denied_target: String,
}

/// A CONNECT that is refused.
pub(super) struct RefusedConnect<'a> {
    pub(super) target: &'a Target,
    /// Its header fields.
    pub(super) fields: HeaderMap,
    /// How far dialling came, if it began.
    pub(super) journey: Option<&'a Journey>,
}

impl Client {
    pub(super) fn new(
        context: Arc<Context>,
        id: ConnectionId,
        place: Place,
        peer: SocketAddr,
        captured: Option<Stream>,
    ) -> Self {
        Self {
            id,
            peer,
            marks: Marks::new(context.clock),
            started: context.clock.now(),
            captured,
            place,
            gate: Gate::new(&context.access),
            name_check: None,
            denied_target: String::new(),
            context,
        }
    }

    /// The client as the records describe it, without what only TLS tells.
    pub(super) fn side(&self) -> ClientSide {
        ClientSide {
            addr: self.peer.to_string(),
            ..ClientSide::default()
        }
    }

    /// Records how the connection was set up, or why not.
    pub(super) fn opened(
        &self,
        mode: Mode,
        target: &str,
        side: &ClientSide,
        journey: Option<&Journey>,
        error: Option<&str>,
    ) {
        let setup = Setup {
            id: self.id,
            started: self.started,
            mode,
            target: target.into(),
            client: side,
            journey,
            error,
            again: false,
        };
        setup.record(&self.context);
    }

    /// Records the end of the connection. Of those that never showed the token only the first are
    /// recorded.
    pub(super) async fn closed(mut self, is_tunnel: bool, why: &str) {
        let why = self.context.redactor.text(why);
        if self.gate.is_stranger() {
            if !self.gate.is_recorded_stranger() {
                return;
            }
            let status = self.gate.status().as_u16();
            let no_token = format!("{status}: the client did not show the token");
            let error = match self.gate.has_refused() {
                true => &no_token,
                false => &why,
            };
            let target = &self.denied_target;
            self.opened(Mode::Refuse, target, &self.side(), None, Some(error));
        }
        let (from_client_bytes, to_client_bytes) = self.marks.bytes();
        let at = self.context.clock.now();
        let check = self.name_check.take();
        let note = match check {
            Some(check) => {
                // Its sockets are closed, and the resolver may be slow.
                self.place.leave();
                check.note(&self.context.stop).await
            }
            None => None,
        };
        let closed = Closed {
            id: self.id,
            from_client_bytes,
            to_client_bytes,
            tunnel: is_tunnel,
            why,
            note: note.map(|note| self.context.redactor.text(&note)),
        };
        connection_log::closed(&self.context, at, closed);
    }

    /// Answers with an error and hangs up; `connect` is what was refused, if it could be read.
    pub(super) async fn refuse(
        &self,
        io: &mut ClientIo,
        status: StatusCode,
        connect: Option<RefusedConnect<'_>>,
        why: &str,
    ) {
        let answer = Answer::refusal(status, &self.context.redactor.text(why));
        // A client that never showed the token gets one record at the end, if any: see `closed`.
        if !self.gate.is_stranger() {
            let target = connect.as_ref().map(|connect| connect.target.to_string());
            let target = target.unwrap_or_default();
            let journey = connect.as_ref().and_then(|connect| connect.journey);
            self.opened(Mode::Refuse, &target, &self.side(), journey, Some(why));
            if let Some(connect) = connect {
                answer.record(self.ticket(connect)).await;
            }
        }
        // The client may be gone already.
        let _ = io.write_all(&answer.to_bytes()).await;
        self.hang_up(io).await;
    }

    /// A refused CONNECT as an exchange. Its URL is `https://HOST/`, with the port where it is not
    /// 443: the path of the request inside is not known.
    fn ticket(&self, connect: RefusedConnect<'_>) -> Ticket {
        let leg = ClientLeg::new(
            &self.context,
            self.id,
            self.side(),
            Destination::Plain,
            Protocol::Http1,
            // The bytes that were read last may be others than its head.
            None,
        );
        leg.watch.begin();
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.headers_mut() = connect.fields;
        let beginning = Beginning {
            request: &request.into_parts().0,
            url: &handler::url("https", connect.target, "/"),
            host: connect.target.host(),
            started: self.started,
            head_bytes: 0,
        };
        let mut ticket = Ticket::begin(&Arc::new(leg), beginning);
        if let Some(journey) = connect.journey {
            ticket.owns_dial(journey);
        }
        ticket
    }

    /// Ends the connection behind our last words, at once where we are told to stop.
    pub(super) async fn hang_up(&self, io: &mut ClientIo) {
        tokio::select! {
            () = linger::hang_up(io) => {}
            () = self.context.stop.cancelled() => {}
        }
    }
}
