//! Purges, as servers that run hear of them: from a list in the folder of their store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::server::Server;

/// How often the list is looked at: it costs two microseconds.
const EVERY: Duration = Duration::from_secs(1);

/// Drops what purges name, until `stop` is cancelled.
pub(crate) async fn hear(server: watch::Receiver<Arc<Server>>, stop: CancellationToken) {
    stop.run_until_cancelled(hear_store(&server)).await;
}

/// Reads on in the list of the store.
async fn hear_store(server: &watch::Receiver<Arc<Server>>) {
    let now = || Arc::clone(&server.borrow());
    // What was purged before is not in the folder, and memory is empty.
    let mut heard = now().tiers.told().await;
    loop {
        tokio::time::sleep(EVERY).await;
        let server = now();
        // A list that could not be read at the beginning is heard whole.
        let told = server.tiers.purges(heard.unwrap_or(0)).await;
        let Some((purges, until)) = told else {
            continue;
        };
        heard = Some(until);
        for purge in purges {
            tracing::info!(target: "modtape::serve", "{purge} is purged");
            server.purge(&purge).await;
        }
    }
}
