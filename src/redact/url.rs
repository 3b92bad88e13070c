//! Secrets in URLs: userinfo, query values, path elements.

use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::gomod::canonical;

use super::names::{Place, secrecy};
use super::redactor::{MARK, MARK_BYTES, is_mark};
use super::redactor::{Redactor, Replacement};
use super::rules::TOKEN_ELEMENTS;
use super::screen::Screen;
use super::token::{self, decoded, find, token_at, tokens};

/// Behind one of [`TOKEN_ELEMENTS`], an element of this many bytes is a token, if it looks random.
const RANDOM_BYTES: usize = 20;

/// URLs in query values of URLs are read this deep; a value further down is marked whole.
const NESTED_URLS: u8 = 3;

/// An element of a base URL's path that looks random is a secret from this many letters and digits on.
const CAPABILITY_BYTES: usize = 16;

/// What is percent-encoded in a query value that was decoded to look inside.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b':');

impl Redactor {
    /// A URL, absolute or relative, with marks for its secrets. Stays parseable as a URL.
    pub(crate) fn url(&self, url: &str) -> String {
        let known = self.without_known(url);
        let url = known.as_deref().unwrap_or(url);
        self.changed_url(url).unwrap_or_else(|| url.to_owned())
    }

    /// Replaces wherever they stand the secrets in the paths of these URLs, which GOPROXY and its
    /// like have: whatever is asked for below such a URL shows them.
    #[must_use]
    pub(crate) fn knowing_bases(self, urls: &str) -> Self {
        match self.is_on() {
            true => random_elements(urls).fold(self, Self::knowing),
            false => self,
        }
    }

    /// The URL with marks for its secrets; `None` where it has none.
    pub(super) fn changed_url(&self, url: &str) -> Option<String> {
        if !self.is_on() || is_plain(url) {
            return None;
        }
        self.settled(url, |url| self.read_url(url))
    }

    /// One reading of a URL.
    pub(super) fn read_url(&self, url: &str) -> Option<String> {
        self.url_at(url, 0)
    }

    /// One reading of a URL that stands so deep in others.
    fn url_at(&self, url: &str, depth: u8) -> Option<String> {
        let parts = Parts::of(url);
        match parts.further_url() {
            Some(at) => {
                let (url, further) = url.split_at(at);
                let changes = (self.parts_at(url, depth), self.nested_url(further, depth));
                either(changes, url, further, "")
            }
            None => self.parts_at(url, depth),
        }
    }

    fn nested_url(&self, url: &str, depth: u8) -> Option<String> {
        match depth {
            NESTED_URLS => Some(self.mark(url)),
            _ => self.url_at(url, depth + 1),
        }
    }

    fn parts_at(&self, url: &str, depth: u8) -> Option<String> {
        let parts = Parts::of(url);
        let userinfo = self.userinfo(&parts);
        // A mark is no host that a URL parser takes; without a scheme there is none to please.
        let host = match parts.scheme {
            "" => self.read_tokens(parts.host),
            _ => None,
        };
        let path = self.path(parts.path, depth);
        let query = parts.query.and_then(|query| self.query(query, depth));
        let fragment = parts
            .fragment
            .and_then(|fragment| self.query(fragment, depth));
        let changes = [&userinfo, &host, &path, &query, &fragment];
        if changes.iter().all(|change| change.is_none()) {
            return None;
        }
        let mut redacted = String::with_capacity(url.len() + 16);
        redacted.push_str(parts.scheme);
        match userinfo.as_deref().or(parts.userinfo) {
            Some("") | None => {}
            Some(userinfo) => {
                redacted.push_str(userinfo);
                redacted.push('@');
            }
        }
        redacted.push_str(host.as_deref().unwrap_or(parts.host));
        redacted.push_str(path.as_deref().unwrap_or(parts.path));
        for (delimiter, old, new) in [('?', parts.query, query), ('#', parts.fragment, fragment)] {
            let Some(part) = new.as_deref().or(old) else {
                continue;
            };
            if part.is_empty() && matches!(self.replacement, Replacement::Nothing) {
                continue;
            }
            redacted.push(delimiter);
            redacted.push_str(part);
        }
        Some(redacted)
    }

