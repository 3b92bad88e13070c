//! What redaction promises for any text: for a fuzz target and its twin.

use super::redactor::Redactor;
use super::redactor::is_mark;
use super::{text, url, url_without_secrets};
use crate::exchange::ByteString;

/// Where a secret may stand; `{}` is the secret.
const PLACES: &[&str] = &[
    "https://u:{}@h.corp/x",
    "https://{}@h.corp/golang.org/x/net/@v/list",
    "https://h.corp/x?a=1&token={}&b=2",
    "https://h.corp/z?X-Goog-Signature={}",
    "https://h.corp/#access_token={}",
    "https://h.corp/x?u=https://u:{}@b.corp/",
    "https://h.corp/ghp_{}/x",
    "https://h.corp/x?y=glpat-{}",
    "password={}",
    "Authorization: Basic {}",
    "--token={}",
    "\"token\": \"{}\"",
    "https://u:{}@h.corp/x,https://v:w@b.corp/y",
    "https://v:w@b.corp/y|https://u:{}@h.corp/x",
    "u:{}@h.corp,https://v:w@b.corp/y",
    "u:{}@h.corp=https://v:w@b.corp/y",
    "password={},https://b.corp/y",
    "https://h.corp/https://{}@b.corp/y",
    "https://h.corp/x?y=u:{}@b.corp",
    "https://h.corp/x?u=https%3A%2F%2F{}%40b.corp%2Fy",
    "Cookie: sid={}",
    "X-GitHub-OTP: {}",
    "DB_PASS={}",
];

/// Fields whose values are read each in its own way.
const FIELDS: [&str; 7] = [
    "Authorization",
    "Cookie",
    "Set-Cookie",
    "Location",
    "Referer",
    "X-Other",
    "X-Token",
];

/// No panic on any text; redacting twice is redacting once; and a secret behind any text, on a line
/// of its own, does not stay.
///
/// The first byte chooses the secret's place, the next 12 the secret itself.
pub fn text(bytes: &[u8]) {
    let run = Redactor::new([7; 32]);
    let (choice, bytes) = bytes.split_at(bytes.len().min(13));
    let text = String::from_utf8_lossy(bytes);
    twice(&run, &text);
    text.lines().for_each(|line| screened(&run, line));
    let fields = FIELDS
        .map(|name| (name.to_owned(), ByteString(bytes.to_vec())))
        .to_vec();
    let redacted = run.fields(&fields);
    assert_eq!(run.fields(&redacted), redacted);
    assert_eq!(Redactor::off().fields(&fields), fields);
    if let Some((place, secret)) = choice.split_first() {
        hidden(
            &run,
            &text,
            PLACES[usize::from(*place) % PLACES.len()],
            &word(secret),
        );
    }
}

/// What is passed over unread has nothing that reading would find.
fn screened(run: &Redactor, text: &str) {
    let long = format!("https://h.corp/{text}");
    for url in [text, &long] {
        if url::is_plain(url) {
            assert_eq!(run.read_url(url), None, "{url:?}");
        }
    }
    if text::is_plain(text) {
        assert_eq!(run.read_text(text), None, "{text:?}");
    }
}

fn twice(run: &Redactor, text: &str) {
    let once = run.url(text);
    assert_eq!(run.url(&once), *once);
    no_userinfo(&once);
    let once = run.text(text);
    assert_eq!(run.text(&once), *once);
    no_userinfo(&once);
    // A setting is one line of printable characters.
    for value in text.lines().filter(|line| !line.contains(char::is_control)) {
        let once = run.goproxy(value);
        assert_eq!(run.goproxy(&once), *once);
        no_userinfo(&once);
    }
    let words: Vec<&str> = text.lines().collect();
    let once = run.argv(&words);
    assert_eq!(once.len(), words.len());
    assert_eq!(run.argv(&once), once);
    once.iter().for_each(|word| no_userinfo(word));
    // For comparing absolute URLs, and nothing else.
    let is_url = |line: &&str| line.starts_with("https://") || line.starts_with("http://");
    for url in text.lines().filter(is_url) {
        let once = url_without_secrets(url);
        assert_eq!(url_without_secrets(&once), *once);
    }
}

/// Wherever `http://` or `https://` stands, no userinfo but a mark stands behind it.
fn no_userinfo(redacted: &str) {
    const ENDS: &[char] = &[
        '/', '\\', '?', '#', '"', '\'', '`', '<', '>', '(', ')', '{', '}', ';', ',', '|', '&',
    ];
    for (at, scheme) in redacted.match_indices("://") {
        let before = redacted[..at].to_ascii_lowercase();
        let rest = &redacted[at + scheme.len()..];
        let ends = |c: char| c.is_whitespace() || c.is_control() || ENDS.contains(&c);
        let authority = rest.split(ends).next().unwrap_or_default();
        if let Some((userinfo, _)) = authority.rsplit_once('@')
            && (before.ends_with("http") || before.ends_with("https"))
        {
            assert!(
                userinfo.is_empty() || is_mark(userinfo),
                "{userinfo} is shown in {redacted:?}"
            );
        }
    }
}

fn hidden(run: &Redactor, before: &str, place: &str, secret: &str) {
    if before.contains(secret) {
        return;
    }
    let line = place.replace("{}", secret);
    let mut shown = vec![
        run.text(&format!("{before}\n{line}")),
        run.text(&format!("{before}\r\n{line}\n{before}")),
    ];
    if line.starts_with("https://") {
        shown.push(run.url(&line));
        shown.push(run.goproxy(&line));
        shown.push(url_without_secrets(&line));
        let location = vec![("Location".to_owned(), ByteString::from(&*line))];
        shown.push(format!("{:?}", run.fields(&location)));
    }
    let field = format!("X-Other: {line}");
    let words = ["--token", secret, &line, "-H", &line, "-H", &field];
    shown.push(run.argv(&words).join(" "));
    let fields = ["X-Other", "Cookie", "Set-Cookie"];
    let fields = fields.map(|name| (name.to_owned(), ByteString::from(&*line)));
    shown.push(format!("{:?}", run.fields(&fields.to_vec())));
    for text in shown {
        assert!(!text.contains(secret), "{secret} is shown in {text:?}");
    }
}

/// A secret that no text holds by chance, as long as a token.
fn word(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let letters = bytes
        .iter()
        .chain(std::iter::repeat(&0))
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .take(12);
    "S3cr3tC4naryX"
        .chars()
        .chain(letters)
        .chain("q7Zk".chars())
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn any_text_is_redacted_once_and_hides_what_follows_it() {
        crate::hostile::twin("redactor", 600, super::text);
    }
}
