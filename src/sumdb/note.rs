//! Signed notes: a text, a blank line, and signatures (`golang.org/x/mod/sumdb/note`).

use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

/// The longest note, bytes, and the most signatures of one (`note.Open`).
const LIMIT: usize = 1_000_000;
const SIGNATURES_LIMIT: usize = 100;

/// What each line of a signature begins with: an em dash.
const SIGNATURE: &str = "\u{2014} ";

/// The only algorithm: Ed25519.
const ALGORITHM: u8 = 1;

/// Bytes of an Ed25519 public key.
const KEY_BYTES: usize = 32;

/// Who may sign a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    /// The beginning of the key's hash, which tells a server's keys apart.
    id: [u8; 4],
    key: [u8; KEY_BYTES],
}

/// Why a text is no verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Another shape, or another algorithm.
    #[error("a verifier key is NAME+HASH+KEY, with an Ed25519 key")]
    Form,
    /// A name that signatures cannot carry.
    #[error("{0:?} is not a valid name of a key")]
    Name(String),
    /// The hash is another key's.
    #[error("the hash of this verifier key is not that of its key: it may have been mistyped")]
    Hash,
}

/// Why a note is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Another shape.
    #[error("it is not a signed note")]
    Form,
    /// No signature by this key.
    #[error("it is not signed by {0}")]
    Unsigned(String),
    /// A signature that does not fit the text.
    #[error("its signature by {0} is wrong")]
    Signature(String),
}

impl Verifier {
    /// The server's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key has signed, its last newline included.
    pub fn open<'n>(&self, note: &'n [u8]) -> Result<&'n str, NoteError> {
        let (text, signatures) = parts(note).ok_or(NoteError::Form)?;
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        let mut is_signed = false;
        for (at, line) in signatures.lines().enumerate() {
            let (name, signature) = signature(line).ok_or(NoteError::Form)?;
            let (id, signature) = signature.split_at_checked(4).ok_or(NoteError::Form)?;
            if at >= SIGNATURES_LIMIT || signature.is_empty() {
                return Err(NoteError::Form);
            }
            // Only the first of several by one key counts.
            if is_signed || name != self.name || id != self.id {
                continue;
            }
            let verified = key.verify(text.as_bytes(), signature);
            verified.map_err(|_| NoteError::Signature(self.name.clone()))?;
            is_signed = true;
        }
        match is_signed {
            true => Ok(text),
            false => Err(NoteError::Unsigned(self.name.clone())),
        }
    }
}

/// The text with its last newline, and the lines of signatures, each with its newline.
fn parts(note: &[u8]) -> Option<(&str, &str)> {
    let note = std::str::from_utf8(note).ok()?;
    let is_plain = |note: &str| !note.chars().any(|c| c < ' ' && c != '\n');
    if note.len() > LIMIT || !is_plain(note) {
        return None;
    }
    let blank = note.rfind("\n\n")?;
    let (text, signatures) = (&note[..=blank], &note[blank + 2..]);
    (!signatures.is_empty() && signatures.ends_with('\n')).then_some((text, signatures))
}

/// Name, and key id with signature, of a line.
fn signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, encoded) = line.strip_prefix(SIGNATURE)?.split_once(' ')?;
    let signature = BASE64.decode(encoded).ok()?;
    is_name(name).then_some((name, signature))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+')
}

impl FromStr for Verifier {
    type Err = VerifierError;

    /// Reads `NAME+HASH+KEY`: the first eight hexadecimal digits of the key's hash, and the base64 of
    /// the algorithm's number and the key (`note.NewVerifier`).
    fn from_str(text: &str) -> Result<Self, VerifierError> {
        let (name, rest) = text.split_once('+').ok_or(VerifierError::Form)?;
        let (id, encoded) = rest.split_once('+').ok_or(VerifierError::Form)?;
        if !is_name(name) {
            return Err(VerifierError::Name(name.to_owned()));
        }
        let encoded = BASE64.decode(encoded).map_err(|_| VerifierError::Form)?;
        let key = match encoded.split_first() {
            Some((&ALGORITHM, key)) => key.try_into().map_err(|_| VerifierError::Form)?,
            _ => return Err(VerifierError::Form),
        };
        let hashed = Sha256::new()
            .chain_update(name)
            .chain_update("\n")
            .chain_update(&encoded);
        let [a, b, c, d, ..]: [u8; 32] = hashed.finalize().into();
        let is_digit = |byte: u8| byte.is_ascii_hexdigit();
        if id.len() != 8 || !id.bytes().all(is_digit) {
            return Err(VerifierError::Form);
        }
        let verifier = Self {
            name: name.to_owned(),
            id: [a, b, c, d],
            key,
        };
        match u32::from_str_radix(id, 16).map(u32::to_be_bytes) == Ok(verifier.id) {
            true => Ok(verifier),
            false => Err(VerifierError::Hash),
        }
    }
}
