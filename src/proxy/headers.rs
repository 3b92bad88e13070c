//! Heads between the legs: hop-by-hop fields go, the form of the target fits the protocol.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, Version, request, response};

use crate::recording::line::FieldsText;
use crate::redact::Redactor;
use crate::tls::Protocol;

/// Fields of one connection, not of the message (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Fields that `Connection` cannot take away: they are for the origin or for the reader of its
/// response (RFC 9110 section 7.6.1), and a message without them would mean something else.
const END_TO_END: [HeaderName; 13] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::ETAG,
    header::HOST,
    header::LOCATION,
    header::RANGE,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
];

/// Fields of framing, routing and credentials, which have no place behind a body.
const ONLY_IN_A_HEAD: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::SET_COOKIE,
    header::TRAILER,
];

/// A token of RFC 9110 section 5.6.2, as a method or a field name is one.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    HeaderName::from_bytes(bytes).is_ok()
}

/// Header fields as the recording holds them: without their secrets.
pub(super) fn recorded(redactor: &Redactor, headers: &HeaderMap) -> FieldsText {
    let fields = headers.iter().map(|(name, value)| {
        let name = name.as_str();
        (name, redactor.field(name, value.as_bytes()))
    });
    FieldsText::of(fields)
}

/// The size of a field section (RFC 9113 section 6.5.2): a few bytes of HPACK may stand for all of it.
pub(super) fn section_bytes(headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum()
}

/// `HTTP/1.1` or `HTTP/2`.
pub(super) fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// Removes what belongs to one connection, `Connection`'s own list included.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = named(headers, &header::CONNECTION)
        .filter(|name| !END_TO_END.contains(name))
        .collect();
    without(headers, |name| {
        HOP_BY_HOP.contains(name) || named.contains(name)
    });
}

/// Removes what `goes`. The order of the rest stays: `HeaderMap::remove` would put the last field
/// in the place of the one that goes.
fn without(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    if !headers.keys().any(&goes) {
        return;
    }
    let stay = headers.iter().filter(|(name, _)| !goes(name));
    *headers = stay
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
}

/// Equal lengths are one length (RFC 9110 section 8.6).
fn one_length(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let (Some(first), Some(_)) = (lengths.next().cloned(), lengths.next()) {
        headers.insert(header::CONTENT_LENGTH, first);
    }
}

/// Whether the sender of this head takes trailers.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::TE).iter();
    let mut codings = values.flat_map(|value| elements(value.as_bytes()));
    codings.any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

/// The trailers that a response head announces.
pub(super) fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    named(headers, &header::TRAILER).collect()
}

/// Whether the connection ends behind this response (RFC 9112 section 9.3).
pub(super) fn closes(head: &response::Parts) -> bool {
    let says = |what: &str| named(&head.headers, &header::CONNECTION).any(|name| name == what);
    says("close") || head.version == Version::HTTP_10 && !says("keep-alive")
}

/// The names in a list of field names.
fn named<'a>(
    headers: &'a HeaderMap,
    list: &HeaderName,
) -> impl Iterator<Item = HeaderName> + use<'a> {
    let values = headers.get_all(list).iter();
    let names = values.flat_map(|value| elements(value.as_bytes()));
    names.filter_map(|name| HeaderName::from_bytes(name).ok())
}

/// The elements of a field value that is a list (RFC 9110 section 5.6.1), none of which may hold a
/// comma.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let elements = value.split(|byte| *byte == b',');
    elements.map(<[u8]>::trim_ascii)
}

/// Makes a request head fit for the upstream leg.
pub(super) fn to_upstream(head: &mut request::Parts, authority: &str, protocol: Protocol) {
    let takes_trailers = takes_trailers(&head.headers);
    strip(&mut head.headers);
    if takes_trailers {
        // We pass them on to those who ask.
        let trailers = HeaderValue::from_static("trailers");
        head.headers.insert(header::TE, trailers);
        if protocol == Protocol::Http1 {
            let te = HeaderValue::from_static("te");
            head.headers.insert(header::CONNECTION, te);
        }
    }
    one_length(&mut head.headers);
    let path = head.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    match protocol {
        Protocol::Http1 => {
            head.version = Version::HTTP_11;
            if let Ok(host) = HeaderValue::from_str(authority) {
                // RFC 9112 section 3.2.2: the target decides, whatever a Host field says.
                head.headers.insert(header::HOST, host);
            }
            head.uri = Uri::from(path);
        }
        Protocol::H2 => {
            head.version = Version::HTTP_2;
            without(&mut head.headers, |name| *name == header::HOST);
            let whole = Uri::builder().scheme("https").authority(authority);
            if let Ok(uri) = whole.path_and_query(path).build() {
                head.uri = uri;
            }
        }
    }
}

/// Removes from trailers what only a head may say (RFC 9110 section 6.5.1), also where `_` stands for
/// `-`, as CGI would read it.
pub(super) fn trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    without(trailers, |name| {
        let plain = name.as_str().replace('_', "-");
        let is = |other: &HeaderName| *other == plain[..];
        ONLY_IN_A_HEAD.iter().chain(&HOP_BY_HOP).any(is)
    });
}

/// What two readers of this head could take differently, whatever leg it came by. Of HTTP/1 requests
/// `guard::framing` has refused what hyper's parse does not show.
pub(super) fn ambiguity(headers: &HeaderMap) -> Option<&'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let codings: Vec<_> = headers.get_all(header::TRANSFER_ENCODING).iter().collect();
    let is_length = |value: &HeaderValue| {
        let digits = value.as_bytes();
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    if let Some(first) = lengths.next() {
        if !codings.is_empty() {
            return Some("both Content-Length and Transfer-Encoding");
        }
        if !is_length(first) {
            return Some("a Content-Length that is no number");
        }
        if lengths.any(|other| other != first) {
            return Some("two Content-Lengths that differ");
        }
    }
    match &codings[..] {
        [] => {}
        [one] if one.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        _ => return Some("a Transfer-Encoding other than chunked"),
    }
    let is_disguised = |name: &HeaderName| {
        let name = name.as_str();
        name.contains('_') && {
            let plain = name.replace('_', "-");
            ["content-length", "transfer-encoding"].contains(&&plain[..])
        }
    };
    let disguised = headers.keys().any(is_disguised);
    disguised.then_some("a framing field spelled with an underscore")
}

/// Makes a response head fit for the client leg.
pub(super) fn to_client(head: &mut response::Parts, protocol: Protocol) {
    // hyper frames the body anew; a length that the origin gave stays, once.
    strip(&mut head.headers);
    one_length(&mut head.headers);
    head.version = match protocol {
        Protocol::Http1 => Version::HTTP_11,
        Protocol::H2 => Version::HTTP_2,
    };
}

#[cfg(test)]
mod tests;
