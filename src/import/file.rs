//! The file that a HAR lies in: plain, gzip or zip, and the bodies beside it.
//!
//! What a compressed file holds is bounded by its size; names in it never lead out of it, nor out of
//! its folder.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, FileReader, ZipArchive, ZipArchiveEntryWayfinder};

use super::json::PART_LIMIT;
use crate::coding::{Limited, gunzip};

/// How many times its size a compressed file may hold: HARs compress to a twentieth.
const MOST_RATIO: u64 = 200;

/// What any compressed file may hold, bytes.
const FREE: u64 = 8 << 20;

/// What the bodies in any zip may hold together, bytes.
const BODIES_FREE: u64 = 256 << 20;

/// Files of a zip that are known by name.
const FILES_LIMIT: usize = 100_000;

/// Bytes of the name of a body's file.
const NAME_LIMIT: usize = 255;

/// Gives the bytes of a file that an entry names, which stands beside the HAR.
pub(crate) type BodyFiles<'a> = dyn Fn(&str) -> Option<Vec<u8>> + 'a;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// The system said no.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// A folder, a device or a pipe: it is read twice.
    #[error("not a regular file")]
    NotAFile,
    /// A zip whose directory is damaged.
    #[error("a damaged zip file")]
    Zip(#[source] rawzip::Error),
    /// A zip without a HAR.
    #[error("a zip file without a .har file")]
    NoHar,
}

/// A file that holds a HAR.
pub(crate) struct HarFile {
    form: Form,
    len: u64,
    /// The folder that it lies in, without links.
    folder: Option<PathBuf>,
    /// Bytes that bodies in a zip may still have: one of them may be named again and again.
    left: Cell<u64>,
}

enum Form {
    Plain(File),
    Gzip(File),
    Zip(Zip),
}

struct Zip {
    archive: ZipArchive<FileReader>,
    har: Packed,
    /// The folder in the zip that the HAR lies in: empty, or with a slash at its end.
    folder: String,
    files: HashMap<String, Packed>,
}

/// A file in a zip.
#[derive(Clone, Copy)]
struct Packed {
    way: ZipArchiveEntryWayfinder,
    is_deflated: bool,
}

impl HarFile {
    /// Opens a file, and finds out by its first bytes what it is.
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        // Opening a pipe would wait for its writer.
        if !fs::metadata(path)?.is_file() {
            return Err(FileError::NotAFile);
        }
        let mut file = File::open(path)?;
        let mut first = Vec::new();
        (&mut file).take(4).read_to_end(&mut first)?;
        let len = file.metadata()?.len();
        let form = match first.as_slice() {
            [0x1f, 0x8b, ..] => Form::Gzip(file),
            b"PK\x03\x04" => Form::Zip(Zip::open(file)?),
            _ => Form::Plain(file),
        };
        let folder = fs::canonicalize(path).ok();
        let folder = folder.and_then(|path| Some(path.parent()?.to_owned()));
        let left = BODIES_FREE.saturating_add(len.saturating_mul(MOST_RATIO));
        Ok(Self {
            form,
            len,
            folder,
            left: Cell::new(left),
        })
    }

    /// The HAR from its beginning.
    pub(crate) fn bytes(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match &self.form {
            Form::Plain(file) => Box::new(rewound(file)?),
            Form::Gzip(file) => {
                let file = BufReader::with_capacity(64 << 10, rewound(file)?);
                Box::new(gunzip(file, self.most()))
            }
            Form::Zip(zip) => Box::new(Limited::new(zip.read(zip.har)?, self.most())),
        })
    }

    const fn most(&self) -> u64 {
        FREE.saturating_add(self.len.saturating_mul(MOST_RATIO))
    }

    /// The bytes of a body's file of that name, if there is such a file where it may be read: in the
    /// zip, or in the HAR's own folder.
    pub(crate) fn body(&self, name: &str) -> Option<Vec<u8>> {
        let path = Path::new(name);
        let is_plain = |part| matches!(part, Component::Normal(_));
        let is_safe = path.components().all(is_plain) && !name.contains(['\\', '\0']);
        if name.is_empty() || name.len() > NAME_LIMIT || !is_safe {
            return None;
        }
        let file: Box<dyn Read> = match &self.form {
            Form::Zip(zip) => {
                let packed = zip.files.get(&format!("{}{name}", zip.folder))?;
                zip.read(*packed).ok()?
            }
            Form::Plain(_) | Form::Gzip(_) => {
                let folder = self.folder.as_ref()?;
                // Where links lead is what counts.
                let path = fs::canonicalize(folder.join(path)).ok()?;
                if !path.starts_with(folder) || !path.is_file() {
                    return None;
                }
                Box::new(File::open(path).ok()?)
            }
        };
        let most = match self.form {
            Form::Zip(_) => PART_LIMIT.min(self.left.get()),
            Form::Plain(_) | Form::Gzip(_) => PART_LIMIT,
        };
        let mut body = Vec::new();
        file.take(most + 1).read_to_end(&mut body).ok()?;
        let len = body.len() as u64;
        self.left.set(self.left.get().saturating_sub(len));
        (len <= most).then_some(body)
    }
}

fn rewound(mut file: &File) -> io::Result<&File> {
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

impl Zip {
    fn open(file: File) -> Result<Self, FileError> {
        let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(FileError::Zip)?;
        let mut files = HashMap::new();
        let mut har = None;
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(FileError::Zip)? {
            let is_deflated = match entry.compression_method() {
                CompressionMethod::STORE => false,
                CompressionMethod::DEFLATE => true,
                _ => continue,
            };
            let path = entry.file_path();
            let Ok(name) = std::str::from_utf8(path.as_ref()) else {
                continue;
            };
            let packed = Packed {
                way: entry.wayfinder(),
                is_deflated,
            };
            if har.is_none() && name.to_ascii_lowercase().ends_with(".har") {
                let len = name.rfind('/').map_or(0, |slash| slash + 1);
                har = Some((packed, name[..len].to_owned()));
            } else if files.len() < FILES_LIMIT && name.len() <= NAME_LIMIT {
                files.insert(name.to_owned(), packed);
            }
        }
        let (har, folder) = har.ok_or(FileError::NoHar)?;
        Ok(Self {
            archive,
            har,
            folder,
            files,
        })
    }

    /// Verified: a file that is damaged fails at its end.
    fn read(&self, packed: Packed) -> io::Result<Box<dyn Read + '_>> {
        let entry = self
            .archive
            .get_entry(packed.way)
            .map_err(io::Error::other)?;
        let bytes = entry.reader();
        Ok(match packed.is_deflated {
            true => Box::new(entry.verifying_reader(DeflateDecoder::new(bytes))),
            false => Box::new(entry.verifying_reader(bytes)),
        })
    }
}
