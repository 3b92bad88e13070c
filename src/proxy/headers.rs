//! Heads between the legs: hop-by-hop fields go, the form of the target fits the protocol.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, Version, request, response};

use crate::exchange::{Fields, Octets};
use crate::tls::Protocol;

/// Fields of one connection, not of the message (RFC 9110 section 7.6.1), and `Expect`, which
/// hyper answers on the client leg already.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    header::EXPECT,
];

/// Header fields as the recording holds them.
pub(super) fn fields(headers: &HeaderMap) -> Fields {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), Octets(value.as_bytes().to_vec())))
        .collect()
}

/// `HTTP/1.1` or `HTTP/2`.
pub(super) fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// Removes what belongs to one connection, `Connection`'s own list included. The order of the rest
/// stays: `HeaderMap::remove` would put the last field in the place of the one that goes.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // Whoever lists these would take them from the message, not from the connection.
        .filter(|name| *name != header::AUTHORIZATION && *name != header::HOST)
        .collect();
    let goes = |name: &HeaderName| HOP_BY_HOP.contains(name) || named.contains(name);
    if !headers.keys().any(goes) {
        return;
    }
    let stay = headers.iter().filter(|(name, _)| !goes(name));
    *headers = stay
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
}

/// Makes a request head fit for the upstream leg.
pub(super) fn to_upstream(head: &mut request::Parts, authority: &str, protocol: Protocol) {
    strip(&mut head.headers);
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
            head.headers.remove(header::HOST);
            let whole = Uri::builder().scheme("https").authority(authority);
            if let Ok(uri) = whole.path_and_query(path).build() {
                head.uri = uri;
            }
        }
    }
}

/// Makes a response head fit for the client leg.
pub(super) fn to_client(head: &mut response::Parts, protocol: Protocol) {
    // hyper frames the body anew; a length that the origin gave stays.
    strip(&mut head.headers);
    head.version = match protocol {
        Protocol::Http1 => Version::HTTP_11,
        Protocol::H2 => Version::HTTP_2,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&'static str, &str)]) -> request::Parts {
        let mut request = http::Request::get("/a?b");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let mut head = head(&[
            ("connection", "x-hop, Authorization, keep-alive"),
            ("x-hop", "1"),
            ("authorization", "Basic eDp5"),
            ("proxy-authorization", "Basic eDp5"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("accept", "*/*"),
        ]);
        to_upstream(&mut head, "a.example", Protocol::Http1);
        let names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["authorization", "accept", "host"]);
    }

    #[test]
    fn the_target_has_the_form_of_the_protocol() {
        let mut one = head(&[("host", "a.example")]);
        to_upstream(&mut one, "a.example", Protocol::H2);
        assert_eq!(one.uri, "https://a.example/a?b");
        assert!(!one.headers.contains_key("host"));
        to_upstream(&mut one, "a.example", Protocol::Http1);
        assert_eq!(one.uri, "/a?b");
        assert_eq!(one.headers["host"], "a.example");
    }
}
