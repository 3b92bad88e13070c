//! What people write into GOPROXY that the go command refuses, or takes for something else.
//!
//! `modfetch.proxyList` splits at `,` and `|` only, cuts white space at the ends, passes over empty
//! entries, ends the list at `direct` or `off`, and puts `https://` before what has no scheme.

/// An entry of GOPROXY that is not what its writer meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProxyMistake {
    /// The entry as written, without white space at its ends.
    pub(crate) entry: String,
    /// What is wrong with it; completes "the entry …".
    pub(crate) what: &'static str,
    /// True if go goes on with it as if nothing was wrong.
    pub(crate) is_harmless: bool,
}

/// Separators of other lists, and what a Chinese or Japanese keyboard has in place of a comma.
const SEPARATORS: [char; 5] = [';', '\u{ff0c}', '\u{ff1b}', '\u{3001}', '\u{ff5c}'];

/// What is wrong in the list, in its order.
pub(crate) fn goproxy_mistakes(list: &str) -> Vec<ProxyMistake> {
    let mut mistakes = Vec::new();
    let mut is_over = false;
    for (entry, _) in pieces(list) {
        let mistake = |what, is_harmless| ProxyMistake {
            entry: entry.to_owned(),
            what,
            is_harmless,
        };
        let found = match (is_over, wrong(entry)) {
            (true, _) => Some(mistake(
                "stands behind `direct` or `off`, where the list ends: go never asks it",
                true,
            )),
            (false, Some(Wrong { what, is_harmless })) => Some(mistake(what, is_harmless)),
            (false, None) => None,
        };
        is_over |= matches!(entry, "direct" | "off");
        mistakes.extend(found);
    }
    mistakes
}

/// The list with what was probably meant; `None` if nothing has to be mended, or if there is no
/// telling what was meant.
pub(crate) fn corrected_goproxy(list: &str) -> Option<String> {
    let mut corrected = String::new();
    for (entry, separator) in pieces(list) {
        let words = entry.split(|c: char| c.is_whitespace() || SEPARATORS.contains(&c));
        let words = words.map(|word| word.trim_matches(['"', '\'']));
        let words = words.filter(|word| !word.is_empty()).map(|word| {
            let lower = word.to_ascii_lowercase();
            match &*lower {
                "direct" | "off" => lower,
                _ if word.starts_with('/') => format!("file://{word}"),
                _ => word.to_owned(),
            }
        });
        let words: Vec<String> = words.collect();
        if words.is_empty() {
            continue;
        }
        corrected.push_str(&words.join(","));
        corrected.extend(separator);
    }
    let corrected = corrected.trim_end_matches([',', '|']);
    let is_bad = |list: &str| {
        let mut mistakes = goproxy_mistakes(list).into_iter();
        mistakes.any(|mistake| !mistake.is_harmless)
    };
    (is_bad(list) && !is_bad(corrected) && !corrected.is_empty()).then(|| corrected.to_owned())
}

/// The entries without white space at their ends, each with what stands behind it. What stands behind
/// a separator at the end of the list is no entry.
fn pieces(list: &str) -> impl Iterator<Item = (&str, Option<char>)> {
    let pieces = list.split_inclusive([',', '|']);
    pieces.map(|piece| {
        let separator = piece.chars().next_back();
        let separator = separator.filter(|c| matches!(c, ',' | '|'));
        let entry = separator.map_or(piece, |separator| piece.trim_end_matches(separator));
        (entry.trim(), separator)
    })
}

struct Wrong {
    what: &'static str,
    is_harmless: bool,
}

