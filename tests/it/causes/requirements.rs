//! What go.mod files make of a run: graphs that are read whole, a Go that is too old, modules that were
//! renamed or withdrawn.

use std::time::Duration;

use super::modules::{Module, listed, serving};
use super::resolver::Name;
use super::run::{Ready, Run};
use super::world::{REFUSING, World};
use crate::support::*;

/// How many modules stand behind one another, and how many beside one another.
const DEPTH: usize = 40;
const WIDTH: usize = 28;

/// The go.mod of the project, in place of that of `hello`.
fn main_module(ready: &Ready<'_>, text: &str) {
    let text = format!("module example.com/main\n\n{text}");
    std::fs::write(ready.sandbox.join("project/go.mod"), text).expect("our own folder");
}

fn path(level: usize, place: usize) -> String {
    format!("gen.example/l{level}/m{place}")
}

/// Modules each of which requires three of the next level, with this `go` line or none; those of the
/// first level are required by `gen.example/old`.
fn graph(go: &str) -> Content {
    let require = |level: usize, places: &[usize]| -> String {
        let lines = places
            .iter()
            .map(|place| format!("require {} v1.0.0\n", path(level, place % WIDTH)));
        lines.collect()
    };
    let all: Vec<usize> = (0..WIDTH).collect();
    let first = format!("module gen.example/old\n\n{go}{}", require(0, &all));
    let first = Module {
        path: "gen.example/old",
        version: "v1.0.0",
        go_mod: &first,
    };
    let mut content = first.served(Content::default());
    for level in 0..DEPTH {
        for place in all.iter().copied() {
            let path = path(level, place);
            let next = match level + 1 < DEPTH {
                true => require(level + 1, &[place, place + 1, place + 9]),
                false => String::new(),
            };
            let go_mod = format!("module {path}\n\n{go}{next}");
            let module = Module {
                path: &path,
                version: "v1.0.0",
                go_mod: &go_mod,
            };
            content = module.served(content);
        }
    }
    content
}

/// `go mod graph` of a project that requires `gen.example/old`, with as many workers as a fast machine
/// has.
fn read_graph(world: &World) -> Run<'_> {
    let text = "go 1.21\n\nrequire gen.example/old v1.0.0\n";
    Run::go(world, &["mod", "graph"])
        .env("GOSUMDB", "off")
        .env("GOMAXPROCS", "16")
        .prepare(|ready| main_module(ready, text))
}

#[test]
fn a_graph_that_is_not_pruned() {
    World::stage(|world| {
        let far = Rule::suffix(".mod").delay(Duration::from_millis(70));
        let internet = serving(world, graph("")).rule(far).start();
        let Some(both) = read_graph(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        // Each level waits for the one before, and there are more modules than workers.
        let took = both.plain.took;
        assert!(took > Duration::from_secs(5), "{took:?}");
        assert_eq!(internet.paths().len(), 2 * (DEPTH * WIDTH + 1));
        let names = ["1121 go.mod files", "gen.example/old v1.0.0"];
        both.recorded.first("MT134", "slow", &names);
        drop(internet);
        // With newer go lines nothing is read behind the first one.
        let pruned = serving(world, graph("go 1.21\n")).start();
        let helped = read_graph(world).plain().expect("go is there");
        assert_eq!(helped.code, 0, "{}", helped.stderr);
        assert_eq!(pruned.paths(), ["/gen.example/old/@v/v1.0.0.mod"]);
    });
}

/// The same graph from near.
#[test]
fn a_graph_that_is_not_pruned_and_costs_little() {
    World::stage(|world| {
        let _internet = serving(world, graph("go 1.16\n")).start();
        let Some(both) = read_graph(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.nothing();
        assert!(both.recorded.codes().contains(&"MT134".to_owned()));
    });
}

/// A go line that is newer than the Go that runs, which may not switch: nothing is asked for.
#[test]
fn a_go_line_that_is_too_new() {
    World::stage(|world| {
        let internet = serving(world, Content::default()).start();
        let run = Run::go(world, &["mod", "download"]);
        let run = run.prepare(|ready| main_module(ready, "go 1.99.0\n"));
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("requires go >= 1.99.0"));
        assert_eq!(internet.connections(), 0);
        let names = ["your go.mod", "1.99.0", "GOTOOLCHAIN=local"];
        both.recorded.first("MT118", "problem", &names);
    });
}

/// The same of a dependency.
#[test]
fn a_dependency_that_needs_a_newer_go() {
    World::stage(|world| {
        let newer = Module {
            path: "gen.example/newer",
            version: "v1.0.0",
            go_mod: "module gen.example/newer\n\ngo 1.99.0\n",
        };
        let _internet = serving(world, newer.served(Content::default())).start();
        let text = "go 1.21\n\nrequire gen.example/newer v1.0.0\n";
        let run = Run::go(world, &["mod", "graph"]).env("GOSUMDB", "off");
        let Some(both) = run.prepare(|ready| main_module(ready, text)).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("requires go >= 1.99.0"));
        let names = ["gen.example/newer v1.0.0", "1.99.0", "GOTOOLCHAIN=local"];
        both.recorded.first("MT118", "problem", &names);
    });
}

