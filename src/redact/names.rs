//! Names that say that a secret stands behind them.

/// Query keys that are secret as a whole; those with a telling part are found by [`has_telling_part`].
///
/// Signed URLs of Google and Amazon storage, Azure (`sig`), Aliyun (`auth_key`, `OSSAccessKeyId`),
/// Tencent (`sign`, `q-ak`), CloudFront (`Policy`, `Key-Pair-Id`); OAuth 2 (RFC 6749: `code`).
const QUERY_KEYS: [&str; 23] = [
    "assertion",
    "auth",
    "auth_key",
    "authorization",
    "awsaccesskeyid",
    "code",
    "googleaccessid",
    "jwt",
    "key",
    "key-pair-id",
    "ossaccesskeyid",
    "pass",
    "pat",
    "policy",
    "pwd",
    "q-ak",
    "session",
    "sessionid",
    "sid",
    "sig",
    "sign",
    "wssecret",
    "x-amz-security-token",
];

/// Header fields that are secret as a whole value, besides those with a telling part.
const FIELDS: [&str; 5] = [
    "authentication-info",
    "proxy-authentication-info",
    "x-jfrog-art-api",
    "x-auth-key",
    "x-forwarded-access",
];

/// Parts of a name that give it away anywhere it is used.
const TELLING_PARTS: [&str; 14] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "signature",
    "credential",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "private_key",
    "private-key",
];

/// Longer names are compared by their first octets only.
const NAME_BYTES: usize = 64;

/// Does the value of this query key stay out of recordings? Case does not matter.
///
/// `token`, `sig`, `X-Amz-Signature`, `X-Goog-Credential`, `GoogleAccessId`, `api_key`, `code`, …
pub fn is_secret_query_key(key: &str) -> bool {
    let mut room = [0; NAME_BYTES];
    let key = lower(key, &mut room);
    !matches!(key, b"" | b"go-get" | b"service")
        && (QUERY_KEYS.iter().any(|name| name.as_bytes() == key) || has_telling_part(key))
}

/// Is the whole value of this header field secret?
pub(super) fn is_secret_field(name: &str) -> bool {
    let mut room = [0; NAME_BYTES];
    let name = lower(name, &mut room);
    // `Access-Control-Allow-Credentials: true` tells a browser, and nobody else.
    !name.starts_with(b"access-control-")
        && (has_telling_part(name) || FIELDS.iter().any(|field| field.as_bytes() == name))
}

/// Does a variable, a flag or a word of a message with this name hold a secret?
pub(super) fn is_secret_word(name: &str) -> bool {
    let mut room = [0; NAME_BYTES];
    let name = lower(name, &mut room);
    matches!(name, b"pwd" | b"pat" | b"jwt" | b"sig" | b"authorization")
        || name.ends_with(b"_pat")
        || name.ends_with(b"_pwd")
        || name.ends_with(b"_auth")
        || name.ends_with(b"-authorization")
        || has_telling_part(name)
}

/// The octets that a telling part can begin with: every field of every exchange is looked at.
const FIRST: [bool; 256] = {
    let mut first = [false; 256];
    let mut i = 0;
    while i < TELLING_PARTS.len() {
        first[TELLING_PARTS[i].as_bytes()[0] as usize] = true;
        i += 1;
    }
    first
};

fn has_telling_part(name: &[u8]) -> bool {
    (0..name.len()).any(|start| {
        let rest = &name[start..];
        FIRST[usize::from(rest[0])]
            && TELLING_PARTS.iter().any(|part| rest.starts_with(part.as_bytes()))
    })
}

/// The first octets of `name` in lower case.
fn lower<'a>(name: &str, room: &'a mut [u8; NAME_BYTES]) -> &'a [u8] {
    let len = name.len().min(NAME_BYTES);
    room[..len].copy_from_slice(&name.as_bytes()[..len]);
    room[..len].make_ascii_lowercase();
    &room[..len]
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
