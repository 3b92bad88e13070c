//! No flag is passed over: what would do nothing beside others is refused by name.

use super::modtape;
use crate::support::Sandbox;
use crate::views::sample;

/// A command line, the exit code, and the flag that is refused.
const VOID: [(&str, i32, &str); 35] = [
    ("record --force -- true", 125, "--force"),
    (
        "record --no-har --har-bodies all -- true",
        125,
        "--har-bodies",
    ),
    ("record --no-har --har=a.har -- true", 125, "--har"),
    (
        "record --bodies none --har-bodies all -- true",
        125,
        "--har-bodies",
    ),
    (
        "record --bodies none --pcap-bodies small -- true",
        125,
        "--pcap-bodies",
    ),
    (
        "record --pcap none --pcap-bodies all -- true",
        125,
        "--pcap-bodies",
    ),
    ("record --har=- -- true", 125, "--har"),
    (
        "record --intercept a.example,b.example --tunnel B.example -- true",
        125,
        "--tunnel",
    ),
    ("record --cold", 125, "CMD"),
    ("record --log-format json -- true", 125, "--log-format"),
    ("record -q -v -- true", 125, "--verbose"),
    ("record --listen 0.0.0.0", 125, "--token"),
    (
        "record --mode transparent --listen 0.0.0.0 --from fd00::/8 -- true",
        125,
        "--listen '[::]'",
    ),
    ("record --resolve nonsense", 125, "--resolve"),
    ("record --upstream-proxy ftp://a", 125, "--upstream-proxy"),
    ("record -o @last", 125, "@last"),
    ("replay one --warm", 125, "--warm"),
    ("replay one --resolve a:1:127.0.0.1", 125, "--resolve"),
    (
        "replay one --upstream-idle-timeout 3s -- true",
        125,
        "--upstream-idle-timeout",
    ),
    (
        "replay one --on-miss record --as-of 2026-01-01",
        125,
        "--as-of",
    ),
    ("replay one --keep-env", 125, "--keep-env"),
    ("import har a.har --force", 2, "--force"),
    ("export csv one --har-bodies all", 2, "--har-bodies"),
    ("export har one --pcap-bodies all", 2, "--pcap-bodies"),
    (
        "export goproxy one -o tree --filter kind:zip",
        2,
        "--filter",
    ),
    ("export goproxy one", 2, "-o"),
    ("env --unset --recording one", 2, "--recording"),
    ("env --json fish", 2, "--json"),
    ("env --unset HTTPS_PROXY", 2, "--unset"),
    (
        "env --mode transparent --uid 0 --host docker",
        2,
        "cannot be used with '--host",
    ),
    ("env --mode transparent --uid ana", 2, "`id -u NAME`"),
    ("env --mode transparent --port 443,", 2, "expected a port"),
    (
        "env --mode transparent",
        3,
        "`modtape record --mode transparent`",
    ),
    (
        "record --netns --host-port x -- true",
        125,
        "expected a port from 1 to 65535",
    ),
    ("ls one --log-file -", 2, "--log-file"),
];

#[test]
fn a_flag_that_would_do_nothing_is_a_usage_error() {
    let sandbox = Sandbox::new();
    sample::write(&sandbox.join("recordings/one"));
    let mut wrong = Vec::new();
    for (line, code, flag) in VOID {
        let words: Vec<&str> = line.split_whitespace().collect();
        let output = modtape(&sandbox, &words);
        let is_told = output.stderr.starts_with("error: ") && output.stderr.contains(flag);
        if output.status.code() != Some(code) || !is_told || !output.stdout.is_empty() {
            wrong.push(format!("{line}: {:?} {}", output.status, output.stderr));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let names = std::fs::read_dir(sandbox.join("recordings")).expect("a folder");
    let names = names.flatten().map(|entry| entry.file_name());
    let names: Vec<_> = names.filter(|name| name != ".gitignore").collect();
    assert_eq!(names, ["one"], "something was recorded");
}

#[test]
fn every_part_of_an_exchange_goes_to_the_file_that_is_named() {
    let sandbox = Sandbox::new();
    sample::write(&sandbox.join("recordings/one"));
    for part in ["", "--headers", "--timings", "--body", "--curl", "--json"] {
        let parts: Vec<&str> = ["show", "1", "one", part]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        let shown = modtape(&sandbox, &parts).expect_success().stdout;
        let to_file = modtape(&sandbox, &[&parts[..], &["-o", "part"]].concat()).expect_success();
        assert_eq!(to_file.stdout, "", "{part}");
        let written = std::fs::read_to_string(sandbox.join("part")).expect("it was written");
        assert!(!shown.is_empty() && written == shown, "{part}: {written}");
        let dash = modtape(&sandbox, &[&parts[..], &["-o", "-"]].concat()).expect_success();
        assert_eq!(dash.stdout, shown, "{part}");
    }
}

#[test]
fn lists_of_hosts_say_how_a_host_is_written() {
    let sandbox = Sandbox::new();
    for flag in ["--intercept", "--tunnel"] {
        for (value, told) in [
            ("*.corp.example", "patterns are not supported"),
            (".corp.example", "patterns are not supported"),
            ("git.corp.example:8443", "help: FLAG git.corp.example\n"),
            (
                "https://ana:hunter2@git.corp.example/x?y",
                "help: FLAG git.corp.example\n",
            ),
            ("[::1]:443", "help: FLAG ::1\n"),
            ("a b", "not a host name"),
        ] {
            let output = modtape(&sandbox, &["record", flag, value, "--", "true"]);
            assert_eq!(output.status.code(), Some(125), "{}", output.stderr);
            let told = told.replace("FLAG", flag);
            assert!(output.stderr.contains(&told), "{value}: {}", output.stderr);
            assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
        }
        modtape(
            &sandbox,
            &[
                "record",
                flag,
                "a.example,::1,[::2],B.example.",
                "--",
                "true",
            ],
        )
        .expect_success();
    }
}
