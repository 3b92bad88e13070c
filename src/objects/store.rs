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
    BackoffConfig, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig,
};
use percent_encoding::percent_decode_str;

use super::failure::Failure;
use super::http::Http;
use super::place::{Place, Provider};
use crate::upstream::Dialer;

/// Larger objects are sent in parts of this size, bytes. S3 takes parts of 5 MiB and more, up to 10,000 of them.
const PART: u64 = 8 << 20;

/// What can be found and kept at a place; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
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
        })
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
        let mut upload = self.store.put_multipart(&self.path(key)).await?;
        let sent = async {
            for from in (0..bytes).step_by(PART as usize) {
                let part = part(file, from, PART.min(bytes - from)).await?;
                upload.put_part(part.into()).await?;
            }
            upload.complete().await?;
            Ok(())
        };
        let sent: Result<(), Failure> = sent.await;
        if sent.is_err() {
            // What was sent would be paid for.
            let _ = upload.abort().await;
        }
        sent
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
