//! The value of GOPROXY: which module proxies are asked, in which order, and when the next one is.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::Location;

/// A place below which module requests lie: a GOPROXY entry, or a checksum database.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Base {
    /// Lower case, with `:port` where it is not the scheme's own.
    pub(crate) host: String,
    /// Percent-decoded once, without its trailing slash; empty at the root.
    pub(crate) path: String,
    /// The checksum database's name, where the place is one; `None` for a module proxy.
    pub(crate) sumdb: Option<String>,
}

impl Base {
    /// The place that an http or https URL names; `None` for a `file:` URL or one without a host.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let scheme = url.split_once("://").map_or("https", |(scheme, _)| scheme);
        if !["http", "https"]
            .iter()
            .any(|s| scheme.eq_ignore_ascii_case(s))
        {
            return None;
        }
        let Location { host, path, .. } = Location::of(url);
        (!host.is_empty()).then(|| Self {
            host,
            path: path.trim_end_matches('/').to_owned(),
            sumdb: None,
        })
    }

    /// The host without its port.
    pub(crate) fn host_name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }

    /// What of `location`'s path lies below here, without a leading slash.
    pub(crate) fn strip<'a>(&self, location: &'a Location<'_>) -> Option<&'a str> {
        if location.host != self.host {
            return None;
        }
        location.path.strip_prefix(&self.path)?.strip_prefix('/')
    }
}

/// What stands behind an entry, and decides when the next one is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Separator {
    /// `,`: the next entry is asked after 404 and 410 only.
    Comma,
    /// `|`: the next entry is asked after any error.
    Pipe,
}

impl Separator {
    /// The character itself.
    pub(crate) const fn as_char(self) -> char {
        match self {
            Self::Comma => ',',
            Self::Pipe => '|',
        }
    }
}

/// Where an entry sends the go command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ProxyTarget {
    /// A module proxy; `https://` is added where the value left the scheme out, as cmd/go does.
    Url(String),
    /// `direct`: to the module's own repository.
    Direct,
    /// `off`: nowhere.
    Off,
}

impl fmt::Display for ProxyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(url) => url,
            Self::Direct => "direct",
            Self::Off => "off",
        })
    }
}

/// One entry of GOPROXY.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ProxyEntry {
    /// Where it sends the go command.
    pub(crate) target: ProxyTarget,
    /// What stands behind it; `None` at the end.
    pub(crate) separator: Option<Separator>,
}

/// A parsed GOPROXY. Reading never fails: cmd/go itself complains about what is wrong in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct GoProxy {
    /// The entries that cmd/go heeds: none empty, none behind `direct` or `off`.
    pub(crate) entries: Vec<ProxyEntry>,
}

impl GoProxy {
    /// Reads the value as `cmd/go/internal/modfetch.proxyList` does.
    pub(crate) fn parse(value: &str) -> Self {
        let mut entries = Vec::new();
        for piece in value.split_inclusive([',', '|']) {
            let separator = match piece.chars().next_back() {
                Some(',') => Some(Separator::Comma),
                Some('|') => Some(Separator::Pipe),
                _ => None,
            };
            let word = piece.trim_end_matches([',', '|']).trim();
            let target = match word {
                "" => continue,
                "direct" => ProxyTarget::Direct,
                "off" => ProxyTarget::Off,
                url => ProxyTarget::Url(with_scheme(url)),
            };
            let is_last = !matches!(target, ProxyTarget::Url(_));
            let separator = separator.filter(|_| !is_last);
            entries.push(ProxyEntry { target, separator });
            if is_last {
                break;
            }
        }
        Self { entries }
    }

    /// The module proxies' URLs, in order, credentials and all.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match &entry.target {
            ProxyTarget::Url(url) => Some(url.as_str()),
            ProxyTarget::Direct | ProxyTarget::Off => None,
        })
    }

    /// The places of the module proxies that are reached over http or https, in order.
    pub(crate) fn bases(&self) -> Vec<Base> {
        self.urls().filter_map(Base::of).collect()
    }

    /// Their hosts, each once, with `:port` where it is not the scheme's own.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = Vec::new();
        for base in self.bases() {
            if !hosts.contains(&base.host) {
                hosts.push(base.host);
            }
        }
        hosts
    }
}

impl FromStr for GoProxy {
    type Err = Infallible;

    fn from_str(value: &str) -> Result<Self, Infallible> {
        Ok(Self::parse(value))
    }
}

impl fmt::Display for GoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ProxyEntry { target, separator } in &self.entries {
            write!(f, "{target}")?;
            if let Some(separator) = separator {
                write!(f, "{}", separator.as_char())?;
            }
        }
        Ok(())
    }
}

/// Single words and absolute paths stay; `goproxy.corp/api` becomes `https://goproxy.corp/api`.
fn with_scheme(url: &str) -> String {
    if url.contains(['.', ':', '/']) && !url.contains(":/") && !url.starts_with('/') {
        format!("https://{url}")
    } else {
        url.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_and_what_stands_behind_them() {
        let value =
            "https://goproxy.corp/api/go/|goproxy.io , ,http://127.0.0.1:8081,direct,https://x.y";
        let goproxy = GoProxy::parse(value);
        assert_eq!(
            goproxy.to_string(),
            "https://goproxy.corp/api/go/|https://goproxy.io,http://127.0.0.1:8081,direct"
        );
        assert_eq!(
            goproxy.hosts(),
            ["goproxy.corp", "goproxy.io", "127.0.0.1:8081"]
        );
        assert_eq!(goproxy.bases()[0].path, "/api/go");
        assert_eq!(goproxy.entries[3].target, ProxyTarget::Direct);
        assert_eq!(goproxy.entries[3].separator, None);
    }

    #[test]
    fn off_and_files_have_no_host() {
        for value in [
            "off",
            "",
            ",|",
            "file:///srv/goproxy",
            "/srv/goproxy",
            "direct",
            "https://",
        ] {
            assert_eq!(
                GoProxy::parse(value).hosts(),
                Vec::<String>::new(),
                "{value}"
            );
        }
        assert_eq!(GoProxy::parse("off,https://x.y").to_string(), "off");
        assert_eq!(GoProxy::parse("https://a.b|").to_string(), "https://a.b|");
    }

    #[test]
    fn credentials_are_no_part_of_a_place() {
        let base = Base::of("https://user:p%40ss@Goproxy.corp:8443/a%20b//").unwrap();
        assert_eq!((&*base.host, &*base.path), ("goproxy.corp:8443", "/a b"));
        assert_eq!(base.host_name(), "goproxy.corp");
        assert_eq!(Base::of("https://[::1]/x").unwrap().host_name(), "[::1]");
    }

    #[test]
    fn a_place_ends_at_an_element() {
        let base = Base::of("https://goproxy.corp/api/go").unwrap();
        let below = |url| base.strip(&Location::of(url)).map(str::to_owned);
        assert_eq!(
            below("https://goproxy.corp/api/go/x/@v/list"),
            Some("x/@v/list".into())
        );
        assert_eq!(below("https://goproxy.corp/api/golang.org/x"), None);
        assert_eq!(below("https://goproxy.corp/api/go"), None);
        assert_eq!(below("https://goproxy.corp:444/api/go/x"), None);
    }
}
