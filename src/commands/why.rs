//! `modtape why`: what requires a module, which of its versions won, and what its requests cost.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::anyhow;

use super::failure::Advise as _;
use super::selection::{most_like, open};
use crate::cli::{Global, WhyArgs};
use crate::diagnose::why::Why;
use crate::terminal::{Look, json, plain, to_stdout, why};

/// How many names are suggested.
const SUGGESTED: usize = 5;

/// Prints the explanation.
pub(super) fn run(args: &WhyArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let recording = open(&args.name, global)?.of_command();
    let (module, version) = match args.module.split_once('@') {
        Some((module, version)) => (module, Some(version)),
        None => (args.module.as_str(), None),
    };
    let told = Why::of(&recording, module, version).or_else(|unknown| {
        let name = recording.name();
        let asked = plain(&args.module);
        let error = Err(anyhow!("{asked} is not on the recording {name}"));
        let near = nearest(&args.module, &unknown.known);
        let has_versions = near.iter().any(|near| near.contains('@'));
        error.help(match (&near[..], has_versions) {
            ([], _) => format!("`modtape ls {name}` lists what is"),
            (near, true) => format!("there is {}", plain(&near.join(", "))),
            (near, false) => format!("did you mean {}?", plain(&near.join(", "))),
        })
    })?;
    let text = match args.json {
        true => json::pretty(&told)?,
        false => why::text(&told, Look::of_stdout(global)),
    };
    to_stdout(|out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
}

/// What could have been meant: paths that end in it or begin with it, else those that contain it, else
/// the most similar one; of a version that is not there those that are.
fn nearest(asked: &str, known: &BTreeSet<String>) -> Vec<String> {
    let asked = asked.trim_matches('/').to_lowercase();
    let module = asked.split('@').next().unwrap_or_default();
    let is_part = |name: &str| {
        let path = name.split('@').next().unwrap_or_default();
        let is_end = path
            .strip_suffix(module)
            .is_some_and(|rest| rest.ends_with('/'));
        let is_begin = path
            .strip_prefix(module)
            .is_some_and(|rest| rest.starts_with('/'));
        // A package's path begins with that of its module.
        let is_above = module
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('/'));
        path == module || is_end || is_begin || is_above
    };
    let contains = |name: &str| !module.is_empty() && name.contains(module);
    let found = |is_meant: &dyn Fn(&str) -> bool| -> Vec<String> {
        let found = known.iter().filter(|name| is_meant(&name.to_lowercase()));
        found.cloned().collect()
    };
    let mut near = found(&is_part);
    if near.is_empty() {
        near = found(&contains);
    }
    if near.is_empty() {
        near = most_like(&asked, known.iter().cloned())
            .into_iter()
            .collect();
    }
    let more = near.len().saturating_sub(SUGGESTED);
    near.truncate(SUGGESTED);
    if more > 0 {
        near.push(format!("and {more} more"));
    }
    near
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_by_its_end_its_beginning_or_its_letters() {
        let known = [
            "example.com/Tool/v2",
            "golang.org/x/net",
            "golang.org/x/text",
            "rsc.io/quote",
        ];
        let known: BTreeSet<String> = known.map(str::to_owned).into();
        let near = |asked: &str| nearest(asked, &known);
        assert_eq!(near("text"), ["golang.org/x/text"]);
        assert_eq!(
            near("golang.org/x"),
            ["golang.org/x/net", "golang.org/x/text"]
        );
        assert_eq!(near("golang.org/x/net/http2@v1.0.0"), ["golang.org/x/net"]);
        assert_eq!(near("example.com/tool/v2"), ["example.com/Tool/v2"]);
        assert_eq!(near("rsc.io/qoute"), ["rsc.io/quote"]);
        assert_eq!(near("QUOT"), ["rsc.io/quote"]);
        assert_eq!(near("Golang"), ["golang.org/x/net", "golang.org/x/text"]);
        assert_eq!(near(""), [""; 0]);
        assert_eq!(near("nothing.like/it"), [""; 0]);
        let versions: BTreeSet<String> = ["a.b/c@v1.0.0", "a.b/c@v1.1.0"].map(str::to_owned).into();
        assert_eq!(nearest("a.b/c@v1.2.0", &versions).len(), 2);
    }
}
