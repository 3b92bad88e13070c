//! `modtape cache export` and `import`: what a store keeps, over an air gap.
//!
//! The archive is the tree of a module proxy, such as `GOPROXY=file://…` takes once it is unpacked, and at its end
//! the digests of its files, as `sha256sum --check` reads them. An import unpacks it beside the store, and then asks
//! it as it would ask an upstream: what is not proved is not kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use super::pull::{Pulled, fill};
use super::{Shown, made, opened};
use crate::cli::{CacheExportArgs, CacheImportArgs, Global};
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::commands::output_file::OutputFile;
use crate::commands::runtime::{Stop, Stoppable};
use crate::commands::serve::Filling;
use crate::gomod::{Kind, TEXT_LIMIT, ZIP_LIMIT};
use crate::serve::{Disk, Item, Kept, Life, Tree};
use crate::terminal::words::{count, size};
use crate::terminal::{Progress, plain, say, warn};

/// The archive's last file: a digest and a path a line.
const DIGESTS: &str = "SHA256SUMS";

/// The longest such file, bytes: a million answers.
const DIGESTS_LIMIT: u64 = 256 << 20;

/// The longest name of a file in an archive, bytes.
const NAME_LIMIT: u64 = 4096;

/// How much is copied at once, bytes.
const CHUNK: usize = 1 << 18;

/// What was written.
#[derive(Debug, Default, Serialize)]
struct Exported {
    file: String,
    answers: u64,
    /// Of their bodies.
    bytes: u64,
    /// What was left out, since it is damaged.
    damaged: Vec<String>,
}

pub(super) fn export(args: &CacheExportArgs, global: &Global) -> Result<ExitCode, Failure> {
    let (_, disk) = opened(&args.store)?;
    let stop = Stop::listen()?;
    let inventory = disk.inventory().context("cannot read the store")?;
    let chosen = chosen(&inventory.kept, &args.versions)?;
    let mut output = OutputFile::create(&args.file)?;
    let mut exported = Exported {
        file: args.file.display().to_string(),
        ..Exported::default()
    };
    let file = output.file();
    let written = write(file, &disk, &chosen, &mut exported, &stop, global);
    stop.explain(output.finish(written))?;
    for damaged in &exported.damaged {
        warn(global, plain(&format!("left out {damaged}")));
    }
    let (answers, bytes) = (count(exported.answers, "answer"), size(exported.bytes));
    let line = format!("{answers}, {bytes}, written to {}", exported.file);
    Shown {
        lines: vec![line],
        json: &exported,
    }
    .print(args.store.json)?;
    Ok(match exported.damaged.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

/// What goes into an archive: all that is right for ever, of these versions if some are named.
fn chosen<'a>(kept: &'a [Kept], versions: &[String]) -> Result<Vec<&'a Kept>, Failure> {
    let usage = |error| Failure::new(USAGE, error);
    let mut named = BTreeMap::new();
    for version in versions {
        let Some(of) = version.split_once('@').filter(|(_, it)| !it.is_empty()) else {
            return Err(usage(anyhow!("{version} is no MODULE@VERSION")));
        };
        named.insert(of, false);
    }
    let mut chosen = Vec::new();
    for kept in kept {
        let item = &kept.item;
        if !kept.is_found() || item.life() != Life::Immutable {
            // Which versions there are is told by what is there.
            continue;
        }
        // Which tiles prove a record is not known before they are read.
        let is_chosen = named.is_empty() || item.kind() == Kind::Tile;
        match named.get_mut(&(item.module(), item.version())) {
            Some(is_there) => *is_there |= item.kind() != Kind::Lookup,
            None if !is_chosen => continue,
            None => {}
        }
        chosen.push(kept);
    }
    match named.iter().find(|(_, is_there)| !**is_there) {
        Some(((module, version), _)) => {
            Err::<(), _>(anyhow!("the store has nothing of {module}@{version}"))
                .help("`modtape cache pull` fetches what a go.mod or go.sum names")
                .map(|()| chosen)
                .map_err(Failure::from)
        }
        None => Ok(chosen),
    }
}

