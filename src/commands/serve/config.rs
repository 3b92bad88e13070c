//! `--config FILE`: options by their names, and tables of private modules.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::{Cli, Command, Global, ServeArgs, Setting, Takes, flags_in, in_one_line};
use crate::commands::failure::{Advise as _, Failure, USAGE};
use crate::files::read_small;

/// The verb whose options they are.
const VERB: &str = "serve";

/// The largest file that is read, bytes.
const LIMIT: u64 = 1 << 20;

/// What a table of private modules may have.
const KEYS: [&str; 4] = ["upstream", "auth", "vcs", "vcs-hosts"];

/// The options of a run: those of the command line, and those of the file where it says nothing.
#[derive(Debug)]
pub(in crate::commands) struct Settings {
    /// The words of the command line.
    words: Vec<OsString>,
    pub(in crate::commands) args: ServeArgs,
    pub(in crate::commands) global: Global,
    /// Private modules, in the order of the file.
    pub(super) private: Vec<Private>,
    /// Each option by its name, as text.
    values: BTreeMap<String, Vec<OsString>>,
    /// The file, and the line of each option in it.
    file: Option<(PathBuf, BTreeMap<String, usize>)>,
}

/// Modules with an upstream of their own: a table `[private."PATTERN"]`. Its texts are as the file has them.
#[derive(Debug, Clone)]
pub(super) struct Private {
    /// Where the table begins: `modtape.toml:12`.
    pub(super) place: String,
    /// Which modules, as in GOPRIVATE.
    pub(super) pattern: String,
    /// What answers for them.
    pub(super) upstream: String,
    /// How users show who they are.
    pub(super) auth: Option<String>,
    /// The version control systems of repositories.
    pub(super) vcs: Option<Vec<String>>,
    /// The hosts that repositories may lie on, beside that of the pattern.
    pub(super) vcs_hosts: Option<Vec<String>>,
}

impl PartialEq for Private {
    /// Wherever in the file they are.
    fn eq(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            let (upstream, auth) = (one.upstream.clone(), one.auth.clone());
            let (vcs, hosts) = (one.vcs.clone(), one.vcs_hosts.clone());
            (one.pattern.clone(), upstream, auth, vcs, hosts)
        };
        of(self) == of(other)
    }
}

impl Settings {
    /// Takes the words of a command line, and the file that they name.
    pub(in crate::commands) fn of(words: &[OsString]) -> Result<Self, Failure> {
        let usage = |error: anyhow::Error| Failure::new(USAGE, error);
        let bare = Cli::configured(words, &[]);
        let bare = bare.map_err(|error| usage(anyhow!(in_one_line(&error))))?;
        let (args, global) = of_serve(bare.cli)?;
        let Some(path) = args.config.clone() else {
            return Ok(Self {
                words: words.to_vec(),
                args,
                global,
                private: Vec::new(),
                values: bare.values,
                file: None,
            });
        };
        let file = File::read(&path).map_err(usage)?;
        let all = Cli::configured(words, &file.settings);
        let all = all.map_err(|error| {
            let mut flags = flags_in(&error).into_iter();
            let line = flags.find_map(|flag| file.lines.get(&flag));
            let why = in_one_line(&error);
            usage(match line {
                Some(line) => anyhow!("{}:{line}: {why}", path.display()),
                None => anyhow!("{}: {why}", path.display()),
            })
        })?;
        let (args, global) = of_serve(all.cli)?;
        Ok(Self {
            words: words.to_vec(),
            args,
            global,
            private: file.private,
            values: all.values,
            file: Some((path, file.lines)),
        })
    }

    /// Reads the file again.
    pub(super) fn again(&self) -> Result<Self, Failure> {
        Self::of(&self.words)
    }

    /// Says of an error about an option of the file where it is.
    pub(super) fn locate(&self, failure: Failure) -> Failure {
        let text = failure.error.to_string();
        let Some(named) = text.strip_prefix("--") else {
            return failure;
        };
        let end = named.find(|c: char| c != '-' && !c.is_ascii_alphanumeric());
        match self.place_of(&named[..end.unwrap_or(named.len())]) {
            Some(place) => failure.at(&place),
            None => failure,
        }
    }

