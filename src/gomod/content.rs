//! Whether an answer is what it was asked for: the shapes of what a module proxy and a checksum
//! database serve, as the go command reads them.
//!
//! As lenient as cmd/go (`modfetch.proxyRepo`, `modfile.ParseLax`, `sumdb.ParseRecord`): a fault is
//! what no go command could use. Zips are [`super::ModuleZip`]'s. Signatures and proofs are not
//! judged here.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::kind::Kind;
use super::lookup::Lookup;
use super::route::Route;
use super::version::is_canonical_version;

/// The largest answer of any kind but a zip, bytes (`golang.org/x/mod/zip.MaxGoMod`).
pub(crate) const TEXT_LIMIT: u64 = 16 << 20;

/// How much of what an answer says is repeated, characters.
const SHOWN: usize = 80;

/// Why an answer is not what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ContentFault {
    #[error("it is an HTML page")]
    Html,
    #[error("it is larger than {} MiB", TEXT_LIMIT >> 20)]
    TooLarge,
    #[error("it is not the JSON that the go command reads: {0}")]
    Json(serde_json::Error),
    #[error("it names no version")]
    NoVersion,
    #[error("it is about version {0:?}")]
    OtherVersion(String),
    #[error("its time is {0:?}")]
    Time(String),
    #[error("it has no module directive")]
    NoModule,
    #[error("none of its lines begins with a version")]
    NoVersions,
    #[error("it is not a record with a signed tree head")]
    Lookup,
    #[error("its record is about another module or version")]
    OtherRecord,
    #[error("it has {found} bytes, and a tile of this width has {expected}")]
    TileLength { found: usize, expected: usize },
}

/// Checks the whole content of an answer with status 200, content codings undone.
pub fn check_content(route: &Route, content: &[u8]) -> Result<(), ContentFault> {
    if content.len() as u64 > TEXT_LIMIT {
        return Err(ContentFault::TooLarge);
    }
    let checked = match route.kind {
        Kind::Info => info(content).and_then(|info| fits(route, &info.version)),
        Kind::Latest => info(content).map(drop),
        Kind::Mod => match declares_module(content) {
            true => Ok(()),
            false => Err(ContentFault::NoModule),
        },
        Kind::List => list(content),
        Kind::Lookup => lookup(route, content),
        Kind::Tile => tile(route, content),
        Kind::Zip | Kind::Toolchain | Kind::SumdbSupported => Ok(()),
        Kind::Discovery | Kind::Vcs | Kind::Other => Ok(()),
    };
    checked.map_err(|fault| match is_html(content) {
        true => ContentFault::Html,
        false => fault,
    })
}

/// What a portal or a login page answers: none of the formats begins so.
pub(crate) fn is_html(content: &[u8]) -> bool {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    content.trim_ascii_start().starts_with(b"<")
}

/// What an `.info` or `@latest` says (`modfetch.RevInfo`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RevInfo {
    /// The canonical version.
    pub(crate) version: String,
    /// When its commit was made.
    pub(crate) time: Option<OffsetDateTime>,
}

impl RevInfo {
    /// Reads an answer; `None` where the go command could not.
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        info(content).ok()
    }
}

/// Keys are read as `encoding/json` does, in any case.
fn info(content: &[u8]) -> Result<RevInfo, ContentFault> {
    let text = String::from_utf8_lossy(content);
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(&text).map_err(ContentFault::Json)?;
    let field = |name: &str| -> Result<Option<String>, ContentFault> {
        let mut found = fields
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.get()).unwrap_or("null");
        serde_json::from_str(value).map_err(ContentFault::Json)
    };
    let time = field("time")?.map(|time| {
        let parsed = OffsetDateTime::parse(&time, &Rfc3339);
        parsed.map_err(|_| ContentFault::Time(shown(&time)))
    });
    let time = time.transpose()?;
    let version = field("version")?.filter(|version| !version.is_empty());
    let version = version.ok_or(ContentFault::NoVersion)?;
    Ok(RevInfo { version, time })
}

