//! Purges, as servers that run hear of them: from a list in the folder of their store, and from a stream in Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::purge::Purge;
use super::redis::Redis;
use super::server::Server;

/// How often the list is looked at: it costs two microseconds.
const EVERY: Duration = Duration::from_secs(1);

/// How long a Redis that is away is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Drops what purges name, until `stop` is cancelled.
pub(crate) async fn hear(server: watch::Receiver<Arc<Server>>, stop: CancellationToken) {
    let redis = server.borrow().redis.clone();
    let from_redis = async {
        match redis {
            Some(redis) => hear_redis(&server, &redis).await,
            None => std::future::pending().await,
        }
    };
    let heard = async { tokio::join!(hear_store(&server), from_redis) };
    stop.run_until_cancelled(heard).await;
}

/// Reads on in the list of the store.
async fn hear_store(server: &watch::Receiver<Arc<Server>>) {
    let tiers = Arc::clone(&server.borrow().tiers);
    // What was purged before is not in the folder, and memory is empty.
    let mut heard = tiers.told().await;
    loop {
        tokio::time::sleep(EVERY).await;
        // A list that could not be read at the beginning is heard whole.
        if let Some((purges, until)) = tiers.purges(heard.unwrap_or(0)).await {
            let purges = purges.into_iter().map(|purge| (purge, true)).collect();
            if drop_all(server, purges).await {
                heard = Some(until);
            }
        }
    }
}

/// Reads on in the stream, from where this store has heard it, so that who was away misses nothing.
async fn hear_redis(server: &watch::Receiver<Arc<Server>>, redis: &Redis) {
    let tiers = Arc::clone(&server.borrow().tiers);
    let mut last = tiers.heard().await;
    loop {
        // That it is away is said where answers are asked for.
        if let Ok(mut stream) = redis.purges(last.clone()).await {
            while let Ok(purges) = stream.next().await {
                // What could not be dropped is read again.
                if !drop_all(server, purges).await {
                    break;
                }
                if last.as_deref() != Some(stream.last()) {
                    tiers.note_heard(stream.last()).await;
                    last = Some(stream.last().to_owned());
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Drops what purges cover, each with whether it was told a moment ago; says whether all is done.
async fn drop_all(server: &watch::Receiver<Arc<Server>>, purges: Vec<(Purge, bool)>) -> bool {
    let mut is_done = true;
    for (purge, is_recent) in purges {
        let now = Arc::clone(&server.borrow());
        let is_dropped = now.purge(&purge, is_recent).await;
        if is_dropped {
            tracing::info!(target: "modtape::serve", "{purge} is purged");
        }
        is_done &= is_dropped;
    }
    is_done
}
