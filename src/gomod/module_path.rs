//! Module paths and versions: which texts are one, and how they stand in URLs (`!x` for an upper-case `X`).
//!
//! The rules are those of `golang.org/x/mod/module` (`CheckPath`, `EscapePath`, `UnescapePath`,
//! `EscapeVersion`, `UnescapeVersion`). They exist so that module caches work on file systems that
//! ignore case. A path that those refuse is refused here, so that no two texts mean one module.

/// Why a path or a version was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EscapeError {
    /// Not a module path.
    #[error("malformed module path {path:?}")]
    Path {
        /// The unescaped path.
        path: String,
        /// Which rule it breaks.
        source: PathFault,
    },
    /// Not a version, branch, tag or commit that can stand in a URL.
    #[error("disallowed version string {version:?}")]
    Version {
        /// The unescaped version.
        version: String,
        /// Which rule it breaks.
        source: PathFault,
    },
    /// An upper-case letter, a letter outside ASCII, or a `!` without its lower-case letter.
    #[error("{0:?} is not an escaped path")]
    Escaped(String),
}

/// Escapes a module path: `github.com/Azure/x` becomes `github.com/!azure/x`.
pub(crate) fn escape_path(path: &str) -> Result<String, EscapeError> {
    check_path(path).map_err(|source| EscapeError::Path {
        path: path.to_owned(),
        source,
    })?;
    Ok(escape(path))
}

/// Escapes a version, branch, tag or commit; one with a slash or a `!` is refused.
pub(crate) fn escape_version(version: &str) -> Result<String, EscapeError> {
    check_version(version)?;
    Ok(escape(version))
}

/// The module path that `escaped` stands for.
pub(crate) fn unescape_path(escaped: &str) -> Result<String, EscapeError> {
    let path = unescape(escaped)?;
    match check_path(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(EscapeError::Path { path, source }),
    }
}

/// The version, branch, tag or commit that `escaped` stands for.
pub(crate) fn unescape_version(escaped: &str) -> Result<String, EscapeError> {
    let version = unescape(escaped)?;
    check_version(&version)?;
    Ok(version)
}

fn check_version(version: &str) -> Result<(), EscapeError> {
    check_element(version, Element::FileName).map_err(|source| EscapeError::Version {
        version: version.to_owned(),
        source,
    })
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 4);
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(c.to_ascii_lowercase());
    }
    escaped
}

fn unescape(escaped: &str) -> Result<String, EscapeError> {
    let is_plain = |byte: u8| byte.is_ascii() && byte != b'!' && !byte.is_ascii_uppercase();
    if escaped.bytes().all(is_plain) {
        return Ok(escaped.to_owned());
    }
    let refuse = || EscapeError::Escaped(escaped.to_owned());
    let mut text = String::with_capacity(escaped.len());
    let mut chars = escaped.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '!' => match chars.next() {
                Some(lower @ 'a'..='z') => lower.to_ascii_uppercase(),
                _ => return Err(refuse()),
            },
            'A'..='Z' => return Err(refuse()),
            c if !c.is_ascii() => return Err(refuse()),
            c => c,
        };
        text.push(c);
    }
    Ok(text)
}

/// The rule that a path or one of its elements breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathFault {
    #[error("empty string")]
    Empty,
    #[error("leading dash")]
    LeadingDash,
    #[error("empty path element")]
    EmptyElement,
    #[error("path element of dots only")]
    DotsOnly,
    #[error("leading dot in path element")]
    LeadingDot,
    #[error("trailing dot in path element")]
    TrailingDot,
    #[error("invalid character {0:?}")]
    Character(char),
    #[error("reserved file name on Windows")]
    WindowsName,
    #[error("trailing tilde and digits in path element")]
    WindowsShortName,
    #[error("missing dot in first path element")]
    NoDot,
    #[error("invalid major version suffix")]
    MajorVersion,
}

