//! `modtape env`: what another terminal needs to use a running recorder.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};

use self::rules::{Rules, Selection, TOOLS, Tool};
use super::failure::{Advise as _, Failure, USAGE};
use super::session::running::{self, Running};
use super::session::token;
use crate::child::{Environment, Recorder, WayIn, past_proxies};
use crate::cli::EnvArgs;
use crate::exchange::Target;
use crate::shell;
use crate::terminal::to_stdout;

/// How variables are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// For a POSIX shell.
    Posix,
    Fish,
    PowerShell,
    /// For Windows' cmd.exe.
    Cmd,
    /// For Nushell.
    Nu,
    /// A `.env` file.
    Dotenv,
    /// `$GITHUB_ENV` of GitHub Actions.
    Github,
}

/// The forms by name.
const FORMS: [(&str, Form); 9] = [
    ("sh", Form::Posix),
    ("bash", Form::Posix),
    ("zsh", Form::Posix),
    ("fish", Form::Fish),
    ("powershell", Form::PowerShell),
    ("cmd", Form::Cmd),
    ("nu", Form::Nu),
    ("dotenv", Form::Dotenv),
    ("github", Form::Github),
];

/// Saves what a shell had before, as a JSON object, so that `--unset` can restore it.
const SAVED: &str = "MODTAPE_SAVED";

/// The recorder's process, in every environment that leads through a recorder.
const MARK: &str = "MODTAPE_PID";

