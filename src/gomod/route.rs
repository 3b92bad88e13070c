//! One request's meaning: which kind it is, of which module, in which version.

use std::fmt::Write as _;

use serde::Serialize;

use super::kind::Kind;
use super::location::Location;
use super::module_path::{unescape_path, unescape_version};
use super::settings::{Base, well_known};
use super::tile::Tile;

/// The module path of Go toolchains, which cmd/go downloads like any module (`cmd/go/internal/gover`).
pub(crate) const TOOLCHAIN_MODULE: &str = "golang.org/toolchain";

/// How many characters are shown of a request.
const SHOWN: usize = 200;

/// What a URL asks for; in JSON, what of it is meant for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// What is asked for.
    pub kind: Kind,
    /// The module path with its upper case restored; for `Discovery` the import path, for `Vcs` the
    /// repository's host and path without `.git`.
    pub module: Option<String>,
    /// The version, branch, tag or commit with its upper case restored.
    pub version: Option<String>,
    /// The tile; present exactly when the kind is `Tile`.
    #[serde(skip)]
    pub(crate) tile: Option<Tile>,
    /// The checksum database's name, when known.
    #[serde(skip)]
    pub(crate) sumdb: Option<String>,
    /// The once-decoded path of the URL.
    #[serde(skip)]
    pub(crate) path: String,
}

impl Route {
    /// Finds out what `url` asks for. `bases` are the places of the effective GOPROXY and GOSUMDB
    /// ([`super::GoProxy::bases`], [`super::GoSumDb::base`]); the longest that fits wins. Without
    /// one the whole path is read as a module request, and failing that each of its tails.
    ///
    /// Takes any text; what has no meaning to the go command is [`Kind::Other`].
    pub fn of(url: &str, bases: &[Base]) -> Self {
        let location = Location::of(url);
        let mut route = discovery_or_vcs(&location)
            .or_else(|| below_a_base(&location, bases))
            .unwrap_or_else(|| Self::new(Kind::Other));
        route.path = location.path.into_owned();
        route
    }

    /// What a decoded path below a module proxy asks for; it has no slash at the beginning.
    pub(crate) fn below_a_proxy(path: &str) -> Self {
        let route = module_request(path).or_else(|| relayed_database_request(path));
        let route = route.unwrap_or_else(|| Self::new(Kind::Other));
        Self {
            path: path.to_owned(),
            ..route
        }
    }

    /// A file of a module version.
    pub(crate) fn of_version(kind: Kind, module: &str, version: &str) -> Self {
        Self::of_module(kind, module.to_owned(), Some(version.to_owned()))
    }

    /// A tile of a checksum database.
    pub(crate) fn of_tile(database: &str, tile: Tile) -> Self {
        Self {
            tile: Some(tile),
            sumdb: Some(database.to_owned()),
            ..Self::new(Kind::Tile)
        }
    }

    /// What is asked for, for people: `zip golang.org/x/net v0.34.0`, `tile/8/1/245`.
    ///
    /// Holds no control character, whatever the URL held.
    pub(crate) fn what(&self) -> String {
        let kind = self.kind;
        let module = self.module.as_deref().unwrap_or_default();
        let version = self.version.as_deref().unwrap_or_default();
        shown(match kind {
            Kind::List | Kind::Latest | Kind::Discovery => format!("{kind} {module}"),
            Kind::Info | Kind::Mod | Kind::Zip => format!("{kind} {module} {version}"),
            Kind::Toolchain => format!("{kind} {version}"),
            Kind::SumdbSupported => kind.to_string(),
            Kind::Lookup => format!("{kind} {module}@{version}"),
            Kind::Tile => self.tile.map_or_else(String::new, |tile| tile.to_string()),
            Kind::Vcs if self.path.ends_with(UPLOAD_PACK) => {
                format!("{kind} git-upload-pack {module}")
            }
            Kind::Vcs => format!("{kind} info/refs {module}"),
            Kind::Other => self.path.clone(),
        })
    }

    /// The same of a request of this method to this host: the method too, where the kind does not
    /// tell it.
    pub(crate) fn what_by(&self, method: &str, host: &str) -> String {
        if method == "CONNECT" {
            format!("{method} {host}")
        } else if method == "GET" || self.kind == Kind::Vcs {
            self.what()
        } else {
            format!("{method} {}", self.what())
        }
    }

