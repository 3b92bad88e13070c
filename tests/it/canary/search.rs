//! Finds a secret in whatever bytes, however it was encoded there.

use std::collections::HashMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use flate2::read::MultiGzDecoder;

/// Needles are found by their first bytes.
const KEY_BYTES: usize = 6;

/// All that is looked for.
#[derive(Default)]
pub(super) struct Needles {
    by_key: HashMap<[u8; KEY_BYTES], Vec<Needle>>,
}

struct Needle {
    bytes: Vec<u8>,
    cell: usize,
    form: &'static str,
}

/// A secret that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    pub(super) cell: usize,
    pub(super) form: &'static str,
    pub(super) offset: usize,
}

impl Needles {
    /// Looks for `text`, in every form, from now on.
    pub(super) fn add(&mut self, cell: usize, text: &str) {
        for (form, bytes) in forms(text) {
            let Some(key) = bytes.first_chunk::<KEY_BYTES>() else {
                continue;
            };
            let needles = self.by_key.entry(*key).or_default();
            if needles.iter().all(|needle| needle.bytes != bytes) {
                needles.push(Needle { bytes, cell, form });
            }
        }
    }

    /// Everything in `bytes`, and in what is compressed in them.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        for (offset, window) in bytes.windows(KEY_BYTES).enumerate() {
            let key: &[u8; KEY_BYTES] = window.first_chunk().expect("a window is as long");
            for needle in self.by_key.get(key).into_iter().flatten() {
                if bytes[offset..].starts_with(&needle.bytes) {
                    let Needle { cell, form, .. } = *needle;
                    found.push(Found { cell, form, offset });
                }
            }
            if window.starts_with(&[0x1f, 0x8b, 8]) {
                let mut plain = Vec::new();
                // What breaks off has given what it has.
                let _ = MultiGzDecoder::new(&bytes[offset..])
                    .take(1 << 24)
                    .read_to_end(&mut plain);
                found.extend(self.find(&plain));
            }
        }
        found
    }
}

/// How a text may stand somewhere.
pub(super) fn forms(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = text.as_bytes();
    let hex = |upper: bool| -> String {
        let digit = |b: &u8| {
            if upper {
                format!("{b:02X}")
            } else {
                format!("{b:02x}")
            }
        };
        bytes.iter().map(digit).collect()
    };
    let mut forms = vec![
        ("plain", bytes.to_vec()),
        ("hex", hex(false).into_bytes()),
        ("HEX", hex(true).into_bytes()),
        ("%-encoded", percent(text, Percent::Upper).into_bytes()),
        (
            "%-encoded, lower case",
            percent(text, Percent::Lower).into_bytes(),
        ),
        (
            "%-encoded, all of it",
            percent(text, Percent::All).into_bytes(),
        ),
        (
            "%-encoded, all of it, lower case",
            percent(text, Percent::All)
                .to_ascii_lowercase()
                .into_bytes(),
        ),
        ("JSON", json(text).into_bytes()),
        ("JSON, ASCII", json_ascii(text).into_bytes()),
        (
            "UTF-16",
            text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        ("lower case", text.to_lowercase().into_bytes()),
    ];
    for alignment in 0..3 {
        forms.push(("base64", base64(bytes, alignment, false)));
        forms.push(("base64url", base64(bytes, alignment, true)));
    }
    // A hexadecimal secret is its own lower-case form; the digits of others might be anybody's.
    forms.retain(|(form, bytes)| *form == "plain" || bytes != text.as_bytes());
    forms
}

/// What base64 shows of the bytes wherever they begin within three.
fn base64(bytes: &[u8], alignment: usize, is_url: bool) -> Vec<u8> {
    let padded = [&[0; 2][..alignment], bytes].concat();
    let encoded = match is_url {
        true => BASE64_URL_SAFE_NO_PAD.encode(&padded),
        false => BASE64_STANDARD_NO_PAD.encode(&padded),
    };
    // The digits at both ends hold bits of the neighbours.
    let first = (alignment * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    encoded.as_bytes()[first..last].to_vec()
}

fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("text is JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

fn json_ascii(text: &str) -> String {
    let escaped = |c: char| match c.is_ascii() {
        true => c.to_string(),
        false => format!("\\u{:04x}", u32::from(c)),
    };
    json(text).chars().map(escaped).collect()
}

/// Which bytes are percent-encoded, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum Percent {
    Upper,
    Lower,
    All,
}

pub(super) fn percent(text: &str, how: Percent) -> String {
    let encoded = |b: u8| {
        let is_open = b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        match how {
            Percent::Upper | Percent::Lower if is_open => char::from(b).to_string(),
            Percent::Lower => format!("%{b:02x}"),
            Percent::Upper | Percent::All => format!("%{b:02X}"),
        }
    };
    text.bytes().map(encoded).collect()
}

#[test]
fn a_secret_is_found_in_every_form_at_every_place() {
    let mut needles = Needles::default();
    needles.add(0, "Xk7/pq2RstUv\u{e9}9");
    let other = b"some {\"other\": text}\n";
    for (form, bytes) in forms("Xk7/pq2RstUv\u{e9}9") {
        for before in 0..4 {
            let all = [&other[..before], &bytes, other].concat();
            assert!(!needles.find(&all).is_empty(), "{form} behind {before}");
        }
    }
    for before in 0..4 {
        let all = [&other[..before], "Xk7/pq2RstUv\u{e9}9".as_bytes(), other].concat();
        let encoded = BASE64_STANDARD_NO_PAD.encode(&all);
        assert!(!needles.find(encoded.as_bytes()).is_empty(), "{encoded}");
        let mut gzip = flate2::write::GzEncoder::new(other.to_vec(), flate2::Compression::best());
        std::io::Write::write_all(&mut gzip, &all).expect("a vector takes all");
        let gzip = gzip.finish().expect("a vector takes all");
        assert!(!needles.find(&gzip).is_empty(), "compressed");
    }
    assert_eq!(needles.find(other), []);
}
