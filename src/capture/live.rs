//! A live capture: started, fed with what passes, written by a thread of its own, and finished.
//!
//! The thread takes items and writes packets; the file is whole after every write.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::UNIX_EPOCH;

use super::queue::{Item, NO_STREAM, Queue, What};
use super::sink::{Section, Sink};
use super::tcp::{Sent, Tcp};
use crate::clock::{Clock, Timestamp};

/// A handle to the capture for the sockets; cheap to clone.
#[derive(Clone)]
pub struct Capture {
    pub(super) queue: Arc<Queue>,
}

/// The thread that writes the capture.
pub(crate) struct Running {
    queue: Arc<Queue>,
    thread: JoinHandle<Outcome>,
}

impl Capture {
    /// Starts a capture in the empty `file`, with the stamps of `clock`.
    pub(crate) fn start(
        file: File,
        clock: Clock,
        section: &Section<'_>,
    ) -> io::Result<(Self, Running)> {
        let queue = Arc::new(Queue::new(clock));
        let sink = Sink::new(file, section)?;
        let writer = Writer::new(Arc::clone(&queue), sink, clock)?;
        let thread = std::thread::Builder::new().name(String::from("capture"));
        let thread = thread.spawn(move || writer.run())?;
        let capture = Self {
            queue: Arc::clone(&queue),
        };
        Ok((capture, Running { queue, thread }))
    }

    /// Adds the name `host` of these `addresses`.
    pub(crate) fn names(&self, addresses: &[SocketAddr], host: &str) {
        for address in addresses {
            let name = What::Name(address.ip(), host.to_owned());
            self.queue.push(NO_STREAM, false, name);
        }
    }
}

impl Running {
    /// Waits until everything is written.
    pub(crate) fn finish(self) -> Outcome {
        self.queue.end();
        let broken = || Outcome {
            error: Some(io::Error::other("its thread panicked")),
            ..Outcome::default()
        };
        self.thread.join().unwrap_or_else(|_| broken())
    }
}

/// The tasks that wait for room are woken after this number of bytes.
const TELLING: u64 = 256 * 1024;

/// A finished capture.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Packets in the file.
    pub(crate) packets: u64,
    /// Why it ends early, if it does; the packets before that are complete.
    pub(crate) error: Option<io::Error>,
}

/// The state of the thread.
struct Writer {
    queue: Arc<Queue>,
    sink: Sink<File>,
    /// The clock's start, microseconds since 1970.
    start: u64,
    streams: HashMap<u32, Tcp>,
    /// Secrets that are written before the next packet.
    secrets: String,
}

/// Closes the queue when the thread ends, even by a panic, so that no task waits for it.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Writer {
    /// Writes the header of the file.
    fn new(queue: Arc<Queue>, mut sink: Sink<File>, clock: Clock) -> io::Result<Self> {
        sink.flush()?;
        let start = clock.wall_start().duration_since(UNIX_EPOCH);
        let start = start.map_or(0, |start| start.as_micros());
        Ok(Self {
            queue,
            sink,
            start: u64::try_from(start).unwrap_or(u64::MAX),
            streams: HashMap::new(),
            secrets: String::new(),
        })
    }

    /// Writes until the queue ends, or until writing fails.
    fn run(mut self) -> Outcome {
        let _end = End(Arc::clone(&self.queue));
        let mut work = VecDeque::new();
        let mut error = None;
        while error.is_none() && self.queue.take(&mut work) {
            error = self.write(&mut work).err();
        }
        let packets = self.sink.written;
        if let Some(error) = &error {
            tracing::warn!(target: "modtape::capture", %error, "the live capture ends here");
            let whole = self.sink.whole();
            // Cuts the file after its last whole packet; a device has no length.
            let _ = self.sink.into_inner().set_len(whole);
        }
        Outcome { packets, error }
    }

    fn write(&mut self, work: &mut VecDeque<Item>) -> io::Result<()> {
        let mut done = 0;
        for item in work.drain(..) {
            done += item.cost();
            self.item(item)?;
            if done >= TELLING {
                self.queue.done(done);
                done = 0;
            }
        }
        self.sink.flush()?;
        self.queue.done(done);
        Ok(())
    }

    fn item(&mut self, item: Item) -> io::Result<()> {
        let at = self.nanoseconds(item.at);
        match item.what {
            What::Secret(line) => {
                self.secrets.push_str(&line);
                return Ok(());
            }
            What::Name(ip, host) => return self.sink.names(&[(ip, host)].into()),
            What::Dialled(ends) => {
                let tcp = Tcp::dial(&mut self.sink, at, item.stream, ends)?;
                self.streams.insert(item.stream, tcp);
                return Ok(());
            }
            _ => {}
        }
        let Some(tcp) = self.streams.get_mut(&item.stream) else {
            return Ok(());
        };
        let sink = &mut self.sink;
        match item.what {
            What::Connected => tcp.connect(sink, at)?,
            What::Remark => tcp.remark(item.is_clients, &item.comment),
            What::Data { shown, bytes } => {
                if !self.secrets.is_empty() {
                    sink.secrets(&std::mem::take(&mut self.secrets))?;
                }
                let sent = Sent {
                    at,
                    is_clients: item.is_clients,
                };
                tcp.data(sink, sent, shown, bytes, &item.comment)?;
            }
            What::End => tcp.end(sink, at, item.is_clients)?,
            What::Reset => tcp.reset(sink, at, item.is_clients)?,
            What::Gone => {
                tcp.close(sink, at, item.is_clients)?;
                self.streams.remove(&item.stream);
            }
            What::Secret(_) | What::Name(..) | What::Dialled(_) => {}
        }
        Ok(())
    }

    /// Nanoseconds since 1970, with a precision of microseconds, as in the journal.
    fn nanoseconds(&self, at: Timestamp) -> u64 {
        let micros = self.start.saturating_add(at.as_micros());
        micros.saturating_mul(1000)
    }
}
