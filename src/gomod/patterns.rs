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

/// Whether a pattern of the list takes the module `path` (`module.MatchPrefixPatterns`).
pub(crate) fn matches_patterns(list: &str, path: &str) -> bool {
    list.split(',').any(|pattern| {
        let pattern = pattern.strip_suffix('/').unwrap_or(pattern);
        let elements = pattern.split('/').count();
        let mut ends = path.match_indices('/').map(|(at, _)| at);
        let prefix = match ends.nth(elements - 1) {
            Some(end) => &path[..end],
            None => path,
        };
        let has_as_many = prefix.split('/').count() == elements;
        !pattern.is_empty() && has_as_many && is_match(pattern, prefix)
    })
}

/// Go's `path.Match`: `*` and `?` take no slash.
///
/// Where a star is followed by another, only the last needs to be tried again: the time is that of the
/// two lengths multiplied, whatever the pattern.
fn is_match(pattern: &str, text: &str) -> bool {
    let Some(tokens) = tokens(pattern) else {
        return false;
    };
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut token) = (0, 0);
    // Behind the last star, and where its match ends.
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match tokens.get(token) {
            Some(Token::Star) => {
                token += 1;
                star = Some((token, at));
                continue;
            }
            Some(one) if one.takes(text[at]) => {
                (at, token) = (at + 1, token + 1);
                continue;
            }
            _ => {}
        }
        match star {
            Some((behind, end)) if text[end] != '/' => {
                star = Some((behind, end + 1));
                (at, token) = (end + 1, behind);
            }
            _ => return false,
        }
    }
    tokens[token..]
        .iter()
        .all(|rest| matches!(rest, Token::Star))
}

/// A part of a pattern.
enum Token<'a> {
    Star,
    Any,
    Class(Class<'a>),
    Literal(char),
}

impl Token<'_> {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::Any => c != '/',
            Self::Class(class) => class.takes(c),
            Self::Literal(literal) => *literal == c,
        }
    }
}

/// The parts of a pattern; `None` if Go calls it bad.
fn tokens(pattern: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => {
                let class = Class::parse(chars.as_str())?;
                chars = class.behind.chars();
                Token::Class(class)
            }
            '\\' => Token::Literal(chars.next()?),
            literal => Token::Literal(literal),
        });
    }
    Some(tokens)
}

/// A class of characters, `[a-z]`.
struct Class<'a> {
    is_negated: bool,
    ranges: Vec<(char, char)>,
    /// What stands behind its bracket.
    behind: &'a str,
}

impl<'a> Class<'a> {
    /// Reads what stands behind the opening bracket; `None` if Go calls the pattern bad.
    fn parse(text: &'a str) -> Option<Self> {
        let is_negated = text.starts_with('^');
        let mut chars = text.strip_prefix('^').unwrap_or(text).chars();
        let mut ranges = Vec::new();
        loop {
            let low = match chars.next()? {
                ']' if ranges.is_empty() => return None,
                ']' => break,
                '-' => return None,
                '\\' => chars.next()?,
                c => c,
            };
            let mut high = low;
            if let Some(behind) = chars.as_str().strip_prefix('-') {
                chars = behind.chars();
                high = match chars.next()? {
                    ']' | '-' => return None,
                    '\\' => chars.next()?,
                    c => c,
                };
            }
            ranges.push((low, high));
        }
        Some(Self {
            is_negated,
            ranges,
            behind: chars.as_str(),
        })
    }

