//! What a URL means to the go command: routes, escaping, tiles, and the values of GOPROXY and GOSUMDB;
//! what the answers must be like; and what the words of a go command tell it to do.
//!
//! It knows URLs, names and contents, not traffic: no socket, no clock, no header. It never refuses a
//! URL; what it does not understand is [`Kind::Other`]. Sources: the Go modules reference (section
//! "Module proxies"), `golang.org/x/mod/module`, `golang.org/x/mod/sumdb` and cmd/go's `modfetch`.

#[cfg(any(test, fuzzing))]
pub mod check;
mod content;
mod front;
mod go_command;
mod go_mod;
mod go_sum;
mod go_version;
mod kind;
mod location;
mod lookup;
mod module_path;
mod module_zip;
mod netrc;
mod patterns;
mod proxy_mistakes;
mod route;
mod settings;
mod tile;
mod version;

pub use content::check_content;
pub(crate) use content::{ContentFault, RevInfo, TEXT_LIMIT, is_html};
pub(crate) use front::{DatabaseRequest, Front};
pub(crate) use go_command::{go_words, is_go, modfile};
pub(crate) use go_mod::{GoMod, ModuleVersion, Replacement};
pub(crate) use go_sum::{GoSum, Malformed};
pub(crate) use go_version::{compare_go, takes_forged_tiles};
pub use kind::Kind;
pub(crate) use location::Location;
pub(crate) use location::{REDIRECTS, canonical, redirect_target};
pub use lookup::Lookup;
pub(crate) use module_path::{
    check_path, escape_path, escape_version, unescape_path, unescape_version,
};
pub use module_zip::ModuleZip;
pub(crate) use module_zip::ZIP_LIMIT;
pub use module_zip::go_mod_h1;
pub(crate) use netrc::{MachineRule, Netrc};
pub(crate) use patterns::{
    PATTERN_SETTINGS, corrected_patterns, matches_patterns, pattern_mistakes,
};
pub(crate) use proxy_mistakes::{ProxyMistake, corrected_goproxy, goproxy_mistakes};
pub use route::Route;
pub(crate) use route::{TOOLCHAIN_MODULE, replay_key};
pub(crate) use settings::{Base, DEFAULT_HOSTS, GoProxy, GoSumDb, ProxyTarget, Separator, bases};
pub(crate) use tile::Coordinate;
pub use tile::Tile;
pub(crate) use version::{
    compare_versions, is_canonical_version, is_pseudo_version, latest_version,
};
