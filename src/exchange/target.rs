//! What a client wants to reach: `host:port`.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A host and a port, as CONNECT names them (RFC 9110 section 9.3.6).
///
/// The host is in lower case, without the brackets of an IPv6 address and without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Target {
    host: String,
    port: u16,
}

/// Why a text is not a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No colon and usable number at the end.
    #[error("a target is HOST:PORT, with a port from 1 to 65535")]
    Port,
    /// Empty, too long, with an empty label, or with characters that no host name has.
    #[error("not a host name or IP address")]
    Host,
}

/// RFC 1035 section 2.3.4.
const HOST_LIMIT: usize = 253;

impl Target {
    /// Takes a host as written in a URL or on the wire.
    pub(crate) fn new(host: &str, port: u16) -> Result<Self, TargetError> {
        let host = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(inside) => inside
                .parse::<Ipv6Addr>()
                .map_err(|_| TargetError::Host)?
                .to_string(),
            None => host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase(),
        };
        // `a..` would be another host each time it is written and read again.
        let has_empty_label = host.split('.').any(str::is_empty);
        let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        let is_plain = host.bytes().all(is_name) || host.parse::<IpAddr>().is_ok();
        if has_empty_label || host.len() > HOST_LIMIT || !is_plain {
            return Err(TargetError::Host);
        }
        Ok(Self { host, port })
    }

    /// Takes `host[:port]` as a URL has it, where the port may be empty (RFC 3986 section 3.2).
    pub(crate) fn with_default_port(text: &str, port: u16) -> Result<Self, TargetError> {
        match text.strip_suffix(':').unwrap_or(text) {
            host if host.starts_with('[') && host.ends_with(']') => Self::new(host, port),
            host if host.contains(':') => host.parse(),
            host => Self::new(host, port),
        }
    }

    /// The host and port of an absolute URL, if it has a usable host.
    pub(crate) fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let port = if scheme.eq_ignore_ascii_case("https") {
            443
        } else {
            80
        };
        let authority = rest.split(['/', '?', '#']).next()?;
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        Self::with_default_port(host, port).ok()
    }

    /// The host: lower case, no brackets, no trailing dot.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The host, an IPv6 address in brackets, and the port unless it is `default_port`: as a URL or
    /// a Host field has them.
    pub(crate) fn authority(&self, default_port: u16) -> String {
        if self.port == default_port {
            bracketed(&self.host).into_owned()
        } else {
            self.to_string()
        }
    }

    /// The host as an address, if it is one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// A host as a URL has it: an IPv6 address in brackets.
pub(crate) fn bracketed(host: &str) -> Cow<'_, str> {
    if host.contains(':') {
        Cow::Owned(format!("[{host}]"))
    } else {
        Cow::Borrowed(host)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (host, port) = text.rsplit_once(':').ok_or(TargetError::Port)?;
        let is_number = port.bytes().all(|c| c.is_ascii_digit());
        let port = port.parse().ok().filter(|port| is_number && *port != 0);
        let port = port.ok_or(TargetError::Port)?;
        // Without brackets the last colon of an IPv6 address would be taken for the port's.
        if host.contains(':') && !host.starts_with('[') {
            return Err(TargetError::Host);
        }
        Self::new(host, port)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(&self.host), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_one_spelling() {
        for (written, target) in [
            ("proxy.golang.org:443", "proxy.golang.org:443"),
            ("Proxy.GoLang.org.:443", "proxy.golang.org:443"),
            ("[2001:DB8::0:1]:443", "[2001:db8::1]:443"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(written.parse::<Target>().unwrap().to_string(), target);
        }
    }

    #[test]
    fn a_url_may_leave_out_the_port() {
        for (written, target) in [
            ("a.example", "a.example:80"),
            ("a.example:", "a.example:80"),
            ("a.example:81", "a.example:81"),
            ("[::1]", "[::1]:80"),
            ("[::1]:", "[::1]:80"),
            ("[::1]:81", "[::1]:81"),
        ] {
            let read = Target::with_default_port(written, 80).unwrap();
            assert_eq!(read.to_string(), target);
        }
        for text in ["", ":", ":80", "::1", "a:0", "a:+80", "a:65616", "[::1]x"] {
            assert!(Target::with_default_port(text, 80).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "",
            ":443",
            "host",
            "host:",
            "host:+1",
            "host:65536",
            "host:0",
            "host: 1",
            ".:1",
            "..:1",
            "a..b:1",
            ".a:1",
            "a..:1",
            "ho st:1",
            "a@b:1",
            "a/b:1",
            "::1:443",
            "[::1]",
            "[::1%eth0]:1",
            "ho\0st:1",
            "h\u{f6}st:1",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
