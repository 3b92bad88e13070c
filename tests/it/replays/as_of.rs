//! `replay --as-of`: which versions there were on a day, by the times of the corpus' `.info` files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::LIMIT;
use crate::record::{record, recording};
use crate::support::*;

/// Records a cold shell script in a corpus project without a go.sum; `None` where a part of that is not here.
pub(crate) fn recorded(sandbox: &Sandbox, project: &str, script: &str) -> Option<()> {
    let go = sandbox.go("1.27")?;
    let content = Content::corpus(project, Sumdb::Proxy)?;
    sandbox.project_without_sums(project)?;
    let origin = Origin::start(content.supported_is_404());
    let words = ["/bin/sh", "-ec", script];
    let mut command = record(sandbox, &origin, &["--cold", "--no-har"], &words);
    let folder = go.parent().expect("it lies in a folder");
    command.env("PATH", search_path(&[folder]));
    command.env("GOFLAGS", "-mod=mod");
    run(command, LIMIT).expect_success();
    Some(())
}

/// Replays a go command as of a day, from an empty go.sum.
fn replay(sandbox: &Sandbox, release: &str, project: &str, day: &str, command: &[&str]) -> Output {
    sandbox.project_without_sums(project).expect("it is here");
    let go = sandbox.go(release).expect("it is here");
    let go = go.to_str().expect("paths of tests are text");
    let words = [&["replay", "one", "--as-of", day, "--", go], command].concat();
    let mut replay = sandbox.modtape(words);
    replay.env("GOFLAGS", "-mod=mod");
    run(replay, LIMIT)
}

/// What the corpus knows of the versions of a module: those that its list has, with the times of their `.info`.
fn known(
    corpus: &Path,
    module: &str,
    is_recorded: impl Fn(&str) -> bool,
) -> Vec<(String, OffsetDateTime)> {
    let escaped: String = module
        .chars()
        .flat_map(|c| match c.is_ascii_uppercase() {
            true => vec!['!', c.to_ascii_lowercase()],
            false => vec![c],
        })
        .collect();
    let folder = corpus.join(&escaped).join("@v");
    let list = fs::read_to_string(folder.join("list")).expect("a list");
    let versions = list.lines().filter_map(|version| {
        let path = format!("/{escaped}/@v/{version}.info");
        let info = fs::read(folder.join(format!("{version}.info"))).ok()?;
        let info: Value = serde_json::from_slice(&info).expect("JSON");
        let time = OffsetDateTime::parse(info["Time"].as_str()?, &Rfc3339).expect("a time");
        // go leaves out what its author took back.
        let go_mod = fs::read_to_string(folder.join(format!("{version}.mod"))).unwrap_or_default();
        let is_taken_back = go_mod.lines().any(|line| {
            let line = line.trim().trim_start_matches("retract ");
            line.split_whitespace().next() == Some(version)
        });
        (is_recorded(&path) && !is_taken_back).then(|| (version.to_owned(), time))
    });
    versions.collect()
}

/// The numbers of a release; `None` for anything else.
fn release(version: &str) -> Option<Vec<u64>> {
    let numbers = version.strip_prefix('v')?.split('.');
    numbers.map(|number| number.parse().ok()).collect()
}

