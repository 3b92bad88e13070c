//! Flags that would do nothing beside others, or the opposite: they are refused, not passed over.
//!
//! What excludes another flag always is said where the flag is ([`clap::Arg::conflicts_with`]); here
//! is what depends on a value, or on something that is not there.

use std::ffi::OsStr;

use clap::error::{Error, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _};

use super::Cli;

/// A flag that is void under a condition.
struct Void {
    /// The verbs that have it.
    verbs: &'static [&'static str],
    /// Its name as clap has it.
    flag: &'static str,
    /// When.
    when: fn(&ArgMatches) -> bool,
    /// Why, as a sentence that begins with the flag.
    why: &'static str,
}

const VOID: [Void; 15] = [
    Void {
        verbs: &["record", "import"],
        flag: "force",
        when: |words| !is_given(words, "output"),
        why: "replaces the recording that -o NAME names, and there is no -o",
    },
    Void {
        verbs: &["record"],
        flag: "har_bodies",
        when: |words| words.get_flag("no_har"),
        why: "is void beside --no-har, which writes no HAR",
    },
    Void {
        verbs: &["record"],
        flag: "har_bodies",
        when: |words| is(words, "bodies", "none") && !is(words, "har_bodies", "none"),
        why: "shows bodies, and --bodies none keeps none",
    },
    Void {
        verbs: &["record"],
        flag: "har",
        when: |words| is(words, "har", "-"),
        why: "cannot write to stdout, which is the command's: name a file",
    },
    Void {
        verbs: &["record"],
        flag: "pcap_bodies",
        when: |words| is(words, "pcap", "none"),
        why: "is void beside --pcap none, which writes no capture",
    },
    Void {
        verbs: &["record"],
        flag: "pcap_bodies",
        when: |words| is(words, "bodies", "none") && !is(words, "pcap_bodies", "none"),
        why: "shows bodies, and --bodies none keeps none",
    },
    Void {
        verbs: &["record"],
        flag: "tunnel",
        when: |words| {
            values(words, "tunnel").any(|host| {
                values(words, "intercept").any(|other| other.eq_ignore_ascii_case(host))
            })
        },
        why: "names a host that --intercept names too",
    },
    Void {
        verbs: &["replay"],
        flag: "warm",
        when: |words| !is_given(words, "command"),
        why: "is about a command's module cache, and there is no command",
    },
    Void {
        verbs: &["replay"],
        flag: "keep_env",
        when: |words| !is_given(words, "command"),
        why: "is about a command's settings, and there is no command",
    },
    Void {
        verbs: &["export"],
        flag: "har_bodies",
        when: |words| !is(words, "format", "har"),
        why: "is for the format har",
    },
    Void {
        verbs: &["export"],
        flag: "pcap_bodies",
        when: |words| !is(words, "format", "pcapng"),
        why: "is for the format pcapng",
    },
    Void {
        verbs: &["export"],
        flag: "filter",
        when: |words| is(words, "format", "goproxy"),
        why: "is not for the format goproxy: a tree holds all that a recording has of a module",
    },
    Void {
        verbs: &["env"],
        flag: "recording",
        when: |words| words.get_flag("unset"),
        why: "is void beside --unset, which takes back what this shell has",
    },
    Void {
        verbs: &[],
        flag: "log_format",
        when: |words| !is_given(words, "log_file") && words.get_count("verbose") == 0,
        why: "is about log lines, and there are none: add -v or --log-file FILE",
    },
    Void {
        verbs: &[],
        flag: "log_file",
        when: |words| is(words, "log_file", "-"),
        why: "takes a file: -v logs to stderr",
    },
];

/// Refuses a command line that has a void flag.
pub(super) fn check(matches: &ArgMatches) -> Result<(), Error> {
    let Some((verb, words)) = matches.subcommand() else {
        return Ok(());
    };
    let is_about = |rule: &&Void| rule.verbs.is_empty() || rule.verbs.contains(&verb);
    let is_void = |rule: &&Void| is_given(words, rule.flag) && (rule.when)(words);
    match VOID.iter().filter(is_about).find(is_void) {
        None => Ok(()),
        Some(rule) => {
            let told = format!("--{} {}", rule.flag.replace('_', "-"), rule.why);
            let mut all = Cli::command();
            all.build();
            let told_by = all
                .find_subcommand_mut(verb)
                .map(|verb| verb.error(ErrorKind::ArgumentConflict, &told));
            Err(told_by.unwrap_or_else(|| Cli::command().error(ErrorKind::ArgumentConflict, told)))
        }
    }
}

/// Whether it stands on the command line; a variable does not count.
fn is_given(words: &ArgMatches, flag: &str) -> bool {
    words.value_source(flag) == Some(ValueSource::CommandLine)
}

fn is(words: &ArgMatches, flag: &str, value: &str) -> bool {
    values(words, flag).any(|one| one == value)
}

fn values<'a>(words: &'a ArgMatches, flag: &str) -> impl Iterator<Item = &'a OsStr> {
    words.get_raw(flag).into_iter().flatten()
}
