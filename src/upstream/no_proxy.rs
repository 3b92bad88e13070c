//! `NO_PROXY` as the go command reads it: which targets are dialled directly.
//!
//! After Go's `golang.org/x/net/http/httpproxy` (`useProxy` and `init`): names with their
//! subdomains, `.name` and `*.name` for the subdomains alone, addresses (these may have a port),
//! CIDR prefixes, and `*` for every target. Loopback never goes through a proxy.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::exchange::Target;

/// The targets that are dialled directly.
#[derive(Debug, Clone, Default)]
pub(super) struct NoProxy(Vec<Rule>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Everything,
    Prefix(IpNet),
    Address(IpAddr, Option<u16>),
    /// `suffix` begins with a dot.
    Name {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl NoProxy {
    /// Parses the variable; invalid rules are ignored, as in go.
    pub(super) fn of(text: &str) -> Self {
        Self(text.split(',').filter_map(rule).collect())
    }

    /// True if `target` is dialled directly.
    pub(super) fn covers(&self, target: &Target) -> bool {
        let ip = target.ip().map(|ip| ip.to_canonical());
        if target.host() == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return true;
        }
        self.0.iter().any(|rule| rule.covers(target, ip))
    }
}

impl Rule {
    fn covers(&self, target: &Target, ip: Option<IpAddr>) -> bool {
        let is_port = |port: &Option<u16>| port.is_none_or(|port| port == target.port());
        match self {
            Self::Everything => true,
            Self::Prefix(prefix) => ip.is_some_and(|ip| prefix.contains(&ip)),
            Self::Address(address, port) => ip == Some(*address) && is_port(port),
            Self::Name {
                suffix,
                itself,
                port,
            } => {
                let host = target.host();
                let fits = host.ends_with(suffix) || (*itself && host == &suffix[1..]);
                fits && is_port(port)
            }
        }
    }
}

fn rule(text: &str) -> Option<Rule> {
    let text = text.trim().to_ascii_lowercase();
    if text == "*" {
        return Some(Rule::Everything);
    }
    if text.contains('/') {
        return text.parse().ok().map(Rule::Prefix);
    }
    let (host, port) = match text.rsplit_once(':') {
        // `::1` alone is an address, and `name:` has no valid port.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse().ok()?))
        }
        _ => (&text[..], None),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(Rule::Address(address.to_canonical(), port));
    }
    let host = host
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(host);
    let (suffix, itself) = match host.starts_with('.') {
        true => (host.to_owned(), false),
        false => (format!(".{host}"), true),
    };
    (suffix.len() > 1).then_some(Rule::Name {
        suffix,
        itself,
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of Go's own `TestUseProxy`, and of the forms that its documentation names.
    #[test]
    fn who_is_reached_directly_is_whom_go_reaches_directly() {
        let list = "foobar.com, .barbaz.net, *.corp.example, 192.168.1.1, 192.168.1.2:81, \
                    192.168.1.3:80, 10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, \
                    [2001:db8::52:0:3]:80, 2002:db8:a::45/64, port.example:8443, , :, junk/99";
        let list = NoProxy::of(list);
        for (target, expected) in [
            ("localhost:80", true),
            ("127.0.0.1:80", true),
            ("127.0.0.2:80", true),
            ("[::1]:80", true),
            ("[::2]:80", false),
            ("192.168.1.1:443", true),
            ("192.168.1.2:81", true),
            ("192.168.1.2:443", false),
            ("192.168.1.3:80", true),
            ("192.168.1.4:80", false),
            ("10.0.0.2:443", true),
            ("10.0.0.4:443", false),
            ("[2001:db8::52:0:1]:443", true),
            ("[2001:db8::52:0:2]:443", true),
            ("[2001:db8::52:0:3]:443", false),
            ("[2002:db8:a::123]:443", true),
            ("[fe80::424b:c8be:1643:a1b6]:443", false),
            ("barbaz.net:443", false),
            ("www.barbaz.net:443", true),
            ("foobar.com:443", true),
            ("www.foobar.com:443", true),
            ("foofoobar.com:443", false),
            ("corp.example:443", false),
            ("goproxy.corp.example:443", true),
            ("port.example:8443", true),
            ("a.port.example:8443", true),
            ("port.example:443", false),
            ("baz.com:443", false),
            ("localhost.net:443", false),
        ] {
            let target: Target = target.parse().unwrap();
            assert_eq!(list.covers(&target), expected, "{target}");
        }
        let everybody = NoProxy::of("a.example,*");
        assert!(everybody.covers(&"b.example:1".parse().unwrap()));
        assert!(!NoProxy::default().covers(&"b.example:1".parse().unwrap()));
    }
}
