//! A packet capture of what the journal tells: for Wireshark, tshark and all that read pcapng.
//!
//! Synthesised: each exchange is a TCP stream of its own, since Wireshark mispairs exchanges that
//! share one, in clear text on port 80, HTTP/2 as HTTP/1.1. Server addresses, times and octets are
//! the real ones; what was made up is said in the comments. Octets that are not shown still count: a
//! packet is cut short, as a capture with a small snapshot length is.

mod capture;
mod message;
mod places;
mod stream;
mod words;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(crate) use self::capture::Capture;
use self::message::{Message, Shown, broken_head, request_head};
use self::places::Places;
use self::stream::{Comments, Ending, Stream, Times};
use super::source::Bodies;
use crate::capture::frame::Interface;
use crate::capture::sink::{Section, Sink};
use crate::clock::Timestamp;
use crate::exchange::{Body, Exchange, MadeBy, Mode, Opened, Outcome, Phase, Target};
use crate::recording::format::Open;
use crate::recording::reader::RowState;
use crate::recording::{ConnectionRow, Row};

/// Larger bodies are cut to [`CUT`] unless all are wanted.
const SMALL: u64 = 64 * 1024;

/// How many octets are shown of a body that is cut.
const CUT: u64 = 4096;

/// What is read when its turn has come.
pub(crate) trait Source {
    /// The exchange of a row; `None` if it cannot be read, which is for the source to tell.
    fn exchange(&mut self, row: &Row) -> Option<Exchange>;
    /// A body's octets from the first one on; `None` if it cannot be read.
    fn body(&mut self, row: &Row, body: &Body) -> Option<Box<dyn Read>>;
    /// Told when a body breaks off while it is read.
    fn broke(&mut self, row: &Row, error: &io::Error);
}

/// Writes the capture, and returns how many packets it has. `out` is flushed.
pub(crate) fn write<W: Write>(
    out: W,
    capture: &Capture<'_>,
    source: &mut impl Source,
) -> io::Result<u64> {
    let comment = words::of_section(capture);
    let section = Section {
        tool: &capture.manifest.tool,
        comment: &comment,
        origin: "made from the journal",
    };
    let mut sink = Sink::new(out, &section)?;
    sink.names(&names(capture))?;
    let walls = walls(capture.runs);
    let mut merge = Merge {
        capture,
        walls: &walls,
        source,
        places: Places::default(),
        streams: BinaryHeap::new(),
        begun: 0,
    };
    let mut silent = silent(capture, &walls).into_iter().peekable();
    for &row in capture.rows {
        let began = nanoseconds(&walls, row.run, row.started);
        while let Some((at, connection)) = silent.next_if(|(at, _)| *at <= began) {
            merge.until(&mut sink, at)?;
            merge.connection(at, connection);
        }
        merge.until(&mut sink, began)?;
        merge.exchange(began, row);
    }
    for (at, connection) in silent {
        merge.until(&mut sink, at)?;
        merge.connection(at, connection);
    }
    merge.until(&mut sink, u64::MAX)?;
    sink.flush()?;
    Ok(sink.packets)
}

/// Streams that overlap, by when their next packets are due.
struct Merge<'a, S> {
    capture: &'a Capture<'a>,
    walls: &'a [i128],
    source: &'a mut S,
    places: Places,
    streams: BinaryHeap<Due<'a>>,
    begun: u64,
}

/// A stream by its next packet's time, then by its number, which decides between equal times.
struct Due<'a> {
    key: Reverse<(u64, u64)>,
    row: Option<&'a Row>,
    stream: Box<Stream>,
}

impl PartialEq for Due<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Due<'_> {}

impl PartialOrd for Due<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl<'a, S: Source> Merge<'a, S> {
    /// Writes all packets that are due before `limit`.
    fn until<W: Write>(&mut self, sink: &mut Sink<W>, limit: u64) -> io::Result<()> {
        while let Some(mut due) = self.streams.pop_if_before(limit) {
            let Reverse((_, number)) = due.key;
            if let Some(error) = due.stream.write(sink)?
                && let Some(row) = due.row
            {
                self.source.broke(row, &error);
            }
            if let Some(at) = due.stream.due() {
                due.key = Reverse((at, number));
                self.streams.push(due);
            }
        }
        Ok(())
    }

