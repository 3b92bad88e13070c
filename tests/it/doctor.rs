//! `modtape doctor`: each check of a real run, against origins that are well and origins that are not.

mod checks;
mod names;
mod networks;
mod settings;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::*;

const PROXY: &str = "proxy.golang.org";
const SUMDB: &str = "sum.golang.org";
const SMALL: &str = "/golang.org/x/text/@v/v0.21.0.mod";
const SUPPORTED: &str = "/sumdb/sum.golang.org/supported";

/// A guard: the verb has limits of its own.
const LIMIT: Duration = Duration::from_secs(60);

/// A module proxy and a checksum database that are well.
fn well() -> Content {
    let module = "module golang.org/x/text\n";
    Content::files([
        ((PROXY, SMALL), (200, "text/plain", module)),
        (
            (SUMDB, "/latest"),
            (200, "text/plain", "go.sum database tree\n1\n"),
        ),
    ])
}

/// The verb with the flags that lead to `origin` instead of the internet.
fn to(sandbox: &Sandbox, origin: &Origin) -> Command {
    let everywhere = format!("::127.0.0.1:{}", origin.addr().port());
    let mut doctor = sandbox.modtape(["doctor", "--json", "--connect-to", &everywhere]);
    doctor.arg("--upstream-ca").arg(origin.root_pem_path());
    doctor
}

/// The command with a real go on its PATH; `None` where there is none.
fn with_go(mut command: Command, sandbox: &Sandbox, release: &str) -> Option<Command> {
    let go = sandbox.go(release)?;
    let folder = go.parent().expect("a program is in a folder");
    command.env("PATH", search_path(&[folder]));
    Some(command)
}

/// What it prints with `--json`.
struct Told {
    code: Option<i32>,
    json: Value,
}

impl Told {
    #[track_caller]
    fn by(command: Command) -> Self {
        let output = run(command, LIMIT);
        let json = serde_json::from_str(&output.stdout);
        let json =
            json.unwrap_or_else(|error| panic!("{error}: {} {}", output.stdout, output.stderr));
        assert_eq!(output.stderr, "");
        Self {
            code: output.status.code(),
            json,
        }
    }

    /// The rows of a check.
    fn rows(&self, check: &str) -> Vec<&Value> {
        let rows = self.json["checks"].as_array().expect("a list").iter();
        rows.filter(|row| row["check"] == check).collect()
    }

    /// The row of a check of a subject.
    #[track_caller]
    fn row(&self, check: &str, subject: &str) -> &Value {
        let mut rows = self.rows(check).into_iter();
        let found = rows.find(|row| row["subject"] == subject);
        found.unwrap_or_else(|| panic!("no {check} of {subject}: {:#}", self.json["checks"]))
    }

    /// The state of that row, and what its text says.
    #[track_caller]
    fn is(&self, check: &str, subject: &str, state: &str, text: &str) {
        let row = self.row(check, subject);
        let said = row["text"].as_str().unwrap_or_default();
        assert!(row["state"] == state && said.contains(text), "{row:#}");
    }

    /// The rows that are not ok, but for those on the disk of the machine.
    fn faults(&self) -> Vec<&Value> {
        let rows = self.json["checks"].as_array().expect("a list").iter();
        let is_ours = |row: &&Value| row["check"] != "space" && row["check"] != "file-system";
        rows.filter(is_ours)
            .filter(|row| row["state"] != "ok")
            .collect()
    }

    /// The line that would help, with its reason.
    fn advice(&self) -> (String, String) {
        let part = |key| {
            self.json["advice"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        (part("command"), part("reason"))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}
