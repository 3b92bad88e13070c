//! The module cache: damaged, full, read-only. No request tells.

use std::fs;
use std::path::Path;

use super::run::{Both, Ready, Run};
use super::world::World;
use crate::support::*;

fn tell(program: &str, args: &[&str], path: &Path) {
    let status = self::program(program).args(args).arg(path).status();
    assert!(
        status.expect("it can be run").success(),
        "{program} {args:?}"
    );
}

/// Mounts a file system of its own on the module cache.
fn mount(ready: &Ready<'_>, options: &str) {
    let options = format!("-o{options}");
    let path = ready.sandbox.join("modcache");
    tell("mount", &["-t", "tmpfs", &options, "tmpfs"], &path);
}

/// Without what was mounted the sandboxes can be removed.
fn unmount(both: &Both) {
    for ran in [&both.plain, &both.recorded] {
        tell("umount", &[], &ran.sandbox.join("modcache"));
    }
}

/// `go mod download`, with a go.sum.
fn download(world: &World) -> Option<(Origin, Run<'_>)> {
    let internet = world.internet("hello")?.start();
    let run = Run::go(world, &["mod", "download"]).with_sums();
    Some((internet, run))
}

fn warm(ready: &Ready<'_>) {
    run(ready.go(&["mod", "download", "-modcacherw"]), LIMIT).expect_success();
}

#[test]
fn a_file_system_that_is_full() {
    World::stage(|world| {
        let Some((_internet, run)) = download(world) else {
            return;
        };
        // Which of the zips fails first, and the names of temporary files, differ.
        let run = run.in_other_words();
        let run = run.prepare(|ready| mount(ready, "size=256k"));
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("no space left on device"));
        let names = [
            "is full",
            "modcache",
            "zip github.com/BurntSushi/toml v1.3.2",
        ];
        both.recorded.first("MT307", "problem", &names);
        unmount(&both);
    });
}

#[test]
fn a_file_system_that_is_read_only() {
    World::stage(|world| {
        let Some((_internet, run)) = download(world) else {
            return;
        };
        let run = run.prepare(|ready| mount(ready, "ro"));
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("read-only file system"));
        let names = ["cannot be written (read-only filesystem", "modcache"];
        both.recorded.first("MT307", "problem", &names);
        unmount(&both);
    });
}

/// All that is needed is there: what fails is something else.
#[test]
fn a_read_only_cache_that_was_filled_before() {
    World::stage(|world| {
        let Some((_internet, _)) = download(world) else {
            return;
        };
        let run = Run::shell(world, "go mod download && go build ./broken").with_sums();
        let run = run.prepare(warm).prepare(|ready| {
            let cache = ready.sandbox.join("modcache");
            let path = cache.to_str().expect("paths of tests are text");
            tell("mount", &["--bind", path], &cache);
            tell("mount", &["-o", "remount,bind,ro"], &cache);
            fs::create_dir(ready.sandbox.join("project/broken")).expect("our own folder");
            let text = "package broken\n\nfunc F() int { return \"\" }\n";
            let file = ready.sandbox.join("project/broken/broken.go");
            fs::write(file, text).expect("our own folder");
        });
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(
            both.plain.stderr.contains("cannot use"),
            "{}",
            both.plain.stderr
        );
        both.recorded.nothing();
        unmount(&both);
    });
}

const UUID: &str = "modcache/cache/download/github.com/google/uuid/@v/v1.3.1";

/// Says what to do, and that helps.
fn helps(ready: &Ready<'_>, both: &Both) {
    let here = both.recorded.sandbox.path().to_string_lossy().into_owned();
    let there = ready.sandbox.path().to_string_lossy().into_owned();
    let mut shell = program("sh");
    shell.args(["-c", &both.recorded.to_try().replace(&here, &there)]);
    run(shell, LIMIT).expect_success();
    run(ready.plain(), LIMIT).expect_success();
}

#[test]
fn half_a_zip() {
    World::stage(|world| {
        let Some((_internet, run)) = download(world) else {
            return;
        };
        let run = run.prepare(warm).prepare(|ready| {
            let zip = ready.sandbox.join(format!("{UUID}.zip"));
            let content = fs::read(&zip).expect("it is there");
            fs::write(&zip, &content[..content.len() / 2]).expect("our own folder");
            let tree = ready.sandbox.join("modcache/github.com/google/uuid@v1.3.1");
            fs::remove_dir_all(tree).expect("our own folder");
        });
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("not a valid zip file"));
        let names = [
            "github.com/google/uuid v1.3.1",
            "v1.3.1.zip",
            "not a whole zip file",
        ];
        both.recorded.first("MT306", "problem", &names);
        helps(&run.ready().expect("go is there"), &both);
    });
}

#[test]
fn a_wrong_ziphash() {
    World::stage(|world| {
        let Some((_internet, run)) = download(world) else {
            return;
        };
        let run = run.prepare(warm).prepare(|ready| {
            let file = ready.sandbox.join(format!("{UUID}.ziphash"));
            let other = "h1:o7IhLm0Msx3BaB+n3Ag7L8EVlByGnpq14C4YWiu/gL8=";
            fs::write(file, other).expect("our own folder");
        });
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("checksum mismatch"));
        let names = ["github.com/google/uuid v1.3.1", "ziphash"];
        both.recorded.first("MT306", "problem", &names);
        helps(&run.ready().expect("go is there"), &both);
    });
}

/// The module cache has what the tag was before, and go.sum what it is now.
#[test]
fn a_module_cache_that_is_older_than_go_sum() {
    World::stage(|world| {
        let Some((_internet, run)) = download(world) else {
            return;
        };
        let run = run.prepare(warm).prepare(|ready| {
            let path = ready.sandbox.join("project/go.sum");
            let text = fs::read_to_string(&path).expect("there is one");
            let (old, new) = (
                "KjJaJ9iWZ3jOFZIf1Lqf4laDRCasjl0BCmnEGxkdLb4=",
                "o7IhLm0Msx3BaB+n3Ag7L8EVlByGnpq14C4YWiu/gL8=",
            );
            assert!(text.contains(old));
            fs::write(path, text.replace(old, new)).expect("our own folder");
        });
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("checksum mismatch"));
        let names = [
            "go.sum",
            "zip of github.com/google/uuid v1.3.1",
            "than the module cache has",
        ];
        both.recorded.first("MT301", "problem", &names);
    });
}

/// Somebody's cleaner removed files.
#[test]
fn files_that_are_missing() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let run = Run::go(world, &["list", "-deps", "./..."]).with_sums();
        let run = run.prepare(warm).prepare(|ready| {
            let folder = "modcache/golang.org/x/sync@v0.3.0/errgroup";
            fs::remove_dir_all(ready.sandbox.join(folder)).expect("our own folder");
        });
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        let names = ["golang.org/x/sync v0.3.0", "errgroup/", "missing"];
        both.recorded.first("MT306", "problem", &names);
        helps(&run.ready().expect("go is there"), &both);
    });
}
