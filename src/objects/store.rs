//! Objects by their keys.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::{Path, PathPart};
use object_store::{
    BackoffConfig, Error, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    RetryConfig,
};
use percent_encoding::percent_decode_str;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::failure::Failure;
use super::http::Http;
use super::place::{Place, Provider};
use crate::upstream::Dialer;

/// Larger objects are sent in parts of this size, bytes. S3 takes parts of 5 MiB and more, up to 10,000 of them.
const PART: u64 = 8 << 20;

/// How long ending an upload that was given up may take.
const UNDOING: Duration = Duration::from_secs(5);

/// What can be found and kept at a place; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Ends uploads that were given up.
    undoing: TaskTracker,
}

/// An upload in parts. One that is given up is ended: what was sent would be paid for.
struct Upload {
    /// `None` once it is whole.
    parts: Option<Box<dyn MultipartUpload>>,
    undoing: TaskTracker,
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else {
            return;
        };
        // Where no runtime is left, the store's own rules have to remove them.
        if let Ok(runtime) = Handle::try_current() {
            let undone = async move {
                let _ = tokio::time::timeout(UNDOING, parts.abort()).await;
            };
            self.undoing.spawn_on(undone, &runtime);
        }
    }
}

/// An object that comes.
pub(crate) struct Object {
    bytes: u64,
    chunks: Pin<Box<dyn Stream<Item = object_store::Result<Bytes>> + Send>>,
}

/// The retries of `object_store`, which by its default go on for three minutes: builds wait.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(500),
            base: 2.,
        },
        max_retries: 2,
        retry_timeout: Duration::from_secs(5),
    }
}

