//! What redaction promises as a whole; the details are tested beside each file's code.

mod commands;
mod names;
mod properties;

use super::redactor::{MARK, is_mark};
use super::*;
use crate::exchange::{ByteString, Fields};

/// The first bytes of what stands for a secret, and for what stays.
const URLS: &[(&str, &str)] = &[
    (
        "https://user:hunter2@h.corp/x/@v/list",
        "https://*@h.corp/x/@v/list",
    ),
    ("https://hunter2@h.corp:8443", "https://*@h.corp:8443"),
    ("https://user:hun/ter2@h.corp/x", "https://*@h.corp/x"),
    ("https://user:hun?ter2@h.corp/x", "https://*@h.corp/x"),
    ("//user:hunter2@h.corp/x", "//*@h.corp/x"),
    ("user:hunter2@proxy.corp:3128", "*@proxy.corp:3128"),
    (
        "socks5h://user:hunter2@proxy.corp:1080",
        "socks5h://*@proxy.corp:1080",
    ),
    (
        "https://s.corp/z?Expires=17&GoogleAccessId=hunter2&Signature=a%2Bb%3D",
        "https://s.corp/z?Expires=17&GoogleAccessId=*&Signature=*",
    ),
    (
        "https://s.corp/z?X-Amz-Date=2026&X-Amz-Credential=hunter2%2Fus&x-amz-signature=ab12#f",
        "https://s.corp/z?X-Amz-Date=2026&X-Amz-Credential=*&x-amz-signature=*#f",
    ),
    ("/cb?to%6ben=hunter2&x=1&token=", "/cb?to%6ben=*&x=1&token="),
    (
        "https://h.corp/cb#access_token=hunter2&x=1",
        "https://h.corp/cb#access_token=*&x=1",
    ),
    (
        "https://h.corp/ghp_abcdefghijklmnopqrstuvwxyz0123456789/x.git/info/refs",
        "https://h.corp/*/x.git/info/refs",
    ),
    (
        "https://h.corp/a/%67hp_abcdefghijklmnopqrstuvwxyz012345/b",
        "https://h.corp/a/*/b",
    ),
    (
        "https://h.corp/a%40ghp_abcdefghijklmnopqrstuvwxyz012345",
        "https://h.corp/a%40*",
    ),
    (
        "https://h.corp/t/glpat-abcdefghij0123456789/b?v=1",
        "https://h.corp/t/*/b?v=1",
    ),
    (
        "https://h.corp/x?k=AKIAIOSFODNN7EXAMPLE",
        "https://h.corp/x?k=*",
    ),
    (
        "https://h.corp/x?s=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_",
        "https://h.corp/x?s=*",
    ),
    (
        "https://h.corp/token/5f3c2b1a9d8e7f6a5b4c3d2e/go",
        "https://h.corp/token/*/go",
    ),
    (
        "https://h.corp/x;jsessionid=hunter2/y",
        "https://h.corp/x;jsessionid=*/y",
    ),
    (
        "https://h.corp/https://user:hunter2@b.corp/y",
        "https://h.corp/https://*@b.corp/y",
    ),
    (
        "https://h.corp/x?a=1;token=hunter2",
        "https://h.corp/x?a=1;token=*",
    ),
    (
        "https://h.corp/x?next=https://user:hunter2@b.corp/y",
        "https://h.corp/x?next=https://*@b.corp/y",
    ),
    (
        "https://h.corp/https://hunter2@b.corp/y",
        "https://h.corp/https://*@b.corp/y",
    ),
    (
        "https://h.corp/x?y=user:hunter2@b.corp",
        "https://h.corp/x?y=*@b.corp",
    ),
    (
        "https://h.corp/x?https://user:hun=ter2@b.corp",
        "https://h.corp/x?https://*@b.corp",
    ),
    ("HTTPS://hunter2@h.corp/x", "HTTPS://*@h.corp/x"),
    (
        "https://user@corp.example:hun/ter2@h.corp/x",
        "https://*@h.corp/x",
    ),
    ("https://u:hunter2://x@h.corp/y", "https://*@h.corp/y"),
    ("user:redacted:hunter2@proxy.corp:3128", "*@proxy.corp:3128"),
];

