//! One exchange as a TCP stream of its own, packet by packet, lazily: only heads are in memory.
//!
//! SYN where the exchange began, the handshake's end where connecting ended, the first byte of the
//! request where `send` begins and that of the response where `wait` ends, FIN where all was over:
//! so the phases can be read off the packets.

use std::io::{self, Write};

use bytes::Bytes;

use super::message::Message;
use crate::capture::frame::{ACK, Ends, FIN, RST, SEGMENT, SYN};
use crate::capture::sink::Sink;
use crate::capture::tcp::{Flow, Sent};
use crate::exchange::{Phase, Timings};

/// The times that packets get, nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) began: u64,
    pub(super) connected: u64,
    pub(super) sending: u64,
    pub(super) sent: u64,
    pub(super) heard: u64,
    pub(super) over: u64,
}

impl Times {
    /// From the start of an exchange, by its phases.
    pub(super) fn new(began: u64, phases: &Timings) -> Self {
        let after = |start: u64, of: &[Phase]| {
            let us = of.iter().filter_map(|phase| phases[*phase]);
            let us = us.fold(0_u64, u64::saturating_add);
            start.saturating_add(us.saturating_mul(1000))
        };
        let connected = after(began, &[Phase::Dns, Phase::Connect]);
        let sending = after(connected, &[Phase::Blocked, Phase::Tls]);
        let sent = after(sending, &[Phase::Send]);
        let heard = after(sent, &[Phase::Wait]);
        Self {
            began,
            connected,
            sending,
            sent,
            heard,
            over: after(heard, &[Phase::Receive]),
        }
    }
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// Both sides are done.
    Finished,
    /// The server side resets it.
    Reset,
    /// The recording does not say.
    Open,
}

/// The next packet of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Syn,
    SynAck,
    Ack,
    Request,
    Response,
    Ending(u8),
    Done,
}

/// A stream that is being written.
pub(super) struct Stream {
    flow: Flow,
    times: Times,
    step: Step,
    is_connected: bool,
    content: Content,
    ending: StreamEnd,
}

/// What is shown on the stream of an exchange.
#[derive(Default)]
pub(super) struct Content {
    pub(super) request: Option<Message>,
    pub(super) response: Option<Message>,
    pub(super) comments: Comments,
}

/// The comments on the packets of a stream.
#[derive(Debug, Default)]
pub(super) struct Comments {
    /// On the stream's first packet, if no bytes of it are shown.
    pub(super) first: Option<String>,
    /// On the first packet of what the client sends.
    pub(super) request: Option<String>,
    /// On the first packet of what the server sends.
    pub(super) response: Option<String>,
    /// On the packet that ends it, if there is no response.
    pub(super) ending: Option<String>,
}

impl Stream {
    /// An exchange.
    pub(super) fn of_exchange(
        ends: Ends,
        times: Times,
        content: Content,
        ending: StreamEnd,
    ) -> Self {
        Self {
            content,
            ..Self::of_connection(ends, times, true, ending, String::new())
        }
    }

    /// A connection whose bytes are not shown.
    pub(super) fn of_connection(
        ends: Ends,
        times: Times,
        is_connected: bool,
        ending: StreamEnd,
        comment: String,
    ) -> Self {
        Self {
            flow: Flow::new(ends, [0, 0]),
            times,
            step: Step::Syn,
            is_connected,
            content: Content {
                comments: Comments {
                    first: Some(comment),
                    ..Comments::default()
                },
                ..Content::default()
            },
            ending,
        }
    }

    /// When the next packet is due, nanoseconds since 1970; `None` if there is none.
    pub(super) fn due(&self) -> Option<u64> {
        let times = &self.times;
        Some(match self.step {
            Step::Syn => times.began,
            Step::SynAck | Step::Ack => times.connected,
            Step::Request => between(times.sending, times.sent, self.content.request.as_ref()),
            Step::Response => between(times.heard, times.over, self.content.response.as_ref()),
            Step::Ending(_) => times.over,
            Step::Done => return None,
        })
    }

