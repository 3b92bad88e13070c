//! Texts in gzip, for clients that ask for it: each is compressed once for as long as memory has room for it.

use bytes::Bytes;
use flate2::Compression;

use super::answer::{Answer, Content};
use super::server::Server;
use crate::coding;

/// What is not longer is sent as it is, bytes: it fits into one packet.
pub(super) const LEAST: usize = 1 << 10;

/// What is longer is sent as it is, bytes.
const MOST: usize = 1 << 20;

/// What is longer is compressed on a thread of its own, bytes: more than a millisecond's work.
const ASIDE: usize = 64 << 10;

/// A text in gzip; `None` if that is not worth its time.
pub(super) async fn compressed(server: &Server, path: &str, answer: &Answer) -> Option<Bytes> {
    let Content::Bytes(text) = &answer.content else {
        return None;
    };
    if text.len() <= LEAST || text.len() > MOST {
        return None;
    }
    // No path of an item has such a beginning.
    let name = format!("gzip:{path}");
    if let Some(kept) = server.tiers.compressed(&name, answer) {
        return Some(kept);
    }
    let own = text.clone();
    let compressed = match text.len() > ASIDE {
        true => tokio::task::spawn_blocking(move || compress(&own))
            .await
            .ok()?,
        false => compress(&own),
    };
    let kept = Answer {
        content: Content::Bytes(compressed.clone()),
        ..answer.clone()
    };
    server.tiers.put_in_memory(&name, &kept);
    Some(compressed)
}

fn compress(text: &[u8]) -> Bytes {
    coding::gzip(text, Compression::fast()).into()
}
