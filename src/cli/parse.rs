//! From the words of a command line to a [`Cli`], with errors that say what to write instead.

use std::ffi::OsString;
use std::net::IpAddr;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use ipnet::IpNet;

use super::{Answers, Bodies, Cli, Command, ExportFormat, KeepBodies, OnMiss, Pcap, RunArgs};

impl Cli {
    /// Parses all words, the program's name included.
    pub fn of(words: &[OsString]) -> Result<Self, Error> {
        let parsed = Self::command().try_get_matches_from(words);
        let matches = parsed.map_err(|error| hint(error, words))?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.note_given(&matches);
        cli.words = words.to_vec();
        let (_, own) = matches.subcommand().unwrap_or(("", &matches));
        if let Some(message) = contradiction(&cli, own) {
            return Err(usage_error(&matches, ErrorKind::ArgumentConflict, &message));
        }
        // Without this check, the recorder would wait for other terminals until Ctrl-C.
        if words.last().is_some_and(|last| last == "--") && cli.command.lacks_a_command() {
            let message = "there is no command after `--`; to record without one, leave `--` out";
            let kind = ErrorKind::MissingRequiredArgument;
            return Err(usage_error(&matches, kind, message));
        }
        Ok(cli)
    }

    /// Notes which flags are on the command line rather than in a variable.
    fn note_given(&mut self, matches: &ArgMatches) {
        let Some((_, words)) = matches.subcommand() else {
            return;
        };
        self.global.recordings_is_given = is_given(words, "recordings");
        let run = match &mut self.command {
            Command::Record(args) => &mut args.run,
            Command::Replay(args) => &mut args.run,
            Command::Export(args) => {
                args.output_is_given = is_given(words, "output");
                return;
            }
            _ => return,
        };
        run.token_is_given = is_given(words, "token");
    }

    /// True if these words name a verb that wraps a command, whose exit codes modtape must not use.
    pub(crate) fn wraps(words: &[OsString]) -> bool {
        let verbs = Self::command();
        let own = words.iter().skip(1).take_while(|word| *word != "--");
        let mut named = own.filter_map(|word| {
            let word = word.to_str()?;
            verbs.get_subcommands().find(|verb| verb.get_name() == word)
        });
        named
            .next()
            .is_some_and(|verb| matches!(verb.get_name(), "record" | "replay" | "serve"))
    }
}

impl Command {
    fn lacks_a_command(&self) -> bool {
        match self {
            Self::Record(args) => args.command.is_empty(),
            Self::Replay(args) => args.command.is_empty(),
            Self::Serve(args) => args.command.is_empty(),
            _ => false,
        }
    }
}

