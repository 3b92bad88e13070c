//! HTTP/2 on the client leg, frame by frame: whoever floods, and whoever breaks the rules.

mod conformance;
mod floods;
mod interop;
mod stream_limit;
pub mod wire;
