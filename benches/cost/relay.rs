//! The least that a proxy can be: every CONNECT becomes a relay to one address.
//!
//! The go command reaches a loopback address under a real host's name only through a proxy, so this
//! is what "direct" means for it.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;

use crate::origin::accept_until_stdin_ends;

/// The longest CONNECT head, bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// Bytes copied at once, each way.
const BUFFER: usize = 64 * 1024;

/// Relays to `to` until stdin ends.
pub(crate) async fn run(to: SocketAddr) -> anyhow::Result<()> {
    accept_until_stdin_ends(|stream| async move {
        // How a relay ends is its two peers' matter.
        let _ = relay(stream, to).await;
    })
    .await
}

async fn relay(mut client: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        // The client waits for the answer, so nothing follows the head yet.
        if head.len() > HEAD_LIMIT || client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let mut origin = TcpStream::connect(to).await?;
    origin.set_nodelay(true)?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER, BUFFER).await?;
    Ok(())
}
