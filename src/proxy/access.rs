//! Who may use the proxy: every client that can connect, or only those that show the token.
//!
//! The token comes as `Proxy-Authorization` (RFC 9110 section 11.7.2), with Basic (RFC 7617) as the
//! password of any user, or with Bearer (RFC 6750). It is meant for us alone: never passed on, never
//! recorded. A client that shows none is asked for it with 407, on the same connection. To a gateway it is
//! the first element of the path, since go sends no credentials over http.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};

use super::headers;
use crate::exchange::Hex;

/// How many connections without the token are recorded; the others are only counted, so that a
/// client without it cannot fill the disk.
pub(super) const RECORDED_STRANGERS: u64 = 1000;

/// Requests without the token after which a connection ends: enough for a client that tries one
/// scheme after the other.
const TRIES: u64 = 8;

/// The fewest characters of a token: 96 bits, where they are random hexadecimal digits.
const TOKEN_MIN: usize = 24;

/// The most characters: a head has to hold it, twice encoded.
const TOKEN_MAX: usize = 256;

/// A secret that lets clients use the proxy; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

/// Why a text is not a token; the error never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// It could be guessed, or no head could hold it.
    #[error("a token has {TOKEN_MIN} to {TOKEN_MAX} characters")]
    Length,
    /// A URL could not hold it as it is.
    #[error("a token consists of letters, digits and -._~")]
    Character,
}

impl Token {
    /// 128 random bits in hexadecimal digits.
    pub(crate) fn random() -> Self {
        Self(Hex(crate::tls::random::<16>()).to_string())
    }

    /// A token that the user chose.
    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        if !(TOKEN_MIN..=TOKEN_MAX).contains(&text.len()) {
            return Err(TokenError::Length);
        }
        // RFC 3986 section 2.3, unreserved: the same in a URL, decoded or not.
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
        match text.bytes().all(fits) {
            true => Ok(Self(text.to_owned())),
            false => Err(TokenError::Character),
        }
    }

    /// The secret itself: for the environment of clients, and for nothing else.
    pub(crate) fn secret(&self) -> &str {
        &self.0
    }

    /// Compares digests, so that the time it takes reveals neither the length nor how much is right.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        let [own, shown] =
            [self.0.as_bytes(), shown].map(|bytes| digest::digest(&digest::SHA256, bytes));
        constant_time::verify_slices_are_equal(own.as_ref(), shown.as_ref()).is_ok()
    }

    /// True if these values of `Proxy-Authorization` show it; two values show nothing.
    fn is_shown<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>) -> bool {
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        Credentials::parse(value).is_some_and(|shown| self.is(&shown.secret))
    }
}

/// What a value of `Authorization` or `Proxy-Authorization` shows.
pub(crate) struct Credentials {
    /// The user name of Basic; `None` with Bearer.
    pub(crate) user: Option<Vec<u8>>,
    /// The password of Basic, or the token of Bearer.
    pub(crate) secret: Vec<u8>,
}

impl Credentials {
    /// Takes a value of Basic (RFC 7617) or Bearer (RFC 6750) apart; `None` for other schemes.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let space = value.iter().position(|&byte| byte == b' ')?;
        let (scheme, rest) = (&value[..space], value[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            let secret = rest.to_vec();
            return Some(Self { user: None, secret });
        }
        if !scheme.eq_ignore_ascii_case(b"basic") {
            return None;
        }
        let mut user = BASE64.decode(rest).ok()?;
        let colon = user.iter().position(|&byte| byte == b':')?;
        let secret = user.split_off(colon + 1);
        user.pop();
        Some(Self {
            user: Some(user),
            secret,
        })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Where a request shows the token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Shown {
    /// In `Proxy-Authorization`.
    #[default]
    Field,
    /// As the first element of its path.
    Path,
}

/// Who may use the proxy, and what it refused; clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Access {
    token: Option<Token>,
    shown: Shown,
    /// Requests that did not show the token.
    refused: Arc<AtomicU64>,
    /// Connections that ended without having shown it.
    strangers: Arc<AtomicU64>,
}

impl Access {
    /// Every client that can connect.
    pub fn open() -> Self {
        Self::default()
    }

