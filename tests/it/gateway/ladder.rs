//! GOPROXY lists whose first entry fails: go ends as it does without modtape, and the recording shows
//! which entry answered.

use super::*;
use crate::record::recording;

/// Its checksums are in the project's go.sum.
const MODULE: &str = "github.com/BurntSushi/toml@v1.3.2";

/// What the first entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Status(u16),
    Reset,
    Silence,
}

impl Fault {
    fn rule(self) -> Rule {
        match self {
            Self::Status(status) => Rule::any().status(status).body("told by the entry\n"),
            Self::Reset => Rule::any().reset(),
            Self::Silence => Rule::any().silent(),
        }
    }
}

/// Two module proxies in clear text, the first of which fails.
struct Entries {
    first: Origin,
    second: Origin,
    list: &'static str,
}

/// How a go command ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    /// Lines of stderr, with names for the entries.
    said: Vec<String>,
    /// What each entry was asked.
    asked: [Vec<String>; 2],
}

impl Entries {
    fn of(list: &'static str, fault: Fault) -> Option<Self> {
        let content = Content::corpus("hello", Sumdb::Proxy)?;
        Some(Self {
            first: Origin::builder(content.clone()).rule(fault.rule()).start(),
            second: Origin::start(content),
            list,
        })
    }

    fn goproxy(&self) -> String {
        let url = |origin: &Origin| format!("http://{}", origin.addr());
        let list = self.list.replace('A', &url(&self.first));
        list.replace('B', &url(&self.second))
    }

    fn ended(&self, output: Output, sandbox: &Sandbox) -> Ended {
        let said = output.stderr.replace(text(sandbox.path()), "SANDBOX");
        let lines = said.lines().map(|line| self.named(line));
        Ended {
            code: output.status.code(),
            stdout: output.stdout,
            said: lines.collect(),
            asked: [&self.first, &self.second].map(|origin| sorted(origin.paths())),
        }
    }

    /// A line with `A` and `B` for the entries, whether go asks them or a gateway.
    fn named(&self, line: &str) -> String {
        let line = line.replace(&format!("http://{}/", self.first.addr()), "A/");
        let line = line.replace(&format!("http://{}/", self.second.addr()), "B/");
        let mut parts = line.split("http://127.0.0.1:");
        let mut named = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            // The token of the run.
            let rest = rest.find("/p").map_or(rest, |at| &rest[at..]);
            named += &rest.replacen("/p0/", "A/", 1).replacen("/p1/", "B/", 1);
        }
        named
    }
}

/// `go mod download` by itself, or behind a gateway with these flags.
fn download(entries: &Entries, gateway: Option<&[&str]>) -> Option<(Ended, Sandbox)> {
    let sandbox = Sandbox::new();
    let go = sandbox.go("1.27")?;
    sandbox.project("hello")?;
    let mut command = match gateway {
        None => sandbox.command(&go),
        Some(flags) => {
            let mut modtape = sandbox.modtape(["-q", "record", "-o", "one", "--mode", "gateway"]);
            modtape.args(flags).arg("--").arg(&go);
            modtape
        }
    };
    command.args(["mod", "download", MODULE]);
    command.env("GOPROXY", entries.goproxy());
    let ended = entries.ended(run(command, GO_LIMIT), &sandbox);
    Some((ended, sandbox))
}

/// What the first entry's failure means to go.
fn goes_on(list: &str, fault: Fault) -> bool {
    list.contains('|') || matches!(fault, Fault::Status(404 | 410))
}

#[test]
fn go_ends_as_without_modtape_whatever_the_first_entry_answers() {
    let name = "gateway::ladder::go_ends_as_without_modtape_whatever_the_first_entry_answers";
    alone(name, || {
        let statuses = [404, 410, 403, 500].map(Fault::Status);
        let faults: Vec<_> = statuses.into_iter().chain([Fault::Reset]).collect();
        for list in ["A,B", "A|B", "A,direct", "A|off"] {
            for &fault in &faults {
                let (Some(alone), Some(behind)) =
                    (Entries::of(list, fault), Entries::of(list, fault))
                else {
                    return;
                };
                let Some((mut plain, _)) = download(&alone, None) else {
                    return;
                };
                let (mut recorded, sandbox) = download(&behind, Some(&[])).expect("go is there");
                let succeeds = list.contains('B') && goes_on(list, fault);
                assert_eq!(
                    plain.code == Some(0),
                    succeeds,
                    "{list} {fault:?} {plain:?}"
                );
                if fault == Fault::Reset {
                    // modtape says more, and how often go tries is the connection's matter.
                    (plain.said, recorded.said) = (Vec::new(), Vec::new());
                    (plain.asked[0], recorded.asked[0]) = (Vec::new(), Vec::new());
                }
                assert_eq!(recorded, plain, "{list} {fault:?}");
                let served = [&behind.first, &behind.second].map(|origin| {
                    let url = |path: String| format!("http://{}{path}", origin.addr());
                    origin
                        .requests()
                        .into_iter()
                        .map(move |served| url(served.raw_path))
                });
                let served = served.into_iter().flatten();
                let recording = recording(&sandbox, "one");
                let rows = recording.rows().iter().map(|row| row.url.clone());
                match fault {
                    Fault::Reset => assert!(rows.count() > 0),
                    _ => assert_eq!(sorted(rows.collect::<Vec<_>>()), sorted(served.collect())),
                }
                assert_ladder(&behind, fault, &sandbox);
            }
        }
    });
}