    /// As [`replay_key`].
    pub(crate) fn key(&self) -> Option<String> {
        let module = self.module.as_deref().unwrap_or_default();
        let version = self.version.as_deref().unwrap_or_default();
        let sumdb = |tail: String| Some(format!("sumdb:{}/{tail}", self.sumdb.as_deref()?));
        match self.kind {
            Kind::List => Some(format!("mod:{module}@list")),
            Kind::Latest => Some(format!("mod:{module}@latest")),
            Kind::Info => Some(format!("mod:{module}@{version}.info")),
            Kind::Mod => Some(format!("mod:{module}@{version}.mod")),
            Kind::Zip | Kind::Toolchain => Some(format!("mod:{module}@{version}.zip")),
            Kind::SumdbSupported => sumdb("supported".to_owned()),
            Kind::Lookup => sumdb(format!("lookup/{module}@{version}")),
            Kind::Tile => sumdb(self.tile?.to_string()),
            Kind::Discovery | Kind::Vcs | Kind::Other => None,
        }
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            module: None,
            version: None,
            tile: None,
            sumdb: None,
            path: String::new(),
        }
    }

    fn of_module(kind: Kind, module: String, version: Option<String>) -> Self {
        Self {
            module: Some(module),
            version,
            ..Self::new(kind)
        }
    }
}

/// The meaning of a module request, whatever host it is sent to: equal for two GOPROXY entries, and
/// for the checksum database itself and one that a module proxy relays.
///
/// `mod:github.com/Azure/x@v1.2.3.zip`, `mod:golang.org/x/net@list`,
/// `sumdb:sum.golang.org/lookup/rsc.io/quote@v1.5.2`. `None` for `Other`, `Vcs` and `Discovery`, and
/// for a checksum database whose name is not known.
pub(crate) fn replay_key(url: &str, bases: &[Base]) -> Option<String> {
    Route::of(url, bases).key()
}

