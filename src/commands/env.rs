//! `modtape env`: what another terminal needs to use a running recorder.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::runtime;
use super::terminal::to_stdout;
use crate::child::{Environment, Recorder};
use crate::cli::{EnvArgs, Global};

/// Forms that the variables can be printed in.
const FORMS: [&str; 9] = [
    "sh",
    "bash",
    "zsh",
    "fish",
    "powershell",
    "cmd",
    "nu",
    "dotenv",
    "github",
];

/// Prints variables, all or one.
pub(super) fn run(args: &EnvArgs, _: &Global) -> anyhow::Result<ExitCode> {
    let running = runtime::find(args.recording.as_deref())?;
    let environment = Environment::through(&Recorder {
        proxy: &running.proxy,
        bundle: &running.bundle,
        name: &running.name,
        pid: running.pid,
        traceparent: &running.traceparent,
    });
    let text = match args.what.as_deref() {
        _ if args.json => format!("{}\n", serde_json::to_string_pretty(&environment.set)?),
        Some(form) if FORMS.contains(&form) => render(form, &environment, args.unset),
        None => render("sh", &environment, args.unset),
        Some(name) => {
            let value = environment.set.get(name);
            let forms = FORMS.join(", ");
            let value = value.with_context(|| {
                format!("{name} is neither a variable that modtape sets nor one of: {forms}")
            })?;
            if args.unset {
                bail!("--unset takes a shell, not a variable");
            }
            format!("{value}\n")
        }
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
}

fn render(form: &str, environment: &Environment, unset: bool) -> String {
    let gone = BTreeMap::new();
    let set = if unset { &gone } else { &environment.set };
    let names = environment.set.keys().filter(|_| unset);
    let away: Vec<&String> = names.chain(&environment.unset).collect();
    let mut text = String::new();
    for (name, value) in set {
        text.push_str(&set_line(form, name, value));
        text.push('\n');
    }
    for name in away {
        if let Some(line) = unset_line(form, name) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

fn set_line(form: &str, name: &str, value: &str) -> String {
    match form {
        "fish" => {
            let value = value.replace('\\', r"\\").replace('\'', r"\'");
            format!("set -gx {name} '{value}'")
        }
        "powershell" => format!("$env:{name} = '{}'", value.replace('\'', "''")),
        "cmd" => format!("set \"{name}={value}\""),
        "nu" => format!("$env.{name} = {}", serde_json::json!(value)),
        "dotenv" => format!("{name}={}", serde_json::json!(value)),
        "github" => format!("{name}={value}"),
        _ => format!("export {name}='{}'", value.replace('\'', r"'\''")),
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

    const HOSTILE: &str = "a b'c\"d$e`f\\g";

    #[test]
    fn shells_read_back_what_was_meant() {
        let line = set_line("bash", "X", HOSTILE);
        for shell in ["sh", "bash"] {
            let script = format!("{line}\nprintf %s \"$X\"");
            let output = std::process::Command::new(shell)
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), HOSTILE, "{shell}");
        }
    }

    #[test]
    fn each_form_has_its_own_quotes() {
        assert_eq!(set_line("fish", "X", "it's \\"), r"set -gx X 'it\'s \\'");
        assert_eq!(set_line("powershell", "X", "it's"), "$env:X = 'it''s'");
        assert_eq!(set_line("github", "X", "y"), "X=y");
    }

    #[test]
    fn unsetting_takes_back_everything_that_is_set() {
        let mut environment = Environment::default();
        environment.set("A", "1");
        environment.unset.push(String::from("ALL_PROXY"));
        assert_eq!(
            render("sh", &environment, false),
            "export A='1'\nunset ALL_PROXY\n"
        );
        assert_eq!(
            render("sh", &environment, true),
            "unset A\nunset ALL_PROXY\n"
        );
    }
}
