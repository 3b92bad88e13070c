//! The values of GOPROXY and GOSUMDB: which module proxies are asked, in which order, when the next one
//! is, and which checksum database.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::location::Location;

/// The hosts whose traffic is intercepted without being asked for.
///
/// To these the hosts of the effective GOPROXY and GOSUMDB are added. `storage.googleapis.com` is
/// where proxy.golang.org redirects zips to; `go.dev` and `golang.org` serve toolchains and discovery.
pub(crate) const DEFAULT_HOSTS: [&str; 8] = [
    "proxy.golang.org",
    SUM_GOLANG_ORG,
    SUM_GOLANG_GOOGLE_CN,
    "goproxy.cn",
    "goproxy.io",
    "storage.googleapis.com",
    "go.dev",
    "golang.org",
];

/// Where the entries of GOPROXY and the checksum database of these Go settings lie: what makes a URL
/// below one of them a module request.
pub(crate) fn bases(go_env: &BTreeMap<String, String>) -> Vec<Base> {
    let value = |name: &str| go_env.get(name).map_or("", String::as_str);
    let mut bases = GoProxy::parse(value("GOPROXY")).bases();
    let sumdb = value("GOSUMDB").parse::<GoSumDb>().ok();
    bases.extend(sumdb.and_then(|sumdb| sumdb.base()));
    bases
}

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

    /// As `httpproxy.Config.useProxy` (`golang.org/x/net/http/httpproxy`) has it.
    fn is_on_loopback(&self) -> bool {
        let name = self.host_name();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = |ip: IpAddr| ip.is_loopback();
        name == "localhost" || address.parse().is_ok_and(is_loopback)
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

    /// The same without `direct` behind module proxies; alone it stays.
    #[must_use]
    pub(crate) fn without_direct(mut self) -> Self {
        let is_direct = |entry: &mut ProxyEntry| entry.target == ProxyTarget::Direct;
        if self.entries.len() > 1 && self.entries.pop_if(is_direct).is_some() {
            let last = self.entries.last_mut();
            last.into_iter().for_each(|last| last.separator = None);
        }
        self
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

    /// The hosts of those on loopback, which the go command never asks through a proxy.
    pub(crate) fn loopback_hosts(&self) -> Vec<String> {
        let bases = self.bases().into_iter().filter(Base::is_on_loopback);
        bases.map(|base| base.host).collect()
    }

    /// The first entry that is a folder, which the go command reads without a request.
    pub(crate) fn folder(&self) -> Option<&str> {
        let is_folder = |url: &&str| url.starts_with("file:") || url.starts_with('/');
        self.urls().find(is_folder)
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

/// The name of the database that is asked by default.
const SUM_GOLANG_ORG: &str = "sum.golang.org";
/// Its verifier key (`cmd/go/internal/modfetch`, `knownGOSUMDB`).
const SUM_GOLANG_ORG_KEY: &str =
    "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
/// The same database, reachable inside mainland China; an alias, not a name of its own.
const SUM_GOLANG_GOOGLE_CN: &str = "sum.golang.google.cn";

/// A parsed GOSUMDB.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum GoSumDb {
    /// `off`: go.sum is not compared with any database.
    Off,
    /// A database.
    On {
        /// Its name, `host[/path]`, which its signatures and its URLs carry.
        name: String,
        /// Its verifier key, `name+hash+key`; `None` for a bare name that cmd/go does not know
        /// either, and refuses.
        key: Option<String>,
        /// Where it is asked instead of `https://name`, with no module proxy in between.
        url: Option<String>,
    },
}

/// Why a GOSUMDB cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GoSumDbError {
    /// Nothing but white space.
    #[error("missing GOSUMDB")]
    Missing,
    /// More than a key and a URL.
    #[error("invalid GOSUMDB: too many fields")]
    TooManyFields,
    /// A name that is not `host[/path]`.
    #[error("invalid checksum database name {0:?} (must be host[/path])")]
    Name(String),
}

impl FromStr for GoSumDb {
    type Err = GoSumDbError;

    /// Reads the value as `cmd/go/internal/modfetch.dbDial` does, but leaves the key unverified.
    fn from_str(value: &str) -> Result<Self, GoSumDbError> {
        if value == "off" {
            return Ok(Self::Off);
        }
        if value == SUM_GOLANG_GOOGLE_CN {
            return "sum.golang.org https://sum.golang.google.cn".parse();
        }
        let mut fields = value.split_whitespace();
        let key = fields.next().ok_or(GoSumDbError::Missing)?;
        let url = fields.next().map(str::to_owned);
        if fields.next().is_some() {
            return Err(GoSumDbError::TooManyFields);
        }
        let (name, key) = match key.split_once('+') {
            Some((name, _)) => (name, Some(key)),
            None => (key, (key == SUM_GOLANG_ORG).then_some(SUM_GOLANG_ORG_KEY)),
        };
        if name.is_empty()
            || name.starts_with('/')
            || name.ends_with('/')
            || name.contains(['?', '#', '@', '%', '\\'])
        {
            return Err(GoSumDbError::Name(name.to_owned()));
        }
        Ok(Self::On {
            name: name.to_owned(),
            key: key.map(str::to_owned),
            url,
        })
    }
}

impl GoSumDb {
    /// The database's name; `None` when it is off.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Off => None,
            Self::On { name, .. } => Some(name),
        }
    }

    /// The database's verifier key, where the value or cmd/go knows it.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Off => None,
            Self::On { key, .. } => key.as_deref(),
        }
    }

    /// The URL that is asked when no module proxy relays the database, without a slash at the end.
    pub(crate) fn url(&self) -> Option<String> {
        let Self::On { name, url, .. } = self else {
            return None;
        };
        Some(match url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://{name}"),
        })
    }

    /// Whether it is asked at a URL of its own, with no module proxy in between.
    pub(crate) const fn has_own_url(&self) -> bool {
        matches!(self, Self::On { url: Some(_), .. })
    }

    /// The place that is asked when no module proxy relays the database.
    pub(crate) fn base(&self) -> Option<Base> {
        let Self::On { name, url, .. } = self else {
            return None;
        };
        let base = match url {
            Some(url) => Base::of(url)?,
            None => Base::of(&format!("https://{name}"))?,
        };
        Some(Base {
            sumdb: Some(name.clone()),
            ..base
        })
    }

    /// Its host, with `:port` where it is not the scheme's own.
    pub(crate) fn host(&self) -> Option<String> {
        self.base().map(|base| base.host)
    }
}