    fn userinfo(&self, parts: &Parts<'_>) -> Option<String> {
        let userinfo = parts.userinfo.filter(|userinfo| !userinfo.is_empty())?;
        if matches!(self.replacement, Replacement::Nothing) {
            return Some(String::new());
        }
        // `ssh://git@host` names an account and holds no password; over http a lone name may be a token.
        let is_account = !userinfo.contains(':') && !parts.is_http();
        if is_account && find(userinfo.as_bytes(), 0).is_none() || is_mark(userinfo) {
            return None;
        }
        Some(self.mark_decoded(userinfo))
    }

    fn path(&self, path: &str, depth: u8) -> Option<String> {
        let mut changed: Option<String> = None;
        let mut before = "";
        let mut start = 0;
        for element in path.split('/') {
            let redacted = if is_token_behind(before, element) {
                Some(self.mark_decoded(element))
            } else {
                self.element(element, depth)
            };
            match (&mut changed, redacted) {
                (Some(out), redacted) => {
                    out.push('/');
                    out.push_str(redacted.as_deref().unwrap_or(element));
                }
                (None, Some(redacted)) if redacted != element => {
                    changed = Some(format!("{}{redacted}", &path[..start]));
                }
                _ => {}
            }
            before = element;
            start += element.len() + 1;
        }
        changed
    }

    /// An element of a path, with `token=x`, `x;jsessionid=1` (RFC 3986 section 3.3) in it or not.
    fn element(&self, element: &str, depth: u8) -> Option<String> {
        let pairs = self.marked(element, path_values(element));
        let value = self.value(pairs.as_deref().unwrap_or(element), depth);
        value.or(pairs)
    }

    /// A query, or a fragment that is written like one (RFC 6749 section 4.2.2).
    fn query(&self, query: &str, depth: u8) -> Option<String> {
        // `;` separates too (HTML 4.01 appendix B.2.2), unless it stands in a value with a URL.
        let separators: &[char] = if query.contains("://") {
            &['&']
        } else {
            &['&', ';']
        };
        let mut pairs: Vec<(String, &str)> = Vec::new();
        let mut is_changed = false;
        for piece in query.split_inclusive(separators) {
            let pair = piece.trim_end_matches(separators);
            let separator = &piece[pair.len()..];
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let is_secret = is_secret_pair(key, value);
            let redacted = match (is_secret, &self.replacement) {
                (true, Replacement::Nothing) => {
                    is_changed = true;
                    continue;
                }
                (true, _) if pair.contains('=') => self.secret_pair(key, value, depth),
                _ => self.query_pair(pair, depth),
            };
            is_changed |= redacted.as_deref().is_some_and(|redacted| redacted != pair);
            pairs.push((redacted.unwrap_or_else(|| pair.to_owned()), separator));
        }
        // The last pair may have gone: then what separated it goes too.
        if is_changed
            && !query.ends_with(separators)
            && let Some((_, separator)) = pairs.last_mut()
        {
            *separator = "";
        }
        let whole = |(pair, separator)| pair + separator;
        is_changed.then(|| pairs.into_iter().map(whole).collect())
    }

    /// A pair whose key says that its value is secret.
    fn secret_pair(&self, key: &str, value: &str, depth: u8) -> Option<String> {
        let new_key = self.value(key, depth);
        if new_key.is_none() && (value.is_empty() || is_mark(value)) {
            return None;
        }
        let key = new_key.as_deref().unwrap_or(key);
        Some(format!("{key}={}", self.mark_decoded(value)))
    }

    /// A pair whose key says nothing about its value.
    fn query_pair(&self, pair: &str, depth: u8) -> Option<String> {
        match pair.split_once('=') {
            // A URL whose password holds a `=`.
            Some((key, _)) if decoded(key).as_deref().unwrap_or(key).contains("://") => {
                self.value(pair, depth)
            }
            Some((key, value)) => {
                either((self.loose(key), self.value(value, depth)), key, value, "=")
            }
            None => self.value(pair, depth),
        }
    }

    /// A value or element that may hold a token, userinfo or another URL, encoded or not.
    fn value(&self, value: &str, depth: u8) -> Option<String> {
        if value.contains("://")
            && let Some(redacted) = self.nested_url(value, depth)
        {
            return Some(redacted);
        }
        match decoded(value) {
            Some(decoded) if decoded.contains("://") => {
                let redacted = self.nested_url(&decoded, depth)?;
                Some(match is_mark(&redacted) {
                    true => redacted,
                    false => utf8_percent_encode(&redacted, QUERY_VALUE).to_string(),
                })
            }
            _ => self.loose(value),
        }
    }

