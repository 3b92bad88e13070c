//! A toolchain that a go.mod file asks for is on a sealed recording, and proved.

use std::fs;

use modtape::gomod::{ModuleZip, go_mod_h1};
use rawzip::CompressionMethod;

use super::{LIMIT, seal, seal_alone};
use crate::record::record;
use crate::support::*;

const MODULE: &str = "golang.org/toolchain";
const DATABASE: &str = "sum.corp";

#[test]
fn a_toolchain_is_sealed_and_runs_again_where_nobody_is() {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let version = format!("v0.0.1-go1.99.0.linux-{arch}");
    let go_mod = b"module golang.org/toolchain\n";
    let script = b"#!/bin/sh\necho go version go1.99.0\n";
    let files = [
        ("bin/go", &script[..]),
        ("bin/gofmt", script),
        ("lib/wasm/exec", script),
        ("pkg/tool/compile", script),
        ("src/_go.mod", go_mod),
    ];
    let names = files.map(|(name, _)| format!("{MODULE}@{version}/{name}"));
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .zip(files)
        .map(|(name, (_, content))| (name.as_str(), content))
        .collect();
    let zip = zip(&files, CompressionMethod::STORE);
    let opened = ModuleZip::open(&zip[..], zip.len() as u64, MODULE, &version);
    let h1 = opened.and_then(|zip| zip.h1()).expect("it is sound");
    let go_mod = go_mod_h1(go_mod);
    let record_of = format!("{MODULE} {version} {h1}\n{MODULE} {version}/go.mod {go_mod}\n");
    // Other records stand before it and behind it.
    let other = |number: usize| format!("a.example/m v1.{number}.0 h1:{number}=\n");
    let mut records: Vec<String> = (0..600).map(other).collect();
    records[400] = record_of;
    let database = Database::new(DATABASE, records);
    let Some(content) = Content::corpus("hello", Sumdb::Proxy) else {
        return;
    };
    let looked_up = format!("{MODULE}@{version}");
    let content = database.serve(content, &[(&looked_up, 400, 500)]);
    let path = format!("/{MODULE}/@v/{version}.zip");
    let content = content.and_file("proxy.golang.org", &path, 200, "application/zip", zip);
    let sandbox = Sandbox::new();
    let Some(go) = sandbox.go("1.27") else { return };
    let Some(project) = sandbox.project("hello") else {
        return;
    };
    let newer = "module example.com/hello\n\ngo 1.99.0\n";
    fs::write(project.join("go.mod"), newer).expect("our own file");
    fs::write(project.join("go.sum"), "").expect("our own file");
    let origin = Origin::start(content);
    let go = go.to_str().expect("paths of tests are text");
    let gosumdb = format!("{} https://{DATABASE}", database.verifier_key());
    let settings = [("GOTOOLCHAIN", "auto"), ("GOSUMDB", &*gosumdb)];
    let mut recording = record(&sandbox, &origin, &["--cold"], &[go, "version"]);
    let recorded = run(
        {
            recording.envs(settings);
            recording
        },
        LIMIT,
    )
    .expect_success();
    assert_eq!(
        recorded.stdout, "go version go1.99.0\n",
        "{}",
        recorded.stderr
    );
    seal(&sandbox, &origin, &[]).expect_success();
    drop(origin);
    let sealed = seal_alone(&sandbox).expect_success();
    let told = "1 version of 1 module, 1 with zips; 1 record proved by ";
    assert!(sealed.stderr.contains(told), "{}", sealed.stderr);
    let mut again = sandbox.modtape(["replay", "one", "--strict", "--", go, "version"]);
    again.env("GOTOOLCHAIN", "local");
    let replayed = run(again, LIMIT).expect_success();
    assert_eq!(
        replayed.stdout, "go version go1.99.0\n",
        "{}",
        replayed.stderr
    );
}
