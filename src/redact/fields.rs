//! Secrets in header and trailer fields.

use super::Redactor;
use super::names::is_secret_field;
use super::token::find;
use crate::exchange::{Fields, Octets};

/// Authentication schemes (IANA's registry, and some that are only used): the word stays readable.
const SCHEMES: [&str; 14] = [
    "basic",
    "bearer",
    "digest",
    "negotiate",
    "ntlm",
    "token",
    "apikey",
    "hoba",
    "mutual",
    "dpop",
    "gnap",
    "aws4-hmac-sha256",
    "goog4-rsa-sha256",
    "scram-sha-256",
];

impl Redactor {
    /// Header or trailer fields with marks for their secrets; names, order and everything else stay.
    pub fn fields(&self, fields: &Fields) -> Fields {
        let mut fields = fields.clone();
        self.redact_fields(&mut fields);
        fields
    }

    /// [`Self::fields`] in place, for fields that are not needed otherwise.
    pub fn redact_fields(&self, fields: &mut Fields) {
        if !self.is_on() {
            return;
        }
        for (name, value) in fields {
            if let Some(redacted) = self.field(name, &value.0) {
                *value = Octets::from(redacted);
            }
        }
    }

    /// The value of the field `name` with marks for its secrets; `None` where it has none.
    pub(super) fn field(&self, name: &str, value: &[u8]) -> Option<String> {
        if value.is_empty() {
            return None;
        }
        let Ok(text) = std::str::from_utf8(value) else {
            let is_secret = is_secret_field(name) || Rule::of(name) != Rule::Plain;
            return (is_secret || find(value, 0).is_some())
                .then(|| self.mark_whole(&String::from_utf8_lossy(value)));
        };
        match Rule::of(name) {
            Rule::Credentials => Some(self.credentials(text)),
            Rule::Cookie => Some(self.cookie(text, usize::MAX)),
            Rule::SetCookie => Some(self.cookie(text, 1)),
            Rule::Url => self.changed_url(text),
            Rule::Plain if is_secret_field(name) => Some(self.mark_whole(text)),
            Rule::Plain if may_hold_url(value) => self.changed_text(text),
            Rule::Plain => self.tokens(text),
        }
    }

    /// `Basic dXNlcjpwYXNz` becomes `Basic redacted:…`; without a known scheme nothing stays.
    pub(super) fn credentials(&self, value: &str) -> String {
        match value.split_once(' ') {
            Some((scheme, secret)) if is_scheme(scheme) => {
                format!("{scheme} {}", self.mark_whole(secret.trim()))
            }
            _ => self.mark_whole(value),
        }
    }

    /// The first `count` pairs keep their names and lose their values; what follows stays
    /// (RFC 6265 section 4: attributes of Set-Cookie).
    pub(super) fn cookie(&self, value: &str, count: usize) -> String {
        let mut redacted = String::with_capacity(value.len() + 16);
        for (i, pair) in value.split(';').enumerate() {
            if i > 0 {
                redacted.push(';');
            }
            match pair.split_once('=') {
                _ if i >= count => redacted.push_str(pair),
                Some((name, secret)) => {
                    redacted.push_str(name);
                    redacted.push('=');
                    redacted.push_str(&self.mark_whole(secret.trim()));
                }
                None => {
                    let secret = pair.trim_start();
                    redacted.push_str(&pair[..pair.len() - secret.len()]);
                    redacted.push_str(&self.mark_whole(secret));
                }
            }
        }
        redacted
    }
}

/// Is this the name of an authentication scheme?
pub(super) fn is_scheme(word: &str) -> bool {
    SCHEMES
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case(word))
}

/// Only then is a value worth reading word by word.
fn may_hold_url(value: &[u8]) -> bool {
    value.contains(&b'@') || value.contains(&b'?') && value.contains(&b'=')
}

/// How a field's value is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Credentials,
    Cookie,
    SetCookie,
    Url,
    Plain,
}

impl Rule {
    fn of(name: &str) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            6 if is("cookie") => Self::Cookie,
            7 if is("referer") => Self::Url,
            8 if is("location") => Self::Url,
            10 if is("set-cookie") => Self::SetCookie,
            13 if is("authorization") => Self::Credentials,
            16 if is("content-location") => Self::Url,
            19 if is("proxy-authorization") => Self::Credentials,
            _ => Self::Plain,
        }
    }
}
