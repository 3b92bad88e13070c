//! The value of GOSUMDB: which checksum database is asked, and where.

use std::str::FromStr;

use super::{Base, Location};

/// The name of the database that is asked by default.
pub(super) const SUM_GOLANG_ORG: &str = "sum.golang.org";
/// Its verifier key (`cmd/go/internal/modfetch`, `knownGOSUMDB`).
const SUM_GOLANG_ORG_KEY: &str =
    "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
/// The same database, reachable inside mainland China; an alias, not a name of its own.
pub(super) const SUM_GOLANG_GOOGLE_CN: &str = "sum.golang.google.cn";

/// A parsed GOSUMDB.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum GoSumDb {
    /// `off`: go.sum is not compared with any database.
    Off,
    /// A database.
    On {
        /// Its name, `host[/path]`, which its signatures and its URLs carry.
        name: String,
        /// Its verifier key, `name+hash+key`; `None` for a bare name that cmd/go does not know
        /// either, and refuses.
        key: Option<String>,
        /// Where it is asked instead of `https://name`, with no module proxy in between.
        url: Option<String>,
    },
}

/// Why a GOSUMDB cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GoSumDbError {
    /// Nothing but white space.
    #[error("missing GOSUMDB")]
    Missing,
    /// More than a key and a URL.
    #[error("invalid GOSUMDB: too many fields")]
    TooManyFields,
    /// A name that is not `host[/path]`.
    #[error("invalid checksum database name {0:?} (must be host[/path])")]
    Name(String),
}

impl FromStr for GoSumDb {
    type Err = GoSumDbError;

    /// Reads the value as `cmd/go/internal/modfetch.dbDial` does, but leaves the key unverified.
    fn from_str(value: &str) -> Result<Self, GoSumDbError> {
        if value == "off" {
            return Ok(Self::Off);
        }
        if value == SUM_GOLANG_GOOGLE_CN {
            return "sum.golang.org https://sum.golang.google.cn".parse();
        }
        let mut fields = value.split_whitespace();
        let key = fields.next().ok_or(GoSumDbError::Missing)?;
        let url = fields.next().map(str::to_owned);
        if fields.next().is_some() {
            return Err(GoSumDbError::TooManyFields);
        }
        let (name, key) = match key.split_once('+') {
            Some((name, _)) => (name, Some(key)),
            None => (key, (key == SUM_GOLANG_ORG).then_some(SUM_GOLANG_ORG_KEY)),
        };
        if name.is_empty()
            || name.starts_with('/')
            || name.ends_with('/')
            || name.contains(['?', '#', '@', '%', '\\'])
        {
            return Err(GoSumDbError::Name(name.to_owned()));
        }
        Ok(Self::On {
            name: name.to_owned(),
            key: key.map(str::to_owned),
            url,
        })
    }
}

impl GoSumDb {
    /// The database's name; `None` when it is off.
    #[cfg(test)]
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Off => None,
            Self::On { name, .. } => Some(name),
        }
    }

    /// The database's verifier key, where the value or cmd/go knows it.
    #[cfg(test)]
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Off => None,
            Self::On { key, .. } => key.as_deref(),
        }
    }

    /// The place that is asked when no module proxy relays the database.
    pub(crate) fn base(&self) -> Option<Base> {
        let Self::On { name, url, .. } = self else {
            return None;
        };
        let base = match url {
            Some(url) => Base::of(url)?,
            None => Base::of(&format!("https://{name}"))?,
        };
        Some(Base {
            sumdb: Some(name.clone()),
            ..base
        })
    }

    /// Its host, with `:port` where it is not the scheme's own.
    pub(crate) fn host(&self) -> Option<String> {
        self.base().map(|base| base.host)
    }
}

/// The name and the rest of the path of a request straight to a database that every go knows.
pub(super) fn well_known<'a>(location: &'a Location<'_>) -> Option<(&'static str, &'a str)> {
    let known = matches!(&*location.host, SUM_GOLANG_ORG | SUM_GOLANG_GOOGLE_CN);
    known.then_some((SUM_GOLANG_ORG, location.path.strip_prefix('/')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &str) -> Option<String> {
        value.parse::<GoSumDb>().unwrap().host()
    }

    #[test]
    fn each_form_names_its_database_and_its_host() {
        let default: GoSumDb = "sum.golang.org".parse().unwrap();
        assert_eq!(default.name(), Some("sum.golang.org"));
        assert!(
            default
                .key()
                .unwrap()
                .starts_with("sum.golang.org+033de0ae+")
        );
        assert_eq!(default.host().as_deref(), Some("sum.golang.org"));

        let alias: GoSumDb = "sum.golang.google.cn".parse().unwrap();
        assert_eq!(alias.name(), Some("sum.golang.org"));
        assert_eq!(alias.host().as_deref(), Some("sum.golang.google.cn"));
        assert_eq!(alias.key(), default.key());

        let own: GoSumDb = "sums.corp/db+0a0b0c0d+AAAA".parse().unwrap();
        assert_eq!(own.name(), Some("sums.corp/db"));
        assert_eq!(own.base().unwrap().path, "/db");
        assert_eq!(own.base().unwrap().sumdb.as_deref(), Some("sums.corp/db"));

        assert_eq!(
            host("sums.corp+0a+A http://10.0.0.1:8080/s"),
            Some("10.0.0.1:8080".into())
        );
        assert_eq!(host("sums.corp+0a+A file:///srv/sumdb"), None);
        assert_eq!(host("off"), None);
        assert_eq!("sums.corp".parse::<GoSumDb>().unwrap().key(), None);
    }

    #[test]
    fn what_cmd_go_refuses_is_refused() {
        assert_eq!(" ".parse::<GoSumDb>(), Err(GoSumDbError::Missing));
        assert_eq!("a b c".parse::<GoSumDb>(), Err(GoSumDbError::TooManyFields));
        for name in ["+0a+A", "a.b/+0a+A", "a@b+0a+A", "/a+0a+A", "a?b"] {
            assert!(
                matches!(name.parse::<GoSumDb>(), Err(GoSumDbError::Name(_))),
                "{name}"
            );
        }
    }
}
