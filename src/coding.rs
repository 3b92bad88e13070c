//! What the bytes of a body are: their content coding (RFC 9110 section 8.4.1), gzip undone within
//! limits, and whether their type is a text.
//!
//! A recording, and any other file, is untrusted input: whatever is decompressed has a limit.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read, Write as _};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::exchange::Fields;

/// The content coding of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Coding {
    /// None: the bytes are the content.
    Identity,
    /// RFC 1952, the one coding that the go command asks for.
    Gzip,
    /// One that is not decoded here, as the header field has it.
    Other(String),
}

/// Why a content coding is not undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotDecoded {
    /// The coding, as the header field has it.
    #[error("{0} is not decoded here")]
    Unknown(String),
    /// The bytes are not gzip, or not all of it.
    #[error("this is not valid gzip")]
    Damaged,
    /// The limit, in bytes.
    #[error("this gzip holds more than {0} bytes")]
    TooLarge(u64),
}

impl Coding {
    /// The coding that a message's header fields name.
    pub(crate) fn of(headers: &Fields) -> Self {
        let mut named = headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"))
            .map(|(_, value)| value.to_text().trim().to_ascii_lowercase());
        // Most bodies have none.
        let Some(first) = named.next() else {
            return Self::Identity;
        };
        let named = named.fold(first, |all, coding| all + ", " + &coding);
        match named.as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            _ => Self::Other(named),
        }
    }

    /// The content of a whole body, if it has no more than `limit` bytes.
    pub(crate) fn decode<'a>(
        &self,
        encoded: &'a [u8],
        limit: u64,
    ) -> Result<Cow<'a, [u8]>, NotDecoded> {
        match self {
            Self::Identity => Ok(Cow::Borrowed(encoded)),
            // A response to HEAD, or an empty body, names a coding that it did not use.
            Self::Gzip | Self::Other(_) if encoded.is_empty() => Ok(Cow::Borrowed(encoded)),
            Self::Other(name) => Err(NotDecoded::Unknown(name.clone())),
            Self::Gzip => {
                let mut content = Vec::new();
                let mut decoder = MultiGzDecoder::new(encoded).take(limit.saturating_add(1));
                let read = decoder.read_to_end(&mut content);
                match read.map_err(|_| NotDecoded::Damaged)? as u64 {
                    bytes if bytes <= limit => Ok(Cow::Owned(content)),
                    _ => Err(NotDecoded::TooLarge(limit)),
                }
            }
        }
    }

    /// The content of a body of so many `bytes` while it is read; an error in the middle of it if it
    /// is more than [`file_limit`] allows.
    pub(crate) fn reader<'a>(
        &self,
        encoded: impl Read + 'a,
        bytes: u64,
    ) -> Result<Box<dyn Read + 'a>, NotDecoded> {
        match self {
            Self::Gzip if bytes > 0 => {
                let content = gunzip(BufReader::new(encoded), file_limit(bytes));
                Ok(Box::new(content))
            }
            Self::Other(name) if bytes > 0 => Err(NotDecoded::Unknown(name.clone())),
            // An empty body names a coding that it did not use.
            Self::Identity | Self::Gzip | Self::Other(_) => Ok(Box::new(encoded)),
        }
    }
}

/// Whether `Accept-Encoding` fields of these values take gzip (RFC 9110 section 12.5.3).
pub(crate) fn lists_gzip<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    let values = values.filter_map(|value| std::str::from_utf8(value).ok());
    let mut codings = values.flat_map(|value| value.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=");
        let is_refused = weight.is_some_and(|weight| weight.parse() == Ok(0.0));
        matches!(name.trim(), "gzip" | "*") && !is_refused
    })
}

/// Whether a content type is one of texts.
pub(crate) fn is_textual(mime: &str) -> bool {
    let mime = mime.split(';').next().unwrap_or_default();
    let mime = mime.trim().to_ascii_lowercase();
    let ends = [
        "json",
        "xml",
        "javascript",
        "ecmascript",
        "x-www-form-urlencoded",
    ];
    mime.starts_with("text/") || ends.iter().any(|end| mime.ends_with(end))
}

/// What `encoded` decompresses to; an error once that is more than `limit` bytes.
pub(crate) fn gunzip<R: BufRead>(encoded: R, limit: u64) -> Limited<MultiGzDecoder<R>> {
    Limited::new(MultiGzDecoder::new(encoded), limit)
}

/// How many bytes `encoded` bytes of a compressed text may become: 100 times as many, but 1 MiB is
/// always allowed and 64 MiB never exceeded.
///
/// Deflate reaches about 1030:1 on zeros; text that servers compress stays below 20:1.
pub(crate) fn text_limit(encoded: u64) -> u64 {
    encoded.saturating_mul(100).clamp(1 << 20, 64 << 20)
}

