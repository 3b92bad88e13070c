//! A box on the way that cannot take a ClientHello of two packets, as some firewalls cannot.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;

use super::background::Background;

/// The longest record that passes, bytes: what one packet on Ethernet carries.
const LONGEST: usize = 1_400;

/// The header of a TLS record (RFC 8446 section 5.1).
const HEADER: usize = 5;

/// A running box; dropped, it and its connections have ended.
pub struct Middlebox {
    server: Background,
}

impl Middlebox {
    /// Relays connections to `to`, but closes those that begin with a large record.
    pub fn start(to: SocketAddr) -> Self {
        let relay = move |stream| async move {
            // A peer that leaves is no matter of the test's.
            drop(relay(stream, to).await);
        };
        Self {
            server: Background::listen("middlebox", relay),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }
}

async fn relay(mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut header = [0; HEADER];
    client.read_exact(&mut header).await?;
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > LONGEST {
        return Ok(());
    }
    let mut upstream = TcpStream::connect(to).await?;
    upstream.set_nodelay(true)?;
    upstream.write_all(&header).await?;
    copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}
