//! What holds for any URL, module path, version, tile and answer: for fuzz targets and their twins.

use std::cmp::Ordering;

use super::module_path::{unescape_path, unescape_version};
use super::{
    Base, Front, GoMod, GoProxy, GoSumDb, Kind, Location, Lookup, ModuleVersion, ModuleZip, Route,
    Tile, check_content, check_path, compare_versions, escape_path, escape_version,
    is_canonical_version, replay_key,
};

/// What a request is shown as is at most so many characters: 200, each escaped as `\u{10ffff}`.
const SHOWN_AT_MOST: usize = 200 * 10 + 64;

/// The lines of a text as URLs, module paths, versions, tiles and values of GOPROXY and GOSUMDB:
/// what is taken is written back the same, and nothing steers a terminal.
pub fn url(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        route(&text);
        escapes(&text);
        settings(&text);
        front(&text);
        if let Some(tile) = Tile::parse(&text) {
            assert_eq!(tile.to_string(), *text);
            assert!(tile.is_cut_from(&tile.full()) && tile.len_bytes() <= 32 << 15);
        }
    }
}

/// A path leads below its entry or nowhere, and a list keeps its shape.
fn front(text: &str) {
    let known = Front::new("https://a.example/x|http://b.example?k=1", "sum.golang.org");
    if let Ok(asked) = known.asked(text) {
        let places = ["https://a.example/x/", "http://b.example/"];
        let rest = asked.url.strip_prefix(places[asked.place]);
        let path = rest.and_then(|rest| rest.split('?').next());
        let mut elements = path.expect("it is below its entry").split('/');
        assert!(!elements.any(|element| matches!(element, "." | "..")));
    }
    let shown = Front::new(text, text).goproxy("http://127.0.0.1:1");
    let (shown, list) = (GoProxy::parse(&shown), GoProxy::parse(text));
    let separators =
        |list: &GoProxy| -> Vec<_> { list.entries.iter().map(|entry| entry.separator).collect() };
    assert_eq!(separators(&shown), separators(&list), "{text:?}");
}

/// The first line as a URL, and what stands behind it as the answer: a fault is described in one line that
/// steers no terminal, and what is sound has a hash.
pub fn answer(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (url, content) = bytes.split_at(end.unwrap_or(bytes.len()));
    let content = content.get(1..).unwrap_or_default();
    let route = Route::of(&String::from_utf8_lossy(url), &bases());
    let is_shown = |fault: &str| {
        assert!(!fault.chars().any(char::is_control), "{fault:?}");
        assert!(fault.chars().count() <= SHOWN_AT_MOST, "{fault:?}");
    };
    if let Err(fault) = check_content(&route, content) {
        is_shown(&fault.to_string());
    }
    if let Some(lookup) = Lookup::parse(content) {
        assert!(content.ends_with(lookup.note));
    }
    let (Some(module), Some(version)) = (&route.module, &route.version) else {
        return;
    };
    let zip = ModuleZip::open(content, content.len() as u64, module, version);
    match zip.and_then(|zip| zip.h1()) {
        Ok(h1) => assert!(h1.starts_with("h1:") && h1.len() == 47, "{h1}"),
        Err(fault) => is_shown(&fault.to_string()),
    }
}

/// A go.mod file: whatever it holds, what is read of it has versions that can be compared, and each line
/// by itself is read as it is in the whole.
pub fn go_mod(bytes: &[u8]) {
    let file = GoMod::parse(bytes);
    let of_requirements = file.require.iter().map(|line| &line.of);
    for of in of_requirements.chain(&file.exclude) {
        assert!(is_canonical_version(&of.version), "{of:?}");
        assert_eq!(compare_versions(&of.version, &of.version), Ordering::Equal);
    }
    for retracted in &file.retract {
        assert!(is_canonical_version(&retracted.low) && is_canonical_version(&retracted.high));
    }
    // Written out without blocks and comments, it says the same.
    let mut text = String::new();
    let mut is_plain = true;
    for line in &file.require {
        let ModuleVersion { path, version } = &line.of;
        is_plain &= !path.is_empty() && !path.contains(|c: char| !c.is_ascii_graphic());
        is_plain &= !path.contains(['"', '`', '(', ')', '[', ']', '{', '}', ',']);
        is_plain &= !path.contains("//") && !path.contains("/*") && !path.starts_with("=>");
        let indirect = if line.is_indirect { " // indirect" } else { "" };
        text.push_str(&format!("require {path} {version}{indirect}\n"));
    }
    if is_plain {
        assert_eq!(GoMod::parse(text.as_bytes()).require, file.require);
    }
}