#[test]
fn a_build_as_of_a_day_sees_the_versions_that_the_corpus_has_by_then() {
    let sandbox = Sandbox::new();
    let Some(()) = recorded(&sandbox, "web", "go list -m -u all") else {
        return;
    };
    let corpus = corpus_folder("web").expect("it is here").join("proxy");
    let recording = recording(&sandbox, "one");
    let rows = recording
        .rows()
        .iter()
        .filter(|row| row.status == Some(200));
    let asked: BTreeSet<String> = rows.map(|row| row.url.replace("%21", "!")).collect();
    let is_recorded = |path: &str| asked.iter().any(|url| url.ends_with(path));
    let mut updates = BTreeMap::new();
    let days = ["2024-02-01", "2026-10-20", "2025-09-09", "2026-01-15"];
    for day in &days[..count(2, 4)] {
        let end = OffsetDateTime::parse(&format!("{day}T23:59:59.999999999Z"), &Rfc3339);
        let end = end.expect("a day");
        let listed = replay(
            &sandbox,
            "1.27",
            "web",
            day,
            &["list", "-m", "-u", "-e", "-json=Path,Version,Update", "all"],
        );
        let listed = listed.expect_success().stdout;
        let modules = serde_json::Deserializer::from_str(&listed).into_iter::<Value>();
        let mut compared = 0;
        for module in modules.map(|module| module.expect("JSON")) {
            let (Some(path), Some(version)) = (module["Path"].as_str(), module["Version"].as_str())
            else {
                continue;
            };
            // Of commits and pre-releases go judges itself.
            let Some(current) = release(version) else {
                continue;
            };
            let then = known(&corpus, path, is_recorded).into_iter();
            let then = then.filter(|(_, time)| *time <= end);
            let newest = then
                .filter_map(|(version, _)| Some((release(&version)?, version)))
                .max();
            let expected = newest
                .filter(|(numbers, _)| *numbers > current)
                .map(|(_, version)| version);
            let update = module["Update"]["Version"].as_str().map(str::to_owned);
            assert_eq!(update, expected, "{day} {path} {version}");
            compared += 1;
            updates.entry(day).or_insert(0);
            updates
                .entry(day)
                .and_modify(|count| *count += usize::from(update.is_some()));
        }
        assert!(compared >= 100, "{day}: {compared}");
    }
    let counts: Vec<usize> = updates.into_values().collect();
    assert!(
        counts.is_sorted() && counts[0] > 0 && counts[counts.len() - 1] >= counts[0] + 30,
        "{counts:?}"
    );
}

#[test]
fn get_takes_the_latest_of_the_day_and_verifies_it() {
    let sandbox = Sandbox::new();
    let script = "go mod download && go list -m -u all";
    let Some(()) = recorded(&sandbox, "hello", script) else {
        return;
    };
    let uuid = "github.com/google/uuid";
    for release in ["1.21", "1.24", "1.27"] {
        if sandbox.go(release).is_none() {
            return;
        }
        let get = replay(
            &sandbox,
            release,
            "hello",
            "2023-09-01",
            &["get", &format!("{uuid}@latest")],
        );
        // Nobody asked for the prefixes of its path.
        let told = get.stderr;
        assert!(
            told.contains("  missing: list github.com/google\n"),
            "{told}"
        );
        assert!(
            !told.contains("missing: list github.com/google/uuid"),
            "{told}"
        );
        let sums = fs::read_to_string(sandbox.join("project/go.sum")).expect("a go.sum");
        assert!(sums.contains(&format!("{uuid} v1.3.1 h1:")), "{sums}");
        let listed = |day| {
            let listed = replay(&sandbox, release, "hello", day, &["list", "-m", "-u", uuid]);
            listed.expect_success().stdout
        };
        // v1.6.0 is of 2024-01-23T18:54:04Z: a day lasts until its end, an instant is what it says.
        for (day, update) in [
            ("2024-01-22", ""),
            ("2024-01-23", " [v1.6.0]"),
            ("2024-01-23T18:54:03Z", ""),
            ("2024-01-23T19:54:04+01:00", " [v1.6.0]"),
        ] {
            assert_eq!(listed(day), format!("{uuid} v1.3.1{update}\n"), "{day}");
        }
        // Before it was there at all, and by its version nevertheless.
        let module = format!("{uuid}@v1.3.1");
        let exact = replay(
            &sandbox,
            release,
            "hello",
            "2015-01-01",
            &["mod", "download", &module],
        );
        exact.expect_success();
        let none = replay(
            &sandbox,
            release,
            "hello",
            "2015-01-01",
            &["list", "-m", &format!("{uuid}@latest")],
        );
        let told = "latest github.com/google/uuid (as of 2015-01-01: no version of it that was recorded is so old)";
        assert!(
            !none.status.success() && none.stderr.contains(told),
            "{}",
            none.stderr
        );
    }
}

#[test]
fn what_is_no_day_is_a_usage_error() {
    let sandbox = Sandbox::new();
    for (words, told) in [
        (
            &["--as-of", "yesterday"][..],
            "expected a day such as 2026-01-15, or an instant such as 2026-01-15T10:00:00Z",
        ),
        (&["--as-of", "2026-02-30"], "expected a day"),
        (&["--as-of", "2026-01-15T10:00"], "expected a day"),
        (&["--as-of", ""], "expected a day"),
        (
            &["--as-of", "2026-01-15", "--answers", "faithful"],
            "--as-of has no effect with --answers faithful, which lists versions as recorded",
        ),
    ] {
        let words = [&["replay", "one"], words, &["--", "true"]].concat();
        let output = run(sandbox.modtape(words), LIMIT);
        assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
    }
}
