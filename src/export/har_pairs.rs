//! Names and values of a HAR's messages: header fields, query, cookies.

use std::borrow::Cow;

use serde::Serialize;

use crate::exchange::{Fields, Octets};

/// HAR's `header`, `queryString` and `cookie`: all three are names and values.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Pair<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

fn pair<'a>((name, value): (Cow<'a, str>, Cow<'a, str>)) -> Pair<'a> {
    Pair {
        name,
        value,
        comment: None,
    }
}

/// Header fields, without loss.
pub(super) fn headers(fields: &Fields) -> Vec<Pair<'_>> {
    fields.iter().map(header).collect()
}

fn header((name, value): &(String, Octets)) -> Pair<'_> {
    match std::str::from_utf8(&value.0) {
        Ok(value) => pair((Cow::Borrowed(name), Cow::Borrowed(value))),
        // ISO 8859-1 gives every octet a character, so none is lost.
        Err(_) => Pair {
            name: Cow::Borrowed(name),
            value: value.0.iter().copied().map(char::from).collect(),
            comment: Some("not UTF-8: each character stands for one octet"),
        },
    }
}

/// The query's names and values, percent-decoded.
pub(super) fn query(url: &str) -> Vec<Pair<'_>> {
    let url = url.split_once('#').map_or(url, |(url, _fragment)| url);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes())
        .map(pair)
        .collect()
}

/// The cookies that a request sends back, RFC 6265 section 4.2.1: `a=b; c=d`.
pub(super) fn request_cookies(fields: &Fields) -> Vec<Pair<'_>> {
    cookies(fields, "cookie", |value| value.split(';').collect())
}

/// The cookies that a response sets, RFC 6265 section 4.1.1: `a=b; Path=/; Secure`, of which the first is the cookie.
pub(super) fn response_cookies(fields: &Fields) -> Vec<Pair<'_>> {
    cookies(fields, "set-cookie", |value| {
        value.split(';').take(1).collect()
    })
}

/// Whatever has no `=`, a redacted value for one, is no cookie and stands in the headers only.
fn cookies<'a>(fields: &'a Fields, name: &str, split: impl Fn(&str) -> Vec<&str>) -> Vec<Pair<'a>> {
    let mut cookies = Vec::new();
    for (_, value) in fields
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
    {
        for cookie in split(&value.to_text()) {
            if let Some((name, value)) = cookie.trim().split_once('=') {
                cookies.push(pair((name.to_owned().into(), value.to_owned().into())));
            }
        }
    }
    cookies
}

#[cfg(test)]
mod tests {
    use super::super::sample::fields;
    use super::*;

    fn plain<'a>(pairs: &'a [Pair<'_>]) -> Vec<(&'a str, &'a str)> {
        pairs
            .iter()
            .map(|pair| (&*pair.name, &*pair.value))
            .collect()
    }

    #[test]
    fn a_header_that_is_not_utf_8_keeps_each_octet() {
        let fields = vec![("x-name".to_owned(), Octets(b"caf\xe9\xff".to_vec()))];
        let headers = headers(&fields);
        assert_eq!(plain(&headers), [("x-name", "caf\u{e9}\u{ff}")]);
        assert!(headers[0].comment.is_some());
    }

    #[test]
    fn repeated_headers_stay_apart_and_in_order() {
        let fields = fields(&[("via", "1.1 a"), ("Date", ""), ("via", "1.1 b")]);
        assert_eq!(
            plain(&headers(&fields)),
            [("via", "1.1 a"), ("Date", ""), ("via", "1.1 b")]
        );
    }

    #[test]
    fn a_query_is_decoded_and_its_order_kept() {
        let pairs = query("https://h/p?go-get=1&b&c=x+y%26&=e#f?g=h");
        assert_eq!(
            plain(&pairs),
            [("go-get", "1"), ("b", ""), ("c", "x y&"), ("", "e")]
        );
        assert_eq!(query("https://h/p#f?g=h"), []);
    }

    #[test]
    fn of_set_cookie_only_the_cookie_is_one() {
        let sent = fields(&[("Cookie", "a=b; c=d=e"), ("cookie", "redacted:12ab")]);
        assert_eq!(plain(&request_cookies(&sent)), [("a", "b"), ("c", "d=e")]);
        let set = fields(&[
            ("set-cookie", "sid=1; Path=/; Secure"),
            ("set-cookie", "f="),
        ]);
        assert_eq!(plain(&response_cookies(&set)), [("sid", "1"), ("f", "")]);
    }
}
