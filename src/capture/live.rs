//! A live capture: begun, told what passes, finished.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::queue::{NO_STREAM, Queue, What, WhenFull};
use super::sink::{Section, Sink};
use super::writer::{Outcome, Writer};
use crate::clock::Clock;

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
        when_full: WhenFull,
        section: &Section<'_>,
    ) -> io::Result<(Self, Running)> {
        let queue = Arc::new(Queue::new(clock, when_full));
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
            error: Some(io::Error::other("its thread broke off")),
            ..Outcome::default()
        };
        self.thread.join().unwrap_or_else(|_| broken())
    }
}
