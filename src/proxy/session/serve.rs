//! Serving: hyper between the guard and the handler, until either side is done.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

use super::client::{Client, PLACE_WANTED};
use crate::proxy::access::Gate;
use crate::proxy::answer::Answer;
use crate::proxy::cause;
use crate::proxy::client_leg::ClientLeg;
use crate::proxy::guard::Guard;
use crate::proxy::handler;
use crate::proxy::limits::HEAD_BYTES;
use crate::proxy::places::IDLE;
use crate::proxy::stream_limit;
use crate::proxy::upstreams::Upstreams;
use crate::tls::Protocol;

/// How long a client that is to close its connection may take once all is answered.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// Serves until the client is done, the upstream has ended, we are told to stop, or the place is
/// wanted by another client. Says how it ended.
///
/// With a `gate` each request has to pass it; inside a CONNECT, that one did.
pub(super) async fn run<IO>(
    client: &Client,
    upstreams: Arc<Upstreams>,
    io: IO,
    gate: Option<Gate>,
) -> String
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let leg = Arc::clone(&upstreams.leg);
    let wanted = client.place.wanted(IDLE, || leg.watch.quiet_since());
    // Boxed: the task of a tunnel, too, would have room for it.
    let mut serving = Box::pin(serve(upstreams, io, gate));
    tokio::select! {
        why = &mut serving => why,
        () = wanted => {
            leg.ended.cancel();
            tokio::select! {
                _ = &mut serving => {}
                () = overstays(&leg) => {}
            }
            String::from(PLACE_WANTED)
        }
    }
}

/// Returns once a client that is to close its connection has had its time. Over HTTP/2 a graceful end
/// waits for its answer to a PING, which may never come.
async fn overstays(leg: &ClientLeg) {
    let clock = leg.context.clock;
    let began = clock.now();
    loop {
        let now = clock.now();
        let done = leg.watch.done_since();
        let until = done.map_or(now, |done| done.max(began)) + LEAVE_WITHIN;
        if now >= until {
            return;
        }
        tokio::time::sleep_until(clock.instant(until)).await;
    }
}

async fn serve<IO>(upstreams: Arc<Upstreams>, io: IO, gate: Option<Gate>) -> String
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let leg = Arc::clone(&upstreams.leg);
    let context = Arc::clone(&leg.context);
    let watch = Arc::clone(&leg.watch);
    let guard = Guard::new(io, watch, context.clock, context.deadlines);
    let guard = guard.captured_as(leg.captured.clone());
    let io = TokioIo::new(guard);
    let service = {
        let (upstreams, gate) = (Arc::clone(&upstreams), gate.clone());
        service_fn(move |mut request: Request<Incoming>| {
            let (upstreams, gate) = (Arc::clone(&upstreams), gate.clone());
            async move {
                let leg = &upstreams.leg;
                let response = match gate {
                    Some(gate) if !gate.admits_request(&mut request) => {
                        // It is answered: the next head has a time of its own.
                        let _ = leg.watch.begin();
                        leg.watch.end(leg.context.clock.now());
                        Answer::challenge(gate.status(), gate.is_shut()).into_response()
                    }
                    // Boxed: hyper keeps room for the future as long as the connection lasts.
                    _ => Box::pin(handler::serve(upstreams, request)).await,
                };
                Ok::<_, Infallible>(response)
            }
        })
    };
    // The two builders' connections are different types with the same two methods.
    macro_rules! drive {
        ($connection:expr) => {{
            let mut connection = Pin::new($connection);
            let outcome = tokio::select! {
                biased;
                outcome = connection.as_mut() => Some(outcome),
                () = leg.ended.cancelled() => None,
            };
            match outcome {
                Some(outcome) => Some(outcome),
                None => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        outcome = connection.as_mut() => Some(outcome),
                        () = context.drained.cancelled() => None,
                    }
                }
            }
        }};
    }
    let outcome = match leg.protocol {
        Protocol::Http1 => {
            let mut connection = http1::Builder::new()
                .preserve_header_case(true)
                .auto_date_header(false)
                .header_read_timeout(None)
                .max_buf_size(HEAD_BYTES as usize)
                .max_header_size(HEAD_BYTES as usize)
                .serve_connection(io, service);
            let outcome = drive!(&mut connection);
            if let Some(Err(error)) = &outcome
                && error.is_parse()
            {
                let why = match leg.watch.refused() {
                    Some(violation) => violation.to_string(),
                    // "invalid HTTP header parsed", and the like.
                    None => error.to_string().replace(" parsed", ""),
                };
                let status = match error.is_parse_too_large() {
                    true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    false => StatusCode::BAD_REQUEST,
                };
                let why = format!("a request was refused: {why}");
                // Of strangers nothing is recorded but the end of their connection.
                if !gate.is_some_and(|gate| gate.is_stranger()) {
                    let guard = connection.into_parts().io.into_inner();
                    handler::note_refused(&upstreams, guard.request_line(), status, &why).await;
                }
                return why;
            }
            outcome
        }
        Protocol::H2 => {
            let mut connection = http2::Builder::new(StreamTasks(context.tasks.clone()))
                .auto_date_header(false)
                .max_concurrent_streams(stream_limit::MOST)
                .max_header_list_size(HEAD_BYTES)
                .initial_stream_window_size(leg.share.upload())
                .initial_connection_window_size(leg.share.connection())
                .max_send_buf_size(leg.share.unsent())
                .serve_connection(io, service);
            drive!(&mut connection)
        }
    };
    let why = match outcome {
        None => context.why_stopped(),
        Some(Ok(())) => String::from("closed"),
        Some(Err(error)) => cause::of(&error, "the client", ""),
    };
    let why = match (leg.watch.refused(), leg.watch.late()) {
        (Some(violation), _) => format!("a request body was refused: {violation}"),
        (None, Some(late)) => late.to_owned(),
        (None, None) => match upstreams.failed_unused() {
            Some(failure) => format!("never used: {failure}"),
            None => why,
        },
    };
    match leg.watch.malformed() {
        0 => why,
        streams => format!("{why}; {streams} malformed requests were reset (PROTOCOL_ERROR)"),
    }
}

/// Gives the tasks of the streams of one client connection to the tracker; they end with it.
#[derive(Clone)]
struct StreamTasks(TaskTracker);

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
