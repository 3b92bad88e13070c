//! What a recording owes to the clients' own list.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use modtape::exchange::Exchange;
use modtape::recording::format::JOURNAL;
use modtape::recording::{Recording, Row};

use super::download::Got;
use crate::support::sha256_hex;

/// What is missing or wrong of `received`; empty if all is there and verifies.
///
/// The recording is opened both ways: by reading it whole, and by its index if it has one.
pub(super) fn objections(dir: &Path, received: &[Got]) -> Vec<String> {
    let mut objections = Vec::new();
    for opened in [Recording::open_whole(dir), Recording::open(dir)] {
        match opened {
            Err(error) => objections.push(format!("it does not open: {error}")),
            Ok(recording) => {
                let missing = received.iter().filter_map(|got| objection(&recording, got));
                objections.extend(missing);
            }
        }
    }
    objections
}

fn objection(recording: &Recording, got: &Got) -> Option<String> {
    let rows = recording.rows().iter();
    let mut found = rows.filter(|row| row.url.ends_with(&got.path) && row.end.is_some());
    let Some(row) = found.next() else {
        return Some(format!("{} is missing", got.path));
    };
    let wrong = |why: String| Some(format!("{}: {why}", got.path));
    match body(recording, row) {
        Err(why) => wrong(why),
        Ok(body) if body.len() as u64 != got.bytes => wrong(format!("{} bytes", body.len())),
        Ok(body) if sha256_hex(&body) != got.sha256 => wrong("another digest".to_owned()),
        Ok(_) => None,
    }
}

fn body(recording: &Recording, row: &Row) -> Result<Vec<u8>, String> {
    let exchange = recording.exchange(row).map_err(|error| error.to_string())?;
    let body = exchange.end().and_then(|end| end.body.as_ref());
    let body = body.ok_or("it was aborted")?;
    let mut reader = recording.body(body).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read = reader.read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| error.to_string())
}

/// The exchanges on a recording whose bodies read as whole are what the clients could have received:
/// `expected` gives the digest that a path must have.
pub(super) fn impostors(dir: &Path, expected: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let Ok(recording) = Recording::open_whole(dir) else {
        return Vec::new();
    };
    let rows = recording.rows().iter().filter(|row| row.body.is_some());
    let wrong = |row: &&Row| {
        let path = row.url.rsplit_once(".org").map_or("", |(_, path)| path);
        let is_accepted = body(&recording, row).map(|body| sha256_hex(&body));
        is_accepted.is_ok_and(|digest| expected(path).is_none_or(|right| right != digest))
    };
    rows.filter(wrong).map(|row| row.url.clone()).collect()
}

/// A copy of a recording that the judge must object to: `got` is on it, but wrong in one way each.
pub(super) fn spoiled(dir: &Path, got: &Got) -> Vec<(&'static str, tempfile::TempDir)> {
    let recording = Recording::open_whole(dir).expect("it opens");
    let row = recording
        .rows()
        .iter()
        .find(|row| row.url.ends_with(&got.path));
    let row = row.expect("it is on the recording");
    let end = row.end.expect("it has ended");
    let without_end = |copy: &Path| {
        let path = copy.join(JOURNAL);
        let mut journal = fs::read(&path).expect("a journal");
        let lost = end.offset as usize..end.offset as usize + end.len as usize + 1;
        journal.drain(lost);
        fs::write(path, journal).expect("our own file");
    };
    let flipped = |copy: &Path| {
        let path = copy.join(JOURNAL);
        let mut journal = fs::read(&path).expect("a journal");
        journal[end.offset as usize + end.len as usize / 2] ^= 1;
        fs::write(path, journal).expect("our own file");
    };
    let exchange: Exchange = recording.exchange(row).expect("it is there");
    let body = exchange.end().and_then(|end| end.body.clone());
    let body = body.expect("it has a body");
    let without_body = |copy: &Path| {
        let name = body.sha256.to_string();
        let path = copy.join("bodies").join(&name[..2]).join(&name);
        fs::write(path, vec![0; body.bytes as usize]).expect("our own file");
    };
    let copied = |how, spoil: &dyn Fn(&Path)| {
        let copy = tempfile::tempdir().expect("a temporary folder");
        copy_folder(dir, copy.path());
        spoil(copy.path());
        (how, copy)
    };
    let mut spoiled = vec![
        copied("its end is gone", &without_end),
        copied("a bit of its end is flipped", &flipped),
    ];
    if body.inline.is_none() {
        spoiled.push(copied("its body is zeroes", &without_body));
    }
    spoiled
}

/// Copies a folder with all that is in it.
pub(super) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            fs::copy(&path, &copy).expect("a file can be copied");
        }
    }
}
