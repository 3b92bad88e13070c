//! The clients' connections: HTTP/1.1, and HTTP/2 in clear text to those who begin with it.

use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::front::respond;
use super::server::Server;

/// How long a request head may take.
const HEAD: Duration = Duration::from_secs(15);

/// The longest request head, bytes.
const HEAD_BYTES: usize = 64 << 10;

/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 250;

/// How long to wait after an accept that failed, for want of descriptors as a rule.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Serves clients until `stop` is cancelled; then requests in flight may take so long to end. Each request is
/// answered by the server that is there when it comes.
/// `places` is how many clients are served at once; others wait in the kernel's queue.
pub(crate) async fn serve(
    server: watch::Receiver<Arc<Server>>,
    listener: TcpListener,
    places: usize,
    stop: CancellationToken,
    grace: Duration,
) {
    let places = Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(60));
    let connections = GracefulShutdown::new();
    let (clients, ended) = (TaskTracker::new(), CancellationToken::new());
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (stream, client, place) = tokio::select! {
            (accepted, place) = accepted => match accepted {
                Ok((stream, client)) => (stream, client, place),
                Err(error) => {
                    tracing::warn!(target: "modtape::serve", %error, "cannot accept");
                    tokio::time::sleep(BACK_OFF).await;
                    continue;
                }
            },
            () = stop.cancelled() => break,
        };
        let _ = stream.set_nodelay(true);
        let own = server.clone();
        let service = service_fn(move |request| {
            let now = Arc::clone(&own.borrow());
            respond(now, client, request)
        });
        let (builder, watcher) = (builder.clone(), connections.watcher());
        let stopped = ended.clone();
        clients.spawn(stopped.run_until_cancelled_owned(async move {
            let _place = place;
            // How a connection ends is its client's matter.
            // hyper waits for the first byte for ever.
            if let Ok(Ok(())) = tokio::time::timeout(HEAD, stream.readable()).await {
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                let _ = watcher.watch(connection).await;
            }
        }));
    }
    drop(listener);
    let _ = tokio::time::timeout(grace, connections.shutdown()).await;
    ended.cancel();
    clients.close();
    clients.wait().await;
}
