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
    pub fn body(self, octets: &[u8], coding: &str) -> Self {
        let sha256 = hex(&Sha256::digest(octets));
        let path = self.dir.join("bodies").join(&sha256[..2]);
        fs::create_dir_all(&path).expect("a folder");
        fs::write(path.join(&sha256), octets).expect("a file");
        let headers = json!([["content-type", "text/plain"], ["content-encoding", coding]]);
        self.with(
            "end",
            "body",
            json!({"sha256": sha256, "bytes": octets.len(), "inline": null}),
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

    /// Writes it with an index whose lines are edited, their checksums right again.
    pub fn write_index(self, edit: impl Fn(usize, &mut Value)) -> PathBuf {
        let dir = self.write();
        modtape::recording::reader::index::rebuild(&dir).expect("the folder can be written to");
        let path = dir.join("index");
        let index = fs::read_to_string(&path).expect("it was just written");
        let edited = index.lines().enumerate().map(|(number, text)| {
            let mut value = serde_json::from_str(&text[9..]).expect("it is JSON");
            edit(number, &mut value);
            line(&value.to_string())
        });
        fs::write(&path, edited.collect::<Vec<_>>().concat()).expect("a file");
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

/// The octets as gzip.
pub fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(octets).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
