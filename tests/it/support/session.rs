//! HTTP requests on one client connection, and what became of them.

use std::io;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::header::{HOST, TE};
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use super::body::hex;
use super::client::{Stream, within};

/// A connection that speaks HTTP; dropped, it is closed.
pub struct Session {
    sender: Sender,
    scheme: &'static str,
    host: String,
    /// Owns the connection's task.
    tasks: JoinSet<()>,
}

/// A response and its whole body.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason phrase, if it is not the usual one (HTTP/1.1 only).
    pub reason: Option<String>,
    /// The protocol version.
    pub version: Version,
    /// As received.
    pub headers: HeaderMap,
    /// The first 16 MiB of the body, as encoded by the sender, without framing.
    pub body: Vec<u8>,
    /// The number of body bytes that came.
    pub body_bytes: u64,
    /// The SHA-256 of all of them, in hex.
    pub body_sha256: String,
    /// What came behind the body.
    pub trailers: Option<HeaderMap>,
    /// How the body ended.
    pub ended: Ended,
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As declared.
    Clean,
    /// Before its end; the reason in the HTTP library's words.
    Cut(String),
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

const KEPT_BYTES: usize = 16 * 1024 * 1024;

impl Session {
    pub(super) async fn begin(
        stream: Box<dyn Stream>,
        is_h2: bool,
        scheme: &'static str,
        host: &str,
    ) -> hyper::Result<Self> {
        let (io, mut tasks) = (TokioIo::new(stream), JoinSet::new());
        // How a connection ends shows in its requests.
        let sender = if is_h2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tasks.spawn(async move { drop(connection.await) });
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            tasks.spawn(async move { drop(connection.await) });
            Sender::Http1(sender)
        };
        Ok(Self {
            sender,
            scheme,
            host: host.to_owned(),
            tasks,
        })
    }

    /// A GET request for a path of this connection's host, for [`Self::send`] to change first.
    pub fn request(&self, path: &str) -> Request<Full<Bytes>> {
        let (uri, host) = match self.sender {
            Sender::Http1(_) => (path.to_owned(), Some(&self.host)),
            Sender::Http2(_) => (format!("{}://{}{path}", self.scheme, self.host), None),
        };
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(Full::default()).expect("a usable path")
    }

    /// Asks for a path, accepting trailers.
    pub async fn get(&mut self, path: &str) -> hyper::Result<Response> {
        let mut request = self.request(path);
        request
            .headers_mut()
            .insert(TE, "trailers".parse().expect("a header value"));
        self.send(request).await
    }

    /// Sends a request and reads the response to its end.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response> {
        let response = self.start(request).await?;
        Ok(Response::read(response).await)
    }

    /// Sends a request and gives the response when its head has come, for a test that reads the
    /// body at its own pace.
    pub async fn start(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<http::Response<Incoming>> {
        within(async {
            match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
    }

    /// A second handle on an HTTP/2 connection, for requests at the same time; panics on HTTP/1.1.
    pub fn fork(&self) -> Self {
        let Sender::Http2(sender) = &self.sender else {
            panic!("HTTP/1.1 has one request a time")
        };
        let sender = Sender::Http2(sender.clone());
        Self {
            sender,
            scheme: self.scheme,
            host: self.host.clone(),
            tasks: JoinSet::new(),
        }
    }

    /// Waits until the connection has ended.
    pub async fn closed(&mut self) {
        while within(self.tasks.join_next()).await.is_some() {}
    }

    /// Whether the peer has ended the connection.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

impl Response {
    /// Reads a response to its end; each frame of the body may take the client's limit.
    pub async fn read(response: http::Response<Incoming>) -> Self {
        Self::read_each(response, |_| {}).await
    }

    /// The same, and tells of the length of each chunk when it has come.
    pub async fn read_each(response: http::Response<Incoming>, each: impl Fn(usize)) -> Self {
        let (parts, mut incoming) = response.into_parts();
        let mut digest = digest::Context::new(&digest::SHA256);
        let (mut body, mut body_bytes, mut trailers) = (Vec::new(), 0, None);
        let ended = loop {
            let frame = match within(incoming.frame()).await {
                None => break Ended::Clean,
                Some(Err(error)) => break Ended::Cut(chain(&error)),
                Some(Ok(frame)) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    digest.update(&data);
                    body_bytes += data.len() as u64;
                    each(data.len());
                    body.extend_from_slice(&data[..data.len().min(KEPT_BYTES - body.len())]);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        };
        let reason = parts.extensions.get::<ReasonPhrase>();
        Self {
            status: parts.status.as_u16(),
            reason: reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned()),
            version: parts.version,
            headers: parts.headers,
            body,
            body_bytes,
            body_sha256: hex(digest.finish().as_ref()),
            trailers,
            ended,
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first value of a header, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it is a whole 200.
    pub fn is_whole_ok(&self) -> bool {
        self.status == StatusCode::OK.as_u16() && self.ended == Ended::Clean
    }
}

fn chain(error: &hyper::Error) -> String {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<io::Error>());
    io.map_or_else(|| format!("{error:?}"), |io| format!("{error}: {io}"))
}
