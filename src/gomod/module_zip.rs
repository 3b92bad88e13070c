//! The zip of a module version: its directory, its names, and its hash (`golang.org/x/mod/zip`,
//! `golang.org/x/mod/sumdb/dirhash`).
//!
//! Bounded: the directory is in memory, of the files no more than a chunk, and no more is inflated
//! than the directory says and a module may have.

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::fmt::Write as _;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::{Crc, Decompress, FlushDecompress, Status};
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ReaderAt};
use rawzip::{ZipArchive, ZipArchiveEntryWayfinder, ZipLocator};
use sha2::{Digest as _, Sha256};

use super::content::{TEXT_LIMIT, shown};
use super::module_path::check_file_path;

/// The largest zip, and the most bytes of all its files (`zip.MaxZipFile`).
pub(crate) const ZIP_LIMIT: u64 = 500 << 20;

/// The most bytes of all names: those of the largest modules have less than a fifth of it.
const NAMES_LIMIT: usize = 16 << 20;

/// What an element of a name takes beside its letters, bytes.
const ELEMENT: usize = size_of::<((usize, String), Named<'_>)>();

/// How much is read and inflated at once, bytes.
const CHUNK: usize = 32 << 10;

/// Why a zip is not that of a module version.
#[derive(Debug, thiserror::Error)]
pub enum ZipFault {
    #[error("it is larger than {} MiB", ZIP_LIMIT >> 20)]
    TooLarge,
    #[error("it is not a whole zip file: {0}")]
    Broken(String),
    #[error("its directory has {found} entries, and its end says {expected}")]
    Count { found: u64, expected: u64 },
    #[error("its file names are longer than {} MiB", NAMES_LIMIT >> 20)]
    Names,
    #[error("its file {name:?} is not in {prefix:?}")]
    Prefix { name: String, prefix: String },
    #[error("its file name {0:?} is invalid")]
    Name(String),
    #[error("it has two files {0:?}")]
    Twice(String),
    #[error("its file {0:?} is a folder too")]
    Both(String),
    #[error("its file {other:?} differs from another, with {one:?}, in case alone")]
    Case { one: String, other: String },
    #[error("its file {0:?} is a go.mod, and not that of its root folder")]
    GoMod(String),
    #[error("its files have more than {} MiB", ZIP_LIMIT >> 20)]
    Files,
    #[error("its directory has more bytes of compressed files than the zip has")]
    Overlap,
    #[error("its file {name:?} is larger than {} MiB", TEXT_LIMIT >> 20)]
    File { name: String },
    #[error("its file {0:?} is compressed in a way that the go command does not know")]
    Method(String),
    #[error("its file {name:?} cannot be unpacked: {source}")]
    Unpack { name: String, source: io::Error },
    #[error("its file {0:?} has another length than its directory says")]
    Length(String),
    #[error("its file {0:?} is damaged: its CRC-32 is not the one in its directory")]
    Crc(String),
}

impl From<rawzip::Error> for ZipFault {
    fn from(error: rawzip::Error) -> Self {
        Self::Broken(error.to_string().to_lowercase())
    }
}

struct Entry {
    name: String,
    bytes: u64,
    crc: u32,
    method: CompressionMethod,
    place: ZipArchiveEntryWayfinder,
}

/// A zip whose directory fits its module version.
pub struct ModuleZip<R> {
    archive: ZipArchive<R>,
    /// By name.
    entries: Vec<Entry>,
    /// The length of `MODULE@VERSION/`, with which each name begins.
    prefix_len: usize,
}

impl<R: ReaderAt> ModuleZip<R> {
    /// Reads the directory of a zip of so many `bytes`, and checks it as `zip.Unzip` would.
    pub fn open(zip: R, bytes: u64, module: &str, version: &str) -> Result<Self, ZipFault> {
        if bytes > ZIP_LIMIT {
            return Err(ZipFault::TooLarge);
        }
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let located = ZipLocator::new().locate_in_reader(zip, &mut buffer, bytes);
        let archive = located.map_err(|(_, error)| error)?;
        let prefix = format!("{module}@{version}/");
        // A record has three lengths of 16 bits.
        buffer.resize(rawzip::MAX_CENTRAL_DIRECTORY_RECORD_SIZE, 0);
        let mut read = archive.entries(&mut buffer);
        let (mut entries, mut names) = (Vec::new(), 0);
        let (mut total, mut packed) = (0_u64, 0_u64);
        while let Some(entry) = read.next_entry()? {
            let name = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
            names += name.len() + size_of::<Entry>();
            if names > NAMES_LIMIT {
                return Err(ZipFault::Names);
            }
            packed = packed.saturating_add(entry.compressed_size_hint());
            let entry = Entry {
                name,
                bytes: entry.uncompressed_size_hint(),
                crc: entry.crc32(),
                method: entry.compression_method(),
                place: entry.wayfinder(),
            };
            entry.check(&prefix)?;
            total = total.saturating_add(entry.bytes);
            entries.push(entry);
        }
        // Entries that share their bytes would be read again and again.
        if packed > bytes {
            return Err(ZipFault::Overlap);
        }
        if total > ZIP_LIMIT {
            return Err(ZipFault::Files);
        }
        // As `archive/zip` compares them: without zip64 the end has 16 bits for it.
        let (found, expected) = (entries.len() as u64, archive.entries_hint());
        if found & 0xffff != expected & 0xffff {
            return Err(ZipFault::Count { found, expected });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let mut names = Names {
            bytes: names,
            ..Names::default()
        };
        for entry in &entries {
            names.add(&entry.name)?;
        }
        Ok(Self {
            archive,
            entries,
            prefix_len: prefix.len(),
        })
    }

    /// Its files, each with its path below the module's folder and its length in bytes.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        let files = self
            .entries
            .iter()
            .filter(|entry| !entry.name.ends_with('/'));
        files.filter_map(|entry| {
            let path = entry.name.get(self.prefix_len..)?;
            Some((path, entry.bytes))
        })
    }

    /// The hash of all files by name, as go.sum has it. That all can be unpacked is known then, too.
    pub fn h1(&self) -> Result<String, ZipFault> {
        // What never stops has a hash.
        Ok(self.h1_unless(|| false)?.unwrap_or_default())
    }

    /// The same; `None` if it `is_over` before the end, which is asked at every piece.
    pub(crate) fn h1_unless(&self, is_over: impl Fn() -> bool) -> Result<Option<String>, ZipFault> {
        let mut lines = Sha256::new();
        let mut buffers = Buffers::new();
        for entry in &self.entries {
            let Some(digest) = self.digest(entry, &mut buffers, &is_over)? else {
                return Ok(None);
            };
            lines.update(line(&digest, &entry.name));
        }
        Ok(Some(h1(lines)))
    }

    /// The SHA-256 of each of its files, in the order of [`files`](Self::files).
    pub(crate) fn digests(&self) -> Result<Vec<[u8; 32]>, ZipFault> {
        let mut buffers = Buffers::new();
        let files = self
            .entries
            .iter()
            .filter(|entry| !entry.name.ends_with('/'));
        let digests = files.map(|entry| self.digest(entry, &mut buffers, &|| false));
        // What never stops has a digest.
        digests
            .map(|digest| Ok(digest?.unwrap_or_default()))
            .collect()
    }

    fn digest(
        &self,
        entry: &Entry,
        buffers: &mut Buffers,
        is_over: &impl Fn() -> bool,
    ) -> Result<Option<[u8; 32]>, ZipFault> {
        if is_over() {
            return Ok(None);
        }
        let packed = self.archive.get_entry(entry.place)?.reader();
        let (mut hasher, mut crc) = (Sha256::new(), Crc::new());
        let (mut bytes, mut is_stopped) = (0_u64, false);
        let mut take = |piece: &[u8]| {
            hasher.update(piece);
            crc.update(piece);
            bytes = bytes.saturating_add(piece.len() as u64);
            // What is too long need not be read to its end.
            is_stopped = is_over();
            bytes <= entry.bytes && !is_stopped
        };
        let unpacked = match entry.method {
            CompressionMethod::STORE => read(packed, &mut buffers.packed, &mut take),
            _ => inflate(packed, buffers, &mut take),
        };
        if is_stopped {
            return Ok(None);
        }
        if let Err(source) = unpacked {
            let name = shown(&entry.name);
            return Err(ZipFault::Unpack { name, source });
        }
        if bytes != entry.bytes {
            return Err(ZipFault::Length(shown(&entry.name)));
        }
        // As `archive/zip` compares them: one that is 0 was not set.
        if entry.crc != 0 && entry.crc != crc.sum() {
            return Err(ZipFault::Crc(shown(&entry.name)));
        }
        Ok(Some(hasher.finalize().into()))
    }
}

/// What is read, and what becomes of it.
struct Buffers {
    packed: Vec<u8>,
    inflated: Vec<u8>,
}

impl Buffers {
    fn new() -> Self {
        Self {
            packed: vec![0; CHUNK],
            inflated: vec![0; CHUNK],
        }
    }
}

/// Gives `take` all that there is, as long as it wants more.
fn read(
    mut from: impl Read,
    buffer: &mut [u8],
    take: &mut impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    loop {
        match from.read(buffer)? {
            0 => return Ok(()),
            read if take(&buffer[..read]) => {}
            _ => return Ok(()),
        }
    }
}

/// The same with deflate undone. Not by `flate2::read`, which takes the end of its input for the end of
/// the content.
fn inflate(
    mut from: impl Read,
    Buffers { packed, inflated }: &mut Buffers,
    take: &mut impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let mut inflater = Decompress::new(false);
    let (mut input, mut has_more) = (0..0, false);
    loop {
        if input.is_empty() && !has_more {
            input = 0..from.read(packed)?;
            if input.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let (read, made) = (inflater.total_in(), inflater.total_out());
        let status =
            inflater.decompress(&packed[input.clone()], inflated, FlushDecompress::None)?;
        // Both are lengths within the buffers.
        input.start += (inflater.total_in() - read) as usize;
        let made = (inflater.total_out() - made) as usize;
        if !take(&inflated[..made]) || status == Status::StreamEnd {
            return Ok(());
        }
        has_more = made == inflated.len();
    }
}

impl Entry {
    fn check(&self, prefix: &str) -> Result<(), ZipFault> {
        let Some(path) = self.name.strip_prefix(prefix) else {
            return Err(ZipFault::Prefix {
                name: shown(&self.name),
                prefix: shown(prefix),
            });
        };
        let (path, is_folder) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, false),
        };
        // The folder of all, with or without a slash.
        if !path.is_empty() && check_file_path(path).is_err() {
            return Err(ZipFault::Name(shown(&self.name)));
        }
        let base = path.rsplit('/').next().unwrap_or_default();
        if !is_folder && base.eq_ignore_ascii_case("go.mod") && path != "go.mod" {
            return Err(ZipFault::GoMod(shown(&self.name)));
        }
        if matches!(path, "go.mod" | "LICENSE") && self.bytes > TEXT_LIMIT {
            let name = path.to_owned();
            return Err(ZipFault::File { name });
        }
        match self.method {
            CompressionMethod::STORE | CompressionMethod::DEFLATE => Ok(()),
            _ => Err(ZipFault::Method(shown(&self.name))),
        }
    }
}

