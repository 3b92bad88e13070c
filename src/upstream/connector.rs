//! Our dialer as hyper's clients take it: who asks a server for modtape itself has its roots, parent proxies and
//! limits.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio_rustls::client::TlsStream;
use tower_service::Service;

use super::{Dialer, Journey, News};
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
pub(crate) enum Stream {
    Plain(TokioIo<Wire>),
    Tls(Box<TokioIo<TlsStream<Wire>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(&mut **io).poll_read(cx, buf),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(&mut **io).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(&mut **io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(&mut **io).poll_shutdown(cx),
        }
    }
}