    fn begin(&mut self, row: Option<&'a Row>, stream: Stream) {
        let Some(at) = stream.due() else {
            return;
        };
        self.begun += 1;
        self.streams.push(Due {
            key: Reverse((at, self.begun)),
            row,
            stream: Box::new(stream),
        });
    }

    fn exchange(&mut self, began: u64, row: &'a Row) {
        let Some(exchange) = self.source.exchange(row) else {
            return;
        };
        let dial = self.dial(row);
        let interface = interface(row);
        let ends = self.places.of_exchange(dial, interface);
        let asked = exchange.request_body();
        let request = Message::new(
            request_head(&exchange.begin, asked),
            asked.map_or(0, |body| body.bytes),
            self.shown(row, asked),
        );
        let mut comments = Comments {
            request: Some(words::of_request(self.capture, row, &exchange, dial)),
            ..Comments::default()
        };
        let (response, ending) = self.response(row, &exchange, &mut comments);
        let times = Times::new(began, &row.phases);
        let messages = (request, response);
        let stream = Stream::of_exchange(ends, times, messages, ending, comments);
        self.begin(Some(row), stream);
    }

    /// What came back, and how the stream ends.
    fn response(
        &mut self,
        row: &Row,
        exchange: &Exchange,
        comments: &mut Comments,
    ) -> (Option<Message>, Ending) {
        let told = |shown| Some(words::of_response(self.capture, row, exchange, shown));
        match &exchange.outcome {
            Outcome::InFlight => (None, Ending::Open),
            Outcome::Ended(end) => {
                let shown = self.shown(row, end.body.as_ref());
                comments.response = told(shown.bytes);
                let message = Message::of_response(&exchange.begin, end, shown);
                (Some(message), Ending::Finished)
            }
            Outcome::Aborted(abort) => {
                let Some(head) = broken_head(abort) else {
                    comments.ending = told(0);
                    return (None, Ending::Reset);
                };
                comments.response = told(0);
                // A head without a length is shown only where the stream ends in order.
                let ending = match abort.body_bytes {
                    0 => Ending::Finished,
                    _ => Ending::Reset,
                };
                let message = Message::new(head, abort.body_bytes, Shown::NOTHING);
                (Some(message), ending)
            }
        }
    }

    fn connection(&mut self, began: u64, connection: Silent<'a>) {
        let Silent { dial, row, run } = connection;
        let us = |us: Option<u64>| us.unwrap_or(0).saturating_mul(1000);
        let connected = began
            .saturating_add(us(dial.dns_us))
            .saturating_add(us(dial.connect_us));
        let closed = row.closed_at.filter(|_| row.closed.is_some());
        let over = closed.map_or(connected, |at| nanoseconds(self.walls, run, at));
        let times = Times {
            began,
            connected,
            sending: connected,
            sent: connected,
            heard: connected,
            over: over.max(connected),
        };
        let ending = if closed.is_some() {
            Ending::Finished
        } else {
            Ending::Open
        };
        let comment = words::of_connection(self.capture, run, dial, row.closed.as_ref());
        let ends = self.places.of_connection(dial);
        let is_connected = dial
            .upstream
            .as_ref()
            .is_some_and(|side| side.addr.is_some());
        let stream = Stream::of_connection(ends, times, is_connected, ending, comment);
        self.begin(None, stream);
    }

    fn dial(&self, row: &Row) -> Option<&'a Opened> {
        let key = (row.run, row.connection);
        let id = |(run, connection): &(u32, &ConnectionRow)| {
            let dial = connection.dials().next();
            let closed = connection.closed.as_ref().map(|closed| closed.id);
            (
                *run,
                dial.map(|dial| dial.id).or(closed).unwrap_or_default(),
            )
        };
        let connections = self.capture.connections;
        let index = connections.binary_search_by_key(&key, id).ok()?;
        connections[index].1.dial_of(&row.url, row.until())
    }

    fn shown(&mut self, row: &Row, body: Option<&Body>) -> Shown {
        let Some(body) = body.filter(|body| body.kept && body.bytes > 0) else {
            return Shown::NOTHING;
        };
        let bytes = match self.capture.bodies {
            Bodies::None => return Shown::NOTHING,
            Bodies::Small if body.bytes > SMALL => CUT,
            Bodies::Small | Bodies::All => body.bytes,
        };
        let reader: Option<Box<dyn Read>> = match &body.inline {
            Some(octets) => Some(Box::new(io::Cursor::new(octets.0.clone()))),
            None => self.source.body(row, body),
        };
        match reader {
            Some(reader) => Shown {
                bytes,
                reader: Some(reader),
            },
            None => Shown::NOTHING,
        }
    }
}