impl Objects {
    /// Opens a place with the settings that `variables` have for its kind of store; they are those of the
    /// environment, such as `AWS_ACCESS_KEY_ID`. Nothing is asked yet.
    pub(crate) fn open(
        place: &Place,
        variables: &[(String, String)],
        dialer: Dialer,
    ) -> Result<Self, Failure> {
        let http = Http::new(dialer);
        let settings = |prefix: &'static str| {
            let named = variables
                .iter()
                .filter(move |(name, _)| name.starts_with(prefix));
            named.map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        };
        let bucket = &place.bucket;
        let store: Arc<dyn ObjectStore> = match place.provider {
            Provider::S3 => {
                let mut builder = AmazonS3Builder::new();
                for (name, value) in settings("AWS_") {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                let builder = builder.with_bucket_name(bucket).with_retry(retries());
                Arc::new(builder.with_http_connector(http).build()?)
            }
            Provider::Google => {
                let mut builder = GoogleCloudStorageBuilder::new();
                for (name, value) in settings("GOOGLE_") {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                let builder = builder.with_bucket_name(bucket).with_retry(retries());
                Arc::new(builder.with_http_connector(http).build()?)
            }
            Provider::Azure => {
                let mut builder = MicrosoftAzureBuilder::new();
                for (name, value) in settings("AZURE_") {
                    if let Ok(key) = name.parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                let builder = builder.with_container_name(bucket).with_retry(retries());
                Arc::new(builder.with_http_connector(http).build()?)
            }
        };
        Ok(Self {
            store,
            prefix: place.prefix.clone(),
            undoing: TaskTracker::new(),
        })
    }

    /// Waits a moment for uploads that were given up to be ended.
    pub(crate) async fn close(&self) {
        self.undoing.close();
        let _ = tokio::time::timeout(UNDOING, self.undoing.wait()).await;
    }

    /// An object; `None` if there is none.
    pub(crate) async fn get(&self, key: &str) -> Result<Option<Object>, Failure> {
        match self.store.get(&self.path(key)).await {
            Ok(found) => Ok(Some(Object {
                bytes: found.meta.size,
                chunks: found.into_stream(),
            })),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How many bytes an object has; `None` if there is none.
    pub(crate) async fn size_of(&self, key: &str) -> Result<Option<u64>, Failure> {
        match self.store.head(&self.path(key)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps an object, in place of the one that is there.
    pub(crate) async fn put(&self, key: &str, body: Bytes) -> Result<(), Failure> {
        self.store.put(&self.path(key), body.into()).await?;
        Ok(())
    }

    /// Keeps an object if there is none; says whether there was none. A store without conditional writes
    /// replaces it.
    pub(crate) async fn put_new(&self, key: &str, body: Bytes) -> Result<bool, Failure> {
        let options = PutOptions::from(PutMode::Create);
        let path = self.path(key);
        let put = self.store.put_opts(&path, body.clone().into(), options);
        match put.await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            Err(error) if is_not_implemented(&error) => self.put(key, body).await.map(|()| true),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the first `bytes` of a file, in place of what is there: others see all of it, or nothing.
    pub(crate) async fn put_file(
        &self,
        key: &str,
        file: &Arc<File>,
        bytes: u64,
    ) -> Result<(), Failure> {
        if bytes <= PART {
            return self.put(key, part(file, 0, bytes).await?).await;
        }
        let mut upload = Upload {
            parts: Some(self.store.put_multipart(&self.path(key)).await?),
            undoing: self.undoing.clone(),
        };
        let Some(parts) = &mut upload.parts else {
            return Ok(());
        };
        for from in (0..bytes).step_by(PART as usize) {
            let part = part(file, from, PART.min(bytes - from)).await?;
            parts.put_part(part.into()).await?;
        }
        parts.complete().await?;
        upload.parts = None;
        Ok(())
    }

    /// Removes an object, if there is one.
    pub(crate) async fn remove(&self, key: &str) -> Result<(), Failure> {
        match self.store.delete(&self.path(key)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The keys below a folder of keys, each without what the folder has.
    pub(crate) async fn below(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let folder = self.path(folder);
        let mut listed = self.store.list(Some(&folder));
        let mut keys = Vec::new();
        while let Some(next) = std::future::poll_fn(|cx| listed.as_mut().poll_next(cx)).await {
            let location = next?.location;
            let parts = location.prefix_match(&folder);
            let parts = parts.map(|parts| {
                parts.map(|it| {
                    percent_decode_str(it.as_ref())
                        .decode_utf8_lossy()
                        .into_owned()
                })
            });
            keys.extend(parts.map(|parts| parts.collect::<Vec<_>>().join("/")));
        }
        Ok(keys)
    }

    fn path(&self, key: &str) -> Path {
        let key = key.split('/').map(PathPart::from);
        self.prefix.parts().chain(key).collect()
    }
}

impl Object {
    /// How many bytes it has, as the store says.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Failure>> {
        let next = std::future::poll_fn(|cx| self.chunks.as_mut().poll_next(cx)).await?;
        Some(next.map_err(Failure::from))
    }

    /// All of it; an error if it is longer than `most`.
    pub(crate) async fn whole(mut self, most: u64) -> Result<Bytes, Failure> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.next().await {
            whole.extend_from_slice(&chunk?);
            if whole.len() as u64 > most {
                return Err(Failure::new(format!(
                    "an object has more than {most} bytes"
                )));
            }
        }
        Ok(whole.freeze())
    }
}

/// Reads a part of a file on a thread where a slow disk holds nobody up.
async fn part(file: &Arc<File>, from: u64, bytes: u64) -> Result<Bytes, Failure> {
    let file = Arc::clone(file);
    let read = tokio::task::spawn_blocking(move || {
        let mut part = BytesMut::zeroed(usize::try_from(bytes).map_err(std::io::Error::other)?);
        file.read_exact_at(&mut part, from)?;
        Ok::<_, std::io::Error>(part.freeze())
    });
    let read = read.await.map_err(std::io::Error::other);
    read.and_then(|read| read)
        .map_err(|error| Failure::new(error.to_string()))
}

/// Whether a store has no conditional writes.
fn is_not_implemented(error: &Error) -> bool {
    match error {
        Error::NotImplemented { .. } | Error::NotSupported { .. } => true,
        // A server of the protocol that lacks this part of it.
        error => crate::exchange::chain(error).contains("501 Not Implemented"),
    }
}

#[cfg(test)]
impl Objects {
    /// A store in memory that takes `delay` for each object that it is given.
    pub(crate) fn in_memory(delay: Duration) -> Self {
        use object_store::memory::InMemory;
        use object_store::throttle::{ThrottleConfig, ThrottledStore};

        let config = ThrottleConfig {
            wait_put_per_call: delay,
            ..ThrottleConfig::default()
        };
        Self {
            store: Arc::new(ThrottledStore::new(InMemory::new(), config)),
            prefix: Path::default(),
            undoing: TaskTracker::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use object_store::{PutPayload, PutResult, UploadPart};

    use super::*;

    /// An upload that never gets on.
    #[derive(Debug)]
    struct Stuck {
        is_ended: Arc<AtomicBool>,
    }

    #[async_trait::async_trait]
    impl MultipartUpload for Stuck {
        fn put_part(&mut self, _: PutPayload) -> UploadPart {
            Box::pin(std::future::pending())
        }

        async fn complete(&mut self) -> object_store::Result<PutResult> {
            std::future::pending().await
        }

        async fn abort(&mut self) -> object_store::Result<()> {
            self.is_ended.store(true, Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_upload_that_is_given_up_is_ended() {
        let objects = Objects::in_memory(Duration::ZERO);
        let is_ended = Arc::new(AtomicBool::new(false));
        let upload = |parts| Upload {
            parts,
            undoing: objects.undoing.clone(),
        };
        // What is whole is left alone.
        drop(upload(None));
        let stuck = Stuck {
            is_ended: Arc::clone(&is_ended),
        };
        let mut given_up = upload(Some(Box::new(stuck)));
        let sending = async {
            let parts = given_up.parts.as_mut().expect("it is not whole");
            let _ = parts.put_part(Bytes::new().into()).await;
        };
        let sending = tokio::time::timeout(Duration::from_millis(1), sending);
        assert!(sending.await.is_err());
        assert!(!is_ended.load(Ordering::Relaxed));
        drop(given_up);
        objects.close().await;
        assert!(is_ended.load(Ordering::Relaxed));
    }
}
