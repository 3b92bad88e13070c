//! What a request asks for, and of whom: what names two hosts, or another than its connection leads
//! to, is refused here.

use http::{Method, StatusCode, header, request};

use super::channel::{Channel, Destination};
use super::headers;
use crate::exchange::Target;

/// What the client asks for, and of whom.
pub(super) fn asked(
    channel: &Channel,
    head: &request::Parts,
) -> Result<(String, Target), (StatusCode, String)> {
    let bad = |why: &str| (StatusCode::BAD_REQUEST, why.to_owned());
    if head.method == Method::CONNECT {
        return Err(bad("CONNECT is for the first request of a connection"));
    }
    if let Some(what) = headers::ambiguity(&head.headers) {
        return Err(bad(&format!("the request has {what}")));
    }
    // RFC 9113 section 8.2.1; HTTP/1 takes it off when it parses.
    if head
        .headers
        .values()
        .any(|value| value.as_bytes() != value.as_bytes().trim_ascii())
    {
        return Err(bad(
            "whitespace stands at the start or end of a field value",
        ));
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    if !path.starts_with('/') && head.method != Method::OPTIONS {
        return Err(bad("the path does not begin with a slash"));
    }
    // RFC 9110 sections 7.4 and 15.5.20: this connection does not speak for that origin.
    let misdirected = |why: String| (StatusCode::MISDIRECTED_REQUEST, why);
    match &channel.destination {
        Destination::Tunnelled { target, host } => {
            let named = authority(head, "https").map_err(bad)?;
            if named.host() != host || named.port() != target.port() {
                let why = format!("this connection leads to {host}, not to {}", named.host());
                return Err(misdirected(why));
            }
            if head
                .uri
                .scheme_str()
                .is_some_and(|scheme| scheme != "https")
            {
                return Err(misdirected(String::from("this connection is for https")));
            }
            Ok((url("https", &named, path), named))
        }
        Destination::Plain => {
            if head.uri.scheme_str() != Some("http") {
                let why = "this is a proxy: it takes CONNECT and absolute http:// URLs";
                return Err(bad(why));
            }
            let named = authority(head, "http").map_err(bad)?;
            Ok((url("http", &named, path), named))
        }
    }
}

/// The authority of the URL, else the Host field (RFC 9112 section 3.3); both must name the same.
fn authority(head: &request::Parts, scheme: &str) -> Result<Target, &'static str> {
    let default_port = if scheme == "https" { 443 } else { 80 };
    let target = |written: &str| {
        let target = Target::with_default_port(written, default_port);
        target.map_err(|_| "the request names no usable host")
    };
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err("the request has two Host fields");
    }
    let host = host.map(|host| target(host.to_str().unwrap_or_default()));
    let named = head.uri.authority().map(|named| target(named.as_str()));
    match (named, host) {
        (None, None) => Err("the request names no host"),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(named), Some(host)) => match (named?, host?) {
            (named, host) if named == host => Ok(named),
            _ => Err("the URL and the Host field name different hosts"),
        },
    }
}

/// The whole URL of a request that [`asked`] refuses, and its host: as far as the request names one,
/// else that of its connection, else a name that nobody can have (RFC 2606 section 2).
pub(super) fn refused(channel: &Channel, head: &request::Parts) -> (String, String) {
    let (scheme, own) = match &channel.destination {
        Destination::Tunnelled { target, host } => ("https", Target::new(host, target.port()).ok()),
        Destination::Plain if head.method == Method::CONNECT => ("https", None),
        Destination::Plain => ("http", None),
    };
    whole(head, scheme, own)
}

fn whole(head: &request::Parts, scheme: &str, own: Option<Target>) -> (String, String) {
    if let (Some(_), Some(host)) = (head.uri.scheme(), head.uri.host()) {
        return (head.uri.to_string(), host.to_ascii_lowercase());
    }
    let host = head.headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let default_port = if scheme == "https" { 443 } else { 80 };
    let mut named = authority
        .into_iter()
        .chain(host)
        .filter_map(|named| Target::with_default_port(named, default_port).ok());
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    match named.next().or(own) {
        Some(target) => (url(scheme, &target, path), target.host().to_owned()),
        None => (format!("{scheme}://{NOBODY}{path}"), NOBODY.to_owned()),
    }
}

