//! A packet capture of what the journal tells: for Wireshark, tshark and all that read pcapng.
//!
//! Synthesised: each exchange is a TCP stream of its own, since Wireshark mispairs exchanges that
//! share one, in clear text on port 80, HTTP/2 as HTTP/1.1. Server addresses, times and bytes are
//! the real ones; what was made up is said in the comments. Bytes that are not shown still count: a
//! packet is cut short, as a capture with a small snapshot length is.

mod addresses;
mod comments;
mod message;
mod stream;

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use time::OffsetDateTime;

use self::addresses::Addresses;
use self::message::{Message, Shown, broken_head, request_head};
use self::stream::{Comments, Content, Stream, StreamEnd, Times};
use super::source::{Bodies, Format, Item, Source, error_text};
use crate::capture::frame::Interface;
use crate::capture::sink::{Section, Sink};
use crate::clock::Timestamp;
use crate::exchange::{Body, Ending, ExchangeId, MadeBy, Mode, Opened, Phase, Target};
use crate::recording::reader::RowState;
use crate::recording::{ConnectionRow, Row};

/// How many bytes are shown of a body that is cut.
const CUT: u64 = 4096;

/// A packet capture that is being written.
pub(crate) struct Capture<'a, W: Write> {
    source: &'a Source<'a>,
    /// `Small` cuts what is larger than 64 KiB to [`CUT`].
    bodies: Bodies,
    /// When each run began, nanoseconds since 1970.
    walls: Vec<i128>,
    sink: Sink<W>,
    addresses: Addresses,
    /// Streams that overlap, the one whose packet is due next on top.
    streams: BinaryHeap<Due>,
    /// Connections that no exchange is shown on, the last one first.
    silent: Vec<Silent<'a>>,
    begun: u64,
    exchanges: u64,
}

impl<'a, W: Write> Capture<'a, W> {
    /// Begins a capture of the exchanges of `rows`.
    pub(crate) fn begin(
        out: W,
        source: &'a Source<'a>,
        rows: &[&Row],
        bodies: Bodies,
    ) -> io::Result<Self> {
        let manifest = source.manifest();
        let section = Section {
            tool: &manifest.tool,
            comment: &comments::of_section(manifest),
            origin: "made from the journal",
        };
        let mut sink = Sink::new(out, &section)?;
        sink.names(&names(source))?;
        let walls = source.walls().into_iter();
        let walls: Vec<_> = walls.map(OffsetDateTime::unix_timestamp_nanos).collect();
        Ok(Self {
            silent: silent(source, rows, &walls),
            source,
            bodies,
            walls,
            sink,
            addresses: Addresses::default(),
            streams: BinaryHeap::new(),
            begun: 0,
            exchanges: 0,
        })
    }
}

impl<W: Write> Format for Capture<'_, W> {
    fn push(&mut self, item: &Item<'_>) -> io::Result<()> {
        let began = nanoseconds(&self.walls, item.row.run, item.row.started);
        self.pass(began)?;
        self.exchange(began, item);
        self.exchanges += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<u64> {
        self.pass(u64::MAX)?;
        self.sink.flush()?;
        Ok(self.exchanges)
    }
}

