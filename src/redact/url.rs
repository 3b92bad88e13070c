//! Secrets in URLs: userinfo, query values, path elements.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::names::is_secret_query_key;
use super::token::{decoded, find};
use super::{MARK, Redactor, Stand, is_mark};

/// Path elements behind which a token stands, as in `/token/5f3c…/`.
const TOKEN_ELEMENTS: [&str; 14] = [
    "token",
    "tokens",
    "access-token",
    "access_token",
    "accesstoken",
    "auth",
    "auth-token",
    "auth_token",
    "apikey",
    "api-key",
    "api_key",
    "key",
    "secret",
    "pat",
];

/// Behind one of those, an element of this many octets is a token, if it looks random.
const RANDOM_BYTES: usize = 20;

/// URLs in query values of URLs are read this deep; a value further down is marked whole.
const NESTED_URLS: u8 = 3;

/// What is percent-encoded in a query value that was decoded to look inside.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b':');

impl Redactor {
    /// A URL, absolute or relative, with marks for its secrets. Stays parseable as a URL.
    pub fn url(&self, url: &str) -> String {
        let known = self.without_known(url);
        let url = known.as_deref().unwrap_or(url);
        self.changed_url(url).unwrap_or_else(|| url.to_owned())
    }

    /// The URL with marks for its secrets; `None` where it has none.
    pub(super) fn changed_url(&self, url: &str) -> Option<String> {
        if !self.is_on() {
            return None;
        }
        self.changed_url_at(url, 0)
    }

