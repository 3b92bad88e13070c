//! What checks of hostile input share: seeds, what can be made of them, a folder to write to.
//!
//! For tests and fuzz targets only. A `check` module of a room states what holds for any bytes;
//! `fuzz/` looks for bytes that break it, and [`twin`] asks it of every committed seed and of what
//! chance makes of them.

use std::path::Path;

/// Runs `with` in a folder of this thread's own, in memory where the system has such a place.
///
/// The folder is made by `fill` the first time, and stays: fuzzing asks a thousand times a second.
pub(crate) fn in_folder<T>(
    slot: &'static std::thread::LocalKey<std::cell::OnceCell<tempfile::TempDir>>,
    fill: impl FnOnce(&Path),
    with: impl FnOnce(&Path) -> T,
) -> T {
    slot.with(|dir| {
        let dir = dir.get_or_init(|| {
            let memory = Path::new("/dev/shm");
            let dir = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
            let dir = dir.expect("a temporary folder can be made");
            fill(dir.path());
            dir
        });
        with(dir.path())
    })
}

/// Gives each line that begins with a brace the checksum of its text; the others stay as they are.
///
/// So that what mutates a text gets behind its checksum.
pub(crate) fn checksummed(bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(bytes.len() + 64);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"{") {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            lines.extend_from_slice(format!("{:08x} ", crc32c::crc32c(text)).as_bytes());
        }
        lines.extend_from_slice(line);
    }
    lines
}

#[cfg(test)]
pub(crate) use twins::twin;

#[cfg(test)]
mod twins {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestError, TestRunner};

    use super::Path;

    /// A change at a place, taken modulo the length.
    #[derive(Debug, Clone)]
    enum Change {
        Flip(usize, u8),
        Insert(usize, Vec<u8>),
        Remove(usize, usize),
        Repeat(usize, usize),
    }

    impl Change {
        fn apply(&self, bytes: &mut Vec<u8>) {
            let len = bytes.len();
            match *self {
                Self::Flip(at, bit) if len > 0 => bytes[at % len] ^= 1 << bit,
                Self::Insert(at, ref new) => {
                    drop(bytes.splice(at % (len + 1)..at % (len + 1), new.clone()))
                }
                Self::Remove(at, many) if len > 0 => {
                    let start = at % len;
                    drop(bytes.drain(start..(start + many).min(len)));
                }
                Self::Repeat(at, many) if len > 0 => {
                    let start = at % len;
                    bytes.extend_from_within(start..(start + many).min(len));
                }
                Self::Flip(..) | Self::Remove(..) | Self::Repeat(..) => {}
            }
        }
    }

    fn change() -> impl Strategy<Value = Change> {
        let place = any::<usize>;
        let word = prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec());
        let new = prop_oneof![word, prop::collection::vec(any::<u8>(), 1..6)];
        prop_oneof![
            (place(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
            (place(), new).prop_map(|(at, new)| Change::Insert(at, new)),
            (place(), 1..40_usize).prop_map(|(at, many)| Change::Remove(at, many)),
            (place(), 1..400_usize).prop_map(|(at, many)| Change::Repeat(at, many)),
        ]
    }

    /// What parsers stumble over.
    const WORDS: &[&str] = &[
        "18446744073709551615",
        "-1",
        "1e999",
        "\"",
        "\\",
        "\n",
        "\r\n",
        "{",
        "[[",
        "null",
        "\u{1b}[31m",
        "\u{202e}",
        "\0",
        "%2e%2e/",
        "../",
        "!",
        "@",
        ":443",
        "https://",
        "%",
        "token=",
        "redacted:",
    ];

    /// Asks `check` of every seed of `target` and of `cases` mutations of them (twenty times as
    /// many in the long run).
    pub(crate) fn twin(target: &str, cases: u32, check: fn(&[u8])) {
        let seeds = seeds(target);
        for (name, seed) in &seeds {
            let outcome = std::panic::catch_unwind(|| check(seed));
            assert!(outcome.is_ok(), "the seed {target}/{name} breaks the check");
        }
        let many = if std::env::var_os("MODTAPE_LONG").is_some() {
            20
        } else {
            1
        };
        let config = Config {
            cases: cases * many,
            failure_persistence: None,
            ..Config::default()
        };
        let seeds: Vec<_> = seeds.into_iter().map(|(_, seed)| seed).collect();
        let input = (
            prop::sample::select(seeds),
            prop::collection::vec(change(), 0..8),
        );
        let mutated = |(mut bytes, changes): (Vec<u8>, Vec<Change>)| {
            for change in &changes {
                change.apply(&mut bytes);
            }
            bytes
        };
        let outcome = TestRunner::new(config).run(&input, |input| {
            check(&mutated(input));
            Ok(())
        });
        if let Err(TestError::Fail(reason, input)) = outcome {
            // Fit for a file among the seeds: `printf` takes it.
            let bytes = mutated(input);
            panic!("{target}: {reason}\nby: {}", bytes.escape_ascii());
        }
    }

    fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(target);
        let entries = std::fs::read_dir(&dir).expect("every target has seeds");
        let mut seeds: Vec<_> = entries
            .map(|entry| {
                let path = entry.expect("they can be listed").path();
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                (name, std::fs::read(path).expect("they can be read"))
            })
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{target} has no seeds");
        seeds
    }
}
