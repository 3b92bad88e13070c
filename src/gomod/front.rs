//! A GOPROXY list whose module proxies are all asked through one address: `pN` is the path of the entry at
//! place N, counted from 0; behind the list comes a checksum database to which GOSUMDB gives a URL. What the go
//! command sees of both, and what its requests mean.

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;

use super::settings::{Base, GoProxy, GoSumDb, ProxyTarget, Separator};

/// A list as it is asked through one address.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    list: GoProxy,
    /// By place; `None` for what is not asked over HTTP. The last one is a checksum database that has a URL of
    /// its own, which go asks past GOPROXY.
    entries: Vec<Option<FrontEntry>>,
    sumdb: Option<GoSumDb>,
}

/// A module proxy, as requests to it are sent on.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FrontEntry {
    /// `https://host/path`, without a slash at the end.
    url: String,
    /// A query, which go sends with each request.
    query: Option<String>,
    /// What stands before the `@`, decoded.
    pub(crate) userinfo: Option<Userinfo>,
}

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Userinfo {
    /// The user name.
    pub(crate) user: String,
    /// The password; empty without one.
    pub(crate) password: String,
}

/// What a request path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The place of the entry.
    pub(crate) place: usize,
    /// The URL below that entry, without its userinfo.
    pub(crate) url: String,
    /// What it asks the checksum database for, if it does.
    pub(crate) database: Option<DatabaseRequest>,
}

/// A request to the checksum database through a module proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DatabaseRequest {
    /// Whether that module proxy relays it.
    Supported,
    /// The URL of the same at the database itself.
    At(String),
}

/// Why a path asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAsked {
    /// Another beginning than `/pN/`.
    #[error("no path of a module proxy begins like this")]
    Path,
    /// There is no such entry.
    #[error("GOPROXY has no module proxy at place {0}")]
    Place(usize),
    /// It would lead out of the entry's own path.
    #[error("the path has an element of dots")]
    Dots,
    /// Servers may cut it there.
    #[error("the path has a control character")]
    Control,
}

impl Front {
    /// The list of a GOPROXY, and the checksum database that a GOSUMDB names.
    pub(crate) fn new(goproxy: &str, gosumdb: &str) -> Self {
        let list = GoProxy::parse(goproxy);
        let entry = |target: &ProxyTarget| match target {
            ProxyTarget::Url(url) => FrontEntry::of(url),
            ProxyTarget::Direct | ProxyTarget::Off => None,
        };
        let sumdb: Option<GoSumDb> = gosumdb.parse().ok();
        let own = sumdb.as_ref().filter(|sumdb| sumdb.has_own_url());
        let own = own.and_then(|sumdb| FrontEntry::of(&sumdb.url()?));
        let entries = list.entries.iter().map(|it| entry(&it.target));
        Self {
            entries: entries.chain([own]).collect(),
            list,
            sumdb,
        }
    }

    /// The GOPROXY of a command whose module proxies are at `address` (`http://127.0.0.1:4040`): what is asked
    /// over HTTP has its path there, and all else stays.
    pub(crate) fn goproxy(&self, address: &str) -> String {
        let mut value = String::new();
        for (place, entry) in self.list.entries.iter().enumerate() {
            let _ = match self.entries.get(place) {
                Some(Some(_)) => write!(value, "{address}/p{place}"),
                _ => write!(value, "{}", entry.target),
            };
            value.extend(entry.separator.map(Separator::as_char));
        }
        value
    }

    /// The GOSUMDB of such a command, where it names a URL that is asked over HTTP; else the user's stays.
    pub(crate) fn gosumdb(&self, address: &str) -> Option<String> {
        let place = self.list.entries.len();
        self.entry(place)?;
        let sumdb = self.sumdb.as_ref()?;
        let key = sumdb.key().or_else(|| sumdb.name())?;
        Some(format!("{key} {address}/p{place}"))
    }

    /// The entry at a place.
    pub(crate) fn entry(&self, place: usize) -> Option<&FrontEntry> {
        self.entries.get(place)?.as_ref()
    }