/// What is wrong with an entry, if anything (`modfetch.newProxyRepo`).
fn wrong(entry: &str) -> Option<Wrong> {
    let refused = |what| {
        Some(Wrong {
            what,
            is_harmless: false,
        })
    };
    let noted = |what| {
        Some(Wrong {
            what,
            is_harmless: true,
        })
    };
    if entry.is_empty() {
        return noted("is empty: go passes it over");
    }
    if matches!(entry, "direct" | "off") {
        return None;
    }
    if entry.starts_with(['"', '\'']) || entry.ends_with(['"', '\'']) {
        return refused("has quotes, which go takes for a part of the URL");
    }
    if entry.contains(char::is_whitespace) {
        return refused("has white space inside: entries are separated by `,` or `|`");
    }
    let is_entry = |rest: &str| {
        let rest = rest.trim_start_matches(SEPARATORS).to_ascii_lowercase();
        rest.contains("://") || ["direct", "off", ""].contains(&&*rest)
    };
    if entry
        .match_indices(SEPARATORS)
        .any(|(at, _)| is_entry(&entry[at..]))
    {
        return refused("has another separator inside: entries are separated by `,` or `|`");
    }
    if entry.eq_ignore_ascii_case("direct") || entry.eq_ignore_ascii_case("off") {
        return refused("is written in lower case: `direct`, `off`");
    }
    if entry.starts_with('/') {
        return refused("is a path: go expects file:// before it");
    }
    let Some((scheme, rest)) = entry.split_once(":/") else {
        return match entry.contains(['.', ':', '/']) {
            true => noted("has no scheme: go asks it over https"),
            false => refused("is neither a URL nor `direct` nor `off`"),
        };
    };
    let authority = rest
        .strip_prefix('/')
        .and_then(|rest| rest.split('/').next());
    let authority = authority.unwrap_or_default();
    match &*scheme.to_ascii_lowercase() {
        "http" | "https" if authority.is_empty() => refused("has no host"),
        "http" if authority.contains('@') => {
            refused("has credentials, which go does not send over http")
        }
        "https" if authority.contains('@') => noted(
            "has its credentials in clear text, where each program sees them: ~/.netrc or GOAUTH can hold them",
        ),
        "http" | "https" => None,
        "file" if !authority.is_empty() => {
            refused("names a host: a folder is file:// and its absolute path")
        }
        "file" => None,
        _ => refused("has a scheme that go does not support: it knows https, http and file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_named_and_mended_where_that_can_be_told() {
        let direct = "https://goproxy.cn,direct";
        for (list, entry, said, corrected) in [
            (
                "https://goproxy.cn;direct",
                "https://goproxy.cn;direct",
                "another separator",
                Some(direct),
            ),
            (
                "https://goproxy.cn direct",
                "https://goproxy.cn direct",
                "white space",
                Some(direct),
            ),
            (
                "https://goproxy.cn\u{ff0c}direct",
                "https://goproxy.cn\u{ff0c}direct",
                "another separator",
                Some(direct),
            ),
            (
                "https://a.b|https://c.d; https://e.f",
                "https://c.d; https://e.f",
                "white space",
                Some("https://a.b|https://c.d,https://e.f"),
            ),
            (
                "\"https://goproxy.cn,direct\"",
                "\"https://goproxy.cn",
                "quotes",
                Some(direct),
            ),
            (
                "https://goproxy.cn,Direct",
                "Direct",
                "lower case",
                Some(direct),
            ),
            (
                "/srv/modules",
                "/srv/modules",
                "file://",
                Some("file:///srv/modules"),
            ),
            ("goproxy,direct", "goproxy", "neither a URL", None),
            (
                "ftp://goproxy.cn",
                "ftp://goproxy.cn",
                "does not support",
                None,
            ),
            ("https://,direct", "https://", "no host", None),
            (
                "http://ana:x@goproxy.cn",
                "http://ana:x@goproxy.cn",
                "over http",
                None,
            ),
            (
                "file://srv/modules",
                "file://srv/modules",
                "names a host",
                None,
            ),
        ] {
            let mistakes = goproxy_mistakes(list);
            let found = mistakes.iter().find(|mistake| mistake.entry == entry);
            let found = found.unwrap_or_else(|| panic!("{list}: {mistakes:?}"));
            assert!(found.what.contains(said) && !found.is_harmless, "{found:?}");
            assert_eq!(corrected_goproxy(list).as_deref(), corrected, "{list}");
        }
    }

    #[test]
    fn what_go_copes_with_is_worth_a_note_and_what_is_right_none() {
        for (list, entry, said) in [
            ("https://a.b,,direct", "", "empty"),
            ("goproxy.cn/api,direct", "goproxy.cn/api", "no scheme"),
            ("localhost:3000", "localhost:3000", "no scheme"),
            ("direct,https://a.b", "https://a.b", "never asks it"),
            ("https://ana:x@a.b", "https://ana:x@a.b", "clear text"),
        ] {
            let mistakes = goproxy_mistakes(list);
            let [only] = &mistakes[..] else {
                panic!("{list}: {mistakes:?}")
            };
            assert_eq!(only.entry, entry, "{list}");
            assert!(only.what.contains(said) && only.is_harmless, "{only:?}");
            assert_eq!(corrected_goproxy(list), None, "{list}");
        }
        for list in [
            "",
            "off",
            "https://proxy.golang.org,direct",
            " https://a.b , direct ",
            "https://a.b/x;y,direct",
            "https://a.b,",
            "http://127.0.0.1:3000/p0|file:///srv/modules|direct",
            "HTTPS://A.B",
        ] {
            assert_eq!(goproxy_mistakes(list), [], "{list}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_mended_is_right(list in "[ ,|;\"a-cD:/.@\u{ff0c}]{0,24}") {
            if let Some(corrected) = corrected_goproxy(&list) {
                let mut left = goproxy_mistakes(&corrected).into_iter();
                proptest::prop_assert!(left.all(|mistake| mistake.is_harmless), "{corrected}");
                proptest::prop_assert_eq!(corrected_goproxy(&corrected), None);
            }
        }
    }
}