    /// Clients that show this token.
    pub(crate) fn with(token: Token) -> Self {
        Self {
            token: Some(token),
            ..Self::default()
        }
    }

    /// Clients whose paths begin with this token.
    pub(crate) fn on_path(token: Token) -> Self {
        Self {
            shown: Shown::Path,
            ..Self::with(token)
        }
    }

    /// The status of the answer to a request without the token. A module proxy has no 407, and 403 is an
    /// error to go where 404 would send it on.
    pub(crate) const fn status(&self) -> StatusCode {
        match self.shown {
            Shown::Field => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            Shown::Path => StatusCode::FORBIDDEN,
        }
    }

    /// How many requests showed no token, or another one.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// What one client connection has shown so far.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    access: Access,
    refused: Arc<AtomicU64>,
    admitted: Arc<AtomicBool>,
}

impl Gate {
    pub(super) fn new(access: &Access) -> Self {
        Self {
            access: access.clone(),
            refused: Arc::default(),
            admitted: Arc::default(),
        }
    }

    /// True if the request with these header fields may pass; else it is counted. Removes the token,
    /// which is for us alone.
    pub(super) fn admits(&self, fields: &mut HeaderMap) -> bool {
        let Some(token) = &self.access.token else {
            return true;
        };
        let values = fields.get_all(header::PROXY_AUTHORIZATION).iter();
        let is_shown = token.is_shown(values.map(HeaderValue::as_bytes));
        headers::without(fields, |name| *name == header::PROXY_AUTHORIZATION);
        self.counts(is_shown)
    }

    /// True if the request may pass; else it is counted. Removes the token, wherever it was shown.
    pub(super) fn admits_request<B>(&self, request: &mut Request<B>) -> bool {
        match self.access.shown {
            Shown::Field => self.admits(request.headers_mut()),
            Shown::Path => self.admits_path(request.uri_mut()),
        }
    }

    fn admits_path(&self, uri: &mut Uri) -> bool {
        let Some(token) = &self.access.token else {
            return true;
        };
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let rest = path.strip_prefix('/').unwrap_or(path);
        let (first, _) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let behind = rest.get(first.len()..).unwrap_or_default();
        let behind = if behind.starts_with('/') { behind } else { "/" };
        let behind = behind.parse::<Uri>();
        let is_shown = token.is(first.as_bytes());
        if let (true, Ok(behind)) = (is_shown, behind) {
            *uri = behind;
        }
        self.counts(is_shown)
    }

    fn counts(&self, is_shown: bool) -> bool {
        if is_shown {
            self.admitted.store(true, Ordering::Relaxed);
            return true;
        }
        self.access.refused.fetch_add(1, Ordering::Relaxed);
        let tries = self.refused.fetch_add(1, Ordering::Relaxed) + 1;
        let status = self.access.status().as_u16();
        tracing::info!(target: "modtape::connection", tries, "{status}: a client without the token");
        false
    }

    /// The status of the answer to a request that does not pass.
    pub(super) const fn status(&self) -> StatusCode {
        self.access.status()
    }

    /// True if too many requests came without the token.
    pub(super) fn is_shut(&self) -> bool {
        self.refused.load(Ordering::Relaxed) >= TRIES
    }

    /// True if a token is required and none was shown on this connection.
    pub(super) fn is_stranger(&self) -> bool {
        self.access.token.is_some() && !self.admitted.load(Ordering::Relaxed)
    }

