//! One recording and many commands: in each Go, from any subset of its modules, in any order, in a network where
//! nobody is.

use std::collections::BTreeMap;
use std::fs;

use modtape::gomod::{Kind, Route};

use super::{LIMIT, seal};
use crate::crash::random::Dice;
use crate::record::{record, recording};
use crate::support::*;

/// The releases that are tried, each with each.
const RELEASES: [&str; 3] = ["1.21", "1.24", "1.27"];

/// What is recorded, by release: each leaves something else out.
const RECORDED: [&[&str]; 3] = [&["mod", "tidy"], &["build", "./..."], &["mod", "download"]];

/// What people do with a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Play {
    /// With the requirements in another order, and some of them left out where the command can find them
    /// again.
    Command(&'static [&'static str]),
    /// `mod tidy` with no requirement at all.
    TidyFromNothing,
    /// Some of the versions that the recording has zips of, by name.
    DownloadSome,
}

const PLAYS: [Play; 13] = [
    Play::Command(&["mod", "tidy"]),
    Play::TidyFromNothing,
    Play::Command(&["mod", "download"]),
    Play::DownloadSome,
    Play::Command(&["build", "./..."]),
    Play::Command(&["vet", "./..."]),
    Play::Command(&["test", "./..."]),
    Play::Command(&["list", "-m", "all"]),
    Play::Command(&["list", "-m", "-u", "all"]),
    Play::Command(&["mod", "graph"]),
    Play::Command(&["mod", "why", "-m", "all"]),
    Play::Command(&["mod", "vendor"]),
    Play::Command(&["mod", "verify"]),
];

/// A project, and what a sealed recording has of it.
struct World {
    sandbox: Sandbox,
    go_mod: String,
    go_sum: Vec<u8>,
    /// `MODULE@VERSION` of each zip.
    zips: Vec<String>,
    /// How many tenths of the requirements may be left out: none where others would then have other versions,
    /// which nobody has taken.
    most_left_out: u64,
}

impl World {
    /// Records one command of a release, and seals what was recorded; `None` where something is not here.
    fn sealed(name: &str, number: usize) -> Option<Self> {
        let sandbox = Sandbox::new();
        let content = Content::corpus(name, Sumdb::Heads)?;
        let go = sandbox.go(RELEASES[number])?;
        let project = sandbox.project(name)?;
        let read = |file: &str| fs::read(project.join(file)).expect("a file");
        let (go_mod, go_sum) = (read("go.mod"), read("go.sum"));
        if RECORDED[number] == ["mod", "tidy"] {
            fs::write(project.join("go.sum"), "").expect("our own file");
        }
        let origin = Origin::start(content);
        let words = [&[go.to_str()?][..], RECORDED[number]].concat();
        run(
            record(
                &sandbox,
                &origin,
                &["--cold", "--no-har", "--pcap", "none"],
                &words,
            ),
            LIMIT,
        )
        .expect_success();
        seal(&sandbox, &origin, &[]).expect_success();
        drop(origin);
        let recording = recording(&sandbox, "one");
        let zips = recording.rows().iter().filter_map(|row| {
            let route = Route::of(&row.url, &[]);
            let of = || {
                Some(format!(
                    "{}@{}",
                    route.module.as_ref()?,
                    route.version.as_ref()?
                ))
            };
            (route.kind == Kind::Zip && row.status == Some(200)).then(of)?
        });
        let mut zips: Vec<String> = zips.collect();
        zips.sort();
        zips.dedup();
        Some(Self {
            go_mod: String::from_utf8(go_mod).expect("go.mod is a text"),
            go_sum,
            zips,
            sandbox,
            most_left_out: if name == "hello" { 2 } else { 0 },
        })
    }

