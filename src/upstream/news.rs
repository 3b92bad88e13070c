//! What a dial tells while it goes on.

use std::net::SocketAddr;

use crate::exchange::Phase;

/// Hears what a dial is at.
pub(crate) type Hear<'a> = &'a (dyn Fn(News<'_>) + Send + Sync);

/// What a dial tells while it goes on, for whoever watches.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News<'a> {
    /// It goes through this parent proxy, named without credentials.
    Through(&'a str),
    /// A phase begins.
    Entered(Phase),
    /// TCP to an address is tried, beside those before.
    Trying(SocketAddr),
    /// TCP is open.
    Connected(SocketAddr),
    /// The parent proxy was asked, and has to answer.
    Asking,
}