/// Checks a module path as `module.CheckPath` does.
pub(crate) fn check_path(path: &str) -> Result<(), PathFault> {
    if path.is_empty() {
        return Err(PathFault::Empty);
    }
    if path.starts_with('-') {
        return Err(PathFault::LeadingDash);
    }
    for element in path.split('/') {
        check_element(element, Element::ModulePath)?;
    }
    let domain = path.split('/').next().unwrap_or_default();
    if !domain.contains('.') {
        return Err(PathFault::NoDot);
    }
    // The first element is a domain name, which knows no case.
    let foreign = |c: &char| !matches!(c, '-' | '.' | '0'..='9' | 'a'..='z');
    if let Some(c) = domain.chars().find(foreign) {
        return Err(PathFault::Character(c));
    }
    if !has_valid_major(path) {
        return Err(PathFault::MajorVersion);
    }
    Ok(())
}

/// Checks the path of a module's file below its folder as `module.CheckFilePath` does; one more letter outside of
/// ASCII passes here than there.
pub(super) fn check_file_path(path: &str) -> Result<(), PathFault> {
    path.split('/')
        .try_for_each(|element| check_element(element, Element::File))
}

/// Where a path element stands, which decides what it may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    ModulePath,
    /// A version. Letters outside ASCII and `!` pass x/mod's check of file names, but never its
    /// escaping; they are refused here at once.
    FileName,
    /// A file of a module, or a folder above it.
    File,
}

fn check_element(element: &str, kind: Element) -> Result<(), PathFault> {
    if element.is_empty() {
        return Err(PathFault::EmptyElement);
    }
    if element.bytes().all(|b| b == b'.') {
        return Err(PathFault::DotsOnly);
    }
    if kind == Element::ModulePath && element.starts_with('.') {
        return Err(PathFault::LeadingDot);
    }
    if element.ends_with('.') {
        return Err(PathFault::TrailingDot);
    }
    let foreign = |c: &char| {
        !(c.is_ascii_alphanumeric()
            || match kind {
                Element::ModulePath => "-._~".contains(*c),
                Element::FileName => "#$%&()+,-.=@[]^_{}~ ".contains(*c),
                Element::File => "!#$%&()+,-.=@[]^_{}~ ".contains(*c) || is_letter(*c),
            })
    };
    if let Some(c) = element.chars().find(foreign) {
        return Err(PathFault::Character(c));
    }
    let short = element.split('.').next().unwrap_or_default();
    if short.len() <= 4 && WINDOWS_NAMES.iter().any(|n| n.eq_ignore_ascii_case(short)) {
        return Err(PathFault::WindowsName);
    }
    match short.rsplit_once('~') {
        Some((_, digits))
            if kind == Element::ModulePath
                && !digits.is_empty()
                && digits.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Err(PathFault::WindowsShortName)
        }
        _ => Ok(()),
    }
}

fn is_letter(c: char) -> bool {
    !c.is_ascii() && c.is_alphabetic()
}

/// Is the path free of a wrong `/vN`, and does a gopkg.in path end in `.vN`
/// (`module.SplitPathVersion`)?
fn has_valid_major(path: &str) -> bool {
    if path.starts_with("gopkg.in/") {
        let stable = path.strip_suffix("-unstable").unwrap_or(path);
        let stem = stable.trim_end_matches(|c: char| c.is_ascii_digit());
        // As x/mod does: with `-unstable`, so that `.v-unstable` passes and `.v0-unstable` does not.
        let major = &path[stem.len()..];
        return stem.ends_with(".v")
            && !major.is_empty()
            && (major == "0" || !major.starts_with('0'));
    }
    let stem = path.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &path[stem.len()..];
    if number.is_empty() || !stem.ends_with("/v") {
        return true;
    }
    !number.contains('.') && !number.starts_with('0') && number != "1"
}

