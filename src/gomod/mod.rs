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

pub use content::{ContentFault, TEXT_LIMIT, check_content};
pub use escape::{EscapeError, escape_path, escape_version, unescape_path, unescape_version};
pub use goproxy::{Base, GoProxy, ProxyEntry, ProxyTarget, Separator};
pub use gosumdb::{GoSumDb, GoSumDbError};
pub use kind::{Kind, KindError};
pub use location::Location;
pub(crate) use location::{canonical, redirect_target};
pub use lookup::{Lookup, Sums};
pub use module_zip::{ModuleZip, ZipFault, go_mod_h1};
pub use path::{PathFault, check_path};
pub use route::{Route, replay_key};
pub use tile::Tile;
pub use version::{is_canonical_version, is_pseudo_version};

/// The hosts whose traffic is intercepted without being asked for.
///
/// To these the hosts of the effective GOPROXY and GOSUMDB are added. `storage.googleapis.com` is
/// where proxy.golang.org redirects zips to; `go.dev` and `golang.org` serve toolchains and discovery.
pub const DEFAULT_HOSTS: [&str; 8] = [
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
pub const TOOLCHAIN_MODULE: &str = "golang.org/toolchain";