    /// True if a request was refused.
    pub(super) fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed) > 0
    }

    /// True if this connection, which never showed the token, is one of those that are recorded.
    /// Counts it: to be called once a connection.
    pub(super) fn is_recorded_stranger(&self) -> bool {
        self.access.strangers.fetch_add(1, Ordering::Relaxed) < RECORDED_STRANGERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef01234567";

    fn gate() -> Gate {
        Gate::new(&Access::with(Token::parse(TOKEN).unwrap()))
    }

    fn basic(user_and_password: &str) -> String {
        format!("Basic {}", BASE64.encode(user_and_password))
    }

    #[test]
    fn the_token_is_shown_by_one_field_in_one_of_two_schemes() {
        let mut wrong = Vec::new();
        for (values, admitted) in [
            (vec![basic(&format!("modtape:{TOKEN}"))], true),
            (vec![basic(&format!(":{TOKEN}"))], true),
            (
                vec![basic(&format!("x:{TOKEN}")).replace("Basic", "bASIC")],
                true,
            ),
            (vec![basic(&format!("x:{TOKEN}")).replace(' ', "   ")], true),
            (vec![format!("Bearer {TOKEN}")], true),
            (vec![format!("bearer {TOKEN} ")], true),
            (vec![], false),
            (vec![String::new()], false),
            (vec![TOKEN.to_owned()], false),
            (vec![String::from("Basic")], false),
            (vec![String::from("Basic ")], false),
            (vec![String::from("Basic !!")], false),
            (vec![basic(TOKEN)], false),
            (vec![basic(&format!("{TOKEN}:"))], false),
            (vec![basic(&format!("x:{}", &TOKEN[1..]))], false),
            (vec![basic(&format!("x:{TOKEN}0"))], false),
            (vec![basic(&format!("x:y:{TOKEN}"))], false),
            (vec![basic(&format!("x:{}", TOKEN.to_uppercase()))], false),
            (vec![format!("Bearer{TOKEN}")], false),
            (vec![String::from("Bearer ")], false),
            (vec![format!("Digest {TOKEN}")], false),
            (vec![basic(&format!("x:{TOKEN}")); 2], false),
        ] {
            let gate = gate();
            let mut fields = HeaderMap::new();
            for value in &values {
                fields.append(header::PROXY_AUTHORIZATION, value.parse().unwrap());
            }
            if gate.admits(&mut fields) != admitted {
                wrong.push(format!("{values:?}: not {admitted}"));
            }
            assert_eq!(gate.access.refused(), u64::from(!admitted), "{values:?}");
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn without_a_token_all_pass_and_keep_their_fields() {
        let gate = Gate::new(&Access::open());
        let mut head = HeaderMap::new();
        head.insert("proxy-authorization", "Basic eDp5".parse().unwrap());
        assert!(gate.admits(&mut head));
        assert_eq!(head.len(), 1);
        assert_eq!(gate.access.refused(), 0);
    }

    #[test]
    fn what_shows_the_token_goes_no_further() {
        for (value, admitted) in [(format!("Bearer {TOKEN}"), true), (basic("x:y"), false)] {
            let mut head = HeaderMap::new();
            for (name, value) in [("a", "1"), ("proxy-authorization", &value[..]), ("b", "2")] {
                head.insert(name, value.parse().unwrap());
            }
            assert_eq!(gate().admits(&mut head), admitted);
            let names: Vec<_> = head.keys().map(http::HeaderName::as_str).collect();
            assert_eq!(names, ["a", "b"]);
        }
    }

    #[test]
    fn a_token_that_could_be_guessed_or_misread_is_none() {
        assert_eq!(Token::parse(&TOKEN[1..]), Err(TokenError::Length));
        assert_eq!(Token::parse(""), Err(TokenError::Length));
        assert_eq!(Token::parse(&"a".repeat(257)), Err(TokenError::Length));
        for c in [" ", "@", ":", "/", "%", "\n", "'", "é"] {
            let text = format!("{TOKEN}{c}");
            assert_eq!(Token::parse(&text), Err(TokenError::Character), "{c:?}");
        }
        let random = Token::random();
        assert_eq!(random.secret().len(), 32);
        assert_eq!(Token::parse(random.secret()), Ok(random.clone()));
        assert_ne!(random, Token::random());
        assert_eq!(format!("{random:?}"), "Token(..)");
    }

    #[test]
    fn a_connection_may_try_so_often_and_is_told_the_end() {
        let gate = gate();
        for tries in 1..=TRIES {
            assert!(gate.is_stranger(), "before the first request, too");
            assert!(!gate.admits(&mut HeaderMap::new()));
            assert_eq!(gate.is_shut(), tries == TRIES);
            let answer = crate::proxy::answer::Answer::challenge(gate.status(), gate.is_shut());
            let closes = answer.into_response().headers().contains_key("connection");
            assert_eq!(closes, tries == TRIES);
        }
        assert!(gate.is_stranger());
    }
}
