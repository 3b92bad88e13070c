//! A request target (RFC 9112 section 3.2).

use super::Violation;
use http::uri::Authority;

/// The four forms, without a fragment, and such that hyper takes them: it answers others by itself.
pub(super) fn check(method: &[u8], target: &[u8]) -> Result<(), Violation> {
    let path = match target {
        [b'/', ..] => target,
        b"*" if method == b"OPTIONS" => return Ok(()),
        _ if method == b"CONNECT" => return is_authority(target),
        other => {
            let rest = behind_scheme(other).ok_or(Violation::Target)?;
            let path = rest.iter().position(|octet| matches!(octet, b'/' | b'?'));
            let (authority, path) = rest.split_at(path.unwrap_or(rest.len()));
            is_authority(authority)?;
            path
        }
    };
    let is_barred = |octet: &u8| octet.is_ascii_control() || matches!(octet, b' ' | b'#');
    if path.iter().any(is_barred) {
        return Err(Violation::Target);
    }
    match raw(path).next() {
        Some(_) => Err(Violation::RawTarget),
        None => Ok(()),
    }
}

fn behind_scheme(target: &[u8]) -> Option<&[u8]> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme.as_bytes())
            .then_some(rest)
    })
}

fn is_authority(octets: &[u8]) -> Result<(), Violation> {
    let parsed = Authority::try_from(octets);
    parsed.map(|_| ()).map_err(|_| Violation::Target)
}

/// Where a path and its query hold an octet that `http::Uri` does not take, or that is not ASCII.
fn raw(path: &[u8]) -> impl Iterator<Item = usize> {
    let query = path.iter().position(|octet| *octet == b'?');
    let query = query.unwrap_or(path.len());
    let is_raw = move |at: usize, octet: u8| match octet {
        b'<' | b'>' | 0x80.. => true,
        b'`' => at < query,
        b'"' => at > query,
        _ => false,
    };
    let octets = path.iter().copied().enumerate();
    octets.filter_map(move |(at, octet)| is_raw(at, octet).then_some(at))
}

/// Percent-encodes what is raw in the target of the head that begins at `from`; false if there is no
/// target to be found.
pub(crate) fn encode_target(octets: &mut Vec<u8>, from: usize) -> bool {
    let Some((start, end)) = find(&octets[from..]) else {
        return false;
    };
    let target = &octets[from + start..from + end];
    let mut raw = raw(target).peekable();
    let mut encoded = Vec::with_capacity(3 * target.len());
    for (at, octet) in target.iter().enumerate() {
        match raw.next_if_eq(&at) {
            Some(_) => encoded.extend_from_slice(format!("%{octet:02X}").as_bytes()),
            None => encoded.push(*octet),
        }
    }
    drop(raw);
    octets.splice(from + start..from + end, encoded);
    true
}

/// Where the target of a head stands: between the first two spaces of its first line, before which
/// one may be empty.
fn find(head: &[u8]) -> Option<(usize, usize)> {
    let skipped = if head.starts_with(b"\r\n") { 2 } else { 0 };
    let line = head[skipped..].split(|octet| *octet == b'\n').next()?;
    let mut spaces = line.iter().enumerate().filter(|(_, octet)| **octet == b' ');
    let (first, second) = (spaces.next()?.0, spaces.next()?.0);
    Some((skipped + first + 1, skipped + second))
}