/// A redactor whose key does not matter.
pub(super) fn redactor() -> Redactor {
    Redactor::new([7; 32])
}

/// Replaces each mark by `*`.
fn starred(text: &str) -> String {
    let mut pieces = text.split(MARK);
    let mut starred = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        assert!(is_mark(&format!("{MARK}{}", &piece[..16])), "{text}");
        starred.push('*');
        starred.push_str(&piece[16..]);
    }
    starred
}

#[test]
fn urls_lose_their_secrets_and_nothing_else() {
    for (url, expected) in URLS {
        let redacted = redactor().url(url);
        assert_eq!(starred(&redacted), *expected);
        assert_eq!(redactor().url(&redacted), redacted, "twice");
        assert_eq!(Redactor::off().url(url), *url);
        if url.starts_with("http") {
            assert!(::url::Url::parse(&redacted).is_ok(), "{redacted}");
        }
    }
}

#[test]
fn a_url_inside_a_query_value_is_encoded_again() {
    let redacted = redactor().url("https://h/x?u=https%3A%2F%2Fa%3Ahunter2%40b%2Fy&v=%2F");
    assert_eq!(
        starred(&redacted),
        "https://h/x?u=https:%2F%2F*%40b%2Fy&v=%2F"
    );
    assert_eq!(redactor().url(&redacted), redacted);
}

#[test]
fn a_url_within_a_url_without_end_ends() {
    let url = "https://h/?u=".repeat(10_000) + "https://u:hunter2@h/";
    let redacted = redactor().url(&url);
    assert_eq!(starred(&redacted), "https://h/?u=".repeat(4) + "*");
}

#[test]
fn the_encoding_of_a_secret_does_not_change_its_mark() {
    let [plain, encoded] =
        ["https://h/?token=a@b", "https://h/?token=a%40b"].map(|url| redactor().url(url));
    assert_eq!(plain, encoded);
}

#[test]
fn what_differs_in_secrets_only_is_the_same_without_them() {
    let live = "https://u:p@h/ghp_abcdefghijklmnopqrstuvwxyz/z?a=1&Signature=x&token=#f";
    let same = "https://h/redacted/z?a=1#f";
    assert_eq!(url_without_secrets(live), same);
    assert_eq!(url_without_secrets(&redactor().url(live)), same);
    assert_eq!(url_without_secrets("https://h/x?token=1"), "https://h/x");
    assert_eq!(url_without_secrets("https://h/x?"), "https://h/x?");
    assert_eq!(
        url_without_secrets("https://h/x?a=1&b"),
        "https://h/x?a=1&b"
    );
}

fn field(name: &str, value: &str) -> String {
    let fields: Fields = vec![(name.to_owned(), ByteString::from(value))];
    let redacted = redactor().fields(&fields);
    assert_eq!(redactor().fields(&redacted), redacted, "twice");
    assert_eq!(Redactor::off().fields(&fields), fields);
    assert_eq!(redacted[0].0, name);
    starred(&redacted[0].1.to_text())
}

