//! Purges: a stream of what replicas are to drop.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamRangeReply, StreamReadReply};
use redis::{RedisError, RedisResult, Script};

use super::{Redis, key, milliseconds};
use crate::clock::Clock;
use crate::serve::disk::Removed;
use crate::serve::purge::Purge;

const STREAM: &str = "modtape:1:purges";

/// How many purges are remembered, about, for replicas that are away.
const REMEMBERED: u64 = 10_000;

/// How long one waits for the next purge before one asks again.
const BLOCK: Duration = Duration::from_secs(5);

/// How long ago a purge counts as one of now.
const RECENT: Duration = Duration::from_secs(60);

/// How long connecting and each step of a purge may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Drops an answer and the lease on it; what is on its way has another number than the last then. Gives the bytes of
/// the answer, -1 if there is none.
static DROP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local bytes = -1
        if redis.call('TYPE', KEYS[1]).ok == 'hash' then
            bytes = redis.call('HSTRLEN', KEYS[1], 'value')
        end
        redis.call('DEL', KEYS[1], KEYS[2])
        redis.call('SET', KEYS[3], redis.call('INCR', KEYS[4]), 'PX', ARGV[1])
        return bytes",
    )
});

/// Reads on in the stream, on a connection of its own.
pub(in crate::serve) struct Purges {
    connection: MultiplexedConnection,
    /// The last entry that was read.
    last: String,
}

impl Redis {
    /// Removes what a purge covers, and tells all replicas.
    pub(crate) async fn purge(&self, purge: &Purge) -> Result<Vec<Removed>, String> {
        let mut connection = self.connect(LIMIT).await.map_err(said)?;
        let pattern = format!("{}*", key("*", &format!("*{}", purge.folder())));
        let (mut cursor, mut paths) = (0u64, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(1000);
            let page = within(scan.query_async(&mut connection)).await?;
            let (next, keys): (u64, Vec<String>) = page;
            for name in keys {
                let path = name.splitn(4, ':').nth(3);
                paths.extend(path.filter(|path| purge.covers(path)).map(str::to_owned));
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        paths.sort_unstable();
        paths.dedup();
        let mut removed = Vec::new();
        for path in paths {
            let mut drop = DROP.key(key("answer", &path));
            drop.key(key("lease", &path))
                .key(key("fence", &path))
                .key("modtape:1:fences");
            drop.arg(milliseconds(Duration::from_secs(86_400)));
            let bytes: i64 = within(drop.invoke_async(&mut connection)).await?;
            if let Ok(bytes) = u64::try_from(bytes) {
                removed.push(Removed { path, bytes });
            }
        }
        let mut add = redis::cmd("XADD");
        add.arg(STREAM)
            .arg("MAXLEN")
            .arg("~")
            .arg(REMEMBERED)
            .arg("*");
        add.arg("purge").arg(purge.to_string());
        let _: String = within(add.query_async(&mut connection)).await?;
        Ok(removed)
    }

    /// The purges behind the entry `last`; all, if that is none, or of a server that has lost its own.
    pub(in crate::serve) async fn purges(&self, last: Option<String>) -> Result<Purges, String> {
        let mut connection = self.connect(LIMIT).await.map_err(said)?;
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(STREAM).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: StreamRangeReply = within(newest.query_async(&mut connection)).await?;
        let newest = newest.ids.first().and_then(|entry| number(&entry.id));
        let last = last.filter(|last| number(last).is_some_and(|it| Some(it) <= newest));
        Ok(Purges {
            connection,
            last: last.unwrap_or_else(|| String::from("0-0")),
        })
    }
}

impl Purges {
    /// The last entry that was read.
    pub(in crate::serve) fn last(&self) -> &str {
        &self.last
    }

    /// Waits a few seconds for purges, each with whether it was told a moment ago: of an older one, what the replicas
    /// share was purged by those who were there, and what is shared now was proved since. What is none is left out.
    pub(in crate::serve) async fn next(&mut self) -> Result<Vec<(Purge, bool)>, String> {
        let mut read = redis::cmd("XREAD");
        read.arg("BLOCK")
            .arg(milliseconds(BLOCK))
            .arg("COUNT")
            .arg(100);
        read.arg("STREAMS").arg(STREAM).arg(&self.last);
        let reply: Option<StreamReadReply> = within(read.query_async(&mut self.connection)).await?;
        let entries = reply
            .into_iter()
            .flat_map(|reply| reply.keys)
            .flat_map(|key| key.ids);
        let mut purges = Vec::new();
        for entry in entries {
            let text: Option<String> = entry.get("purge");
            let purge = text.and_then(|text| text.parse().ok());
            purges.extend(purge.map(|purge| (purge, is_recent(&entry.id))));
            self.last = entry.id;
        }
        Ok(purges)
    }
}

/// Whether an entry was added a moment ago, by the clock of Redis and ours.
fn is_recent(id: &str) -> bool {
    let added = number(id).map(|(time, _)| UNIX_EPOCH + Duration::from_millis(time));
    let age = added.map(|added| Clock::wall_now().duration_since(added));
    // One of the future is one of a clock that goes ahead.
    age.is_some_and(|age| age.unwrap_or_default() < RECENT)
}

/// The time and the number in an entry's name.
fn number(id: &str) -> Option<(u64, u64)> {
    let (time, number) = id.split_once('-')?;
    Some((time.parse().ok()?, number.parse().ok()?))
}

async fn within<T>(command: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match tokio::time::timeout(LIMIT, command).await {
        Ok(done) => done.map_err(said),
        Err(_) => Err(format!("it takes longer than {} s", LIMIT.as_secs())),
    }
}

fn said(error: RedisError) -> String {
    error.to_string()
}
