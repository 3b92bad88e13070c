//! One exchange as an export takes it.

use std::io;

use super::stored::Stored;
use crate::exchange::{Body, Exchange, Opened};
use crate::filter::Fate;
use crate::recording::format::{Manifest, Open};

/// Above this many octets a body is not small: it would make the file hard to open, not more useful.
const SMALL: u64 = 64 * 1024;

/// Which bodies stand in the file.
///
/// What is left out keeps its length and, in `_modtape`, its digest and where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// All that the recording has.
    All,
    /// Those of at most 64 KiB, counted as recorded (content-encoded).
    Small,
    /// None.
    None,
}

impl Bodies {
    /// Whether a body of `bytes` octets belongs into the file: if not, it need not be read.
    pub(crate) const fn takes(self, bytes: u64) -> bool {
        match self {
            Self::All => true,
            Self::Small => bytes <= SMALL,
            Self::None => false,
        }
    }
}

/// One run of a recorder: HAR's page, because every importer groups or filters by page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    /// The recording's manifest.
    pub(crate) manifest: &'a Manifest,
    /// The run's own `open` line: wall clock, trace and command.
    pub(crate) open: &'a Open,
}

/// What a request asked for, in the go command's terms; `None` where it was none of its kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct What {
    /// `list`, `info`, `mod`, `zip`, `lookup`, `tile` and so on.
    pub(crate) kind: Option<String>,
    /// Module path, unescaped.
    pub(crate) module: Option<String>,
    /// Version or query.
    pub(crate) version: Option<String>,
}

/// A body's octets as recorded (content-encoded), or why they are not here.
///
/// Meaningless, and ignored, where the exchange has no such body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// The octets, all of them.
    Octets(Vec<u8>),
    /// The octets, all of them, read while they are written.
    Stored(Stored),
    /// Not read, since [`Bodies::takes`] said no.
    LeftOut,
    /// The recording never had more than the digest.
    NotKept,
    /// The recording should have it, but could not be read: why.
    Missing(String),
}

impl Content {
    /// What can be said of a body without opening a file; `None` if it lies in one and is wanted.
    pub(crate) fn without_file(body: &Body, bodies: Bodies) -> Option<Self> {
        match &body.inline {
            _ if !bodies.takes(body.bytes) => Some(Self::LeftOut),
            Some(octets) => Some(Self::Octets(octets.0.clone())),
            None if body.bytes == 0 => Some(Self::Octets(Vec::new())),
            None if !body.kept => Some(Self::NotKept),
            None => None,
        }
    }
}

/// One exchange with all that its entry shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// The exchange.
    pub(crate) exchange: Exchange,
    /// Index of the page of the run that it belongs to.
    pub(crate) run: usize,
    /// The client connection that it came on, if its line is known.
    pub(crate) connection: Option<Opened>,
    /// What it asked for.
    pub(crate) what: What,
    /// What came of it.
    pub(crate) fate: Fate,
    /// The request's body.
    pub(crate) request_body: Content,
    /// The response's body.
    pub(crate) body: Content,
}

impl Item {
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        let bodies = [&self.request_body, &self.body];
        bodies.into_iter().find_map(|content| match content {
            Content::Stored(stored) => stored.take_failure(),
            _ => None,
        })
    }
}
