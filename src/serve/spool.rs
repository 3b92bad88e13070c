//! A zip on its way: it is written to a file as it comes, and passed on from there to all who asked, but for its
//! end, which they see once the zip is proved.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use sha2::{Digest as _, Sha256};

use super::answer::{Answer, Content, Proof};
use super::failure::Failure;
use super::fetch::{Growing, Pilot};
use super::item::Item;
use super::server::Server;
use crate::clock::Clock;
use crate::exchange::chain;
use crate::gomod::ZIP_LIMIT;

/// How much of the end is held back until a zip is proved, bytes: a zip without its last bytes, where its directory
/// is, opens nowhere.
const HELD_BACK: u64 = 64 << 10;

/// Writes the body of a response to a file, judges it and keeps it.
pub(super) async fn fetch(
    server: &Arc<Server>,
    item: &Item,
    response: Response<Incoming>,
    pilot: Pilot<'_>,
) {
    let length = response.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let end = receive(server, item, response.into_body(), length, &pilot).await;
    pilot.ends(end);
}

async fn receive(
    server: &Arc<Server>,
    item: &Item,
    mut body: Incoming,
    length: Option<u64>,
    pilot: &Pilot<'_>,
) -> Result<Answer, Failure> {
    let path = item.path();
    if length.is_some_and(|length| length > ZIP_LIMIT) {
        let why = format!(
            "{path} has more than {} MiB, which go does not take",
            ZIP_LIMIT >> 20
        );
        return Err(Failure::bad_gateway(why));
    }
    let failed = |why: &dyn std::fmt::Display| Failure::bad_gateway(format!("{path}: {why}"));
    let file = server.tiers.begin().await;
    let file = file.ok_or_else(|| failed(&"the store takes no file"))?;
    let (writer, reader) = (file.as_file().try_clone(), file.reopen());
    let (writer, reader) = (
        writer.map_err(|it| failed(&it))?,
        reader.map_err(|it| failed(&it))?,
    );
    let (mut writer, reader) = (writer, Arc::new(reader));
    let (mut digest, mut received) = (Sha256::new(), 0u64);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let why = chain(&error);
            failed(&format!("it broke off after {received} bytes: {why}"))
        })?;
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        received += chunk.len() as u64;
        if received > ZIP_LIMIT {
            return Err(failed(&format!(
                "it is longer than {} MiB",
                ZIP_LIMIT >> 20
            )));
        }
        (writer, digest) = write(writer, digest, chunk)
            .await
            .map_err(|it| failed(&it))?;
        // A small one is judged before anybody sees its head.
        if received > HELD_BACK {
            let file = Arc::clone(&reader);
            pilot.grows(Growing { file, length });
            pilot.releases(received - HELD_BACK);
        }
    }
    drop(writer);
    server.fetched(received);
    if length.is_some_and(|length| length != received) {
        return Err(failed(&format!("it ended after {received} bytes")));
    }
    let verdict = server
        .truth
        .of_zip(server, item, Arc::clone(&reader), received)
        .await;
    let proof = server.judged(item, verdict)?;
    let answer = Answer {
        status: StatusCode::OK,
        content: Content::File(reader, received),
        at: Clock::wall_now(),
        proof,
    };
    let sha256 = digest.finalize().into();
    if pilot.may_keep() {
        server.tiers.put_file(path, &answer, file, sha256).await;
    }
    if answer.proof != Proof::None {
        server.complete(item);
    }
    Ok(answer)
}

/// Writes on a thread where a slow disk holds nobody up.
async fn write(
    mut file: std::fs::File,
    mut digest: Sha256,
    chunk: Bytes,
) -> std::io::Result<(std::fs::File, Sha256)> {
    let written = tokio::task::spawn_blocking(move || {
        file.write_all(&chunk)?;
        digest.update(&chunk);
        Ok((file, digest))
    });
    written.await.map_err(std::io::Error::other)?
}
