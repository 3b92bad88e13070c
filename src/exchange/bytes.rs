//! Bytes as JSON holds them: text where they are text, digits where they are digests and ids.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are usually text: JSON text when UTF-8, else `{"b64": "…"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteString(pub Vec<u8>);

impl ByteString {
    /// The bytes as text for people, with `\u{fffd}` for what is not UTF-8.
    pub fn to_text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&str> for ByteString {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for ByteString {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl From<&[u8]> for ByteString {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl Serialize for ByteString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_map([("b64", BASE64.encode(&self.0))]),
        }
    }
}

// By hand: serde's untagged enums would copy every value into a tree first.
impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = ByteString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object with b64")
            }

            fn visit_str<E>(self, text: &str) -> Result<ByteString, E> {
                Ok(text.into())
            }

            fn visit_string<E>(self, text: String) -> Result<ByteString, E> {
                Ok(text.into())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ByteString, A::Error> {
                #[derive(Deserialize)]
                struct Binary {
                    b64: String,
                }
                let Binary { b64 } = Binary::deserialize(MapAccessDeserializer::new(map))?;
                BASE64.decode(b64).map(ByteString).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// Header or trailer fields in the order in which hyper gave them: `[[name, value], …]`.
pub type Fields = Vec<(String, ByteString)>;

/// The first value of the field `name` (lower case), as text.
pub fn field<'a>(fields: &'a Fields, name: &str) -> Option<std::borrow::Cow<'a, str>> {
    fields
        .iter()
        .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_text())
}

/// A fixed number of bytes written as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hex<const N: usize>(pub [u8; N]);

/// SHA-256 of a body (FIPS 180-4).
pub type Digest = Hex<32>;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl<const N: usize> Hex<N> {
    /// The digits, written into `buffer`: a format for each byte costs twenty times as much, and
    /// every exchange writes a digest and a span.
    pub(crate) fn digits<'a>(&self, buffer: &'a mut [u8; 64]) -> &'a str {
        const { assert!(N <= 32) }
        for (pair, byte) in buffer.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        std::str::from_utf8(&buffer[..2 * N]).expect("digits are ASCII")
    }
}

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits(&mut [0; 64]))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not the expected number of lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("expected {expected} lower-case hexadecimal digits")]
pub struct HexError {
    expected: usize,
}

impl<const N: usize> FromStr for Hex<N> {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        let error = || HexError { expected: 2 * N };
        if text.len() != 2 * N {
            return Err(error());
        }
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| match c {
                b'0'..=b'9' => Ok(c - b'0'),
                b'a'..=b'f' => Ok(c - b'a' + 10),
                _ => Err(error()),
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.digits(&mut [0; 64]))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_text_survive() {
        for bytes in [b"plain".to_vec(), vec![0xff, 0, b'a']] {
            let bytes = ByteString(bytes);
            let json = serde_json::to_string(&bytes).unwrap();
            assert_eq!(serde_json::from_str::<ByteString>(&json).unwrap(), bytes);
        }
    }

    #[test]
    fn a_digest_takes_64_lower_case_digits_and_nothing_else() {
        let text = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(text.parse::<Hex<16>>().unwrap().to_string(), text);
        assert!(text.to_uppercase().parse::<Hex<16>>().is_err());
        assert!(text.parse::<Hex<8>>().is_err());
        assert!("0af7651916cd43éé8448eb211c8031".parse::<Hex<16>>().is_err());
    }
}