/// Adds a tip to errors of clap that are too general.
fn hint(mut error: Error, words: &[OsString]) -> Error {
    let message = error.get(ContextKind::InvalidArg);
    let tip = match (error.kind(), message) {
        (ErrorKind::MissingRequiredArgument, Some(ContextValue::Strings(missing))) => {
            let is_command = missing.iter().any(|argument| argument.contains("<CMD>"));
            let flag = is_command.then(|| for_a_command(words)).flatten();
            flag.map(|flag| format!("{flag} needs a command: add `-- CMD`"))
        }
        (ErrorKind::UnknownArgument, Some(ContextValue::String(argument)))
            if !argument.starts_with('-') =>
        {
            misplaced(argument, words)
        }
        _ => None,
    };
    if let Some(tip) = tip {
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// The flag among these words that needs a command.
fn for_a_command(words: &[OsString]) -> Option<&str> {
    let words = words.iter().filter_map(|word| word.to_str());
    let mut flags =
        words.filter(|word| ["--cold", "--warm", "--keep-env", "--netns"].contains(word));
    flags.next()
}

/// `record go mod tidy` lacks `--`; `status ci` is written `status --recording ci`.
fn misplaced(argument: &str, words: &[OsString]) -> Option<String> {
    let verb = words.iter().skip(1).find_map(|word| word.to_str());
    if let Some(verb @ ("status" | "env" | "ca")) = verb {
        return Some(format!(
            "one recording is chosen by a flag: `modtape {verb} --recording {argument}`"
        ));
    }
    let has_dashes = words.iter().any(|word| word == "--");
    (Cli::wraps(words) && !has_dashes).then(|| {
        let own = words.iter().skip(1).take_while(|word| *word != argument);
        let own: Vec<_> = own.map(|word| word.to_string_lossy()).collect();
        let own = own.join(" ");
        format!("put `--` before the command: `modtape {own} -- {argument} …`")
    })
}

/// Flags that contradict each other by their values. Flags that exclude each other in any case are declared in
/// [`super`].
fn contradiction(cli: &Cli, words: &ArgMatches) -> Option<String> {
    let is_given = |flag| is_given(words, flag);
    let global = &cli.global;
    if is_given("log_format") && global.verbose == 0 && global.log_file.is_none() {
        return Some("--log-format has no effect without -v or --log-file FILE".into());
    }
    let run = match &cli.command {
        Command::Record(args) => Some(&args.run),
        Command::Replay(args) => Some(&args.run),
        _ => None,
    };
    if let Some(message) = run.and_then(|run| contradicting_listeners(run, is_given("token"))) {
        return Some(message);
    }
    if run.is_some_and(|run| run.netns)
        && let Some(flag) = ["listen", "token"].into_iter().find(|flag| is_given(flag))
    {
        return Some(format!(
            "--{flag} has no effect with --netns: only the command connects, inside its namespace"
        ));
    }
    match &cli.command {
        Command::Record(args) => {
            let no_bodies = args.bodies == KeepBodies::None;
            let shows_none = "has no effect with --bodies none, which keeps no body";
            if no_bodies && is_given("har_bodies") && args.har_bodies != Bodies::None {
                return Some(format!("--har-bodies {shows_none}"));
            }
            if no_bodies && is_given("pcap_bodies") && args.pcap_bodies != Bodies::None {
                return Some(format!("--pcap-bodies {shows_none}"));
            }
            if args.pcap == Pcap::None && is_given("pcap_bodies") {
                return Some("--pcap-bodies has no effect with --pcap none".into());
            }
            let given = ["intercept", "intercept_all", "tunnel"].map(|flag| (flag, is_given(flag)));
            let hosts = given.iter().find(|(_, is_given)| *is_given);
            if let (true, Some((flag, _))) = (args.run.mode.is_gateway(), hosts) {
                let flag = flag.replace('_', "-");
                return Some(format!(
                    "--{flag} has no effect with --mode gateway, which intercepts no connection"
                ));
            }
            let is_tunnelled = |host: &&String| {
                let mut tunnelled = args.tunnel.iter();
                tunnelled.any(|other| other.eq_ignore_ascii_case(host))
            };
            let both = args.intercept.iter().find(is_tunnelled)?;
            Some(format!("--intercept and --tunnel both name {both}"))
        }
        Command::Replay(args) => {
            let is_faithful = args.answers == Some(Answers::Faithful);
            if is_faithful && args.as_of.is_some() {
                let told = "--as-of has no effect with --answers faithful, which lists versions as recorded";
                return Some(told.into());
            }
            if args.on_miss == OnMiss::Record && args.as_of.is_some() {
                let told =
                    "--as-of has no effect with --on-miss record: the network answers as of today";
                return Some(told.into());
            }
            let upstream = [
                "upstream_proxy",
                "upstream_ca",
                "resolve",
                "connect_to",
                "upstream_idle_timeout",
            ];
            let mut upstream = upstream
                .into_iter()
                .filter(|_| args.on_miss == OnMiss::Error);
            let flag = upstream.find(|flag| is_given(flag))?;
            let flag = flag.replace('_', "-");
            Some(format!("--{flag} has no effect without --on-miss record"))
        }
        Command::Verify(args) => {
            let dials = ["upstream_proxy", "upstream_ca", "resolve", "connect_to"];
            let dial = dials.into_iter().find(|flag| is_given(flag));
            let dial = dial.filter(|_| args.against.is_none())?;
            let dial = dial.replace('_', "-");
            Some(format!("--{dial} has no effect without --against"))
        }
        Command::Export(args) => {
            let format = args.format;
            let only = |flag, wanted, name| {
                let is_wrong = is_given(flag) && format != wanted;
                let flag = flag.replace('_', "-");
                is_wrong.then(|| format!("--{flag} is for `modtape export {name}`"))
            };
            let filter = is_given("filter") && format == ExportFormat::Goproxy;
            only("har_bodies", ExportFormat::Har, "har")
                .or_else(|| only("pcap_bodies", ExportFormat::Pcapng, "pcapng"))
                .or_else(|| only("no_secrets", ExportFormat::Pcapng, "pcapng"))
                .or_else(|| only("to", ExportFormat::Otlp, "otlp"))
                .or_else(|| only("otlp_phases", ExportFormat::Otlp, "otlp"))
                .or_else(|| {
                    let message = "--filter is not for `modtape export goproxy`, which writes all \
                                that was recorded of each module";
                    filter.then(|| message.into())
                })
        }
        _ => None,
    }
}

/// Flags on listeners and their clients that contradict each other.
fn contradicting_listeners(run: &RunArgs, has_token: bool) -> Option<String> {
    if !run.mode.is_transparent() {
        return match (&run.listen[..], &run.from[..]) {
            ([_, _, ..], _) => {
                Some("--listen can be given twice with --mode transparent only".into())
            }
            (_, [_, ..]) => {
                Some("--from is for --mode transparent; --token names other clients".into())
            }
            _ => None,
        };
    }
    if has_token {
        return Some(
            "--token has no effect with --mode transparent: clients that do not know of modtape cannot \
             send it; --from names their networks"
                .into(),
        );
    }
    let families = run
        .listen
        .iter()
        .filter(|address| address.is_ipv4())
        .count();
    if run.listen.len() > 2 || (run.listen.len() == 2 && families != 1) {
        return Some("--listen takes one IPv4 and one IPv6 address".into());
    }
    let is_local = run.listen.iter().all(|address| address.ip().is_loopback());
    match run.from.first() {
        Some(_) if is_local => {
            Some("--from has no effect without --listen with another address than loopback".into())
        }
        _ => unserved(run),
    }
}

/// Networks of --from whose clients reach no listener that other machines can connect to.
fn unserved(run: &RunArgs) -> Option<String> {
    let is_served = |network: &IpNet| {
        let mut others = run
            .listen
            .iter()
            .filter(|listen| !listen.ip().is_loopback());
        let is_alone = run.listen.len() == 1;
        others.any(|listen| match (network, listen.ip()) {
            (IpNet::V4(_), IpAddr::V4(_)) | (IpNet::V6(_), IpAddr::V6(_)) => true,
            // Where no other listener has IPv4, one at [::] takes it too.
            (IpNet::V4(_), IpAddr::V6(ip)) => is_alone && ip.is_unspecified(),
            (IpNet::V6(_), IpAddr::V4(_)) => false,
        })
    };
    let network = run.from.iter().find(|network| !is_served(network))?;
    let (family, any) = match network {
        IpNet::V4(_) => ("IPv4", "0.0.0.0"),
        IpNet::V6(_) => ("IPv6", "'[::]'"),
    };
    Some(format!(
        "--from {network} has no effect without --listen with an {family} address other than loopback: \
         add --listen {any}"
    ))
}

/// A usage error of the verb that these words name.
fn usage_error(matches: &ArgMatches, kind: ErrorKind, message: &str) -> Error {
    let mut all = Cli::command();
    all.build();
    let verb = matches.subcommand_name();
    let verb = verb.and_then(|verb| all.find_subcommand_mut(verb));
    match verb {
        Some(verb) => verb.error(kind, message),
        None => all.error(kind, message),
    }
}

/// Whether a flag is on the command line; a variable does not count.
fn is_given(words: &ArgMatches, flag: &str) -> bool {
    words.value_source(flag) == Some(ValueSource::CommandLine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn only_record_and_replay_wrap() {
        for (line, wraps) in [
            ("modtape record --cld", true),
            ("modtape -q replay x --strct -- true", true),
            ("modtape ls record --x", false),
            ("modtape recrod -- modtape record", false),
            ("modtape", false),
        ] {
            assert_eq!(Cli::wraps(&words(line)), wraps, "{line}");
        }
    }

    #[test]
    fn a_command_without_its_dashes_is_told_so() {
        let error = Cli::of(&words("modtape record go mod tidy")).unwrap_err();
        assert!(
            error.to_string().contains("`modtape record -- go …`"),
            "{error}"
        );
        let error = Cli::of(&words("modtape record --cld")).unwrap_err();
        assert!(error.to_string().contains("--cold"), "{error}");
    }

    #[test]
    fn dashes_without_a_command_are_a_mistake() {
        for line in ["modtape record --", "modtape replay x --"] {
            let error = Cli::of(&words(line)).unwrap_err();
            assert!(
                error.to_string().contains("no command after `--`"),
                "{error}"
            );
        }
        assert!(Cli::of(&words("modtape record -- echo --")).is_ok());
    }
}
