//! Whether what a store keeps is still right: each body against its digest, each hash against the checksum database's
//! record, each record against the signed log, as far as the store has what proves them.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::access::Access;
use super::answer::{Answer, Content, Proof};
use super::disk::{Disk, Flaw, Kept};
use super::item::Item;
use super::memory::Memory;
use super::private::Private;
use super::server::{Parts, Server};
use super::tiers::Tiers;
use super::truth::{Truth, Verdict};
use super::upstream::Upstream;
use crate::clock::Clock;
use crate::gomod::{GoProxy, Kind};

/// How much of the proofs is kept in memory, bytes: neighbours in the log share most of their tiles.
const MEMORY: u64 = 64 << 20;

/// As much as a disk may have that is not bounded.
pub(crate) const UNBOUNDED: u64 = u64::MAX / 2;

/// Looks through a store, and changes nothing.
pub(crate) struct Audit {
    disk: Disk,
    server: Arc<Server>,
}

/// What is the matter with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// All is well with it.
    Right,
    /// It may be right: what would prove it is not there, for this reason.
    Unproved(String),
    /// It is not what it should be.
    Damaged(String),
    /// It cannot be read at the moment.
    Unread(String),
}

impl Audit {
    /// Of a store, by these settings.
    pub(crate) fn new(clock: Clock, disk: &Disk, truth: Truth) -> Self {
        let disk = disk.only_looking();
        let memory = Memory::new(MEMORY);
        let server = Server::new(Parts {
            clock,
            tiers: Arc::new(Tiers::new(clock, memory, disk.clone(), UNBOUNDED)),
            redis: None,
            counts: Arc::default(),
            goproxy: GoProxy::parse(""),
            upstream: Upstream::new(String::new(), Duration::ZERO),
            tree: None,
            git: None,
            private: Private::default(),
            users: None,
            truth,
            is_ahead: false,
            access: Access::default(),
        });
        Self { disk, server }
    }

    /// Judges an answer.
    pub(crate) async fn judge(&self, kept: &Kept) -> Finding {
        let (disk, own) = (self.disk.clone(), kept.clone());
        let checked = tokio::task::spawn_blocking(move || disk.checked(&own)).await;
        let answer = match checked {
            Ok(Ok(Some(answer))) => answer,
            // It was removed meanwhile.
            Ok(Ok(None)) => return Finding::Right,
            Ok(Err(Flaw::Damaged(why))) => return Finding::Damaged(why.to_owned()),
            Ok(Err(Flaw::Unread(error))) => return Finding::Unread(error.to_string()),
            Err(panicked) => return Finding::Unread(panicked.to_string()),
        };
        if answer.status != StatusCode::OK {
            return Finding::Right;
        }
        let judged = self.server.judge(&kept.item, &answer).await;
        let verdict = match judged {
            Ok(verdict) => verdict,
            Err(error) => return Finding::Unread(error.to_string()),
        };
        match verdict {
            Verdict::Wrong(why) => Finding::Damaged(why),
            Verdict::Unread(why) => Finding::Unread(why),
            Verdict::Unproved(why) if is_proved_by_itself(&kept.item, &answer) => {
                Finding::Unproved(why)
            }
            Verdict::Unproved(_) | Verdict::Proved => Finding::Right,
        }
    }

    /// Ends what it has begun.
    pub(crate) async fn close(self) {
        self.server.close().await;
    }
}

/// Whether there is a proof of that answer alone: a tile is proved by the records below it.
fn is_proved_by_itself(item: &Item, answer: &Answer) -> bool {
    item.kind() != Kind::Tile && matches!(answer.proof, Proof::Database(_))
}

impl Server {
    /// Judges an answer as if it had just come.
    async fn judge(self: &Arc<Self>, item: &Item, answer: &Answer) -> std::io::Result<Verdict> {
        if !item.is_zip() {
            return Ok(self.truth.of_text(self, item, &answer.text()?).await);
        }
        let (file, bytes) = match &answer.content {
            Content::File(file, bytes) => (Arc::clone(file), *bytes),
            Content::Bytes(body) => {
                let mut file = tempfile::tempfile()?;
                file.write_all(body)?;
                (Arc::new(file), body.len() as u64)
            }
        };
        Ok(self.truth.of_zip(self, item, file, bytes).await)
    }
}