    /// Whether the list has no module proxy that is asked over HTTP.
    pub(crate) fn is_empty(&self) -> bool {
        let mut of_list = self.entries.iter().take(self.list.entries.len());
        of_list.all(Option::is_none)
    }

    /// What a request path asks for; `path` begins with a slash, and may have a query.
    pub(crate) fn asked(&self, path: &str) -> Result<Asked, NotAsked> {
        let (place, rest) = path
            .strip_prefix("/p")
            .and_then(|path| path.split_once('/'))
            .ok_or(NotAsked::Path)?;
        let is_number = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
        let place = place.parse().ok().filter(|_| is_number);
        let place: usize = place.ok_or(NotAsked::Path)?;
        let entry = self.entry(place).ok_or(NotAsked::Place(place))?;
        let (elements, query) = match rest.split_once('?') {
            Some((elements, query)) => (elements, Some(query)),
            None => (rest, None),
        };
        if elements.split('/').any(is_dots) {
            return Err(NotAsked::Dots);
        }
        if percent_decode_str(elements).any(|byte| byte.is_ascii_control()) {
            return Err(NotAsked::Control);
        }
        let mut url = format!("{}/{elements}", entry.url);
        let queries = entry.query.as_deref().into_iter().chain(query);
        for (query, mark) in queries.zip(['?', '&']) {
            url.push(mark);
            url.push_str(query);
        }
        Ok(Asked {
            place,
            url,
            database: self.database_request(elements),
        })
    }

    fn database_request(&self, elements: &str) -> Option<DatabaseRequest> {
        let sumdb = self.sumdb.as_ref()?;
        let rest = elements.strip_prefix("sumdb/")?;
        let rest = rest.strip_prefix(sumdb.name()?)?.strip_prefix('/')?;
        match rest {
            "supported" => Some(DatabaseRequest::Supported),
            rest => Some(DatabaseRequest::At(format!("{}/{rest}", sumdb.url()?))),
        }
    }

    /// Whether go would ask the checksum database itself once the entry at `place` has answered with `status`
    /// whether it relays it (`cmd/go/internal/modfetch.dbClient.initBase`): there is no entry left to ask, and
    /// no error counts. `has_failed` says that an entry before it answered with an error other than 404 and
    /// 410, which counts unless the list ends with `direct`.
    pub(crate) fn leads_to_database(&self, place: usize, status: u16, has_failed: bool) -> bool {
        let Some((own, behind)) = self.list.entries.get(place..).and_then(<[_]>::split_first)
        else {
            return false;
        };
        let is_url = |target: &ProxyTarget| matches!(target, ProxyTarget::Url(_));
        if behind.iter().any(|entry| is_url(&entry.target)) {
            return false;
        }
        let ends_direct = matches!(behind, [last] if last.target == ProxyTarget::Direct);
        match status {
            404 | 410 => ends_direct || !has_failed,
            _ => ends_direct && own.separator == Some(Separator::Pipe),
        }
    }
}

impl FrontEntry {
    /// `None` for what is not asked over HTTP.
    fn of(url: &str) -> Option<Self> {
        Base::of(url)?;
        let (scheme, rest) = url.split_once("://")?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (place, query) = match rest.split_once('?') {
            Some((place, query)) => (place, Some(query.to_owned())),
            None => (rest, None),
        };
        let (authority, path) = match place.find('/') {
            Some(slash) => place.split_at(slash),
            None => (place, ""),
        };
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(Userinfo::of(userinfo)), host),
            None => (None, authority),
        };
        let scheme = scheme.to_ascii_lowercase();
        Some(Self {
            url: format!("{scheme}://{host}{}", path.trim_end_matches('/')),
            query: query.filter(|query| !query.is_empty()),
            userinfo,
        })
    }

    /// Whether a URL is one of its own, and none that another host is asked in its place.
    pub(crate) fn holds(&self, url: &str) -> bool {
        url.strip_prefix(&self.url)
            .is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Without credentials.
impl std::fmt::Debug for FrontEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrontEntry({})", self.url)
    }
}

impl Userinfo {
    fn of(text: &str) -> Self {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        Self {
            user: decoded(user),
            password: decoded(password),
        }
    }
}