    /// Where an option is in the file: `modtape.toml:3`.
    pub(super) fn place_of(&self, option: &str) -> Option<String> {
        let (path, lines) = self.file.as_ref()?;
        let line = lines.get(option)?;
        Some(format!("{}:{line}", path.display()))
    }

    /// The file that it was taken from.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// The options that another has otherwise; `private` stands for the tables.
    pub(super) fn changed<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let options = self.values.iter();
        let options = options.filter(|(name, values)| other.values.get(*name) != Some(values));
        let tables = (self.private != other.private).then_some("private");
        options
            .map(|(name, _)| name.as_str())
            .chain(tables)
            .collect()
    }
}

/// What the command line says of this verb.
fn of_serve(cli: Cli) -> anyhow::Result<(ServeArgs, Global)> {
    match cli.command {
        Command::Serve(args) => Ok((*args, cli.global)),
        _ => Err(anyhow!("these are options of `modtape {VERB}`")),
    }
}

/// A file, as far as it can be judged alone.
struct File {
    settings: Vec<Setting>,
    lines: BTreeMap<String, usize>,
    private: Vec<Private>,
}

impl File {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let bytes = read_small(path, LIMIT);
        let bytes = bytes.with_context(|| format!("cannot read {shown}"))?;
        let text = Text::of(path, &bytes)?;
        let table = DeTable::parse(text.all).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let (line, column) = text.place(span.start);
            anyhow!("{shown}:{line}:{column}: {}", error.message())
        })?;
        let table = table.into_inner();
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let flags = Cli::flags_of(VERB);
        let mut file = Self {
            settings: Vec::new(),
            lines: BTreeMap::new(),
            private: Vec::new(),
        };
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            let line = text.place(key.span().start).0;
            if name == "private" {
                file.private = text.private(key.span().start, value)?;
                continue;
            }
            let Some((_, takes)) = flags.iter().find(|(flag, _)| flag == name) else {
                let known = flags.iter().map(|(flag, _)| flag.as_str());
                let known = known.chain(["private"]);
                return Err(anyhow!("{shown}:{line}: {}", unknown(name, known))).help(format!(
                    "`modtape {VERB} --help` names the options: a key is one without its dashes"
                ));
            };
            let setting = Setting {
                name: name.to_owned(),
                values: text.values(name, *takes, value)?,
            };
            if let Err(error) = Cli::check(VERB, &setting) {
                return Err(anyhow!("{shown}:{line}: {}", in_one_line(&error)));
            }
            file.lines.insert(name.to_owned(), line);
            file.settings.push(setting);
        }
        Ok(file)
    }
}

/// The text of a file, and its name for errors.
struct Text<'a> {
    path: &'a Path,
    all: &'a str,
}

impl<'a> Text<'a> {
    fn of(path: &'a Path, bytes: &'a [u8]) -> anyhow::Result<Self> {
        match str::from_utf8(bytes) {
            Ok(all) => Ok(Self { path, all }),
            Err(error) => {
                let valid = &bytes[..error.valid_up_to()];
                let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
                Err(anyhow!("{}:{line}: it is not UTF-8", path.display()))
            }
        }
    }

