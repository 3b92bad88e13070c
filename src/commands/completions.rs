//! `modtape completions`: a shell's completion script.
//!
//! clap's generator knows verbs, flags and fixed values. The names of recordings are asked for when they
//! are needed: `modtape recordings list`.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::{Cli, CompletionsArgs, GATES};
use crate::diagnose::rules::RULES;
use crate::terminal::to_stdout;

/// The verbs that take a recording, and how many other words come before it.
const VERBS: [(&str, usize); 14] = [
    ("report", 0),
    ("view", 0),
    ("ls", 0),
    ("replay", 0),
    ("seal", 0),
    ("verify", 0),
    ("diff", 0),
    ("diff", 1),
    ("why", 1),
    ("show", 1),
    ("export", 1),
    ("push", 0),
    ("recordings info", 0),
    ("recordings path", 0),
];

/// Prints the script.
pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let script = script(args.shell);
    to_stdout(|out| Ok(out.write_all(script.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> String {
    let mut command = command();
    // The generator panics if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "modtape", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => bash(&script, &command),
        Shell::Zsh => zsh(&script),
        Shell::Fish => fish(script),
        _ => script,
    }
}

/// The command line with the values that only a completion names: what is parsed is any word, so that
/// an error can say more.
fn command() -> Command {
    let mut codes: Vec<&str> = RULES.iter().map(|rule| rule.code).collect();
    codes.sort_unstable();
    let cli = Cli::command();
    let verbs = cli.get_subcommands().filter(|verb| !verb.is_hide_set());
    let about: Vec<String> = verbs.map(|verb| verb.get_name().to_owned()).collect();
    let topics = super::manual::topics().chain(codes.iter().copied());
    let topics = topics.map(str::to_owned);
    let about: Vec<String> = about.into_iter().chain(topics).collect();
    let gates: Vec<&str> = GATES
        .iter()
        .map(|(word, _)| *word)
        .chain(codes.iter().copied())
        .collect();
    cli.mut_subcommand("help", |help| {
        help.mut_arg("about", |arg| {
            arg.value_parser(PossibleValuesParser::new(about))
        })
    })
    .mut_subcommand("report", |report| {
        report.mut_arg("fail_on", |arg| {
            arg.value_parser(PossibleValuesParser::new(gates))
        })
    })
}

/// The flags that a value follows, in all verbs.
fn flags_with_values(command: &Command) -> Vec<String> {
    let below = command.get_subcommands().flat_map(flags_with_values);
    let own = command.get_arguments().filter(|arg| takes_value(arg));
    let own = own.flat_map(|arg| {
        let long = arg.get_long().map(|long| format!("--{long}"));
        let short = arg.get_short().map(|short| format!("-{short}"));
        long.into_iter().chain(short)
    });
    let mut flags: Vec<String> = own.chain(below).collect();
    flags.sort_unstable();
    flags.dedup();
    flags
}

fn takes_value(arg: &Arg) -> bool {
    !arg.is_positional() && arg.get_action().takes_values()
}

/// The generated function, called by one that adds names.
fn bash(script: &str, command: &Command) -> String {
    let generated = script
        .replacen("_modtape() {", "_modtape_words() {", 1)
        // A verb that is not for people.
        .replace(" version fetch\"", " version\"");
    let flags = flags_with_values(command);
    let flags: Vec<&str> = flags
        .iter()
        .map(String::as_str)
        .filter(|flag| *flag != "--recording")
        .collect();
    let verbs = VERBS.map(|(verb, before)| format!("\"{verb} {before}\""));
    let own = include_str!("completions/names.bash")
        .replace("@FLAGS@", &flags.join("|"))
        .replace("@VERBS@", &verbs.join("|"));
    match generated.rfind("\nif [[ \"${BASH_VERSINFO") {
        Some(at) => format!("{}\n{own}{}", &generated[..at], &generated[at..]),
        None => generated,
    }
}

/// The names in place of files, for arguments that are the name of a recording.
fn zsh(script: &str) -> String {
    let names = [
        "name -- The recording",
        "a -- The first recording",
        "b -- The second recording",
        "--recording=[",
    ];
    let is_name = |line: &str| names.iter().any(|name| line.contains(name));
    let mut named = String::with_capacity(script.len() + 1024);
    for line in script.split_inclusive('\n') {
        if line.starts_with("if [ \"$funcstack[1]\"") {
            named.push_str(include_str!("completions/names.zsh"));
        }
        match is_name(line) {
            true => named.push_str(&line.replace(":_default'", ":_modtape_names'")),
            false => named.push_str(line),
        }
    }
    named
}

fn fish(mut script: String) -> String {
    script.push_str(include_str!("completions/names.fish"));
    // For fish, names of a verb are names wherever they stand.
    let mut verbs = VERBS.map(|(verb, _)| verb).to_vec();
    verbs.dedup();
    for verb in verbs {
        let verbs: Vec<&str> = verb.split(' ').collect();
        let is_seen = match verbs[..] {
            [verb, below] => format!(
                "__fish_modtape_using_subcommand {verb}; and __fish_seen_subcommand_from {below}"
            ),
            _ => format!("__fish_modtape_using_subcommand {verb}"),
        };
        script.push_str(&format!(
            "complete -c modtape -n \"{is_seen}\" -a \"(__modtape_names)\"\n"
        ));
    }
    for verb in ["status", "env", "ca"] {
        script.push_str(&format!(
            "complete -c modtape -n \"__fish_modtape_using_subcommand {verb}\" -l recording -x -a \"(__modtape_names)\"\n"
        ));
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_that_takes_a_recording_completes_its_name() {
        let cli = Cli::command();
        for (verb, before) in VERBS {
            let mut words = verb.split(' ');
            let command = words.try_fold(&cli, |command, word| command.find_subcommand(word));
            let command = command.unwrap_or_else(|| panic!("no {verb}"));
            let place = command
                .get_positionals()
                .position(|arg| match (verb, before) {
                    ("diff", 0) => arg.get_id() == "a",
                    ("diff", _) => arg.get_id() == "b",
                    _ => arg.get_id() == "name",
                });
            assert_eq!(place, Some(before), "{verb}");
        }
        let script = script(Shell::Zsh);
        let named = script.matches(":_modtape_names'").count();
        // Those, and `--recording` of status, env, `ca path` and `ca show`.
        assert_eq!(named, VERBS.len() + 4, "{script}");
        assert!(script.contains("\n_modtape_names() {"));
    }

    #[test]
    fn codes_topics_and_verbs_are_values_and_the_hidden_verb_is_none() {
        let script = script(Shell::Bash);
        for value in ["MT106", "findings", "exit-codes", "report"] {
            assert!(script.contains(value), "{value}");
        }
        assert!(script.contains("\n_modtape() {") && script.starts_with("_modtape_words() {"));
        assert!(!script.contains(" fetch\""));
        assert!(!script.contains('@') || !script.contains("@FLAGS@"));
        assert!(flags_with_values(&Cli::command()).contains(&"--fail-on".to_owned()));
        assert!(!flags_with_values(&Cli::command()).contains(&"--json".to_owned()));
    }
}
