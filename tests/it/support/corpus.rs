//! What an origin answers when no rule says otherwise: a corpus folder, or made-up files.
//!
//! The corpus holds real answers of the module proxy and the checksum database, as files named by
//! the decoded URL path. It is found through `MODTAPE_CORPUS`, else beside the project's folder.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

/// Which answers the checksum database gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sumdb {
    /// One tree head for all lookups: verifies in any order.
    Proxy,
    /// Each lookup with the head it really carried: some orders need further tiles.
    Heads,
}

/// An answer's status, type and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The status code.
    pub status: u16,
    /// The value of `content-type`.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

/// What an origin serves; clones are cheap.
#[derive(Clone, Debug, Default)]
pub struct Content {
    corpus: Option<Arc<Corpus>>,
    files: HashMap<(String, String), File>,
    refuses_sumdb: bool,
}

#[derive(Debug)]
struct Corpus {
    proxy: PathBuf,
    sumdb: PathBuf,
}

impl Content {
    /// The corpus `name` (`hello` or `web`); `None`, with a line on stderr, when it is not there.
    pub fn corpus(name: &str, sumdb: Sumdb) -> Option<Self> {
        let folder = corpus_folder(name)?;
        let proxy = folder.join("proxy");
        let sumdb = match sumdb {
            Sumdb::Proxy => proxy.join("sumdb").join(SUMDB_HOST),
            Sumdb::Heads => folder.join("heads"),
        };
        let corpus = Some(Arc::new(Corpus { proxy, sumdb }));
        Some(Self {
            corpus,
            ..Self::default()
        })
    }

    /// Only these files, by host and decoded path: status, content type, body.
    pub fn files<'a, B: Into<Bytes>>(
        files: impl IntoIterator<Item = ((&'a str, &'a str), (u16, &'a str, B))>,
    ) -> Self {
        files.into_iter().fold(
            Self::default(),
            |content, ((host, path), (status, kind, body))| {
                content.and_file(host, path, status, kind, body)
            },
        )
    }

    /// Adds a file, which goes before what the corpus has.
    #[must_use]
    pub fn and_file(
        mut self,
        host: &str,
        path: &str,
        status: u16,
        kind: &str,
        body: impl Into<Bytes>,
    ) -> Self {
        let file = File {
            status,
            content_type: kind.to_owned(),
            body: body.into(),
        };
        self.files.insert((host.to_owned(), path.to_owned()), file);
        self
    }

    /// Answers 404 to `/sumdb/…` on module proxies, as proxy.golang.org does: the go command then
    /// asks sum.golang.org itself.
    #[must_use]
    pub fn supported_is_404(mut self) -> Self {
        self.refuses_sumdb = true;
        self
    }

    /// The answer for a host and a decoded path that begins with a slash.
    pub fn find(&self, host: &str, path: &str) -> File {
        if let Some(file) = self.files.get(&(host.to_owned(), path.to_owned())) {
            return file.clone();
        }
        let found = self
            .corpus
            .as_ref()
            .and_then(|corpus| match split_sumdb(host, path) {
                Some((true, _)) if self.refuses_sumdb => None,
                Some((_, rest)) => read_sumdb(&corpus.sumdb, rest),
                None => read_proxy(&corpus.proxy, path),
            });
        found.unwrap_or_else(|| File::text(404, format!("not found: {path}\n")))
    }
}

impl File {
    /// A `text/plain` answer.
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: TEXT.to_owned(),
            body: body.into(),
        }
    }

    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type: content_type.to_owned(),
            body: body.into(),
        }
    }
}

const SUMDB_HOST: &str = "sum.golang.org";
/// The same database under the name that works in mainland China (cmd/go knows both).
const SUMDB_ALIAS: &str = "sum.golang.google.cn";
const TEXT: &str = "text/plain; charset=UTF-8";

/// The folder of a corpus, if it is on this machine.
pub fn corpus_folder(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let folder = env::var_os("MODTAPE_CORPUS")
        .map_or_else(beside, PathBuf::from)
        .join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    skipped(&format!(
        "no corpus at {}; set MODTAPE_CORPUS",
        folder.display()
    ));
    None
}

/// Says on the real stderr, which the test harness does not capture, that a test proves nothing.
pub fn skipped(reason: &str) {
    // Without a stderr nobody would read it anyway.
    let _ = writeln!(io::stderr(), "SKIPPED: {reason}");
}

/// Whether the path belongs to the checksum database, through a module proxy or not, and the rest.
fn split_sumdb<'a>(host: &str, path: &'a str) -> Option<(bool, &'a str)> {
    if [SUMDB_HOST, SUMDB_ALIAS].contains(&host) {
        return Some((false, path.strip_prefix('/')?));
    }
    let rest = path.strip_prefix("/sumdb/")?.strip_prefix(SUMDB_HOST)?;
    Some((true, rest.strip_prefix('/')?))
}

fn read_sumdb(folder: &Path, path: &str) -> Option<File> {
    if path == "supported" {
        return Some(File::text(200, ""));
    }
    let kind = if path.starts_with("tile/") {
        "application/octet-stream"
    } else {
        TEXT
    };
    Some(File::new(200, kind, read(folder, path)?))
}

fn read_proxy(folder: &Path, path: &str) -> Option<File> {
    let path = path.strip_prefix('/')?;
    let kind = match path {
        _ if path.ends_with(".info") || path.ends_with("@latest") => "application/json",
        _ if path.ends_with(".zip") => "application/zip",
        _ => TEXT,
    };
    if let Some(body) = read(folder, path) {
        return Some(File::new(200, kind, body));
    }
    Some(File::new(404, TEXT, read(folder, &format!("{path}.404"))?))
}

/// A file below `folder`, never one beside it.
fn read(folder: &Path, path: &str) -> Option<Vec<u8>> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let path = Path::new(path);
    path.components()
        .all(is_plain)
        .then(|| fs::read(folder.join(path)).ok())?
}
