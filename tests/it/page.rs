//! The page of a report, in a real browser; and that what is embedded is what `web/` makes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::har::tool;
use crate::support::*;

mod live;

const LIMIT: Duration = Duration::from_secs(300);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A script of `web/test`, with the packages that it needs; `None`, said on stderr, where they are missing.
fn script(name: &str) -> Option<Command> {
    let packages = tool("MODTAPE_WEB")?;
    let mut node = program("node");
    node.env("MODTAPE_WEB", packages);
    node.arg(root().join("web/test").join(name));
    Some(node)
}

/// Looks at a page as `web/test/page.mjs` does, and gives what stands on it.
fn looked_at(page: &Path) -> Option<Value> {
    let mut look = script("page.mjs")?;
    look.env("MODTAPE_CHROMIUM", tool("MODTAPE_CHROMIUM")?);
    look.arg(format!("file://{}", page.display()));
    let told = run(look, LIMIT).expect_success().stdout;
    Some(serde_json::from_str(&told).expect("a line of JSON"))
}

/// The page of a recording.
fn page_of(sandbox: &Sandbox, recording: &Path) -> PathBuf {
    let page = sandbox.join("page.html");
    let mut report = sandbox.modtape(["report", "--format", "html", "-o"]);
    report.arg(&page).arg(recording);
    run(report, LIMIT).expect_success();
    page
}

/// A recording of these URLs, each with its status, one after the other.
fn recording_of(sandbox: &Sandbox, asked: &[(String, u16)]) -> PathBuf {
    let entries = asked.iter().enumerate().map(|(number, (url, status))| {
        json!({
            "startedDateTime": format!("2026-01-01T00:{:02}:{:02}.{:03}Z", number / 6000, number / 100 % 60, number % 100 * 10),
            "time": 12.5,
            "request": {"method": "GET", "url": url, "httpVersion": "HTTP/2", "headers": [], "cookies": [], "queryString": [], "headersSize": -1, "bodySize": 0},
            "response": {"status": status, "statusText": "", "httpVersion": "HTTP/2", "cookies": [], "headersSize": -1, "bodySize": 2, "redirectURL": "",
                "headers": [{"name": "etag", "value": format!("\"{:x}\"", number * 7_919)}, {"name": "x-hostile", "value": "</script><b>"}],
                "content": {"size": 2, "mimeType": "text/plain", "text": "ok"}},
            "cache": {},
            "timings": {"blocked": 1.25, "dns": -1, "connect": -1, "ssl": -1, "send": 0.25, "wait": 10.0 + f64::from(u16::try_from(number % 997).unwrap()) / 100.0, "receive": 1.0},
        })
    });
    let har = json!({"log": {"version": "1.2", "creator": {"name": "test", "version": "1"}, "entries": entries.collect::<Vec<_>>()}});
    let file = sandbox.join("theirs.har");
    fs::write(&file, har.to_string()).expect("a file");
    let recording = sandbox.join("theirs");
    let mut import = sandbox.modtape(["import", "har", "-o"]);
    import.arg(&recording).arg(&file);
    run(import, LIMIT).expect_success();
    recording
}

#[test]
fn the_bundle_is_what_its_sources_make() {
    let Some(packages) = tool("MODTAPE_WEB") else {
        return;
    };
    let sandbox = Sandbox::new();
    let web = sandbox.join("web");
    fs::create_dir_all(web.join("src")).expect("a folder");
    fs::create_dir_all(sandbox.join("src/report")).expect("a folder");
    for name in ["build.mjs", "package.json", "tsconfig.json"] {
        fs::copy(root().join("web").join(name), web.join(name)).expect("a file");
    }
    for entry in fs::read_dir(root().join("web/src")).expect("the sources") {
        let path = entry.expect("a file").path();
        fs::copy(&path, web.join("src").join(path.file_name().unwrap())).expect("a file");
    }
    for name in ["page.js", "page.css"] {
        let of = Path::new("src/report").join(name);
        fs::copy(root().join(&of), sandbox.join(&of)).expect("a file");
    }
    symlink(
        Path::new(&packages).join("node_modules"),
        web.join("node_modules"),
    )
    .expect("a link");
    let mut types = program("node");
    types.arg(web.join("node_modules/typescript/bin/tsc"));
    types.args(["--noEmit", "-p"]).arg(&web);
    run(types, LIMIT).expect_success();
    let mut build = program("node");
    build.arg(web.join("build.mjs")).arg("--check");
    run(build, LIMIT).expect_success();
}

#[test]
fn the_lock_names_no_place_to_download_from() {
    let lock = fs::read_to_string(root().join("web/package-lock.json")).expect("the lock");
    assert!(!lock.contains("\"resolved\""));
}

#[test]
fn the_filter_is_the_same_language() {
    if let Some(filter) = script("filter.mjs") {
        run(filter, LIMIT).expect_success();
    }
}

#[test]
fn a_page_is_read_walked_and_asks_for_nothing() {
    let sandbox = Sandbox::new();
    let page = page_of(&sandbox, &root().join("recordings/hello"));
    let text = fs::read_to_string(&page).expect("the page");
    assert!(text.contains("nothing is wrong: 30 requests"), "it greps");
    let Some(told) = looked_at(&page) else {
        return;
    };
    assert_eq!(told["rows"], 30);
    assert_eq!(told["title"], "modtape: hello");
    let what = told["what"].as_array().expect("lines");
    assert!(what.contains(&json!("mod github.com/BurntSushi/toml v1.3.2")));
}

#[test]
fn hostile_text_stays_text() {
    let long = format!("https://h.example/{}/@v/list", "a".repeat(8 << 10));
    let asked = [
        "https://h.example/</script><script>alert(1)</script>/@v/list",
        "https://h.example/\u{202e}gnp.exe/@v/list",
        "https://h.example/x?y=%00<!--",
        long.as_str(),
    ];
    let asked = asked.map(|url| (url.to_owned(), 404));
    let sandbox = Sandbox::new();
    let page = page_of(&sandbox, &recording_of(&sandbox, &asked));
    let text = fs::read_to_string(&page).expect("the page");
    assert_eq!(text.matches("<script").count(), 2);
    if let Some(told) = looked_at(&page) {
        assert_eq!(told["rows"], 4);
    }
}

#[test]
fn ten_thousand_exchanges_fit_into_400_kb() {
    let asked = (0..10_000).map(|number| {
        let file = ["info", "mod", "zip"][number % 3];
        let url = format!(
            "https://proxy.example/github.com/owner{}/module{number}/@v/v1.{}.{}.{file}",
            number % 700,
            number % 40,
            number % 9
        );
        (url, 200)
    });
    let sandbox = Sandbox::new();
    let recording = recording_of(&sandbox, &asked.collect::<Vec<_>>());
    let page = page_of(&sandbox, &recording);
    let bytes = fs::metadata(page).expect("the page").len();
    assert!(bytes <= 400_000, "{bytes}");
}
