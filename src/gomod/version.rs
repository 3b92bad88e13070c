//! Which versions a module can have (`golang.org/x/mod/semver`, `module.IsPseudoVersion`).

/// Is this a version that the go command asks files of, rather than a branch, a commit or a query:
/// `vMAJOR.MINOR.PATCH`, with a pre-release or without, and no build metadata but `+incompatible`
/// (`module.CanonicalVersion`)?
pub(crate) fn is_canonical_version(version: &str) -> bool {
    let version = version.strip_suffix("+incompatible").unwrap_or(version);
    let Some(numbers) = version.strip_prefix('v') else {
        return false;
    };
    let (numbers, pre_release) = match numbers.split_once('-') {
        Some((numbers, pre_release)) => (numbers, Some(pre_release)),
        None => (numbers, None),
    };
    let numbers: Vec<_> = numbers.split('.').collect();
    numbers.len() == 3
        && numbers.into_iter().all(is_number)
        && pre_release.is_none_or(|text| text.split('.').all(is_identifier))
}

/// Does the version name a commit, by time and hash: `v0.0.0-20220722155237-a158d28d115b`?
pub(crate) fn is_pseudo_version(version: &str) -> bool {
    let stem = version.strip_suffix("+incompatible").unwrap_or(version);
    let Some((before, hash)) = stem.rsplit_once('-') else {
        return false;
    };
    let Some(split) = before.len().checked_sub(TIME_DIGITS) else {
        return false;
    };
    let Some((base, time)) = before.split_at_checked(split) else {
        return false;
    };
    let alphanumeric = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_canonical_version(version)
        && time.bytes().all(|b| b.is_ascii_digit())
        && !hash.is_empty()
        && alphanumeric(hash)
        && (base.ends_with(".0.0-") || base.ends_with(".0.") || base.ends_with("-0."))
}

/// `yyyymmddhhmmss`.
const TIME_DIGITS: usize = 14;

fn is_number(digits: &str) -> bool {
    is_identifier(digits) && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Letters, digits and dashes; a number has no leading zero.
fn is_identifier(text: &str) -> bool {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    !text.is_empty() && is_plain && !(is_number && text.len() > 1 && text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The answers of golang.org/x/mod: version, is it canonical, is it a pseudo-version.
    const FACTS: &[(&str, bool, bool)] = &[
        ("v1.2.3", true, false),
        ("v0.0.0", true, false),
        ("v1.2.3-alpha.1", true, false),
        ("v1.2.3-0", true, false),
        ("v1.2.3-RC1", true, false),
        ("v1.2.3-a-b", true, false),
        ("v2.0.0+incompatible", true, false),
        ("v0.0.1-go1.24.1.linux-amd64", true, false),
        ("v0.0.0-20220722155237-a158d28d115b", true, true),
        ("v1.2.4-0.20220722155237-a158d28d115b", true, true),
        ("v1.2.3-pre.0.20220722155237-a158d28d115b", true, true),
        (
            "v2.0.1-0.20220722155237-a158d28d115b+incompatible",
            true,
            true,
        ),
        ("v1.2.3-20220722155237-a158d28d115b", true, false),
        ("v1.2.3-pre.20220722155237-a158d28d115b", true, false),
        ("v0.0.0-2022072215523-a158d28d115b", true, false),
        ("v0.0.0-20220722155237-", true, false),
        ("v1.2", false, false),
        ("v1", false, false),
        ("1.2.3", false, false),
        ("v01.2.3", false, false),
        ("v1.2.3.4", false, false),
        ("v1.2.3-", false, false),
        ("v1.2.3-01", false, false),
        ("v1.2.3-a..b", false, false),
        ("v1.2.3+meta", false, false),
        ("v1.2.3-é20220722155237-a158d28d115b", false, false),
        ("v1.2.x", false, false),
        ("main", false, false),
        ("latest", false, false),
        ("", false, false),
        ("-", false, false),
    ];

    #[test]
    fn versions_are_told_from_branches_and_pseudo_versions_from_tags() {
        for (version, is_canonical, is_pseudo) in FACTS {
            let found = (is_canonical_version(version), is_pseudo_version(version));
            assert_eq!(found, (*is_canonical, *is_pseudo), "{version:?}");
        }
    }
}
