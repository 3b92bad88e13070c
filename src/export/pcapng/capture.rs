//! What a packet capture is made of.

use super::super::source::Bodies;
use crate::gomod::Base;
use crate::recording::format::{Manifest, Open};
use crate::recording::{ConnectionRow, Redirects, Row};

/// A recording as far as it is needed at once.
pub(crate) struct Capture<'a> {
    /// The manifest.
    pub(crate) manifest: &'a Manifest,
    /// The runs; each must have a wall clock that is a time.
    pub(crate) runs: &'a [Open],
    /// The exchanges, by run, start and id.
    pub(crate) rows: &'a [&'a Row],
    /// The client connections with their runs.
    pub(crate) connections: &'a [(u32, &'a ConnectionRow)],
    /// Places of the effective GOPROXY and GOSUMDB.
    pub(crate) bases: &'a [Base],
    /// How a row's meaning is found where it followed a redirect.
    pub(crate) redirects: &'a Redirects,
    /// Which bodies are shown: `Small` cuts what is larger than 64 KiB to 4 KiB.
    pub(crate) bodies: Bodies,
}