    fn takes(&self, c: char) -> bool {
        let is_in = self
            .ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&c));
        is_in != self.is_negated
    }
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
    // What stands in brackets is one character, and may be any.
    let plain = without_classes(pattern);
    let is_valid = plain.is_some();
    let plain = plain.unwrap_or_else(|| pattern.to_owned());
    let first = plain.split('/').next().unwrap_or_default();
    let has_glob = first.contains(['*', '?']);
    let inner = plain.trim();
    let hosts_capitals = first.contains(|c: char| c.is_ascii_uppercase());
    let faults = [
        (inner.is_empty(), "is white space only"),
        (
            plain.contains("://"),
            "has a scheme, which no module path has",
        ),
        (
            inner.contains(char::is_whitespace) || plain.contains(';'),
            "is a list without commas: only a comma separates patterns",
        ),
        (plain != inner, "begins or ends with a space, which counts"),
        (plain.contains(['"', '\'', '`']), "has quotes, which count"),
        (
            first.contains('@'),
            "is an SSH address, not the path of modules",
        ),
        (
            plain.contains('@'),
            "has a version, and patterns are compared with paths only",
        ),
        (plain.contains(':'), "has a port, which no module path has"),
        (
            plain.contains("..."),
            "has `...`, which means nothing here: a pattern covers all below it",
        ),
        (
            first.is_empty(),
            "begins with a slash, which no module path does",
        ),
        (
            first.starts_with('.'),
            "begins with a dot, which no module path does",
        ),
        (
            plain.split('/').any(str::is_empty),
            "ends with slashes, or has an empty element",
        ),
        (
            hosts_capitals,
            "has capitals in its host, which module paths have not",
        ),
        (!is_valid, "is not a valid pattern: a bracket is not closed"),
        (
            !first.contains('.') && !has_glob,
            "has no dot in its first element, so that no module that can be downloaded matches",
        ),
    ];
    faults
        .iter()
        .find(|(is_so, _)| *is_so)
        .map(|(_, what)| *what)
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

/// The pattern with `?` for each class; `None` if Go's `path.Match` calls it bad: a bracket is not
/// closed or holds nothing, or a backslash is the last character.
fn without_classes(pattern: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => plain.push(rest.next()?),
            '[' => {
                rest = Class::parse(rest.as_str())?.behind.chars();
                plain.push('?');
            }
            c => plain.push(c),
        }
    }
    Some(plain)
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

    #[test]
    fn a_pattern_takes_what_go_lets_it_take() {
        for (list, path, expected) in [
            ("git.corp.example", "git.corp.example/a/b", true),
            ("git.corp.example", "git.corp.example", true),
            ("git.corp.example/", "git.corp.example/a", true),
            ("git.corp.example", "git.corp.example.org/a", false),
            ("git.corp.example/a", "git.corp.example", false),
            ("*.corp.example,b.example", "x.corp.example/a", true),
            ("*.corp.example", "corp.example/a", false),
            ("*.corp.example", "x/.corp.example", false),
            ("github.com/acme/*", "github.com/acme/x/y", true),
            ("github.com/acme/*", "github.com/acme", false),
            ("*", "a.example/b", true),
            ("", "a.example/b", false),
            (",", "a.example/b", false),
            ("*/b", "a.example/b/c", true),
            ("a.example/[a-c]?", "a.example/b1", true),
            ("a.example/[^a-c]*", "a.example/b1", false),
            ("a.example/[^a-c]*", "a.example/d", true),
            ("a.example/\\*", "a.example/x", false),
            ("a.example/[]a]", "a.example/a", false),
            (" a.example", "a.example", false),
            ("https://a.example", "a.example", false),
        ] {
            assert_eq!(matches_patterns(list, path), expected, "{list:?}, {path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_with_a_mistake_takes_no_module(pattern in "[a-cA. /:@\"*\\[\\]^-]{1,12}", path in "[a-c]{1,3}\\.[a-c]{1,3}(/[a-cA]{1,3}){0,2}") {
            if !pattern_mistakes(&pattern).is_empty() {
                proptest::prop_assert!(!matches_patterns(&pattern, &path), "{pattern}, {path}");
            }
        }

        #[test]
        fn a_corrected_list_has_no_mistakes(list in "[a-cA. /:@,;*\\[\\]\"]{0,24}") {
            if let Some(corrected) = corrected_patterns(&list) {
                proptest::prop_assert_eq!(pattern_mistakes(&corrected), []);
            }
        }
    }
}