/// A version gets no other's information; a branch or a commit gets that of the version it means.
fn fits(route: &Route, version: &str) -> Result<(), ContentFault> {
    match route.version.as_deref() {
        Some(asked) if is_canonical_version(asked) && asked != version => {
            Err(ContentFault::OtherVersion(shown(version)))
        }
        _ => Ok(()),
    }
}

/// Whether a go.mod has a module directive, in a line or in a block. Which module it names is not
/// asked: a fork that replaces a module keeps its name.
fn declares_module(content: &[u8]) -> bool {
    let mut lines = content.split(|byte| *byte == b'\n').map(|line| {
        let comment = line.windows(2).position(|pair| pair == b"//");
        line[..comment.unwrap_or(line.len())].trim_ascii()
    });
    let directive = lines.by_ref().find_map(|line| {
        let rest = line.strip_prefix(b"module")?;
        rest.first()
            .is_some_and(|next| b" \t(\"`".contains(next))
            .then_some(rest)
    });
    let path = match directive.map(<[u8]>::trim_ascii) {
        Some(b"(") => lines.find(|line| !line.is_empty()),
        path => path,
    };
    let is_path = |path: &[u8]| {
        let quoted = matches!(path, [b'"', .., b'"'] | [b'`', .., b'`']);
        !path.is_empty() && path != b")" && (quoted || !path.iter().any(u8::is_ascii_whitespace))
    };
    path.is_some_and(is_path)
}

/// The versions of a module, a line each; what stands behind one is ignored, as are lines without.
fn list(content: &[u8]) -> Result<(), ContentFault> {
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut lines = lines.filter(|line| !line.is_empty()).peekable();
    let is_version = |line: &[u8]| matches!(line, [b'v', b'0'..=b'9', ..]);
    match lines.peek().is_none() || lines.any(is_version) {
        true => Ok(()),
        false => Err(ContentFault::NoVersions),
    }
}

fn lookup(route: &Route, content: &[u8]) -> Result<(), ContentFault> {
    let lookup = Lookup::parse(content).ok_or(ContentFault::Lookup)?;
    let (module, version) = (route.module.as_deref(), route.version.as_deref());
    let sums = lookup.sums(module.unwrap_or_default(), version.unwrap_or_default());
    match sums.zip.or(sums.go_mod) {
        Some(_) => Ok(()),
        None => Err(ContentFault::OtherRecord),
    }
}

fn tile(route: &Route, content: &[u8]) -> Result<(), ContentFault> {
    let found = content.len();
    match route.tile.map(|tile| tile.len_bytes()) {
        Some(expected) if expected != found => Err(ContentFault::TileLength { found, expected }),
        _ => Ok(()),
    }
}

