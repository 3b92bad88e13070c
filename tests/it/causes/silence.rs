//! A server that accepts everything and then says nothing: go has no timeout for it.

use std::net::SocketAddr;

use modtape::clock::{Clock, Timestamp};

use super::resolver::Name;
use super::run::Run;
use super::world::{ELSEWHERE, INTERNET, World, https};
use crate::support::*;

const ZIP: &str = "/github.com/google/uuid/@v/v1.3.1.zip";

/// Blocks until the origin has a request for this path.
fn asked(origin: &Origin, path: &str) {
    let is_asked = |log: &Log| log.requests.iter().any(|served| served.path == path);
    origin.wait_for(is_asked, LIMIT);
}

#[test]
fn no_response_head() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let internet = internet.rule(Rule::suffix(ZIP).silent()).start();
        let run = Run::go(world, &["mod", "download"]);
        let names = ["proxy.golang.org", "github.com/google/uuid"];
        run.hangs(|| asked(&internet, ZIP), "MT101", &names);
    });
}

/// A server that does not answer, and the flag that makes an error of it.
#[test]
#[ignore = "takes the 20 s that the hint says; in tests/long"]
fn no_response_head_for_as_long_as_the_hint_says() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let internet = internet.rule(Rule::suffix(ZIP).silent()).start();
        let run = Run::go(world, &["mod", "download"]);
        let names = ["proxy.golang.org", "github.com/google/uuid"];
        let Some(recorded) = run.hangs(|| asked(&internet, ZIP), "MT101", &names) else {
            return;
        };
        let hint = recorded.hint();
        let words: Vec<&str> = hint.split(' ').collect();
        let flag = words.iter().position(|word| word.starts_with("--"));
        let flag = flag.unwrap_or_else(|| panic!("no flag: {hint}"));
        let bounded = run.recorded_by(&words[flag..flag + 2]);
        assert_eq!(bounded.code, 1, "{}", bounded.stderr);
        assert!(bounded.stderr.contains("504 Gateway Timeout"));
    });
}

#[test]
fn a_body_that_stops() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let stops = Rule::suffix(ZIP).stall_after(5_000);
        let internet = internet.rule(stops).start();
        let run = Run::go(world, &["mod", "download"]);
        let names = ["proxy.golang.org", "github.com/google/uuid", "5.0 kB"];
        run.hangs(|| asked(&internet, ZIP), "MT101", &names);
    });
}

#[test]
fn a_checksum_database_that_is_silent() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let silent = Rule::host("sum.golang.org").silent();
        let internet = internet.rule(silent).start();
        let run = Run::go(world, &["mod", "download"]);
        let lookup = "/lookup/github.com/google/uuid@v1.3.1";
        let names = ["sum.golang.org", "goproxy.cn"];
        run.hangs(|| asked(&internet, lookup), "MT112", &names);
    });
}

/// The form of a line: numbers, times, sizes, bars and the names of modules left out.
fn form(line: &str) -> String {
    let mut form = String::new();
    // Whether the second request is silent for as long is chance.
    let line = line
        .replace(", and 1 more request", "")
        .replace(" and 1 more)", ")");
    for word in line.split_whitespace() {
        let word = word.trim_matches(|c: char| {
            "\u{258f}\u{258e}\u{258d}\u{258c}\u{258b}\u{258a}\u{2589}\u{2588}".contains(c)
        });
        let is_unit =
            ["ms", "s", "B", "kB", "MB"].contains(&word.trim_end_matches([',', ')', ';']));
        let word = match word {
            _ if word.contains("github.com/") => String::from("MODULE"),
            _ if word.starts_with("recordings/") => String::from("RECORDING"),
            _ => word.replace(|c: char| c.is_ascii_digit() || c == '.', ""),
        };
        if !is_unit && !word.is_empty() {
            form.push_str(&word);
            form.push(' ');
        }
    }
    form
}