#[test]
fn fields_lose_their_secrets_and_keep_what_explains_them() {
    for (name, value, expected) in [
        ("Authorization", "Basic dXNlcjpodW50ZXIy", "Basic *"),
        ("authorization", "Bearer  abc", "Bearer *"),
        ("Authorization", "hunter2 hunter2", "*"),
        (
            "Proxy-Authorization",
            "Digest username=\"u\", response=\"r\"",
            "Digest *",
        ),
        ("Cookie", "a=1; b=2=3;c", "a=*; b=*;*"),
        (
            "Set-Cookie",
            "sid=1; Path=/; HttpOnly",
            "sid=*; Path=/; HttpOnly",
        ),
        ("X-Vault-Token", "hunter2", "*"),
        ("X-Api-Key", "hunter2", "*"),
        ("Private-Token", "hunter2", "*"),
        ("X-JFrog-Art-Api", "hunter2", "*"),
        ("X-Amz-Security-Token", "hunter2", "*"),
        ("Authentication-Info", "nextnonce=\"1\"", "*"),
        ("Location", "/z?a=1&Signature=x", "/z?a=1&Signature=*"),
        ("Referer", "https://u:p@h/", "https://*@h/"),
        (
            "Link",
            "<https://u:p@h/?page=2&sig=x>; rel=\"next\"",
            "<https://*@h/?page=2&sig=*>; rel=\"next\"",
        ),
        ("X-Other", "see ghp_abcdefghijklmnopqrstuvwxyz", "see *"),
        ("Access-Control-Allow-Credentials", "true", "true"),
        (
            "WWW-Authenticate",
            "Basic realm=\"go\"",
            "Basic realm=\"go\"",
        ),
        (
            "ETag",
            "\"W/5f3c2b1a9d8e7f6a5b4c3d2e\"",
            "\"W/5f3c2b1a9d8e7f6a5b4c3d2e\"",
        ),
        ("Authorization", "", ""),
        ("X-Signing-Key", "hunter2", "*"),
        ("X-Session-Id", "hunter2", "*"),
        ("X-Csrf", "hunter2", "*"),
        ("X-Registry-Auth", "hunter2", "*"),
        ("Surrogate-Key", "all", "all"),
        (
            "Set-Cookie",
            "sid=\"a;b\"; Path=/, c=d; Secure",
            "sid=*;*; Path=*; Secure",
        ),
        (
            "Set-Cookie",
            "a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
            "a=*; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
        ),
        ("X-Debug", "password=hunter2 retry", "password=* retry"),
        (
            "X-Key-Pem",
            "-----BEGIN PRIVATE KEY----- a -----END PRIVATE KEY-----",
            "*",
        ),
        (
            "Link",
            "<https://h/token/5f3c2b1a9d8e7f6a5b4c3d2e>",
            "<https://h/token/*>",
        ),
        (
            "Content-Type",
            "text/plain; charset=utf-8",
            "text/plain; charset=utf-8",
        ),
    ] {
        assert_eq!(field(name, value), expected, "{name}: {value}");
    }
}

#[test]
fn a_field_that_is_no_text_loses_its_secret_whole() {
    let secret = |name: &str, value: &[u8]| {
        let fields = vec![(name.to_owned(), ByteString::from(value))];
        redactor().fields(&fields) != fields
    };
    assert!(secret("Authorization", b"Basic \xff"));
    assert!(secret("X-Other", b"\xff ghp_abcdefghijklmnopqrstuvwxyz"));
    for value in [
        &b"https://bob:hunter2@h/\xe9"[..],
        b"https://bob:hunt\xe9r2@h/",
        b"\xe9 https://h/x?token=hunter2",
        b"password=hunter2 \xff",
        b"\xffpassword=hunter2",
        b"see\xffghp_abcdefghijklmnopqrstuvwxyz",
    ] {
        let fields = vec![("X-Original-Url".to_owned(), ByteString::from(value))];
        let redacted = redactor().fields(&fields);
        assert!(is_mark(&redacted[0].1.to_text()), "{redacted:?}");
        assert_eq!(redactor().fields(&redacted), redacted, "twice");
    }
    for plain in [&b"\xff"[..], b"caf\xe9: https://h.corp/x?v=1", b"\xff@\xff"] {
        assert!(!secret("X-Other", plain), "{plain:?}");
    }
}

