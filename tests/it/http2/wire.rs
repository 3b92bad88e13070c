//! One intercepted HTTP/2 connection, spoken frame by frame.

use std::io;
use std::net::SocketAddr;

use crate::support::frames::{self, Frame, flag, kind};
use crate::support::{Alpn, Client, Hello};

/// A connection whose every byte is the test's.
pub struct Wire {
    /// Below HTTP/2, above TLS.
    pub client: Client,
}

impl Wire {
    /// Through the proxy, with `h2` agreed on and nothing said yet.
    pub async fn open(proxy: SocketAddr, hello: Hello, host: &str) -> Self {
        let connected = Client::open(proxy)
            .await
            .connect(&format!("{host}:443"), &[])
            .await;
        assert_eq!(connected.status, 200, "{}", connected.head);
        let client = connected.client.handshake(&hello.alpn(Alpn::Http2)).await;
        Self {
            client: client.expect("the handshake succeeds"),
        }
    }

    /// The same, with the preface and the settings of both sides exchanged.
    pub async fn greeted(
        proxy: SocketAddr,
        hello: Hello,
        host: &str,
        settings: &[(u16, u32)],
    ) -> Self {
        let mut wire = Self::open(proxy, hello, host).await;
        let first = [frames::PREFACE, &Frame::settings(settings).encode()].concat();
        wire.client.send(first).await.expect("it takes a preface");
        let theirs = wire.next().await.expect("it answers the preface");
        assert_eq!(theirs.kind, kind::SETTINGS, "{theirs:?}");
        wire.send(&[Frame::settings_ack()])
            .await
            .expect("it takes an answer");
        loop {
            let frame = wire.next().await.expect("it answers our settings");
            if frame.kind == kind::SETTINGS && frame.has(flag::ACK) {
                return wire;
            }
        }
    }

    /// Writes frames.
    pub async fn send(&mut self, frames: &[Frame]) -> io::Result<()> {
        self.client.send(frames::encode(frames)).await
    }

    /// The next frame; `None` where the peer ended the connection, in whatever way.
    pub async fn next(&mut self) -> Option<Frame> {
        let head = self.client.read_exactly(9).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut bytes = [head, self.client.read_exactly(length).await.ok()?].concat();
        Frame::take(&mut bytes)
    }
}