/// The beginning of a text from outside.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with an answer of proxy.golang.org or sum.golang.org, if anything.
    fn fault(path: &str, content: &[u8]) -> Option<String> {
        let host = match path.starts_with("/lookup") || path.starts_with("/tile") {
            true => "sum.golang.org",
            false => "proxy.golang.org",
        };
        let route = Route::of(&format!("https://{host}{path}"), &[]);
        assert_ne!(route.kind, Kind::Other, "{path}");
        let checked = check_content(&route, content);
        checked.err().map(|fault| fault.to_string())
    }

    const INFO: &str = "/a.b/c/@v/v1.0.0.info";
    const MOD: &str = "/a.b/c/@v/v1.0.0.mod";
    const LIST: &str = "/a.b/c/@v/list";
    const LOOKUP: &str = "/lookup/a.b/c@v1.0.0";

    #[test]
    fn what_the_go_command_takes_is_sound() {
        let note = "go.sum database tree\n3\naGFzaA==\n\n\u{2014} sum.golang.org sig\n";
        let both = format!("7\na.b/c v1.0.0 h1:x=\na.b/c v1.0.0/go.mod h1:y=\n\n{note}");
        let toolchain = format!("7\na.b/c v1.0.0 h1:x=\n\n{note}");
        for (path, content) in [
            (
                INFO,
                r#"{"Version":"v1.0.0","Time":"2019-10-16T16:15:28Z"}"#,
            ),
            (INFO, r#"{"version":"v1.0.0"}"#),
            (
                INFO,
                "{\"Version\":\"v1.0.0\",\"Time\":null,\"Origin\":{\"N\":1e999}}\n",
            ),
            (
                "/a.b/c/@v/main.info",
                r#"{"Version":"v0.0.0-20220722155237-a158d28d115b"}"#,
            ),
            (
                "/a.b/c/@latest",
                r#"{"Version":"v9.0.0","Time":"2019-10-16T16:15:28.5+02:00"}"#,
            ),
            (MOD, "module a.b/c\n"),
            (
                MOD,
                "// a comment\r\n\r\nmodule \"a.b/c\" // another\r\ngo 1.20\r\n",
            ),
            (MOD, "module (\n\n\ta.b/c // why not\n)\n"),
            // A fork that is used in place of the original.
            (MOD, "module github.com/original/c\nunknown directive (\n"),
            (LIST, ""),
            (LIST, "\n"),
            (LIST, "v1.0.0\nv1.1.0 2020-01-01T00:00:00Z\nnonsense\n"),
            (LOOKUP, &both),
            (LOOKUP, &toolchain),
            ("/sumdb/sum.golang.org/supported", "<html>"),
        ] {
            assert_eq!(fault(path, content.as_bytes()), None, "{path} {content}");
        }
        for (path, bytes) in [("/tile/8/0/001", 256 * 32), ("/tile/8/0/001.p/3", 96)] {
            assert_eq!(fault(path, &vec![b'<'; bytes]), None);
        }
    }

    #[test]
    fn an_html_page_is_no_answer_of_any_kind() {
        let page = "\n<!doctype html><title>Sign in</title><form>module a.b/c</form>\n";
        for path in [INFO, MOD, LIST, LOOKUP, "/a.b/c/@latest", "/tile/8/0/001"] {
            let fault = fault(path, page.as_bytes());
            assert_eq!(fault.as_deref(), Some("it is an HTML page"), "{path}");
        }
    }

    #[test]
    fn what_no_go_command_can_use_is_told() {
        for (path, content, expected) in [
            (
                INFO,
                r#"{"Version":"v1.0.1"}"#,
                "it is about version \"v1.0.1\"",
            ),
            (
                INFO,
                r#"{"Time":"2019-10-16T16:15:28Z"}"#,
                "it names no version",
            ),
            (
                INFO,
                r#"{"Version":"v1.0.0","Time":"yesterday"}"#,
                "its time is \"yesterday\"",
            ),
            (MOD, "", "it has no module directive"),
            (MOD, "not found: a.b/c@v1.0.0", "it has no module directive"),
            (
                MOD,
                "modules a.b/c\nmodule\nmodule (\n)\n",
                "it has no module directive",
            ),
            (
                LIST,
                "not found\n",
                "none of its lines begins with a version",
            ),
            (
                LOOKUP,
                "not found\n",
                "it is not a record with a signed tree head",
            ),
            (
                "/tile/8/0/001.p/3",
                "short",
                "it has 5 bytes, and a tile of this width has 96",
            ),
        ] {
            let fault = fault(path, content.as_bytes());
            assert_eq!(fault.as_deref(), Some(expected), "{path} {content}");
        }
        for content in [
            "",
            "not found",
            r#"["v1.0.0"]"#,
            r#"{"Version":1}"#,
            r#"{"Version":"v1"} x"#,
        ] {
            let fault = fault(INFO, content.as_bytes()).unwrap();
            assert!(
                fault.starts_with("it is not the JSON that"),
                "{content}: {fault}"
            );
        }
        let other = "7\na.b/c v1.0.1 h1:x=\n\ngo.sum database tree\n3\nh\n\n\u{2014} n sig\n";
        let fault = fault(LOOKUP, other.as_bytes());
        assert_eq!(
            fault.unwrap(),
            "its record is about another module or version"
        );
    }
}
