//! A `go` line newer than the go command: a toolchain is downloaded first, and checked with a
//! checksum database even where that is off for all else.

use std::time::Duration;

use modtape::gomod::{ModuleZip, go_mod_h1};
use rawzip::CompressionMethod;

use super::modules::noise;
use super::resolver::Name;
use super::run::Run;
use super::world::{ELSEWHERE, World};
use crate::support::*;

const MODULE: &str = "golang.org/toolchain";
const DATABASE: &str = "sum.corp";

#[test]
fn a_toolchain_that_is_downloaded() {
    World::stage(|world| {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let version = format!("v0.0.1-go1.99.0.linux-{arch}");
        let prefix = format!("{MODULE}@{version}");
        let go_mod = b"module golang.org/toolchain\n";
        let noise = noise(3_000_000);
        let script = b"#!/bin/sh\necho go version go1.99.0\n";
        let files: [(&str, &[u8]); 6] = [
            ("bin/go", script),
            ("bin/gofmt", script),
            ("lib/wasm/exec", script),
            ("pkg/tool/compile", script),
            ("src/_go.mod", go_mod),
            ("src/noise", &noise),
        ];
        let names = files.map(|(name, _)| format!("{prefix}/{name}"));
        let files: Vec<(&str, &[u8])> = names
            .iter()
            .zip(files)
            .map(|(name, (_, content))| (name.as_str(), content))
            .collect();
        let zip = zip(&files, CompressionMethod::STORE);
        let opened = ModuleZip::open(&zip[..], zip.len() as u64, MODULE, &version);
        let h1 = opened.and_then(|zip| zip.h1()).expect("it is sound");
        let go_mod = go_mod_h1(go_mod);
        let record = format!("{MODULE} {version} {h1}\n{MODULE} {version}/go.mod {go_mod}\n");
        let database = Database::new(DATABASE, vec![record]);
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let download = Rule::suffix(&format!("/{MODULE}/@v/{version}.zip")).status(200);
        let download = download.header("content-type", "application/zip").body(zip);
        let download = download.trickle(100_000, Duration::from_millis(50));
        let _internet = internet.rule(download).start();
        let lookups = [(&*format!("{MODULE}@{version}"), 0, 1)];
        let sumdb = database.serve(Content::default(), &lookups);
        let _sumdb = world.server(ELSEWHERE, sumdb).start();
        world.name(DATABASE, Name::at([ELSEWHERE]));
        let newer = |project: &std::path::Path| {
            let text = "module example.com/hello\n\ngo 1.99.0\n";
            std::fs::write(project.join("go.mod"), text).expect("our own folder");
        };
        let run = Run::go(world, &["version"])
            .env("GOTOOLCHAIN", "auto")
            .env(
                "GOSUMDB",
                &format!("{} https://{DATABASE}", database.verifier_key()),
            )
            .prepare(|ready| newer(&ready.sandbox.join("project")));
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 0, "{}", both.plain.stderr);
        assert_eq!(both.plain.stdout, "go version go1.99.0\n");
        let took = both.plain.took;
        assert!(took > Duration::from_millis(1500), "{took:?}");
        let names = ["your go.mod", "`go 1.99.0`", "3.0 MB"];
        both.recorded.first("MT131", "slow", &names);
        run.as_hinted(&both.recorded).is_mended("MT131");
    });
}
