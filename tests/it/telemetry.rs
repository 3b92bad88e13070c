//! What tells others of the traffic: logs.

mod logs;
