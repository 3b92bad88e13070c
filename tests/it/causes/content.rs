//! Contents that are not what somebody expects: go.sum, the checksum database, other servers, the go
//! command's reader of zips.

use std::fs;
use std::path::PathBuf;

use rawzip::CompressionMethod;

use super::resolver::Name;
use super::run::{Ready, Run};
use super::world::{ELSEWHERE, World};
use crate::support::*;

const UUID: &str = "github.com/google/uuid";
const UUID_ZIP: &str = "/github.com/google/uuid/@v/v1.3.1.zip";

/// The zip that a tag has after it was moved.
fn moved() -> Vec<u8> {
    let files = [
        ("go.mod", "module github.com/google/uuid\n"),
        (
            "uuid.go",
            "package uuid\n\nfunc Parse(string) (int, error) { return 0, nil }\n",
        ),
    ];
    let files = files.map(|(name, text)| (format!("{UUID}@v1.3.1/{name}"), text));
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (&**name, text.as_bytes()))
        .collect();
    zip(&files, CompressionMethod::DEFLATE)
}

/// The default names, where the zip of uuid is this.
fn serving(world: &World, zip: impl Into<bytes::Bytes>) -> Option<Origin> {
    let rule = Rule::suffix(UUID_ZIP).status(200).body(zip);
    let rule = rule.header("content-type", "application/zip");
    Some(world.internet("hello")?.rule(rule).start())
}

fn download(world: &World) -> Run<'_> {
    Run::go(world, &["mod", "download"]).env("GOPROXY", "https://proxy.golang.org")
}

fn go_sum(ready: &Ready<'_>) -> PathBuf {
    ready.sandbox.join("project/go.sum")
}

/// Changes the lines of go.sum.
fn change(ready: &Ready<'_>, change: impl Fn(&str) -> Option<String>) {
    let path = go_sum(ready);
    let text = fs::read_to_string(&path).expect("there is one");
    let lines = text.lines().filter_map(change);
    let text: String = lines.map(|line| line + "\n").collect();
    fs::write(path, text).expect("our own folder");
}

/// go.sum has the hash of what the tag was before, so go does not ask the checksum database.
#[test]
fn a_tag_that_was_moved() {
    World::stage(|world| {
        let Some(_internet) = serving(world, moved()) else {
            return;
        };
        let Some(both) = download(world).with_sums().both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("checksum mismatch"));
        let names = [
            "go.sum",
            "zip of github.com/google/uuid v1.3.1",
            "proxy.golang.org",
            "h1:KjJaJ9iWZ3jOFZIf1Lqf4laDRCasjl0BCmnEGxkdLb4=",
        ];
        both.recorded.first("MT301", "problem", &names);
        // What it says to try asks the database, which does not know the new content.
        let again = download(world);
        let ready = again.ready().expect("it was there before");
        let mut shell = ready.sandbox.command("sh");
        shell.args(["-c", &both.recorded.to_try()]);
        let go = ready.plain();
        shell.envs(
            go.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let tried = run(shell, LIMIT);
        assert!(tried.stdout.contains("checksum mismatch"), "{tried:?}");
        assert!(tried.stdout.contains("SECURITY ERROR"), "{tried:?}");
    });
}

/// A line of go.sum is wrong, and the checksum database was asked, since another line is missing.
#[test]
fn a_go_sum_that_was_merged_badly() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let merge = |ready: &Ready<'_>| {
            change(ready, |line| {
                match line.strip_prefix("github.com/google/uuid v1.3.1") {
                    Some(rest) if rest.starts_with("/go.mod") => None,
                    Some(_) => Some(format!(
                        "{UUID} v1.3.1 h1:o7IhLm0Msx3BaB+n3Ag7L8EVlByGnpq14C4YWiu/gL8="
                    )),
                    None => Some(line.to_owned()),
                }
            });
        };
        let run = download(world).with_sums().prepare(merge);
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("checksum mismatch"));
        let names = [
            "go.sum has a wrong hash of the zip of github.com/google/uuid v1.3.1",
            "checksum database",
            "go mod tidy",
        ];
        both.recorded.first("MT301", "problem", &names);
        // Without the line, go asks, and all is well.
        let without = |ready: &Ready<'_>| {
            merge(ready);
            change(ready, |line| {
                (!line.starts_with(UUID)).then(|| line.to_owned())
            });
        };
        let tidy = Run::go(world, &["mod", "tidy"])
            .with_sums()
            .prepare(without);
        assert_eq!(tidy.plain().expect("go is there").code, 0);
    });
}

