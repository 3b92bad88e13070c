//! The command line that records once more, with which nearly every hint ends.
//!
//! Made to be copied into a POSIX shell: it has the flags that the recording was made with, and a
//! placeholder where one of their values was redacted. Never runs anything.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use crate::cli::{Global, RecordArgs};
use crate::recording::folder;
use crate::redact::with_placeholders;
use crate::shell;

/// A recording to be made once more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rerun {
    /// The flags that it was made with and that decide what is reached, redacted, as
    /// [`Manifest::options`](crate::recording::format::Manifest::options) has them.
    pub(crate) options: Vec<String>,
    /// Where it goes, as words of a command line: `-o`, `ci`, `--force`.
    pub(crate) place: Vec<String>,
    /// The wrapped command, redacted; empty without one.
    pub(crate) command: Vec<String>,
}

impl Rerun {
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
        by_one_way(narrowed.collect())
    }
}

/// The options with one way in. A gateway takes no redirected clients, and it intercepts no connection: where
/// hosts are to be intercepted, a namespace sees as much.
fn by_one_way(mut options: Vec<String>) -> Vec<String> {
    if !options.iter().any(|option| option == GATEWAY) {
        return options;
    }
    let starts = |option: &str, flags: &[&str]| flags.iter().any(|flag| option.starts_with(flag));
    let intercepts = |option: &String| starts(option, &[INTERCEPT, TUNNEL, INTERCEPT_ALL]);
    options.retain(|option| !starts(option, &["--mode=transparent", "--from="]));
    if options.iter().any(intercepts) {
        options.retain(|option| !starts(option, &["--mode=", "--listen=", "--token="]));
        options.push(NETNS.into());
    }
    options
}

/// The flags of `record` that decide what is reached, each a word: `--flag` or `--flag=value`.
///
/// Neither the flags that decide what is kept, nor `--timeout`: a rerun is to record everything.
pub(crate) fn options(args: &RecordArgs) -> Vec<OsString> {
    let mut options = Vec::new();
    let mut flag = |name: &str, is_given: bool| options.extend(is_given.then(|| name.into()));
    flag("--cold", args.cold);
    flag(INTERCEPT_ALL, args.intercept_all);
    flag(NETNS, args.run.netns);
    let mut value = |name: &str, value: OsString| {
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        options.push(word);
    };
    let (upstream, run) = (&args.upstream.dial, &args.run);
    for (name, hosts) in [("--intercept", &args.intercept), ("--tunnel", &args.tunnel)] {
        if !hosts.is_empty() {
            value(name, hosts.join(",").into());
        }
    }
    if upstream.upstream_proxy != "env" {
        value("--upstream-proxy", upstream.upstream_proxy.clone().into());
    }
    for path in &upstream.upstream_ca {
        value("--upstream-ca", path.into());
    }
    for text in &upstream.resolve {
        value("--resolve", text.into());
    }
    for text in &upstream.connect_to {
        value("--connect-to", text.into());
    }
    if run.mode.is_gateway() {
        value("--mode", "gateway".into());
    }
    if !run.host_port.is_empty() {
        let ports: Vec<String> = run.host_port.iter().map(u16::to_string).collect();
        value("--host-port", ports.join(",").into());
    }
    if run.mode.is_transparent() {
        value("--mode", "transparent".into());
    }
    let is_usual = |address: &SocketAddr| address.ip().is_loopback() && address.port() == 0;
    if run.listen.len() > 1 || !run.listen.iter().all(is_usual) {
        for address in &run.listen {
            value("--listen", address.to_string().into());
        }
    }
    for network in &run.from {
        value("--from", network.to_string().into());
    }
    if run.token != "none" && run.token_is_given {
        value("--token", run.token.clone().into());
    }
    options
}

/// The flags that [`options`] gives: those with a value end with an equals sign.
const KNOWN: [&str; 14] = [
    COLD,
    INTERCEPT_ALL,
    INTERCEPT,
    TUNNEL,
    "--upstream-proxy=",
    "--upstream-ca=",
    "--resolve=",
    "--connect-to=",
    "--mode=",
    NETNS,
    "--host-port=",
    "--listen=",
    "--from=",
    "--token=",
];

/// Those of a recording's options that may stand in a hint: a manifest may hold anything, and people
/// paste hints into shells.
pub(crate) fn trusted(options: &[String]) -> Vec<String> {
    let is_known = |option: &&String| {
        KNOWN.iter().any(|known| match known.ends_with('=') {
            true => option.starts_with(known),
            false => option == known,
        })
    };
    let is_harmless = |option: &&String| !option.chars().any(shell::is_terminal_control);
    let trusted = options.iter().filter(is_known).filter(is_harmless);
    trusted.cloned().collect()
}

