//! What is well is ok, and a fault shows in its own row.

use super::*;

#[test]
fn a_machine_that_is_well_has_no_fault_and_nothing_to_try() {
    for release in ["1.19", "1.27"] {
        let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
        let Some(doctor) = with_go(to(&sandbox, &origin), &sandbox, release) else {
            continue;
        };
        let told = Told::by(doctor);
        assert_eq!(told.faults(), [&Value::Null; 0]);
        assert_eq!(told.code, Some(0));
        assert_eq!(told.advice(), (String::new(), String::new()));
        for host in [PROXY, SUMDB] {
            told.is("tcp4", host, "ok", "IPv4 connects in ");
            told.is("tls", host, "ok", "TLS 1.3 in ");
            told.is(
                "tls",
                host,
                "ok",
                "issuer \"modtape test root\", until 2090-01-01",
            );
            told.is("tls", host, "ok", "trusted by --upstream-ca only");
            told.is("tls-post-quantum", host, "ok", "is answered in ");
            told.is("http", host, "ok", "HTTP/2");
        }
        told.is(
            "request",
            "https://proxy.golang.org",
            "ok",
            "first byte p50 ",
        );
        told.is("request", "https://sum.golang.org", "ok", "of 5");
        let supported = "does not relay the checksum database (404 in ";
        told.is(
            "sumdb-supported",
            "https://proxy.golang.org",
            "ok",
            supported,
        );
        told.is(
            "module-cache",
            text(&sandbox.join("modcache")),
            "ok",
            "can be written",
        );
        told.is("locks", text(&sandbox.join("modcache")), "ok", "nobody");
        let request = &told.row("request", "https://proxy.golang.org")["measured"];
        assert!(
            request["p50_us"].as_u64() <= request["max_us"].as_u64(),
            "{request}"
        );
        let mut paths = origin.paths();
        paths.sort();
        let expected = [&[SMALL; 5][..], &["/latest"; 5], &[SUPPORTED]].concat();
        assert_eq!(paths, expected);
    }
}

#[test]
fn a_server_that_closes_each_connection_is_well_all_the_same() {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let closes = Handshake::any().goaway_after(1);
        let origin = Origin::builder(well()).alpn(alpn).handshake(closes).start();
        let told = Told::by(to(&Sandbox::new(), &origin));
        told.is("request", "https://proxy.golang.org", "ok", "of 5");
        told.is("request", "https://sum.golang.org", "ok", "of 5");
        let supported = "does not relay the checksum database (404 in ";
        told.is(
            "sumdb-supported",
            "https://proxy.golang.org",
            "ok",
            supported,
        );
    }
}

/// Names of all values: `a.b`, and in a list of objects `a[].b`; `measured` is one.
fn keys(found: &mut Vec<String>, name: &str, value: &Value) {
    match value {
        Value::Object(object) if !name.ends_with("measured") => {
            for (key, value) in object {
                let dot = if name.is_empty() { "" } else { "." };
                keys(found, &format!("{name}{dot}{key}"), value);
            }
        }
        Value::Array(list) => {
            for value in list {
                keys(found, &format!("{name}[]"), value);
            }
        }
        _ => found.push(name.to_owned()),
    }
}

#[test]
fn every_key_and_every_check_is_documented() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    let mut doctor = to(&sandbox, &origin);
    doctor.env("GOPRIVATE", "https://git.corp.example");
    let told = Told::by(doctor);
    let mut found = Vec::new();
    keys(&mut found, "", &told.json);
    found.sort();
    found.dedup();
    let mut documented = crate::formats::keys::documented("Doctor");
    documented.sort();
    assert_eq!(found, documented);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md");
    let page = std::fs::read_to_string(page).expect("it is a part of the project");
    for row in told.json["checks"].as_array().expect("a list") {
        let check = row["check"].as_str().expect("a name");
        let mut lines = page.lines();
        let is_line = |line: &&str| {
            let names = line
                .strip_prefix("| ")
                .and_then(|line| line.split_once(" |"));
            names.is_some_and(|(names, _)| names.split(", ").any(|name| name == check))
        };
        let line = lines.find(is_line);
        let line = line.unwrap_or_else(|| panic!("{check} is not documented"));
        for key in row["measured"].as_object().expect("an object").keys() {
            assert!(line.contains(&format!("`{key}`")), "{check}: {key}");
        }
    }
}

#[test]
fn a_damaged_module_in_the_cache_is_found_by_the_go_sum_of_the_project() {
    let (sandbox, origin) = (Sandbox::new(), Origin::start(well()));
    if sandbox.project("hello").is_none() {
        return;
    }
    let told = || Some(Told::by(with_go(to(&sandbox, &origin), &sandbox, "1.27")?));
    let cache = sandbox.join("modcache");
    let Some(empty) = told() else { return };
    empty.is("cached-modules", text(&cache), "ok", "0 modules of go.sum");
    let folder = cache.join("cache/download/github.com/google/uuid/@v");
    std::fs::create_dir_all(&folder).expect("our own folder");
    std::fs::write(folder.join("v1.3.1.zip"), "PK\x03\x04 and no end").expect("our own folder");
    let told = told().expect("it was there before");
    let damaged =
        "cache/download/github.com/google/uuid/@v/v1.3.1.zip is damaged: it is not a whole zip";
    told.is("cached-modules", text(&cache), "broken", damaged);
    told.is(
        "cached-modules",
        text(&cache),
        "broken",
        "` removes it, and go fetches it again",
    );
    assert_eq!(told.code, Some(1));
    let measured = &told.row("cached-modules", text(&cache))["measured"];
    assert_eq!(
        (&measured["modules"], &measured["damaged"]),
        (&1.into(), &1.into())
    );
}
