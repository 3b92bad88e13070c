//! A recorded body as a HAR viewer wants it: content-decoded, text where it is text.
//!
//! A recording is untrusted input, so decoding is bounded; what lies beyond the bound stays encoded
//! and says so. Nothing is ever cut short silently.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::bufread;
use flate2::read::MultiGzDecoder;

use crate::exchange::Fields;

/// What a body's content coding (RFC 9110 section 8.4.1) means to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Coding {
    /// None: the octets are the content.
    Identity,
    /// RFC 1952, the one coding that the go command asks for.
    Gzip,
    /// Something that we do not decode, as the header has it.
    Other(String),
}

/// A body's octets after content-decoding, or as they were if that was not possible.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded<'a> {
    /// The content; the encoded octets where `still_encoded` is set.
    pub(super) octets: Cow<'a, [u8]>,
    /// Why the octets are still encoded.
    pub(super) still_encoded: Option<String>,
}

impl Coding {
    /// The coding that a message's header fields name.
    pub(super) fn of(headers: &Fields) -> Self {
        let named = headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"))
            .map(|(_, value)| value.to_text().trim().to_ascii_lowercase())
            .collect::<Vec<_>>()
            .join(", ");
        match named.as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            _ => Self::Other(named),
        }
    }

    /// Undoes this coding, within the bounds of [`decoded_limit`].
    pub(super) fn decode<'a>(&self, octets: &'a [u8]) -> Decoded<'a> {
        let kept = |why: String| Decoded {
            octets: Cow::Borrowed(octets),
            still_encoded: Some(why),
        };
        match self {
            Self::Identity => Decoded {
                octets: Cow::Borrowed(octets),
                still_encoded: None,
            },
            // A response to HEAD, or an empty body, names a coding that it did not use.
            Self::Gzip | Self::Other(_) if octets.is_empty() => Decoded {
                octets: Cow::Borrowed(octets),
                still_encoded: None,
            },
            Self::Other(name) => kept(format!("still encoded: {name} is not decoded here")),
            Self::Gzip => match gunzip(octets) {
                Ok(Some(content)) => Decoded {
                    octets: Cow::Owned(content),
                    still_encoded: None,
                },
                Ok(None) => kept(format!(
                    "still encoded: this gzip holds more than {} octets",
                    decoded_limit(octets.len())
                )),
                Err(_) => kept("still encoded: this is not valid gzip".to_owned()),
            },
        }
    }
}

/// The content, or `None` if there is more of it than the limit allows.
fn gunzip(octets: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
    let limit = decoded_limit(octets.len());
    let mut content = Vec::with_capacity(octets.len().saturating_mul(4).min(limit));
    bufread::MultiGzDecoder::new(octets)
        .take(limit as u64 + 1)
        .read_to_end(&mut content)?;
    Ok((content.len() <= limit).then_some(content))
}

/// How many octets `encoded` octets of gzip may become: 100 times as many, but 1 MiB is always
/// allowed and 64 MiB never exceeded.
///
/// Deflate reaches about 1030:1 on zeros; text that servers compress stays below 20:1.
pub(super) fn decoded_limit(encoded: usize) -> usize {
    encoded.saturating_mul(MAX_RATIO).clamp(FREE, MAX_DECODED)
}

const FREE: usize = 1024 * 1024;
const MAX_DECODED: usize = 64 * FREE;
const MAX_RATIO: usize = 100;

/// The content of an answer of so many `bytes`: `octets` with the coding undone that its header
/// fields name, within bounds; or the name of a coding that is not known here.
pub(crate) fn content(
    headers: &Fields,
    octets: impl Read + 'static,
    bytes: u64,
) -> Result<Box<dyn Read>, String> {
    match Coding::of(headers) {
        Coding::Gzip if bytes > 0 => Ok(Box::new(Bounded {
            source: MultiGzDecoder::new(octets),
            left: limit(bytes),
        })),
        Coding::Other(name) if bytes > 0 => Err(name),
        // An empty body names a coding that it did not use.
        Coding::Identity | Coding::Gzip | Coding::Other(_) => Ok(Box::new(octets)),
    }
}

/// How many octets so many of gzip may become: what a HAR may hold of it, and what a zip needs.
fn limit(bytes: u64) -> u64 {
    let limit = decoded_limit(usize::try_from(bytes).unwrap_or(usize::MAX));
    bytes.saturating_mul(FREE_RATIO).max(limit as u64)
}