/// An element that means another folder (RFC 3986 section 5.2.4), however it is spelled.
fn is_dots(element: &str) -> bool {
    let decoded = percent_decode_str(element).decode_utf8_lossy();
    // An encoded slash may be one to the server, and what stands behind a semicolon (RFC 3986 section 3.3,
    // `..;x=y`) no part of the name.
    let parts = decoded.split(['/', '\\']);
    let mut names = parts.map(|part| part.split(';').next().unwrap_or_default());
    names.any(|name| matches!(name, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "http://127.0.0.1:4040";

    fn front(goproxy: &str) -> Front {
        Front::new(goproxy, "sum.golang.org")
    }

    #[test]
    fn the_list_keeps_its_shape() {
        for (list, expected) in [
            (
                "https://a.example,goproxy.corp/go|http://127.0.0.1:8081,direct",
                "A/p0,A/p1|A/p2,direct",
            ),
            (
                "https://u:p@a.example|file:///srv/go,off",
                "A/p0|file:///srv/go,off",
            ),
            (" https://a.example , , b.example|", "A/p0,A/p1|"),
            ("HTTPS://A.example,direct,https://b.example", "A/p0,direct"),
            ("direct", "direct"),
            ("off", "off"),
            ("file:///srv/go", "file:///srv/go"),
            ("https://,ftp://x.example", "https://,ftp://x.example"),
        ] {
            let expected = expected.replace('A', ADDRESS);
            assert_eq!(front(list).goproxy(ADDRESS), expected, "{list}");
        }
        assert!(front("direct").is_empty() && front("file:///srv").is_empty());
        assert!(!front("file:///srv,https://a.example").is_empty());
    }

    #[test]
    fn a_path_leads_below_its_entry_as_it_is_written() {
        let front = front("https://u:p%40w@A.example:8443/api%20x/go//,file:///x|http://b?key=1");
        let url = |path: &str| front.asked(path).map(|asked| asked.url);
        let below = "https://A.example:8443/api%20x/go";
        for (path, expected) in [
            (
                "/p0/github.com/%21azure/x/@v/v1.0.0+incompatible.zip",
                format!("{below}/github.com/%21azure/x/@v/v1.0.0+incompatible.zip"),
            ),
            ("/p0/", format!("{below}/")),
            ("/p0/x?go-get=1", format!("{below}/x?go-get=1")),
            ("/p2/x/@v/list", "http://b/x/@v/list?key=1".into()),
            ("/p2/x?a", "http://b/x?key=1&a".into()),
        ] {
            assert_eq!(url(path), Ok(expected), "{path}");
        }
        for (path, why) in [
            ("/", NotAsked::Path),
            ("/p0", NotAsked::Path),
            ("/p/x", NotAsked::Path),
            ("/p+0/x", NotAsked::Path),
            ("/favicon.ico", NotAsked::Path),
            ("/p1/x", NotAsked::Place(1)),
            ("/p7/x", NotAsked::Place(7)),
            ("/p99999999999999999999/x", NotAsked::Path),
            ("/p0/../x", NotAsked::Dots),
            ("/p0/x/%2e%2E/y", NotAsked::Dots),
            ("/p0/x%2f..%2fy", NotAsked::Dots),
            ("/p0/.", NotAsked::Dots),
            ("/p0/x/..;/y", NotAsked::Dots),
            ("/p0/x/%2e%2e%3Ba=b/y", NotAsked::Dots),
            ("/p0/x%00/y", NotAsked::Control),
            ("/p0/x%0d%0ay", NotAsked::Control),
        ] {
            assert_eq!(url(path), Err(why), "{path}");
        }
        let userinfo = front.entry(0).and_then(|entry| entry.userinfo.as_ref());
        let userinfo = userinfo.map(|it| (&*it.user, &*it.password));
        assert_eq!(userinfo, Some(("u", "p@w")));
        assert!(!format!("{front:?}").contains("p@w"));
        let holds = |url| front.entry(2).is_some_and(|entry| entry.holds(url));
        assert!(holds("http://b/x") && !holds("http://b.example/x") && !holds("https://b/x"));
    }

    #[test]
    fn a_checksum_database_with_a_url_of_its_own_has_a_path_behind_the_list() {
        let known = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        for (value, key, url) in [
            ("sum.golang.org", "", ""),
            ("off", "", ""),
            ("sum.golang.org file:///srv/sumdb", "", ""),
            (
                "sum.golang.google.cn",
                known,
                "https://sum.golang.google.cn/latest",
            ),
            (
                "sum.golang.org https://u:p@a.example/db/?k=1",
                known,
                "https://a.example/db/latest?k=1",
            ),
            (
                "sums.corp+0a0b+AA http://10.0.0.1/s",
                "sums.corp+0a0b+AA",
                "http://10.0.0.1/s/latest",
            ),
            // Which go refuses.
            (
                "sums.corp https://a.example",
                "sums.corp",
                "https://a.example/latest",
            ),
        ] {
            let front = Front::new("https://a.example,direct", value);
            let expected = (!key.is_empty()).then(|| format!("{key} {ADDRESS}/p2"));
            assert_eq!(front.gosumdb(ADDRESS), expected, "{value}");
            let asked = front.asked("/p2/latest").ok();
            let expected = (!key.is_empty()).then(|| Asked {
                place: 2,
                url: url.to_owned(),
                database: None,
            });
            assert_eq!(asked, expected, "{value}");
            assert_eq!(front.goproxy(ADDRESS), format!("{ADDRESS}/p0,direct"));
        }
        assert!(Front::new("direct", "sum.golang.google.cn").is_empty());
    }

    #[test]
    fn requests_to_the_checksum_database_are_known() {
        let asked = |gosumdb, path: &str| {
            let front = Front::new("https://a.example", gosumdb);
            front.asked(path).ok()?.database
        };
        let at = |url: &str| Some(DatabaseRequest::At(url.to_owned()));
        let path = "/p0/sumdb/sum.golang.org/supported";
        let known = "sum.golang.org";
        assert_eq!(asked(known, path), Some(DatabaseRequest::Supported));
        let path = "/p0/sumdb/sum.golang.org/lookup/github.com/!burnt!sushi/toml@v1.3.2";
        let url = "https://sum.golang.org/lookup/github.com/!burnt!sushi/toml@v1.3.2";
        assert_eq!(asked(known, path), at(url));
        let url = url.replace(".org", ".google.cn");
        assert_eq!(asked("sum.golang.google.cn", path), at(&url));
        let path = "/p0/sumdb/sums.corp/db/tile/8/0/000";
        let own = "sums.corp/db+0a0b+AA";
        assert_eq!(asked(own, path), at("https://sums.corp/db/tile/8/0/000"));
        let own = "sums.corp/db+0a0b+AA http://10.0.0.1:8080/s/";
        assert_eq!(asked(own, path), at("http://10.0.0.1:8080/s/tile/8/0/000"));
        for other in [known, "off", ""] {
            assert_eq!(asked(other, path), None, "{other}");
        }
        assert_eq!(asked(known, "/p0/sumdb/sum.golang.org"), None);
    }

    /// Each row is what go does with these answers (`modfetch.TryProxies`).
    #[test]
    fn go_asks_the_database_itself_where_no_entry_relays_it_and_none_has_failed() {
        for (list, place, status, has_failed, expected) in [
            ("https://a", 0, 404, false, true),
            ("https://a", 0, 410, false, true),
            ("https://a", 0, 500, false, false),
            ("https://a,direct", 0, 404, false, true),
            ("https://a,direct", 0, 500, false, false),
            ("https://a|direct", 0, 500, false, true),
            ("https://a|off", 0, 500, false, false),
            ("https://a|off", 0, 404, false, true),
            ("https://a,https://b", 0, 404, false, false),
            ("https://a|https://b", 0, 500, false, false),
            ("https://a,https://b", 1, 404, false, true),
            ("https://a|https://b", 1, 404, true, false),
            ("https://a|https://b,direct", 1, 404, true, true),
            ("https://a|https://b|direct", 1, 502, true, true),
            ("https://a,file:///x", 0, 404, false, false),
            ("https://a", 1, 404, false, false),
        ] {
            let leads = front(list).leads_to_database(place, status, has_failed);
            assert_eq!(leads, expected, "{list} {place} {status} {has_failed}");
        }
    }
}