    /// Line and column of an offset, both from 1; columns are characters.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.all.get(..offset).unwrap_or(self.all);
        let line = 1 + before.matches('\n').count();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, 1 + before[start..].chars().count())
    }

    fn error(&self, offset: usize, what: impl std::fmt::Display) -> anyhow::Error {
        let (line, _) = self.place(offset);
        anyhow!("{}:{line}: {what}", self.path.display())
    }

    /// What an option is given, as words of a command line have it.
    fn values(
        &self,
        name: &str,
        takes: Takes,
        value: &Spanned<DeValue<'_>>,
    ) -> anyhow::Result<Vec<Option<String>>> {
        let is = value.get_ref();
        let wrong = |takes: &str, value: &Spanned<DeValue<'_>>| {
            let is = value.get_ref().type_str();
            self.error(
                value.span().start,
                format!("{name} takes {takes}, and this is of type {is}"),
            )
        };
        let one = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
            DeValue::String(text) => Ok(Some(text.as_ref().to_owned())),
            DeValue::Integer(number) if number.radix() == 10 => {
                Ok(Some(number.as_str().to_owned()))
            }
            DeValue::Float(number) => Ok(Some(number.as_str().to_owned())),
            _ => Err(wrong("a text", value)),
        };
        let times = |number| vec![None; number];
        match takes {
            Takes::Nothing => match is.as_bool() {
                Some(is_on) => Ok(times(usize::from(is_on))),
                None => Err(wrong("true or false", value)),
            },
            Takes::Count => {
                let number = is.as_integer().map(|number| number.as_str().parse::<u8>());
                match (is.as_bool(), number) {
                    (Some(is_on), _) => Ok(times(usize::from(is_on))),
                    (None, Some(Ok(number))) => Ok(times(usize::from(number))),
                    _ => Err(wrong("a number from 0 to 255", value)),
                }
            }
            Takes::One => one(value).map(|one| vec![one]),
            Takes::Many => match is.as_array() {
                Some(several) => several.iter().map(one).collect(),
                None => one(value).map(|one| vec![one]),
            },
        }
    }

    fn private(&self, at: usize, tables: &Spanned<DeValue<'_>>) -> anyhow::Result<Vec<Private>> {
        let form = "private modules are tables such as [private.\"git.example.com/*\"]";
        let Some(tables) = tables.get_ref().as_table() else {
            return Err(self.error(at, form));
        };
        let mut patterns: Vec<_> = tables.iter().collect();
        patterns.sort_by_key(|(pattern, _)| pattern.span().start);
        let each = patterns.into_iter().map(|(pattern, table)| {
            let at = pattern.span().start;
            match table.get_ref().as_table() {
                Some(table) => self.one_private(at, pattern.get_ref(), table),
                None => Err(self.error(at, form)),
            }
        });
        each.collect()
    }

    fn one_private(
        &self,
        at: usize,
        pattern: &str,
        table: &DeTable<'_>,
    ) -> anyhow::Result<Private> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut found = BTreeMap::new();
        for (key, value) in entries {
            let name = key.get_ref().as_ref();
            if !KEYS.contains(&name) {
                return Err(self.error(key.span().start, unknown(name, KEYS.into_iter())));
            }
            let takes = match name {
                "vcs" | "vcs-hosts" => Takes::Many,
                _ => Takes::One,
            };
            let values = self.values(name, takes, value)?;
            found.insert(name, values.into_iter().flatten().collect::<Vec<_>>());
        }
        let mut one = |name| {
            found
                .remove(name)
                .and_then(|values| values.into_iter().next())
        };
        let Some(upstream) = one("upstream") else {
            let what = format!("[private.{pattern:?}] has no upstream");
            return Err(self.error(at, what));
        };
        let auth = one("auth");
        Ok(Private {
            place: format!("{}:{}", self.path.display(), self.place(at).0),
            pattern: pattern.to_owned(),
            upstream,
            auth,
            vcs: found.remove("vcs"),
            vcs_hosts: found.remove("vcs-hosts"),
        })
    }
}

