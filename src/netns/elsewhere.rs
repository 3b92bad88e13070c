//! The same where the system has no network namespaces: none can be made.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use super::refusal::{AdmitError, EntryError};
use super::{Inside, Served};
use crate::recording::format::Packets;

/// There is none.
#[derive(Debug)]
pub(crate) enum Gate {}

/// There is none.
#[derive(Debug)]
pub(crate) enum Namespace {}

impl Gate {
    pub(crate) fn open(_folder: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn words(&self, _: Inside, _: Vec<OsString>) -> io::Result<Vec<OsString>> {
        match *self {}
    }

    pub(crate) async fn admit(self) -> Result<(Namespace, Served), AdmitError> {
        match self {}
    }
}

impl Namespace {
    #[expect(clippy::needless_pass_by_ref_mut, reason = "as on Linux")]
    pub(crate) async fn start(&mut self) -> Result<(), AdmitError> {
        match *self {}
    }

    pub(crate) fn packets(&self) -> io::Result<Packets> {
        match *self {}
    }
}

pub(crate) fn enter(
    _recorder: &Path,
    _inside: &Inside,
    _command: &[OsString],
) -> Result<Infallible, EntryError> {
    Err(EntryError::NoRecorder(io::ErrorKind::Unsupported.into()))
}
