//! `modtape env`: what another terminal needs to use a running recorder.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::anyhow;

use super::failure::{Failure, USAGE};
use super::session::running::{self, Running};
use super::session::token;
use crate::child::{Environment, Recorder};
use crate::cli::EnvArgs;
use crate::shell;
use crate::terminal::to_stdout;

/// Forms that the variables can be printed in.
const FORMS: [&str; 10] = [
    "sh",
    "bash",
    "zsh",
    "fish",
    "powershell",
    "cmd",
    "nu",
    "dotenv",
    "github",
    "json",
];

/// Holds what a shell had before, as a JSON object, so that `--unset` can give it back.
const SAVED: &str = "MODTAPE_SAVED";

/// Names the recorder's process in every environment that leads through one.
const MARK: &str = "MODTAPE_PID";

/// Prints variables, all or one.
pub(super) fn run(args: &EnvArgs) -> Result<ExitCode, Failure> {
    let form = match args.what.as_deref() {
        _ if args.json => "json",
        None => "sh",
        Some(what) => what,
    };
    let text = match (FORMS.contains(&form), args.unset) {
        (true, true) => take_back(form)?,
        (true, false) => give(form, environment(args.recording.as_deref())?, &inherited)?,
        (false, true) => {
            let message = anyhow!("--unset takes a shell, not {form}");
            return Err(Failure::new(USAGE, message));
        }
        (false, false) => value(form, &environment(args.recording.as_deref())?)?,
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
}

fn value(name: &str, environment: &Environment) -> Result<String, Failure> {
    let value = environment.set.get(name).ok_or_else(|| {
        let forms = FORMS.join(", ");
        let message = anyhow!("{name} is neither a variable that modtape sets nor one of: {forms}");
        Failure::new(USAGE, message)
    });
    Ok(format!("{}\n", value?))
}

fn environment(recording: Option<&str>) -> anyhow::Result<Environment> {
    through(&running::find(recording)?)
}

/// What leads through a running recorder.
fn through(running: &Running) -> anyhow::Result<Environment> {
    let token = running.token.as_deref().map(token::ask).transpose()?;
    let proxy = match token {
        Some(token) => token::with_token(&running.proxy, &token),
        None => running.proxy.clone(),
    };
    Ok(Environment::through(&Recorder {
        proxy: &proxy,
        bundle: &running.bundle,
        name: &running.name,
        pid: running.pid,
        traceparent: &running.traceparent,
    }))
}

fn inherited(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Lines that set the variables, and keep what `inherited` has of them.
fn give(
    form: &str,
    mut environment: Environment,
    inherited: &dyn Fn(&str) -> Option<String>,
) -> anyhow::Result<String> {
    if form == "json" {
        let json = serde_json::to_string_pretty(&environment.set)?;
        return Ok(json + "\n");
    }
    if takes_back(form) {
        // The second time, what is there is ours: not worth keeping.
        let saved = inherited(SAVED).unwrap_or_else(|| saved(&environment, inherited));
        environment.set(SAVED, &saved);
    }
    let set = environment.set.iter();
    let set = set.map(|(name, value)| Some(set_line(form, name, value)));
    let unset = environment.unset.iter();
    let unset = unset.map(|name| unset_line(form, name));
    Ok(lines(set.chain(unset)))
}

fn saved(environment: &Environment, inherited: &dyn Fn(&str) -> Option<String>) -> String {
    let names = environment.set.keys().chain(&environment.unset);
    let had = names.filter_map(|name| Some((name.clone(), inherited(name)?.into())));
    serde_json::Value::Object(had.collect()).to_string()
}

/// Lines that give back what was there before. Where nobody kept it, in a command that is recorded,
/// what its recorder set and nobody changed since is unset.
fn take_back(form: &str) -> Result<String, Failure> {
    if !takes_back(form) {
        let message = anyhow!("--unset is for shells: {form} cannot unset a variable");
        return Err(Failure::new(USAGE, message));
    }
    let recorder = inherited(MARK)
        .and_then(|pid| running::with_pid(pid.parse().ok()?))
        .and_then(|running| through(&running).ok());
    Ok(back(form, recorder.as_ref(), &inherited))
}

fn back(
    form: &str,
    recorder: Option<&Environment>,
    inherited: &dyn Fn(&str) -> Option<String>,
) -> String {
    let saved = inherited(SAVED).and_then(|saved| serde_json::from_str(&saved).ok());
    let any = Environment::through(&Recorder {
        proxy: "",
        bundle: Path::new(""),
        name: "",
        pid: 0,
        traceparent: "",
    });
    let is_recorders = |name: &str| {
        let set = recorder.and_then(|recorder| recorder.set.get(name));
        name.starts_with("MODTAPE_") || set.is_some_and(|set| inherited(name).as_ref() == Some(set))
    };
    let names = any.set.keys().chain(&any.unset);
    let back = names.filter_map(|name| match &saved {
        Some(saved) => match BTreeMap::<String, String>::get(saved, name) {
            Some(value) => Some(set_line(form, name, value)),
            None => unset_line(form, name),
        },
        None if is_recorders(name) => unset_line(form, name),
        None => None,
    });
    let own = unset_line(form, SAVED);
    lines(back.map(Some).chain([own]))
}

fn takes_back(form: &str) -> bool {
    !matches!(form, "dotenv" | "github" | "json")
}

fn lines(lines: impl Iterator<Item = Option<String>>) -> String {
    lines.flatten().map(|line| line + "\n").collect()
}

fn set_line(form: &str, name: &str, value: &str) -> String {
    match form {
        "fish" => format!("set -gx {name} {}", shell::fish(value)),
        "powershell" => format!("$env:{name} = {}", shell::powershell(value)),
        "cmd" => format!("set \"{name}={value}\""),
        "nu" => format!("$env.{name} = {}", serde_json::json!(value)),
        // Not in double quotes: shells read such files too, and would run what is in there.
        "dotenv" => format!("{name}={}", shell::word(value)),
        "github" => format!("{name}={value}"),
        _ => format!("export {name}={}", shell::quoted(value)),
    }
}

fn unset_line(form: &str, name: &str) -> Option<String> {
    match form {
        "fish" => Some(format!("set -e {name}")),
        "powershell" => Some(format!(
            "Remove-Item Env:{name} -ErrorAction SilentlyContinue"
        )),
        "cmd" => Some(format!("set \"{name}=\"")),
        "nu" => Some(format!("hide-env -i {name}")),
        "dotenv" | "github" => None,
        _ => Some(format!("unset {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_its_own_quotes() {
        assert_eq!(set_line("fish", "X", "it's \\"), r"set -gx X 'it\'s \\'");
        assert_eq!(set_line("powershell", "X", "it's"), "$env:X = 'it''s'");
        assert_eq!(set_line("dotenv", "X", "$(id)"), "X='$(id)'");
        assert_eq!(set_line("github", "X", "y"), "X=y");
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
        let given = give("sh", one(), &had).unwrap();
        let saved = r#"{"ALL_PROXY":"it'\''s"}"#;
        let expected = format!(
            "export MODTAPE_SAVED='{saved}'\nexport NO_PROXY='localhost'\nunset ALL_PROXY\n"
        );
        assert_eq!(given, expected);
        let later = |name: &str| match name {
            SAVED => Some(String::from(r#"{"ALL_PROXY":"it's"}"#)),
            "NO_PROXY" => Some(String::from("localhost")),
            _ => None,
        };
        assert_eq!(give("sh", one(), &later).unwrap(), given);
        let back = back("sh", None, &later);
        assert!(back.contains("export ALL_PROXY='it'\\''s'\n"), "{back}");
        assert!(back.contains("unset NO_PROXY\n"), "{back}");
        assert!(back.ends_with("unset MODTAPE_SAVED\n"), "{back}");
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
            proxy: "http://127.0.0.1:1",
            bundle: Path::new("/run/bundle.pem"),
            name: "ci",
            pid: 7,
            traceparent: "00-x-y-01",
        });
        let unset = |recorder, inherited: &dyn Fn(&str) -> Option<String>| -> Vec<String> {
            let back = back("fish", recorder, inherited);
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
