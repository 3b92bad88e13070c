//! A zip on its way: it is written to a file as it comes, and passed on from there to all who asked, but for its
//! end, which they see once the zip is proved.
//!
//! One that breaks off is asked for again, from the same entry or the next: what clients have seen has to come once
//! more, byte for byte.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

use super::answer::{Answer, Content, Proof};
use super::failure::Failure;
use super::fetch::{Growing, Pilot};
use super::item::Item;
use super::reads::FETCHED;
use super::server::{Flaw, Server};
use super::tiers::Begun;
use super::truth::Verdict;
use crate::clock::Clock;
use crate::exchange::chain;
use crate::gomod::ZIP_LIMIT;

/// How much of the end is held back until a zip is proved, bytes: a zip without its last bytes, where its directory
/// is, opens nowhere.
const HELD_BACK: u64 = 64 << 10;

/// How long a disk may take for one piece.
const DISK: Duration = Duration::from_secs(5);

/// How fast a body has to come, bytes a second, once it had its first while: one that drips is left for the next
/// entry, though it is never silent.
const SLOWEST: u64 = 4 << 10;
const AT_REST: Duration = Duration::from_secs(30);

/// Bytes that are copied at once, and a second at least.
const COPIED: usize = 1 << 20;
const COPIED_A_SECOND: u64 = 16 << 20;

/// A file that a zip is written to.
pub(super) struct Spool {
    begun: Begun,
    /// The same file, for threads that read and write at places of their own.
    shared: Arc<File>,
    /// How much of it clients may have seen.
    released: u64,
    /// The length that they were told, if they were.
    length: Option<u64>,
}

/// How much of a file is read at once, bytes.
const CHUNK: usize = 1 << 18;

/// Where a zip comes from.
#[derive(Debug)]
pub(super) enum Coming {
    /// The body of a response, and its length if it tells.
    Response(Incoming, Option<u64>),
    /// A file of so many bytes.
    File(File, u64),
}

impl From<Response<Incoming>> for Coming {
    fn from(response: Response<Incoming>) -> Self {
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        Self::Response(response.into_body(), length)
    }
}

impl Coming {
    const fn length(&self) -> Option<u64> {
        match self {
            Self::Response(_, length) => *length,
            Self::File(_, bytes) => Some(*bytes),
        }
    }

    /// The next bytes; `None` at the end. An error says why no more come.
    async fn next(&mut self) -> Option<Result<Bytes, String>> {
        match self {
            Self::Response(body, _) => loop {
                match body.frame().await? {
                    Err(error) => return Some(Err(chain(&error))),
                    Ok(frame) => {
                        if let Ok(chunk) = frame.into_data() {
                            return Some(Ok(chunk));
                        }
                    }
                }
            },
            Self::File(file, _) => match read(file).await {
                Ok(chunk) if chunk.is_empty() => None,
                Ok(chunk) => Some(Ok(chunk)),
                Err(error) => Some(Err(error.to_string())),
            },
        }
    }
}

/// Reads on a thread where a slow disk holds nobody up.
async fn read(file: &File) -> io::Result<Bytes> {
    let mut file = file.try_clone()?;
    let read = FETCHED.run(move || {
        let mut chunk = vec![0; CHUNK];
        let length = file.read(&mut chunk)?;
        chunk.truncate(length);
        Ok(chunk.into())
    });
    read.await
}

/// Writes a zip that comes to a file, judges it and keeps it. `slot` has what an earlier response left that
/// broke off, if there was one.
pub(super) async fn fetch(
    server: &Arc<Server>,
    item: &Item,
    mut coming: Coming,
    slot: &mut Option<Spool>,
    pilot: &Pilot,
) -> Result<Answer, Flaw> {
    let path = item.path();
    let length = coming.length();
    let too_long = || {
        let most = ZIP_LIMIT >> 20;
        let why = format!("{path} has more than {most} MiB, which go does not take");
        Flaw::Wrong(Failure::bad_gateway(why))
    };
    if length.is_some_and(|length| length > ZIP_LIMIT) {
        return Err(too_long());
    }
    let failed = |why: &dyn std::fmt::Display| Failure::bad_gateway(format!("{path}: {why}"));
    let ours = |error: io::Error| Flaw::Ours(failed(&error));
    if slot.is_none() {
        let begun = server.tiers.begin().await.map_err(ours)?;
        *slot = Some(Spool::new(begun).map_err(ours)?);
    }
    let Some(spool) = slot else {
        return Err(Flaw::Ours(failed(&"no folder takes a file")));
    };
    let another = || {
        let why = "it broke off, and what came then is another file";
        Flaw::Ours(failed(&why))
    };
    if spool.length.is_some() && spool.length != length {
        return Err(another());
    }
    let (mut digest, mut at) = (Sha256::new(), 0u64);
    let began = server.clock.now();
    loop {
        let asked = server.clock.now();
        let Some(chunk) = coming.next().await else {
            break;
        };
        let chunk = chunk.map_err(|error| {
            let why = format!("it broke off after {at} bytes: {error}");
            Flaw::BrokeOff(failed(&why), server.clock.now().since(asked))
        })?;
        let next = at + chunk.len() as u64;
        let taken = asked.since(began).saturating_sub(AT_REST);
        if next < taken.as_secs() * SLOWEST {
            let why = format!("{next} bytes came in {} s", asked.since(began).as_secs());
            return Err(Flaw::BrokeOff(failed(&why), Duration::MAX));
        }
        if next > ZIP_LIMIT {
            return Err(too_long());
        }
        let whole = spool.write(at, chunk, digest).await.map_err(ours)?;
        digest = whole.ok_or_else(another)?;
        at = next;
        // A small one is judged before anybody sees its head.
        if at > HELD_BACK && at - HELD_BACK > spool.released {
            spool.released = at - HELD_BACK;
            spool.length = length;
            let file = Arc::clone(&spool.shared);
            pilot.grows(Growing { file, length }, spool.released);
        }
    }
    server.counts.fetched(at);
    if length.is_some_and(|length| length != at) {
        let why = format!("it ended after {at} bytes");
        return Err(Flaw::BrokeOff(failed(&why), Duration::ZERO));
    }
    // An earlier one may have been longer, in what nobody has seen.
    spool.shared.set_len(at).map_err(ours)?;
    let shared = Arc::clone(&spool.shared);
    let verdict = server
        .truth
        .of_zip(server, item, Arc::clone(&shared), at)
        .await;
    if let Verdict::Unread(why) = &verdict {
        return Err(Flaw::Ours(failed(why)));
    }
    let proof = server.judged(item, verdict).map_err(Flaw::Wrong)?;
    let answer = Answer {
        status: StatusCode::OK,
        content: Content::File(shared, at),
        at: Clock::wall_now(),
        proof,
    };
    // What nobody vouches for is passed on, and asked for again.
    if let Some(spool) = slot.take()
        && pilot.may_keep()
        && answer.proof != Proof::None
    {
        let sha256 = digest.finalize().into();
        spool.keep(server, path, &answer, sha256).await;
        // A purge may have come while it was kept.
        if !pilot.may_keep() {
            server.tiers.forget(path).await;
        }
    }
    if answer.proof != Proof::None {
        server.complete(item);
    }
    Ok(answer)
}

