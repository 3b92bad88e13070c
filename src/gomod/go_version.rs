//! The order of Go versions, as `go` lines and toolchains have them (`cmd/go/internal/gover`).

use std::cmp::Ordering;

/// Compares two versions of Go: `1.21`, `go1.22.3`, `1.23rc1`. What is no version is older than all.
///
/// From 1.21 on `1.21` is the language, which is older than the release `1.21.0` and its candidates.
pub(crate) fn compare_go(a: &str, b: &str) -> Ordering {
    parse(a).cmp(&parse(b))
}

/// Whether a go command is known to take tiles and lookups of a checksum database that are forged in the ways of
/// CVE-2026-56864 and CVE-2026-56865: mended in 1.25.13, 1.26.6 and 1.27. Of what is no version this is
/// not known.
pub(crate) fn takes_forged_tiles(go: &str) -> bool {
    let is_before = |fixed| compare_go(go, fixed).is_lt();
    let is_known = parse(go).is_some();
    is_known && is_before("1.26.6") && (is_before("1.25.13") || !is_before("1.26"))
}

/// In the order in which they are compared.
type Key<'a> = (u64, u64, Option<u64>, &'a str, u64);

fn parse(text: &str) -> Option<Key<'_>> {
    let text = text.strip_prefix("go").unwrap_or(text);
    // A toolchain of somebody's own: `go1.22.3-corp`, `go1.24.1 X:boringcrypto`.
    let text = text.split(['-', ' ', '+']).next()?;
    let (major, rest) = number(text)?;
    let Some(rest) = rest.strip_prefix('.') else {
        return rest.is_empty().then_some((major, 0, Some(0), "", 0));
    };
    let (minor, rest) = number(rest)?;
    if rest.is_empty() {
        // Older Go calls its first release by the name of the language.
        let patch = (minor < 21).then_some(0);
        return Some((major, minor, patch, "", 0));
    }
    if let Some(rest) = rest.strip_prefix('.') {
        let (patch, rest) = number(rest)?;
        return rest
            .is_empty()
            .then_some((major, minor, Some(patch), "", 0));
    }
    let end = rest.find(|c: char| c.is_ascii_digit())?;
    let (kind, pre) = rest.split_at(end);
    let (pre, rest) = number(pre)?;
    rest.is_empty().then_some((major, minor, None, kind, pre))
}

/// The number that a text begins with, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_go_commands_that_take_forged_tiles_are_known() {
        for (go, takes) in [
            ("go1.24.11", true),
            ("go1.25.12", true),
            ("go1.25.13", false),
            ("go1.26rc1", true),
            ("go1.26.5", true),
            ("go1.26.6", false),
            ("go1.27.3", false),
            ("devel go1.28-abc", false),
            ("", false),
        ] {
            assert_eq!(takes_forged_tiles(go), takes, "{go}");
        }
    }

    #[test]
    fn versions_of_go_are_in_order() {
        let ordered = [
            "",
            "1.9",
            "1.16",
            "1.20rc1",
            "1.20",
            "1.20.1",
            "1.21",
            "1.21rc2",
            "go1.21.0",
            "1.21.13",
            "1.22",
            "go1.22.3-corp",
            "1.22.10",
            "2",
        ];
        for (a, left) in ordered.iter().enumerate() {
            for (b, right) in ordered.iter().enumerate() {
                assert_eq!(compare_go(left, right), a.cmp(&b), "{left} {right}");
            }
        }
        assert_eq!(compare_go("1.20", "go1.20.0"), Ordering::Equal);
        assert_eq!(compare_go("nonsense", "1.x"), Ordering::Equal);
    }
}