/// What the first screen of README shows is what is said of that hang.
#[test]
fn the_hang_that_the_readme_shows() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let page = std::fs::read_to_string(page).expect("it is a part of the project");
    let session = page.split("```console\n").nth(1).expect("a session");
    let session = session.split("```").next().unwrap_or_default();
    let shown = session.lines().filter(|line| !line.starts_with(['$', '^']));
    let shown: Vec<&str> = shown.collect();
    assert!(shown.len() > 5, "{session}");
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let silent = Rule::host("sum.golang.org").silent();
        let _internet = internet.rule(silent).start();
        let run = Run::go(world, &["mod", "tidy"]);
        let Some(recorded) = run.recorded_hangs("MT112") else {
            return;
        };
        let said: Vec<String> = recorded.stderr.lines().map(form).collect();
        for line in &shown {
            let form = form(line);
            let is_said = said.contains(&form);
            assert!(is_said, "{line}\n{form}\n{}\n{said:#?}", recorded.stderr);
        }
    });
}

#[test]
fn a_checksum_database_that_no_packet_reaches() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.start();
        world.name("sum.golang.org", Name::at([ELSEWHERE]));
        let hole = Blackhole::at(https(ELSEWHERE));
        let run = Run::go(world, &["mod", "download"]);
        run.hangs(|| dialled(&hole), "MT112", &["sum.golang.org"]);
    });
}

#[test]
fn a_proxy_that_no_packet_reaches() {
    World::stage(|world| {
        let hole = Blackhole::at(https(ELSEWHERE));
        world.name("proxy.golang.org", Name::at([ELSEWHERE]));
        let run = Run::go(world, &["mod", "download"]).env("GOPROXY", "https://proxy.golang.org");
        run.hangs(|| dialled(&hole), "MT106", &["proxy.golang.org"]);
    });
}

/// Blocks until somebody waits for an answer to a SYN (proc(5): state 02, addresses in host order).
fn dialled(hole: &Blackhole) {
    let SocketAddr::V4(addr) = hole.addr() else {
        unreachable!("the scenario's address is IPv4")
    };
    let ip = u32::from_le_bytes(addr.ip().octets());
    let line = format!(" {ip:08X}:{:04X} 02 ", addr.port());
    let table = || std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let clock = Clock::start();
    while !table().contains(&line) {
        let waited = clock.now().since(Timestamp::default());
        assert!(waited < LIMIT, "nobody dials {addr}");
        std::thread::yield_now();
    }
}

/// An HTTP/2 connection whose packets nobody passes on any more: a NAT that has forgotten it.
#[test]
fn a_connection_that_died() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        if !world.filter("") {
            return;
        }
        let cut = Rule::when(move |served| {
            // All that are open lose their packets, both ways; new ones do not.
            if served.path == ZIP {
                World::drop_connections(https(INTERNET));
            }
            false
        });
        let internet = internet.rule(cut).start();
        let run = Run::go(world, &["mod", "download"]);
        run.hangs(|| asked(&internet, ZIP), "MT108", &["proxy.golang.org"]);
    });
}

/// The other streams of the connection go on: it is not dead.
#[test]
fn one_stream_of_many_that_is_silent() {
    World::stage(|world| {
        let Some(internet) = world.internet("web") else {
            return;
        };
        let file = "/github.com/spf13/viper/@v/v1.16.0.mod";
        let internet = internet.rule(Rule::suffix(file).silent()).start();
        let run = Run::go(world, &["mod", "graph"]).project("web").with_sums();
        let names = ["proxy.golang.org", "github.com/spf13/viper"];
        run.hangs(|| asked(&internet, file), "MT101", &names);
    });
}

#[test]
fn a_stream_that_is_reset() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.rule(Rule::suffix(ZIP).short(5_000)).start();
        let run = Run::go(world, &["mod", "download"]).in_other_words();
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        let said = &both.plain.stderr;
        assert!(said.contains("stream error: stream ID"), "{said}");
        let names = ["proxy.golang.org", "github.com/google/uuid", "RST_STREAM"];
        both.recorded.first("MT109", "problem", &names);
    });
}

#[test]
fn a_connection_that_is_reset() {
    World::stage(|world| {
        let Some(internet) = world.internet("hello") else {
            return;
        };
        let _internet = internet.rule(Rule::suffix(ZIP).reset()).start();
        let run = Run::go(world, &["mod", "download"]).in_other_words();
        let Some(both) = run.both() else { return };
        assert_eq!(both.plain.code, 1);
        let said = &both.plain.stderr;
        // Whichever the go command meets first, the reset or the end of what came before it.
        let ends = ["connection reset by peer", "unexpected EOF"];
        assert!(ends.iter().any(|end| said.contains(end)), "{said}");
        both.recorded
            .first("MT109", "problem", &["proxy.golang.org"]);
    });
}