    /// Tokens and userinfo whatever stands around them; and a mark for the whole of a text that
    /// holds percent-encoded ones.
    fn loose(&self, text: &str) -> Option<String> {
        let read = |text: &str| {
            let secrets = tokens(text).chain(userinfos(text));
            self.marked(text, secrets.collect())
        };
        let redacted = read(text);
        match decoded(redacted.as_deref().unwrap_or(text)) {
            Some(decoded) if read(&decoded).is_some() => Some(self.mark(&decoded)),
            _ => redacted,
        }
    }
}

/// Two pieces of a text, if one of them changed, and what stands between them.
fn either(
    changes: (Option<String>, Option<String>),
    first: &str,
    second: &str,
    between: &str,
) -> Option<String> {
    let (new_first, new_second) = match &changes {
        (None, None) => return None,
        (new_first, new_second) => (new_first.as_deref(), new_second.as_deref()),
    };
    Some(
        [
            new_first.unwrap_or(first),
            between,
            new_second.unwrap_or(second),
        ]
        .concat(),
    )
}

/// Where the values of telling keys are in a path's element.
fn path_values(element: &str) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    if !element.contains('=') {
        return values;
    }
    let mut start = 0;
    for pair in element.split([';', ',', '&']) {
        let end = start + pair.len();
        if let Some((key, value)) = pair.split_once('=')
            && is_secret_pair(key, value)
        {
            values.push(end - value.len()..end);
        }
        start = end + 1;
    }
    values
}

/// Does the value of this query key stay out of recordings? Both may be percent-encoded.
fn is_secret_pair(key: &str, value: &str) -> bool {
    let said = match decoded(key) {
        Some(key) => secrecy(&key, Place::Query),
        None => secrecy(key, Place::Query),
    };
    said.is_secret(decoded(value).as_deref().unwrap_or(value))
}

/// The URL without userinfo and without the pairs that redaction knows by their keys, and with one
/// fixed word for tokens elsewhere: what can be compared between a recording and a live request.
pub(crate) fn url_without_secrets(url: &str) -> String {
    Redactor {
        replacement: Replacement::Nothing,
        known: None,
    }
    .url(url)
}

/// One spelling of a URL without secrets, which are marked by different runs in different ways: what is the
/// same in two requests for the same, and in a redirect and the request that followed it.
pub(crate) fn url_key(url: &str) -> String {
    canonical(&url_without_secrets(url))
}

/// A URL cut where its parts meet; all slices of the same text.
struct Parts<'a> {
    /// `https://`, `//`, or nothing in a relative URL.
    scheme: &'a str,
    /// Before the last `@` of the authority.
    userinfo: Option<&'a str>,
    /// Host and port.
    host: &'a str,
    path: &'a str,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let authority_at = match url.find("://") {
            Some(colon) if !url[..colon].contains(['/', '?', '#', '@']) => colon + 3,
            _ if url.starts_with("//") => 2,
            _ => 0,
        };
        let (scheme, rest) = url.split_at(authority_at);
        let authority_len = if scheme.is_empty() {
            bare_authority_len(rest)
        } else {
            authority_len(rest)
        };
        let (authority, rest) = rest.split_at(authority_len);
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rest, None),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        Self {
            scheme,
            userinfo,
            host,
            path,
            query,
            fragment,
        }
    }
}

impl Parts<'_> {
    /// `http`, `https`, or whichever of them the page has that this stands in.
    fn is_http(&self) -> bool {
        let scheme = self.scheme.trim_end_matches("://").as_bytes();
        let ends_with = |end: &[u8]| {
            let start = scheme.len().saturating_sub(end.len());
            scheme[start..].eq_ignore_ascii_case(end)
        };
        self.scheme == "//" || ends_with(b"http") || ends_with(b"https")
    }

    /// Where in the whole URL another one begins behind its host or in its path, as in a list of
    /// URLs, or in `https://cache.corp/https://h.corp/`.
    fn further_url(&self) -> Option<usize> {
        let before = self.scheme.len() + self.userinfo.map_or(0, |userinfo| userinfo.len() + 1);
        let in_path = || {
            let colon = self.path.find("://")?;
            Some((self.host.len() + colon, &self.path[..colon]))
        };
        let behind_host = || {
            let host = self.host.strip_suffix(':')?;
            (self.path.starts_with("//")).then_some((host.len(), host))
        };
        let (colon, text) = behind_host().or_else(in_path)?;
        let start = before + colon - scheme_len(text);
        (start > 0).then_some(start)
    }
}