/// Octets of which there may be no more than so many.
struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(buffer)?;
        let left = self.left.checked_sub(len as u64);
        self.left =
            left.ok_or_else(|| io::Error::other("it decodes to far more than its length"))?;
        Ok(len)
    }
}

/// So many times its length may a compressed answer always become: zips hardly shrink.
const FREE_RATIO: u64 = 4;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn coding(values: &[&str]) -> Coding {
        let field = |value: &&str| ("Content-Encoding".to_owned(), (*value).into());
        Coding::of(&values.iter().map(field).collect())
    }

    #[test]
    fn gzip_is_decoded_even_in_several_members() {
        let twice = [gzip(b"v1.0.0\n"), gzip(b"v1.1.0\n")].concat();
        let decoded = coding(&["GZIP"]).decode(&twice);
        assert_eq!(decoded.octets.as_ref(), b"v1.0.0\nv1.1.0\n");
        assert_eq!(decoded.still_encoded, None);
    }

    #[test]
    fn every_cut_gzip_stays_whole_and_encoded() {
        let whole = gzip(b"module example.com/m\n");
        for length in 1..whole.len() {
            let decoded = Coding::Gzip.decode(&whole[..length]);
            assert_eq!(decoded.octets.as_ref(), &whole[..length]);
            assert!(decoded.still_encoded.is_some(), "{length}");
        }
    }

    #[test]
    fn one_mebibyte_of_zeros_is_decoded_and_one_octet_more_is_not() {
        let fits = gzip(&vec![0; FREE]);
        let bomb = gzip(&vec![0; FREE + 1]);
        assert_eq!(Coding::Gzip.decode(&fits).octets.len(), FREE);
        let decoded = Coding::Gzip.decode(&bomb);
        assert_eq!(decoded.octets.as_ref(), bomb);
        let why = decoded.still_encoded.unwrap();
        assert!(why.contains("more than 1048576 octets"), "{why}");
    }

    #[test]
    fn the_limit_grows_with_the_body_up_to_64_mebibytes() {
        assert_eq!(decoded_limit(10), FREE);
        assert_eq!(decoded_limit(20_000), 2_000_000);
        assert_eq!(decoded_limit(FREE), MAX_DECODED);
        assert_eq!(decoded_limit(usize::MAX), MAX_DECODED);
    }

    #[test]
    fn what_is_not_gzip_alone_is_not_guessed_at() {
        assert_eq!(coding(&[]), Coding::Identity);
        assert_eq!(coding(&["identity"]), Coding::Identity);
        assert_eq!(coding(&["gzip", "br"]), Coding::Other("gzip, br".into()));
        let decoded = coding(&["br"]).decode(b"\x0b\x02");
        assert_eq!(decoded.octets.as_ref(), b"\x0b\x02");
        assert!(decoded.still_encoded.unwrap().contains("br"));
    }

    #[test]
    fn an_empty_body_has_no_coding_to_undo() {
        assert_eq!(Coding::Gzip.decode(b"").still_encoded, None);
    }

    #[test]
    fn compressed_answers_are_decoded_within_bounds() {
        let named = |name: &str| vec![("content-encoding".to_owned(), name.into())];
        let mut encoder =
            flate2::read::GzEncoder::new(&b"module a.b/c\n"[..], flate2::Compression::fast());
        let mut gzip = Vec::new();
        encoder.read_to_end(&mut gzip).unwrap();
        let mut text = String::new();
        let bytes = gzip.len() as u64;
        let mut decoded = content(&named("gzip"), io::Cursor::new(gzip), bytes).unwrap();
        decoded.read_to_string(&mut text).unwrap();
        assert_eq!(text, "module a.b/c\n");
        assert_eq!(
            content(&named("gzip"), io::empty(), 0)
                .unwrap()
                .read(&mut [0])
                .unwrap(),
            0
        );
        assert_eq!(
            content(&named("br"), io::empty(), 1).err().as_deref(),
            Some("br")
        );
        let source = io::repeat(0);
        let mut bounded = Bounded { source, left: 10 };
        assert_eq!(bounded.read(&mut [0; 10]).unwrap(), 10);
        bounded.read(&mut [0]).unwrap_err();
    }
}
