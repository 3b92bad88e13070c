//! Where objects lie: a store, a bucket and a prefix.

use std::fmt;
use std::str::FromStr;

use object_store::path::Path;
use url::Url;

/// The protocol of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    S3,
    Google,
    Azure,
}

/// A bucket (Azure: a container) and a prefix in it: `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) provider: Provider,
    pub(super) bucket: String,
    /// What all keys begin with; may be empty.
    pub(super) prefix: Path,
}

/// Why a URL names no place in an object store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Another scheme, or no URL at all.
    #[error("an object store is s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")]
    Scheme,
    /// Nothing between `//` and the next slash.
    #[error("the URL of an object store names a bucket: s3://BUCKET/PREFIX")]
    NoBucket,
    /// A user, a port, a query or a fragment.
    #[error(
        "the URL of an object store has a bucket and a prefix and nothing else: its endpoint and keys \
         are in variables such as AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID"
    )]
    Other,
    /// A prefix with an empty element, or one of dots.
    #[error("the prefix of an object store has an empty or invalid element")]
    Prefix,
}

impl Place {
    /// Whether a text is meant as a URL, and not as the name of a file.
    pub(crate) fn is_url(text: &str) -> bool {
        text.contains("://")
    }

    /// The place above this one and the last element of the prefix; `None` if the prefix is empty.
    pub(crate) fn split(&self) -> Option<(Self, String)> {
        let parts: Vec<_> = self.prefix.parts().collect();
        let (last, above) = parts.split_last()?;
        let above = Self {
            prefix: above.iter().cloned().collect(),
            ..self.clone()
        };
        Some((above, last.as_ref().to_owned()))
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let url = Url::parse(text).map_err(|_| PlaceError::Scheme)?;
        let provider = match url.scheme() {
            "s3" => Provider::S3,
            "gs" => Provider::Google,
            "az" => Provider::Azure,
            _ => return Err(PlaceError::Scheme),
        };
        let is_plain = url.username().is_empty()
            && url.password().is_none()
            && url.port().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return Err(PlaceError::Other);
        }
        let bucket = url.host_str().filter(|bucket| !bucket.is_empty());
        let bucket = bucket.ok_or(PlaceError::NoBucket)?.to_owned();
        let prefix = Path::from_url_path(url.path()).map_err(|_| PlaceError::Prefix)?;
        Ok(Self {
            provider,
            bucket,
            prefix,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.provider {
            Provider::S3 => "s3",
            Provider::Google => "gs",
            Provider::Azure => "az",
        };
        write!(f, "{scheme}://{}", self.bucket)?;
        match self.prefix.as_ref() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_bucket_and_a_prefix() {
        for (text, shown) in [
            ("s3://team/modules", "s3://team/modules"),
            ("gs://team", "gs://team"),
            ("az://team/a/b/", "az://team/a/b"),
        ] {
            let place: Place = text.parse().expect("a place");
            assert_eq!(place.to_string(), shown);
        }
        let place: Place = "s3://team/a/b".parse().expect("a place");
        let (above, last) = place.split().expect("two elements");
        assert_eq!((&*above.to_string(), &*last), ("s3://team/a", "b"));
    }

    #[test]
    fn what_is_no_place_is_refused_with_its_reason() {
        for (text, expected) in [
            ("store", PlaceError::Scheme),
            ("http://team/a", PlaceError::Scheme),
            ("s3:///a", PlaceError::NoBucket),
            ("s3://", PlaceError::NoBucket),
            ("s3://key:secret@team/a", PlaceError::Other),
            ("s3://team:9000/a", PlaceError::Other),
            ("s3://team/a?x=1", PlaceError::Other),
            ("s3://team/a//b", PlaceError::Prefix),
        ] {
            assert_eq!(text.parse::<Place>(), Err(expected), "{text}");
        }
    }
}
