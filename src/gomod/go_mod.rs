//! A go.mod file: what a module is called, which Go it is written for, and what it requires. A go.work
//! file has the same grammar, and directives of which only `use` is its own.
//!
//! As lenient as cmd/go reads the go.mod of a dependency (`modfile.ParseLax`): a line that is not
//! understood is left out, since a newer Go may have written it. Total: any bytes give a [`GoMod`].
//! Sources: the Go modules reference ("go.mod files") and `golang.org/x/mod/modfile`, whose `read.go`
//! has the lexer and whose `rule.go` has the directives.
//!
//! Read here rather than by a crate: those that there are refuse a file as a whole for one directive
//! that they do not know, have no comments (`// indirect`, `Deprecated:` and the reason of a retraction
//! are comments), and are not used by anybody whose input is hostile.

use std::mem;

use super::version::is_canonical_version;

/// The content of a go.mod file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GoMod {
    /// The path that the module declares.
    pub(crate) module: Option<String>,
    /// Why it should not be used any more (`// Deprecated: …` at the module directive).
    pub(crate) deprecated: Option<String>,
    /// The `go` line: `1.22`, `1.23.4`.
    pub(crate) go: Option<String>,
    /// The `toolchain` line: `go1.24.1`.
    pub(crate) toolchain: Option<String>,
    /// What it requires, in order.
    pub(crate) require: Vec<Requirement>,
    /// What is taken in place of something else. Of the main module and of a workspace only.
    pub(crate) replace: Vec<Replacement>,
    /// The versions that are not to be used. Of the main module only.
    pub(crate) exclude: Vec<ModuleVersion>,
    /// The versions of the module itself that are not to be used.
    pub(crate) retract: Vec<Retraction>,
    /// The folders of the modules of a workspace. Of a go.work file only.
    pub(crate) uses: Vec<String>,
}

/// A module in a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ModuleVersion {
    /// The module's path.
    pub(crate) path: String,
    /// Its version.
    pub(crate) version: String,
}

/// A line of `require`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// At least this version.
    pub(crate) of: ModuleVersion,
    /// Whether it is marked `// indirect`: nothing of the module itself imports it.
    pub(crate) is_indirect: bool,
}

/// A line of `replace`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    /// The module that is replaced.
    pub(crate) old: String,
    /// In this version only; `None` for all.
    pub(crate) old_version: Option<String>,
    /// What is taken: a module's path, or that of a folder.
    pub(crate) new: String,
    /// The version of the module; `None` for a folder.
    pub(crate) new_version: Option<String>,
}

/// A line of `retract`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retraction {
    /// From this version on.
    pub(crate) low: String,
    /// Up to this one.
    pub(crate) high: String,
    /// Why; empty if nothing is said.
    pub(crate) rationale: String,
}

