//! What other terminals see of a server: `modtape status` asks it on a socket, as it asks a recorder.

use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::gateway::Asking;
use super::running::Fixed;
use crate::commands::session::running::{self, Announcement, Own, Running};
use crate::commands::session::socket::Socket;
use crate::terminal::status::{SessionId, Source, Status, Verb};

/// An announcement that ends with this.
pub(super) struct Announced {
    _announcement: Announcement,
    _answering: JoinSet<()>,
    /// Its folder, which is locked as long as this is there.
    _own: Own,
}

impl Announced {
    /// Announces a server that keeps answers in `store`. Who runs it need not have a folder for that: an error says why
    /// nobody sees it.
    pub(super) fn begin(
        fixed: &Fixed,
        id: SessionId,
        asking: watch::Receiver<Asking>,
    ) -> anyhow::Result<Self> {
        let folder = running::folder()?;
        let own = Own::make(&folder).context("it has no folder of its own")?;
        let socket = Socket::open(own.path(), "status").context("it has no socket")?;
        let since = fixed.clock.wall_start().duration_since(UNIX_EPOCH);
        let running = Running {
            pid: std::process::id(),
            name: id.recording.clone(),
            recording: id.path.clone().into(),
            proxy: String::new(),
            token: None,
            status: Some(socket.path().to_owned()),
            bundle: None,
            goproxy: None,
            gosumdb: None,
            intercepted: Vec::new(),
            traceparent: String::new(),
            wraps: !id.command.is_empty(),
            serves: true,
            redirected: None,
            started_unix_us: u64::try_from(since.unwrap_or_default().as_micros())
                .unwrap_or(u64::MAX),
        };
        running::sweep(&folder);
        let announcement = Announcement::write(&own, &running)?;
        let (clock, counts) = (fixed.clock, fixed.counts.clone());
        let text = move || {
            let (id, counts, asking) = (id.clone(), counts.clone(), asking.borrow().clone());
            async move {
                let done = counts.now();
                let mut status = Status {
                    done: done.hits + done.joined + done.misses,
                    body_bytes: done.bytes,
                    wall_us: clock.now().as_micros(),
                    ..Status::idle(id, Source::Session)
                };
                for gateway in asking {
                    status.add(gateway.now().await);
                }
                serde_json::to_vec(&status).unwrap_or_default()
            }
        };
        let mut answering = JoinSet::new();
        answering.spawn(socket.run(text));
        Ok(Self {
            _announcement: announcement,
            _answering: answering,
            _own: own,
        })
    }
}

/// Who a server is, for those who look at it from outside.
pub(super) fn id_of(
    address: std::net::SocketAddr,
    store: &Path,
    command: Vec<String>,
) -> SessionId {
    let store = std::path::absolute(store).unwrap_or_else(|_| store.to_owned());
    SessionId {
        recording: address.to_string(),
        path: store.display().to_string(),
        verb: Verb::Serve,
        pid: Some(std::process::id()),
        command,
    }
}
