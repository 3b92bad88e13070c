//! Which versions a module can have (`golang.org/x/mod/semver`, `module.IsPseudoVersion`), and in
//! which order they are.

use std::cmp::Ordering;

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
    commit_time(version).is_some()
}

/// The time in a version that names a commit, `yyyymmddhhmmss`.
fn commit_time(version: &str) -> Option<&str> {
    let stem = version.strip_suffix("+incompatible").unwrap_or(version);
    let (before, hash) = stem.rsplit_once('-')?;
    let (base, time) = before.split_at_checked(before.len().checked_sub(TIME_DIGITS)?)?;
    let alphanumeric = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric());
    let names_a_commit = is_canonical_version(version)
        && time.bytes().all(|b| b.is_ascii_digit())
        && !hash.is_empty()
        && alphanumeric(hash)
        && (base.ends_with(".0.0-") || base.ends_with(".0.") || base.ends_with("-0."));
    names_a_commit.then_some(time)
}

/// The one of these canonical versions that `@latest` means: the highest release, else the highest pre-release,
/// else the newest commit (Go modules reference, "Version queries"). One that is `+incompatible` only where
/// nothing else is of its kind, as for modules with a go.mod.
pub(crate) fn latest_version<'v>(versions: impl IntoIterator<Item = &'v str>) -> Option<&'v str> {
    let rank = |version: &str| {
        let commit = commit_time(version).map(str::to_owned);
        let is_release = commit.is_none() && !version.contains('-');
        let is_compatible = !version.ends_with("+incompatible");
        // `None` comes before `Some`: a commit after every tag.
        (is_release, commit.is_none(), is_compatible, commit)
    };
    versions
        .into_iter()
        .max_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| compare_versions(a, b)))
}

/// The order of two versions (`semver.Compare`): build metadata does not count, and what is no version
/// comes before all that are.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    match (Parts::of(a), Parts::of(b)) {
        (Some(a), Some(b)) => a.compare(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// A version in its parts.
struct Parts<'a> {
    numbers: [&'a str; 3],
    pre_release: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Option<Self> {
        if !is_canonical_version(version) {
            return None;
        }
        let version = version.strip_suffix("+incompatible").unwrap_or(version);
        let version = version.strip_prefix('v')?;
        let (numbers, pre_release) = match version.split_once('-') {
            Some((numbers, pre_release)) => (numbers, Some(pre_release)),
            None => (version, None),
        };
        let mut numbers = numbers.split('.');
        Some(Self {
            numbers: [numbers.next()?, numbers.next()?, numbers.next()?],
            pre_release,
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let numbers = self.numbers.iter().zip(other.numbers);
        let first = numbers.map(|(a, b)| compare_numbers(a, b));
        let first = first.fold(Ordering::Equal, Ordering::then);
        first.then_with(|| match (self.pre_release, other.pre_release) {
            (None, None) => Ordering::Equal,
            // A release comes after what led to it.
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => compare_pre_releases(a, b),
        })
    }
}

/// Numbers without leading zeros, of any length.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Identifier by identifier, numbers before words (semver.org, section 11.4).
fn compare_pre_releases(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (is_number(a), is_number(b)) {
                (true, true) => compare_numbers(a, b),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
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

    #[test]
    fn the_latest_is_a_release_else_a_pre_release_else_the_newest_commit() {
        let versions = [
            "v2.0.1-0.20190101000000-a158d28d115b",
            "v1.0.0-0.20220722155237-a158d28d115b",
            "v0.0.0-20230722155237-a158d28d115b",
            "v2.0.0-rc.1+incompatible",
            "v1.10.0-rc.2",
            "v1.10.0-rc.10",
            "v3.0.0+incompatible",
            "v1.2.0",
            "v1.10.0",
        ];
        for (count, _) in (1..).zip(versions) {
            let expected = versions[count - 1];
            let known = &versions[..count];
            for turn in 0..count {
                let turned = known[turn..].iter().chain(&known[..turn]).copied();
                assert_eq!(latest_version(turned), Some(expected), "{known:?}");
            }
        }
        assert_eq!(latest_version([]), None);
    }

    #[test]
    fn versions_are_in_order() {
        let ordered = [
            "main",
            "v0.0.0-20220722155237-a158d28d115b",
            "v0.0.1-0.20220722155237-a158d28d115b",
            "v0.0.1",
            "v1.0.0-1",
            "v1.0.0-9.x",
            "v1.0.0-10",
            "v1.0.0-alpha",
            "v1.0.0-alpha.1",
            "v1.0.0-alpha.beta",
            "v1.0.0-beta",
            "v1.0.0",
            "v1.2.0",
            "v1.10.0",
            "v2.0.0+incompatible",
            "v99999999999999999999999.0.0",
        ];
        for (a, left) in ordered.iter().enumerate() {
            for (b, right) in ordered.iter().enumerate() {
                assert_eq!(compare_versions(left, right), a.cmp(&b), "{left} {right}");
            }
        }
        let same = compare_versions("v2.0.0", "v2.0.0+incompatible");
        assert_eq!(same, Ordering::Equal);
    }
}