#[test]
fn messages_lose_their_secrets_and_stay_readable() {
    for (text, expected) in [
        (
            "Get \"https://u:hunter2@h.corp/x/@v/list?token=a\": dial tcp: lookup h.corp: no such host",
            "Get \"https://*@h.corp/x/@v/list?token=*\": dial tcp: lookup h.corp: no such host",
        ),
        (
            "proxy https://u:hunter2@h.corp: refused",
            "proxy https://*@h.corp: refused",
        ),
        (
            "(https://u:hunter2@h.corp), then",
            "(https://*@h.corp), then",
        ),
        (
            "GOPROXY=https://a.corp,https://u:p@b.corp|direct",
            "GOPROXY=https://a.corp,https://*@b.corp|direct",
        ),
        (
            "dial user:hunter2@proxy.corp:3128 failed",
            "dial *@proxy.corp:3128 failed",
        ),
        ("password=hunter2, retry", "password=*, retry"),
        ("Password: hunter2", "Password: *"),
        (
            "{\"access_token\": \"hunter2\", \"x\":\"y\"}",
            "{\"access_token\": \"*\", \"x\":\"y\"}",
        ),
        ("{\"token\":\"hunter2\"}", "{\"token\":\"*\"}"),
        ("Authorization: Basic dXNlcjpw", "Authorization: Basic *"),
        ("sent Bearer abcDEF123456 to it", "sent Bearer * to it"),
        ("-X main.apiToken=hunter2 -v", "-X main.apiToken=* -v"),
        ("a=1&sig=hunter2&b=2", "a=1&sig=*&b=2"),
        ("password=hun\"ter2 x", "password=* x"),
        ("\"password\": \"hun ter2\", x", "\"password\": \"*\", x"),
        ("password=hun&ter2", "password=*"),
        (
            "user:hunter2@a.corp,https://u:hunter2@b.corp",
            "*@a.corp,https://*@b.corp",
        ),
        ("user:hunter2@a.corp/x?sig=hunter2", "*@a.corp/x?sig=*"),
        ("password=hunter2,https://h.corp/x", "password=*"),
        (
            "https://h.corp/x?next=https://b.corp/y&sig=hunter2",
            "https://h.corp/x?next=https://b.corp/y&sig=*",
        ),
        ("password=redacted:0123456789abcdef-hunter2", "password=*"),
        (
            "Authorization: Digest username=\"u\", response=\"r\"\nx",
            "Authorization: Digest *\nx",
        ),
        (
            "Get https://u:hun\"ter2@h.corp/: EOF",
            "Get https://*@h.corp/: EOF",
        ),
        ("-ldflags=-X=main.token=hunter2", "-ldflags=-X=main.token=*"),
        (
            "-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nx",
            "*\nx",
        ),
    ] {
        let redacted = redactor().text(text);
        assert_eq!(starred(&redacted), expected);
        assert_eq!(redactor().text(&redacted), redacted, "twice");
        assert_eq!(Redactor::off().text(text), text);
    }
}

#[test]
fn what_stands_in_a_module_proxys_path_goes_wherever_it_is_seen() {
    let secret = "aBcD1234EfGh5678";
    let base = format!("https://proxy.corp/{secret}/go");
    let run = redactor().knowing_bases(&format!("https://a.b/x,{base}|direct"));
    let module = format!("{base}/rsc.io/quote/@v/list");
    let seen = vec![
        ("location".to_owned(), ByteString::from(&*module)),
        ("x-seen".to_owned(), ByteString::from(secret)),
    ];
    let expected = "https://proxy.corp/*/go/rsc.io/quote/@v/list";
    assert_eq!(starred(&run.url(&module)), expected);
    assert_eq!(starred(&run.goproxy(&module)), expected);
    let text = run.text(&format!("Get {module}: EOF"));
    assert_eq!(starred(&text), format!("Get {expected}: EOF"));
    let argv = run.argv(&["go", "list", &module]).join(" ");
    assert_eq!(starred(&argv), format!("go list {expected}"));
    assert!(!format!("{:?}", run.fields(&seen)).contains(secret));
    let reason = run.bytes(ByteString::from(&*format!("no {secret} here")));
    assert_eq!(starred(&reason.to_text()), "no * here");
    let live = "https://proxy.corp/redacted/go/rsc.io/quote/@v/list";
    assert_eq!(url_without_secrets(&run.url(&module)), live);
    let off = Redactor::off().knowing_bases(&base);
    assert_eq!(off.url(&module), module);
}

#[test]
fn ordinary_messages_stay() {
    for text in [
        "go: github.com/spf13/cobra@v1.8.1: Get \"https://proxy.golang.org/github.com/spf13/cobra/@v/v1.8.1.zip\": EOF",
        "verifying go.mod: checking tree#68293 against tree#73500: reading https://sum.golang.org/tile/8/1/001.p/31: 404",
        "golang.org/x/net v0.34.0 h1:Mb7Mrk043xzHgnRM88suvJFwzVrRfHEHJEl5/71CKw0=",
        "Basic authentication required. Bearer tokens are not accepted",
        "exit code=1, key=value, exit status 128: fatal: could not read Username for 'https://git.corp'",
        "go.mod:7:2: require example.com/m@v1.0.0: not a token",
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "git@github.com:corp/lib.git",
        "ssh://git@github.com/corp/lib.git",
        "  two  spaces\tand\na line ",
        "",
    ] {
        assert_eq!(redactor().text(text), text);
    }
}
