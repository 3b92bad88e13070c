//! A small real recording, edited: lines with right checksums, so that the reader takes them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::support::program;

/// The URL of exchange 1.
pub const URL: &str = "https://proxy.golang.org/github.com/%21burnt%21sushi/toml/@v/v1.3.2.mod";

/// A recording of one exchange with its connection, to be edited and written.
pub struct Craft {
    /// Its folder, which exists.
    pub dir: PathBuf,
    /// `recording.json`.
    pub manifest: Value,
    /// Journal records in order, without their numbers: those are given when they are written.
    pub records: Vec<Value>,
}

impl Craft {
    /// The first exchange of the sample.
    pub fn new(dir: &Path) -> Self {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings/hello");
        let journal = fs::read_to_string(sample.join("journal.ndjson")).expect("the sample");
        let parse =
            |line: &str| serde_json::from_str::<Value>(&line[9..]).expect("its lines are JSON");
        let wanted = |record: &Value| match record["type"].as_str() {
            Some("open" | "close") => true,
            _ => record["id"] == 1,
        };
        let manifest = fs::read(sample.join("recording.json")).expect("the sample");
        fs::create_dir_all(dir.join("bodies")).expect("a folder");
        Self {
            dir: dir.to_owned(),
            manifest: serde_json::from_slice(&manifest).expect("it is JSON"),
            records: journal.lines().map(parse).filter(wanted).collect(),
        }
    }

    /// The first record of a type.
    pub fn record(&mut self, kind: &str) -> &mut Value {
        let found = self
            .records
            .iter_mut()
            .find(|record| record["type"] == kind);
        found.expect("the sample has one of each type")
    }

    /// With another value in the first record of a type.
    pub fn with(mut self, kind: &str, key: &str, value: Value) -> Self {
        self.record(kind)[key] = value;
        self
    }

    /// With another value in the manifest.
    pub fn says(mut self, key: &str, value: Value) -> Self {
        self.manifest[key] = value;
        self
    }

    /// With a response body that lies in a file, under its true digest, of this coding.
    pub fn body(self, bytes: &[u8], coding: &str) -> Self {
        let sha256 = hex(&Sha256::digest(bytes));
        let path = self.dir.join("bodies").join(&sha256[..2]);
        fs::create_dir_all(&path).expect("a folder");
        fs::write(path.join(&sha256), bytes).expect("a file");
        let headers = json!([["content-type", "text/plain"], ["content-encoding", coding]]);
        self.with(
            "end",
            "body",
            json!({"sha256": sha256, "bytes": bytes.len(), "inline": null}),
        )
        .with("end", "headers", headers)
    }

    /// The journal's lines.
    pub fn journal(&self) -> Vec<u8> {
        let numbered = (1..).zip(&self.records).map(|(seq, record): (u64, _)| {
            let mut record = record.clone();
            if record.get("seq").is_none_or(|seq| seq.is_u64()) {
                record["seq"] = seq.into();
            }
            line(&record.to_string())
        });
        numbered.collect::<Vec<_>>().concat()
    }

    /// Writes manifest and journal.
    pub fn write(self) -> PathBuf {
        let journal = self.journal();
        self.write_journal(&journal)
    }

    /// Writes the manifest, and this as the journal.
    pub fn write_journal(self, journal: &[u8]) -> PathBuf {
        fs::write(self.dir.join("journal.ndjson"), journal).expect("a file");
        fs::write(self.dir.join("recording.json"), self.manifest.to_string()).expect("a file");
        self.dir
    }

    /// Writes it with an index whose header and first row are edited, their checksums right again.
    pub fn write_index(self, edit: impl Fn(&mut Value, &mut IndexRow)) -> PathBuf {
        let dir = self.write();
        modtape::recording::reader::index::rebuild(&dir).expect("the folder can be written to");
        let path = dir.join("index");
        let index = fs::read(&path).expect("it was just written");
        let is_text = |line: &&[u8]| line.get(9) == Some(&b'{');
        let lines = index.split_inclusive(|byte| *byte == b'\n');
        let lines: Vec<&[u8]> = lines.take_while(is_text).collect();
        let (_, rows) = index.split_at(lines.concat().len() + 9);
        let mut header = serde_json::from_slice(&lines[0][9..]).expect("it is JSON");
        let (mut row, rest) = IndexRow::take(rows);
        edit(&mut header, &mut row);
        let rows = [&row.packed()[..], rest].concat();
        let digits = format!("{:08x} ", crc32c::crc32c(&rows));
        let header = line(&header.to_string());
        let connections = lines[1..].concat();
        let edited = [header.as_ref(), &connections, digits.as_bytes(), &rows].concat();
        fs::write(&path, edited).expect("a file");
        dir
    }

