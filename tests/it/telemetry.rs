//! What tells others of the traffic: logs, metrics, traces, and ids that requests carry.

mod logs;
pub(crate) mod metrics;
mod propagation;
mod traces;