impl Spool {
    fn new(begun: Begun) -> io::Result<Self> {
        let shared = Arc::new(begun.file.as_file().try_clone()?);
        Ok(Self {
            begun,
            shared,
            released: 0,
            length: None,
        })
    }

    /// Writes what came at a place, and adds it to the digest; `None` if clients have seen something else there.
    async fn write(&mut self, at: u64, chunk: Bytes, digest: Sha256) -> io::Result<Option<Sha256>> {
        let (file, seen) = (Arc::clone(&self.shared), self.released);
        let (own, mut grown) = (chunk.clone(), digest.clone());
        let written = in_time(DISK, move || {
            if !is_what_was_seen(&file, at, &own, seen)? {
                return Ok(None);
            }
            grown.update(&own);
            file.write_all_at(&own, at)?;
            Ok(Some(grown))
        });
        match written.await {
            Ok(written) => Ok(written),
            Err(error) => {
                self.go_elsewhere(at, chunk.clone(), error).await?;
                Ok(Some(digest.chain_update(&chunk)))
            }
        }
    }

    /// Goes on in another folder, once: what is passed on need not be kept.
    async fn go_elsewhere(&mut self, at: u64, chunk: Bytes, error: io::Error) -> io::Result<()> {
        if !self.begun.is_in_store {
            return Err(error);
        }
        tracing::warn!(target: "modtape::serve", "the store: {error}");
        let from = Arc::clone(&self.shared);
        let limit = DISK + Duration::from_secs(at / COPIED_A_SECOND);
        let begun = in_time(limit, move || {
            let begun = Begun::elsewhere()?;
            let into = begun.file.as_file();
            let mut read = vec![0; COPIED];
            let mut copied = 0;
            while copied < at {
                let bytes = from.read_at(&mut read, copied)?;
                let bytes = bytes.min(usize::try_from(at - copied).unwrap_or(usize::MAX));
                if bytes == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                into.write_all_at(&read[..bytes], copied)?;
                copied += bytes as u64;
            }
            into.write_all_at(&chunk, at)?;
            Ok(begun)
        });
        let (released, length) = (self.released, self.length);
        *self = Self {
            released,
            length,
            ..Self::new(begun.await?)?
        };
        Ok(())
    }

    /// Gives the file to the store.
    async fn keep(self, server: &Server, path: &str, answer: &Answer, sha256: [u8; 32]) {
        let file = self.begun.file;
        match self.begun.is_in_store {
            true => server.tiers.put_file(path, answer, file, sha256).await,
            false => {
                tracing::warn!(target: "modtape::serve", "{path} is not kept: the store takes no files");
            }
        }
    }
}

/// Whether what came is what clients have seen at its place, as far as they have.
fn is_what_was_seen(file: &File, at: u64, chunk: &[u8], seen: u64) -> io::Result<bool> {
    let again = usize::try_from(seen.saturating_sub(at)).unwrap_or(usize::MAX);
    let again = &chunk[..again.min(chunk.len())];
    let mut before = vec![0; again.len()];
    file.read_exact_at(&mut before, at)?;
    Ok(before == again)
}

/// Does something on a thread where a slow disk holds nobody else up.
async fn in_time<T: Send + 'static>(
    limit: Duration,
    job: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(job)).await {
        Ok(done) => done.map_err(io::Error::other)?,
        Err(_) => {
            let why = format!("it takes longer than {} s", limit.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        }
    }
}
