//! What redaction promises for any text.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// URLs as the go command asks for them, and those that discovery and git ask for.
fn module_url() -> impl Strategy<Value = String> {
    let place = "https://(proxy\\.golang\\.org|goproxy\\.cn|goproxy\\.corp:8443/api/go)/";
    let module = "(golang\\.org/x/(net|oauth2|token)|github\\.com/(%21)?[a-z]{1,12}/(token|auth|key|secret|jwt-go|go-[a-z]{1,24})(/v[2-9])?)/";
    let file = "@(latest|v/(list|v[0-9]\\.[0-9]{1,2}\\.[0-9](-[0-9]{14}-[0-9a-f]{12}|-rc\\.[0-9]|\\+incompatible)?\\.(info|mod|zip)))";
    let database = "https://(goproxy\\.cn/sumdb/)?sum\\.golang\\.org/";
    let tile = "tile/8/[0-3]/(x[0-9]{3}/){0,2}[0-9]{3}(\\.p/[1-9][0-9]?)?";
    let lookup = "lookup/github.com/![a-z]{1,9}/[a-z]{1,9}@v0\\.0\\.0-[0-9]{14}-[0-9a-f]{12}";
    let direct = "https://(gitlab\\.com|go\\.dev)/[a-z]{1,12}/[a-z]{1,12}(\\?go-get=1|(\\.git)?/info/refs\\?service=git-upload-pack)";
    let strategy = |pattern: &str| proptest::string::string_regex(pattern).unwrap();
    prop_oneof![
        strategy(&format!("{place}{module}{file}")),
        strategy(&format!("{database}{tile}")),
        strategy(&format!("{database}{lookup}")),
        strategy(direct),
    ]
}

/// Places where a secret may stand in a URL; `{}` is the secret.
const PLACES: &[&str] = &[
    "https://u:{}@h.corp/x",
    "https://{}@h.corp/golang.org/x/net/@v/list",
    "https://h.corp/x?a=1&token={}&b=2",
    "/z?X-Goog-Signature={}",
    "https://h.corp/#access_token={}",
    "https://h.corp/x?u=https://u:{}@b.corp/",
    "https://h.corp/ghp_{}/x",
    "https://h.corp/x?y=glpat-{}",
];

/// What a parser might read again from each of its places.
const HOSTILE: &[&str] = &[
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----",
    "password=",
    "token:",
    "\"token\":\"",
    "https://a:b,",
    "https://u:p@h/",
    "a@b:",
    "&token=",
    "=&",
    ";",
    "%25",
    "eyJ",
    "ghp_",
    "redacted:",
    "redacted:0123456789abcdef",
    "?u=https://",
    "/token/",
    "'",
    "Basic ",
    "x=;",
    "://",
    "user:",
    "a://b:x\"",
    "Cookie: ",
    "Cookie:a=",
    "-H 'Cookie: a=",
    "sh -c \"",
    "'a b' ",
    "key=",
    "KeyKey",
];

/// What is a secret only behind another word.
const HOSTILE_BEHIND: &[(&str, &str)] = &[("token:", "("), ("token: ", "Basic ")];

/// Reading takes time in proportion to the text: 32 times the text may take 192 times as long, where a
/// reading of each place from each other place would take 1,024 times as long. What lies between is how
/// unequal a busy machine's processors are.
#[test]
fn hostile_text_takes_no_time_out_of_proportion() {
    let run = redactor();
    let alone = HOSTILE.iter().map(|piece| ("", *piece));
    for (before, piece) in alone.chain(HOSTILE_BEHIND.iter().copied()) {
        let text = |bytes: usize| before.to_owned() + &piece.repeat(bytes / piece.len());
        let [short, long] = [1, 32].map(|kib| cpu_time(&run, &text(kib * 1024)));
        // What took no time to speak of was passed over unread.
        let most = short.max(Duration::from_micros(200)) * 192;
        assert!(long < most, "{before}{piece}: {short:?}, then {long:?}");
    }
}

/// How long this thread has a processor for all ways to read a text, whatever else the machine does.
fn cpu_time(run: &Redactor, text: &str) -> Duration {
    let names = [
        "cookie",
        "set-cookie",
        "location",
        "x-other",
        "authorization",
    ];
    let fields: Fields = names
        .map(|name| (name.to_owned(), ByteString::from(text)))
        .to_vec();
    let used = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let before = used();
    let _ = (
        run.url(text),
        run.text(text),
        run.goproxy(text),
        run.argv(&[text]),
        run.fields(&fields),
    );
    Duration::try_from(used() - before).expect("time goes on")
}

proptest! {
    #[test]
    fn ordinary_module_urls_stay(url in module_url()) {
        prop_assert_eq!(redactor().url(&url), &*url);
        prop_assert_eq!(redactor().text(&url), &*url);
        prop_assert_eq!(url_without_secrets(&url), &*url);
    }

    #[test]
    fn a_secret_never_stays(secret in "[A-Za-z0-9_]{24,40}", place in prop::sample::select(PLACES)) {
        let url = place.replace("{}", &secret);
        let fields = vec![("Location".to_owned(), ByteString::from(&*url)), ("X-Token".to_owned(), ByteString::from(&*secret))];
        for redacted in [
            redactor().url(&url),
            redactor().text(&format!("Get \"{url}\": EOF")),
            redactor().text(&format!("password={secret}")),
            redactor().goproxy(&format!("https://a.b|{url},direct")),
            redactor().argv(&["--token", &*secret, &*url]).join(" "),
            format!("{:?}", redactor().fields(&fields)),
            url_without_secrets(&url),
        ] {
            prop_assert!(!redacted.contains(&secret), "{redacted}");
        }
    }

    #[test]
    fn redacting_twice_is_redacting_once(text in "(https?://|//)?([a-z=:@/?#&%. ,\"|]|token|password|Basic |redacted:|ghp_abcdefghijklmnopqrst|%40|://|[A-Z0-9]){0,14}") {
        let run = redactor();
        let url = run.url(&text);
        prop_assert_eq!(run.url(&url), &*url);
        let redacted = run.text(&text);
        prop_assert_eq!(run.text(&redacted), &*redacted);
        let value = run.goproxy(&text);
        prop_assert_eq!(run.goproxy(&value), &*value);
        let argv = run.argv(&[&*text, &*text]);
        prop_assert_eq!(run.argv(&argv), argv);
        let without = url_without_secrets(&text);
        prop_assert_eq!(url_without_secrets(&without), &*without);
        for name in ["Authorization", "Cookie", "Set-Cookie", "Location", "X-Other", "X-Token"] {
            let fields = run.fields(&vec![(name.to_owned(), ByteString::from(&*text))]);
            prop_assert_eq!(run.fields(&fields), fields);
        }
    }

    #[test]
    fn any_text_is_taken(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let run = redactor();
        let _ = (run.url(&text), run.text(&text), run.goproxy(&text), run.argv(&[&*text, &*text]));
        let fields = vec![(text, ByteString(bytes))];
        let _ = run.fields(&fields);
        prop_assert_eq!(Redactor::off().fields(&fields), fields);
    }
}
