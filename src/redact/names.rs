//! Names that say that a secret stands behind them.

/// Query keys that are secret as a whole; those with a telling part are found by [`has_telling_part`].
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

/// Names with such an ending that are no secret: what a cache goes by, and a handshake's nonce.
const OPEN_FIELDS: [&str; 4] = [
    "surrogate-key",
    "cache-key",
    "x-cache-key",
    "sec-websocket-key",
];

/// Names up to this length are compared without an allocation.
const NAME_BYTES: usize = 64;

/// Does the value of this query key stay out of recordings? Case does not matter.
///
/// `token`, `sig`, `X-Amz-Signature`, `X-Goog-Credential`, `GoogleAccessId`, `api_key`, `code`, …
pub fn is_secret_query_key(key: &str) -> bool {
    in_lower_case(key, |key| {
        QUERY_KEYS.iter().any(|name| name.as_bytes() == key) || has_telling_part(key)
    })
}

/// Is the whole value of this header field secret?
pub(super) fn is_secret_field(name: &str) -> bool {
    in_lower_case(name, |name| {
        // `Access-Control-Allow-Credentials: true` tells a browser, and nobody else.
        let is = |field: &&str| field.as_bytes() == name;
        !name.starts_with(b"access-control-")
            && !OPEN_FIELDS.iter().any(is)
            && (has_telling_part(name)
                || FIELDS.iter().any(is)
                || FIELD_ENDS.iter().any(|end| name.ends_with(end.as_bytes()))
                || FIELD_PARTS.iter().any(|part| holds(name, part.as_bytes())))
    })
}

/// Is there a word in the text that a secret may follow?
pub(super) fn may_name_secret(text: &str) -> bool {
    in_lower_case(text, has_telling_part)
}

fn holds(name: &[u8], part: &[u8]) -> bool {
    name.windows(part.len()).any(|window| window == part)
}

/// Does a variable, a flag or a word of a message with this name hold a secret?
pub(super) fn is_secret_word(name: &str) -> bool {
    in_lower_case(name, |name| {
        matches!(
            name,
            b"pwd" | b"pat" | b"jwt" | b"sig" | b"authorization" | b"oauth2-bearer"
        ) || [&b"_pat"[..], b"_pwd", b"_auth", b"-authorization"]
            .iter()
            .any(|end| name.ends_with(end))
            || has_telling_part(name)
    })
}

/// Is there a part that gives a lower-case name away anywhere it is used?
fn has_telling_part(name: &[u8]) -> bool {
    (0..name.len()).any(|start| {
        let rest = &name[start..];
        let is = |part: &str| rest.starts_with(part.as_bytes());
        match rest[0] {
            b't' => is("token"),
            b's' => is("secret") || is("signature"),
            b'p' => is("passw") || is("passphrase") || is("private_key") || is("private-key"),
            b'c' => is("credential"),
            b'a' => {
                ["apikey", "api_key", "api-key"].into_iter().any(is)
                    || ["accesskey", "access_key", "access-key"]
                        .into_iter()
                        .any(is)
            }
            _ => false,
        }
    })
}

/// Asks about `name` in lower case.
fn in_lower_case(name: &str, is: impl FnOnce(&[u8]) -> bool) -> bool {
    let mut room = [0; NAME_BYTES];
    match room.get_mut(..name.len()) {
        Some(lower) => {
            lower.copy_from_slice(name.as_bytes());
            lower.make_ascii_lowercase();
            is(lower)
        }
        None => is(&name.as_bytes().to_ascii_lowercase()),
    }
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