impl GoMod {
    /// Reads a go.mod or go.work file.
    pub(crate) fn parse(content: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content);
        let mut file = Self::default();
        let mut block: Option<Block<'_>> = None;
        let mut above = Vec::new();
        for line in text.split('\n').map(Line::lex) {
            let Some(line) = line else {
                above.clear();
                continue;
            };
            let tokens: Vec<&str> = line.tokens.iter().map(String::as_str).collect();
            if tokens.is_empty() {
                match line.comment {
                    Some(comment) => above.push(comment),
                    // Inside a block a blank line does not part a comment from what follows.
                    None if block.is_none() => above.clear(),
                    None => {}
                }
                continue;
            }
            let comments = Comments {
                above: mem::take(&mut above),
                behind: line.comment,
            };
            match (&block, &tokens[..]) {
                (Some(_), [")"]) => block = None,
                (Some(block), arguments) => {
                    let comments = comments.or(&block.comments);
                    file.take(&block.verb, arguments, comments, line.is_quoted);
                }
                (None, [verb, "("]) => {
                    let verb = (*verb).to_owned();
                    block = Some(Block { verb, comments });
                }
                (None, [_, "(", ")"]) => {}
                (None, [verb, arguments @ ..]) => {
                    file.take(verb, arguments, &comments, line.is_quoted);
                }
                (None, []) => {}
            }
        }
        file
    }

    /// Takes a line of a directive, if it is understood.
    fn take(&mut self, verb: &str, arguments: &[&str], comments: &Comments<'_>, is_quoted: bool) {
        match (verb, arguments) {
            ("module", [path]) if self.module.is_none() => {
                self.module = Some((*path).to_owned());
                self.deprecated = deprecation(&comments.text());
            }
            ("go", [version]) if self.go.is_none() && is_go_version(version) => {
                self.go = Some((*version).to_owned());
            }
            ("toolchain", [name]) if self.toolchain.is_none() => {
                self.toolchain = Some((*name).to_owned());
            }
            ("require", [path, version]) if is_canonical_version(version) => {
                let of = ModuleVersion::of(path, version);
                let is_indirect = comments.behind.is_some_and(is_indirect);
                self.require.push(Requirement { of, is_indirect });
            }
            ("exclude", [path, version]) if is_canonical_version(version) => {
                self.exclude.push(ModuleVersion::of(path, version));
            }
            ("use", [folder]) => self.uses.push((*folder).to_owned()),
            ("replace", [old @ .., "=>", new]) => self.replace(old, new, None),
            ("replace", [old @ .., "=>", new, version]) => self.replace(old, new, Some(version)),
            // A string that has brackets is a version that nobody has.
            ("retract", _) if is_quoted => {}
            ("retract", ["[", low, ",", high, "]"]) => self.retract(low, high, comments),
            ("retract", [version]) => self.retract(version, version, comments),
            _ => {}
        }
    }

    fn replace(&mut self, old: &[&str], new: &str, version: Option<&str>) {
        let (path, old_version) = match old {
            [path] => (path, None),
            [path, version] => (path, Some((*version).to_owned())),
            _ => return,
        };
        self.replace.push(Replacement {
            old: (*path).to_owned(),
            old_version,
            new: new.to_owned(),
            new_version: version.map(str::to_owned),
        });
    }

    fn retract(&mut self, low: &str, high: &str, comments: &Comments<'_>) {
        if is_canonical_version(low) && is_canonical_version(high) {
            self.retract.push(Retraction {
                low: low.to_owned(),
                high: high.to_owned(),
                rationale: comments.text(),
            });
        }
    }
}

impl ModuleVersion {
    /// A module in a version.
    pub(crate) fn of(path: &str, version: &str) -> Self {
        let (path, version) = (path.to_owned(), version.to_owned());
        Self { path, version }
    }
}

impl std::fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.path, self.version)
    }
}

/// `VERB (`, up to the line `)`.
struct Block<'a> {
    verb: String,
    comments: Comments<'a>,
}

/// How much of what is said about a line is kept, bytes.
const TEXT: usize = 1024;

/// What is said about a line.
#[derive(Default)]
struct Comments<'a> {
    /// The comment lines above it.
    above: Vec<&'a str>,
    /// The comment at its end.
    behind: Option<&'a str>,
}

impl<'a> Comments<'a> {
    /// These, or those of the block where there are none (`modfile.parseDirectiveComment`).
    fn or<'s>(&'s self, block: &'s Self) -> &'s Self {
        match self.above.is_empty() && self.behind.is_none() {
            true => block,
            false => self,
        }
    }

    /// All of it, up to [`TEXT`] bytes: a block may have a thousand lines, each of which it is said of.
    fn text(&self) -> String {
        let mut text = String::new();
        for line in self.above.iter().copied().chain(self.behind) {
            if !text.is_empty() {
                text.push('\n');
            }
            let room = TEXT.saturating_sub(text.len());
            if line.len() > room {
                let fits = line.char_indices().map(|(at, c)| at + c.len_utf8());
                let end = fits.take_while(|end| *end <= room).last().unwrap_or(0);
                text.push_str(&line[..end]);
                break;
            }
            text.push_str(line);
        }
        text
    }
}

/// One line in tokens.
struct Line<'a> {
    tokens: Vec<String>,
    /// What follows `//`, trimmed.
    comment: Option<&'a str>,
    /// Whether a token was a string.
    is_quoted: bool,
}

