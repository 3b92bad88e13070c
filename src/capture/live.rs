//! A live capture: begun, told what passes, written by a thread of its own, finished.
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
use super::tcp::Tcp;
use crate::clock::{Clock, Timestamp};

/// Where what passes is told; cheap to clone.
#[derive(Clone)]
pub struct Capture {
    pub(super) queue: Arc<Queue>,
}

/// The thread that writes.
pub(crate) struct Running {
    queue: Arc<Queue>,
    thread: JoinHandle<Outcome>,
}

impl Capture {
    /// Begins a capture in `file`, which is empty; stamps are `clock`'s.
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

    /// Tells that `addresses` are those of `host`.
    pub(crate) fn names(&self, addresses: &[SocketAddr], host: &str) {
        for address in addresses {
            let name = What::Name(address.ip(), host.to_owned());
            self.queue.push(NO_STREAM, false, name);
        }
    }
}

impl Running {
    /// Waits until everything is written that was told.
    pub(crate) fn finish(self) -> Outcome {
        self.queue.end();
        let broken = || Outcome {
            error: Some(io::Error::other("its thread panicked")),
            ..Outcome::default()
        };
        self.thread.join().unwrap_or_else(|_| broken())
    }
}

/// After so many bytes, the tasks that wait for room are woken.
const TELLING: u64 = 256 * 1024;

/// What came of a capture.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Packets in the file.
    pub(crate) packets: u64,
    /// Why it ends early, if it does: the file is whole up to there.
    pub(crate) error: Option<io::Error>,
}

/// What the thread has.
struct Writer {
    queue: Arc<Queue>,
    sink: Sink<File>,
    /// The clock's start, microseconds since 1970.
    start: u64,
    streams: HashMap<u32, Tcp>,
    /// Secrets that no packet has followed yet.
    secrets: String,
}

/// Gives the queue up when the thread ends, even by a panic, so that no task waits for it.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Writer {
    /// Writes the file's head.
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

    /// Writes until there is nothing more, or nothing more can be written.
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
            let (file, whole) = self.sink.into_inner();
            // It ends with a whole packet; a device has no length, and keeps what it got.
            let _ = file.set_len(whole);
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
                let from = (at, item.is_clients);
                tcp.data(sink, from, (shown, bytes), &item.comment)?;
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

    /// Nanoseconds since 1970, of which the microseconds count, as in the journal.
    fn nanoseconds(&self, at: Timestamp) -> u64 {
        let micros = self.start.saturating_add(at.as_micros());
        micros.saturating_mul(1000)
    }
}
