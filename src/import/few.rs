//! Lists of which a hostile file could have millions: each element takes more memory than text.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

/// The most elements of a list inside an entry or a page: servers take 100 header fields or so.
const FEW: usize = 10_000;

/// A list of at most [`FEW`] elements; `null` is none.
pub(super) fn few<'de, D, T>(json: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    json.deserialize_any(Few(PhantomData))
}

/// The same, where there may be none.
pub(super) fn maybe_few<'de, D, T>(json: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    few(json).map(Some)
}

struct Few<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Few<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut few = Vec::new();
        while let Some(element) = list.next_element()? {
            if few.len() == FEW {
                let told = format_args!("a list of more than {FEW}").to_string();
                return Err(A::Error::custom(told));
            }
            few.push(element);
        }
        Ok(few)
    }
}
