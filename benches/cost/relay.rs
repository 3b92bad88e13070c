//! The least that a proxy can be: every CONNECT becomes a relay to one address.
//!
//! The go command reaches a loopback address under a real host's name only through a proxy, so this
//! is what "direct" means for it. With a round-trip time it is a link as well: what passes through it
//! arrives half of that later, at any bandwidth.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use modtape::clock::{Clock, Timestamp};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::origin::accept_until_stdin_ends;

/// The longest CONNECT head, bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// Bytes copied at once, each way.
const BUFFER: usize = 64 * 1024;

/// Chunks that are on the way at once, each way of a connection.
const ON_THE_WAY: usize = 1024;

/// Relays to `to` until stdin ends, over a link with this round-trip time.
pub(crate) async fn run(to: SocketAddr, round_trip: Duration) -> anyhow::Result<()> {
    accept_until_stdin_ends(move |stream| async move {
        // How a relay ends is its two peers' matter.
        let _ = relay(stream, to, round_trip).await;
    })
    .await
}

async fn relay(mut client: TcpStream, to: SocketAddr, round_trip: Duration) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(b"\r\n\r\n") {
        // The client waits for the answer, so nothing follows the head yet.
        if head.len() > HEAD_LIMIT || client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let mut origin = TcpStream::connect(to).await?;
    origin.set_nodelay(true)?;
    // A connection to the other end takes a round trip.
    tokio::time::sleep(round_trip).await;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    if round_trip.is_zero() {
        copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER, BUFFER).await?;
        return Ok(());
    }
    let (client, origin) = (client.into_split(), origin.into_split());
    tokio::try_join!(
        carry(client.0, origin.1, round_trip / 2),
        carry(origin.0, client.1, round_trip / 2),
    )?;
    Ok(())
}

/// Copies to the end, each byte `later` than it came.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    later: Duration,
) -> std::io::Result<()> {
    let (send, mut on_the_way) = mpsc::channel::<(Timestamp, BytesMut)>(ON_THE_WAY);
    let clock = Clock::start();
    let read = async move {
        loop {
            let mut chunk = BytesMut::with_capacity(BUFFER);
            if from.read_buf(&mut chunk).await? == 0 {
                return Ok(());
            }
            if send.send((clock.now() + later, chunk)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = on_the_way.recv().await {
            tokio::time::sleep_until(clock.instant(due)).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write)?;
    Ok(())
}
