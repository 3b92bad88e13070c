//! The parts of a URL that say what is asked for.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use url::Url;

/// Host, once-decoded path and raw query of a URL; made from any text, without failing.
///
/// Not `url::Url`: that one resolves `..` and rewrites paths, and a recorded URL must keep the shape
/// in which it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location<'a> {
    /// Lower case, with `:port` where it is not the scheme's own. Empty in a relative URL.
    pub(crate) host: String,
    /// Each element percent-decoded once, with its leading slash; a slash inside an element stays `%2F`, and
    /// bytes that are not UTF-8 become `\u{fffd}`.
    pub(crate) path: Cow<'a, str>,
    /// As written, without the question mark; empty without one.
    pub(crate) query: &'a str,
}

impl<'a> Location<'a> {
    /// Takes `url` apart. A text without `://` that starts with a slash has no host; any other is
    /// read as if it began with `https://`.
    pub(crate) fn of(url: &'a str) -> Self {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
            _ => ("https", url),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match before_query.find('/') {
            Some(slash) => before_query.split_at(slash),
            None => (before_query, "/"),
        };
        Self {
            host: host(scheme, authority),
            path: match path.contains('%') {
                true if path.contains("%2F") || path.contains("%2f") => {
                    Cow::Owned(decoded(&path.replace("%2f", "%2F")))
                }
                true => percent_decode_str(path).decode_utf8_lossy(),
                false => Cow::Borrowed(path),
            },
            query,
        }
    }

    /// The value of the query's first parameter `name`, as written.
    pub(crate) fn query_value(&self, name: &str) -> Option<&'a str> {
        self.query
            .split('&')
            .find_map(|pair| match pair.split_once('=') {
                Some((key, value)) => (key == name).then_some(value),
                None => (pair == name).then_some(""),
            })
    }
}

/// A path whose elements are decoded, each by itself.
fn decoded(path: &str) -> String {
    let elements = path
        .split("%2F")
        .map(|part| percent_decode_str(part).decode_utf8_lossy());
    elements.collect::<Vec<_>>().join("%2F")
}

/// One spelling for all spellings of a URL: equal exactly where they ask for the same.
///
/// Lower-case scheme and host, no userinfo, no port that is the scheme's own, no fragment. `!` and
/// `%21` are one, since go has written both; what is decoded by others into something with a meaning
/// of its own (`%2F`, `%3F`, `%25`, `%00`, `%26` in a query) stays apart from what it stands for.
pub(crate) fn canonical(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme, rest),
        _ => ("", url),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (before_query, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match before_query.find('/') {
        Some(slash) => before_query.split_at(slash),
        None => (before_query, "/"),
    };
    let mut text = String::with_capacity(url.len() + 1);
    if !scheme.is_empty() {
        text.push_str(&scheme.to_ascii_lowercase());
        text.push_str("://");
    }
    text.push_str(&host(scheme, authority));
    respell(&mut text, path, b"/", b"&+,;:=@");
    if let Some(query) = query {
        text.push('?');
        respell(&mut text, query, b"&=+;", b",:@/?");
    }
    text
}