/// Prints variables, all or one.
pub(super) fn run(args: &EnvArgs) -> Result<ExitCode, Failure> {
    if args.mode.is_some() {
        let text = firewall(args)?;
        to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = args.what.as_deref().unwrap_or("sh");
    let form = FORMS.iter().find(|(known, _)| *known == name);
    let form = form.map(|(_, form)| *form);
    let environment = || {
        let running = running::find(
            args.recording.as_deref(),
            "modtape record",
            Running::has_clients,
        )?;
        if !running.has_clients() {
            let name = &running.name;
            let message = anyhow!("the recorder of {name} has no clients but its own command");
            return Err(message).help(
                "`modtape record` without --netns and without a command is for other terminals",
            );
        }
        through(&running, args.host.as_deref())
    };
    let text = match form {
        _ if args.json => serde_json::to_string_pretty(&environment()?.set)
            .map(|json| json + "\n")
            .map_err(anyhow::Error::new)?,
        Some(form) if args.unset => unset_commands(form, name)?,
        Some(form) => set_commands(form, environment()?, &inherited),
        None if args.unset => {
            let message = anyhow!("--unset takes a shell, not {name}");
            return Err(Failure::new(USAGE, message));
        }
        None => value(name, &environment()?)?,
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
}

/// The rules of the firewall that redirect connections to a recorder, or those that undo them.
fn firewall(args: &EnvArgs) -> Result<String, Failure> {
    let usage = |error| Failure::new(USAGE, error);
    let tool = args.what.as_deref().map(|what| {
        let tool = TOOLS.iter().find(|(name, _)| *name == what);
        let names = TOOLS.map(|(name, _)| name).join(", ");
        let message = || anyhow!("rules are printed for one of: {names}; not for {what}");
        tool.map(|(_, tool)| *tool).ok_or_else(message)
    });
    let tool = tool.transpose().map_err(usage)?;
    let selection = Selection {
        uid: args.uid,
        cgroup: args.cgroup.clone(),
        ports: args.port.clone(),
    };
    if args.unset {
        // Also where the recorder was killed.
        return Ok(rules::undo(tool.unwrap_or(Tool::Nft), &selection));
    }
    let start = "modtape record --mode transparent";
    let is_redirected = |running: &Running| running.redirected.is_some();
    let running = running::find(args.recording.as_deref(), start, is_redirected)?;
    let Some(redirected) = &running.redirected else {
        let message = anyhow!("the recorder of {} is not redirected to", running.name);
        return Err::<_, _>(message)
            .help(format!("start one with `{start}`"))
            .map_err(Failure::from);
    };
    let rules = Rules::new(redirected, &selection).and_then(|rules| match tool {
        Some(tool) => rules.script(tool),
        None => Ok(rules.overview()),
    });
    rules.map_err(|error| usage(anyhow!(error)))
}

fn value(name: &str, environment: &Environment) -> Result<String, Failure> {
    let value = environment.set.get(name).ok_or_else(|| {
        let forms = FORMS.map(|(form, _)| form).join(", ");
        let message = anyhow!("{name} is neither a variable that modtape sets nor one of: {forms}");
        Failure::new(USAGE, message)
    });
    Ok(format!("{}\n", value?))
}

/// The variables that lead a command through a running recorder, which it knows by the name `host`.
fn through(running: &Running, host: Option<&str>) -> anyhow::Result<Environment> {
    let token = running.token.as_deref().map(token::ask).transpose()?;
    let address = match host {
        Some(host) => named(&running.proxy, host)?,
        None => running.proxy.clone(),
    };
    let (url, goproxy, gosumdb, no_proxy);
    let way = match (&running.goproxy, &running.bundle) {
        (Some(list), _) => {
            let shown = token::on_path(&address, token.as_deref());
            let [from, to] = [&running.proxy, &shown].map(|base| format!("{base}/p"));
            goproxy = list.replace(&from, &to);
            let known = running.gosumdb.as_deref();
            gosumdb = known.map(|value| value.replace(&from, &to));
            let mut own = ["NO_PROXY", "no_proxy"].into_iter().filter_map(inherited);
            let own = own.find(|own| !own.is_empty());
            let target = Target::of_url(&address);
            no_proxy = target.and_then(|to| past_proxies(&own.unwrap_or_default(), to.host()));
            WayIn::Gateway {
                goproxy: &goproxy,
                gosumdb: gosumdb.as_deref(),
                no_proxy: no_proxy.as_deref(),
            }
        }
        (None, Some(bundle)) if running.redirected.is_some() || running.proxy.is_empty() => {
            WayIn::Redirected { bundle }
        }
        (None, bundle) => {
            url = token.map_or_else(|| address.clone(), |it| token::with_token(&address, &it));
            let bundle = bundle.as_deref().unwrap_or_else(|| Path::new(""));
            WayIn::Proxy { url: &url, bundle }
        }
    };
    Ok(environment(&Recorder {
        way,
        name: &running.name,
        pid: running.pid,
        traceparent: &running.traceparent,
    }))
}

/// The variables that lead through a recorder. What a shell has as TRACESTATE belongs to another trace than the
/// recorder's TRACEPARENT (W3C Trace Context, section 3.3).
fn environment(recorder: &Recorder<'_>) -> Environment {
    let mut environment = Environment::through(recorder);
    environment.unset.push(String::from("TRACESTATE"));
    environment
}

/// The recorder's URL with another host, and its own port unless that has one.
fn named(url: &str, host: &str) -> anyhow::Result<String> {
    let own = Target::of_url(url).context("the recorder has no address")?;
    let named = Target::with_default_port(host, own.port());
    let named = named.with_context(|| format!("--host {host}"))?;
    Ok(format!("http://{named}"))
}

fn inherited(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Lines that set the variables. Those for a shell also save what `inherited` has of them.
fn set_commands(
    form: Form,
    mut environment: Environment,
    inherited: &dyn Fn(&str) -> Option<String>,
) -> String {
    if form.is_shell() {
        let saved = saved(&environment, inherited);
        environment.set(SAVED, &saved);
    }
    let set = environment.set.iter();
    let set = set.map(|(name, value)| Some(form.set(name, value)));
    let unset = environment.unset.iter();
    let unset = unset.map(|name| form.unset(name));
    lines(set.chain(unset))
}

/// What a shell had before, by the name of each variable that was changed: null if it was not set.
type Saved = BTreeMap<String, Option<String>>;

/// What is saved already, if that can be read.
fn saved_before(inherited: &dyn Fn(&str) -> Option<String>) -> Option<Saved> {
    serde_json::from_str(&inherited(SAVED)?).ok()
}

fn saved(environment: &Environment, inherited: &dyn Fn(&str) -> Option<String>) -> String {
    // The second time, the variables are a recorder's: what was saved first is the user's.
    let mut all = saved_before(inherited).unwrap_or_default();
    for name in environment.set.keys().chain(&environment.unset) {
        all.entry(name.clone()).or_insert_with(|| inherited(name));
    }
    serde_json::json!(all).to_string()
}

/// Lines that restore the variables from before `modtape env`. If nothing was saved, as in a
/// wrapped command, they unset the variables that still have the values of its recorder.
fn unset_commands(form: Form, name: &str) -> Result<String, Failure> {
    if !form.is_shell() {
        let message = anyhow!("--unset is for shells: {name} cannot unset a variable");
        return Err(Failure::new(USAGE, message));
    }
    let recorder = inherited(MARK)
        .and_then(|pid| running::with_pid(pid.parse().ok()?))
        .and_then(|running| through(&running, None).ok());
    Ok(restored(form, recorder.as_ref(), &inherited))
}

fn restored(
    form: Form,
    recorder: Option<&Environment>,
    inherited: &dyn Fn(&str) -> Option<String>,
) -> String {
    let ways = [
        WayIn::Proxy {
            url: "",
            bundle: Path::new(""),
        },
        WayIn::Gateway {
            goproxy: "",
            gosumdb: Some(""),
            no_proxy: Some(""),
        },
    ];
    let any = ways.map(|way| {
        environment(&Recorder {
            way,
            name: "",
            pid: 0,
            traceparent: "",
        })
    });
    let is_recorders = |name: &str| {
        let set = recorder.and_then(|recorder| recorder.set.get(name));
        name.starts_with("MODTAPE_") || set.is_some_and(|set| inherited(name).as_ref() == Some(set))
    };
    let names = any.iter().flat_map(|any| any.set.keys().chain(&any.unset));
    let names: BTreeSet<&String> = names.collect();
    let own = form.unset(SAVED);
    if let Some(saved) = saved_before(inherited) {
        // The variable may hold anything: a name is not quoted.
        let known = saved.iter().filter(|(name, _)| names.contains(name));
        let restored = known.map(|(name, value)| match value {
            Some(value) => Some(form.set(name, value)),
            None => form.unset(name),
        });
        return lines(restored.chain([own]));
    }
    let restored = names.into_iter().filter(|name| is_recorders(name));
    let restored = restored.filter_map(|name| form.unset(name));
    lines(restored.map(Some).chain([own]))
}

fn lines(lines: impl Iterator<Item = Option<String>>) -> String {
    lines.flatten().map(|line| line + "\n").collect()
}

impl Form {
    /// Whether a shell evaluates it; the others are files.
    fn is_shell(self) -> bool {
        !matches!(self, Self::Dotenv | Self::Github)
    }

    /// The line that sets a variable.
    fn set(self, name: &str, value: &str) -> String {
        match self {
            Self::Posix => format!("export {name}={}", shell::quoted(value)),
            Self::Fish => format!("set -gx {name} {}", shell::fish(value)),
            Self::PowerShell => format!("$env:{name} = {}", shell::powershell(value)),
            Self::Cmd => format!("set \"{name}={value}\""),
            Self::Nu => format!("$env.{name} = {}", serde_json::json!(value)),
            // Not in double quotes: shells read such files too, and would run what is in there.
            Self::Dotenv => format!("{name}={}", shell::word(value)),
            Self::Github => format!("{name}={value}"),
        }
    }

    /// The line that unsets a variable, if the form has one.
    fn unset(self, name: &str) -> Option<String> {
        Some(match self {
            Self::Posix => format!("unset {name}"),
            Self::Fish => format!("set -e {name}"),
            Self::PowerShell => format!("Remove-Item Env:{name} -ErrorAction SilentlyContinue"),
            Self::Cmd => format!("set \"{name}=\""),
            Self::Nu => format!("hide-env -i {name}"),
            Self::Dotenv | Self::Github => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_its_own_quotes() {
        assert_eq!(Form::Fish.set("X", "it's \\"), r"set -gx X 'it\'s \\'");
        assert_eq!(Form::PowerShell.set("X", "it's"), "$env:X = 'it''s'");
        assert_eq!(Form::Dotenv.set("X", "$(id)"), "X='$(id)'");
        assert_eq!(Form::Github.set("X", "y"), "X=y");
    }

    fn one() -> Environment {
        let mut environment = Environment::default();
        environment.set("NO_PROXY", "localhost");
        environment.unset.push(String::from("ALL_PROXY"));
        environment
    }

    #[test]
    fn what_was_there_before_is_kept_once_and_given_back() {
        let had = |name: &str| (name == "ALL_PROXY").then(|| String::from("it's"));
        let given = set_commands(Form::Posix, one(), &had);
        let saved = r#"{"ALL_PROXY":"it'\''s","NO_PROXY":null}"#;
        let expected = format!(
            "export MODTAPE_SAVED='{saved}'\nexport NO_PROXY='localhost'\nunset ALL_PROXY\n"
        );
        assert_eq!(given, expected);
        let later = |name: &str| match name {
            SAVED => Some(String::from(r#"{"ALL_PROXY":"it's","NO_PROXY":null}"#)),
            "NO_PROXY" => Some(String::from("localhost")),
            _ => None,
        };
        assert_eq!(set_commands(Form::Posix, one(), &later), given);
        let back = restored(Form::Posix, None, &later);
        assert!(back.contains("export ALL_PROXY='it'\\''s'\n"), "{back}");
        assert!(back.contains("unset NO_PROXY\n"), "{back}");
        assert!(back.ends_with("unset MODTAPE_SAVED\n"), "{back}");
    }

    #[test]
    fn the_state_of_another_trace_is_unset_and_given_back() {
        let recorder = environment(&Recorder {
            way: WayIn::Redirected {
                bundle: Path::new("/run/bundle.pem"),
            },
            name: "ci",
            pid: 7,
            traceparent: "00-x-y-01",
        });
        let had = |name: &str| (name == "TRACESTATE").then(|| String::from("a=1"));
        let given = set_commands(Form::Posix, recorder, &had);
        assert!(given.contains("unset TRACESTATE\n"), "{given}");
        let saved = |name: &str| {
            let text = r#"{"TRACEPARENT":null,"TRACESTATE":"a=1"}"#;
            (name == SAVED).then(|| String::from(text))
        };
        let back = restored(Form::Posix, None, &saved);
        assert!(back.contains("export TRACESTATE='a=1'\n"), "{back}");
    }

    #[test]
    fn without_anything_kept_only_what_is_a_recorders_is_unset() {
        let users = |name: &str| match name {
            "HTTPS_PROXY" | "https_proxy" | "HTTP_PROXY" | "http_proxy" => Some("http://corp:1"),
            "NO_PROXY" => Some("localhost,127.0.0.1,::1"),
            "SSL_CERT_FILE" => Some("/etc/corp.pem"),
            "TRACEPARENT" => Some("00-x-y-01"),
            _ => None,
        };
        let own = ["MODTAPE_NAME", "MODTAPE_PID", "MODTAPE_SAVED"];
        let recorder = Environment::through(&Recorder {
            way: WayIn::Proxy {
                url: "http://127.0.0.1:1",
                bundle: Path::new("/run/bundle.pem"),
            },
            name: "ci",
            pid: 7,
            traceparent: "00-x-y-01",
        });
        let unset = |recorder, inherited: &dyn Fn(&str) -> Option<String>| -> Vec<String> {
            let back = restored(Form::Fish, recorder, inherited);
            let names = back.lines().map(|line| line.strip_prefix("set -e "));
            names.map(|name| name.unwrap().to_owned()).collect()
        };
        assert_eq!(unset(None, &|name| users(name).map(str::to_owned)), own);
        // In a command that is recorded: what was changed since is the user's again.
        let recorded = |name: &str| match name {
            "MODTAPE_PID" => Some("7"),
            "http_proxy" => Some("http://mine:1"),
            "HTTPS_PROXY" | "https_proxy" | "HTTP_PROXY" => Some("http://127.0.0.1:1"),
            "GIT_SSL_CAINFO" | "CURL_CA_BUNDLE" => Some("/run/bundle.pem"),
            "ALL_PROXY" => Some("http://mine:1"),
            name => users(name),
        };
        assert_eq!(unset(None, &|name| recorded(name).map(str::to_owned)), own);
        let expected = [
            "CURL_CA_BUNDLE",
            "GIT_SSL_CAINFO",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "MODTAPE_NAME",
            "MODTAPE_PID",
            "NO_PROXY",
            "TRACEPARENT",
            "https_proxy",
            "MODTAPE_SAVED",
        ];
        assert_eq!(
            unset(Some(&recorder), &|name| recorded(name).map(str::to_owned)),
            expected
        );
    }
}