/// The names of a zip, element by element: file systems may take for the same what differs in case
/// (`zip.collisionChecker`).
#[derive(Default)]
struct Names<'z> {
    /// By the number of the folder above (0 at the top) and the element with its case folded.
    known: HashMap<(usize, String), Named<'z>>,
    /// What the names and the elements above take, about.
    bytes: usize,
}

struct Named<'z> {
    element: &'z str,
    number: usize,
    is_folder: bool,
}

impl<'z> Names<'z> {
    /// Adds a name, which ends in a slash if it is a folder's.
    fn add(&mut self, name: &'z str) -> Result<(), ZipFault> {
        let path = name.strip_suffix('/').unwrap_or(name);
        let mut above = 0;
        let mut elements = path.split('/').peekable();
        while let Some(element) = elements.next() {
            let is_last = elements.peek().is_none();
            let is_folder = !is_last || path.len() < name.len();
            let next = self.known.len() + 1;
            let known = match self.known.entry((above, folded(element))) {
                Occupied(known) => known.into_mut(),
                Vacant(free) => {
                    self.bytes += element.len() + ELEMENT;
                    if self.bytes > NAMES_LIMIT {
                        return Err(ZipFault::Names);
                    }
                    free.insert(Named {
                        element,
                        number: next,
                        is_folder,
                    });
                    above = next;
                    continue;
                }
            };
            if known.element != element {
                return Err(ZipFault::Case {
                    one: shown(known.element),
                    other: shown(name),
                });
            }
            if known.is_folder != is_folder {
                return Err(ZipFault::Both(shown(name)));
            }
            if !is_folder {
                return Err(ZipFault::Twice(shown(name)));
            }
            above = known.number;
        }
        Ok(())
    }
}