/// The same for whatever may be a file of any size: zips, which hardly shrink.
fn file_limit(encoded: u64) -> u64 {
    encoded.saturating_mul(4).max(text_limit(encoded))
}

/// A source that ends with an error where it gives more bytes than its limit.
pub(crate) struct Limited<R> {
    source: R,
    limit: u64,
    left: u64,
}

impl<R> Limited<R> {
    /// `source`, of which no more than `limit` bytes are read.
    pub(crate) const fn new(source: R, limit: u64) -> Self {
        Self {
            source,
            limit,
            left: limit,
        }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.source.read(buffer)?;
        match self.left.checked_sub(len as u64) {
            Some(left) => self.left = left,
            None => {
                let why = format!("it decompresses to more than {} bytes", self.limit);
                return Err(io::Error::other(why));
            }
        }
        Ok(len)
    }
}

/// The bytes in gzip.
pub(crate) fn gzip(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    let written = encoder.write_all(bytes);
    written
        .and_then(|()| encoder.finish())
        .expect("memory takes all that is written")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn gzip(content: &[u8]) -> Vec<u8> {
        super::gzip(content, Compression::best())
    }

    fn coding(values: &[&str]) -> Coding {
        let field = |value: &&str| ("Content-Encoding".to_owned(), (*value).into());
        Coding::of(&values.iter().map(field).collect())
    }

    #[test]
    fn gzip_is_decoded_even_in_several_members() {
        let twice = [gzip(b"v1.0.0\n"), gzip(b"v1.1.0\n")].concat();
        let decoded = coding(&["GZIP"]).decode(&twice, MIB);
        assert_eq!(decoded.unwrap().as_ref(), b"v1.0.0\nv1.1.0\n");
    }

    #[test]
    fn every_cut_gzip_is_damaged() {
        let whole = gzip(b"module example.com/m\n");
        for length in 1..whole.len() {
            let decoded = Coding::Gzip.decode(&whole[..length], MIB);
            assert_eq!(decoded, Err(NotDecoded::Damaged), "{length}");
        }
    }

    #[test]
    fn a_content_of_the_limit_is_decoded_and_one_byte_more_is_not() {
        let bytes = usize::try_from(MIB).unwrap();
        let (fits, bomb) = (gzip(&vec![0; bytes]), gzip(&vec![0; bytes + 1]));
        assert_eq!(Coding::Gzip.decode(&fits, MIB).map(|c| c.len()), Ok(bytes));
        let too_large = Coding::Gzip.decode(&bomb, MIB).unwrap_err();
        assert_eq!(too_large, NotDecoded::TooLarge(MIB));
        assert!(too_large.to_string().contains("more than 1048576 bytes"));
        let read = |encoded: &[u8]| io::copy(&mut gunzip(encoded, MIB), &mut io::sink());
        assert_eq!(read(&fits).unwrap(), MIB);
        read(&bomb).unwrap_err();
    }

    #[test]
    fn the_limit_grows_with_the_body_up_to_64_mebibytes() {
        assert_eq!(text_limit(10), MIB);
        assert_eq!(text_limit(20_000), 2_000_000);
        assert_eq!(text_limit(MIB), 64 * MIB);
        assert_eq!(text_limit(u64::MAX), 64 * MIB);
        assert_eq!(file_limit(100 * MIB), 400 * MIB);
    }

    #[test]
    fn what_is_not_gzip_alone_is_not_guessed_at() {
        assert_eq!(coding(&[]), Coding::Identity);
        assert_eq!(coding(&["identity"]), Coding::Identity);
        assert_eq!(coding(&["gzip", "br"]), Coding::Other("gzip, br".into()));
        let decoded = coding(&["br"]).decode(b"\x0b\x02", MIB);
        assert_eq!(decoded, Err(NotDecoded::Unknown("br".into())));
    }

    #[test]
    fn an_empty_body_has_no_coding_to_undo() {
        assert_eq!(Coding::Gzip.decode(b"", MIB).unwrap().len(), 0);
        let mut text = String::new();
        let mut empty = Coding::Gzip.reader(&b""[..], 0).unwrap();
        assert_eq!(empty.read_to_string(&mut text).unwrap(), 0);
    }

    #[test]
    fn a_body_is_decoded_while_it_is_read() {
        let encoded = gzip(b"module a.b/c\n");
        let bytes = encoded.len() as u64;
        let mut text = String::new();
        let mut content = Coding::Gzip.reader(&*encoded, bytes).unwrap();
        content.read_to_string(&mut text).unwrap();
        assert_eq!(text, "module a.b/c\n");
        let unknown = coding(&["br"]).reader(&b"?"[..], 1).err();
        assert_eq!(unknown, Some(NotDecoded::Unknown("br".into())));
    }
}
