//! `--resolve` and `--connect-to`, as in curl.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::exchange::{Target, bracketed};

/// `HOST:PORT:ADDR[,ADDR…]`: these addresses, whatever the resolver says (curl's `--resolve`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    target: Target,
    addresses: Vec<IpAddr>,
}

/// `HOST1:PORT1:HOST2:PORT2`: dial the second instead of the first (curl's `--connect-to`).
///
/// An empty HOST1 or PORT1 means any, an empty HOST2 or PORT2 means unchanged. TLS and the request
/// still name the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectTo {
    host: Option<String>,
    port: Option<u16>,
    to_host: Option<String>,
    to_port: Option<u16>,
}

/// All overrides of a run; the first that matches a target is used.
#[derive(Debug, Default)]
pub struct Overrides {
    /// `--resolve`.
    pub resolve: Vec<Resolve>,
    /// `--connect-to`.
    pub connect_to: Vec<ConnectTo>,
}

/// Where a target is dialled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dialled {
    /// The target itself, or the one in its place.
    pub(super) target: Target,
    /// Whether the user named the target or chose the one in its place.
    pub(super) is_chosen: bool,
}

/// Why an override is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// Not a value of `--resolve`.
    #[error("expected HOST:PORT:ADDR[,ADDR…], with IPv6 addresses in brackets or bare")]
    Resolve,
    /// Not a value of `--connect-to`.
    #[error("expected HOST1:PORT1:HOST2:PORT2, each of which may be empty")]
    ConnectTo,
}

impl FromStr for Resolve {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let (host, rest) = split_host(text).ok_or(OverrideError::Resolve)?;
        let (port, addresses) = rest.split_once(':').ok_or(OverrideError::Resolve)?;
        let target = format!("{host}:{port}");
        let addresses: Result<Vec<_>, _> = addresses
            .split(',')
            .map(|address| address.trim_matches(['[', ']']).parse())
            .collect();
        Ok(Self {
            target: target.parse().map_err(|_| OverrideError::Resolve)?,
            addresses: addresses.map_err(|_| OverrideError::Resolve)?,
        })
    }
}

impl FromStr for ConnectTo {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let error = || OverrideError::ConnectTo;
        let (host, rest) = split_host(text).ok_or_else(error)?;
        let (port, rest) = rest.split_once(':').ok_or_else(error)?;
        let (to_host, to_port) = split_host(rest).ok_or_else(error)?;
        let name = |host: &str| match host {
            "" => Ok(None),
            _ => match Target::new(host, 0) {
                Ok(target) => Ok(Some(target.host().to_owned())),
                Err(_) => Err(OverrideError::ConnectTo),
            },
        };
        let number = |port: &str| match port {
            "" => Ok(None),
            _ => port.parse().map(Some).map_err(|_| OverrideError::ConnectTo),
        };
        Ok(Self {
            host: name(host)?,
            port: number(port)?,
            to_host: name(to_host)?,
            to_port: number(to_port)?,
        })
    }
}

/// Splits off `HOST:`; HOST may be an IPv6 address in brackets.
fn split_host(text: &str) -> Option<(&str, &str)> {
    let end = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.find(':')?
    };
    let rest = text[end..].strip_prefix(':')?;
    Some((&text[..end], rest))
}

impl Overrides {
    /// The addresses that the user gave for `target`, if any.
    pub(super) fn addresses(&self, target: &Target) -> Option<Vec<SocketAddr>> {
        let found = self.resolve.iter().find(|one| one.target == *target)?;
        let addresses = found.addresses.iter();
        let on_port = addresses.map(|&ip| SocketAddr::new(ip, target.port()));
        Some(on_port.collect())
    }

    /// Whether any of them is for this host, at whatever port.
    pub(super) fn name(&self, host: &str) -> bool {
        let mut resolve = self.resolve.iter();
        let mut connect_to = self.connect_to.iter();
        resolve.any(|one| one.target.host() == host)
            || connect_to.any(|to| to.host.as_deref().is_none_or(|own| own == host))
    }

    /// Where `target` is dialled.
    pub(super) fn dialled(&self, target: &Target) -> Dialled {
        let found = self.connect_to.iter().find(|to| {
            to.host.as_deref().is_none_or(|host| host == target.host())
                && to.port.is_none_or(|port| port == target.port())
        });
        let Some(to) = found else {
            let target = target.clone();
            return Dialled {
                target,
                is_chosen: false,
            };
        };
        let host = to.to_host.as_deref().unwrap_or_else(|| target.host());
        let port = to.to_port.unwrap_or_else(|| target.port());
        Dialled {
            target: Target::new(&bracketed(host), port).unwrap_or_else(|_| target.clone()),
            is_chosen: to.host.is_some() || to.to_host.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn addresses(resolve: Resolve, of: &str) -> Option<Vec<SocketAddr>> {
        let overrides = Overrides {
            resolve: vec![resolve],
            ..Overrides::default()
        };
        overrides.addresses(&target(of))
    }

    fn dialled(to: &ConnectTo, of: &str) -> (String, bool) {
        let overrides = Overrides {
            connect_to: vec![to.clone()],
            ..Overrides::default()
        };
        let dialled = overrides.dialled(&target(of));
        (dialled.target.to_string(), dialled.is_chosen)
    }

    #[test]
    fn resolve_takes_several_addresses_of_both_families() {
        let one: Resolve = "proxy.golang.org:443:[2001:db8::1],127.0.0.1"
            .parse()
            .unwrap();
        let found = addresses(one, "proxy.golang.org:443").unwrap();
        let expected = ["[2001:db8::1]:443", "127.0.0.1:443"].map(|a| a.parse().unwrap());
        assert_eq!(found, expected);
        let other: Resolve = "proxy.golang.org:443:::1".parse().unwrap();
        assert_eq!(addresses(other, "proxy.golang.org:80"), None);
    }

    #[test]
    fn connect_to_leaves_unnamed_parts_as_they_are() {
        let all: ConnectTo = "::127.0.0.1:8443".parse().unwrap();
        assert_eq!(
            dialled(&all, "a.example:443"),
            ("127.0.0.1:8443".into(), true)
        );
        let host: ConnectTo = "a.example:443:[::1]:".parse().unwrap();
        assert_eq!(dialled(&host, "a.example:443"), ("[::1]:443".into(), true));
        assert_eq!(
            dialled(&host, "b.example:443"),
            ("b.example:443".into(), false)
        );
        let port: ConnectTo = ":::8443".parse().unwrap();
        assert_eq!(
            dialled(&port, "b.example:443"),
            ("b.example:8443".into(), false)
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "",
            "a",
            "a:1",
            "a:1:",
            "a:1:x.example",
            ":1:127.0.0.1",
            "a:1:127.0.0.1,",
        ] {
            assert!(text.parse::<Resolve>().is_err(), "{text}");
        }
        for text in [
            "",
            "a",
            "a:1",
            "a:1:b",
            "a:x:b:1",
            "a:1:b:99999",
            "a b:1:c:1",
        ] {
            assert!(text.parse::<ConnectTo>().is_err(), "{text}");
        }
    }
}
