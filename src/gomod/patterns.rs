//! Lists of module path patterns: GOPRIVATE, GONOPROXY, GONOSUMDB, GOINSECURE.
//!
//! cmd/go reads them with `module.MatchPrefixPatterns` (`golang.org/x/mod/module`): globs between
//! commas, each compared with as many leading elements of the module path as it has itself. It
//! never complains: a pattern that is not one matches nothing, and the module goes to the public
//! proxy.

/// The variables that hold such a list.
pub(crate) const PATTERN_SETTINGS: [&str; 4] =
    ["GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE"];

/// A pattern that matches no module that go could download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PatternMistake {
    /// The pattern as written, with its white space.
    pub(crate) pattern: String,
    /// What is wrong with it; completes "the pattern …".
    pub(crate) what: &'static str,
    /// What was probably meant, if that can be told.
    pub(crate) instead: Option<String>,
}

/// The patterns of a list that match nothing, in order; none of `none`, a common word for an empty
/// list that matches nothing on purpose.
pub(crate) fn pattern_mistakes(list: &str) -> Vec<PatternMistake> {
    let patterns = list.split(',').filter(|pattern| *pattern != "none");
    patterns.filter_map(mistake).collect()
}

/// The list with what was probably meant in place of each mistake; `None` if there is nothing to
/// mend, or no telling what was meant.
pub(crate) fn corrected_patterns(list: &str) -> Option<String> {
    let mut mended = Vec::new();
    let mut is_changed = false;
    for pattern in list.split(',') {
        match mistake(pattern) {
            Some(mistake) => {
                is_changed = true;
                mended.push(mistake.instead?);
            }
            None => mended.push(pattern.to_owned()),
        }
    }
    mended.retain(|pattern| !pattern.is_empty());
    is_changed.then(|| mended.join(","))
}

fn mistake(pattern: &str) -> Option<PatternMistake> {
    let what = fault(pattern)?;
    let meant = meant(pattern);
    Some(PatternMistake {
        pattern: pattern.to_owned(),
        what,
        instead: (meant.split(',').all(|one| fault(one).is_none())).then_some(meant),
    })
}

/// Why a pattern matches nothing, if it does.
fn fault(pattern: &str) -> Option<&'static str> {
    // cmd/go drops one slash at the end, and patterns that are empty then.
    let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
    if pattern.is_empty() {
        return None;
    }
    let first = pattern.split('/').next().unwrap_or(pattern);
    let has_glob = first.contains(['*', '?', '[']);
    let inner = pattern.trim();
    let what = match pattern {
        _ if inner.is_empty() => "is white space only",
        _ if pattern.contains("://") => "has a scheme, which no module path has",
        _ if inner.contains(char::is_whitespace) || inner.contains(';') => {
            "is a list without commas: only a comma separates patterns"
        }
        _ if pattern != inner => "begins or ends with a space, which counts",
        _ if pattern.contains(['"', '\'', '`']) => "has quotes, which count",
        _ if first.contains('@') => "is an SSH address, not the path of modules",
        _ if pattern.contains('@') => "has a version, and patterns are compared with paths only",
        _ if pattern.contains(':') => "has a port, which no module path has",
        _ if pattern.contains("...") => {
            "has `...`, which means nothing here: a pattern covers all below it"
        }
        _ if first.is_empty() => "begins with a slash, which no module path does",
        _ if first.starts_with('.') => "begins with a dot, which no module path does",
        _ if pattern.split('/').any(str::is_empty) => "ends with slashes, or has an empty element",
        _ if first.contains(|c: char| c.is_ascii_uppercase()) => {
            "has capitals in its host, which module paths have not"
        }
        _ if !is_glob(pattern) => "is not a valid pattern: a bracket is not closed",
        _ if !first.contains('.') && !has_glob => {
            "has no dot in its first element, so that no module that can be downloaded matches"
        }
        _ => return None,
    };
    Some(what)
}

