//! Limits that both legs, or both protocols, share.

/// The longest request head, bytes, over HTTP/1 and HTTP/2.
pub(super) const HEAD_BYTES: u32 = 64 * 1024;