impl<'a> Line<'a> {
    /// `None` for a line that the lexer refuses: a string without an end, or `/*`.
    fn lex(line: &'a str) -> Option<Self> {
        let mut found = Self {
            tokens: Vec::new(),
            comment: None,
            is_quoted: false,
        };
        let mut rest = line;
        loop {
            rest = rest.trim_start_matches([' ', '\t', '\r']);
            let Some(first) = rest.chars().next() else {
                return Some(found);
            };
            if let Some(comment) = rest.strip_prefix("//") {
                found.comment = Some(comment.trim());
                return Some(found);
            }
            let (token, end) = match first {
                '"' | '`' => {
                    found.is_quoted = true;
                    string(rest, first)?
                }
                '(' | ')' | '[' | ']' | '{' | '}' | ',' => (first.to_string(), 1),
                _ if rest.starts_with("=>") => ("=>".to_owned(), 2),
                _ => {
                    let end = identifier(rest)?;
                    (rest[..end].to_owned(), end)
                }
            };
            found.tokens.push(token);
            rest = &rest[end..];
        }
    }
}

/// The length of the identifier that a text begins with; `None` if it runs into `/*`, or begins with
/// a space that the lexer does not know (a no-break space).
fn identifier(text: &str) -> Option<usize> {
    let is_end = |c: char| c.is_whitespace() || "()[]{},".contains(c);
    let end = text.find(is_end).unwrap_or(text.len());
    let end = text[..end].find("//").unwrap_or(end);
    (end > 0 && !text[..end].contains("/*")).then_some(end)
}

/// A string that a text begins with, and its length with the quotes (Go's `strconv.Unquote`).
fn string(text: &str, quote: char) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some((value, at + 1)),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                // No path or version has any other escape but these.
                c @ ('"' | '\\') => value.push(c),
                _ => return None,
            },
            _ => value.push(c),
        }
    }
    None
}

/// Is this comment `indirect`, or does it begin with `indirect;` (`modfile.isIndirect`)?
fn is_indirect(comment: &str) -> bool {
    let mut words = comment.split_whitespace();
    matches!(
        (words.next(), words.next()),
        (Some("indirect"), None) | (Some("indirect;"), Some(_))
    )
}

/// The paragraph that begins with `Deprecated:` (`modfile.parseDeprecation`).
fn deprecation(text: &str) -> Option<String> {
    let mut paragraphs = text.split("\n\n");
    let found = paragraphs.find_map(|paragraph| paragraph.strip_prefix("Deprecated:"))?;
    Some(found.trim().to_owned())
}