/// A text that may come from anywhere, fit for a terminal: of a sane length, without characters
/// that steer one.
fn shown(text: String) -> String {
    if text.len() <= SHOWN && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text;
    }
    let mut shown = String::with_capacity(text.len().min(SHOWN));
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN {
            shown.push('…');
            break;
        }
        if steers_a_terminal(c) {
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters, and those that turn the direction of text (Unicode Bidi_Control) or break lines.
fn steers_a_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// How many leading elements may belong to a module proxy that was not named: real ones have up to
/// six, and each is a further reading of the path.
const UNKNOWN_BASE: usize = 8;

const INFO_REFS: &str = "/info/refs";
const UPLOAD_PACK: &str = "/git-upload-pack";

/// `?go-get=1`, and git's smart protocol over HTTP (git's `http-protocol` documentation).
fn discovery_or_vcs(location: &Location<'_>) -> Option<Route> {
    let path = &location.path;
    if location.query_value("go-get") == Some("1") {
        let module = format!("{}{}", location.host, path.trim_end_matches('/'));
        return Some(Route::of_module(Kind::Discovery, module, None));
    }
    let repository = match location.query_value("service") {
        Some("git-upload-pack") => path.strip_suffix(INFO_REFS),
        _ => path.strip_suffix(UPLOAD_PACK),
    }?;
    let repository = repository.strip_suffix(".git").unwrap_or(repository);
    let module = format!("{}{repository}", location.host);
    Some(Route::of_module(Kind::Vcs, module, None))
}

fn below_a_base(location: &Location<'_>, bases: &[Base]) -> Option<Route> {
    let fitting = bases
        .iter()
        .filter_map(|base| Some((base, base.strip(location)?)))
        .max_by_key(|(base, _)| base.path.len());
    match fitting {
        Some((
            Base {
                sumdb: Some(name), ..
            },
            rest,
        )) => database_request(rest, Some(name)),
        Some((_, rest)) => module_request(rest).or_else(|| relayed_database_request(rest)),
        None => match well_known(location) {
            Some((name, rest)) => database_request(rest, Some(name)),
            None => below_an_unknown_base(location.path.strip_prefix('/')?),
        },
    }
}

/// Reads the whole path, then each of its tails: a recording from elsewhere may not say which of
/// its leading elements belong to the module proxy.
fn below_an_unknown_base(path: &str) -> Option<Route> {
    if let Some(at) = path.find("/@") {
        let tails = path[..at].match_indices('/').map(|(slash, _)| slash + 1);
        return std::iter::once(0)
            .chain(tails.take(UNKNOWN_BASE))
            .find_map(|start| module_request(&path[start..]));
    }
    let relayed = path.starts_with("sumdb/").then_some(0);
    let relayed = relayed.or_else(|| Some(path.find("/sumdb/")? + 1));
    relayed
        .and_then(|start| relayed_database_request(&path[start..]))
        .or_else(|| database_request(path, None))
}

/// `$module/@v/list`, `$module/@latest`, `$module/@v/$version.{info,mod,zip}`.
fn module_request(rest: &str) -> Option<Route> {
    if let Some(module) = rest.strip_suffix("/@latest") {
        return Some(Route::of_module(
            Kind::Latest,
            unescape_path(module).ok()?,
            None,
        ));
    }
    let (module, file) = rest.split_once("/@v/")?;
    if file == "list" {
        return Some(Route::of_module(
            Kind::List,
            unescape_path(module).ok()?,
            None,
        ));
    }
    let (version, extension) = file.rsplit_once('.')?;
    let kind = match extension {
        "info" => Kind::Info,
        "mod" => Kind::Mod,
        "zip" => Kind::Zip,
        _ => return None,
    };
    let module = unescape_path(module).ok()?;
    let version = unescape_version(version).ok()?;
    let kind = if kind == Kind::Zip && module == TOOLCHAIN_MODULE {
        Kind::Toolchain
    } else {
        kind
    };
    Some(Route::of_module(kind, module, Some(version)))
}

/// `sumdb/$name/…` below a module proxy; a name may hold slashes.
fn relayed_database_request(rest: &str) -> Option<Route> {
    let rest = rest.strip_prefix("sumdb/")?;
    if let Some(name) = rest.strip_suffix("/supported").filter(|name| is_name(name)) {
        return Some(Route {
            sumdb: Some(name.to_owned()),
            ..Route::new(Kind::SumdbSupported)
        });
    }
    let end = ["/lookup/", "/tile/"]
        .iter()
        .filter_map(|marker| rest.find(marker))
        .min()?;
    let name = Some(&rest[..end]).filter(|name| is_name(name))?;
    database_request(&rest[end + 1..], Some(name))
}

/// No name of a database has a `%` (`cmd/go/internal/modfetch.dbDial`), as a slash inside an element has here.
fn is_name(name: &str) -> bool {
    !name.contains('%')
}

/// `lookup/$module@$version` and `tile/…` below a checksum database.
fn database_request(rest: &str, name: Option<&str>) -> Option<Route> {
    let route = if let Some(lookup) = rest.strip_prefix("lookup/") {
        let (module, version) = lookup.split_once('@')?;
        let version = unescape_version(version).ok()?;
        Route::of_module(Kind::Lookup, unescape_path(module).ok()?, Some(version))
    } else {
        Route {
            tile: Some(Tile::parse(rest)?),
            ..Route::new(Kind::Tile)
        }
    };
    Some(Route {
        sumdb: name.map(str::to_owned),
        ..route
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gomod::settings::{GoProxy, GoSumDb};

    const CORP: &str = "https://goproxy.corp/api/go/,https://goproxy.cn,direct";

    fn bases() -> Vec<Base> {
        let mut bases = GoProxy::parse(CORP).bases();
        let sumdb: GoSumDb = "sums.corp/db+0a0b0c0d+AA https://mirror.corp:8443/sums"
            .parse()
            .unwrap();
        bases.extend(sumdb.base());
        bases
    }

    fn what(url: &str) -> String {
        Route::of(url, &bases()).what()
    }

    #[test]
    fn a_slash_inside_an_element_makes_no_other_request() {
        let project = "https://gitlab.corp/api/v4/projects/group%2fproject/packages/go";
        let bases = GoProxy::parse(&format!("https://goproxy.corp,{project}")).bases();
        let key = |url: &str| replay_key(url, &bases);
        let other = project.replace("%2f", "%2F");
        let list = key(&format!("{other}/a.b/c/@v/list"));
        assert_eq!(list.as_deref(), Some("mod:a.b/c@list"));
        let elsewhere = project.replace("%2f", "/");
        assert_eq!(key(&format!("{elsewhere}/a.b/@v/v1.0.0%2Fx.mod")), None);
        for path in [
            "a.b%2Fc/@v/list",
            "a.b/c/@v%2Flist",
            "a.b/c%2F@latest",
            "a.b/c/@v/v1.0.0%2Fx.mod",
            "sumdb/sums%2Fx.corp/lookup/a.b/c@v1.0.0",
            "sumdb/sums.corp/tile/8/0%2F001",
        ] {
            assert_eq!(key(&format!("https://goproxy.corp/{path}")), None, "{path}");
        }
    }

    #[test]
    fn a_url_is_named_by_what_the_go_command_wants() {
        for (url, expected) in [
            (
                "https://proxy.golang.org/golang.org/x/net/@v/list",
                "list golang.org/x/net",
            ),
            (
                "https://proxy.golang.org/golang.org/x/net/@latest",
                "latest golang.org/x/net",
            ),
            (
                "https://proxy.golang.org/golang.org/x/net/@v/v0.34.0.zip",
                "zip golang.org/x/net v0.34.0",
            ),
            (
                "https://goproxy.corp/api/go/github.com/%21azure/x/@v/v1.0.0-%21r%21c1.mod",
                "mod github.com/Azure/x v1.0.0-RC1",
            ),
            (
                "https://goproxy.cn/github.com/!azure/x/@v/v2.0.0+incompatible.info",
                "info github.com/Azure/x v2.0.0+incompatible",
            ),
            (
                "https://goproxy.cn/rsc.io/quote/@v/main.info",
                "info rsc.io/quote main",
            ),
            (
                "https://proxy.golang.org/golang.org/toolchain/@v/v0.0.1-go1.24.1.linux-amd64.zip",
                "toolchain v0.0.1-go1.24.1.linux-amd64",
            ),
            (
                "https://proxy.golang.org/golang.org/toolchain/@v/list",
                "list golang.org/toolchain",
            ),
            (
                "https://go.dev/dl/mod/golang.org/toolchain/@v/v0.0.1-go1.24.1.linux-amd64.zip",
                "toolchain v0.0.1-go1.24.1.linux-amd64",
            ),
            (
                "https://goproxy.cn/sumdb/sum.golang.org/supported",
                "sumdb-supported",
            ),
            (
                "https://sum.golang.org/lookup/github.com/spf13/cobra@v1.8.1",
                "lookup github.com/spf13/cobra@v1.8.1",
            ),
            (
                "https://sum.golang.google.cn/lookup/github.com/!azure/x@v1.0.0",
                "lookup github.com/Azure/x@v1.0.0",
            ),
            (
                "https://mirror.corp:8443/sums/lookup/a.b/c@v1.0.0",
                "lookup a.b/c@v1.0.0",
            ),
            (
                "https://goproxy.corp/api/go/sumdb/sum.golang.org/tile/8/0/x123/009.p/3",
                "tile/8/0/x123/009.p/3",
            ),
            ("https://sum.golang.org/tile/8/1/245", "tile/8/1/245"),
            (
                "https://corp.example/lib?go-get=1",
                "discovery corp.example/lib",
            ),
            (
                "https://corp.example/lib.git/info/refs?service=git-upload-pack",
                "vcs info/refs corp.example/lib",
            ),
            (
                "https://corp.example/lib/git-upload-pack",
                "vcs git-upload-pack corp.example/lib",
            ),
            ("https://example.com/a%20b?token=1", "/a b"),
        ] {
            assert_eq!(what(url), expected, "{url}");
        }
    }

    #[test]
    fn what_the_go_command_would_not_ask_is_other() {
        for url in [
            "https://goproxy.corp/api/golang.org/x/net/@v/v1.0.0.zip.asc",
            "https://goproxy.cn/golang.org/x/Net/@v/list",
            "https://goproxy.cn/nodot/x/@v/list",
            "https://goproxy.cn/api/go/golang.org/x/net/@v/list",
            "https://goproxy.cn/a.b/c/@v/v1.zip/x",
            "https://goproxy.cn/a.b/c/@v/.zip",
            "https://sum.golang.org/latest",
            "https://sum.golang.org/tile/8/data/000",
            "https://sum.golang.org/lookup/a.b/c",
            "https://corp.example/lib/info/refs?service=git-receive-pack",
            "https://corp.example/lib?go-get=0",
            "https://h/@v/list",
            "",
            "/",
            "://",
        ] {
            assert_eq!(Route::of(url, &bases()).kind, Kind::Other, "{url}");
            assert_eq!(replay_key(url, &bases()), None, "{url}");
        }
    }

    #[test]
    fn without_a_known_place_leading_elements_that_are_no_domain_are_dropped() {
        let route = Route::of(
            "https://any.corp/artifactory/api/go/golang.org/x/net/@v/list",
            &[],
        );
        assert_eq!(route.module.as_deref(), Some("golang.org/x/net"));
        let route = Route::of(
            "https://any.corp/api/go/sumdb/sum.golang.org/tile/8/0/001",
            &[],
        );
        assert_eq!(
            (route.kind, route.sumdb.as_deref()),
            (Kind::Tile, Some("sum.golang.org"))
        );
        let route = Route::of("https://any.corp/lookup/a.b/c@v1.0.0", &[]);
        assert_eq!((route.kind, route.sumdb), (Kind::Lookup, None));
    }

    #[test]
    fn the_longest_place_that_fits_wins() {
        let bases = GoProxy::parse("https://h.corp/go,https://h.corp/go/deep.repo").bases();
        let route = Route::of("https://h.corp/go/deep.repo/a.b/c/@v/list", &bases);
        assert_eq!(route.module.as_deref(), Some("a.b/c"));
    }

    #[test]
    fn one_module_request_has_one_key_wherever_it_is_sent() {
        let key = |url| replay_key(url, &bases());
        let same = [
            "https://goproxy.corp/api/go/github.com/%21a/b/@v/v1.2.3.zip",
            "https://user:secret@goproxy.cn/github.com/!a/b/@v/v1.2.3.zip?x=1",
            "http://elsewhere.corp:8080/github.com/!a/b/@v/v1.2.3.zip",
        ];
        for url in same {
            assert_eq!(
                key(url).as_deref(),
                Some("mod:github.com/A/b@v1.2.3.zip"),
                "{url}"
            );
        }
        let same = [
            "https://sum.golang.org/lookup/github.com/!a/b@v1.2.3",
            "https://sum.golang.google.cn/lookup/github.com/!a/b@v1.2.3",
            "https://goproxy.corp/api/go/sumdb/sum.golang.org/lookup/github.com/!a/b@v1.2.3",
        ];
        for url in same {
            let expected = "sumdb:sum.golang.org/lookup/github.com/A/b@v1.2.3";
            assert_eq!(key(url).as_deref(), Some(expected), "{url}");
        }
        let own = key("https://mirror.corp:8443/sums/tile/8/0/001.p/4").unwrap();
        assert_eq!(own, "sumdb:sums.corp/db/tile/8/0/001.p/4");
        assert_eq!(
            key("https://goproxy.cn/sumdb/sums.corp/db/tile/8/0/001.p/4"),
            Some(own)
        );
    }

    #[test]
    fn different_requests_have_different_keys() {
        let urls = [
            "https://goproxy.cn/a.b/c/@v/list",
            "https://goproxy.cn/a.b/c/@latest",
            "https://goproxy.cn/a.b/c/@v/list.info",
            "https://goproxy.cn/a.b/c/@v/latest.info",
            "https://goproxy.cn/a.b/c/@v/v1.0.0.info",
            "https://goproxy.cn/a.b/c/@v/v1.0.0.mod",
            "https://goproxy.cn/a.b/!c/@v/v1.0.0.mod",
            "https://goproxy.cn/sumdb/sum.golang.org/supported",
            "https://goproxy.cn/sumdb/sum.golang.org/tile/8/0/001",
            "https://goproxy.cn/sumdb/sum.golang.org/tile/8/0/001.p/1",
            "https://goproxy.cn/sumdb/sums.corp/tile/8/0/001",
        ];
        let keys: std::collections::BTreeSet<_> = urls
            .iter()
            .map(|url| replay_key(url, &bases()).unwrap())
            .collect();
        assert_eq!(keys.len(), urls.len());
    }

    #[test]
    fn what_is_shown_is_short_and_steers_no_terminal() {
        let shown = what(&format!("https://h/%1b[31m%0a%e2%80%ae{}", "a".repeat(500)));
        assert_eq!(&shown[..29], "/\\u{1b}[31m\\u{a}\\u{202e}aaaaa");
        assert!(shown.chars().count() < 230 && shown.ends_with('…'));
        assert!(!what("https://h\u{1b}x/lib?go-get=1").contains('\u{1b}'));
    }

    proptest! {
        #[test]
        fn any_text_has_a_route(url in any::<String>()) {
            let shown = Route::of(&url, &bases()).what();
            prop_assert!(!shown.chars().any(char::is_control));
        }

        #[test]
        fn texts_like_module_urls_have_a_route(url in "(https?://)?[a-z.@:]{0,9}(/(sumdb|sum.golang.org|lookup|tile|8|@v|@latest|list|supported|a\\.b|!c|%21c|x001|001\\.p|3)){0,9}(\\.zip)?([?](go-get=1)?)?") {
            let route = Route::of(&url, &bases());
            prop_assert_eq!(route.kind == Kind::Tile, route.tile.is_some());
            prop_assert!(!route.what().is_empty());
        }
    }
}