/// Up to the first `/`, `?` or `#`; further, if what stands before it can only be a user and the
/// beginning of a password that should have been encoded (`https://user:pa/ss@host`).
fn authority_len(rest: &str) -> usize {
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    if has_port_at_most(behind_userinfo(&rest[..end])) {
        return end;
    }
    let Some(at) = rest[end..].find('@').map(|at| end + at) else {
        return end;
    };
    let further = rest[at..].find(['/', '?', '#', '\\']);
    further.map_or(rest.len(), |len| at + len)
}

/// What stands behind the last `@`: a user's name may be an address.
fn behind_userinfo(authority: &str) -> &str {
    authority.rsplit('@').next().unwrap_or(authority)
}

/// Does `url` break off inside a password that holds what should have been encoded?
pub(super) fn ends_in_password(url: &str) -> bool {
    url.split_once("://").is_some_and(|(_, authority)| {
        !authority.contains(['/', '?', '#']) && !has_port_at_most(behind_userinfo(authority))
    })
}

/// How many bytes before `://` are the scheme's.
pub(super) fn scheme_len(before: &str) -> usize {
    before
        .bytes()
        .rev()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.'))
        .count()
}

/// Is this a host, with a port or without, and nothing that goes on with a password?
fn has_port_at_most(authority: &str) -> bool {
    let behind = match authority
        .strip_prefix('[')
        .and_then(|ip| ip.split_once(']'))
    {
        Some((_, "")) => return true,
        Some((_, behind)) => behind,
        None => authority,
    };
    behind
        .split_once(':')
        .is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

/// `user:password@host` without a scheme, as proxy variables may have it; else nothing.
fn bare_authority_len(rest: &str) -> usize {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].split_once('@') {
        Some((userinfo, _)) if has_password(userinfo) => end,
        _ => 0,
    }
}

/// Where `user:password` stands before an `@` in a text, in whichever of its elements between `/`.
pub(super) fn userinfos(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    if !text.contains('@') {
        return found;
    }
    let mut start = 0;
    for element in text.split('/') {
        if let Some((userinfo, host)) = element.rsplit_once('@')
            && has_password(userinfo)
            && !is_version(host)
        {
            found.push(start..start + userinfo.len());
        }
        start += element.len() + 1;
    }
    found
}

/// `v1.2.3`: what stands before the `@` is a module.
fn is_version(text: &str) -> bool {
    let mut numbers = text.strip_prefix('v').unwrap_or_default().splitn(3, '.');
    numbers.all(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

/// Is there a colon that is not a mark's own?
fn has_password(userinfo: &str) -> bool {
    let mut colons = userinfo.match_indices(':').map(|(at, _)| at);
    colons.any(|at| {
        let mark = (at + 1)
            .checked_sub(MARK.len())
            .and_then(|start| userinfo.get(start..start + MARK.len() + 2 * MARK_BYTES));
        !mark.is_some_and(is_mark)
    })
}

/// The URL without its userinfo.
pub(crate) fn url_without_userinfo(url: &str) -> String {
    let parts = Parts::of(url);
    let userinfo = parts.userinfo.map_or(0, |userinfo| userinfo.len() + 1);
    format!("{}{}", parts.scheme, &url[parts.scheme.len() + userinfo..])
}

/// The elements of these URLs' paths that nobody would give as a name: who knows one is let in.
fn random_elements(urls: &str) -> impl Iterator<Item = &str> {
    let urls = urls.split(|c: char| c.is_whitespace() || ",|;'\"".contains(c));
    let urls = urls.filter(|url| url.contains("://"));
    let elements = urls.flat_map(|url| Parts::of(url).path.split('/'));
    elements.filter(|element| looks_random(element))
}

/// Do capitals, small letters and digits take turns in it all the time, as in base64, hexadecimal
/// digits and UUIDs, and not in words and versions?
fn looks_random(element: &str) -> bool {
    let is_sign = |b: u8| matches!(b, b'-' | b'_' | b'=' | b'~');
    element
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || is_sign(b))
        && element
            .bytes()
            .filter(|b| b.is_ascii_alphanumeric())
            .count()
            >= CAPABILITY_BYTES
        && element.bytes().filter(u8::is_ascii_digit).count() >= 2
        && takes_turns(element)
}

/// Is every third letter or digit of another kind than the one before it?
fn takes_turns(element: &str) -> bool {
    let kind = |b: u8| (b.is_ascii_uppercase(), b.is_ascii_digit());
    let letters = element.bytes().filter(u8::is_ascii_alphanumeric);
    let kinds: Vec<_> = letters.map(kind).collect();
    let turns = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
    turns * 3 >= kinds.len()
}

/// Notices where one of [`TOKEN_ELEMENTS`] may begin.
const ELEMENTS: Screen = Screen::EMPTY.with(&[
    "/token", "/access", "/auth", "/api", "/key", "/secret", "/pat",
]);

/// Notices what may make a path worth reading.
static SCREEN: Screen = Screen::EMPTY
    .with(&["%", "?", "#", "=", ":", "\\"])
    .and(&ELEMENTS)
    .and(&token::SCREEN);

/// Is this a URL of a host and a path, as nearly all of the go command's are, without userinfo, pairs
/// of names and values, tokens, and another URL?
pub(super) fn is_plain(url: &str) -> bool {
    let Some(rest) = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))
    else {
        return false;
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let bytes = path.as_bytes();
    is_plain_host(host)
        && !path.starts_with("//")
        && !SCREEN.any(bytes, |at| match bytes[at] {
            b'/' => path[at + 1..].split('/').next().is_some_and(is_telling),
            _ if bytes[at].is_ascii_alphabetic() => token_at(bytes, at).is_some(),
            _ => true,
        })
}

