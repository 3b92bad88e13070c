//! Runs with nothing wrong, of which nothing may be said: no finding above `note`.

use std::time::Duration;

use super::resolver::Name;
use super::run::{Ready, Run};
use super::world::{INTERNET, REFUSING, World};
use crate::support::*;

/// Runs it, and has nothing to say.
fn is_fine(run: &Run<'_>) {
    let Some(both) = run.both() else { return };
    assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
    both.recorded.nothing();
}

/// `go mod download` of `hello` with a release of go.
fn a_download(release: &'static str) -> impl FnOnce(&World) {
    move |world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        is_fine(&Run::go(world, &["mod", "download"]).release(release));
    }
}

#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn a_download_with_go_1_21() {
    World::stage(|world| a_download("1.21")(world));
}

#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn a_download_with_go_1_24() {
    World::stage(|world| a_download("1.24")(world));
}

#[test]
fn a_download_with_go_1_27() {
    World::stage(|world| a_download("1.27")(world));
}

#[test]
fn a_network_that_is_far_away() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let far = Rule::any().delay(Duration::from_millis(80));
        let _internet = internet.rule(far).start();
        is_fine(&Run::go(world, &["mod", "download"]));
    });
}

#[test]
fn a_tidy_that_has_nothing_to_add() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        is_fine(&Run::go(world, &["mod", "tidy"]));
    });
}

#[test]
fn a_parent_proxy_that_works() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let internet = internet.start();
        for proxy in [
            ParentProxy::http(internet.addr()),
            ParentProxy::socks5(internet.addr()),
        ] {
            let proxy = proxy.start();
            is_fine(&Run::go(world, &["mod", "download"]).env("HTTPS_PROXY", &proxy.url()));
        }
    });
}

#[test]
fn zips_that_lie_elsewhere() {
    World::stage(|world| {
        let (Some(internet), Some(content)) = (
            world.internet("hello"),
            Content::corpus("hello", Sumdb::Proxy),
        ) else {
            return;
        };
        let path = "/github.com/google/uuid/@v/v1.3.1.zip";
        let zip = content.find("proxy.golang.org", path).body;
        let moved =
            Rule::when(move |served| served.host == "proxy.golang.org" && served.path == path);
        let moved = moved.redirect("https://storage.googleapis.com/uuid.zip?Signature=abc");
        let there = Rule::host("storage.googleapis.com")
            .status(200)
            .header("content-type", "application/zip")
            .body(zip);
        let _internet = internet.rule(moved).rule(there).start();
        is_fine(&Run::go(world, &["mod", "download"]));
    });
}

#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn a_mirror_with_the_checksum_database() {
    World::stage(|world| {
        let Some(mirror) = world.mirror("hello") else {
            return;
        };
        let _mirror = mirror.start();
        let run = Run::go(world, &["mod", "download"]);
        is_fine(&run.env("GOPROXY", "https://goproxy.cn,direct"));
    });
}

#[test]
fn a_graph_of_many_modules() {
    World::stage(|world| {
        let Some(internet) = world.internet("web") else {
            return;
        };
        let _internet = internet.start();
        let run = Run::go(world, &["mod", "graph"]).project("web");
        is_fine(&run.with_sums());
    });
}

#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn a_large_zip() {
    World::stage(|world| {
        let Some(internet) = world.internet("web") else {
            return;
        };
        let _internet = internet.start();
        let module = "github.com/gabriel-vasile/mimetype@v1.4.2";
        is_fine(&Run::go(world, &["mod", "download", module]));
    });
}

#[test]
fn a_module_that_only_the_second_entry_has() {
    World::stage(|world| {
        let Some(mirror) = world.mirror("hello") else {
            return;
        };
        let lacks = Rule::host("goproxy.corp").status(404).body("not found\n");
        let _mirror = mirror.rule(lacks).start();
        world.name("goproxy.corp", Name::at([INTERNET]));
        let run = Run::go(world, &["mod", "download"]);
        is_fine(&run.env("GOPROXY", "https://goproxy.corp,https://proxy.golang.org"));
    });
}

/// The second entry of GOPROXY cannot be reached, and is never asked.
#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn an_entry_that_nobody_needs() {
    World::stage(|world| {
        let Some(mirror) = world.mirror("hello") else {
            return;
        };
        let _mirror = mirror.start();
        world.name("goproxy.corp", Name::at([REFUSING]));
        let run = Run::go(world, &["mod", "download"]);
        is_fine(&run.env("GOPROXY", "https://proxy.golang.org,https://goproxy.corp"));
    });
}

#[test]
fn a_warm_module_cache() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let warm = |ready: &Ready<'_>| {
            run(ready.go(&["mod", "download"]), LIMIT).expect_success();
        };
        let Some(both) = Run::go(world, &["mod", "download"]).prepare(warm).both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.first("MT901", "note", &["module cache"]);
    });
}

#[test]
fn vendored_modules() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        is_fine(&Run::shell(
            world,
            "go mod tidy && go mod vendor && go list -mod=vendor ./...",
        ));
    });
}

#[test]
#[ignore = "a few seconds more than every run has; in tests/long"]
fn updates_that_are_looked_for() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let run = Run::go(world, &["list", "-m", "-u", "all"]);
        is_fine(&run.env("GOFLAGS", "-mod=mod"));
    });
}

/// What the compiler complains about is no matter of the network's.
#[test]
fn a_program_that_does_not_compile() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let broken = |ready: &Ready<'_>| {
            let text = "package broken\n\nfunc F() int { return \"\" }\n";
            std::fs::create_dir(ready.sandbox.join("project/broken")).expect("our own folder");
            let file = ready.sandbox.join("project/broken/broken.go");
            std::fs::write(file, text).expect("our own folder");
        };
        let run = Run::shell(world, "go mod download && go build ./broken");
        let Some(both) = run.prepare(broken).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1, "{}", both.plain.stderr);
        assert!(both.plain.stderr.contains("cannot use"));
        both.recorded.nothing();
    });
}

/// Nothing is asked for while it runs, and that is its own affair.
#[test]
fn a_program_that_runs_for_long() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        is_fine(&Run::shell(world, "go mod download && sleep 2"));
    });
}

/// The same with the go command itself, which compiles it first.
#[test]
#[ignore = "compiles the standard library; in tests/long"]
fn a_program_that_go_runs_for_long() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let sleeps = |ready: &Ready<'_>| {
            let text = "package main\n\nimport \"time\"\nimport _ \"github.com/google/uuid\"\n\n\
                func main() { time.Sleep(5 * time.Second) }\n";
            std::fs::create_dir(ready.sandbox.join("project/sleeper")).expect("our own folder");
            let file = ready.sandbox.join("project/sleeper/main.go");
            std::fs::write(file, text).expect("our own folder");
        };
        let run = Run::go(world, &["run", "./sleeper"]).env("GOFLAGS", "-mod=mod");
        is_fine(&run.prepare(sleeps));
    });
}

#[test]
#[ignore = "unpacks 80 MB twice; in tests/long"]
fn a_download_of_many_modules() {
    World::stage(|world| {
        let Some(internet) = world.internet("web") else {
            return;
        };
        let _internet = internet.start();
        is_fine(&Run::go(world, &["mod", "download"]).project("web"));
    });
}
