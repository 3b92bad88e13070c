//! Modules that came from their repositories: what the module cache had of them is looked into as what a proxy serves.

use std::fs;

use serde_json::{Value, json};

use super::LIMIT;
use super::lies::{GO, GO_MOD, uuid_zip};
use crate::record::record;
use crate::support::*;

const INFO: &str = r#"{"Version":"v1.3.1"}"#;

/// A recording that keeps this zip and this go.mod of a module from its repository.
fn kept(zip: &[u8], go_mod: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let origin = Origin::start(Content::default());
    run(record(&sandbox, &origin, &["--no-har"], &["true"]), LIMIT).expect_success();
    let dir = sandbox.join("recordings/one");
    let keep = |bytes: &[u8]| {
        let name = sha256_hex(bytes);
        let folder = dir.join("bodies").join(&name[..2]);
        fs::create_dir_all(&folder).expect("our own folder");
        fs::write(folder.join(&name), bytes).expect("our own folder");
        json!({"sha256": name, "bytes": bytes.len()})
    };
    let path = dir.join("recording.json");
    let text = fs::read(&path).expect("a manifest");
    let mut manifest: Value = serde_json::from_slice(&text).expect("JSON");
    manifest["direct"] = json!([{
        "module": "github.com/google/uuid", "version": "v1.3.1",
        "repository": "https://git.test/uuid",
        "info": keep(INFO.as_bytes()), "mod": keep(go_mod.as_bytes()), "zip": keep(zip),
    }]);
    fs::write(path, manifest.to_string()).expect("our own file");
    sandbox
}

#[test]
fn what_is_wrong_with_them_is_named_and_stands_in_no_tree() {
    let zeros = vec![0; 1 << 20];
    let mut bomb = uuid_zip(&[GO_MOD, ("UUID/zeros", &zeros)]);
    let directory = bomb.windows(4).rposition(|word| word == b"PK\x01\x02");
    // The length of the last file in the directory (APPNOTE.TXT section 4.3.12).
    let length = directory.expect("it has one") + 24;
    bomb[length..length + 4].copy_from_slice(&(600_u32 << 20).to_le_bytes());
    let root = ("example.com/evil@v1.0.0/x.go", &b"package x\n"[..]);
    let case = ("UUID/Uuid.go", &b"package evil\n"[..]);
    let inner = ("UUID/sub/go.mod", &b"module evil\n"[..]);
    let sound = uuid_zip(&[GO_MOD, GO]);
    let module = "module github.com/google/uuid\n";
    let page = "<!doctype html><title>Sign in</title>";
    for (zip, go_mod, told) in [
        (sound.clone(), module, None),
        (
            bomb,
            module,
            Some(
                "zip github.com/google/uuid v1.3.1 from git.test: its files have more than 500 MiB",
            ),
        ),
        (
            uuid_zip(&[GO_MOD, GO, root]),
            module,
            Some("is not in \"github.com/google/uuid@v1.3.1/\""),
        ),
        (uuid_zip(&[GO_MOD, GO, case]), module, Some("in case alone")),
        (
            uuid_zip(&[GO_MOD, GO, inner]),
            module,
            Some("is a go.mod, and not that of its root folder"),
        ),
        (
            sound,
            page,
            Some("mod github.com/google/uuid v1.3.1 from git.test: it is an HTML page"),
        ),
    ] {
        let sandbox = kept(&zip, go_mod);
        let modtape = |args: &[&str]| run(sandbox.modtape(args.iter().copied()), LIMIT);
        let verified = modtape(&["verify", "one"]);
        let exported = modtape(&["export", "goproxy", "one", "-o", "tree"]);
        let sealed = modtape(&["seal", "one", "--connect-to", "::127.0.0.1:1"]);
        let file = match go_mod == page {
            true => "v1.3.1.mod",
            false => "v1.3.1.zip",
        };
        let exists = sandbox
            .join("tree/github.com/google/uuid/@v")
            .join(file)
            .exists();
        assert_eq!(exists, told.is_none(), "{told:?}: {}", exported.stderr);
        let Some(told) = told else {
            assert!(
                verified.stdout.contains("github.com/google/uuid"),
                "{}",
                verified.stdout
            );
            verified.expect_success();
            continue;
        };
        assert_eq!(
            verified.status.code(),
            Some(1),
            "{told}: {}",
            verified.stdout
        );
        assert!(
            verified.stdout.contains(told),
            "{told}: {}",
            verified.stdout
        );
        assert!(
            exported.stderr.contains(told),
            "{told}: {}",
            exported.stderr
        );
        assert!(
            sealed
                .stderr
                .contains(file.rsplit('.').next().unwrap_or_default())
        );
    }
}