fn write(
    file: &mut File,
    disk: &Disk,
    chosen: &[&Kept],
    exported: &mut Exported,
    stop: &Stop,
    global: &Global,
) -> anyhow::Result<()> {
    let out = &mut Stoppable { out: file, stop };
    let mut tar = Builder::new(io::BufWriter::with_capacity(CHUNK, out));
    let mut digests = String::new();
    let mut add = |tar: &mut Builder<_>, path: &str, bytes: u64, body: &mut dyn Read| {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes);
        header.set_mode(0o644);
        let mut reader = Digesting {
            body,
            digest: Sha256::new(),
        };
        let added = tar.append_data(&mut header, path, &mut reader);
        added.with_context(|| format!("cannot add {path}"))?;
        digests.push_str(&line_of(&reader.digest.finalize().into(), path));
        anyhow::Ok(())
    };
    let databases: BTreeSet<&str> = chosen
        .iter()
        .filter_map(|kept| kept.item.route.sumdb.as_deref())
        .collect();
    for database in databases {
        // That whoever serves the tree relays it.
        let path = format!("sumdb/{database}/supported");
        add(&mut tar, &path, 0, &mut io::empty())?;
    }
    let mut progress = Progress::new("answer", chosen.len(), global);
    for (number, kept) in chosen.iter().enumerate() {
        progress.step(number);
        match disk.checked(kept) {
            Ok(Some(answer)) => {
                add(
                    &mut tar,
                    kept.item.path(),
                    answer.bytes(),
                    &mut answer.reader(),
                )?;
                exported.bytes += answer.bytes();
                exported.answers += 1;
            }
            // It was removed meanwhile.
            Ok(None) => {}
            Err(why) => exported
                .damaged
                .push(format!("{}: {why}", kept.item.path())),
        }
    }
    drop(progress);
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(digests.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, DIGESTS, digests.as_bytes())?;
    tar.into_inner()?.flush()?;
    Ok(())
}

/// Reads a body, and takes its digest.
struct Digesting<'a> {
    body: &'a mut dyn Read,
    digest: Sha256,
}

impl Read for Digesting<'_> {
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(chunk)?;
        self.digest.update(&chunk[..read]);
        Ok(read)
    }
}

/// As `sha256sum` writes it.
fn line_of(digest: &[u8; 32], path: &str) -> String {
    format!("{}  {path}\n", crate::exchange::Hex(*digest))
}

