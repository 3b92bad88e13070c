//! Our dialer as hyper's clients take it: who asks a server for modtape itself has its roots, parent proxies and
//! limits.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::{Dialer, Journey, News, PlainOrTls};
use crate::capture::Wire;
use crate::exchange::Target;
use crate::tls::Protocol;

/// Connects through a dialer.
#[derive(Clone)]
pub(crate) struct Connector {
    dialer: Dialer,
    /// The protocol that is offered, and spoken.
    protocol: Protocol,
}

impl Connector {
    pub(crate) const fn new(dialer: Dialer, protocol: Protocol) -> Self {
        Self { dialer, protocol }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, Box<dyn Error + Send + Sync>> {
        let is_secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let target = Target::new(uri.host().unwrap_or_default(), port)?;
        let (mut journey, hear) = (Journey::default(), &|_: News<'_>| {});
        let tcp = self.dialer.connect(&target, is_secure, &mut journey, hear);
        let tcp = tcp.await?;
        if !is_secure {
            return Ok(Stream::Plain(TokioIo::new(tcp)));
        }
        let offered = [self.protocol];
        let tls = self
            .dialer
            .handshake(tcp, target.host(), &offered, &mut journey, hear);
        Ok(Stream::Tls(Box::new(TokioIo::new(tls.await?))))
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection to a server.
pub(crate) type Stream = PlainOrTls<TokioIo<Wire>, TokioIo<TlsStream<Wire>>>;

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}