/// The statuses that `ls` shows of each entry: an arrow where go went on to the next one.
fn assert_ladder(entries: &Entries, fault: Fault, sandbox: &Sandbox) {
    let ls = run(sandbox.modtape(["ls", "one"]), GO_LIMIT).expect_success();
    let of = |origin: &Origin| -> Vec<String> {
        let host = format!(" {} ", origin.addr());
        let lines = ls.stdout.lines().filter(|line| line.contains(&host));
        let statuses = lines.map(|line| {
            let before = line.split(&host).next().unwrap_or_default();
            let before = before.trim_end().rsplit("  ").next();
            let status = before.unwrap_or_default().trim().replace('→', "->");
            match entries.list.contains('B') {
                true => status,
                // What it went on to is no entry that is asked.
                false => status.replace("->", ""),
            }
        });
        statuses.collect()
    };
    let goes_on = entries.list.contains('B') && goes_on(entries.list, fault);
    let arrow = if goes_on { "->" } else { "" };
    let expected = match fault {
        Fault::Status(status) => format!("{status}{arrow}"),
        _ => format!("502{arrow} by modtape"),
    };
    let first = of(&entries.first);
    assert!(!first.is_empty(), "{}", ls.stdout);
    let told = format!("{} {fault:?}: {}", entries.list, ls.stdout);
    assert!(first.iter().all(|status| *status == expected), "{told}");
    let second = of(&entries.second);
    assert_eq!(!second.is_empty(), goes_on, "{told}");
    assert!(second.iter().all(|status| status == "200"), "{told}");
}

#[test]
fn a_silent_entry_holds_go_up_and_ends_as_an_error_where_that_is_wanted() {
    let name =
        "gateway::ladder::a_silent_entry_holds_go_up_and_ends_as_an_error_where_that_is_wanted";
    alone(name, || {
        for (list, flags, code, goes_on) in [
            ("A|B", &["--timeout", "1s"][..], 124, false),
            ("A,B", &["--timeout", "1s"], 124, false),
            ("A,direct", &["--timeout", "1s"], 124, false),
            ("A|off", &["--timeout", "1s"], 124, false),
            ("A,B", &["--upstream-idle-timeout", "200ms"], 1, false),
            ("A,direct", &["--upstream-idle-timeout", "200ms"], 1, false),
            ("A|off", &["--upstream-idle-timeout", "200ms"], 1, false),
            ("A|B", &["--upstream-idle-timeout", "200ms"], 0, true),
        ] {
            let Some(entries) = Entries::of(list, Fault::Silence) else {
                return;
            };
            let Some((ended, _)) = download(&entries, Some(flags)) else {
                return;
            };
            assert_eq!(ended.code, Some(code), "{list} {flags:?}: {ended:?}");
            assert!(!ended.asked[0].is_empty(), "{list}: {ended:?}");
            assert_eq!(!ended.asked[1].is_empty(), goes_on, "{list}: {ended:?}");
            if code == 1 {
                let told = "504 Gateway Timeout";
                assert!(ended.said.concat().contains(told), "{ended:?}");
                let told = "modtape: no response head from 127.0.0.1 for 200ms";
                assert!(ended.said.concat().contains(told), "{ended:?}");
            }
        }
    });
}

#[test]
fn an_entry_that_cannot_be_reached_is_told_to_go_and_is_no_404() {
    let name = "gateway::ladder::an_entry_that_cannot_be_reached_is_told_to_go_and_is_no_404";
    alone(name, || {
        let Some(entries) = Entries::of("http://127.0.0.1:9,B", Fault::Reset) else {
            return;
        };
        let Some((ended, sandbox)) = download(&entries, Some(&[])) else {
            return;
        };
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let told = "server response: modtape: cannot connect to 127.0.0.1:9 \
            (127.0.0.1:9: Connection refused";
        let said = ended.said.join(" ").replace("\t", "");
        assert!(said.contains(told), "{said}");
        assert!(ended.asked[1].is_empty());
        let recording = recording(&sandbox, "one");
        let connections: Vec<_> = recording.connections().collect();
        let dials = connections.iter().flat_map(|row| row.dials());
        let failed = dials.filter(|dial| dial.error.is_some());
        assert!(failed.count() > 0);
    });
}
