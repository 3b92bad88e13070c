//! Wrappers round a byte stream, on either leg.

mod cutter;
mod empty_data;
pub(super) mod linger;
mod prefixed;
mod tap;
mod write_through;

pub(super) use cutter::{Cutter, Start, kind};
pub(super) use empty_data::EmptyDataFilter;
pub(super) use prefixed::Prefixed;
pub(super) use tap::{Marks, Slot, Tap};
pub(super) use write_through::write_through;

#[cfg(test)]
pub(super) mod pieces;
