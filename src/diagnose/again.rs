//! The command line that records again, which nearly every advice ends with.
//!
//! Made to be copied into a POSIX shell: it has the flags that the recording was made with, and a
//! placeholder where one of their values was redacted. Never runs anything.

use crate::redact::with_placeholders;
use crate::shell;

/// A recording to be made once more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Again {
    /// The flags that it was made with and that decide what is reached, redacted, as
    /// [`Manifest::options`](crate::recording::format::Manifest::options) has them.
    pub(crate) options: Vec<String>,
    /// Where it goes, as words of a command line: `-o`, `ci`, `--force`.
    pub(crate) place: Vec<String>,
    /// The wrapped command, redacted; empty without one.
    pub(crate) command: Vec<String>,
}

impl Again {
    /// `modtape record OPTIONS PLACE -- COMMAND`, each word quoted where a shell would read it
    /// otherwise; `more` are options on top, `--flag` or `--flag=value`.
    ///
    /// Without a command (a recorder that ran until Ctrl-C) the two dashes are left out too.
    pub(crate) fn line(&self, more: &[String]) -> String {
        let mut line = String::from("modtape record");
        let options = self.options_and(more);
        let options = options.iter().flat_map(|option| words_of(option));
        let dashes = (!self.command.is_empty()).then_some("--");
        let place = self.place.iter().map(String::as_str);
        let command = self.command.iter().map(String::as_str);
        for word in options.chain(place).chain(dashes).chain(command) {
            line.push(' ');
            line.push_str(&shell::word(&with_placeholders(word)));
        }
        line
    }

    /// Each flag once. What is to be intercepted now is not tunnelled any more, and an empty module
    /// cache is a command's.
    fn options_and(&self, more: &[String]) -> Vec<String> {
        let mut options: Vec<String> = Vec::new();
        let wanted = |option: &&String| !self.command.is_empty() || *option != COLD;
        for option in self.options.iter().chain(more).filter(wanted) {
            let listed = options.iter().position(|one| one.starts_with(INTERCEPT));
            match (option.strip_prefix(INTERCEPT), listed) {
                (Some(hosts), Some(at)) => options[at] = merged(&options[at], hosts),
                _ if options.contains(option) => {}
                _ => options.push(option.clone()),
            }
        }
        let intercepted: Vec<&str> = more
            .iter()
            .filter_map(|option| option.strip_prefix(INTERCEPT))
            .flat_map(|hosts| hosts.split(','))
            .collect();
        let stays = |host: &&str| !intercepted.contains(host);
        let narrowed = options.into_iter().filter_map(|option| {
            let Some(hosts) = option.strip_prefix(TUNNEL) else {
                return Some(option);
            };
            let hosts: Vec<&str> = hosts.split(',').filter(stays).collect();
            (!hosts.is_empty()).then(|| format!("{TUNNEL}{}", hosts.join(",")))
        });
        narrowed.collect()
    }
}

/// The flag for an empty module cache.
pub(crate) const COLD: &str = "--cold";

const INTERCEPT: &str = "--intercept=";
const TUNNEL: &str = "--tunnel=";

/// The option that intercepts these hosts.
pub(crate) fn intercept<'a>(hosts: impl IntoIterator<Item = &'a str>) -> String {
    let hosts: Vec<&str> = hosts.into_iter().collect();
    format!("{INTERCEPT}{}", hosts.join(","))
}

/// The hosts of an `--intercept=` and these, each once.
fn merged(listed: &str, hosts: &str) -> String {
    let mut all: Vec<&str> = listed[INTERCEPT.len()..].split(',').collect();
    for host in hosts.split(',') {
        if !all.contains(&host) {
            all.push(host);
        }
    }
    format!("{INTERCEPT}{}", all.join(","))
}

/// `--flag=value` as people write it: two words, unless the value looks like a flag.
fn words_of(option: &str) -> impl Iterator<Item = &str> {
    let (flag, value) = match option.split_once('=') {
        Some((flag, value)) if !value.starts_with('-') => (flag, Some(value)),
        _ => (option, None),
    };
    std::iter::once(flag).chain(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_the_words_back() {
        let again = Again {
            options: vec!["--upstream-ca=my ca.pem".into()],
            place: ["-o", "my ci"].map(str::to_owned).into(),
            command: ["go", "get", "a.b/c@>=v1", "it's", "", "$HOME"]
                .map(str::to_owned)
                .into(),
        };
        assert_eq!(
            again.line(&words("--cold")),
            r"modtape record --upstream-ca 'my ca.pem' --cold -o 'my ci' -- go get 'a.b/c@>=v1' 'it'\''s' '' '$HOME'"
        );
    }

    #[test]
    fn flags_stay_and_each_stands_once() {
        for (options, more, command, expected) in [
            ("", "", "", ""),
            ("--cold", "--cold", "go", " --cold -- go"),
            // Without a command there is no module cache to empty.
            ("--cold", "", "", ""),
            (
                "--intercept=a,b --connect-to=::127.0.0.1:1",
                "--intercept=b,c",
                "go",
                " --intercept a,b,c --connect-to ::127.0.0.1:1 -- go",
            ),
            (
                "--tunnel=a,b",
                "--intercept=a",
                "",
                " --tunnel b --intercept a",
            ),
            ("--tunnel=a", "--intercept=a", "", " --intercept a"),
            (
                "--resolve=a:1:::1 --resolve=b:1:::1",
                "",
                "",
                " --resolve a:1:::1 --resolve b:1:::1",
            ),
            ("--upstream-ca=-x", "", "", " --upstream-ca=-x"),
        ] {
            let again = Again {
                options: words(options),
                place: Vec::new(),
                command: words(command),
            };
            let expected = format!("modtape record{expected}");
            assert_eq!(again.line(&words(more)), expected, "{options} {more}");
        }
    }

    #[test]
    fn a_value_that_was_redacted_is_a_placeholder() {
        let mark = "redacted:0123456789abcdef";
        let again = Again {
            options: vec![format!("--upstream-proxy=http://{mark}@p:3128")],
            place: Vec::new(),
            command: vec!["curl".into(), "-u".into(), mark.into()],
        };
        let line = again.line(&[]);
        let expected = "modtape record --upstream-proxy 'http://<…>@p:3128' -- curl -u '<…>'";
        assert_eq!(line, expected);
    }
}
