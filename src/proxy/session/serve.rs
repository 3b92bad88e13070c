//! Serving: hyper between the guard and the handler, until either side is done.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, StatusCode};
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
use crate::proxy::limits::HEAD_BYTES;
use crate::proxy::upstreams::Channel;
use crate::tls::Protocol;

/// Streams that a client may have open: what Go's own servers allow.
const STREAMS: u32 = 250;

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
        let (channel, gate) = (Arc::clone(&channel), gate.clone());
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
            let mut connection = Pin::new($connection);
            let outcome = tokio::select! {
                outcome = connection.as_mut() => Some(outcome),
                () = channel.ended.cancelled() => None,
                () = context.stop.cancelled() => None,
            };
            match outcome {
                Some(outcome) => Some(outcome),
                None => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        outcome = connection.as_mut() => Some(outcome),
                        () = context.drained() => None,
                    }
                }
            }
        }};
    }
    let outcome = match channel.protocol {
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
                let why = match channel.watch().refused() {
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
                if !gate.is_some_and(|gate| gate.is_strangers()) {
                    let guard = connection.into_parts().io.into_inner();
                    handler::note_refused(&channel, guard.request_line(), status, &why).await;
                }
                return why;
            }
            outcome
        }
        Protocol::H2 => {
            let mut connection = http2::Builder::new(streams)
                .auto_date_header(false)
                .max_concurrent_streams(STREAMS)
                .max_header_list_size(HEAD_BYTES)
                .initial_stream_window_size(channel.share.stream())
                .initial_connection_window_size(channel.share.connection())
                .max_send_buf_size(channel.share.unsent())
                .serve_connection(io, service);
            drive!(&mut connection)
        }
    };
    let why = match outcome {
        None => context.stopped(),
        Some(Ok(())) => String::from("closed"),
        Some(Err(error)) => cause::of(&error, "the client", ""),
    };
    let why = match (channel.watch().refused(), channel.watch().late()) {
        (Some(violation), _) => format!("a request body was refused: {violation}"),
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
