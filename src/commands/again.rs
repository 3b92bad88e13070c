//! How a recording is made once more: the flags that it was made with, and where it goes.

use std::ffi::OsString;
use std::path::Path;

use super::terminal::obeyed;
use crate::cli::{Global, RecordArgs};
use crate::recording::folder;

/// The default of `--recordings`; there is no need to say it again.
pub(super) const RECORDINGS: &str = "recordings";

/// The flags of `record` that decide what is reached, each a word: `--flag` or `--flag=value`.
///
/// Not those that decide what is kept, nor `--timeout`: whoever records again wants all of it.
pub(super) fn options(args: &RecordArgs) -> Vec<OsString> {
    let mut options = Vec::new();
    let mut flag = |name: &str, is_given: bool| options.extend(is_given.then(|| name.into()));
    flag("--cold", args.cold);
    flag("--intercept-all", args.intercept_all);
    let mut value = |name: &str, value: OsString| {
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        options.push(word);
    };
    let (upstream, run) = (&args.upstream, &args.run);
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
    if !run.listen.ip().is_loopback() || run.listen.port() != 0 {
        value("--listen", run.listen.to_string().into());
    }
    if run.token != "none" && std::env::var_os("MODTAPE_TOKEN").is_none() {
        value("--token", run.token.clone().into());
    }
    options
}

/// The flags that [`options`] gives: those with a value end with an equals sign.
const KNOWN: [&str; 10] = [
    "--cold",
    "--intercept-all",
    "--intercept=",
    "--tunnel=",
    "--upstream-proxy=",
    "--upstream-ca=",
    "--resolve=",
    "--connect-to=",
    "--listen=",
    "--token=",
];

/// Those of a recording's options that may stand in a hint: whoever made the recording may have
/// written anything there, and people paste hints into shells.
pub(super) fn trusted(options: &[String]) -> Vec<String> {
    let is_known = |option: &&String| {
        KNOWN.iter().any(|known| match known.ends_with('=') {
            true => option.starts_with(known),
            false => option == known,
        })
    };
    let is_harmless = |option: &&String| !option.chars().any(obeyed);
    let trusted = options.iter().filter(is_known).filter(is_harmless);
    trusted.cloned().collect()
}

/// The words that put a recording into `output`, a name or a path.
pub(super) fn place(output: &Path, global: &Global) -> Vec<String> {
    let output = output.to_string_lossy();
    let mut words = vec![String::from("-o"), output.clone().into_owned()];
    if !folder::is_path(&output) {
        words.extend(recordings(global));
    }
    words
}

/// Whether nobody named a folder of recordings.
pub(super) fn recordings_are_usual(global: &Global) -> bool {
    global.recordings.as_os_str() == RECORDINGS
}

/// The words that say where recordings are, unless that goes without saying.
pub(super) fn recordings(global: &Global) -> Vec<String> {
    let dir = global.recordings.as_os_str();
    let variable = std::env::var_os("MODTAPE_RECORDINGS");
    if recordings_are_usual(global) || variable.as_deref() == Some(dir) {
        return Vec::new();
    }
    vec!["--recordings".into(), dir.to_string_lossy().into_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

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
