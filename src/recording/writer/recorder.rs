//! The recorder: what the rest of the program holds to have something written.
//!
//! A cloneable sender. The task that has an event builds its line; lines go to the journal's one
//! owner in order. `begin` is queued, `end` is awaited: only then may the client see
//! the end of what it asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use super::bodies::BodyStore;
use super::durability::Health;
use crate::clock::Timestamp;
use crate::exchange::{Body, MadeBy, Mode};
use crate::recording::format::{Connection, Event, Gap, Totals};
use crate::recording::line::{BeginLine, EndLine, to_text};

/// One line on its way to the journal.
pub(super) struct Line {
    /// As [`to_text`] made it.
    pub(super) text: Vec<u8>,
    /// Sent to once the line is as safe as the durability promises, or known to be lost.
    pub(super) written: Option<oneshot::Sender<()>>,
    /// True for the journal's end: space was kept back for it.
    pub(super) is_last: bool,
}

/// Feeds a recording; cheap to clone. The journal closes when the last clone is gone.
#[derive(Clone)]
pub struct Recorder {
    lines: mpsc::UnboundedSender<Line>,
    bodies: BodyStore,
    counts: Arc<Counts>,
    health: Health,
    requires_all: bool,
}

#[derive(Default)]
struct Counts {
    exchanges: AtomicU64,
    finished: AtomicU64,
    made_by_modtape: AtomicU64,
    connections: AtomicU64,
    tunnels: AtomicU64,
    body_bytes: AtomicU64,
    tunnel_bytes: AtomicU64,
    gaps: AtomicU64,
}

impl Recorder {
    // The queue has no bound of its own: each exchange has at most a handful of lines in it, since
    // its end is awaited, so exchanges and connections in flight bound it.
    pub(super) fn new(
        lines: mpsc::UnboundedSender<Line>,
        bodies: BodyStore,
        health: Health,
    ) -> Self {
        Self {
            lines,
            bodies,
            counts: Arc::default(),
            health,
            requires_all: false,
        }
    }

    /// The same recorder; an exchange that cannot be recorded is to be refused (`--require-complete`).
    #[must_use]
    pub(crate) fn requiring_all(self) -> Self {
        Self {
            requires_all: true,
            ..self
        }
    }

    /// Whether nothing may pass that is not on record.
    pub(crate) const fn requires_all(&self) -> bool {
        self.requires_all
    }

    /// Why nothing may pass any more: all must be recorded, and something was not.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.failure().filter(|_| self.requires_all)
    }

    /// Queues a line, and does not wait until it is written.
    pub fn note(&self, at: Timestamp, event: &Event) {
        self.count(event);
        let is_last = matches!(event, Event::Close(_));
        self.send(to_text(at, event), None, is_last);
    }

    /// [`Self::note`] of the `begin` of an exchange.
    pub(crate) fn begin(&self, at: Timestamp, begin: &BeginLine<'_>) {
        self.counts.begin();
        self.send(begin.to_text(at), None, false);
    }

    /// Queues the `end` of an exchange. The future that is returned is over once it is as safe as the
    /// durability promises, or could not be written: traffic goes on, and [`Self::failure`] knows.
    pub(crate) fn end(&self, at: Timestamp, end: &EndLine<'_>) -> impl Future<Output = ()> + use<> {
        self.counts.end(end.body, end.made_by);
        self.written(end.to_text(at))
    }

    /// The same of any record.
    pub async fn write(&self, at: Timestamp, event: &Event) {
        self.queue(at, event).await;
    }

    /// The same; the line is queued now, and the future need not be awaited.
    pub(crate) fn queue(&self, at: Timestamp, event: &Event) -> impl Future<Output = ()> + use<> {
        self.count(event);
        self.written(to_text(at, event))
    }

    fn written(&self, text: Vec<u8>) -> impl Future<Output = ()> + use<> {
        let (written, done) = oneshot::channel();
        self.send(text, Some(written), false);
        async {
            // An error says that the journal's owner is gone, which `failure` tells too.
            let _ = done.await;
        }
    }

    /// Notes that something is missing, and why.
    pub(crate) fn gap(&self, at: Timestamp, what: String, why: String) {
        self.health.fail(&why);
        self.note(at, &Event::Gap(Gap { what, why }));
    }

    /// Where bodies go.
    pub const fn bodies(&self) -> &BodyStore {
        &self.bodies
    }

    /// The first thing that could not be written; the recording is incomplete then.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.health.failure()
    }

    /// What went wrong; can be asked after the journal is closed.
    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// What was counted so far.
    pub fn totals(&self) -> Totals {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts {
            exchanges,
            finished,
            made_by_modtape,
            connections,
            tunnels,
            body_bytes,
            tunnel_bytes,
            gaps,
        } = &*self.counts;
        Totals {
            exchanges: get(exchanges),
            aborted: get(exchanges).saturating_sub(get(finished)),
            made_by_modtape: get(made_by_modtape),
            connections: get(connections),
            tunnels: get(tunnels),
            body_bytes: get(body_bytes),
            tunnel_bytes: get(tunnel_bytes),
            gaps: get(gaps),
        }
    }

    fn send(&self, text: Vec<u8>, written: Option<oneshot::Sender<()>>, is_last: bool) {
        let line = Line {
            text,
            written,
            is_last,
        };
        if self.lines.send(line).is_err() {
            self.health.fail("the journal was closed early");
        }
    }

    fn count(&self, event: &Event) {
        let add = |count: &AtomicU64, more: u64| count.fetch_add(more, Ordering::Relaxed);
        let counts = &self.counts;
        match event {
            Event::Begin(_) => counts.begin(),
            Event::End(end) => counts.end(end.body.as_ref(), end.made_by),
            Event::Abort(abort) => {
                add(&counts.body_bytes, abort.body_bytes);
            }
            Event::Connection(Connection::Opened(opened)) if !opened.again => {
                add(&counts.connections, 1);
                add(&counts.tunnels, (opened.mode == Mode::Tunnel).into());
            }
            Event::Connection(Connection::Closed(closed)) if closed.tunnel => {
                add(&counts.tunnel_bytes, closed.bytes());
            }
            Event::Gap(_) => {
                add(&counts.gaps, 1);
            }
            Event::Connection(_)
            | Event::Open(_)
            | Event::Stall(_)
            | Event::Sample(_)
            | Event::Close(_) => {}
        }
    }
}

impl Counts {
    fn begin(&self) {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, body: Option<&Body>, made_by: MadeBy) {
        self.finished.fetch_add(1, Ordering::Relaxed);
        let bytes = body.map_or(0, |body| body.bytes);
        self.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        let made_by_modtape = (made_by == MadeBy::Modtape).into();
        self.made_by_modtape
            .fetch_add(made_by_modtape, Ordering::Relaxed);
    }
}