    /// Writes it, with a link to somewhere else in place of one of its files or folders.
    pub fn link(self, name: &str, to: &str) -> PathBuf {
        let dir = self.write();
        remove(&dir.join(name));
        symlink(to, dir.join(name)).expect("a link");
        dir
    }

    /// Writes it, with a pipe that nobody writes to in place of one of its files.
    pub fn pipe(self, name: &str) -> PathBuf {
        let dir = self.write();
        remove(&dir.join(name));
        let made = program("mkfifo").arg(dir.join(name)).status();
        assert!(made.expect("mkfifo is there").success());
        dir
    }

    /// Writes it, with a folder in place of one of its files.
    pub fn folder(self, name: &str) -> PathBuf {
        let dir = self.write();
        remove(&dir.join(name));
        fs::create_dir(dir.join(name)).expect("a folder");
        dir
    }
}

/// A row of the index: numbers of seven bits a byte, texts behind their lengths.
pub struct IndexRow {
    /// What the row has: bits 0 and 1 are its state, 2 a status, 3 an end, 4 a body, 5 and 6 who made
    /// it; then which phases.
    pub bits: [u8; 2],
    /// The phases, then id, run, connection, start, own time, bytes, begin and end (offset, length),
    /// status, from the end.
    pub numbers: Vec<u64>,
    digest: Vec<u8>,
    /// Method and URL.
    pub texts: [String; 2],
}

impl IndexRow {
    /// The number that lies `back` places before the last.
    pub fn number(&mut self, back: usize) -> &mut u64 {
        let last = self.numbers.len() - 1;
        &mut self.numbers[last - back]
    }

    fn take(mut rows: &[u8]) -> (Self, &[u8]) {
        let bits = [rows[0], rows[1]];
        rows = &rows[2..];
        let optional = 2 * (bits[0] >> 3 & 1) + (bits[0] >> 2 & 1);
        let count = 8 + u32::from(optional) + bits[1].count_ones();
        let numbers = (0..count).map(|_| number(&mut rows)).collect();
        let (digest, rest) = rows.split_at(if bits[0] >> 4 & 1 == 1 { 32 } else { 0 });
        rows = rest;
        let texts = [(); 2].map(|()| {
            let length = number(&mut rows) as usize;
            let (text, rest) = rows.split_at(length);
            rows = rest;
            String::from_utf8(text.to_vec()).expect("a text")
        });
        let digest = digest.to_vec();
        let row = Self {
            bits,
            numbers,
            digest,
            texts,
        };
        (row, rows)
    }

    fn packed(&self) -> Vec<u8> {
        let mut packed = self.bits.to_vec();
        self.numbers.iter().for_each(|n| pack(&mut packed, *n));
        packed.extend(&self.digest);
        for text in &self.texts {
            pack(&mut packed, text.len() as u64);
            packed.extend(text.as_bytes());
        }
        packed
    }
}

fn number(rows: &mut &[u8]) -> u64 {
    let length = rows.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let (bytes, rest) = rows.split_at(length);
    *rows = rest;
    let bits = bytes.iter().map(|byte| u64::from(byte & 0x7f));
    (0..)
        .step_by(7)
        .zip(bits)
        .fold(0, |all, (shift, bits)| all | bits << shift)
}

fn pack(packed: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        packed.push(number as u8 | 0x80);
        number >>= 7;
    }
    packed.push(number as u8);
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).expect("our own folder");
    } else if path.exists() {
        fs::remove_file(path).expect("our own file");
    }
}

/// A journal's line of this text.
pub fn line(text: &str) -> Vec<u8> {
    format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes())).into_bytes()
}

/// A file of so many zeros that takes no place on the disk.
pub fn zeros(path: &Path, bytes: u64) {
    let file = File::create(path).expect("a file");
    file.set_len(bytes).expect("it can be made longer");
}

/// `mebibytes` MiB of zeros as gzip: a thousandth of that, in as many members.
pub fn bomb(mebibytes: usize) -> Vec<u8> {
    gzip(&vec![0; 1 << 20]).repeat(mebibytes)
}

/// The bytes as gzip.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