    fn changed_url_at(&self, url: &str, depth: u8) -> Option<String> {
        let parts = Parts::of(url);
        let userinfo = self.userinfo(&parts);
        // A mark is no host that a URL parser takes; without a scheme there is none to please.
        let host = match parts.scheme {
            "" => self.tokens(parts.host).filter(|host| host != parts.host),
            _ => None,
        };
        let path = self.path(parts.path);
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
            if part.is_empty() && matches!(self.stand, Stand::Nothing) {
                continue;
            }
            redacted.push(delimiter);
            redacted.push_str(part);
        }
        Some(redacted)
    }

    fn userinfo(&self, parts: &Parts<'_>) -> Option<String> {
        let userinfo = parts.userinfo.filter(|userinfo| !userinfo.is_empty())?;
        if matches!(self.stand, Stand::Nothing) {
            return Some(String::new());
        }
        // `ssh://git@host` names an account and holds no password; over http a lone name may be a token.
        let is_account = !userinfo.contains(':') && !parts.scheme.starts_with("http");
        if is_account && find(userinfo.as_bytes(), 0).is_none() || is_mark(userinfo) {
            return None;
        }
        Some(self.mark_decoded(userinfo))
    }

    fn path(&self, path: &str) -> Option<String> {
        let is_plain = !path.contains('%') && find(path.as_bytes(), 0).is_none();
        let mut changed: Option<String> = None;
        let mut before = "";
        let mut start = 0;
        for element in path.split('/') {
            let redacted = if is_token_behind(before, element) {
                Some(self.mark_decoded(element))
            } else {
                match self.path_pairs(element) {
                    None if is_plain => None,
                    None => self.encoded_tokens(element),
                    Some(pairs) => Some(self.encoded_tokens(&pairs).unwrap_or(pairs)),
                }
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

    /// `token=x`, `x;jsessionid=1` (RFC 3986 section 3.3), `user:password@host` in a path's element.
    fn path_pairs(&self, element: &str) -> Option<String> {
        if let Some((userinfo, host)) = element.rsplit_once('@')
            && has_password(userinfo)
        {
            return Some(format!("{}@{host}", self.mark_decoded(userinfo)));
        }
        if !element.contains('=') {
            return None;
        }
        let mut redacted = String::with_capacity(element.len() + 16);
        for piece in element.split_inclusive([';', ',']) {
            let pair = piece.trim_end_matches([';', ',']);
            match pair.split_once('=') {
                Some((key, value)) if is_secret_query_key(key) => {
                    redacted.push_str(&format!("{key}={}", self.mark_decoded(value)));
                    redacted.push_str(&piece[pair.len()..]);
                }
                _ => redacted.push_str(piece),
            }
        }
        (redacted != element).then_some(redacted)
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
            let is_secret = match decoded(key) {
                Some(key) => is_secret_query_key(&key),
                None => is_secret_query_key(key),
            };
            let redacted = match (is_secret, &self.stand) {
                (true, Stand::Nothing) => {
                    is_changed = true;
                    continue;
                }
                (true, _) if pair.contains('=') => self.secret_pair(key, value),
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
    fn secret_pair(&self, key: &str, value: &str) -> Option<String> {
        let new_key = self.encoded_tokens(key);
        if new_key.is_none() && (value.is_empty() || is_mark(value)) {
            return None;
        }
        let key = new_key.as_deref().unwrap_or(key);
        Some(format!("{key}={}", self.mark_decoded(value)))
    }

    /// A pair whose key says nothing about its value.
    fn query_pair(&self, pair: &str, depth: u8) -> Option<String> {
        let Some((key, value)) = pair.split_once('=') else {
            return self.encoded_tokens(pair);
        };
        match (self.encoded_tokens(key), self.query_value(value, depth)) {
            (None, None) => None,
            (new_key, new_value) => Some(format!(
                "{}={}",
                new_key.as_deref().unwrap_or(key),
                new_value.as_deref().unwrap_or(value)
            )),
        }
    }

    /// A value that may hold a token, or another URL, encoded or not.
    fn query_value(&self, value: &str, depth: u8) -> Option<String> {
        let decoded = decoded(value);
        let inner = decoded.as_deref().unwrap_or(value);
        if !inner.contains("://") {
            return self.encoded_tokens(value);
        }
        if depth == NESTED_URLS {
            return Some(self.mark_whole(inner));
        }
        let redacted = self.changed_url_at(inner, depth + 1)?;
        Some(match decoded {
            Some(_) => utf8_percent_encode(&redacted, QUERY_VALUE).to_string(),
            None => redacted,
        })
    }
}

/// The URL without userinfo and without the query keys that [`is_secret_query_key`] knows, and with
/// one fixed word for tokens elsewhere: what can be compared between a recording and a live request.
pub fn url_without_secrets(url: &str) -> String {
    Redactor {
        stand: Stand::Nothing,
        known: None,
    }
    .url(url)
}

/// Does `element` stand behind a telling path element, and look random?
///
/// No dots, dashes or signs: a module's own name behind `/token/` has few digits, a version has dots.
fn is_token_behind(before: &str, element: &str) -> bool {
    let decoded = decoded(element);
    let element = decoded.as_deref().unwrap_or(element);
    element.len() >= RANDOM_BYTES
        && before.len() <= 12
        && TOKEN_ELEMENTS
            .iter()
            .any(|name| name.eq_ignore_ascii_case(before))
        && element
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'='))
        && element.bytes().filter(u8::is_ascii_digit).count() >= 3
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

/// Up to the first `/`, `?` or `#`; further, if what stands before it can only be a user and the
/// beginning of a password that should have been encoded (`https://user:pa/ss@host`).
fn authority_len(rest: &str) -> usize {
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !authority.contains('@') && !authority.ends_with(']') => port,
        _ => return end,
    };
    if port.bytes().all(|b| b.is_ascii_digit()) {
        return end;
    }
    match rest.find('@') {
        Some(at) => {
            at + 1
                + rest[at + 1..]
                    .find(['/', '?', '#', '\\'])
                    .unwrap_or(rest.len() - at - 1)
        }
        None => end,
    }
}

/// Does `url` break off inside a password that holds what should have been encoded?
pub(super) fn ends_in_password(url: &str) -> bool {
    let Some((_, authority)) = url.split_once("://") else {
        return false;
    };
    match authority.rsplit_once(':') {
        Some((_, port)) if !authority.contains(['/', '?', '#', '@']) => {
            !authority.ends_with(']') && port.bytes().any(|b| !b.is_ascii_digit())
        }
        _ => false,
    }
}

/// `user:password@host` without a scheme, as proxy variables may have it; else nothing.
fn bare_authority_len(rest: &str) -> usize {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].split_once('@') {
        Some((userinfo, _)) if has_password(userinfo) => end,
        _ => 0,
    }
}

/// Is there a colon that is not a mark's own?
pub(super) fn has_password(userinfo: &str) -> bool {
    userinfo.contains(':') && userinfo.replace(MARK, "").contains(':')
}
