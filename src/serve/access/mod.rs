//! Who may ask: whoever can connect, or those who show the token or a password.

mod passwords;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

pub(crate) use passwords::{Busy, Passwords};

use crate::proxy::{Credentials, Token};

/// What clients have to show; nothing, if it has neither.
#[derive(Debug, Default)]
pub(crate) struct Access {
    /// The first element of the path, or the secret of `Authorization`.
    pub(crate) token: Option<Token>,
    /// What `Authorization` may have too.
    pub(crate) passwords: Option<Passwords>,
}

/// A request that may pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Who asks, if it has shown a name that counts.
    pub(super) user: Option<String>,
    /// Its `Authorization` is for us: nobody else gets it.
    pub(super) is_ours: bool,
}

impl Access {
    /// A path without the token, and whether it began with it.
    pub(super) fn without_token<'a>(&self, path: &'a str) -> (&'a str, bool) {
        let token = self.token.as_ref();
        let rest = token.and_then(|token| {
            let rest = path.strip_prefix('/')?;
            let first = rest.split('/').next().unwrap_or_default();
            let rest = rest.get(first.len()..)?;
            token.is(first.as_bytes()).then_some(rest)
        });
        match rest {
            Some(rest) => (rest, true),
            None => (path, false),
        }
    }

    /// Whether a request may pass; `has_token` says that its path began with it. `None`: it may not.
    pub(super) async fn admits(
        &self,
        has_token: bool,
        fields: &HeaderMap,
    ) -> Result<Option<Admitted>, Busy> {
        let shown = shown(fields);
        let shows_token = |shown: &Credentials| {
            let token = self.token.as_ref();
            token.is_some_and(|token| token.is(&shown.secret))
        };
        if shown.as_ref().is_some_and(shows_token) {
            return Ok(Some(Admitted {
                user: None,
                is_ours: true,
            }));
        }
        let is_open = self.token.is_none() && self.passwords.is_none();
        if has_token || is_open {
            return Ok(Some(Admitted::default()));
        }
        let (Some(passwords), Some(shown)) = (&self.passwords, shown) else {
            return Ok(None);
        };
        let user = passwords.user(&shown).await?;
        Ok(user.map(|user| Admitted {
            user: Some(user),
            is_ours: true,
        }))
    }
}

/// What the request shows in `Authorization`; two of them show nothing.
fn shown(fields: &HeaderMap) -> Option<Credentials> {
    let mut values = fields.get_all(AUTHORIZATION).iter();
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (Some(value), None) => Credentials::parse(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "test-token-0123456789abcdef";

    fn fields(value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a value");
        HeaderMap::from_iter([(AUTHORIZATION, value)])
    }

    #[tokio::test]
    async fn the_token_counts_in_the_path_and_in_authorization() {
        let access = Access {
            token: Some(Token::parse(TOKEN).expect("a token")),
            passwords: None,
        };
        let path = format!("/{TOKEN}/a.example/x/@v/list");
        assert_eq!(access.without_token(&path), ("/a.example/x/@v/list", true));
        for other in ["/a.example/x/@v/list", "/", "", "/test-token/x"] {
            assert_eq!(access.without_token(other), (other, false));
        }
        let is_ours =
            |admitted: Result<Option<Admitted>, Busy>| admitted.ok().flatten().map(|it| it.is_ours);
        let bearer = fields(&format!("Bearer {TOKEN}"));
        assert_eq!(is_ours(access.admits(false, &bearer).await), Some(true));
        // A token in both places is ours in both.
        assert_eq!(is_ours(access.admits(true, &bearer).await), Some(true));
        let other = fields("Bearer of-somebody-else");
        assert_eq!(is_ours(access.admits(false, &other).await), None);
        assert_eq!(is_ours(access.admits(true, &other).await), Some(false));
        let none = HeaderMap::new();
        assert_eq!(is_ours(access.admits(false, &none).await), None);
        assert_eq!(
            is_ours(Access::default().admits(false, &none).await),
            Some(false)
        );
    }
}
