//! How a path is read: which of cmd/go's requests it can be.

use super::gosumdb::well_known;
use super::{Base, Kind, Location, Route, TOOLCHAIN_MODULE, Tile, unescape_path, unescape_version};

/// How many leading elements may belong to a module proxy that was not named: real ones have up to
/// six, and each is a further reading of the path.
const UNKNOWN_BASE: usize = 8;

const INFO_REFS: &str = "/info/refs";
pub(super) const UPLOAD_PACK: &str = "/git-upload-pack";

/// `?go-get=1`, and git's smart protocol over HTTP (git's `http-protocol` documentation).
pub(super) fn discovery_or_vcs(location: &Location<'_>) -> Option<Route> {
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

pub(super) fn below_a_base(location: &Location<'_>, bases: &[Base]) -> Option<Route> {
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
    if let Some(name) = rest.strip_suffix("/supported") {
        return Some(Route {
            sumdb: Some(name.to_owned()),
            ..Route::new(Kind::SumdbSupported)
        });
    }
    let end = ["/lookup/", "/tile/"]
        .iter()
        .filter_map(|marker| rest.find(marker))
        .min()?;
    database_request(&rest[end + 1..], Some(&rest[..end]))
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
