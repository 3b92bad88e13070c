//! How a recording is made once more: the flags that it was made with, and where it goes.

use std::ffi::OsString;
use std::path::Path;

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
