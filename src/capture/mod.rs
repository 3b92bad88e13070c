//! Live capture: the octets of both legs as they pass, with the secrets that open them.
//!
//! A [`Wire`] is a socket that tells what passes through it; all of it runs on the one thread that
//! carries traffic, so the queue is in order without being sorted. A thread of its own makes TCP of
//! it and writes the file, which is whole after every write. Secrets come before the packets that
//! need them: what is read during a handshake is held until rustls has had the time to log its keys.
//! Where the disk is too slow it waits, or cuts, as it is told, and never takes more memory than its
//! queue has.

pub(crate) mod flow;
pub(crate) mod frame;
mod item;
mod queue;
mod secrets;
pub(crate) mod sink;
mod stream;
mod strip;
mod tcp;
mod wire;
mod writer;

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

pub(crate) use queue::WhenFull;
pub(crate) use secrets::{KeyLogs, open_key_log};
pub(crate) use stream::Stream;
#[cfg(any(test, fuzzing))]
pub use strip::check;
pub(crate) use strip::{StripError, strip};
pub(crate) use wire::Wire;

use crate::clock::{Clock, Timestamp};
use frame::{Ends, Interface};
use item::What;
use queue::Queue;
use sink::{Section, Sink};
use writer::Writer;

/// Where what passes is told; cheap to clone.
#[derive(Clone)]
pub struct Capture {
    queue: Arc<Queue>,
}

/// What came of a capture.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Packets in the file.
    pub(crate) packets: u64,
    /// Octets whose headers alone were kept, as [`WhenFull::Cut`] says.
    pub(crate) cut_bytes: u64,
    /// Why it ends early, if it does: the file is whole up to there.
    pub(crate) error: Option<io::Error>,
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
        when_full: WhenFull,
        (tool, comment): (&str, &str),
    ) -> io::Result<(Self, Running)> {
        let section = Section {
            tool,
            comment,
            origin: "as it passed",
        };
        let queue = Arc::new(Queue::new(clock, when_full));
        let sink = Sink::new(file, &section)?;
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
            self.queue.push(queue::NO_STREAM, false, name);
        }
    }

    /// A connection begins at `at`.
    fn begin(
        &self,
        interface: Interface,
        (client, server): (SocketAddr, SocketAddr),
        at: Timestamp,
    ) -> Stream {
        let ends = Ends {
            interface,
            client: canonical(client),
            server: canonical(server),
        };
        Stream::begin(&self.queue, ends, at)
    }
}

impl Running {
    /// Waits until everything is written that was told.
    pub(crate) fn finish(self) -> Outcome {
        self.queue.end();
        let broken = || Outcome {
            error: Some(io::Error::other("its thread broke off")),
            ..Outcome::default()
        };
        self.thread.join().unwrap_or_else(|_| broken())
    }
}

/// A mapped address is IPv4 on the network.
fn canonical(address: SocketAddr) -> SocketAddr {
    let ip: IpAddr = address.ip().to_canonical();
    SocketAddr::new(ip, address.port())
}
