//! Serving: hyper between the guard and the handler, until either side is done.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::proxy::access::Gate;
use crate::proxy::answer;
use crate::proxy::cause;
use crate::proxy::context::Streams;
use crate::proxy::guard::Guard;
use crate::proxy::handler;
use crate::proxy::upstreams::Channel;
use crate::proxy::windows::HTTP1_BUFFER;
use crate::tls::Protocol;

/// Streams that a client may have open: what Go's own servers allow.
const STREAMS: u32 = 250;

/// The largest request head over HTTP/2, octets.
const HEAD_LIMIT: u32 = 64 * 1024;

/// Serves until the client is done, the upstream has ended, or we are told to stop.
///
/// With a `gate` each request has to pass it; inside a CONNECT, that one did.
pub(super) async fn run<IO>(channel: Arc<Channel>, io: IO, gate: Option<Gate>) -> String
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let context = Arc::clone(channel.context());
    let guard = Guard::new(
        io,
        Arc::clone(channel.watch()),
        context.clock,
        context.deadlines,
    );
    let guard = guard.captured_as(channel.stream.clone());
    let io = TokioIo::new(guard);
    let service = {
        let channel = Arc::clone(&channel);
        service_fn(move |mut request: Request<Incoming>| {
            let (channel, gate) = (Arc::clone(&channel), gate.clone());
            async move {
                let answer = match gate {
                    Some(gate) if !gate.admits_head(request.headers_mut()) => {
                        // It is answered: the next head has a time of its own.
                        let _ = channel.watch().begin();
                        channel.watch().end(channel.context().clock.now());
                        answer::challenge(&gate)
                    }
                    // Boxed: hyper keeps room for the future as long as the connection lasts.
                    _ => Box::pin(handler::serve(channel, request)).await,
                };
                Ok::<_, Infallible>(answer)
            }
        })
    };
    let streams = Streams {
        tasks: context.tasks.clone(),
        over: CancellationToken::new(),
    };
    let _over = streams.over.clone().drop_guard();
    // The two builders' connections are different types with the same two methods.
    macro_rules! drive {
        ($connection:expr) => {{
            let mut connection = pin!($connection);
            let outcome = tokio::select! {
                outcome = connection.as_mut() => Some(outcome),
                () = channel.ended.cancelled() => None,
                () = context.stop.cancelled() => None,
            };
            match outcome {
                Some(outcome) => tell(outcome),
                None => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        outcome = connection.as_mut() => tell(outcome),
                        () = context.drained() => context.stopped(),
                    }
                }
            }
        }};
    }
    let why = match channel.protocol {
        Protocol::Http1 => drive!(
            http1::Builder::new()
                .preserve_header_case(true)
                .auto_date_header(false)
                .header_read_timeout(None)
                .max_buf_size(HTTP1_BUFFER)
                .serve_connection(io, service)
        ),
        Protocol::H2 => drive!(
            http2::Builder::new(streams)
                .auto_date_header(false)
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(HEAD_LIMIT)
                .initial_stream_window_size(channel.share.stream())
                .initial_connection_window_size(channel.share.connection())
                .max_send_buf_size(channel.share.unsent())
                .serve_connection(io, service)
        ),
    };
    let why = match (channel.watch().refused(), channel.watch().late()) {
        (Some(violation), _) => format!("a request was refused: {violation}"),
        (None, Some(late)) => late.to_owned(),
        (None, None) => match channel.failed_unused() {
            Some(failure) => format!("never used: {failure}"),
            None => why,
        },
    };
    match channel.watch().malformed() {
        0 => why,
        streams => format!("{why}; {streams} malformed requests were reset (PROTOCOL_ERROR)"),
    }
}

fn tell(outcome: hyper::Result<()>) -> String {
    match outcome {
        Ok(()) => String::from("closed"),
        Err(error) => cause::of(&error, "the client", ""),
    }
}