/// The marks of a merge are still in it.
#[test]
fn a_go_sum_with_a_merge_conflict() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let merge = |ready: &Ready<'_>| {
            change(ready, |line| {
                match line.starts_with("golang.org/x/sync v0.3.0 ") {
                    true => Some(format!(
                        "<<<<<<< HEAD\n{line}\n=======\n{line}\n>>>>>>> topic"
                    )),
                    false => Some(line.to_owned()),
                }
            });
        };
        let run = download(world).with_sums().prepare(merge);
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("malformed go.sum"));
        both.recorded
            .first("MT301", "problem", &["go.sum", "merge conflict"]);
    });
}

/// go.sum is empty, so that the checksum database is asked about all.
#[test]
fn a_proxy_that_serves_another_zip_than_everybody_has() {
    World::stage(|world| {
        let Some(_internet) = serving(world, moved()) else {
            return;
        };
        let Some(both) = download(world).both() else {
            return;
        };
        assert_eq!(both.plain.code, 1);
        assert!(both.plain.stderr.contains("SECURITY ERROR"));
        let names = [
            "proxy.golang.org serves something else",
            "zip of github.com/google/uuid v1.3.1",
            "checksum database",
        ];
        both.recorded.first("MT301", "problem", &names);
        assert!(!both.recorded.codes().contains(&String::from("MT304")));
    });
}

/// Each is asked by itself, and nobody verifies.
#[test]
fn two_proxies_that_disagree() {
    World::stage(|world| {
        let (Some(_internet), Some(mirror)) = (
            serving(world, moved()),
            Content::corpus("hello", Sumdb::Proxy),
        ) else {
            return;
        };
        let _mirror = world.server(ELSEWHERE, mirror).start();
        world.name("goproxy.cn", Name::at([ELSEWHERE]));
        let script = "cd .. && go mod download github.com/google/uuid@v1.3.1 && \
            GOMODCACHE=$PWD/other GOFLAGS=-modcacherw GOPROXY=https://goproxy.cn \
            go mod download github.com/google/uuid@v1.3.1";
        let run = Run::shell(world, script).env("GOPROXY", "https://proxy.golang.org");
        let Some(both) = run.env("GONOSUMDB", "*").both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        let names = [
            "goproxy.cn and proxy.golang.org",
            "zip of github.com/google/uuid v1.3.1",
        ];
        both.recorded.first("MT302", "note", &names);
    });
}

/// No lookup says what the zip should be.
#[test]
fn zips_that_are_none() {
    World::stage(|world| {
        let whole = moved();
        let other = zip(
            &[("example.com/other@v1.0.0/x.go", b"package x\n")],
            CompressionMethod::DEFLATE,
        );
        let mut flipped = zip(
            &[(
                "github.com/google/uuid@v1.3.1/x.go",
                b"package x // and so on\n",
            )],
            CompressionMethod::STORE,
        );
        let at = flipped.windows(6).position(|part| part == b"and so");
        flipped[at.expect("it is stored as it is")] ^= 1;
        let page = b"<!DOCTYPE html><html><title>Sign in to the network</title></html>\n";
        let bodies = [
            (page.to_vec(), "HTML page"),
            (whole[..whole.len() / 2].to_vec(), "not a whole zip file"),
            (other, "is not in"),
            (flipped, "CRC-32"),
        ];
        let number = count(1, bodies.len());
        for (body, why) in bodies.into_iter().take(number) {
            let Some(_internet) = serving(world, body) else {
                return;
            };
            let Some(both) = download(world).env("GONOSUMDB", "*").both() else {
                return;
            };
            assert_eq!(both.plain.code, 1, "{why}: {}", both.plain.stderr);
            let names = ["proxy.golang.org", "zip github.com/google/uuid v1.3.1", why];
            both.recorded.first("MT304", "problem", &names);
        }
    });
}

