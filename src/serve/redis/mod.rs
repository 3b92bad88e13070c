//! Redis: what replicas share that changes, and what makes one of them fetch for all.
//!
//! ```text
//! modtape:1:answer:PATH   an answer (`value.rs`) and when it came from upstream
//! modtape:1:lease:PATH    who fetches it at the moment (`lease.rs`)
//! modtape:1:fence:PATH    the number of the last one who began to fetch it
//! modtape:1:fences        the last number that was given
//! modtape:1:purges        a stream of purges (`purges.rs`)
//! ```
//! All of it may be lost at any time: then replicas fetch each for itself. The keys have one database to themselves
//! as far as the URL names one.

mod lease;
mod purges;
mod value;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _,
    RedisError, RedisResult, Script, ScriptInvocation, TlsCertificates,
};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

pub(super) use self::lease::{Lease, Turn};
use super::answer::Answer;
use super::guard::Guard;
use super::item::{Item, Life};
use crate::ca::to_pem;
use crate::clock::Clock;
use crate::redact::url_without_secrets;
use crate::tls::Roots;

/// How long a command may take, with connecting if there is no connection.
const LIMIT: Duration = Duration::from_millis(300);

/// The largest body that is shared, bytes.
pub(super) const LARGEST: u64 = 1 << 20;

/// How long an answer that can change is there: as long as it is good for anything.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// How long any other answer is there: for replicas that wait for it at the moment.
const MINUTE: Duration = Duration::from_secs(60);

/// The value of an answer, if it is newer than the first argument.
static FIND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local at = redis.call('HGET', KEYS[1], 'at')
        if at and (tonumber(at) or 0) > tonumber(ARGV[1]) then
            return redis.call('HGET', KEYS[1], 'value')
        end
        return false",
    )
});

/// A connection to Redis, made when it is needed.
pub(crate) struct Redis {
    client: Client,
    /// The URL, without secrets.
    name: String,
    guard: Guard,
    // A std Mutex: held for an assignment, never across an await.
    link: Mutex<Option<Link>>,
    /// Only one connection is made at a time.
    connecting: tokio::sync::Mutex<()>,
    made: AtomicU64,
    has_said_garbage: AtomicBool,
    /// Requests that have waited for another replica's.
    lock_waits: AtomicU64,
}

/// The connection that is used.
#[derive(Clone)]
struct Link {
    /// From 1 on.
    number: u64,
    connection: MultiplexedConnection,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.name).finish()
    }
}

impl Redis {
    /// The server that a URL names: `redis://`, `rediss://` with these roots, or `unix:`. Nothing is connected yet.
    pub(crate) fn new(clock: Clock, url: &str, roots: &Roots) -> Result<Self, String> {
        let name = url_without_secrets(url);
        let wrong = |error: RedisError| format!("{name}: {error}");
        let info = url.into_connection_info().map_err(wrong)?;
        let client = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(format!(
                    "{name}: the server's certificate is always verified"
                ));
            }
            ConnectionAddr::TcpTls { .. } => {
                // One that is no trust anchor would be an error.
                let is_anchor = |root: &&CertificateDer<'static>| {
                    RootCertStore::empty().add((*root).clone()).is_ok()
                };
                let roots = roots.certificates().iter().filter(is_anchor);
                let pem: String = roots.map(to_pem).collect();
                let certificates = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(pem.into_bytes()),
                };
                Client::build_with_tls(info, certificates)
            }
            _ => Client::open(info),
        };
        Ok(Self {
            client: client.map_err(wrong)?,
            guard: Guard::new(clock, format!("Redis ({name})"), LIMIT, 1),
            name,
            link: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            made: AtomicU64::new(0),
            has_said_garbage: AtomicBool::new(false),
            lock_waits: AtomicU64::new(0),
        })
    }

    /// The URL, without secrets.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is left out at the moment.
    pub(super) fn is_left_out(&self) -> bool {
        self.guard.is_left_out()
    }

    /// Commands that failed so far, took too long, or had an answer that is garbage.
    pub(super) fn failures(&self) -> u64 {
        self.guard.failures()
    }

    /// Requests that have waited so far for what another replica had begun to fetch.
    pub(super) fn lock_waits(&self) -> u64 {
        self.lock_waits.load(Ordering::Relaxed)
    }

    /// The answer to an item, if it is newer than what the caller has.
    pub(super) async fn find(&self, item: &Item, known: Option<&Answer>) -> Option<Answer> {
        let mut find = FIND.key(key("answer", item.path()));
        find.arg(known.map_or(0, value::milliseconds));
        let value: Option<Vec<u8>> = self.call(&find).await?;
        self.read(item.path(), value?)
    }

    /// How long an answer is of use to others.
    fn life(item: &Item, answer: &Answer) -> Duration {
        match item.life() {
            Life::Mutable if answer.status == http::StatusCode::OK => MONTH,
            _ => MINUTE,
        }
    }

    /// What a value says; garbage is none, which is said once.
    fn read(&self, path: &str, value: Vec<u8>) -> Option<Answer> {
        match value::decode(path, value) {
            Ok(answer) => Some(answer),
            Err(why) => {
                self.garbage(&format!("the answer to {path} is not used: {why}"));
                None
            }
        }
    }

    fn garbage(&self, what: &str) {
        self.guard.blame();
        if !self.has_said_garbage.swap(true, Ordering::Relaxed) {
            let name = &self.name;
            tracing::warn!(target: "modtape::serve", "Redis ({name}): {what}; others like it are not told");
        }
    }

    /// Runs a script, if Redis is there. A key that is used for something else is garbage, and no fault of the server's.
    async fn call<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Option<T> {
        // The number of the connection, once there is one.
        let used = AtomicU64::new(0);
        let done = self.guard.run(async {
            let mut link = self.connected().await?;
            used.store(link.number, Ordering::Relaxed);
            match script.invoke_async(&mut link.connection).await {
                Ok(done) => Ok(Some(done)),
                Err(error) if is_of_a_key(&error) => {
                    self.garbage(&error.to_string());
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        let done = done.await;
        // It failed, or was silent. Whoever gives up before that, since its client has left, says nothing of it.
        if done.is_none() {
            self.lose(used.into_inner());
        }
        done?
    }

    async fn connected(&self) -> RedisResult<Link> {
        if let Some(link) = self.link().clone() {
            return Ok(link);
        }
        let _only = self.connecting.lock().await;
        // Another one may have been faster.
        if let Some(link) = self.link().clone() {
            return Ok(link);
        }
        let link = Link {
            number: self.made.fetch_add(1, Ordering::Relaxed) + 1,
            connection: self.connect(LIMIT).await?,
        };
        *self.link() = Some(link.clone());
        Ok(link)
    }

    /// A connection on which a command failed is not used again.
    fn lose(&self, number: u64) {
        let mut link = self.link();
        if link.as_ref().is_some_and(|link| link.number == number) {
            *link = None;
        }
    }

    /// A connection of its own. Whoever uses it bounds how long.
    async fn connect(&self, limit: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(None);
        self.client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    fn link(&self) -> MutexGuard<'_, Option<Link>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of what is kept for a path.
fn key(what: &str, path: &str) -> String {
    format!("modtape:1:{what}:{path}")
}

/// Whether an error says that a key holds something else than ours.
fn is_of_a_key(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE") || error.to_string().contains("WRONGTYPE")
}

/// A number of milliseconds, as Redis takes it.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