    /// Writes the next packet. Gives the error of a body that could not be read to its end, which does not
    /// end the stream.
    pub(super) fn write<W: Write>(&mut self, sink: &mut Sink<W>) -> io::Result<Option<io::Error>> {
        let due = self.due().unwrap_or_default();
        let (client, server) = (Sent::by_client(due), Sent::by_server(due));
        let mut broken = None;
        let flow = &mut self.flow;
        match self.step {
            Step::Syn => {
                let comment = self.content.comments.first.take();
                flow.bare(sink, client, SYN, comment.as_deref())?;
            }
            Step::SynAck => flow.bare(sink, server, SYN | ACK, None)?,
            Step::Ack => flow.bare(sink, client, ACK, None)?,
            Step::Request => broken = self.data(sink, client)?,
            Step::Response => broken = self.data(sink, server)?,
            Step::Ending(0) if self.ending == StreamEnd::Reset => {
                let comment = self.content.comments.ending.take();
                flow.bare(sink, server, RST | ACK, comment.as_deref())?;
            }
            Step::Ending(0) => flow.bare(sink, client, FIN | ACK, None)?,
            Step::Ending(1) => flow.bare(sink, server, FIN | ACK, None)?,
            Step::Ending(_) => flow.bare(sink, client, ACK, None)?,
            Step::Done => {}
        }
        self.step = self.after();
        Ok(broken)
    }

    /// The step that follows.
    fn after(&mut self) -> Step {
        let is_over = |message: &Option<Message>| message.as_ref().is_none_or(Message::is_over);
        let ending = match self.ending {
            StreamEnd::Open => Step::Done,
            StreamEnd::Finished | StreamEnd::Reset => Step::Ending(0),
        };
        match self.step {
            Step::Syn if self.is_connected => Step::SynAck,
            Step::Syn => Step::Done,
            Step::SynAck => Step::Ack,
            Step::Ack | Step::Request if !is_over(&self.content.request) => Step::Request,
            Step::Ack | Step::Request | Step::Response if !is_over(&self.content.response) => {
                self.content.request = None;
                Step::Response
            }
            Step::Ack | Step::Request | Step::Response => ending,
            Step::Ending(0) if self.ending == StreamEnd::Reset => Step::Done,
            Step::Ending(number) if number < 2 => Step::Ending(number + 1),
            Step::Ending(_) | Step::Done => Step::Done,
        }
    }

    /// Writes the next packet of a message, and the receiver's acknowledgement where one is due.
    fn data<W: Write>(&mut self, sink: &mut Sink<W>, sent: Sent) -> io::Result<Option<io::Error>> {
        let (message, comment) = if sent.is_clients {
            (
                &mut self.content.request,
                self.content.comments.request.take(),
            )
        } else {
            (
                &mut self.content.response,
                self.content.comments.response.take(),
            )
        };
        let Some(message) = message else {
            return Ok(None);
        };
        let bytes = (message.total - message.taken).min(SEGMENT);
        let mut broken = None;
        let payload = |out: &mut Vec<u8>| {
            if let Err(error) = message.take(out, bytes) {
                message.give_up();
                broken = Some(error);
            }
            Bytes::new()
        };
        let flow = &mut self.flow;
        flow.data(sink, sent, bytes, comment.as_deref(), payload)?;
        if !message.is_over() {
            let receiver = Sent {
                is_clients: !sent.is_clients,
                ..sent
            };
            flow.acknowledge(sink, receiver)?;
        }
        Ok(broken)
    }
}

/// When the next part of a message is due: its parts lie evenly between its first and its last byte.
fn between(from: u64, to: u64, message: Option<&Message>) -> u64 {
    let Some(message) = message else {
        return from;
    };
    let last = message.total.saturating_sub(1) / SEGMENT;
    let part = message.taken / SEGMENT;
    let span = u128::from(to.saturating_sub(from));
    let offset = span * u128::from(part.min(last)) / u128::from(last.max(1));
    from.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
}