/// `1.22`, `1.22.3`, `1.23rc1` (`modfile.GoVersionRE`).
fn is_go_version(version: &str) -> bool {
    let mut numbers = version.split('.');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let leads = numbers.next().is_some_and(is_number);
    let is_part = |part: &str| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let rest = part[digits..].bytes();
        digits > 0 && rest.clone().all(|b| b.is_ascii_alphanumeric())
    };
    let rest: Vec<&str> = numbers.collect();
    leads && matches!(rest.len(), 1 | 2) && rest.into_iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requires(text: &str) -> Vec<(String, bool)> {
        let file = GoMod::parse(text.as_bytes());
        let lines = file.require.into_iter();
        lines
            .map(|line| (line.of.to_string(), line.is_indirect))
            .collect()
    }

    #[test]
    fn a_whole_file_is_read() {
        let file = GoMod::parse(
            b"// Deprecated: use example.com/new\n// instead.\n//\n// Nothing else.\n\
            module example.com/old // the old one\r\n\r\n\
            go 1.21.3 // as CI has it\ntoolchain go1.24.1\n\n\
            require example.com/a v1.0.0\n\
            require (\n\t\"example.com/b\" v1.2.0 // indirect\n\n\t// pinned\n\texample.com/c/v2 v2.0.0-rc.1 // indirect; see issue\n\
            \texample.com/d v0.0.0-20220722155237-a158d28d115b //indirect\n)\n\
            replace example.com/a => ../a\n\
            replace (\n\texample.com/b v1.2.0 => example.com/fork v1.2.1\n)\n\
            exclude example.com/c/v2 v2.0.0\n\
            tool example.com/tool\n\
            retract v1.0.0 // broken\n\
            // Contains a race.\n\
            // It is mended in v1.3.\n\
            retract [v1.1.0, v1.2.9]\n",
        );
        assert_eq!(file.module.as_deref(), Some("example.com/old"));
        let deprecated = file.deprecated.as_deref();
        assert_eq!(deprecated, Some("use example.com/new\ninstead."));
        assert_eq!(file.go.as_deref(), Some("1.21.3"));
        assert_eq!(file.toolchain.as_deref(), Some("go1.24.1"));
        let lines = file.require.iter();
        let lines: Vec<_> = lines
            .map(|line| (line.of.to_string(), line.is_indirect))
            .collect();
        let expected = [
            ("example.com/a v1.0.0", false),
            ("example.com/b v1.2.0", true),
            ("example.com/c/v2 v2.0.0-rc.1", true),
            ("example.com/d v0.0.0-20220722155237-a158d28d115b", true),
        ];
        assert_eq!(lines, expected.map(|(of, is)| (of.to_owned(), is)));
        let [folder, fork] = &file.replace[..] else {
            panic!("{:?}", file.replace)
        };
        assert_eq!((&*folder.new, &folder.new_version), ("../a", &None));
        assert_eq!(fork.old_version.as_deref(), Some("v1.2.0"));
        assert_eq!(fork.new_version.as_deref(), Some("v1.2.1"));
        let excluded = ModuleVersion::of("example.com/c/v2", "v2.0.0");
        assert_eq!(file.exclude, [excluded]);
        let retracted: Vec<_> = file
            .retract
            .iter()
            .map(|it| (&*it.low, &*it.high, &*it.rationale))
            .collect();
        let expected = [
            ("v1.0.0", "v1.0.0", "broken"),
            (
                "v1.1.0",
                "v1.2.9",
                "Contains a race.\nIt is mended in v1.3.",
            ),
        ];
        assert_eq!(retracted, expected);
    }

    #[test]
    fn a_workspace_names_its_folders() {
        let file = GoMod::parse(
            b"go 1.24.0\n\ntoolchain go1.27.3\n\nuse (\n\t./app // the program\n\t\"../a lib\"\n)\nuse .\n\
            replace example.com/a v1.0.0 => ./a\n",
        );
        assert_eq!(file.uses, ["./app", "../a lib", "."]);
        assert_eq!(file.go.as_deref(), Some("1.24.0"));
        assert_eq!(file.toolchain.as_deref(), Some("go1.27.3"));
        assert_eq!(file.replace[0].new, "./a");
    }

    #[test]
    fn a_comment_belongs_to_what_stands_below_it() {
        let parted = GoMod::parse(b"// Deprecated: no\n\nmodule a.b/c\n");
        assert_eq!(parted.deprecated, None);
        let behind = GoMod::parse(b"module a.b/c // Deprecated: gone\n");
        assert_eq!(behind.deprecated.as_deref(), Some("gone"));
        // In a block the reason may stand at each line, or at the block for all that have none.
        let block = GoMod::parse(
            b"// Published by mistake.\nretract (\n\tv1.0.0\n\n\t// Worse.\n\n\tv1.1.0\n)\n",
        );
        let why: Vec<_> = block.retract.iter().map(|it| &*it.rationale).collect();
        assert_eq!(why, ["Published by mistake.", "Worse."]);
    }

    #[test]
    fn strings_and_brackets_are_read_as_the_go_command_reads_them() {
        assert_eq!(
            requires("require \"a.b/c\" `v1.0.0`"),
            [("a.b/c v1.0.0".to_owned(), false)]
        );
        let file = GoMod::parse(b"module \"a.b/\\\"c\\\"\"\ngo 1.22rc1\nreplace a.b/c=>../c\nretract [ v1.0.0 ,v1.1.0]\n");
        assert_eq!(file.module.as_deref(), Some("a.b/\"c\""));
        assert_eq!(file.go.as_deref(), Some("1.22rc1"));
        // An arrow without a space before it is part of the path.
        assert_eq!(file.replace, []);
        assert_eq!(file.retract.len(), 1);
    }

    #[test]
    fn what_is_not_understood_is_left_out_and_the_rest_is_read() {
        let text = "module a.b/c\nfuture [thing] (of, kinds)\nunknown (\n\ta b c\n)\n\
            require a.b/x latest\nrequire a.b/y\nrequire a.b/z v1.0.0 extra\nrequire \"a.b/open v1.0.0\n\
            go nonsense\n/* no */ require a.b/w v1.0.0\nrequire a.b/v v1.2.3\n";
        assert_eq!(requires(text), [("a.b/v v1.2.3".to_owned(), false)]);
        assert_eq!(GoMod::parse(text.as_bytes()).go, None);
        assert_eq!(GoMod::parse(b"<!doctype html>\n").module, None);
    }
}