/// Says that a key is none, and which one is near.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    let far = |other: &&str| strsim::damerau_levenshtein(&plain, other);
    let near = known.min_by_key(far);
    let near = near.filter(|near| far(near) <= 1 + near.len() / 4);
    match near {
        Some(near) => format!("unknown key {name:?}: did you mean {near}?"),
        None => format!("unknown key {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("modtape.toml");
        std::fs::write(&path, text).unwrap();
        let words = ["modtape", "serve", "--memory", "7", "--config"];
        let mut words = words.map(OsString::from).to_vec();
        words.push(path.into());
        Settings::of(&words).map_err(|failure| {
            assert_eq!(failure.code, Some(USAGE));
            let text = format!("{:#}", failure.error);
            text.replace(&format!("{}/", temp.path().display()), "")
        })
    }

    #[test]
    fn options_are_read_and_those_of_the_command_line_win() {
        let text = "listen = '[::1]:7'\ndisk-max = 70\nmemory = '1MB'\nno-ahead = true\noffline = false\n\
                    verbose = 2\nresolve = ['a:1:127.0.0.1']\nconnect-to = 'b:1:c:2'\n\
                    [private.'git.example.com/*']\nupstream = 'https://git.example.com'\nvcs = ['git.example.com']\n\
                    [private.other]\nupstream = 'x'\nauth = 'client'\n";
        let settings = read(text).unwrap();
        let args = &settings.args;
        assert_eq!(args.listen, Some("[::1]:7".parse().unwrap()));
        assert_eq!((args.memory, args.disk_max), (7, 70));
        assert_eq!((args.no_ahead, args.offline), (true, false));
        assert_eq!(settings.global.verbose, 2);
        assert_eq!(args.dial.resolve, ["a:1:127.0.0.1"]);
        assert_eq!(args.dial.connect_to, ["b:1:c:2"]);
        let [first, second] = &settings.private[..] else {
            panic!("{:?}", settings.private)
        };
        assert_eq!(first.pattern, "git.example.com/*");
        assert_eq!(
            first.vcs.as_deref(),
            Some(&["git.example.com".to_owned()][..])
        );
        assert_eq!(second.auth.as_deref(), Some("client"));
        assert!(first.place.ends_with("modtape.toml:9"), "{first:?}");
        let place = settings.place_of("connect-to").unwrap();
        assert!(place.ends_with("modtape.toml:8"), "{place}");
    }

    #[test]
    fn the_file_of_the_page_is_one() {
        let page = include_str!("../../../docs/serving.md");
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let (text, _) = rest.split_once("```").unwrap();
        let settings = read(text).unwrap();
        assert_eq!(settings.args.host.as_deref(), Some("modules.corp.example"));
    }

    #[test]
    fn what_changed_is_named_wherever_it_is_in_the_file() {
        let before = read("[private.x]\nupstream = 'a'\n").unwrap();
        let after = read("\n\n[private.x]\nupstream = 'a'\n").unwrap();
        assert_eq!(after.changed(&before), Vec::<&str>::new());
        let after = read("grace = 1\nmemory = 3\n[private.x]\nupstream = 'b'\n").unwrap();
        assert_eq!(after.changed(&before), ["grace", "private"]);
    }

    #[test]
    fn errors_say_where_they_are() {
        for (text, told) in [
            (
                "\nlisten = 'here'",
                "modtape.toml:2: invalid value 'here' for '--listen",
            ),
            (
                "disk_max = 1",
                "modtape.toml:1: unknown key \"disk_max\": did you mean disk-max?",
            ),
            ("config = 'x'", "modtape.toml:1: unknown key \"config\""),
            ("help = true", "modtape.toml:1: unknown key \"help\""),
            ("a = 1\n[x]\n", "modtape.toml:1: unknown key \"a\""),
            ("listen = ", "modtape.toml:1:10: "),
            ("grace = 1\ngrace = 2", "modtape.toml:2:1: "),
            (
                "grace = true",
                "modtape.toml:1: grace takes a text, and this is of type boolean",
            ),
            (
                "offline = 'yes'",
                "modtape.toml:1: offline takes true or false",
            ),
            (
                "verbose = 256",
                "modtape.toml:1: verbose takes a number from 0 to 255",
            ),
            ("grace = 0x10", "modtape.toml:1: grace takes a text"),
            (
                "listen = ['127.0.0.1']",
                "modtape.toml:1: listen takes a text, and this is of type array",
            ),
            (
                "resolve = [\n'a:1:127.0.0.1',\n{}]",
                "modtape.toml:3: resolve takes a text",
            ),
            (
                "\nupstream = 'https://a.example'\noffline = true",
                "modtape.toml:2: the argument '--upstream <LIST>' cannot be used with '--offline'",
            ),
            (
                "log-format = 'json'",
                "modtape.toml: --log-format has no effect without",
            ),
            (
                "log-format = 'jsn'",
                "modtape.toml:1: invalid value 'jsn' for '--log-format <FORMAT>' [possible values: text, json, ecs]",
            ),
            ("private = 1", "modtape.toml:1: private modules are tables"),
            (
                "[private]\nx = 1",
                "modtape.toml:2: private modules are tables",
            ),
            (
                "[private.x]",
                "modtape.toml:1: [private.\"x\"] has no upstream",
            ),
            (
                "[private.x]\nupstrem = 'a'",
                "modtape.toml:2: unknown key \"upstrem\": did you mean upstream?",
            ),
            (
                "[private.x]\nvcs = 1.5\nupstream = {}",
                "modtape.toml:3: upstream takes a text",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(told), "{text}: {error}");
        }
        let error = Text::of(Path::new("x.toml"), b"a = 1\nb = '\xff'")
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "x.toml:2: it is not UTF-8");
    }
}
