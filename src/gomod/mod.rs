//! What a URL means to the go command: routes, escaping, tiles, and the values of GOPROXY and GOSUMDB;
//! and what the answers must be like.
//!
//! It knows URLs, names and contents, not traffic: no socket, no clock, no header. It never refuses a
//! URL; what it does not understand is [`Kind::Other`]. Sources: the Go modules reference (section
//! "Module proxies"), `golang.org/x/mod/module`, `golang.org/x/mod/sumdb` and cmd/go's `modfetch`.

#[cfg(any(test, fuzzing))]
pub mod check;
mod content;
mod escape;
mod goproxy;
mod gosumdb;
mod kind;
mod location;
mod lookup;
mod module_zip;
mod path;
mod reading;
mod route;
mod tile;
mod version;

use std::collections::BTreeMap;

pub(crate) use content::TEXT_LIMIT;
pub use content::check_content;
pub(crate) use escape::{escape_path, escape_version, unescape_path, unescape_version};
pub(crate) use goproxy::{Base, GoProxy, ProxyTarget, Separator};
pub(crate) use gosumdb::GoSumDb;
pub use kind::Kind;
pub(crate) use location::Location;
pub(crate) use location::{canonical, redirect_target};
pub use lookup::Lookup;
pub use module_zip::ModuleZip;
pub use module_zip::go_mod_h1;
pub(crate) use path::check_path;
pub use route::Route;
pub(crate) use route::replay_key;
pub(crate) use tile::Tile;
pub(crate) use version::{is_canonical_version, is_pseudo_version};

/// The hosts whose traffic is intercepted without being asked for.
///
/// To these the hosts of the effective GOPROXY and GOSUMDB are added. `storage.googleapis.com` is
/// where proxy.golang.org redirects zips to; `go.dev` and `golang.org` serve toolchains and discovery.
pub(crate) const DEFAULT_HOSTS: [&str; 8] = [
    "proxy.golang.org",
    "sum.golang.org",
    "sum.golang.google.cn",
    "goproxy.cn",
    "goproxy.io",
    "storage.googleapis.com",
    "go.dev",
    "golang.org",
];

/// The module path of Go toolchains, which cmd/go downloads like any module (`cmd/go/internal/gover`).
pub(crate) const TOOLCHAIN_MODULE: &str = "golang.org/toolchain";

/// Where the entries of GOPROXY and the checksum database of these Go settings lie: what makes a URL
/// below one of them a module request.
pub(crate) fn bases(go_env: &BTreeMap<String, String>) -> Vec<Base> {
    let value = |name: &str| go_env.get(name).map_or("", String::as_str);
    let mut bases = GoProxy::parse(value("GOPROXY")).bases();
    let sumdb = value("GOSUMDB").parse::<GoSumDb>().ok();
    bases.extend(sumdb.and_then(|sumdb| sumdb.base()));
    bases
}
