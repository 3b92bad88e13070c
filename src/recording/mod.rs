//! The recording: a folder on disk whose truth is an append-only journal.
//!
//! `format` says what stands there, `writer` appends, `bodies` keeps what is large, `reader` reads
//! any byte string back into exchanges or a named error. Readers never write.

pub mod format;