trait PopBefore<'a> {
    fn pop_if_before(&mut self, limit: u64) -> Option<Due<'a>>;
}

impl<'a> PopBefore<'a> for BinaryHeap<Due<'a>> {
    fn pop_if_before(&mut self, limit: u64) -> Option<Due<'a>> {
        let Reverse((at, _)) = self.peek()?.key;
        if at < limit || limit == u64::MAX {
            self.pop()
        } else {
            None
        }
    }
}

/// Where an exchange is shown: upstream if anything of it got there.
fn interface(row: &Row) -> Interface {
    let was_sent = row.phases[Phase::Send].is_some();
    match (row.state, row.made_by) {
        (RowState::Ended, Some(MadeBy::Modtape)) => Interface::Client,
        (RowState::Ended, _) => Interface::Upstream,
        _ if was_sent => Interface::Upstream,
        _ => Interface::Client,
    }
}

/// A connection that no exchange was shown on.
struct Silent<'a> {
    run: u32,
    row: &'a ConnectionRow,
    dial: &'a Opened,
}

/// Tunnels, dials that failed, and connections that were never used, by the time of their dials.
fn silent<'a>(capture: &Capture<'a>, walls: &[i128]) -> Vec<(u64, Silent<'a>)> {
    let used: BTreeSet<_> = capture
        .rows
        .iter()
        .filter(|row| interface(row) == Interface::Upstream)
        .map(|row| (row.run, row.connection))
        .collect();
    let connections = capture.connections.iter().filter_map(|(run, row)| {
        let dial = row.opened.as_ref()?;
        let is_silent = dial.mode == Mode::Tunnel || !used.contains(&(*run, dial.id));
        let was_dialled = dial.upstream.is_some() || !dial.tries.is_empty();
        (is_silent && was_dialled).then(|| {
            let at = nanoseconds(walls, *run, dial.started_us);
            (
                at,
                Silent {
                    run: *run,
                    row,
                    dial,
                },
            )
        })
    });
    let mut silent: Vec<_> = connections.collect();
    silent.sort_by_key(|(at, connection)| (*at, connection.dial.id));
    silent
}

/// Each address that was dialled without a parent proxy, with the name that led to it.
fn names(capture: &Capture<'_>) -> BTreeSet<(IpAddr, String)> {
    let dials = capture.connections.iter().flat_map(|(_, row)| row.dials());
    let named = dials.filter_map(|dial| {
        let upstream = dial.upstream.as_ref().filter(|side| side.via.is_none())?;
        let address: SocketAddr = upstream.addr.as_ref()?.parse().ok()?;
        let target: Target = dial.target.parse().ok()?;
        let is_name = target.ip().is_none();
        is_name.then(|| (address.ip().to_canonical(), target.host().to_owned()))
    });
    named.collect()
}

/// When each run began, nanoseconds since 1970.
fn walls(runs: &[Open]) -> Vec<i128> {
    let wall = |open: &Open| OffsetDateTime::parse(&open.wall, &Rfc3339).ok();
    let walls = runs.iter().map(wall);
    let walls = walls.map(|wall| wall.map_or(0, OffsetDateTime::unix_timestamp_nanos));
    walls.collect()
}

/// Nanoseconds since 1970 of a stamp; 0 where there is no such time.
fn nanoseconds(walls: &[i128], run: u32, stamp: Timestamp) -> u64 {
    let wall = usize::try_from(run).ok().and_then(|run| walls.get(run));
    let stamp = i128::from(stamp.as_micros()) * 1000;
    u64::try_from(wall.unwrap_or(&0).saturating_add(stamp)).unwrap_or(0)
}