/// `lib`, which requires toml and does not use it.
const LIB: [(&str, &str); 2] = [
    (
        "go.mod",
        "module example.com/lib\n\ngo 1.16\n\nrequire github.com/BurntSushi/toml v1.3.2\n",
    ),
    ("lib.go", "package lib\n\nconst Name = \"lib\"\n"),
];

/// A project that imports `lib`, with a go.sum that go itself wrote.
fn with_lib<'w>(world: &'w World, args: &[&str]) -> Option<(Origin, Run<'w>)> {
    let names = LIB.map(|(name, _)| format!("example.com/lib@v1.0.0/{name}"));
    let files: Vec<_> = names
        .iter()
        .zip(LIB)
        .map(|(name, (_, text))| (&**name, text.as_bytes()))
        .collect();
    let lib = zip(&files, CompressionMethod::DEFLATE);
    let info = r#"{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}"#;
    let path = |name: &str| format!("/example.com/lib/@v/{name}");
    let content = Content::corpus("hello", Sumdb::Proxy)?.supported_is_404();
    let host = "proxy.golang.org";
    let content = content
        .and_file(host, &path("v1.0.0.info"), 200, "application/json", info)
        .and_file(host, &path("v1.0.0.mod"), 200, "text/plain", LIB[0].1)
        .and_file(host, &path("v1.0.0.zip"), 200, "application/zip", lib);
    let internet = world.server(super::world::INTERNET, content).start();
    let tidy = |ready: &Ready<'_>| {
        let project = ready.sandbox.join("project");
        for entry in fs::read_dir(&project).expect("our own folder") {
            fs::remove_file(entry.expect("our own folder").path()).expect("our own folder");
        }
        let go_mod = "module example.com/app\n\ngo 1.16\n\nrequire example.com/lib v1.0.0\n";
        let main =
            "package main\n\nimport \"example.com/lib\"\n\nfunc main() { println(lib.Name) }\n";
        fs::write(project.join("go.mod"), go_mod).expect("our own folder");
        fs::write(project.join("main.go"), main).expect("our own folder");
        run(ready.go(&["mod", "tidy"]), LIMIT).expect_success();
        ready.sandbox.forget_modules();
    };
    let run = Run::go(world, args).env("GONOSUMDB", "example.com");
    Some((internet, run.prepare(tidy)))
}

/// The zip of toml is fetched, and no package is built from it.
#[test]
fn a_download_of_more_than_is_built() {
    World::stage(|world| {
        let Some((internet, run)) = with_lib(world, &["mod", "download"]) else {
            return;
        };
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        let is_toml = |path: &String| path.ends_with("toml/@v/v1.3.2.zip");
        assert!(internet.paths().iter().any(is_toml));
        both.recorded
            .first("MT133", "note", &["toml v1.3.2", "1 of 2 zips"]);
    });
}

/// The way that the finding above names.
#[test]
fn what_is_built_and_no_more_is_no_note() {
    World::stage(|world| {
        let Some((internet, run)) = with_lib(world, &["list", "-deps", "-test", "./..."]) else {
            return;
        };
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        let is_toml = |path: &String| path.ends_with("toml/@v/v1.3.2.zip");
        assert!(!internet.paths().iter().any(is_toml));
        assert!(!both.recorded.codes().contains(&String::from("MT133")));
        both.recorded.nothing();
    });
}

#[test]
fn a_download_with_the_right_go_sum() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        let Some(both) = download(world).with_sums().both() else {
            return;
        };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        both.recorded.nothing();
        let is_ours = |code: &String| code.starts_with("MT3") || code == "MT133";
        assert!(!both.recorded.codes().iter().any(is_ours));
    });
}