/// The words that put a recording into `output`, a name or a path.
pub(crate) fn place(output: &Path, global: &Global) -> Vec<String> {
    let output = output.to_string_lossy();
    let mut words = vec![String::from("-o"), output.clone().into_owned()];
    if !folder::is_path(&output) {
        words.extend(recordings(global));
    }
    words
}

/// The words that say where recordings are, if a flag said so: a variable is there the next time too.
pub(crate) fn recordings(global: &Global) -> Vec<String> {
    match global.recordings_is_given {
        true => vec![
            "--recordings".into(),
            global.recordings.to_string_lossy().into_owned(),
        ],
        false => Vec::new(),
    }
}

/// The flag for an empty module cache.
pub(crate) const COLD: &str = "--cold";

/// The option that makes the recorder the command's GOPROXY.
pub(crate) const GATEWAY: &str = "--mode=gateway";

/// The flag for a network namespace.
const NETNS: &str = "--netns";

const INTERCEPT_ALL: &str = "--intercept-all";

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
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::{Cli, Command};

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_the_words_back() {
        let rerun = Rerun {
            options: vec!["--upstream-ca=my ca.pem".into()],
            place: ["-o", "my ci"].map(str::to_owned).into(),
            command: ["go", "get", "a.b/c@>=v1", "it's", "", "$HOME"]
                .map(str::to_owned)
                .into(),
        };
        assert_eq!(
            rerun.line(&words("--cold")),
            r"modtape record --upstream-ca 'my ca.pem' --cold -o 'my ci' -- go get 'a.b/c@>=v1' 'it'\''s' '' '$HOME'"
        );
    }

    #[test]
    fn every_option_of_a_run_may_stand_in_a_hint() {
        let lines = [
            "modtape record --cold --intercept-all --intercept a.example --tunnel b.example \
                --upstream-proxy none --upstream-ca ca.pem --resolve a.example:443:[::1] \
                --connect-to ::127.0.0.1:1 --listen 0.0.0.0:4040 --token secret -- go build",
            "modtape record --mode gateway -- go build",
            "modtape record --mode transparent --listen 0.0.0.0 --from 10.0.0.0/8 -- go build",
            "modtape record --netns --host-port 80,81 -- go build",
        ];
        let given = |line: &str| {
            let line: Vec<OsString> = words(line).into_iter().map(OsString::from).collect();
            let Command::Record(args) = Cli::of(&line).unwrap().command else {
                panic!("{line:?}")
            };
            options(&args)
        };
        let options = lines.into_iter().flat_map(given);
        let options: Vec<_> = options
            .map(|option| option.into_string().unwrap())
            .collect();
        let name = |option: &String| match option.split_once('=') {
            Some((name, _)) => format!("{name}="),
            None => option.clone(),
        };
        let names: BTreeSet<String> = options.iter().map(name).collect();
        assert_eq!(names, KNOWN.map(str::to_owned).into(), "{options:?}");
        assert_eq!(trusted(&options), options);
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
            // A gateway takes no clients from elsewhere, and intercepts nothing.
            (
                "--mode=transparent --from=10.0.0.0/8",
                GATEWAY,
                "go",
                " --mode gateway -- go",
            ),
            (
                "--listen=127.0.0.1:8080",
                "--mode=gateway --intercept=a",
                "go",
                " --intercept a --netns -- go",
            ),
        ] {
            let rerun = Rerun {
                options: words(options),
                place: Vec::new(),
                command: words(command),
            };
            let expected = format!("modtape record{expected}");
            assert_eq!(rerun.line(&words(more)), expected, "{options} {more}");
        }
    }

    #[test]
    fn a_value_that_was_redacted_is_a_placeholder() {
        let mark = "redacted:0123456789abcdef";
        let rerun = Rerun {
            options: vec![format!("--upstream-proxy=http://{mark}@p:3128")],
            place: Vec::new(),
            command: vec!["curl".into(), "-u".into(), mark.into()],
        };
        let line = rerun.line(&[]);
        let expected = "modtape record --upstream-proxy 'http://<…>@p:3128' -- curl -u '<…>'";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_hint_has_no_word_of_a_recording_but_our_own_flags() {
        let options = [
            "--cold",
            "--",
            "rm",
            "-o",
            "--force",
            "--har=/etc/x",
            "--coldest",
            "--connect-to=::127.0.0.1:1",
            "--resolve=\u{1b}[2J",
            "--tunnel=a\nb",
        ];
        let trusted = trusted(&options.map(str::to_owned));
        assert_eq!(trusted, ["--cold", "--connect-to=::127.0.0.1:1"]);
    }
}