/// The name and the rest of the path of a request straight to a database that every go knows.
pub(super) fn well_known<'a>(location: &'a Location<'_>) -> Option<(&'static str, &'a str)> {
    let known = matches!(&*location.host, SUM_GOLANG_ORG | SUM_GOLANG_GOOGLE_CN);
    known.then_some((SUM_GOLANG_ORG, location.path.strip_prefix('/')?))
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
    fn direct_can_be_left_out_where_proxies_stand_before_it() {
        for (value, without) in [
            ("https://a.b|https://c.d,direct", "https://a.b|https://c.d"),
            ("https://a.b|direct,https://c.d", "https://a.b"),
            ("https://a.b,off", "https://a.b,off"),
            ("direct", "direct"),
        ] {
            assert_eq!(GoProxy::parse(value).without_direct().to_string(), without);
        }
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

    fn host(value: &str) -> Option<String> {
        value.parse::<GoSumDb>().unwrap().host()
    }

    #[test]
    fn each_form_names_its_database_and_its_host() {
        let default: GoSumDb = "sum.golang.org".parse().unwrap();
        assert_eq!(default.name(), Some("sum.golang.org"));
        assert!(
            default
                .key()
                .unwrap()
                .starts_with("sum.golang.org+033de0ae+")
        );
        assert_eq!(default.host().as_deref(), Some("sum.golang.org"));

        let alias: GoSumDb = "sum.golang.google.cn".parse().unwrap();
        assert_eq!(alias.name(), Some("sum.golang.org"));
        assert_eq!(alias.host().as_deref(), Some("sum.golang.google.cn"));
        assert_eq!(alias.key(), default.key());

        let own: GoSumDb = "sums.corp/db+0a0b0c0d+AAAA".parse().unwrap();
        assert_eq!(own.name(), Some("sums.corp/db"));
        assert_eq!(own.base().unwrap().path, "/db");
        assert_eq!(own.base().unwrap().sumdb.as_deref(), Some("sums.corp/db"));

        assert_eq!(
            host("sums.corp+0a+A http://10.0.0.1:8080/s"),
            Some("10.0.0.1:8080".into())
        );
        assert_eq!(host("sums.corp+0a+A file:///srv/sumdb"), None);
        assert_eq!(host("off"), None);
        assert_eq!("sums.corp".parse::<GoSumDb>().unwrap().key(), None);
    }

    #[test]
    fn what_cmd_go_refuses_is_refused() {
        assert_eq!(" ".parse::<GoSumDb>(), Err(GoSumDbError::Missing));
        assert_eq!("a b c".parse::<GoSumDb>(), Err(GoSumDbError::TooManyFields));
        for name in ["+0a+A", "a.b/+0a+A", "a@b+0a+A", "/a+0a+A", "a?b"] {
            assert!(
                matches!(name.parse::<GoSumDb>(), Err(GoSumDbError::Name(_))),
                "{name}"
            );
        }
    }
}