/// What somebody who wrote `pattern` had in mind.
fn meant(pattern: &str) -> String {
    let quotes = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    let text = pattern.trim_matches(quotes);
    let several = text.split(|c: char| c.is_whitespace() || c == ';');
    let meant = several.map(|one| {
        let one = one.trim_matches(quotes);
        let one = one.split_once("://").map_or(one, |(_, rest)| rest);
        let one = one.trim_start_matches('/');
        // `git@host:group/project`: the path behind the colon is that of the repository.
        let one = match one.rsplit_once('@') {
            Some((user, host)) if !user.contains(['/', '.']) => host.replacen(':', "/", 1),
            Some((path, _)) => path.to_owned(),
            None => one.to_owned(),
        };
        let (host, path) = match one.split_once('/') {
            Some((host, path)) => (host.to_owned(), Some(path)),
            None => (one.clone(), None),
        };
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
            _ => host,
        };
        let host = match host.strip_prefix('.') {
            Some(domain) => format!("*.{domain}"),
            None => host,
        };
        let path = path.map(|path| path.trim_end_matches('/'));
        let path = path.map(|path| path.strip_suffix("...").unwrap_or(path));
        let path = path.map(|path| path.trim_end_matches('/'));
        let path = path.filter(|path| !path.is_empty());
        let host = host.to_ascii_lowercase();
        path.map_or_else(|| host.clone(), |path| format!("{host}/{path}"))
    });
    let meant: Vec<String> = meant.filter(|one| !one.is_empty()).collect();
    meant.join(",")
}

/// True if Go's `path.Match` takes the pattern: each bracket is closed and holds something.
fn is_glob(pattern: &str) -> bool {
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.next().is_none() => return false,
            '[' => {
                let mut length = 0;
                loop {
                    match rest.next() {
                        None => return false,
                        Some('^') if length == 0 => {}
                        Some(']') if length == 0 => return false,
                        Some(']') => break,
                        Some('\\') if rest.next().is_none() => return false,
                        Some(_) => length += 1,
                    }
                }
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_match_a_module_is_no_mistake() {
        for list in [
            "",
            "none",
            "git.corp.example",
            "*.corp.example,github.com/acme/*",
            "*",
            "git.corp.example/team/",
            "github.com/[a-c]*/x",
            "git.corp.example,,",
            "git.corp.example/Team",
        ] {
            assert_eq!(pattern_mistakes(list), [], "{list:?}");
            assert_eq!(corrected_patterns(list), None, "{list:?}");
        }
    }

    #[test]
    fn each_mistake_is_named_with_what_was_meant() {
        for (list, what, meant) in [
            ("https://git.corp.example", "scheme", "git.corp.example"),
            (
                "https://git.corp.example:8443/team/",
                "scheme",
                "git.corp.example/team",
            ),
            ("a.example, b.example", "space", "a.example,b.example"),
            (" a.example", "space", "a.example"),
            (
                "a.example b.example",
                "without commas",
                "a.example,b.example",
            ),
            (
                "a.example;b.example",
                "without commas",
                "a.example,b.example",
            ),
            ("\"a.example\"", "quotes", "a.example"),
            ("git@git.corp.example:team", "SSH", "git.corp.example/team"),
            (
                "ssh://git@git.corp.example/team",
                "scheme",
                "git.corp.example/team",
            ),
            ("git.corp.example/x@v1.0.0", "version", "git.corp.example/x"),
            ("git.corp.example:8443", "port", "git.corp.example"),
            ("git.corp.example/...", "`...`", "git.corp.example"),
            ("/git.corp.example", "slash", "git.corp.example"),
            (".corp.example", "dot", "*.corp.example"),
            ("git.corp.example//", "slashes", "git.corp.example"),
            ("Git.Corp.example/Team", "capitals", "git.corp.example/Team"),
            ("git.corp.example/[a", "bracket", ""),
            ("corp", "no dot", ""),
        ] {
            let mistakes = pattern_mistakes(list);
            assert_eq!(mistakes.len(), 1, "{list:?}: {mistakes:?}");
            assert!(mistakes[0].what.contains(what), "{list:?}: {mistakes:?}");
            let corrected = corrected_patterns(list);
            assert_eq!(corrected.as_deref().unwrap_or(""), meant, "{list:?}");
        }
    }

    #[test]
    fn only_what_is_wrong_is_changed() {
        let corrected = corrected_patterns("a.example/*,https://b.example,*.c.example");
        assert_eq!(
            corrected.as_deref(),
            Some("a.example/*,b.example,*.c.example")
        );
        // No telling what was meant by one of them: the user has to.
        assert_eq!(corrected_patterns("https://a.example,corp"), None);
    }

    proptest::proptest! {
        #[test]
        fn a_corrected_list_has_no_mistakes(list in "[a-cA. /:@,;*\\[\\]\"]{0,24}") {
            if let Some(corrected) = corrected_patterns(&list) {
                proptest::prop_assert_eq!(pattern_mistakes(&corrected), []);
            }
        }
    }
}
