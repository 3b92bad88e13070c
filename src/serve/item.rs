//! What a request asks a module proxy for.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;

use super::private::Asker;
use crate::catalog::file_path;
use crate::exchange::Hex;
use crate::gomod::{Kind, Route, is_canonical_version};

/// One thing that a module proxy has an answer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) route: Route,
    /// Its path below a module proxy, put together anew from what the request means: without a slash at the
    /// beginning, in the alphabet of module paths.
    path: String,
    /// In whose name upstream is asked, if it judges each client by itself.
    asker: Option<Asker>,
    /// The address of the client that asks; `None` if nobody has asked for it yet.
    client: Option<IpAddr>,
}

/// Why a path asks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAnItem {
    /// Servers disagree on what such a path means, so that rules by path could be got round.
    #[error(
        "the path has an empty element, an element of dots, or a slash or control character in an element"
    )]
    Ambiguous,
    /// Another path.
    #[error("no module proxy serves this path: https://go.dev/ref/mod#goproxy-protocol")]
    Unknown,
}

/// How long an answer is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// For ever, once it is proved.
    Immutable,
    /// Until somebody publishes a version, or moves a branch.
    Mutable,
}

impl Item {
    /// What the path of a URL asks for; `path` begins with a slash and has no query.
    pub(crate) fn of_path(path: &str) -> Result<Self, NotAnItem> {
        let elements = path.strip_prefix('/').ok_or(NotAnItem::Unknown)?;
        let mut decoded = String::with_capacity(elements.len());
        for (place, element) in elements.split('/').enumerate() {
            let element = percent_decode_str(element).decode_utf8();
            let element = element.map_err(|_| NotAnItem::Ambiguous)?;
            let is_odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
            if matches!(&*element, "" | "." | "..") || element.contains(is_odd) {
                return Err(NotAnItem::Ambiguous);
            }
            if place > 0 {
                decoded.push('/');
            }
            decoded.push_str(&element);
        }
        Self::of_route(Route::below_a_proxy(&decoded))
    }

    /// What a route stands for.
    pub(crate) fn of_route(route: Route) -> Result<Self, NotAnItem> {
        let path = file_path(&route).ok_or(NotAnItem::Unknown)?;
        Ok(Self {
            route,
            path,
            asker: None,
            client: None,
        })
    }

    /// A file of a module version.
    pub(crate) fn of_version(kind: Kind, module: &str, version: &str) -> Option<Self> {
        Self::of_route(Route::of_version(kind, module, version)).ok()
    }

    /// The same, asked for in the name of a client.
    pub(super) fn asked_by(self, asker: Asker) -> Self {
        let asker = Some(asker);
        Self { asker, ..self }
    }

    /// The same, asked for by a client of that address.
    pub(super) fn asked_from(self, client: IpAddr) -> Self {
        let client = Some(client);
        Self { client, ..self }
    }

    /// The address of the client that asks, if one does.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// What tells its request upstream from others: nobody joins one that is made in another client's name.
    pub(super) fn flight_name(&self) -> Cow<'_, str> {
        match &self.asker {
            Some(asker) => Cow::Owned(format!("{}?{}", self.path, Hex(asker.mark))),
            None => Cow::Borrowed(&self.path),
        }
    }

    /// Its name in the tiers. What can change may be another thing to each client.
    pub(super) fn kept_name(&self) -> Cow<'_, str> {
        match self.life() {
            Life::Mutable => self.flight_name(),
            Life::Immutable => Cow::Borrowed(&self.path),
        }
    }

    pub(super) fn asker(&self) -> Option<&Asker> {
        self.asker.as_ref()
    }

    pub(crate) fn kind(&self) -> Kind {
        self.route.kind
    }

    /// Its path below a module proxy, which is also its name in the tiers.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn module(&self) -> &str {
        self.route.module.as_deref().unwrap_or_default()
    }

    pub(crate) fn version(&self) -> &str {
        self.route.version.as_deref().unwrap_or_default()
    }

    pub(crate) fn life(&self) -> Life {
        match self.kind() {
            Kind::Mod | Kind::Zip | Kind::Toolchain | Kind::Lookup | Kind::Tile => Life::Immutable,
            Kind::Info if is_canonical_version(self.version()) => Life::Immutable,
            _ => Life::Mutable,
        }
    }

    /// Whether it may be large: it is passed on as it comes.
    pub(crate) fn is_zip(&self) -> bool {
        matches!(self.kind(), Kind::Zip | Kind::Toolchain)
    }

    pub(crate) fn content_type(&self) -> &'static str {
        match self.kind() {
            Kind::Info | Kind::Latest => "application/json",
            Kind::Zip | Kind::Toolchain => "application/zip",
            Kind::Tile => "application/octet-stream",
            _ => "text/plain; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(of: &str) -> Result<String, NotAnItem> {
        Item::of_path(of).map(|item| item.path)
    }

    #[test]
    fn one_thing_has_one_name() {
        for (asked, expected) in [
            ("/rsc.io/quote/@v/list", "rsc.io/quote/@v/list"),
            ("/rsc.io/quote/@latest", "rsc.io/quote/@latest"),
            (
                "/github.com/%21azure/x/@v/v1.0.0.info",
                "github.com/!azure/x/@v/v1.0.0.info",
            ),
            (
                "/github.com/!azure/x/@v/v1.0.0%2Bincompatible.mod",
                "github.com/!azure/x/@v/v1.0.0+incompatible.mod",
            ),
            (
                "/sumdb/sum.golang.org/tile/8/0/x001/x234/067.p/3",
                "sumdb/sum.golang.org/tile/8/0/x001/x234/067.p/3",
            ),
            (
                "/sumdb/sum.golang.org/lookup/rsc.io/quote@v1.5.2",
                "sumdb/sum.golang.org/lookup/rsc.io/quote@v1.5.2",
            ),
        ] {
            assert_eq!(path(asked).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_path_that_servers_disagree_on_asks_for_nothing() {
        for asked in [
            "/rsc.io//quote/@v/list",
            "/rsc.io/../quote/@v/list",
            "/rsc.io/%2e%2e/quote/@v/list",
            "/rsc.io/./quote/@v/list",
            "/rsc.io%2Fquote/@v/list",
            "/rsc.io%5cquote/@v/list",
            "/rsc.io/quote/@v/v1.0.0%00.mod",
            "//",
        ] {
            assert_eq!(path(asked), Err(NotAnItem::Ambiguous), "{asked}");
        }
        for asked in [
            "/favicon.ico",
            "/rsc.io/quote",
            "",
            "/rsc.io/quote/@v/x.exe",
        ] {
            assert!(path(asked).is_err(), "{asked}");
        }
    }

    #[test]
    fn what_can_change_is_known() {
        let life = |path| Item::of_path(path).expect("an item").life();
        assert_eq!(life("/a.b/c/@v/v1.0.0.info"), Life::Immutable);
        assert_eq!(life("/a.b/c/@v/main.info"), Life::Mutable);
        assert_eq!(life("/a.b/c/@v/v1.info"), Life::Mutable);
        assert_eq!(life("/a.b/c/@v/list"), Life::Mutable);
        assert_eq!(life("/a.b/c/@v/v1.0.0.zip"), Life::Immutable);
    }
}
