//! `modtape push`: sends what the store does not have, and the list last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde::Serialize;

use super::{KIND, List, Listed, Remote, VERSION, body_file, digest, place};
use crate::child::ProcessLimits;
use crate::cli::{Global, PushArgs};
use crate::commands::client::some_at_once;
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::runtime::{Stop, block_on};
use crate::commands::selection::open;
use crate::files::open_regular;
use crate::recording::Recording;
use crate::recording::format::BODIES;
use crate::recording::reader::Status;
use crate::recording::writer::SHARED;
use crate::terminal::words::{count, size};
use crate::terminal::{Progress, json, plain, say, to_stdout};

/// What was done; `--json`.
#[derive(Debug, Serialize)]
struct Pushed {
    name: String,
    url: String,
    /// Files of the recording that have a content of their own.
    files: u64,
    bytes: u64,
    /// Those that the store did not have.
    files_sent: u64,
    bytes_sent: u64,
}

/// A file of the recording.
struct Found {
    /// Its path in the recording's folder.
    path: String,
    file: Arc<File>,
    bytes: u64,
}

pub(in crate::commands) fn run(args: &PushArgs, global: &Global) -> Result<ExitCode, Failure> {
    let usage = |error| Failure::new(USAGE, error);
    let place = place(&args.url).map_err(usage)?;
    let recording = open(&args.name, global)?;
    let name = recording.name();
    // `…/NAME` is what `pull` takes.
    let place = match place.split() {
        Some((above, last)) if last == name => above,
        _ => place,
    };
    let remote = Remote::open(place, name).map_err(usage)?;
    if recording.status() == Status::Recording {
        let error = anyhow!("{} is being recorded", recording.name());
        return Ok(Err(error).help("push it once its command has ended")?);
    }
    // Each file is open until it is sent.
    ProcessLimits::now().raise_descriptors();
    let stop = Stop::listen()?;
    let pushing = async {
        let pushed = tokio::select! {
            pushed = push(&remote, &recording, args.force, global) => pushed,
            () = stop.heard() => Err(anyhow!("stopped")),
        };
        remote.objects.close().await;
        pushed
    };
    let pushed = match (block_on(pushing)?, stop.code()) {
        (Err(_), Some(code)) => {
            let why = "stopped by a signal: what was sent stays, and the recording is not listed";
            return Err(Failure::new(code, anyhow!(why)));
        }
        (pushed, _) => pushed?,
    };
    if args.json {
        let text = json::pretty(&pushed)?;
        to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    }
    let there = pushed.files - pushed.files_sent;
    let sent = count(pushed.files_sent, "file");
    let text = format!(
        "{} is at {}: {sent} sent ({}), {there} were there",
        pushed.name,
        pushed.url,
        size(pushed.bytes_sent)
    );
    say(global, plain(&text));
    Ok(ExitCode::SUCCESS)
}

async fn push(
    remote: &Remote,
    recording: &Recording,
    force: bool,
    global: &Global,
) -> anyhow::Result<Pushed> {
    let id = &recording.manifest().id;
    // One that is damaged is replaced with --force too.
    if !force
        && let Some(there) = remote.list().await?
        && there.recording != *id
    {
        let error = anyhow!("there is another recording at {remote}");
        return Err(error).help("--force replaces it");
    }
    let dir = recording.dir().to_owned();
    let found = tokio::task::spawn_blocking(move || files(&dir)).await??;
    let mut progress = Progress::new("file", found.len(), global);
    let (mut files, mut contents) = (Vec::new(), BTreeMap::new());
    for Found { path, file, bytes } in found {
        let (own, named) = (Arc::clone(&file), PathBuf::from(&path));
        let digest = tokio::task::spawn_blocking(move || digest(&own, bytes, &named));
        let sha256 = digest.await??;
        ensure!(
            !path.starts_with(BODIES) || path == body_file(&sha256),
            "{path} is damaged: its digest is {sha256}"
        );
        let listed = Listed {
            path,
            bytes,
            sha256,
        };
        contents.insert(listed.sha256.clone(), (listed.key(), file, bytes));
        files.push(listed);
        progress.step(files.len());
    }
    let mut pushed = Pushed {
        name: remote.name.clone(),
        url: remote.to_string(),
        files: contents.len() as u64,
        bytes: contents.values().map(|(_, _, bytes)| bytes).sum(),
        files_sent: 0,
        bytes_sent: 0,
    };
    let mut progress = Progress::new("file", contents.len(), global);
    let (mut failed, mut done) = (None, 0);
    let sending = contents.into_values().map(|(key, file, bytes)| {
        let objects = remote.objects.clone();
        async move {
            if !force && objects.size_of(&key).await? == Some(bytes) {
                return Ok(None);
            }
            objects.put_file(&key, &file, bytes).await?;
            Ok(Some(bytes))
        }
    });
    // The first failure ends it: the iterator gives no further one.
    let is_over = std::cell::Cell::new(false);
    let sending = sending.take_while(|_| !is_over.get());
    some_at_once(
        sending,
        |sent: Result<_, crate::objects::Failure>| match sent {
            Ok(sent) => {
                done += 1;
                progress.step(done);
                if let Some(bytes) = sent {
                    pushed.files_sent += 1;
                    pushed.bytes_sent += bytes;
                }
            }
            Err(error) => {
                is_over.set(true);
                failed.get_or_insert(error);
            }
        },
    )
    .await?;
    if let Some(error) = failed {
        return Err(error).with_context(|| format!("cannot push to {}", remote.place));
    }
    let list = List {
        kind: KIND.to_owned(),
        version: VERSION,
        recording: id.clone(),
        files,
    };
    let text = serde_json::to_vec(&list)?;
    let put = remote.objects.put(&remote.key(), text.into()).await;
    put.with_context(|| format!("cannot push to {remote}"))?;
    Ok(pushed)
}

/// The files of a recording that others need.
fn files(dir: &Path) -> anyhow::Result<Vec<Found>> {
    let mut paths: Vec<String> = SHARED.iter().map(|name| (*name).to_owned()).collect();
    let bodies = dir.join(BODIES);
    for shelf in entries(&bodies)? {
        for name in entries(&bodies.join(&shelf))? {
            // What is being written has another name.
            if name.len() == 64 && name.bytes().all(|it| it.is_ascii_hexdigit()) {
                paths.push(format!("{BODIES}/{shelf}/{name}"));
            }
        }
    }
    let mut files = Vec::new();
    for path in paths {
        let file = match open_regular(&dir.join(&path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(path),
        };
        let bytes = file.metadata()?.len();
        let file = Arc::new(file);
        files.push(Found { path, file, bytes });
    }
    Ok(files)
}

/// The names in a folder; none if there is no folder.
fn entries(folder: &Path) -> anyhow::Result<Vec<String>> {
    let read = match std::fs::read_dir(folder) {
        Ok(read) => read,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).with_context(|| folder.display().to_string()),
    };
    let mut names = Vec::new();
    for entry in read {
        match entry?.file_name().into_string() {
            Ok(name) => names.push(name),
            Err(name) => bail!("{} is no file of a recording", name.to_string_lossy()),
        }
    }
    names.sort_unstable();
    Ok(names)
}
