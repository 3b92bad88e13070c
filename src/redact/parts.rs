//! The parts of a URL, and of what looks like one, and where in them a password stands.
//!
//! More forgiving than a URL parser: people write passwords that should have been encoded.

use std::ops::Range;

use super::word::scheme_len;
use super::{MARK, MARK_BYTES, is_mark};

/// A URL cut where its parts meet; all slices of the same text.
pub(super) struct Parts<'a> {
    /// `https://`, `//`, or nothing in a relative URL.
    pub(super) scheme: &'a str,
    /// Before the last `@` of the authority.
    pub(super) userinfo: Option<&'a str>,
    /// Host and port.
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
    pub(super) fragment: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(url: &'a str) -> Self {
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
    pub(super) fn is_http(&self) -> bool {
        let scheme = self.scheme.trim_end_matches("://").as_bytes();
        let ends_with = |end: &[u8]| {
            let start = scheme.len().saturating_sub(end.len());
            scheme[start..].eq_ignore_ascii_case(end)
        };
        self.scheme == "//" || ends_with(b"http") || ends_with(b"https")
    }

    /// Where in the whole URL another one begins behind its host or in its path, as in a list of
    /// URLs, or in `https://cache.corp/https://h.corp/`.
    pub(super) fn further_url(&self) -> Option<usize> {
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
