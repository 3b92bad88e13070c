//! Sockets in the recorder's own folder, each of which sends one text to whoever connects: to the
//! processes of the user, since the folder is private.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;

/// How long sending a text may take, and how long a command waits for it.
const LIMIT: Duration = Duration::from_secs(5);

/// The longest text that is read, bytes.
const LONGEST: u64 = 64 << 20;

/// A socket that sends a text.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens in `folder`, which must be private.
    pub(crate) fn open(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        let listener = UnixListener::bind(&path)?;
        Ok(Self { listener, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends the text of that moment to one client after the other, without end.
    pub(crate) async fn run<T>(self, text: impl Fn() -> T)
    where
        T: Future<Output = Vec<u8>>,
    {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(LIMIT).await;
                continue;
            };
            let text = text().await;
            // A client that does not read within the limit is dropped.
            let _ = tokio::time::timeout(LIMIT, stream.write_all(&text)).await;
        }
    }
}

/// Reads what the socket at `path` sends.
pub(crate) fn ask(path: &Path) -> io::Result<String> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}
