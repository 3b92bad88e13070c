//! What somebody wants to be dropped from every place where answers are kept.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::gomod::{escape_path, escape_version};

/// A module, or a part of what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purge {
    /// As it was given: `MODULE`, `MODULE@VERSION`, `MODULE@list` or `MODULE@latest`.
    text: String,
    /// The module, as it stands in paths.
    module: String,
    part: Part,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    All,
    List,
    Latest,
    /// A version or a branch, as it stands in paths.
    Version(String),
}

/// The most bytes that the text of a purge has: module paths and versions have less.
const LONGEST: usize = 4096;

/// Purges that are remembered, for what is on its way.
const REMEMBERED: usize = 1000;

/// The purges that were heard so far.
#[derive(Debug, Default)]
pub(super) struct Purges {
    // A std Mutex: held for an operation on the list, never across an await.
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    count: u64,
    /// The last ones, the newest at the end.
    last: VecDeque<Purge>,
}

/// How many purges were heard before something was fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl Purges {
    pub(super) fn add(&self, purge: &Purge) {
        let mut heard = self.heard();
        heard.count += 1;
        heard.last.push_back(purge.clone());
        if heard.last.len() > REMEMBERED {
            heard.last.pop_front();
        }
    }

    /// Now, as far as purges go.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.heard().count)
    }

    /// Whether a purge since then covers a path. One that is not remembered any more may have.
    pub(super) fn cover_since(&self, epoch: Epoch, path: &str) -> bool {
        let heard = self.heard();
        let since = usize::try_from(heard.count - epoch.0).unwrap_or(usize::MAX);
        since > heard.last.len()
            || heard
                .last
                .iter()
                .rev()
                .take(since)
                .any(|purge| purge.covers(path))
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FromStr for Purge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("a module path has less than {LONGEST} bytes"));
        }
        let (module, version) = match text.split_once('@') {
            Some((module, version)) => (module, Some(version)),
            None => (text, None),
        };
        let part = match version {
            None => Part::All,
            Some("list") => Part::List,
            Some("latest") => Part::Latest,
            Some(version) => Part::Version(escape_version(version).map_err(|it| it.to_string())?),
        };
        Ok(Self {
            text: text.to_owned(),
            module: escape_path(module).map_err(|it| it.to_string())?,
            part,
        })
    }
}

impl fmt::Display for Purge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Purge {
    /// Where the files of the module lie, below a module proxy; `@v` and `@latest` are in it.
    pub(super) fn folder(&self) -> &str {
        &self.module
    }

    /// Whether the answer to that path is to be dropped. Of a module or a version, what the checksum database says
    /// of it is as well.
    pub(super) fn covers(&self, path: &str) -> bool {
        // What stands behind it tells clients apart, each of whom is told something else.
        let path = path.split('?').next().unwrap_or(path);
        if let Some(rest) = path.strip_prefix("sumdb/") {
            let looked_up = rest.split_once("/lookup/");
            let of =
                looked_up.and_then(|(_, of)| of.strip_prefix(&*self.module)?.strip_prefix('@'));
            return match (&self.part, of) {
                (Part::All, of) => of.is_some(),
                (Part::Version(version), Some(of)) => of == version,
                _ => false,
            };
        }
        let file = path
            .strip_prefix(&*self.module)
            .and_then(|rest| rest.strip_prefix("/@"));
        let Some(file) = file else {
            return false;
        };
        match &self.part {
            Part::All => true,
            Part::List => file == "v/list",
            Part::Latest => file == "latest",
            Part::Version(version) => {
                let kind = file
                    .strip_prefix("v/")
                    .and_then(|file| file.strip_prefix(&**version));
                matches!(kind, Some(".info" | ".mod" | ".zip"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_covers_what_it_names_and_nothing_beside_it() {
        for (purge, covered, others) in [
            (
                "github.com/BurntSushi/toml",
                &[
                    "github.com/!burnt!sushi/toml/@v/list",
                    "github.com/!burnt!sushi/toml/@latest",
                    "github.com/!burnt!sushi/toml/@v/v1.3.2.zip",
                    "sumdb/sum.golang.org/lookup/github.com/!burnt!sushi/toml@v1.3.2",
                ][..],
                &[
                    "github.com/!burnt!sushi/toml/v2/@v/list",
                    "github.com/!burnt!sushi/tom/@v/list",
                    "github.com/!burnt!sushi/toml-test/@v/list",
                    "sumdb/sum.golang.org/lookup/github.com/!burnt!sushi/toml/v2@v2.0.0",
                    "sumdb/sum.golang.org/tile/8/0/001",
                ][..],
            ),
            (
                "rsc.io/quote@v1.5.2",
                &[
                    "rsc.io/quote/@v/v1.5.2.info",
                    "rsc.io/quote/@v/v1.5.2.mod",
                    "sumdb/sum.golang.org/lookup/rsc.io/quote@v1.5.2",
                ],
                &[
                    "rsc.io/quote/@v/list",
                    "rsc.io/quote/@v/v1.5.2-pre.mod",
                    "rsc.io/quote/@v/v1.5.20.mod",
                    "sumdb/sum.golang.org/lookup/rsc.io/quote@v1.5.20",
                ],
            ),
            (
                "rsc.io/quote@list",
                &["rsc.io/quote/@v/list"],
                &["rsc.io/quote/@v/list.info", "rsc.io/quote/@latest"],
            ),
            (
                "rsc.io/quote@latest",
                &["rsc.io/quote/@latest"],
                &["rsc.io/quote/@v/list"],
            ),
        ] {
            let purge: Purge = purge.parse().expect("it is one");
            for path in covered {
                assert!(purge.covers(path), "{purge} {path}");
            }
            for path in others {
                assert!(!purge.covers(path), "{purge} {path}");
            }
        }
    }

    #[test]
    fn what_is_no_module_is_told_so() {
        for text in ["", "x", "../y", "a.b/../c", "a.b/c@", "a.b/c@a/b", "*"] {
            assert!(text.parse::<Purge>().is_err(), "{text}");
        }
    }
}