fn bases() -> Vec<Base> {
    let goproxy = "https://proxy.golang.org,https://goproxy.corp/api/go|direct";
    let mut bases = GoProxy::parse(goproxy).bases();
    bases.extend(
        "sum.golang.org"
            .parse::<GoSumDb>()
            .ok()
            .and_then(|sumdb| sumdb.base()),
    );
    bases
}

fn route(text: &str) {
    let location = Location::of(text);
    assert!(
        !location.host.contains(['/', '@'])
            && !location.host.bytes().any(|c| c.is_ascii_uppercase())
    );
    for bases in [&bases()[..], &[]] {
        let route = Route::of(text, bases);
        assert_eq!(route.tile.is_some(), route.kind == Kind::Tile);
        assert_eq!(route.path, location.path);
        let what = route.what();
        assert!(!what.chars().any(char::is_control), "{what:?}");
        assert!(what.chars().count() <= SHOWN_AT_MOST);
        let is_module = !matches!(route.kind, Kind::Other | Kind::Vcs | Kind::Discovery);
        if replay_key(text, bases).is_some() {
            assert!(is_module, "{route:?}");
        }
        if matches!(
            route.kind,
            Kind::List | Kind::Latest | Kind::Info | Kind::Mod | Kind::Zip
        ) {
            // What is called a module is one: nothing else gets into a path that is made of it.
            let module = route.module.as_deref().unwrap_or_default();
            assert_eq!(check_path(module), Ok(()), "{route:?}");
        }
    }
}

fn escapes(text: &str) {
    if let Ok(path) = unescape_path(text) {
        assert_eq!(escape_path(&path).as_deref(), Ok(text));
        let is_safe =
            |part: &str| !part.is_empty() && part != "." && part != ".." && !part.starts_with('-');
        assert!(path.split('/').take(1).all(is_safe) && !path.contains(['\\', '\0', ':', '%']));
        assert!(
            path.split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..")
        );
    }
    if let Ok(escaped) = escape_path(text) {
        assert_eq!(unescape_path(&escaped).as_deref(), Ok(text));
        assert!(!escaped.bytes().any(|c| c.is_ascii_uppercase()));
    }
    if let Ok(version) = unescape_version(text) {
        assert_eq!(escape_version(&version).as_deref(), Ok(text));
        assert!(!version.contains(['/', '\\', '\0', ':']) && version != "." && version != "..");
    }
    if let Ok(escaped) = escape_version(text) {
        assert_eq!(unescape_version(&escaped).as_deref(), Ok(text));
    }
}

fn settings(text: &str) {
    let goproxy = GoProxy::parse(text);
    for base in goproxy.bases() {
        assert!(!base.host.is_empty() && !base.path.ends_with('/'));
    }
    if let Ok(sumdb) = text.parse::<GoSumDb>() {
        let _ = sumdb.base();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_url_module_path_version_and_tile_is_written_back_as_it_was_taken() {
        crate::hostile::twin("url_and_module_path", 1_500, super::url);
    }

    #[test]
    fn any_go_mod_is_read() {
        crate::hostile::twin("go_mod", 1_500, super::go_mod);
    }

    #[test]
    fn any_answer_is_judged_in_one_line() {
        crate::hostile::twin("answer", 1_500, super::answer);
    }
}
