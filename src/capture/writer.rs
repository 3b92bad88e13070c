//! The thread that writes a capture: items in, packets out, the file whole after every write.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::queue::{Item, Queue, What};
use super::sink::Sink;
use super::tcp::Tcp;
use crate::clock::{Clock, Timestamp};

/// After so many bytes, the tasks that wait for room are woken.
const TELLING: u64 = 256 * 1024;

/// What came of a capture.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Packets in the file.
    pub(crate) packets: u64,
    /// Bytes whose headers alone were kept, as [`super::WhenFull::Cut`] says.
    pub(crate) cut_bytes: u64,
    /// Why it ends early, if it does: the file is whole up to there.
    pub(crate) error: Option<io::Error>,
}

/// What the thread has.
pub(super) struct Writer {
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
    pub(super) fn new(queue: Arc<Queue>, mut sink: Sink<File>, clock: Clock) -> io::Result<Self> {
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
    pub(super) fn run(mut self) -> Outcome {
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
        Outcome {
            packets,
            cut_bytes: self.queue.cut_bytes(),
            error,
        }
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