impl<W: Write> Capture<'_, W> {
    /// Writes all that is due before `limit`.
    fn pass(&mut self, limit: u64) -> io::Result<()> {
        while let Some(connection) = self.silent.pop_if(|connection| connection.began <= limit) {
            self.write_until(connection.began)?;
            self.connection(&connection);
        }
        self.write_until(limit)
    }

    fn write_until(&mut self, limit: u64) -> io::Result<()> {
        let is_due = |due: &Due| due.at < limit || limit == u64::MAX;
        while self.streams.peek().is_some_and(is_due)
            && let Some(mut due) = self.streams.pop()
        {
            if let Some(error) = due.stream.write(&mut self.sink)? {
                self.source
                    .note_missing_body(due.exchange, &error_text(&error));
            }
            if let Some(at) = due.stream.due() {
                self.streams.push(Due { at, ..due });
            }
        }
        Ok(())
    }

    fn add(&mut self, exchange: ExchangeId, stream: Stream) {
        let Some(at) = stream.due() else {
            return;
        };
        self.begun += 1;
        self.streams.push(Due {
            at,
            number: self.begun,
            exchange,
            stream: Box::new(stream),
        });
    }

    fn exchange(&mut self, began: u64, item: &Item<'_>) {
        let asked = item.exchange.request_body();
        let request = Message::new(
            request_head(&item.exchange.begin, asked),
            asked.map_or(0, |body| body.bytes),
            self.shown(item, asked),
        );
        let mut content = Content {
            request: Some(request),
            response: None,
            comments: Comments {
                request: Some(comments::of_request(item)),
                ..Comments::default()
            },
        };
        let ending = self.response(item, &mut content);
        let ends = self.addresses.of_exchange(item.dial, interface(item.row));
        let times = Times::new(began, &item.row.phases);
        self.add(
            item.row.id,
            Stream::of_exchange(ends, times, content, ending),
        );
    }

    /// Adds what came back; gives how the stream ends.
    fn response(&self, item: &Item<'_>, content: &mut Content) -> StreamEnd {
        let told = |shown| Some(comments::of_response(item, self.bodies, shown));
        match &item.exchange.ending {
            Ending::InFlight => StreamEnd::Open,
            Ending::Ended(end) => {
                let shown = self.shown(item, end.body.as_ref());
                content.comments.response = told(shown.bytes);
                let message = Message::of_response(&item.exchange.begin, end, shown);
                content.response = Some(message);
                StreamEnd::Finished
            }
            Ending::Aborted(abort) => {
                let Some(head) = broken_head(abort) else {
                    content.comments.ending = told(0);
                    return StreamEnd::Reset;
                };
                content.comments.response = told(0);
                let message = Message::new(head, abort.body_bytes, Shown::NOTHING);
                content.response = Some(message);
                // A head without a length is shown only where the stream ends in order.
                match abort.body_bytes {
                    0 => StreamEnd::Finished,
                    _ => StreamEnd::Reset,
                }
            }
        }
    }

    fn connection(&mut self, connection: &Silent<'_>) {
        let Silent {
            began,
            run,
            row,
            dial,
        } = *connection;
        let us = |us: Option<u64>| us.unwrap_or(0).saturating_mul(1000);
        let connected = began
            .saturating_add(us(dial.dns_us))
            .saturating_add(us(dial.connect_us));
        let closed = row.closed_at.filter(|_| row.closed.is_some());
        let over = closed.map_or(connected, |at| nanoseconds(&self.walls, run, at));
        let times = Times {
            began,
            connected,
            sending: connected,
            sent: connected,
            heard: connected,
            over: over.max(connected),
        };
        let ending = match closed {
            Some(_) => StreamEnd::Finished,
            None => StreamEnd::Open,
        };
        let open = usize::try_from(run).ok();
        let open = open.and_then(|run| self.source.runs().get(run));
        let trace = open.map_or_else(|| self.source.manifest().trace, |open| open.trace);
        let comment = comments::of_connection(trace, dial, row.closed.as_ref());
        let ends = self.addresses.of_connection(dial);
        let upstream = dial.upstream.as_ref();
        let is_connected = upstream.is_some_and(|side| side.addr.is_some());
        let stream = Stream::of_connection(ends, times, is_connected, ending, comment);
        // None of its bytes are read.
        self.add(0, stream);
    }

    fn shown(&self, item: &Item<'_>, body: Option<&Body>) -> Shown {
        let Some(body) = body.filter(|body| body.kept && body.bytes > 0) else {
            return Shown::NOTHING;
        };
        if self.bodies == Bodies::None {
            return Shown::NOTHING;
        }
        let reader: Box<dyn Read> = match &body.inline {
            Some(inline) => Box::new(io::Cursor::new(inline.0.clone())),
            None => match self.source.body(item.row.id, body) {
                Ok(reader) => Box::new(reader),
                Err(_) => return Shown::NOTHING,
            },
        };
        let reader = Some(reader);
        match self.bodies.takes(body.bytes) {
            true => Shown {
                bytes: body.bytes,
                reader,
            },
            false => Shown { bytes: CUT, reader },
        }
    }
}

/// A stream by its next packet's time, then by its number, which decides between equal times.
struct Due {
    at: u64,
    number: u64,
    /// The exchange whose bodies it shows.
    exchange: ExchangeId,
    stream: Box<Stream>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The heap gives the greatest, and wanted is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
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

/// A connection that no exchange is shown on.
struct Silent<'a> {
    /// When it was dialled, nanoseconds since 1970.
    began: u64,
    run: u32,
    row: &'a ConnectionRow,
    dial: &'a Opened,
}

/// Tunnels, dials that failed, and connections that were never used, the last dial first.
fn silent<'a>(source: &Source<'a>, rows: &[&Row], walls: &[i128]) -> Vec<Silent<'a>> {
    let used: BTreeSet<_> = rows
        .iter()
        .filter(|row| interface(row) == Interface::Upstream)
        .map(|row| (row.run, row.connection))
        .collect();
    let silent = source.connections().filter_map(|(run, row)| {
        let dial = row.opened.as_ref()?;
        let is_silent = dial.mode == Mode::Tunnel || !used.contains(&(run, dial.id));
        let was_dialled = dial.upstream.is_some() || !dial.tries.is_empty();
        (is_silent && was_dialled).then(|| Silent {
            began: nanoseconds(walls, run, dial.started_us),
            run,
            row,
            dial,
        })
    });
    let mut silent: Vec<_> = silent.collect();
    silent.sort_by_key(|silent| std::cmp::Reverse((silent.began, silent.dial.id)));
    silent
}

/// Each address that was dialled without a parent proxy, with the name that led to it.
fn names(source: &Source<'_>) -> BTreeSet<(IpAddr, String)> {
    let dials = source.connections().flat_map(|(_, row)| row.dials());
    let named = dials.filter_map(|dial| {
        let upstream = dial.upstream.as_ref().filter(|side| side.via.is_none())?;
        let address: SocketAddr = upstream.addr.as_ref()?.parse().ok()?;
        let target: Target = dial.target.parse().ok()?;
        let is_name = target.ip().is_none();
        is_name.then(|| (address.ip().to_canonical(), target.host().to_owned()))
    });
    named.collect()
}

/// Nanoseconds since 1970 of a stamp; 0 for a time before 1970.
fn nanoseconds(walls: &[i128], run: u32, stamp: Timestamp) -> u64 {
    let wall = usize::try_from(run).ok().and_then(|run| walls.get(run));
    let stamp = i128::from(stamp.as_micros()) * 1000;
    u64::try_from(wall.unwrap_or(&0).saturating_add(stamp)).unwrap_or(0)
}
