//! A silence of an upstream, as a recorder saw it while it lasted.

use serde::{Deserialize, Serialize};

use super::{ConnectionId, ExchangeId, Phase};
use crate::clock::Timestamp;

/// Something in flight has heard nothing from its upstream for `--stall-after`, although it was the
/// upstream's turn. Written while it lasts, so that it is on record whatever ends the recorder; and
/// again when it is over because something came. What ends otherwise ends with its exchange or
/// connection, whose own records tell when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// The exchange; `None` for a dial that no request owns yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ExchangeId>,
    /// The client connection.
    pub connection: ConnectionId,
    /// The host that is waited for.
    pub host: String,
    /// `host:port`, of a dial whose connection is not on record yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The phase that it is in.
    pub phase: Phase,
    /// True while the parent proxy has not answered CONNECT; `phase` is `connect` then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_asking: bool,
    /// When the upstream last sent something, or the phase began. With `id` and `connection` it names
    /// the silence: several records of one agree in the three.
    pub since_us: Timestamp,
    /// How long the silence has lasted; if it is over, how long it was. Microseconds.
    pub silent_us: u64,
    /// True once it is over because something came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_over: bool,
    /// Bytes of the response's body before the silence.
    pub body_bytes: u64,
    /// How many bytes the body has in all, if the head said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// The address that it is connected to; while it connects, all that were tried, `, ` between
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How many bytes that were sent more than once the peer's TCP does not acknowledge; 0 if it has
    /// acknowledged all that was sent. `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unacknowledged_bytes: Option<u64>,
    /// The parent proxy, credentials redacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
}

impl Stall {
    /// Whether both are records of one silence.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let name = |stall: &Self| (stall.id, stall.connection, stall.since_us);
        name(self) == name(other)
    }
}