    /// Runs a command from the recording, and says what went wrong.
    fn play(&self, play: Play, release: &str, dice: &mut Dice) -> Result<(), String> {
        let project = self.sandbox.join("project");
        let vendor = project.join("vendor");
        let _ = fs::remove_dir_all(vendor);
        let go = self.sandbox.go(release).expect("it was there before");
        let mut modtape = self.sandbox.modtape(["replay", "one", "--strict", "--"]);
        modtape.arg(go);
        let mut flags = "-mod=mod";
        let (mut left_out, mut has_sums) = (0, dice.below(2) == 0);
        match play {
            Play::Command(words) => {
                modtape.args(words);
                left_out = dice.below(1 + self.most_left_out);
                if words == ["mod", "vendor"] {
                    // It goes by what is there.
                    (left_out, has_sums, flags) = (0, true, "");
                }
            }
            Play::TidyFromNothing => {
                modtape.args(["mod", "tidy"]);
                (left_out, has_sums) = (u64::MAX, false);
            }
            Play::DownloadSome => {
                let mut some = self.zips.clone();
                shuffle(&mut some, dice);
                some.truncate(1 + dice.below(some.len() as u64) as usize);
                modtape.args(["mod", "download"]).args(some);
            }
        }
        let go_mod = edited(&self.go_mod, left_out, dice);
        fs::write(project.join("go.mod"), &go_mod).expect("our own file");
        let sums: &[u8] = if has_sums { &self.go_sum } else { b"" };
        fs::write(project.join("go.sum"), sums).expect("our own file");
        modtape.env("GOFLAGS", flags);
        let played = run(modtape, LIMIT);
        let told = &played.stderr;
        match played.status.success() && told.contains(" 0 missing") {
            true => Ok(()),
            false => Err(format!(
                "{play:?} by go {release} with\n{go_mod}\nsums: {has_sums}\n{told}"
            )),
        }
    }
}

/// A go.mod with its requirements in another order, without a tenth of them times `left_out`.
fn edited(go_mod: &str, left_out: u64, dice: &mut Dice) -> String {
    let is_requirement = |line: &&str| line.starts_with('\t');
    let mut requirements: Vec<&str> = go_mod.lines().filter(is_requirement).collect();
    shuffle(&mut requirements, dice);
    requirements.retain(|_| dice.below(10) >= left_out);
    let head = go_mod
        .lines()
        .filter(|line| line.starts_with("module ") || line.starts_with("go "));
    let head: String = head.map(|line| format!("{line}\n")).collect();
    let lines: String = requirements
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    format!("{head}require (\n{lines})\n")
}

fn shuffle<T>(items: &mut [T], dice: &mut Dice) {
    for last in (1..items.len()).rev() {
        let with = dice.below(last as u64 + 1) as usize;
        items.swap(last, with);
    }
}

/// Plays each command `each` times in each release, from what each release recorded; a share of all that if that
/// is enough.
fn plays(name: &str, each: usize, share: usize) {
    let mut dice = Dice::roll(name);
    let mut failed = Vec::new();
    let mut played: BTreeMap<String, usize> = BTreeMap::new();
    let mut turn = dice.below(share as u64) as usize;
    for number in 0..RELEASES.len() {
        let Some(world) = World::sealed(name, number) else {
            return;
        };
        for play in PLAYS {
            for release in RELEASES {
                for _ in 0..each {
                    turn += 1;
                    if !turn.is_multiple_of(share) {
                        continue;
                    }
                    *played.entry(format!("{play:?}")).or_default() += 1;
                    failed.extend(world.play(play, release, &mut dice).err());
                }
            }
        }
    }
    eprintln!("{name}: {played:?}, {} failed", failed.len());
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n---\n")
    );
    // Whatever left this network would have gone through another interface.
    let interfaces = fs::read_to_string("/proc/net/dev").expect("it is there");
    let others = interfaces
        .lines()
        .skip(2)
        .filter(|line| !line.trim().starts_with("lo:"));
    assert_eq!(others.count(), 0, "{interfaces}");
}

#[test]
fn any_command_in_any_go_finds_all_it_needs() {
    alone(
        "seal::matrix::any_command_in_any_go_finds_all_it_needs",
        || {
            plays("hello", count(1, 20), count(3, 1));
        },
    );
}

#[test]
#[ignore = "takes hours"]
fn any_command_finds_all_that_a_large_module_needs() {
    alone(
        "seal::matrix::any_command_finds_all_that_a_large_module_needs",
        || {
            plays("web", count(1, 4), count(9, 1));
        },
    );
}
