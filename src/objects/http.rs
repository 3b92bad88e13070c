//! How a store is asked: HTTP/1.1 over connections of our own dialer, with deadlines.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Response;
use http::header::{HeaderValue, USER_AGENT};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind,
    HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use tokio::time::Sleep;

use crate::tls::Protocol;
use crate::upstream::{Connector, Dialer};

/// How long the head of a response may take, beside the time for the request's own body.
const HEAD: Duration = Duration::from_secs(5);

/// How fast the body of a request is sent at least, bytes a second.
const SLOWEST: u64 = 256 << 10;

/// How long the body of a response may pause.
const IDLE: Duration = Duration::from_secs(5);

/// How long a connection is kept that nothing uses.
const UNUSED: Duration = Duration::from_secs(30);

/// Asks stores. Each builder of `object_store` takes what it connects with from this.
#[derive(Clone)]
pub(super) struct Http {
    client: Client<Connector, HttpRequestBody>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").finish_non_exhaustive()
    }
}

impl Http {
    pub(super) fn new(dialer: Dialer) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(UNUSED)
            .pool_timer(TokioTimer::new());
        Self {
            client: builder.build(Connector::new(dialer, Protocol::Http1)),
        }
    }
}

impl HttpConnector for Http {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let allows_http = options.get_config_value(&ClientConfigKey::AllowHttp);
        Ok(HttpClient::new(Requests {
            http: self.clone(),
            allows_http: allows_http.as_deref() == Some("true"),
        }))
    }
}

/// The requests to one endpoint.
#[derive(Debug)]
struct Requests {
    http: Http,
    /// Whether the user allows clear text (`AWS_ALLOW_HTTP` and its like).
    allows_http: bool,
}

#[async_trait]
impl HttpService for Requests {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.allows_http && request.uri().scheme_str() != Some("https") {
            return Err(HttpError::new(HttpErrorKind::Request, ClearText));
        }
        let agent = HeaderValue::from_static(concat!("modtape/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let bytes = request.body().content_length() as u64;
        let limit = HEAD + Duration::from_secs(bytes / SLOWEST);
        let response = tokio::time::timeout(limit, self.http.client.request(request)).await;
        let response = response
            .map_err(|_| HttpError::new(HttpErrorKind::Timeout, Silent(limit)))?
            .map_err(|error| {
                let kind = match error.is_connect() {
                    true => HttpErrorKind::Connect,
                    false => HttpErrorKind::Request,
                };
                HttpError::new(kind, error)
            })?;
        let (head, body) = response.into_parts();
        let body = HttpResponseBody::new(Timed::new(body));
        Ok(Response::from_parts(head, body))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("its endpoint is http, which no variable allows (AWS_ALLOW_HTTP=true would)")]
struct ClearText;

#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
struct Silent(Duration);

/// A body that may not pause for longer than [`IDLE`].
struct Timed {
    body: Incoming,
    pause: Pin<Box<Sleep>>,
}

impl Timed {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            pause: Box::pin(tokio::time::sleep(IDLE)),
        }
    }
}

impl Body for Timed {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let timed = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut timed.body).poll_frame(cx) {
            timed.pause.set(tokio::time::sleep(IDLE));
            let failed = |error| HttpError::new(HttpErrorKind::Interrupted, error);
            return Poll::Ready(frame.map(|frame| frame.map_err(failed)));
        }
        ready!(timed.pause.as_mut().poll(cx));
        let silent = HttpError::new(HttpErrorKind::Timeout, Silent(IDLE));
        Poll::Ready(Some(Err(silent)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
