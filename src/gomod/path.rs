//! What a module path and a version may look like (`golang.org/x/mod/module`, `CheckPath`).

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

/// Where a path element stands, which decides what it may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    ModulePath,
    /// A version. Letters outside ASCII and `!` pass x/mod's check of file names, but never its
    /// escaping; they are refused here at once.
    FileName,
}

pub(super) fn check_element(element: &str, kind: Element) -> Result<(), PathFault> {
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
            })
    };
    if let Some(c) = element.chars().find(foreign) {
        return Err(PathFault::Character(c));
    }
    let short = element.split('.').next().unwrap_or_default();
    if WINDOWS_NAMES.iter().any(|n| n.eq_ignore_ascii_case(short)) {
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