pub(super) fn import(args: &CacheImportArgs, global: &Global) -> Result<ExitCode, Failure> {
    let (_, disk) = made(&args.store)?;
    let stop = Stop::listen()?;
    let shown = args.file.display().to_string();
    let file = File::open(&args.file).with_context(|| format!("cannot read {shown}"))?;
    let staging = disk.staging().context("cannot write to the store")?;
    let unpacked = unpack(BufReader::with_capacity(CHUNK, file), staging.path(), &stop);
    let items = unpacked.with_context(|| format!("{shown} is not imported"));
    let items = match (items, stop.code()) {
        (Err(_), Some(code)) => {
            let error = anyhow!("stopped by a signal: nothing is imported");
            return Err(Failure::new(code, error));
        }
        (items, _) => items?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("cannot start")?;
    let pulled = runtime.block_on(keep(disk, staging.path(), items, &stop, global));
    runtime.shutdown_background();
    let pulled = pulled?;
    pulled.print(args.store.json, global)?;
    pulled.code(&stop)
}

/// Proves what was unpacked, and keeps it.
async fn keep(
    disk: Disk,
    folder: &Path,
    items: Vec<Item>,
    stop: &Stop,
    global: &Global,
) -> Result<Pulled, Failure> {
    let mut pulled = Pulled::default();
    let tree = Tree::open(folder).context("cannot read what was unpacked")?;
    let Some(tree) = tree else {
        say(global, "the archive has no module");
        return Ok(pulled);
    };
    let tree = tree.without_made_infos();
    let filling = Filling::start(Vec::new(), disk, Some((folder, tree))).await?;
    // Records first, since they prove the rest, and take the tiles that they need.
    let is_record = |item: &Item| matches!(item.kind(), Kind::Lookup);
    let (records, others): (Vec<_>, Vec<_>) = items.into_iter().partition(is_record);
    for items in [records, others] {
        let wanted = items.into_iter().map(|item| (item, Vec::new()));
        tokio::select! {
            () = fill(&filling, wanted, &mut pulled, global) => {}
            () = stop.heard() => pulled.stopped = true,
        }
    }
    filling.close().await;
    Ok(pulled)
}

/// Unpacks an archive into an empty folder: what it holds. Nothing of it is proved yet but that it is whole.
fn unpack(archive: impl Read, folder: &Path, stop: &Stop) -> anyhow::Result<Vec<Item>> {
    let mut archive = Archive::new(archive);
    let mut unpacked: BTreeMap<String, String> = BTreeMap::new();
    let mut items = Vec::new();
    let mut long_name = None;
    let mut digests = None;
    let whole = "it is no archive of `modtape cache export`, or it is cut";
    for entry in archive.entries().context(whole)?.raw(true) {
        stop.check()?;
        let mut entry = entry.context(whole)?;
        let (kind, bytes) = (entry.header().entry_type(), entry.size());
        if digests.is_some() {
            bail!("there is something behind {DIGESTS}");
        }
        if kind == EntryType::GNULongName {
            if bytes > NAME_LIMIT {
                bail!("a name in it is longer than {NAME_LIMIT} bytes");
            }
            let mut name = Vec::new();
            entry.read_to_end(&mut name).context(whole)?;
            name.truncate(
                name.iter()
                    .position(|byte| *byte == 0)
                    .unwrap_or(name.len()),
            );
            long_name = Some(name);
            continue;
        }
        let name = long_name.take();
        let name = name.unwrap_or_else(|| entry.path_bytes().into_owned());
        let shown = String::from_utf8_lossy(&name).into_owned();
        let shown = plain(&shown).into_owned();
        if kind != EntryType::Regular {
            bail!("{shown} is no file: links, folders and devices are not taken");
        }
        let name = String::from_utf8(name);
        let name = name.with_context(|| format!("{shown} is no name of a file"))?;
        if name == DIGESTS {
            digests = Some(read_digests(&mut entry, bytes)?);
            continue;
        }
        let item = item_of(&name);
        let item = item.with_context(|| format!("{shown} is no path of a module proxy"))?;
        let most = match item.as_ref().is_some_and(Item::is_zip) {
            true => ZIP_LIMIT,
            false => TEXT_LIMIT,
        };
        if bytes > most {
            bail!("{shown} has {}, which go does not take", size(bytes));
        }
        let digest = copy(&mut entry, &folder.join(&name), bytes, stop);
        let digest = digest.with_context(|| format!("cannot unpack {shown}"))?;
        let hex = crate::exchange::Hex(digest).to_string();
        if unpacked.insert(name, hex).is_some() {
            bail!("{shown} is in it twice");
        }
        items.extend(item);
    }
    let digests = digests.context(whole)?;
    for (name, digest) in &digests {
        match unpacked.get(name) {
            Some(own) if own == digest => {}
            Some(_) => bail!("{} is damaged: its digest is another one", plain(name)),
            None => bail!("{} is missing in it", plain(name)),
        }
    }
    if let Some((name, _)) = unpacked
        .iter()
        .find(|(name, _)| !digests.contains_key(*name))
    {
        bail!("{} has no digest in it", plain(name));
    }
    Ok(items)
}

/// What a file of an archive answers; `None` of the mark of a checksum database. An error for every other path, such
/// as one that leads out of the folder.
fn item_of(name: &str) -> Option<Option<Item>> {
    let item = Item::of_path(&format!("/{name}")).ok()?;
    // One spelling, so that no two names are one file.
    let is_own = item.path() == name;
    match item.kind() {
        Kind::SumdbSupported => is_own.then_some(None),
        _ => (is_own && item.life() == Life::Immutable).then_some(Some(item)),
    }
}

fn read_digests(entry: &mut impl Read, bytes: u64) -> anyhow::Result<BTreeMap<String, String>> {
    if bytes > DIGESTS_LIMIT {
        bail!("its {DIGESTS} has {}", size(bytes));
    }
    let mut text = String::new();
    entry
        .read_to_string(&mut text)
        .with_context(|| format!("its {DIGESTS} cannot be read"))?;
    if text.len() as u64 != bytes {
        bail!("its {DIGESTS} is cut");
    }
    let line = |line: &str| {
        let (digest, name) = line.split_once("  ")?;
        Some((name.to_owned(), digest.to_owned()))
    };
    let lines: Option<BTreeMap<_, _>> = text.lines().map(line).collect();
    lines.with_context(|| format!("its {DIGESTS} is none of sha256sum"))
}

/// Writes a file that is not there yet, of so many bytes: its digest.
fn copy(from: &mut impl Read, to: &Path, bytes: u64, stop: &Stop) -> anyhow::Result<[u8; 32]> {
    if let Some(folder) = to.parent() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder)?;
    }
    let options = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to);
    let mut file = match options {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("it is in it twice")
        }
        opened => opened?,
    };
    let mut digest = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut copied = 0;
    loop {
        stop.check()?;
        let read = from.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        digest.update(&chunk[..read]);
        file.write_all(&chunk[..read])?;
        copied += read as u64;
    }
    if copied != bytes {
        bail!("it ends after {copied} of {bytes} bytes");
    }
    Ok(digest.finalize().into())
}
