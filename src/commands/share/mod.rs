//! `modtape push` and `modtape pull`: recordings in an object store.
//!
//! ```text
//! v1/bodies/ab/cdef…    the content of a file, by its SHA-256: as in the store of `modtape serve`
//! v1/recordings/NAME    a list of files with their digests
//! ```
//! The list comes last, and in one piece: whoever pulls finds a recording whole, or not at all. What a push that was
//! stopped has sent is there for the next one.

mod pull;
mod push;

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};
use serde::{Deserialize, Serialize};

pub(super) use self::pull::run as pull;
pub(super) use self::push::run as push;
use super::objects;
use super::session::Variables;
use crate::clock::Clock;
use crate::objects::{Objects, Place};
use crate::recording::folder::check_name;
use crate::recording::format::{BODIES, JOURNAL, MANIFEST};
use crate::recording::writer::SHARED;
use crate::redact::url_without_secrets;
use crate::tls::{RootSources, Roots};
use crate::upstream::ParentProxies;

/// What a list says that it is.
const KIND: &str = "modtape pushed recording";

/// The version of lists.
const VERSION: u32 = 1;

/// The longest list that is read, bytes: some hundred bytes a file.
const LIST_LIMIT: u64 = 256 << 20;

/// The files of a recording.
#[derive(Debug, Serialize, Deserialize)]
struct List {
    kind: String,
    version: u32,
    /// The recording's own id.
    recording: String,
    files: Vec<Listed>,
}

/// A file of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    /// Its path in the recording's folder.
    path: String,
    bytes: u64,
    /// Hexadecimal.
    sha256: String,
}

impl List {
    /// Reads a list, in which only files of a recording are named, each once.
    fn read(text: &[u8]) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            kind: String,
            version: u32,
        }
        let head: Head = serde_json::from_slice(text).context("it is no list of files")?;
        ensure!(head.kind == KIND, "it is no list of a recording's files");
        let version = head.version;
        ensure!(
            version == VERSION,
            "it is of version {version}: this modtape reads version {VERSION}"
        );
        let list: Self = serde_json::from_slice(text).context("the list of files is damaged")?;
        let mut paths = HashSet::new();
        for file in &list.files {
            let path = &file.path;
            ensure!(file.is_of_recording(), "{path:?} is no file of a recording");
            ensure!(paths.insert(path), "{path:?} is listed twice");
        }
        for needed in [MANIFEST, JOURNAL] {
            ensure!(
                paths.iter().any(|path| *path == needed),
                "the list lacks {needed}"
            );
        }
        Ok(list)
    }
}

impl Listed {
    fn is_of_recording(&self) -> bool {
        let digits = |text: &str| {
            text.bytes()
                .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
        };
        if self.sha256.len() != 64 || !digits(&self.sha256) {
            return false;
        }
        SHARED.contains(&&*self.path) || self.path == body_file(&self.sha256)
    }

    /// Where its content is in the store.
    fn key(&self) -> String {
        let (shelf, name) = self.sha256.split_at(2);
        format!("v1/bodies/{shelf}/{name}")
    }
}

/// The path of a body in a recording's folder.
fn body_file(sha256: &str) -> String {
    format!("{BODIES}/{}/{sha256}", &sha256[..2])
}

/// A name in a store.
struct Remote {
    place: Place,
    name: String,
    objects: Objects,
}

impl Remote {
    fn open(place: Place, name: String) -> anyhow::Result<Self> {
        check_name(&name).with_context(|| name.clone())?;
        let variables = Variables::read();
        let roots = Roots::load(&RootSources {
            file: variables.ssl_cert_file.clone(),
            dirs: variables.ssl_cert_dir.clone(),
            extra: Vec::new(),
        })?;
        let (https, http) = (&variables.https_proxy, &variables.http_proxy);
        let parents = ParentProxies::from_variables(https, http, &variables.no_proxy);
        let objects = objects::open(&place, Clock::start(), &roots, parents)?;
        Ok(Self {
            place,
            name,
            objects,
        })
    }

    /// Where the list is.
    fn key(&self) -> String {
        format!("v1/recordings/{}", self.name)
    }

    /// The list, if there is one.
    async fn list(&self) -> anyhow::Result<Option<List>> {
        let list = async {
            let Some(object) = self.objects.get(&self.key()).await? else {
                return Ok(None);
            };
            let text = object.whole(LIST_LIMIT).await?;
            List::read(&text).map(Some)
        };
        let list: anyhow::Result<_> = list.await;
        list.with_context(|| self.to_string())
    }
}

impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.place, self.name)
    }
}

/// A place, from its URL.
fn place(url: &str) -> anyhow::Result<Place> {
    let place = url.parse::<Place>();
    place.with_context(|| url_without_secrets(url))
}

/// The digest of so many bytes of a file, hexadecimal.
fn digest(file: &std::fs::File, bytes: u64, path: &Path) -> anyhow::Result<String> {
    use std::fmt::Write as _;
    use std::os::unix::fs::FileExt as _;

    use sha2::{Digest as _, Sha256};
    let mut digest = Sha256::new();
    let mut chunk = vec![0; 1 << 18];
    let mut at = 0;
    while at < bytes {
        let most = usize::try_from(bytes - at).unwrap_or(usize::MAX);
        let most = most.min(chunk.len());
        let read = file.read_at(&mut chunk[..most], at);
        match read.with_context(|| path.display().to_string())? {
            0 => return Err(anyhow!("{} became shorter", path.display())),
            read => {
                digest.update(&chunk[..read]);
                at += read as u64;
            }
        }
    }
    let mut text = String::with_capacity(64);
    for byte in digest.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: &[(&str, &str)]) -> String {
        let files = paths.iter().map(|(path, sha256)| Listed {
            path: (*path).to_owned(),
            bytes: 1,
            sha256: (*sha256).to_owned(),
        });
        let list = List {
            kind: KIND.to_owned(),
            version: VERSION,
            recording: "x".into(),
            files: files.collect(),
        };
        serde_json::to_string(&list).expect("it is plain data")
    }

    #[test]
    fn a_list_names_files_of_a_recording_and_nothing_else() {
        let digest = "ab".repeat(32);
        let body = body_file(&digest);
        let own = [(MANIFEST, &*digest), (JOURNAL, &*digest)];
        let with = |more: (&str, &str)| list(&[own[0], own[1], (more.0, more.1)]);
        assert!(List::read(list(&own).as_bytes()).is_ok());
        assert!(List::read(with((&body, &digest)).as_bytes()).is_ok());
        let other = "cd".repeat(32);
        let upper = "AB".repeat(32);
        for (path, sha256) in [
            ("../x", &digest),
            ("/etc/passwd", &digest),
            ("bodies/../x", &digest),
            ("index", &digest),
            (JOURNAL, &digest),
            (&*body, &other),
            ("main.mod", &upper),
            ("main.mod", &String::from("ab")),
        ] {
            let text = with((path, sha256));
            assert!(List::read(text.as_bytes()).is_err(), "{path}");
        }
        assert!(List::read(list(&own[..1]).as_bytes()).is_err());
        for text in ["", "{}", "<html>", "{\"kind\":\"x\",\"version\":1}"] {
            assert!(List::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
