//! How entries of the upstream GOPROXY are asked: through a gateway in this process.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::failure::Failure;
use crate::exchange::chain;
use crate::proxy::{ID_FIELD, NAME};

/// What a path cannot have as it is; a version may have all of it.
const NEVER_IN_A_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// How much is read of what an answer other than 200 says, bytes.
const REASON: usize = 4096;

/// A gateway to the upstream GOPROXY.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    client: Client<HttpConnector, Empty<Bytes>>,
    /// `http://127.0.0.1:PORT/TOKEN`
    base: String,
    /// How long the gateway waits for the next bytes.
    idle: Duration,
    /// Whether a recording answers there.
    is_recorded: bool,
}

impl Upstream {
    /// A gateway whose paths `/p0/…`, `/p1/…` lie below `base`, and which waits for bytes as long as `idle`.
    pub(crate) fn new(base: String, idle: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base,
            idle,
            is_recorded: false,
        }
    }

    /// Whether the gateway has ended a body because nothing came for so long: it does not say why it ends one, and its
    /// wait and ours do not begin at the same moment.
    pub(super) fn is_given_up(&self, silence: Duration) -> bool {
        silence >= self.idle / 2
    }

    /// The same, for one behind which nobody but a recording answers.
    #[must_use]
    pub(crate) fn recorded(self) -> Self {
        Self {
            is_recorded: true,
            ..self
        }
    }

    /// Whether a recording answers.
    pub(super) const fn is_recorded(&self) -> bool {
        self.is_recorded
    }

    /// Asks the entry at a place of the list, with a client's own credentials if it has some. What it says with
    /// another status than 200 has to be read.
    pub(super) async fn ask(
        &self,
        method: Method,
        place: usize,
        path: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Failure> {
        let path = utf8_percent_encode(path, NEVER_IN_A_PATH);
        let uri = format!("{}/p{place}/{path}", self.base);
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(USER_AGENT, concat!("modtape/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Empty::new());
        let request = request.map_err(|error| Failure::bad_gateway(error.to_string()))?;
        let response = self.client.request(request).await;
        let response = response.map_err(|error| Failure::bad_gateway(chain(&error)))?;
        // It says itself that it relays the checksum database, where the entry does not.
        if !response.headers().contains_key(ID_FIELD) || response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status();
        let said = said(response).await;
        let why = said.strip_prefix(NAME).unwrap_or(&said);
        let why = why.lines().next().unwrap_or_default().to_owned();
        Err(match status {
            StatusCode::GATEWAY_TIMEOUT => Failure::timeout(why),
            StatusCode::BAD_REQUEST => Failure::unaskable(why),
            _ => Failure::bad_gateway(why),
        })
    }
}

/// What an answer says that is no file.
pub(super) async fn said(response: Response<Incoming>) -> String {
    let body = Limited::new(response.into_body(), REASON);
    let text = body.collect().await.map(|it| it.to_bytes());
    let text = text.unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}
