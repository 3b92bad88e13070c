//! Secrets in header and trailer fields.

use std::borrow::Cow;

use super::names::{self, Place, begins_telling, secrecy};
use super::redactor::Redactor;
use super::rules::{SCHEMES, Secrecy};
use super::screen::{Screen, begins};
use super::token::{self, find, token_at};
use crate::exchange::{ByteString, Fields};

/// Attributes of Set-Cookie (RFC 6265 section 4.1, and its successor's): what else stands there
/// was no attribute, but a further part of the value or a further cookie.
const ATTRIBUTES: [&str; 11] = [
    "",
    "comment",
    "domain",
    "expires",
    "httponly",
    "max-age",
    "partitioned",
    "path",
    "priority",
    "samesite",
    "secure",
];

impl Redactor {
    /// Header or trailer fields with marks for their secrets; names, order and everything else stay.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn fields(&self, fields: &Fields) -> Fields {
        let mut fields = fields.clone();
        self.redact_fields(&mut fields);
        fields
    }

    /// Puts marks in place of the secrets of header or trailer fields; names and order stay.
    pub(crate) fn redact_fields(&self, fields: &mut Fields) {
        for (name, value) in fields {
            if let Cow::Owned(redacted) = self.field(name, &value.0) {
                *value = ByteString(redacted);
            }
        }
    }

    /// `value` of the header or trailer field `name`, with marks for its secrets.
    pub(crate) fn field<'a>(&self, name: &str, value: &'a [u8]) -> Cow<'a, [u8]> {
        let mut value = Cow::from(value);
        if self.known.is_some()
            && let Some(redacted) = self.without_known(&String::from_utf8_lossy(&value))
        {
            value = Cow::from(redacted.into_bytes());
        }
        if self.is_on()
            && let Some(redacted) = self.changed_field(name, &value)
        {
            value = Cow::from(redacted.into_bytes());
        }
        value
    }

    fn changed_field(&self, name: &str, value: &[u8]) -> Option<String> {
        let rule = Rule::of(name);
        if rule == Rule::Plain && !needs_reading(value) {
            return None;
        }
        let Ok(text) = std::str::from_utf8(value) else {
            // Where the secret ends in such a value nobody can say, so none of it stays.
            let text = String::from_utf8_lossy(value);
            let has_secret =
                rule != Rule::Plain || find(value, 0).is_some() || self.read_text(&text).is_some();
            return has_secret.then(|| self.mark(&text));
        };
        self.settled(text, |text| self.read_field(rule, text))
    }

    /// One reading of a field's value; `None` where it has no secret.
    pub(super) fn read_field(&self, rule: Rule, text: &str) -> Option<String> {
        match rule {
            _ if text.is_empty() => None,
            Rule::Credentials => Some(self.credentials(text)),
            Rule::Cookie => Some(self.and_text(self.cookie(text, false))),
            Rule::SetCookie => Some(self.and_text(self.cookie(text, true))),
            Rule::Url => self.read_url(text),
            Rule::Secret => Some(self.mark(text)),
            Rule::Plain if is_credentials(text) => Some(self.credentials(text)),
            Rule::Plain if needs_reading(text.as_bytes()) => self.read_text(text),
            Rule::Plain => None,
        }
    }

    /// A reason phrase or the like: text, in whatever bytes.
    pub(crate) fn bytes(&self, bytes: ByteString) -> ByteString {
        let text = String::from_utf8_lossy(&bytes.0);
        let known = self.without_known(&text);
        let redacted = self.changed_text(known.as_deref().unwrap_or(&text));
        match redacted.or(known) {
            Some(redacted) => ByteString::from(redacted),
            None => bytes,
        }
    }

    /// What was read in its own way, and as text.
    pub(super) fn and_text(&self, redacted: String) -> String {
        self.read_text(&redacted).unwrap_or(redacted)
    }

    /// `Basic dXNlcjpwYXNz` becomes `Basic redacted:…`; without a known scheme nothing stays.
    pub(super) fn credentials(&self, value: &str) -> String {
        match value.split_once(' ') {
            Some((scheme, secret)) if is_scheme(scheme) => {
                format!("{scheme} {}", self.mark(secret.trim()))
            }
            _ => self.mark(value),
        }
    }

    /// Names stay and values go; of Set-Cookie the attributes stay too.
    pub(super) fn cookie(&self, value: &str, is_set: bool) -> String {
        let mut redacted = String::with_capacity(value.len() + 16);
        for (i, pair) in value.split(';').enumerate() {
            if i > 0 {
                redacted.push(';');
            }
            let (name, secret) = match pair.split_once('=') {
                Some((name, secret)) => (&pair[..=name.len()], secret.trim()),
                None => pair.split_at(pair.len() - pair.trim_start().len()),
            };
            if is_set && i > 0 && is_attribute(pair) {
                redacted.push_str(pair);
            } else {
                redacted.push_str(name);
                redacted.push_str(&self.mark(secret));
            }
        }
        redacted
    }
}

