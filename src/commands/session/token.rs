//! The token that clients must send, and the socket in the user's runtime folder that sends it to
//! `modtape env`. It is never written to a file.

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;

use crate::cli::RunArgs;
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::proxy::Token;

/// The user name in the proxy's URL; any other works too.
const USER: &str = "modtape";

/// How long sending the token may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The token that `--token` asks for. An address other than loopback needs one.
pub(crate) fn required(run: &RunArgs) -> Result<Option<Token>, Failure> {
    let token = match run.token.as_str() {
        "none" | "" => None,
        "auto" => Some(Token::random()),
        // Without the value: it may be a secret with a typing error.
        text => Some(
            Token::parse(text)
                .context("--token cannot be used")
                .help("--token auto makes one; the variable MODTAPE_TOKEN keeps yours out of `ps`")
                .map_err(|error| Failure::new(USAGE, error))?,
        ),
    };
    if token.is_none() && !run.listen.ip().is_loopback() {
        let asked = run.listen;
        let message = anyhow!(
            "{asked} is not a loopback address: anyone who can reach it could use the proxy"
        );
        let help = "add --token auto, or use --listen 127.0.0.1 or --listen '[::1]'";
        return Err::<_, _>(message)
            .help(help)
            .map_err(|error| Failure::new(USAGE, error));
    }
    Ok(token)
}

/// The proxy's URL with the token in it.
pub(crate) fn with_token(proxy: &str, token: &str) -> String {
    proxy.replacen("://", &format!("://{USER}:{token}@"), 1)
}

/// A socket that sends the token to every process that can open it: those of the user, since the
/// folder is private.
#[derive(Debug)]
pub(crate) struct TokenSocket {
    listener: UnixListener,
    path: PathBuf,
    token: Token,
}

impl TokenSocket {
    /// Listens in `folder`, which must be private.
    pub(crate) fn open(folder: &Path, token: Token) -> io::Result<Self> {
        let path = folder.join("token");
        let listener = UnixListener::bind(&path)?;
        Ok(Self {
            listener,
            path,
            token,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends the token to one client after the other, without end.
    pub(crate) async fn run(self) {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(LIMIT).await;
                continue;
            };
            let message = stream.write_all(self.token.secret().as_bytes());
            // A client that does not read within the limit is dropped.
            let _ = tokio::time::timeout(LIMIT, message).await;
        }
    }
}

/// Reads the token from the recorder's socket.
pub(crate) fn ask(path: &Path) -> anyhow::Result<String> {
    let asked = || -> io::Result<String> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut token = String::new();
        stream.take(1024).read_to_string(&mut token)?;
        Ok(token)
    };
    asked().context("cannot get the token from the recorder")
}

/// The address at which a client on this machine reaches a listener that is bound to `address`.
pub(crate) fn on_this_machine(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_here_are_told_an_address_that_they_can_connect_to() {
        for (listens, connects) in [
            ("0.0.0.0:9", "http://modtape:t@127.0.0.1:9"),
            ("[::]:9", "http://modtape:t@[::1]:9"),
            ("192.0.2.7:9", "http://modtape:t@192.0.2.7:9"),
        ] {
            let address = on_this_machine(listens.parse().unwrap());
            assert_eq!(with_token(&format!("http://{address}"), "t"), connects);
        }
    }
}
