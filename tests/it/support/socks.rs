//! The SOCKS5 side of a parent proxy: RFC 1928 `CONNECT`, and RFC 1929 for user and password.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use super::client::Stream;
use super::parent::{Relayed, Shared};

/// Serves one connection to its end.
pub async fn serve(shared: &Shared, mut client: impl Stream) -> io::Result<()> {
    let (credentials, is_allowed) = greet(shared, &mut client).await?;
    if !is_allowed {
        let method = METHOD.to_owned();
        shared.note(Relayed {
            method,
            credentials,
            ..Relayed::default()
        });
        return client.shutdown().await;
    }
    let target = read_target(&mut client).await?;
    sleep(shared.plan.delay).await;
    let code = shared.plan.refusal.as_ref().map(|&(code, _)| code as u8);
    shared.note(Relayed {
        target: target.clone(),
        method: METHOD.to_owned(),
        head: String::new(),
        credentials,
        is_relayed: code.is_none(),
    });
    // The bound address is of no use to a CONNECT; most servers send zeros.
    client
        .write_all(&[5, code.unwrap_or(0), 0, 1, 0, 0, 0, 0, 0, 0])
        .await?;
    match code {
        Some(_) => client.shutdown().await,
        None => shared.relay(&target, client, &[]).await,
    }
}

const METHOD: &str = "SOCKS5";
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NOT_ACCEPTABLE: u8 = 0xff;

async fn greet(shared: &Shared, client: &mut impl Stream) -> io::Result<(Option<String>, bool)> {
    let _version = client.read_u8().await?;
    let methods = read_counted(client).await?;
    let wanted = match shared.plan.credentials {
        Some(_) => USER_AND_PASSWORD,
        None => NO_AUTHENTICATION,
    };
    if !methods.contains(&wanted) {
        client.write_all(&[5, NOT_ACCEPTABLE]).await?;
        return Ok((None, false));
    }
    client.write_all(&[5, wanted]).await?;
    if wanted == NO_AUTHENTICATION {
        return Ok((None, true));
    }
    let _version = client.read_u8().await?;
    let user = read_counted(client).await?;
    let password = read_counted(client).await?;
    let given = [user, password]
        .map(|part| String::from_utf8_lossy(&part).into_owned())
        .join(":");
    let is_allowed = shared.plan.credentials.as_ref() == Some(&given);
    client.write_all(&[1, u8::from(!is_allowed)]).await?;
    Ok((Some(given), is_allowed))
}

/// The target of the request, as `host:port`.
async fn read_target(client: &mut impl Stream) -> io::Result<String> {
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let [_version, _command, _reserved, kind] = head;
    match kind {
        1 => {
            let ip = Ipv4Addr::from(client.read_u32().await?);
            Ok(SocketAddr::from((ip, client.read_u16().await?)).to_string())
        }
        4 => {
            let ip = Ipv6Addr::from(client.read_u128().await?);
            Ok(SocketAddr::from((ip, client.read_u16().await?)).to_string())
        }
        _ => {
            let name = read_counted(client).await?;
            let port = client.read_u16().await?;
            Ok(format!("{}:{port}", String::from_utf8_lossy(&name)))
        }
    }
}

async fn read_counted(client: &mut impl Stream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; client.read_u8().await?.into()];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}