/// Is this an attribute of Set-Cookie, and nothing else besides?
fn is_attribute(pair: &str) -> bool {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let name = name.trim();
    let holds_more =
        value.contains('=') || !name.eq_ignore_ascii_case("expires") && value.contains(',');
    !holds_more
        && ATTRIBUTES
            .iter()
            .any(|attribute| attribute.eq_ignore_ascii_case(name))
}

/// Is this the name of an authentication scheme?
pub(super) fn is_scheme(word: &str) -> bool {
    SCHEMES
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case(word))
}

/// Notices what may make a value worth reading: nearly none is.
static SCREEN: Screen = Screen::EMPTY
    .with(&["@", "?", "://", "-----BEGIN ", "basic ", "bearer "])
    .and(&names::SCREEN)
    .and(&token::SCREEN);

/// Is there a sign of a URL, of userinfo or of a query, a telling name, a token or a key?
fn needs_reading(value: &[u8]) -> bool {
    SCREEN.any(value, |at| {
        let rest = &value[at..];
        match rest[0] {
            b'@' | b'?' => true,
            b':' => rest.starts_with(b"://"),
            b'-' => rest.starts_with(b"-----BEGIN "),
            _ => {
                begins_telling(rest)
                    || begins(rest, "basic ")
                    || begins(rest, "bearer ")
                    || token_at(value, at).is_some()
            }
        }
    })
}

/// Are these credentials, in a field that is not made for them: `Bearer` or `Basic`, one token
/// (RFC 9110 section 11.2), and no more? A challenge has parameters.
fn is_credentials(value: &str) -> bool {
    value.split_once(' ').is_some_and(|(scheme, token)| {
        ["basic", "bearer"]
            .iter()
            .any(|it| it.eq_ignore_ascii_case(scheme))
            && Secrecy::Possible.is_secret(token)
            && !token.contains([' ', '"', ','])
    })
}

/// How a field's value is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Credentials,
    Cookie,
    SetCookie,
    Url,
    /// Secret as a whole.
    Secret,
    Plain,
}

impl Rule {
    pub(super) fn of(name: &str) -> Self {
        if is_ordinary(name) {
            debug_assert!(!is_secret_name(name), "{name}");
            return Self::Plain;
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            6 if is("cookie") => Self::Cookie,
            7 if is("cookie2") => Self::Cookie,
            7 if is("referer") => Self::Url,
            8 if is("location") => Self::Url,
            10 if is("set-cookie") => Self::SetCookie,
            11 if is("set-cookie2") => Self::SetCookie,
            13 if is("authorization") => Self::Credentials,
            16 if is("content-location") => Self::Url,
            19 if is("proxy-authorization") => Self::Credentials,
            _ if is_secret_name(name) => Self::Secret,
            _ => Self::Plain,
        }
    }
}

/// Is the whole value of this field secret?
fn is_secret_name(name: &str) -> bool {
    secrecy(name, Place::Field) == Secrecy::Secret
}

/// Is this one of the names that nearly every exchange has? As hyper writes them: in lower case.
fn is_ordinary(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-encoding"
            | "accept-ranges"
            | "access-control-allow-origin"
            | "age"
            | "alt-svc"
            | "cache-control"
            | "connection"
            | "content-disposition"
            | "content-encoding"
            | "content-length"
            | "content-security-policy"
            | "content-type"
            | "cross-origin-resource-policy"
            | "date"
            | "etag"
            | "expires"
            | "host"
            | "last-modified"
            | "server"
            | "strict-transport-security"
            | "traceparent"
            | "transfer-encoding"
            | "user-agent"
            | "vary"
            | "via"
            | "x-content-type-options"
            | "x-frame-options"
            | "x-goog-generation"
            | "x-goog-hash"
            | "x-goog-metageneration"
            | "x-goog-storage-class"
            | "x-xss-protection"
    )
}