/// A name in the one case that all its spellings have (`unicode.SimpleFold`).
fn folded(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.chars().map(fold).collect()
}

fn fold(c: char) -> char {
    let lower = single(c.to_lowercase()).unwrap_or(c);
    // The dotless i has no other case than itself, although its capital is I.
    if lower == 'ı' {
        return lower;
    }
    let upper = single(lower.to_uppercase()).unwrap_or(lower);
    single(upper.to_lowercase()).unwrap_or(upper)
}

fn single(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

/// The hash of a go.mod, as go.sum has it.
pub fn go_mod_h1(content: &[u8]) -> String {
    let digest = Sha256::digest(content).into();
    h1(Sha256::new_with_prefix(line(&digest, "go.mod")))
}

/// A file as `dirhash.Hash1` hashes it.
fn line(digest: &[u8; 32], name: &str) -> String {
    let mut line = String::with_capacity(64 + 3 + name.len());
    for byte in digest {
        let _ = write!(line, "{byte:02x}");
    }
    line.push_str("  ");
    line.push_str(name);
    line.push('\n');
    line
}

fn h1(lines: Sha256) -> String {
    format!("h1:{}", BASE64.encode(lines.finalize()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    /// A zip of these files, every other one deflated.
    fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = rawzip::ZipArchiveWriter::new(Vec::new());
        for (number, (name, content)) in files.iter().enumerate() {
            let path = rawzip::path::EntryPath::verbatim(name.as_bytes().to_vec());
            if name.ends_with('/') {
                zip.new_dir(path).create().unwrap();
                continue;
            }
            let file = zip.new_file(path);
            if number % 2 == 1 {
                let (mut entry, config) = file.start().unwrap();
                let mut writer = config.wrap(&mut entry);
                writer.write_all(content).unwrap();
                let (_, descriptor) = writer.finish().unwrap();
                entry.finish(descriptor).unwrap();
                continue;
            }
            let file = file.compression_method(CompressionMethod::DEFLATE);
            let (mut entry, config) = file.start().unwrap();
            let encoder = DeflateEncoder::new(&mut entry, Compression::default());
            let mut writer = config.wrap(encoder);
            writer.write_all(content).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        zip.finish().unwrap()
    }

    fn checked(zip: &[u8]) -> Result<String, String> {
        let opened = ModuleZip::open(zip, zip.len() as u64, "a.b/C", "v1.0.0");
        let h1 = opened.and_then(|zip| zip.h1());
        h1.map_err(|fault| fault.to_string())
    }

    const SOUND: &[(&str, &[u8])] = &[
        ("a.b/C@v1.0.0/z.go", b"package c\n"),
        ("a.b/C@v1.0.0/go.mod", b"module a.b/C\n"),
        ("a.b/C@v1.0.0/sub/empty", b""),
    ];

    #[test]
    fn a_hash_is_that_of_go_sum() {
        // Of rsc.io/quote v1.5.2.
        let go_mod = b"module \"rsc.io/quote\"\n\nrequire \"rsc.io/sampler\" v1.3.0\n";
        let expected = "h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=";
        assert_eq!(go_mod_h1(go_mod), expected);
        // `sha256sum FILES | LC_ALL=C sort -k2 | openssl dgst -sha256 -binary | base64`.
        let expected = "h1:2ArTOcSsBOzNjyK75uBuPewFIF4Z46PO7O5yBSKpYe4=";
        assert_eq!(checked(&zip(SOUND)).unwrap(), expected);
        let mut turned = SOUND.to_vec();
        turned.reverse();
        assert_eq!(checked(&zip(&turned)).unwrap(), expected);
    }

    #[test]
    fn no_bit_of_a_file_flips_unseen() {
        let sound = zip(SOUND);
        let expected = checked(&sound).unwrap();
        let directory = sound
            .windows(4)
            .position(|word| word == b"PK\x01\x02")
            .unwrap();
        let name_at = |at: usize| sound[at..].starts_with(b"a.b/C@v1.0.0/");
        let files = (0..directory).filter(|at| name_at(*at));
        let first = files.min().unwrap() + "a.b/C@v1.0.0/z.go".len();
        // Without the head of the first block, which may end the stream before an empty one.
        let unseen = (first + 1..first + 8).filter(|byte| {
            let mut flipped = sound.clone();
            flipped[*byte] ^= 1;
            checked(&flipped).as_ref() == Ok(&expected)
        });
        assert_eq!(unseen.collect::<Vec<_>>(), [0; 0]);
    }

    #[test]
    fn a_zip_that_is_cut_or_of_another_module_is_told() {
        let sound = zip(SOUND);
        for len in 0..sound.len() {
            assert!(checked(&sound[..len]).is_err(), "{len}");
        }
        let page = checked(b"<html>").unwrap_err();
        assert!(page.starts_with("it is not a whole zip file: "), "{page}");
        for (name, expected) in [
            (
                "a.b/c@v1.0.0/x",
                "its file \"a.b/c@v1.0.0/x\" is not in \"a.b/C@v1.0.0/\"",
            ),
            (
                "a.b/C@v1.0.0x/x",
                "its file \"a.b/C@v1.0.0x/x\" is not in \"a.b/C@v1.0.0/\"",
            ),
            (
                "a.b/C@v1.0.0/../x",
                "its file name \"a.b/C@v1.0.0/../x\" is invalid",
            ),
            (
                "a.b/C@v1.0.0//x",
                "its file name \"a.b/C@v1.0.0//x\" is invalid",
            ),
            (
                "a.b/C@v1.0.0/a\\b",
                "its file name \"a.b/C@v1.0.0/a\\\\b\" is invalid",
            ),
            (
                "a.b/C@v1.0.0/z.go",
                "it has two files \"a.b/C@v1.0.0/z.go\"",
            ),
            (
                "a.b/C@v1.0.0/Z.go",
                "its file \"a.b/C@v1.0.0/z.go\" differs from another, with \"Z.go\", in case alone",
            ),
            (
                "a.b/C@v1.0.0/SUB/x",
                "its file \"a.b/C@v1.0.0/sub/empty\" differs from another, with \"SUB\", in case alone",
            ),
            (
                "a.b/C@v1.0.0/sub",
                "its file \"a.b/C@v1.0.0/sub/empty\" is a folder too",
            ),
            (
                "a.b/C@v1.0.0/sub/go.mod",
                "its file \"a.b/C@v1.0.0/sub/go.mod\" is a go.mod, and not that of its root folder",
            ),
            (
                "a.b/C@v1.0.0/Go.mod",
                "its file \"a.b/C@v1.0.0/Go.mod\" is a go.mod, and not that of its root folder",
            ),
            (
                "a.b/C@v1.0.0/con.go",
                "its file name \"a.b/C@v1.0.0/con.go\" is invalid",
            ),
            (
                "a.b/C@v1.0.0/a:b",
                "its file name \"a.b/C@v1.0.0/a:b\" is invalid",
            ),
        ] {
            let files = [SOUND, &[(name, b"x")]].concat();
            assert_eq!(checked(&zip(&files)).unwrap_err(), expected);
        }
        assert!(checked(&zip(&[])).is_ok());
        assert!(checked(&zip(&[("a.b/C@v1.0.0/sub/", b"")])).is_ok());
    }

    #[test]
    fn names_that_a_file_system_may_take_for_one_are_told_and_no_others() {
        // `strings.EqualFold` of Go, which goes by `unicode.SimpleFold`.
        for (one, other, is_same) in [
            ("straße", "STRAßE", true),
            ("ß", "ẞ", true),
            ("ß", "ss", false),
            ("ſ", "s", true),
            ("\u{212a}", "k", true),
            ("µ", "Μ", true),
            ("ı", "i", false),
            ("İ", "i", false),
            ("σ", "ς", true),
            ("é", "e", false),
        ] {
            assert_eq!(folded(one) == folded(other), is_same, "{one} {other}");
        }
        let [lower, upper, letter] =
            ["é.go", "É.go", "日本.go"].map(|name| format!("a.b/C@v1.0.0/{name}"));
        let both: [(&str, &[u8]); 2] = [(&lower, b"x"), (&upper, b"x")];
        assert!(checked(&zip(&both)).unwrap_err().contains("in case alone"));
        let other: [(&str, &[u8]); 2] = [(&lower, b"x"), (&letter, b"x")];
        assert!(checked(&zip(&other)).is_ok());
    }

    #[test]
    fn folders_count_among_the_names() {
        // Each name has many folders of its own, of which the directory has one line.
        let deep = "a/".repeat(1_000);
        let names: Vec<String> = (0..500)
            .map(|at| format!("a.b/C@v1.0.0/{at}/{deep}x"))
            .collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &b""[..])).collect();
        let few = zip(&files[..50]);
        assert!(checked(&few).is_ok());
        let expected = "its file names are longer than 16 MiB";
        assert_eq!(checked(&zip(&files)).unwrap_err(), expected);
    }

    #[test]
    fn entries_that_share_their_bytes_are_told() {
        let mut shared = zip(SOUND);
        let directory = shared
            .windows(4)
            .position(|word| word == b"PK\x01\x02")
            .unwrap();
        // The compressed length in the directory (APPNOTE.TXT section 4.3.12).
        let more = shared.len() as u32 + 1;
        shared[directory + 20..directory + 24].copy_from_slice(&more.to_le_bytes());
        let expected = "its directory has more bytes of compressed files than the zip has";
        assert_eq!(checked(&shared).unwrap_err(), expected);
    }

    #[test]
    fn a_file_whose_content_was_changed_on_the_way_is_damaged() {
        let mut flipped = zip(SOUND);
        let content = b"module a.b/C";
        let at = flipped
            .windows(content.len())
            .position(|part| part == content);
        flipped[at.unwrap()] ^= 1;
        let expected = "its file \"a.b/C@v1.0.0/go.mod\" is damaged: its CRC-32 is not the one in its directory";
        assert_eq!(checked(&flipped).unwrap_err(), expected);
    }

    #[test]
    fn its_files_are_listed_by_their_paths_below_the_module() {
        let files = [SOUND, &[("a.b/C@v1.0.0/sub/", b"")]].concat();
        let zip = zip(&files);
        let opened = ModuleZip::open(&zip[..], zip.len() as u64, "a.b/C", "v1.0.0").unwrap();
        let files: Vec<_> = opened.files().collect();
        assert_eq!(files, [("go.mod", 13), ("sub/empty", 0), ("z.go", 10)]);
    }

    #[test]
    fn a_file_that_is_longer_than_the_directory_says_is_not_inflated_to_its_end() {
        let zeros = vec![0; 1 << 20];
        let mut bomb = zip(&[("a.b/C@v1.0.0/zeros", &zeros)]);
        let directory = bomb
            .windows(4)
            .position(|word| word == b"PK\x01\x02")
            .unwrap();
        // The length in the directory (APPNOTE.TXT section 4.3.12).
        bomb[directory + 24..directory + 28].copy_from_slice(&9_u32.to_le_bytes());
        let fault = checked(&bomb).unwrap_err();
        let expected = "its file \"a.b/C@v1.0.0/zeros\" has another length than its directory says";
        assert_eq!(fault, expected);
        bomb[directory + 24..directory + 28].copy_from_slice(&(600_u32 << 20).to_le_bytes());
        assert_eq!(
            checked(&bomb).unwrap_err(),
            "its files have more than 500 MiB"
        );
    }
}