/// Is this a host, with a port or without, in letters, digits, dots and dashes?
fn is_plain_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    name.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && port.bytes().all(|b| b.is_ascii_digit())
}

/// Does a token stand behind this path element?
fn is_telling(element: &str) -> bool {
    TOKEN_ELEMENTS
        .iter()
        .any(|name| name.eq_ignore_ascii_case(element))
}

/// Does `element` stand behind a telling path element, and look random?
///
/// No dots: a version has them, and a module's own name behind `/token/` has few digits and capitals.
fn is_token_behind(before: &str, element: &str) -> bool {
    if element.len() < RANDOM_BYTES || !is_telling(before) {
        return false;
    }
    let decoded = decoded(element);
    let element = decoded.as_deref().unwrap_or(element);
    element.len() >= RANDOM_BYTES
        && element
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'='))
        && (element.bytes().filter(u8::is_ascii_digit).count() >= 3 || takes_turns(element))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_element_that_a_token_stands_behind_is_noticed_for_its_own_sake() {
        for element in TOKEN_ELEMENTS {
            let path = format!("/x/{element}/y");
            assert!(ELEMENTS.any(path.as_bytes(), |at| at == 2), "{element}");
        }
    }

    #[test]
    fn a_bases_capability_is_told_from_names_and_versions() {
        let urls = "https://a.b/aBcD1234EfGh5678/go,https://c.d/5f3c2b1a9d8e7f6a5b4c3d2e|https://u:p@e.f/basic/0b8e3d1c-7a52-4c1e-9f60-1d2e3f4a5b6c/x";
        let found: Vec<_> = random_elements(urls).collect();
        assert_eq!(
            found,
            [
                "aBcD1234EfGh5678",
                "5f3c2b1a9d8e7f6a5b4c3d2e",
                "0b8e3d1c-7a52-4c1e-9f60-1d2e3f4a5b6c"
            ]
        );
        for urls in [
            "https://goproxy.corp/artifactory/api/go/go-virtual-2024-release-candidate",
            "https://git.corp/api/v4/projects/12345678901234567890/packages/go",
            "https://nexus.corp/repository/golang-proxy-group-production/",
            "https://h.corp/v1-2-3-rc4-build5/go1.27.3/organization2024",
            "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
            "off",
        ] {
            assert_eq!(random_elements(urls).next(), None, "{urls}");
        }
    }

    #[test]
    fn only_the_userinfo_goes() {
        for (url, expected) in [
            ("https://redacted:0123@h:1/x", "https://h:1/x"),
            (
                "https://h/redacted:0123456789abcdef/x",
                "https://h/redacted:0123456789abcdef/x",
            ),
            ("direct", "direct"),
        ] {
            assert_eq!(url_without_userinfo(url), expected);
        }
    }
}
