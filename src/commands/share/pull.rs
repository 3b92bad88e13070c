//! `modtape pull`: takes what a list names, holds it against the digests, and makes a recording of it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, ensure};
use serde::Serialize;

use super::{List, Listed, Remote, digest, place};
use crate::cli::{Global, PullArgs};
use crate::commands::client::some_at_once;
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::naming::Naming;
use crate::commands::runtime::{Stop, block_on};
use crate::files::Working;
use crate::objects::{Objects, Place};
use crate::recording::{Recording, writer};
use crate::shell;
use crate::terminal::words::{count, size};
use crate::terminal::{Progress, json, plain, say, to_stdout};

/// The name of the recording until it is complete.
const MADE: &str = "recording";

/// What was done; `--json`.
#[derive(Debug, Serialize)]
struct Pulled {
    name: String,
    path: String,
    url: String,
    files: u64,
    bytes: u64,
}

pub(in crate::commands) fn run(args: &PullArgs, global: &Global) -> Result<ExitCode, Failure> {
    let remote = remote(args).map_err(|error| Failure::new(USAGE, error))?;
    let own = PathBuf::from(&remote.name);
    let output = args.output.as_deref().unwrap_or(&own);
    let verb = String::from("pull");
    let mut naming = Naming::named(Some(output), args.force, verb, global)?;
    naming.check()?;
    let stop = Stop::listen()?;
    let pulling = async {
        tokio::select! {
            pulled = pull(&remote, &mut naming, global) => pulled,
            () = stop.heard() => Err(anyhow!("stopped")),
        }
    };
    let pulled = block_on(pulling)?;
    let pulled = stop.explain(pulled)?;
    if args.json {
        let text = json::pretty(&pulled)?;
        to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    }
    let files = count(pulled.files, "file");
    let text = format!(
        "{} pulled from {}: {files} ({}); see it with `modtape ls {}`",
        pulled.name,
        pulled.url,
        size(pulled.bytes),
        shell::word(&pulled.path)
    );
    say(global, plain(&text));
    Ok(ExitCode::SUCCESS)
}

/// What is to be pulled: a URL with the name at its end, or a name and `--from`.
fn remote(args: &PullArgs) -> anyhow::Result<Remote> {
    if let Some(from) = &args.from {
        ensure!(
            !Place::is_url(&args.place),
            "{} and --from are two places",
            crate::redact::url_without_secrets(&args.place)
        );
        return Remote::open(place(from)?, args.place.clone());
    }
    if !Place::is_url(&args.place) {
        let error = anyhow!("{} is a name, and no place is given", args.place);
        return Err(error).help("--from s3://BUCKET/PREFIX says where it is");
    }
    let (place, name) = place(&args.place)?
        .split()
        .context("the URL ends with no name: s3://BUCKET/PREFIX/NAME")?;
    Remote::open(place, name)
}

async fn pull(remote: &Remote, naming: &mut Naming, global: &Global) -> anyhow::Result<Pulled> {
    let list = remote.list().await?;
    let list = list.with_context(|| format!("there is no recording at {remote}"))?;
    let message = format!("cannot write {}", naming.dir.display());
    let parent = naming.dir.parent();
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let working = writer::make_parent(parent).and_then(|()| Working::create(&naming.dir));
    let working = working.context(message.clone())?;
    let made = working.path().join(MADE);
    fill(remote, &list, &made, global).await?;
    let recording = made.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let recording = Recording::open_whole(&recording)?;
        recording.write_index()?;
        anyhow::Ok(())
    });
    let opened = opened.await?;
    opened.with_context(|| format!("what is at {remote} is no recording"))?;
    naming.place(&made)?;
    Ok(Pulled {
        name: naming.name(),
        path: naming.dir.to_string_lossy().into_owned(),
        url: remote.to_string(),
        files: list.files.len() as u64,
        bytes: list.files.iter().map(|file| file.bytes).sum(),
    })
}

/// Writes all files of a list.
async fn fill(remote: &Remote, list: &List, dir: &Path, global: &Global) -> anyhow::Result<()> {
    let mut progress = Progress::new("file", list.files.len(), global);
    let is_over = std::cell::Cell::new(false);
    let fetching = list.files.iter().map(|file| {
        let (objects, file) = (remote.objects.clone(), file.clone());
        let to = dir.join(&file.path);
        async move {
            let path = file.path.clone();
            fetch(&objects, &file, &to).await.context(path)
        }
    });
    let fetching = fetching.take_while(|_| !is_over.get());
    let (mut failed, mut done) = (None, 0);
    some_at_once(fetching, |fetched: anyhow::Result<()>| match fetched {
        Ok(()) => {
            done += 1;
            progress.step(done);
        }
        Err(error) => {
            is_over.set(true);
            failed.get_or_insert(error);
        }
    })
    .await?;
    match failed {
        Some(error) => Err(error).with_context(|| format!("cannot pull {remote}")),
        None => Ok(()),
    }
}

/// Writes one file, and holds it against its digest.
async fn fetch(objects: &Objects, listed: &Listed, to: &Path) -> anyhow::Result<()> {
    let object = objects.get(&listed.key()).await?;
    let mut object = object.context("the store does not have it")?;
    let bytes = listed.bytes;
    ensure!(
        object.bytes() == bytes,
        "the store has {} bytes of it, and the recording {bytes}",
        object.bytes()
    );
    if let Some(folder) = to.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut file = options.open(to)?;
    let mut received = 0;
    while let Some(chunk) = object.next().await {
        let chunk = chunk?;
        received += chunk.len() as u64;
        ensure!(received <= bytes, "more came than its {bytes} bytes");
        let written = tokio::task::spawn_blocking(move || {
            file.write_all(&chunk)?;
            std::io::Result::Ok(file)
        });
        file = written.await??;
    }
    ensure!(received == bytes, "it ended after {received} bytes");
    let named = to.to_owned();
    let hashing = tokio::task::spawn_blocking(move || digest(&file, bytes, &named));
    let found = hashing.await??;
    ensure!(
        found == listed.sha256,
        "it was altered: its digest is {found}; `modtape push --force` sends it again"
    );
    Ok(())
}
