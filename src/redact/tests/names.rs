//! Both directions: what a name or a shape gives away, and what only looks like it.

use super::*;

/// Fields whose value stays out, and those whose value stays.
#[test]
fn a_field_is_secret_by_the_words_of_its_name() {
    for name in [
        "X-GitHub-OTP",
        "X-Authentication",
        "X-Passcode",
        "X-Sig",
        "X-Forwarded-Cookie",
        "X-Hub-Signature-256",
        "X-Api-Key",
        "x-apikey",
        "X-CSRFToken",
        "X-SessionID",
        "Ocp-Apim-Subscription-Key",
        "X-Auth",
        "CF-Access-Jwt-Assertion",
    ] {
        assert_eq!(field(name, "hunter2"), "*", "{name}");
    }
    for name in [
        "GitHub-Authentication-Token-Expiration",
        "Idempotency-Key",
        "Surrogate-Key",
        "Sec-WebSocket-Key",
        "X-Token-Type",
        "X-Monkey",
        "X-Design",
        "X-Path",
        "X-Compass",
        "X-Signed-Headers",
        "Authentication-Results",
        "Access-Control-Allow-Credentials",
    ] {
        assert_eq!(field(name, "hunter2"), "hunter2", "{name}");
    }
}

#[test]
fn credentials_are_known_in_any_field() {
    assert_eq!(field("X-Upstream", "Bearer hunter2"), "Bearer *");
    assert_eq!(field("X-Upstream", "Basic dXNlcjpw"), "Basic *");
    for open in [
        "Basic realm=\"go\"",
        "Bearer realm=\"a\",service=\"b\"",
        "Basic auth",
        "bearer",
    ] {
        assert_eq!(field("X-Upstream", open), open);
    }
}

#[test]
fn a_query_key_is_secret_by_its_words_and_its_value() {
    for key in [
        "subscription-key",
        "oauth_verifier",
        "pw",
        "otp",
        "passcode",
        "creds",
        "authkey",
        "license_key",
        "__gda__",
        "code",
        "key",
        "sign",
        "q-signature",
        "x-oss-credential",
        "security-token",
        "X-Obs-Security-Token",
        "accessToken",
        "clientSecret",
        "JSESSIONID",
        "sig",
    ] {
        let url = format!("https://h/x?a=1&{key}=hunter2&b=2");
        let expected = format!("https://h/x?a=1&{key}=*&b=2");
        assert_eq!(starred(&redactor().url(&url)), expected);
        assert_eq!(url_without_secrets(&url), "https://h/x?a=1&b=2", "{key}");
    }
    for pair in [
        "code=404",
        "key=b",
        "sort_key=Name2Date",
        "cache-key=5f3c2b1a",
        "page_token=CAoQ12ab",
        "tokens=100200",
        "tokenizer=Bpe100",
        "sv=2024-11-04",
        "se=2026-11-29T17%3A00%3A00Z",
        "sp=racwdl",
        "spr=https",
        "Expires=1999999999",
        "X-Amz-SignedHeaders=host",
        "X-Goog-Algorithm=GOOG4-RSA-SHA256",
        "q-sign-algorithm=sha1",
        "design=Flat2026",
        "signin=Yes2026",
        "auth=netrc",
        "go-get=1",
    ] {
        let url = format!("https://h/x?{pair}");
        assert_eq!(redactor().url(&url), url);
        assert_eq!(url_without_secrets(&url), url);
    }
}

/// What is replaced when it is recorded is left out when it is compared, and only that.
#[test]
fn a_recorded_url_and_a_live_one_meet() {
    for query in [
        "code=404",
        "code=4/0AbCdEfGh",
        "key=b",
        "key=AbCdEf123",
        "sv=1&sig=a%2Bb",
    ] {
        let live = format!("https://h/x?{query}");
        let recorded = redactor().url(&live);
        assert_eq!(url_without_secrets(&recorded), url_without_secrets(&live));
    }
}

#[test]
fn messages_name_what_is_wrong() {
    for text in [
        "invalid signature: ECDSA",
        "x509: certificate signed by unknown authority: bad key: RSA",
        "invalid token: unexpected end",
        "--- FAIL: TestToken:x (0.00s)",
        "secret: not found",
        "GitHub-Authentication-Token-Expiration: 2026-12-01 00:00:00 UTC",
        "token_type=bearer expires_in=3600",
        "ssh: unable to authenticate, attempted methods [none publickey]",
        "session: closed, cookie: none",
        "go: example.com/key@v1.2.3: reading https://h.corp/key/@v/v1.2.3.info: 404",
    ] {
        assert_eq!(redactor().text(text), text);
    }
    for (text, expected) in [
        ("Cookie: sid=hunter2; theme=dark", "Cookie: sid=*; theme=*"),
        ("> cookie: hunter2\n< ok", "> cookie: *\n< ok"),
        ("X-Api-Key: hunter2", "X-Api-Key: *"),
        ("password=\"hunter2 hunter3\" x", "password=\"*\" x"),
        ("{\"signature\":\"hunter2\"}", "{\"signature\":\"*\"}"),
        (
            "AccountName=a;AccountKey=AbC1dEf==;EndpointSuffix=core.example",
            "AccountName=a;AccountKey=*",
        ),
        ("invalid token: AbCdEf123456", "invalid token: *"),
    ] {
        let redacted = redactor().text(text);
        assert_eq!(starred(&redacted), expected);
        assert_eq!(redactor().text(&redacted), redacted, "twice");
    }
}