/// Appends a part of a URL: what stands for itself decoded, all else but the part's own delimiters
/// encoded, in upper case (RFC 3986 section 6.2.2).
fn respell(out: &mut String, part: &str, delimiters: &[u8], open: &[u8]) {
    let stands_for_itself = |byte: u8| {
        byte.is_ascii_alphanumeric() || b"-._~!$'()*".contains(&byte) || open.contains(&byte)
    };
    let mut bytes = part.as_bytes();
    while let [first, rest @ ..] = bytes {
        let encoded = match rest {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        let (byte, is_plain) = match encoded {
            Some((high, low)) => {
                bytes = &rest[2..];
                let byte = high << 4 | low;
                (byte, stands_for_itself(byte))
            }
            None => {
                bytes = rest;
                (
                    *first,
                    stands_for_itself(*first) || delimiters.contains(first),
                )
            }
        };
        if is_plain {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// ASCII characters that stand in no URL (RFC 3986 section 2), and are still written into `Location`. Control
/// characters are not among them: a URL with one is refused.
const NEVER_IN_A_URL: &AsciiSet = &AsciiSet::EMPTY
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// How many redirects are followed one after another, as `net/http` does.
pub(crate) const REDIRECTS: usize = 10;

/// Where a `Location` leads that answered a request for `base` (RFC 9110 section 10.2.2).
pub(crate) fn redirect_target(base: &str, location: &str) -> Option<String> {
    let is_absolute = location
        .split_once("://")
        .is_some_and(|(scheme, _)| is_scheme(scheme));
    if is_absolute {
        // As it is: `url` would change how it is written. Only what no URL can hold is escaped, as go does.
        let escaped = utf8_percent_encode(location, NEVER_IN_A_URL);
        return Some(escaped.to_string());
    }
    Some(Url::parse(base).ok()?.join(location).ok()?.into())
}

/// A scheme's letters (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// The authority without userinfo and without the scheme's own port.
fn host(scheme: &str, authority: &str) -> String {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let own_port = if scheme.eq_ignore_ascii_case("http") {
        ":80"
    } else {
        ":443"
    };
    host.strip_suffix(own_port)
        .or_else(|| host.strip_suffix(':'))
        .unwrap_or(host)
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_url_are_one_and_other_urls_stay_apart() {
        let same: &[&[&str]] = &[
            &[
                "https://H.corp/a!b",
                "https://h.corp:443/a%21b#f",
                "https://u:p@h.corp/%61!b",
            ],
            &["http://h", "http://h:80/"],
            &["https://h/a;b,c", "https://h/a%3Bb%2cc"],
            &["https://h/é [1]", "https://h/%c3%A9%20%5B1%5D"],
            &["https://h/p?a=b/c&d=~", "https://h/p?%61=b%2Fc&d=%7E"],
        ];
        for spellings in same {
            for url in *spellings {
                assert_eq!(canonical(url), canonical(spellings[0]), "{url}");
            }
        }
        let apart = [
            "https://h/p/q",
            "https://h/p%2Fq",
            "https://h/p%252Fq",
            "https://h/p?q",
            "https://h/p%3Fq",
            "https://h/p%23q",
            "https://h/pq",
            "https://h/p%00q",
            "http://h/p/q",
            "https://h:444/p/q",
            "https://h/P/q",
            "https://h/p/q?",
            "https://h/p/q?a=1&b=2",
            "https://h/p/q?b=2&a=1",
            "https://h/p/q?a=1%26b=2",
            "https://h/p/q?a%3D1&b=2",
            "https://h/p/q?a=+",
            "https://h/p/q?a=%2B",
        ];
        let keys: std::collections::BTreeSet<_> = apart.iter().map(|url| canonical(url)).collect();
        assert_eq!(keys.len(), apart.len(), "{keys:#?}");
    }

    #[test]
    fn a_location_is_read_from_where_it_was_given() {
        let base = "https://h.corp/a/b?c";
        for (location, expected) in [
            ("https://other/x%21", Some("https://other/x%21")),
            (
                "https://other/a b/é?c d",
                Some("https://other/a%20b/%C3%A9?c%20d"),
            ),
            ("/a b", Some("https://h.corp/a%20b")),
            ("//other/x", Some("https://other/x")),
            ("/x?u=http://y", Some("https://h.corp/x?u=http://y")),
            ("x", Some("https://h.corp/a/x")),
            ("../x", Some("https://h.corp/x")),
            ("?d", Some("https://h.corp/a/b?d")),
            ("//", None),
        ] {
            assert_eq!(
                redirect_target(base, location).as_deref(),
                expected,
                "{location}"
            );
        }
        assert_eq!(redirect_target("no URL", "/x"), None);
    }

    proptest! {
        #[test]
        fn a_spelling_is_its_own(url in "https?://[a-z.]{0,5}(/[a-zA-Z:@/.%?&=+;#!é0-9]{0,30})?") {
            let spelled = canonical(&url);
            prop_assert_eq!(canonical(&spelled), spelled);
        }
    }

    fn parts(url: &str) -> (String, String, String) {
        let Location { host, path, query } = Location::of(url);
        (host, path.into_owned(), query.to_owned())
    }

    #[test]
    fn a_url_is_taken_apart_and_its_path_decoded_once() {
        let expected = [
            (
                "https://Proxy.golang.org/a/%21b?x=1#f",
                "proxy.golang.org",
                "/a/!b",
                "x=1",
            ),
            ("https://u:p@h:443/a", "h", "/a", ""),
            ("http://h:443/%2541", "h:443", "/%41", ""),
            ("https://h/a%2fb%21/c%2Fd", "h", "/a%2Fb!/c%2Fd", ""),
            ("https://h/a%252Fb/c%3Fd?e%3Ff", "h", "/a%2Fb/c?d", "e%3Ff"),
            ("http://h:80", "h", "/", ""),
            ("https://h?go-get=1", "h", "/", "go-get=1"),
            ("https://[::1]:8443/a", "[::1]:8443", "/a", ""),
            ("/a?b", "", "/a", "b"),
            ("h/a", "h", "/a", ""),
            ("https://h/%ff%", "h", "/\u{fffd}%", ""),
            ("h/a?u=http://b/", "h", "/a", "u=http://b/"),
            ("", "", "/", ""),
        ];
        for (url, host, path, query) in expected {
            assert_eq!(
                parts(url),
                (host.to_owned(), path.to_owned(), query.to_owned()),
                "{url}"
            );
        }
    }

    /// Bytes of a part of a URL, each written as it is or encoded, in capitals or small letters.
    fn spelled(part: &[u8], plain: &[u8], choices: u64) -> String {
        let mut text = String::new();
        for (at, byte) in part.iter().enumerate() {
            let choice = choices >> (2 * at % 64) & 3;
            let is_plain = byte.is_ascii_alphanumeric() || plain.contains(byte);
            match choice {
                0 | 1 if is_plain => text.push(char::from(*byte)),
                2 => text += &format!("%{byte:02x}"),
                _ => text += &format!("%{byte:02X}"),
            }
        }
        text
    }

    /// A URL's meaning: the elements of its path, and the names and values of its query.
    type Meaning = (Vec<Vec<u8>>, Option<Vec<(Vec<u8>, Vec<u8>)>>);

    fn url((elements, query): &Meaning, choices: u64) -> String {
        let mut url = String::from("https://h.corp");
        for element in elements {
            url += "/";
            url += &spelled(element, b"!:@,", choices);
        }
        if elements.is_empty() {
            url += "/";
        }
        if let Some(query) = query {
            let pair = |(name, value): &(Vec<u8>, Vec<u8>)| {
                let spelled = |part| spelled(part, b"!:@,/?", choices);
                format!("{}={}", spelled(name), spelled(value))
            };
            url = format!(
                "{url}?{}",
                query.iter().map(pair).collect::<Vec<_>>().join("&")
            );
        }
        url
    }

    fn meaning() -> impl Strategy<Value = Meaning> {
        // What means something in a URL, and what is decoded into it.
        let part = || {
            proptest::collection::vec(proptest::sample::select(b"a2Ff%/?#&=!+; ".to_vec()), 0..4)
        };
        let query = proptest::collection::vec((part(), part()), 1..3);
        (
            proptest::collection::vec(part(), 0..4),
            proptest::option::of(query),
        )
    }

    proptest! {
        #[test]
        fn one_spelling_is_that_of_one_meaning(one in meaning(), other in meaning(), choices in any::<(u64, u64)>()) {
            let [a, b] = [choices.0, choices.1].map(|choices| canonical(&url(&one, choices)));
            prop_assert_eq!(&a, &b);
            let is_empty = |(elements, _): &Meaning| elements.iter().all(Vec::is_empty) && elements.len() < 2;
            if one != other && !(is_empty(&one) && is_empty(&other) && one.1 == other.1) {
                prop_assert_ne!(a, canonical(&url(&other, choices.0)));
            }
        }
    }

    #[test]
    fn a_query_value_is_found_by_its_whole_name() {
        let location = Location::of("https://h/?xservice=a&service=git-upload-pack&flag");
        assert_eq!(location.query_value("service"), Some("git-upload-pack"));
        assert_eq!(location.query_value("flag"), Some(""));
        assert_eq!(location.query_value("a"), None);
    }
}
