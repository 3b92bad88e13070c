//! The parts of a URL that say what is asked for.

use percent_encoding::percent_decode_str;

/// Host, once-decoded path and raw query of a URL; made from any text, without failing.
///
/// Not `url::Url`: that one resolves `..` and rewrites paths, and a recorded URL must keep the shape
/// in which it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location<'a> {
    /// Lower case, with `:port` where it is not the scheme's own. Empty in a relative URL.
    pub host: String,
    /// Percent-decoded once, with its leading slash; octets that are not UTF-8 become `\u{fffd}`.
    pub path: String,
    /// As written, without the question mark; empty without one.
    pub query: &'a str,
}

impl<'a> Location<'a> {
    /// Takes `url` apart. A text without `://` that starts with a slash has no host; any other is
    /// read as if it began with `https://`.
    pub fn of(url: &'a str) -> Self {
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
            path: percent_decode_str(path).decode_utf8_lossy().into_owned(),
            query,
        }
    }

    /// The value of the query's first parameter `name`, as written.
    pub fn query_value(&self, name: &str) -> Option<&'a str> {
        self.query
            .split('&')
            .find_map(|pair| match pair.split_once('=') {
                Some((key, value)) => (key == name).then_some(value),
                None => (pair == name).then_some(""),
            })
    }
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
    use super::*;

    fn parts(url: &str) -> (String, String, String) {
        let Location { host, path, query } = Location::of(url);
        (host, path, query.to_owned())
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

    #[test]
    fn a_query_value_is_found_by_its_whole_name() {
        let location = Location::of("https://h/?xservice=a&service=git-upload-pack&flag");
        assert_eq!(location.query_value("service"), Some("git-upload-pack"));
        assert_eq!(location.query_value("flag"), Some(""));
        assert_eq!(location.query_value("a"), None);
    }
}
