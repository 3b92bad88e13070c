//! What tells others of the traffic: logs and metrics.

mod logs;
pub(crate) mod metrics;
