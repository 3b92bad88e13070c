//! Answers to git from a recording: as they were, or by git itself from what was recorded.

use std::collections::BTreeSet;
use std::io::{self, BufWriter};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header, request};

use super::context::Context;
use super::replayed::{Given, ReplayError, play};
use super::response_body::Outgoing;
use crate::child::{self, Repository};
use crate::coding::Coding;
use crate::exchange::ByteString;
use crate::git::RESULT;
use crate::replay::{AnswerError, GitAsked, GitFetch, GitFound, Played, REQUEST_LIMIT, Replay};

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
    // A pack may build on what an answer brought that ended later.
    loop {
        let before = left.len();
        let mut postponed = Vec::new();
        for number in left {
            let (pack, packed) = match unpacked(&repository, replay, name, number).await? {
                Ok(unpacked) => unpacked,
                Err(error) => {
                    tracing::debug!(repository = name, "a recorded pack cannot be read: {error}");
                    continue;
                }
            };
            cut.extend(packed.shallow);
            if !repository.add(pack).await? {
                postponed.push(number);
            }
        }
        left = postponed;
        if left.is_empty() || left.len() == before {
            break;
        }
    }
    repository.end(&cut, &replay.refs(name)).await?;
    Ok(repository)
}

/// One recorded pack in a file of its own. The outer error is that the file cannot be written.
async fn unpacked(
    repository: &Repository,
    replay: &Arc<Replay>,
    name: &str,
    number: usize,
) -> Result<io::Result<(std::fs::File, crate::git::Packed)>, String> {
    let file = repository.file();
    let file = file.map_err(|error| format!("cannot write a repository: {error}"))?;
    let (replay, name) = (Arc::clone(replay), name.to_owned());
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut pack = BufWriter::new(file);
        let packed = replay.unpack(&name, number, &mut pack)?;
        Ok((pack.into_inner()?, packed))
    });
    unpacking
        .await
        .map_err(|error| format!("a recorded pack cannot be read: {error}"))
}