/// Stands for the host of a request that names none.
const NOBODY: &str = "unnamed.invalid";

pub(super) fn url(scheme: &str, target: &Target, path: &str) -> String {
    let default = matches!((scheme, target.port()), ("https", 443) | ("http", 80));
    let host = target.host();
    match (default, host.contains(':')) {
        (true, true) => format!("{scheme}://[{host}]{path}"),
        (true, false) => format!("{scheme}://{host}{path}"),
        (false, _) => format!("{scheme}://{target}{path}"),
    }
}

/// The absolute form of a URI, for tests of the tables above.
#[cfg(test)]
fn parts(method: Method, uri: &str, host: Option<&str>) -> request::Parts {
    let mut request = http::Request::builder()
        .method(method)
        .uri(uri.parse::<http::Uri>().unwrap());
    if let Some(host) = host {
        request = request.header(header::HOST, host);
    }
    request.body(()).unwrap().into_parts().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_leaves_out_what_the_scheme_implies() {
        for (scheme, target, expected) in [
            ("https", "a.example:443", "https://a.example/p?q"),
            ("https", "a.example:8443", "https://a.example:8443/p?q"),
            ("http", "[::1]:80", "http://[::1]/p?q"),
            ("http", "[::1]:443", "http://[::1]:443/p?q"),
        ] {
            assert_eq!(url(scheme, &target.parse().unwrap(), "/p?q"), expected);
        }
    }

    #[test]
    fn a_request_that_is_refused_has_a_whole_url_and_a_host() {
        let own = || Some("own.example:8443".parse::<Target>().unwrap());
        for (uri, host, own, expected, named) in [
            (
                "/p?q",
                Some("B.example"),
                own(),
                "https://b.example/p?q",
                "b.example",
            ),
            (
                "/p",
                Some("a b"),
                own(),
                "https://own.example:8443/p",
                "own.example",
            ),
            ("*", None, own(), "https://own.example:8443/", "own.example"),
            ("/p", None, None, "https://unnamed.invalid/p", NOBODY),
            (
                "c.example:443",
                None,
                None,
                "https://c.example/",
                "c.example",
            ),
            (
                "http://D.example/p",
                None,
                own(),
                "http://D.example/p",
                "d.example",
            ),
        ] {
            let told = whole(&parts(Method::GET, uri, host), "https", own);
            assert_eq!(told, (expected.to_owned(), named.to_owned()), "{uri}");
        }
    }

    #[test]
    fn the_authority_is_the_urls_else_the_host_fields() {
        let named = |uri, host| authority(&parts(Method::GET, uri, host), "https");
        let target = |text: &str| Ok(text.parse::<Target>().unwrap());
        assert_eq!(named("/p", Some("A.example")), target("a.example:443"));
        assert_eq!(named("https://b.example:1/p", None), target("b.example:1"));
        // RFC 3986 section 3.2.3: an empty port is the scheme's.
        assert_eq!(named("/p", Some("a.example:")), target("a.example:443"));
        let same = named("https://a.example/p", Some("A.example.:443"));
        assert_eq!(same, target("a.example:443"));
        for (uri, host) in [
            ("/p", None),
            ("/p", Some("")),
            ("/p", Some("a b")),
            ("/p", Some("b@a.example")),
            ("/p", Some("a.example:0x50")),
            ("/p", Some("a.example:65979")),
            ("/p", Some("a.example, b.example")),
            ("https://u@a.example/p", None),
            ("https://a.example/p", Some("b.example")),
            ("https://a.example/p", Some("a.example:80")),
        ] {
            assert!(named(uri, host).is_err(), "{uri} {host:?}");
        }
    }
}
