//! An object store that several machines share: S3, Google Cloud Storage, Azure Blob Storage, and servers that speak
//! the protocol of one of them.
//!
//! A [`Place`] is where in which store; [`Objects`] reads and writes there, with keys below the prefix of
//! the place. Requests go through our own dialer (`http.rs`), so that they have our roots, our parent proxies and
//! our deadlines. An error is one sentence without secrets (`failure.rs`).

mod failure;
mod http;
mod place;
mod store;

pub(crate) use failure::Failure;
pub(crate) use place::Place;
pub(crate) use store::{Object, Objects};
