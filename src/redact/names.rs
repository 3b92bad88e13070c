//! Names that say that a secret stands behind them.

use super::screen::{Screen, begins};

/// Query keys that are secret as a whole; those with a telling part are found by [`TELLING`].
///
/// Signed URLs of Google and Amazon storage, Azure (`sig`), Aliyun (`auth_key`, `OSSAccessKeyId`),
/// Tencent (`sign`, `q-ak`), CloudFront (`Policy`, `Key-Pair-Id`); OAuth 2 (RFC 6749: `code`).
///
/// PKCE (RFC 7636: `code_verifier`), CAS (`ticket`), SAML, Akamai (`hdnea`, `hdnts`).
const QUERY_KEYS: [&str; 31] = [
    "assertion",
    "auth",
    "auth_key",
    "authorization",
    "awsaccesskeyid",
    "code",
    "code_verifier",
    "googleaccessid",
    "hdnea",
    "hdnts",
    "jsessionid",
    "jwt",
    "key",
    "key-pair-id",
    "ossaccesskeyid",
    "pass",
    "pat",
    "policy",
    "pwd",
    "q-ak",
    "samlrequest",
    "samlresponse",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "sig",
    "sign",
    "ticket",
    "wssecret",
    "x-amz-security-token",
];

/// Header fields that are secret as a whole value, besides those with a telling part.
const FIELDS: [&str; 6] = [
    "authentication-info",
    "dpop",
    "key",
    "proxy-authentication-info",
    "x-auth",
    "x-jfrog-art-api",
];

/// Endings and parts of header fields' names that are telling there, and too common elsewhere.
const FIELD_ENDS: [&str; 4] = ["-key", "_key", "-auth", "-pat"];
const FIELD_PARTS: [&str; 6] = [
    "authorization",
    "session",
    "csrf",
    "xsrf",
    "jwt",
    "assertion",
];

/// Words and endings that are telling in a message or on a command line.
const WORDS: [&str; 6] = ["pwd", "pat", "jwt", "sig", "authorization", "oauth2-bearer"];
const WORD_ENDS: [&str; 4] = ["_pat", "_pwd", "_auth", "-authorization"];

/// Names with such an ending that are no secret: what a cache goes by, and a handshake's nonce.
const OPEN_FIELDS: [&str; 4] = [
    "surrogate-key",
    "cache-key",
    "x-cache-key",
    "sec-websocket-key",
];

/// Parts that give a name away anywhere it is used.
const TELLING: [&str; 14] = [
    "token",
    "secret",
    "signature",
    "passw",
    "passphrase",
    "private_key",
    "private-key",
    "credential",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
];

/// Notices where a telling part may begin.
pub(super) const SCREEN: Screen = Screen::EMPTY.with(&TELLING);
static TELLING_SCREEN: Screen = SCREEN;
static FIELD_SCREEN: Screen = SCREEN.with(&FIELD_PARTS);

/// Does the value of this query key stay out of recordings? Case does not matter.
///
/// `token`, `sig`, `X-Amz-Signature`, `X-Goog-Credential`, `GoogleAccessId`, `api_key`, `code`, …
pub fn is_secret_query_key(key: &str) -> bool {
    QUERY_KEYS.iter().any(|name| name.eq_ignore_ascii_case(key)) || has_telling_part(key)
}

/// Is the whole value of this header field secret?
pub(super) fn is_secret_field(name: &str) -> bool {
    let octets = name.as_bytes();
    let is = |field: &&str| field.eq_ignore_ascii_case(name);
    let is_telling = FIELD_SCREEN.any(octets, |at| {
        let rest = &octets[at..];
        begins_telling(rest) || FIELD_PARTS.iter().any(|part| begins(rest, part))
    });
    (is_telling || FIELDS.iter().any(is) || FIELD_ENDS.iter().any(|end| ends(octets, end)))
        // `Access-Control-Allow-Credentials: true` tells a browser, and nobody else.
        && !begins(octets, "access-control-")
        && !OPEN_FIELDS.iter().any(is)
}

/// Does a variable, a flag or a word of a message with this name hold a secret?
pub(super) fn is_secret_word(name: &str) -> bool {
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(name))
        || WORD_ENDS.iter().any(|end| ends(name.as_bytes(), end))
        || has_telling_part(name)
}

fn has_telling_part(name: &str) -> bool {
    let octets = name.as_bytes();
    TELLING_SCREEN.any(octets, |at| begins_telling(&octets[at..]))
}

/// Does a telling part stand at the beginning?
pub(super) fn begins_telling(octets: &[u8]) -> bool {
    TELLING.iter().any(|part| begins(octets, part))
}

fn ends(name: &[u8], end: &str) -> bool {
    let start = name.len().checked_sub(end.len());
    start.is_some_and(|start| begins(&name[start..], end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_keys_of_signed_urls_are_secret_whatever_their_case() {
        for key in [
            "token",
            "Token",
            "sig",
            "Signature",
            "X-Amz-Signature",
            "X-Amz-Credential",
            "X-Amz-Security-Token",
            "X-Goog-Signature",
            "X-Goog-Credential",
            "GoogleAccessId",
            "access_token",
            "api_key",
            "apikey",
            "key",
            "password",
            "code",
            "AWSAccessKeyId",
            "OSSAccessKeyId",
            "auth_key",
            "private_token",
            "job_token",
            "client_secret",
        ] {
            assert!(is_secret_query_key(key), "{key}");
        }
    }

    #[test]
    fn a_long_name_is_read_to_its_end() {
        let long = "x".repeat(200);
        assert!(is_secret_query_key(&format!("{long}_Token")));
        assert!(!is_secret_query_key(&long));
    }

    #[test]
    fn query_keys_that_say_what_is_asked_are_no_secret() {
        for key in [
            "",
            "go-get",
            "service",
            "Expires",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-Algorithm",
            "X-Amz-SignedHeaders",
            "X-Goog-Date",
            "X-Goog-SignedHeaders",
            "v",
            "ref",
            "path",
            "page",
            "generation",
            "response-content-disposition",
            "keyword",
            "codec",
        ] {
            assert!(!is_secret_query_key(key), "{key}");
        }
    }
}
