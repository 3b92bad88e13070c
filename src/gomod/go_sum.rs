//! A go.sum file: the hashes that the go command expects of zips and go.mod files.
//!
//! Source: cmd/go's `modfetch.readGoSum` and `haveModSumLocked`.

use std::collections::BTreeMap;

use super::kind::Kind;

/// The hash of a go.mod without content, which an old go command wrote for what is no module; go
/// passes it over (`modfetch.emptyGoModHash`).
const EMPTY_GO_MOD: &str = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY=";

/// How much of a malformed line is kept, characters.
const SHOWN: usize = 60;

/// The lines of a go.sum.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GoSum {
    /// The hashes by module and version, each once, in the file's order; the version of a go.mod has the suffix
    /// `/go.mod`.
    sums: BTreeMap<(String, String), Vec<String>>,
    /// The first line that has not three words. Every command but `go mod tidy` refuses such a file.
    pub(crate) malformed: Option<Malformed>,
}

/// A line of a go.sum that no go command reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The file's name, as whoever wrote it knows it.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// Its beginning.
    pub(crate) text: String,
}

impl GoSum {
    /// Reads a go.sum.
    pub(crate) fn parse(content: &[u8]) -> Self {
        let mut parsed = Self::default();
        parsed.add("go.sum", content);
        parsed
    }

    /// Adds what the file of this name says: the modules of a workspace have one each.
    pub(crate) fn add(&mut self, file: &str, content: &[u8]) {
        for (number, line) in String::from_utf8_lossy(content).split('\n').enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [] | [_, _, EMPTY_GO_MOD] => {}
                [module, version, sum] => {
                    let of = (module.to_owned(), version.to_owned());
                    let sums = self.sums.entry(of).or_default();
                    if !sums.iter().any(|known| known == sum) {
                        sums.push(sum.to_owned());
                    }
                }
                _ => {
                    self.malformed.get_or_insert_with(|| Malformed {
                        file: file.to_owned(),
                        line: number + 1,
                        text: line.trim().chars().take(SHOWN).collect(),
                    });
                }
            }
        }
    }

    /// The hashes that it has of a zip or a go.mod, each `h1:…`. The first one counts: if it is another
    /// than that of the file, the go command fails, whatever stands further below.
    pub(crate) fn of(&self, kind: Kind, module: &str, version: &str) -> Vec<&str> {
        let version = match kind {
            Kind::Mod => format!("{version}/go.mod"),
            _ => version.to_owned(),
        };
        let sums = self.sums.get(&(module.to_owned(), version));
        let sums = sums.into_iter().flatten().map(String::as_str);
        // Other hashes than these may come one day; this go passes them over.
        sums.filter(|sum| sum.starts_with("h1:")).collect()
    }

    /// The modules that it names, each with its version.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.sums.keys();
        named.map(|(module, version)| {
            let version = version.strip_suffix("/go.mod").unwrap_or(version);
            (&**module, version)
        })
    }

    /// The modules whose zip it has a hash of, each with its version and that hash: those that a package
    /// is built from.
    pub(crate) fn zips(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.sums.iter().filter_map(|((module, version), sums)| {
            let sum = sums.iter().find(|sum| sum.starts_with("h1:"))?;
            (!version.ends_with("/go.mod")).then_some((&**module, &**version, &**sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_the_go_command_does() {
        let text = "a.b/c v1.0.0 h1:one=\na.b/c v1.0.0/go.mod h1:two=\r\n\n\
            a.b/c v1.0.0 h1:three=\n  a.b/d v1.0.0\th9:later= \n\
            a.b/d v1.0.0/go.mod h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY=\n";
        let sums = GoSum::parse(text.as_bytes());
        assert_eq!(
            sums.of(Kind::Zip, "a.b/c", "v1.0.0"),
            ["h1:one=", "h1:three="]
        );
        assert_eq!(sums.of(Kind::Mod, "a.b/c", "v1.0.0"), ["h1:two="]);
        assert_eq!(sums.of(Kind::Zip, "a.b/d", "v1.0.0"), [""; 0]);
        assert_eq!(sums.of(Kind::Mod, "a.b/d", "v1.0.0"), [""; 0]);
        assert_eq!(sums.malformed, None);
        let zips: Vec<_> = sums.zips().collect();
        assert_eq!(zips, [("a.b/c", "v1.0.0", "h1:one=")]);
    }

    #[test]
    fn the_marks_of_a_merge_are_told() {
        let text = "a.b/c v1.0.0 h1:x=\n<<<<<<< HEAD\na.b/c v1.1.0 h1:y=\n=======\n";
        let sums = GoSum::parse(text.as_bytes());
        let malformed = Malformed {
            file: "go.sum".into(),
            line: 2,
            text: "<<<<<<< HEAD".into(),
        };
        assert_eq!(sums.malformed, Some(malformed));
        assert_eq!(sums.of(Kind::Zip, "a.b/c", "v1.1.0"), ["h1:y="]);
        let mut both = GoSum::parse(b"a.b/c v1.0.0 h1:x=\n");
        both.add("lib/go.sum", b"a.b/c v1.0.0 h1:x=\na.b/c v1.0.0 h1:y=\n");
        assert_eq!(both.of(Kind::Zip, "a.b/c", "v1.0.0"), ["h1:x=", "h1:y="]);
        let one = GoSum::parse(b"a.b/c v1.0.0 h1:x= // why not\n");
        assert_eq!(one.malformed.map(|it| it.line), Some(1));
        both.add("app/go.sum", b"\n\xff\n\n");
        both.add("lib/go.sum", b"\xff\n");
        let first = both.malformed.map(|it| (it.file, it.line));
        assert_eq!(first, Some(("app/go.sum".into(), 2)));
    }
}
