//! Answers to git from a recording: as they were, or by git itself from what was recorded.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header, request};

use super::context::Context;
use super::replayed::{Given, ReplayError, play};
use super::response_body::Outgoing;
use crate::child::{self, Repository};
use crate::coding::Coding;
use crate::exchange::ByteString;
use crate::git::{REPOSITORY_LIMIT, RESULT};
use crate::replay::{
    AnswerError, GitAsked, GitFetch, GitFound, Played, REQUEST_LIMIT, Replay, is_of_repository,
};
use crate::words::size;

/// Whether this may be a command for a git repository, whose body says what it asks.
pub(super) fn is_command(head: &request::Parts) -> bool {
    head.method == http::Method::POST && head.uri.path().ends_with("/git-upload-pack")
}

/// The answer to a request to a git repository; `None` if it is none, or nothing of git is recorded of
/// it. `body` is the request's, if it is a command.
pub(super) async fn answer(
    context: &Context,
    replay: &Arc<Replay>,
    head: &request::Parts,
    body: &Bytes,
    url: &str,
) -> Option<Result<Given, ReplayError>> {
    let field = |name: &str| {
        let value = head.headers.get(name).map(HeaderValue::as_bytes);
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    };
    let coding = vec![(
        String::from("content-encoding"),
        ByteString::from(&*field("content-encoding")),
    )];
    let body = Coding::of(&coding).decode(body, REQUEST_LIMIT);
    let asked = GitAsked {
        method: head.method.as_str(),
        url,
        protocol: &field("git-protocol"),
        // One that cannot be decoded is none of git's.
        body: body.as_deref().unwrap_or_default(),
    };
    if !is_of_repository(url) {
        return None;
    }
    if !replay.knows_repositories() {
        // On another thread, since all traffic runs on this one.
        let replay = Arc::clone(replay);
        let found = tokio::task::spawn_blocking(move || replay.find_repositories()).await;
        // What panics there panics here too.
        found.ok()?;
    }
    let found = match replay.git(&asked)? {
        Ok(found) => found,
        Err(error) => return Some(Err(error.into())),
    };
    Some(match found {
        GitFound::Recorded(hit) => play(replay, &hit, &head.headers),
        GitFound::Refs(refs) => {
            replay.answered();
            let bytes = refs.len() as u64;
            Ok(made(Played::of(io::Cursor::new(refs), bytes), bytes))
        }
        GitFound::Fetch(fetch) => match by_git(context, replay, &fetch, asked.body).await {
            Ok((file, bytes)) => {
                replay.answered();
                Ok(made(Played::of(file, bytes), bytes))
            }
            Err(why) => Err(AnswerError::Miss(replay.not_fetched(&fetch, &why)).into()),
        },
    })
}

/// An answer to a command that is not on the recording as it is.
fn made(body: Played, bytes: u64) -> Given {
    let mut response = Response::new(Outgoing::Played(body));
    *response.headers_mut() = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static(RESULT)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ]);
    Given { response, bytes }
}

/// Has git answer from a repository of what was recorded; or why it cannot.
async fn by_git(
    context: &Context,
    replay: &Arc<Replay>,
    fetch: &GitFetch,
    body: &[u8],
) -> Result<(std::fs::File, u64), String> {
    let asked = child::GitAsked {
        body,
        fetch: &fetch.fetch,
        is_sha256: fetch.is_sha256,
    };
    let fill = async |repository| fill(repository, replay, &fetch.repository).await;
    let repositories = &context.repositories;
    repositories.fetch(&fetch.repository, &asked, fill).await
}

/// Fills a new repository with all that was recorded of it.
async fn fill(
    mut repository: Repository,
    replay: &Arc<Replay>,
    name: &str,
) -> Result<Repository, String> {
    let mut cut = BTreeSet::new();
    let mut left: Vec<usize> = (0..replay.packs(name)).collect();
    let mut room = REPOSITORY_LIMIT;
    // They stand in the order in which they were asked for, and what a pack builds on came before its client asked.
    // Once more, since a client may ask on a connection that it had opened earlier.
    for _ in 0..2 {
        let mut postponed = Vec::new();
        for number in left {
            let (pack, packed) = match unpacked(&repository, replay, name, number, room).await? {
                Ok(unpacked) => unpacked,
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    let limit = size(REPOSITORY_LIMIT);
                    return Err(format!("more than {limit} were recorded of the repository"));
                }
                Err(error) => {
                    tracing::debug!(repository = name, "a recorded pack cannot be read: {error}");
                    continue;
                }
            };
            cut.extend(packed.shallow);
            match repository.add(pack).await? {
                true => room = room.saturating_sub(packed.bytes),
                false => postponed.push(number),
            }
        }
        left = postponed;
    }
    repository.end(&cut, &replay.refs(name)).await?;
    Ok(repository)
}

/// One recorded pack in a file of its own, of at most so many bytes. The outer error is that the file cannot be
/// written.
async fn unpacked(
    repository: &Repository,
    replay: &Arc<Replay>,
    name: &str,
    number: usize,
    room: u64,
) -> Result<io::Result<(std::fs::File, crate::git::Packed)>, String> {
    let file = repository.file();
    let file = file.map_err(|error| format!("cannot write a repository: {error}"))?;
    let (replay, name) = (Arc::clone(replay), name.to_owned());
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut pack = Bounded {
            out: BufWriter::new(file),
            room,
        };
        let packed = replay.unpack(&name, number, &mut pack)?;
        Ok((pack.out.into_inner()?, packed))
    });
    unpacking
        .await
        .map_err(|error| format!("a recorded pack cannot be read: {error}"))
}

/// Takes so many bytes and no more.
struct Bounded<W> {
    out: W,
    room: u64,
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.checked_sub(bytes.len() as u64);
        self.room = room.ok_or(io::ErrorKind::FileTooLarge)?;
        // All of them, so that what was counted is what is there.
        self.out.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_written_than_there_is_room_for() {
        let mut out = Bounded {
            out: Vec::new(),
            room: 5,
        };
        out.write_all(b"abc").unwrap();
        out.write_all(b"de").unwrap();
        let error = out.write_all(b"f").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(out.out, b"abcde");
    }
}
