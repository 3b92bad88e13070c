//! Wrappers round a byte stream, on either leg.

pub(super) mod frames;
pub(super) mod linger;
mod prefixed;
mod tap;
mod upstream_frames;
mod write_through;

pub(super) use prefixed::Prefixed;
pub(super) use tap::{Marks, Slot, Tap};
pub(super) use upstream_frames::UpstreamFrames;
pub(super) use write_through::write_through;

#[cfg(test)]
pub(super) mod pieces;
