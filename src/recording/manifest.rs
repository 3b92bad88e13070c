//! `recording.json`, read and replaced.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use serde::Deserialize;

use super::format::{FORMAT_VERSION, MANIFEST, MANIFEST_KIND, Manifest, Open};
use crate::files::{open_regular, replace_file, sync_dir};

/// The longest manifest that is read, bytes: a command line of 2 MiB, Linux's usual limit, and as
/// much again. A list of recordings reads all their manifests, so it is a bound on memory too.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// There is no such file.
    #[error("there is no {MANIFEST}")]
    NotFound,
    /// A file of that name that another program wrote.
    #[error("{MANIFEST} is not a modtape recording's")]
    Foreign,
    /// It is of a format version that this program does not read.
    #[error("{MANIFEST} is of format version {0}")]
    Version(u32),
    /// It is longer than any that a recorder writes.
    #[error("{MANIFEST} is longer than {MANIFEST_LIMIT} bytes")]
    TooLong,
    /// It is not the JSON that it should be.
    #[error("{MANIFEST} is damaged")]
    Damaged(#[source] serde_json::Error),
    /// It cannot be read.
    #[error("cannot read {MANIFEST}")]
    Unreadable(#[source] io::Error),
}

/// Reads the manifest of the recording in `dir`.
pub(crate) fn read_manifest(dir: &Path) -> Result<Manifest, ManifestError> {
    #[derive(Deserialize)]
    struct Head {
        kind: String,
        format: u32,
    }
    let file = open_regular(&dir.join(MANIFEST)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ManifestError::NotFound,
        _ => ManifestError::Unreadable(error),
    })?;
    let mut text = Vec::new();
    file.take(MANIFEST_LIMIT + 1)
        .read_to_end(&mut text)
        .map_err(ManifestError::Unreadable)?;
    if text.len() as u64 > MANIFEST_LIMIT {
        return Err(ManifestError::TooLong);
    }
    match serde_json::from_slice::<Head>(&text) {
        Ok(head) if head.kind != MANIFEST_KIND => Err(ManifestError::Foreign),
        Ok(head) if head.format != FORMAT_VERSION => Err(ManifestError::Version(head.format)),
        Ok(_) | Err(_) => serde_json::from_slice(&text).map_err(ManifestError::Damaged),
    }
}

/// The `open` that stands in for one that the journal lost.
pub(super) fn open_from(manifest: &Manifest) -> Open {
    Open {
        added_by: None,
        format: manifest.format,
        recording: manifest.id.clone(),
        wall: manifest.started.clone(),
        trace: manifest.trace,
        tool: manifest.tool.clone(),
        command: manifest.command.clone(),
    }
}

/// Writes `recording.json` anew: a temporary file, then a rename.
pub fn write_manifest(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let text = manifest_text(manifest)?;
    replace_file(&dir.join(MANIFEST), |file| file.write_all(&text))
}

/// The same, and it survives a power cut that comes after.
pub(crate) fn write_manifest_durably(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    let text = manifest_text(manifest)?;
    replace_file(&dir.join(MANIFEST), |file| {
        file.write_all(&text)?;
        file.sync_all()
    })?;
    sync_dir(dir)
}

fn manifest_text(manifest: &Manifest) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(manifest)?;
    text.push(b'\n');
    Ok(text)
}
