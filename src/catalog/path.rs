//! Where the answer to a request lies below the folder of a module proxy.
//!
//! Each path is put together anew from what the request means, in the alphabet of module paths: none is
//! taken from a recording.

use crate::gomod::{Kind, Route, check_path, escape_path, escape_version};

/// Bytes of a file's name: what file systems take.
pub(super) const NAME_LIMIT: usize = 255;

/// Bytes of a path below the folder: with the folder's own it stays below Linux's `PATH_MAX`.
const PATH_LIMIT: usize = 2_000;

/// Why a request has no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    #[error("the name of its checksum database is not a valid path")]
    Database,
    #[error("its path is too long for a file")]
    Length,
    #[error("its path cannot be that of a file")]
    Escape,
}

/// Where the answer to a request lies below the folder; `None` for what no module proxy serves.
pub(super) fn path(route: &Route) -> Option<Result<String, PathError>> {
    let module = route.module.as_deref().map(escape_path);
    let version = route.version.as_deref().map(escape_version);
    let (module, version) = match (module.transpose(), version.transpose()) {
        (Ok(module), Ok(version)) => (module.unwrap_or_default(), version.unwrap_or_default()),
        // Discovery and git ask for whatever they like.
        _ if tail(route, "", "").is_none() => return None,
        _ => return Some(Err(PathError::Escape)),
    };
    let tail = tail(route, &module, &version)?;
    let path = match (&route.sumdb, route.kind) {
        (Some(name), Kind::SumdbSupported | Kind::Lookup | Kind::Tile) if is_database(name) => {
            format!("sumdb/{name}/{tail}")
        }
        (_, Kind::SumdbSupported | Kind::Lookup | Kind::Tile) => {
            return Some(Err(PathError::Database));
        }
        _ => format!("{module}/{tail}"),
    };
    let fits = path.len() <= PATH_LIMIT && path.split('/').all(|name| name.len() <= NAME_LIMIT);
    Some(fits.then_some(path).ok_or(PathError::Length))
}

/// Where the answer to a request lies below a module proxy, where it can lie in a folder.
pub(crate) fn file_path(route: &Route) -> Option<String> {
    path(route)?.ok()
}

/// The part of a path behind the module or the database.
fn tail(route: &Route, module: &str, version: &str) -> Option<String> {
    match route.kind {
        Kind::List => Some("@v/list".into()),
        Kind::Latest => Some("@latest".into()),
        Kind::Info => Some(format!("@v/{version}.info")),
        Kind::Mod => Some(format!("@v/{version}.mod")),
        Kind::Zip | Kind::Toolchain => Some(format!("@v/{version}.zip")),
        Kind::SumdbSupported => Some("supported".into()),
        Kind::Lookup => Some(format!("lookup/{module}@{version}")),
        Kind::Tile => route.tile.map(|tile| tile.to_string()),
        Kind::Discovery | Kind::Vcs | Kind::Other => None,
    }
}

/// Can a checksum database of that name have a folder? Not if that were another's file.
fn is_database(name: &str) -> bool {
    let is_ours = |element| matches!(element, "supported" | "lookup" | "tile");
    check_path(name).is_ok() && !name.split('/').any(is_ours)
}

/// Where a file of a module lies.
pub(crate) fn module_path(kind: Kind, module: &str, version: Option<&str>) -> Option<String> {
    let route = Route {
        kind,
        module: Some(module.into()),
        version: version.map(str::to_owned),
        tile: None,
        sumdb: None,
        path: String::new(),
    };
    path(&route)?.ok()
}

/// What the paths of a module's files begin with, and no other's.
pub(super) fn folder(module: &str) -> Option<String> {
    Some(format!("{}/@", escape_path(module).ok()?))
}
