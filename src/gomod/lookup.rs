//! The answer to a lookup of a checksum database: `ID\nRECORD\n\nNOTE` (`sumdb.ParseRecord`).

/// What every note of a tree head begins with (`tlog.ParseTree`).
const TREE: &[u8] = b"go.sum database tree\n";

/// A lookup's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// The number of the record in the log.
    pub(crate) id: u64,
    /// The lines of a go.sum.
    pub(crate) record: &'a str,
    /// How many records the tree has that the note signs.
    pub(crate) size: u64,
    /// The tree head with its signatures.
    pub(crate) note: &'a [u8],
}

/// The hashes of a module version, each as `h1:…`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums<'a> {
    /// That of the zip.
    pub zip: Option<&'a str>,
    /// That of its go.mod.
    pub(crate) go_mod: Option<&'a str>,
}

impl<'a> Lookup<'a> {
    /// Reads an answer; `None` where it has another shape. No signature is verified.
    pub fn parse(content: &'a [u8]) -> Option<Self> {
        let note_at = Self::note_at(content)?;
        let (head, note) = content.split_at(note_at);
        let (id, record) = std::str::from_utf8(head).ok()?.split_once('\n')?;
        let size = note
            .strip_prefix(TREE)?
            .split(|byte| *byte == b'\n')
            .next()?;
        // Text, a blank line, and at least one line that begins with an em dash (`note.Open`).
        let signatures = "\n\n\u{2014} ".as_bytes();
        let is_signed = note
            .windows(signatures.len())
            .any(|part| part == signatures);
        (is_signed && !record.trim().is_empty()).then_some(())?;
        Some(Self {
            id: id.parse().ok()?,
            record,
            size: std::str::from_utf8(size).ok()?.parse().ok()?,
            note,
        })
    }

    /// Where the note begins, in any text that has a blank line.
    pub(crate) fn note_at(content: &[u8]) -> Option<usize> {
        let blank = content.windows(2).position(|pair| pair == b"\n\n")?;
        Some(blank + 2)
    }

    /// The hashes that the record has of a module version.
    pub fn sums(&self, module: &str, version: &str) -> Sums<'a> {
        let mut sums = Sums::default();
        for line in self.record.lines() {
            let mut words = line.split(' ');
            let (Some(path), Some(of), Some(sum), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            if path != module || !sum.starts_with("h1:") {
                continue;
            }
            match of.strip_prefix(version) {
                Some("") => sums.zip = Some(sum),
                Some("/go.mod") => sums.go_mod = Some(sum),
                _ => {}
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = "17\na.b/c v1.0.0 h1:x=\na.b/c v1.0.0/go.mod h1:y=\n\n\
        go.sum database tree\n300\nroot\n\n\u{2014} name sig\n"
        .as_bytes();

    #[test]
    fn a_lookup_is_record_and_note() {
        let lookup = Lookup::parse(ANSWER).unwrap();
        assert_eq!((lookup.id, lookup.size), (17, 300));
        assert!(ANSWER.ends_with(lookup.note) && lookup.note.starts_with(b"go.sum "));
        let sums = lookup.sums("a.b/c", "v1.0.0");
        assert_eq!((sums.zip, sums.go_mod), (Some("h1:x="), Some("h1:y=")));
        assert_eq!(lookup.sums("a.b/c", "v1.0"), Sums::default());
        for end in 0..ANSWER.len() - 12 {
            assert_eq!(Lookup::parse(&ANSWER[..end]), None, "{end}");
        }
        let other = b"17\nx\n\nanother note\n300\n\n\xe2\x80\x94 name sig\n";
        assert_eq!(Lookup::parse(other), None);
    }
}
