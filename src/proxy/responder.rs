//! The one fork between live and offline.

use std::sync::Arc;

use crate::replay::Replay;
use crate::upstream::Dialer;

/// Who answers.
pub enum Responder {
    /// The upstream leg.
    Upstream(Dialer),
    /// A recording; it holds no dialer, so it cannot reach the network.
    Replay(Arc<Replay>),
}
