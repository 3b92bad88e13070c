//! The token that clients must send. A socket sends it to `modtape env`; it is never written to a file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::socket;
use crate::cli::RunArgs;
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::proxy::Token;

/// The user name in the proxy's URL; any other works too.
const USER: &str = "modtape";

/// The token that `--token` asks for. An address other than loopback needs one.
pub(crate) fn required(run: &RunArgs) -> Result<Option<Token>, Failure> {
    if run.netns {
        return Ok(None);
    }
    if run.mode.is_transparent() {
        return require_networks(run).map(|()| None);
    }
    of_flags(&run.token, &run.listen)
}

/// The token of `--token`; an address of `--listen` other than loopback needs one.
pub(crate) fn of_flags(token: &str, listen: &[SocketAddr]) -> Result<Option<Token>, Failure> {
    let token = match token {
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
    if let (None, Some(asked)) = (&token, open_address(listen)) {
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

/// Clients that do not know of modtape cannot send a token: their networks stand for it.
fn require_networks(run: &RunArgs) -> Result<(), Failure> {
    let Some(asked) = open_address(&run.listen).filter(|_| run.from.is_empty()) else {
        return Ok(());
    };
    let message = anyhow!(
        "{asked} is not a loopback address: anyone who can reach it could connect through modtape"
    );
    let help = "add --from with the network of your clients, such as --from 10.0.0.0/8";
    Err::<_, _>(message)
        .help(help)
        .map_err(|error| Failure::new(USAGE, error))
}

/// The address of `--listen` that other machines can connect to, if there is one.
fn open_address(listen: &[SocketAddr]) -> Option<SocketAddr> {
    let mut open = listen.iter().filter(|address| !address.ip().is_loopback());
    open.next().copied()
}

/// The proxy's URL with the token in it.
pub(crate) fn with_token(proxy: &str, token: &str) -> String {
    proxy.replacen("://", &format!("://{USER}:{token}@"), 1)
}

/// A gateway's URL with the token as the first element of the path.
pub(crate) fn on_path(url: &str, token: Option<&str>) -> String {
    match token {
        Some(token) => format!("{url}/{token}"),
        None => url.to_owned(),
    }
}

/// Reads the token from the recorder's socket.
pub(crate) fn ask(path: &Path) -> anyhow::Result<String> {
    socket::ask(path).context("cannot get the token from the recorder")
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
