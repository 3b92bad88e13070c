//! A client connection as its exchanges see it: who asks, in which protocol, and where it leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::gateway::Gateway;
use super::guard::Watch;
use super::windows::Share;
use crate::capture::Stream;
use crate::exchange::{ClientSide, ConnectionId, Target};
use crate::tls::Protocol;

/// What the request heads of one connection may take at once, bytes. HPACK makes 64 KiB of 40 bytes,
/// and each is copied for the recording and the upstream.
const HEADS_LIMIT: usize = 1024 * 1024;

/// Where the requests of a client connection go.
#[derive(Clone)]
pub(super) enum Destination {
    /// Inside a CONNECT, or redirected by the kernel: to this host, at this target, over TLS or in clear
    /// text.
    Tunnelled {
        target: Target,
        host: String,
        is_secure: bool,
    },
    /// Absolute-form requests, each with a target of its own.
    Plain,
    /// To the module proxies that paths stand for.
    Gateway(Arc<Gateway>),
}

/// A client connection that serves requests.
pub(super) struct ClientLeg {
    pub(super) context: Arc<Context>,
    pub(super) id: ConnectionId,
    /// The client, as the records describe it.
    pub(super) side: ClientSide,
    pub(super) destination: Destination,
    pub(super) protocol: Protocol,
    pub(super) watch: Arc<Watch>,
    /// How much may be on its way, on either leg.
    pub(super) share: Arc<Share>,
    /// The connection in the packet capture, if there is one.
    pub(super) captured: Option<Stream>,
    /// Cancelled when the connection should end once the exchanges in flight are over.
    pub(super) ended: CancellationToken,
    /// Bytes of the request heads of all exchanges in flight: HTTP/2.
    head_bytes: AtomicUsize,
}

impl ClientLeg {
    pub(super) fn new(
        context: &Arc<Context>,
        id: ConnectionId,
        side: ClientSide,
        destination: Destination,
        protocol: Protocol,
        captured: Option<Stream>,
    ) -> Self {
        Self {
            watch: Watch::new(protocol, context.clock.now()),
            share: Arc::new(context.windows.share(protocol)),
            context: Arc::clone(context),
            id,
            side,
            destination,
            protocol,
            captured,
            ended: context.stop.child_token(),
            head_bytes: AtomicUsize::new(0),
        }
    }

    /// True if all its requests are for one host: inside a CONNECT, or redirected.
    pub(super) const fn is_tunnelled(&self) -> bool {
        matches!(self.destination, Destination::Tunnelled { .. })
    }

    /// True for a connection that ends with its upstream's: a gateway's upstreams are not its clients'.
    pub(super) const fn ends_with_upstream(&self) -> bool {
        !matches!(self.destination, Destination::Gateway(_))
    }

    /// The scheme of the URLs that its requests mean.
    pub(super) const fn scheme(&self) -> &'static str {
        match self.destination {
            Destination::Tunnelled {
                is_secure: true, ..
            } => "https",
            Destination::Tunnelled { .. } | Destination::Plain | Destination::Gateway(_) => "http",
        }
    }

    /// Takes room for a request head; false if the connection has none left. One head always has
    /// room, and so have the hundreds that go or git send.
    pub(super) fn reserve_head(&self, bytes: usize) -> bool {
        let before = self.head_bytes.fetch_add(bytes, Ordering::Relaxed);
        before == 0 || before + bytes <= HEADS_LIMIT
    }

    /// Gives back what [`reserve_head`](Self::reserve_head) took, whatever it returned.
    pub(super) fn release_head(&self, bytes: usize) {
        self.head_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