/// Go may switch, and no proxy has the toolchain.
#[test]
fn a_toolchain_that_nobody_has() {
    World::stage(|world| {
        let internet = serving(world, Content::default()).start();
        let run = Run::go(world, &["mod", "download"])
            .env("GOTOOLCHAIN", "auto")
            .env("GOPROXY", "https://proxy.golang.org")
            .prepare(|ready| main_module(ready, "go 1.99.0\n"));
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(
            both.plain.stderr.contains("toolchain not available"),
            "{}",
            both.plain.stderr
        );
        assert!(!internet.paths().is_empty());
        let names = ["go1.99.0", "your go.mod", "proxy.golang.org"];
        both.recorded.first("MT118", "problem", &names);
    });
}

/// Go may switch, and cannot reach who has the toolchain.
#[test]
fn a_toolchain_that_cannot_be_reached() {
    World::stage(|world| {
        world.name("proxy.golang.org", Name::at([REFUSING]));
        let run = Run::go(world, &["mod", "download"])
            .env("GOTOOLCHAIN", "auto")
            .env("GOPROXY", "https://proxy.golang.org")
            .in_other_words()
            .prepare(|ready| main_module(ready, "go 1.99.0\n"));
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(
            both.plain.stderr.contains("connection refused"),
            "{}",
            both.plain.stderr
        );
        let names = ["proxy.golang.org"];
        both.recorded.first("MT106", "problem", &names);
    });
}

#[test]
fn a_module_that_was_renamed() {
    World::stage(|world| {
        let renamed = Module {
            path: "gen.example/old",
            version: "v1.0.0",
            go_mod: "module gen.example/new\n\ngo 1.21\n",
        };
        let _internet = serving(world, renamed.served(Content::default())).start();
        let text = "go 1.21\n\nrequire gen.example/old v1.0.0\n";
        let run = Run::go(world, &["mod", "graph"]).env("GOSUMDB", "off");
        let Some(both) = run.prepare(|ready| main_module(ready, text)).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(
            both.plain
                .stderr
                .contains("module declares its path as: gen.example/new")
        );
        let names = [
            "gen.example/old v1.0.0",
            "gen.example/new",
            "example.com/main",
        ];
        both.recorded.first("MT305", "problem", &names);
    });
}

/// A version that its authors have withdrawn, of a module that they have given up: `go get` says so, and
/// nothing is wrong with the run.
#[test]
fn a_version_that_was_retracted() {
    World::stage(|world| {
        let old = Module {
            path: "gen.example/lib",
            version: "v1.0.0",
            go_mod: "module gen.example/lib\n\ngo 1.21\n",
        };
        let new = Module {
            version: "v1.1.0",
            go_mod: "// Deprecated: use gen.example/other\nmodule gen.example/lib\n\ngo 1.21\n\n\
                retract v1.0.0 // it races\n",
            ..old
        };
        let source = [("lib.go".to_owned(), b"package lib\n".to_vec())];
        let content = old.zipped(Content::default(), &source);
        let content = listed(
            new.zipped(content, &source),
            "gen.example/lib",
            "v1.0.0\nv1.1.0\n",
        );
        let _internet = serving(world, content).start();
        let run = Run::go(world, &["get", "gen.example/lib@v1.0.0"]);
        let run = run
            .env("GOSUMDB", "off")
            .env("GOPROXY", "https://proxy.golang.org");
        let run = run.prepare(|ready| main_module(ready, "go 1.21\n"));
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        for says in [
            "retracted by module author: it races",
            "deprecated: use gen.example/other",
        ] {
            assert!(both.plain.stderr.contains(says), "{}", both.plain.stderr);
        }
        both.recorded.nothing();
        both.recorded
            .first("MT303", "note", &["gen.example/lib", "gen.example/other"]);
        let codes = both.recorded.codes();
        assert_eq!(
            codes.iter().filter(|code| *code == "MT303").count(),
            2,
            "{codes:?}"
        );
    });
}