/// Names that no file may have on Windows, whatever follows the first dot.
const WINDOWS_NAMES: [&str; 22] = [
    "CON", "PRN", "AUX", "NUL", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8",
    "COM9", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // The tables are the answers of golang.org/x/mod as vendored in Go 1.27.3.
    type Facts<'a> = &'a [(&'a str, Option<&'a str>)];

    fn check(facts: Facts<'_>, function: fn(&str) -> Result<String, EscapeError>) {
        for (text, expected) in facts {
            assert_eq!(function(text).ok().as_deref(), *expected, "{text:?}");
        }
    }

    #[test]
    fn module_paths_are_escaped_and_refused_as_the_go_command_does() {
        const FACTS: Facts<'_> = &[
            ("x.y/z", Some("x.y/z")),
            ("x.y", Some("x.y")),
            (
                "github.com/Azure/azure-sdk",
                Some("github.com/!azure/azure-sdk"),
            ),
            (
                "github.com/GoogleCloudPlatform/omega",
                Some("github.com/!google!cloud!platform/omega"),
            ),
            ("github.com/ABC", Some("github.com/!a!b!c")),
            (
                "ascii.com/abcdefghijklmnopqrstuvwxyz.-_~/ABC",
                Some("ascii.com/abcdefghijklmnopqrstuvwxyz.-_~/!a!b!c"),
            ),
            ("gopkg.in/yaml.v2", Some("gopkg.in/yaml.v2")),
            ("gopkg.in/yaml.v0", Some("gopkg.in/yaml.v0")),
            ("gopkg.in/yaml.v02", None),
            ("gopkg.in/yaml", None),
            (
                "gopkg.in/yaml.v2-unstable",
                Some("gopkg.in/yaml.v2-unstable"),
            ),
            ("gopkg.in/yaml.v0-unstable", None),
            ("gopkg.in/yaml.v-unstable", Some("gopkg.in/yaml.v-unstable")),
            ("gopkg.in/Yaml.v10", Some("gopkg.in/!yaml.v10")),
            ("rsc.io/quote/v2", Some("rsc.io/quote/v2")),
            ("rsc.io/quote/v1", None),
            ("rsc.io/quote/v0", None),
            ("rsc.io/quote/v02", None),
            ("rsc.io/quote/v2.0", None),
            ("rsc.io/quote/v", Some("rsc.io/quote/v")),
            ("rsc.io/quotev1", Some("rsc.io/quotev1")),
            ("rsc.io/v3", Some("rsc.io/v3")),
            ("v1.5", Some("v1.5")),
            ("", None),
            ("/x.y/z", None),
            ("x.y/z/", None),
            ("x.y//z", None),
            ("-x.y/z", None),
            ("x.y/-z", Some("x.y/-z")),
            ("x.y/.z", None),
            ("x.y/z.", None),
            ("x.y/./z", None),
            ("x.y/../z", None),
            ("x..y/z", Some("x..y/z")),
            (".x.y/z", None),
            ("x.y./z", None),
            ("X.y/z", None),
            ("x_.y/z", None),
            ("x.y~1/z", None),
            ("xy/z", None),
            ("x.y/z!", None),
            ("x.y/z+a", None),
            ("x.y/z@v1", None),
            ("x.y/z%20", None),
            ("x.y/z a", None),
            ("x.y/é", None),
            ("x.y/É", None),
            ("x.y/con", None),
            ("x.y/CoN.txt", None),
            ("x.y/console", Some("x.y/console")),
            ("x.y/com1", None),
            ("x.y/com0", Some("x.y/com0")),
            ("x.y/aux.x", None),
            ("x.y/lpt9.a.b", None),
            ("x.y/a~1", None),
            ("x.y/a~", Some("x.y/a~")),
            ("x.y/a~b1", Some("x.y/a~b1")),
            ("x.y/a~1.go", None),
            ("x.y/a.b~1", Some("x.y/a.b~1")),
            ("x.y/~1", None),
            ("x.y/z\n", None),
            ("x.y/z:a", None),
            ("nul.x/z", None),
            ("x.y/a~1~x", Some("x.y/a~1~x")),
        ];
        check(FACTS, escape_path);
        for (path, escaped) in FACTS {
            if let Some(escaped) = escaped {
                assert_eq!(unescape_path(escaped).as_deref(), Ok(*path));
            }
        }
    }

    #[test]
    fn versions_are_escaped_and_refused_as_the_go_command_does() {
        const FACTS: Facts<'_> = &[
            ("v1.2.3", Some("v1.2.3")),
            ("v1.2.3-alpha", Some("v1.2.3-alpha")),
            ("v2.0.0+incompatible", Some("v2.0.0+incompatible")),
            ("v1.2.3-RC1", Some("v1.2.3-!r!c1")),
            (
                "v0.0.0-20220722155237-a158d28d115b",
                Some("v0.0.0-20220722155237-a158d28d115b"),
            ),
            ("main", Some("main")),
            ("release-branch.go1.9", Some("release-branch.go1.9")),
            ("Feature", Some("!feature")),
            ("feature/x", None),
            ("a!b", None),
            ("", None),
            ("v1 2", Some("v1 2")),
            ("v1.", None),
            ("..", None),
            ("...", None),
            (".x", Some(".x")),
            ("v1é", None),
            ("v1?", None),
            ("v1*", None),
            ("v1:2", None),
            ("v1|2", None),
            ("v1\"", None),
            ("v1'", None),
            ("v1`", None),
            ("v1<", None),
            (">=v1", None),
            ("v1\\x", None),
            ("v1;", None),
            ("v1&2", Some("v1&2")),
            ("v1,2", Some("v1,2")),
            ("v1(2)", Some("v1(2)")),
            ("v1[2]", Some("v1[2]")),
            ("v1{2}", Some("v1{2}")),
            ("v1#2", Some("v1#2")),
            ("v1$2", Some("v1$2")),
            ("v1=2", Some("v1=2")),
            ("v1@2", Some("v1@2")),
            ("v1^2", Some("v1^2")),
            ("v1~2", Some("v1~2")),
            ("v1\t", None),
            ("con", None),
            ("CON.x", None),
            ("-v1", Some("-v1")),
            ("v1%2", Some("v1%2")),
        ];
        check(FACTS, escape_version);
        for (version, escaped) in FACTS {
            if let Some(escaped) = escaped {
                assert_eq!(unescape_version(escaped).as_deref(), Ok(*version));
            }
        }
    }

    #[test]
    fn escaped_texts_are_read_and_refused_as_the_go_command_does() {
        check(
            &[
                ("github.com/!azure/x", Some("github.com/Azure/x")),
                ("github.com/!!azure/x", None),
                ("github.com/Azure/x", None),
                ("github.com/azure!", None),
                ("github.com/!/x", None),
                ("github.com/!9/x", None),
                ("github.com/!é/x", None),
                ("github.com/é", None),
                ("!github.com/x", None),
                ("a.b/!c!d", Some("a.b/CD")),
                ("a.b/!con", None),
                ("a.b", Some("a.b")),
                ("nodot", None),
                ("x.y/z!!", None),
            ],
            unescape_path,
        );
        check(
            &[
                ("v1.2.3", Some("v1.2.3")),
                ("v1.0.0-!r!c1", Some("v1.0.0-RC1")),
                ("v1.0.0-RC1", None),
                ("v1!", None),
                ("v1!!a", None),
                ("v1/2", None),
                ("!con", None),
                ("", None),
                ("v1é", None),
                ("v1.0.0+incompatible", Some("v1.0.0+incompatible")),
                ("v1 2", Some("v1 2")),
            ],
            unescape_version,
        );
    }

    #[test]
    fn a_refusal_names_the_rule() {
        let error = escape_path("x.y/z+a").unwrap_err();
        let EscapeError::Path { path, source } = error else {
            panic!("{error:?}");
        };
        assert_eq!((&*path, source), ("x.y/z+a", PathFault::Character('+')));
        assert_eq!(check_path("rsc.io/quote/v1"), Err(PathFault::MajorVersion));
        assert_eq!(check_path("xy/z"), Err(PathFault::NoDot));
    }

    proptest! {
        #[test]
        fn no_two_escaped_texts_mean_one_module(escaped in "[a-zA-Z!./~0-9]{0,20}") {
            if let Ok(path) = unescape_path(&escaped) {
                prop_assert_eq!(escape_path(&path), Ok(escaped));
            }
        }

        #[test]
        fn any_text_is_escaped_or_refused(text in any::<String>()) {
            let _ = (unescape_path(&text), unescape_version(&text));
            if let Ok(escaped) = escape_version(&text) {
                prop_assert_eq!(unescape_version(&escaped), Ok(text));
            }
        }
    }
}
