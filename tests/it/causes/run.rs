//! The same go command twice in one world: by itself, and behind `modtape record`.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use modtape::clock::{Clock, Timestamp};
use modtape::recording::Recording;
use serde_json::Value;

use super::world::World;
use crate::record::recording;
use crate::support::*;

/// How long a go command may take that ends by itself.
const GO_LIMIT: Duration = Duration::from_secs(120);

/// How long a go command that hangs is watched.
const WATCHED: Duration = Duration::from_millis(1500);

/// What is run, and with which settings.
pub(super) struct Run<'w> {
    world: &'w World,
    project: &'static str,
    has_sums: bool,
    release: &'static str,
    args: Vec<String>,
    /// Run by a shell in place of `go ARGS`.
    script: Option<&'static str>,
    env: Vec<(String, String)>,
    prepare: Vec<Prepare<'w>>,
    stall_after: &'static str,
    other_words: bool,
}

/// The same run without modtape and behind it.
pub(super) struct Both {
    pub(super) plain: Ran,
    pub(super) recorded: Ran,
}

type Prepare<'w> = Box<dyn Fn(&Ready<'_>) + 'w>;

/// How a run ended.
pub(super) struct Ran {
    /// Exit code, 128 and the signal's number, and what was said.
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// The wall time.
    pub(super) took: Duration,
    /// Where it ran.
    pub(super) sandbox: Sandbox,
}

impl<'w> Run<'w> {
    /// `go ARGS`, in a copy of `hello` without a go.sum, with go's default settings.
    pub(super) fn go(world: &'w World, args: &[&str]) -> Self {
        Self {
            world,
            project: "hello",
            has_sums: false,
            release: "1.27",
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            script: None,
            env: Vec::new(),
            prepare: Vec::new(),
            stall_after: "1s",
            other_words: false,
        }
        .env("GOPROXY", "https://proxy.golang.org,direct")
    }

    /// With the project's go.sum, so that no checksum is looked up.
    pub(super) fn with_sums(self) -> Self {
        Self {
            has_sums: true,
            ..self
        }
    }

    /// A script for `sh`, which finds go.
    pub(super) fn shell(world: &'w World, script: &'static str) -> Self {
        Self {
            script: Some(script),
            ..Self::go(world, &[])
        }
    }

    /// In another project of the corpus.
    pub(super) fn project(self, project: &'static str) -> Self {
        Self { project, ..self }
    }

    /// With another release of go.
    pub(super) fn release(self, release: &'static str) -> Self {
        Self { release, ..self }
    }

    /// With a setting, in place of the usual one of that name.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With something else in the sandbox; each run has one of its own.
    pub(super) fn prepare(mut self, prepare: impl Fn(&Ready<'_>) + 'w) -> Self {
        self.prepare.push(Box::new(prepare));
        self
    }

    /// With another `--stall-after` than a second.
    pub(super) fn stall_after(self, stall_after: &'static str) -> Self {
        Self {
            stall_after,
            ..self
        }
    }

    /// What go says is not compared: of a connection that cannot be made, modtape tells more; or it is
    /// never the same twice.
    pub(super) fn in_other_words(self) -> Self {
        Self {
            other_words: true,
            ..self
        }
    }

    /// Runs it both ways, to its end; `None` where go or the corpus is missing.
    pub(super) fn both(&self) -> Option<Both> {
        let plain = self.plain()?;
        let recorded = self.recorded().expect("go is there");
        Some(self.compared(plain, recorded))
    }

    /// Runs it both ways, though it hangs: without modtape until `hangs` has come back and a while
    /// longer; and behind a recorder until stderr tells the cause, which is before it is ended: its code,
    /// and the first of `names`. The report says the same first, with all of `names`.
    /// What was recorded; `None` where go or the corpus is missing.
    #[track_caller]
    pub(super) fn hangs(&self, hangs: impl FnOnce(), code: &str, names: &[&str]) -> Option<Ran> {
        let plain = self.plain_hangs(hangs)?;
        let recorded = self.recorded_hangs(code).expect("go is there");
        let both = self.compared(plain, recorded);
        both.recorded.told_while_it_hung(code, names);
        Some(both.recorded)
    }

    /// The same on a terminal, which without modtape shows `prompt` and no more.
    #[track_caller]
    pub(super) fn asks(&self, prompt: &str, code: &str, names: &[&str]) -> Option<Ran> {
        let until = |ready: Ready<'_>, command: Command, text: &str, watched: Duration| {
            let begun = Clock::start();
            let mut running = Spawned::start(on_terminal(command));
            let said = running.wait_for_stdout(text);
            assert!(running.runs_for(watched), "it has ended: {said}");
            running.type_keys(CTRL_C);
            Ran::new(running.end(), begun, ready.sandbox)
        };
        let ready = self.ready()?;
        let command = ready.plain();
        let plain = until(ready, command, prompt, WATCHED);
        let ready = self.ready().expect("it was there before");
        let command = ready.recorded(&[]);
        let mut recorded = until(ready, command, &told(code), Duration::ZERO);
        assert_eq!(recorded.code, plain.code, "{}", recorded.stdout);
        // A terminal has one stream.
        recorded.stderr.clone_from(&recorded.stdout);
        recorded.told_while_it_hung(code, names);
        Some(recorded)
    }

    fn compared(&self, plain: Ran, recorded: Ran) -> Both {
        let both = Both { plain, recorded };
        let Both { plain, recorded } = &both;
        let said = format!("{}\n--- recorded:\n{}", plain.stderr, recorded.stderr);
        assert_eq!(recorded.code, plain.code, "{said}");
        assert_eq!(recorded.stdout, plain.stdout, "{said}");
        assert!(
            self.other_words || recorded.words() == plain.words(),
            "{said}"
        );
        both
    }

    /// Runs it without modtape; `None` where go or the corpus is missing.
    pub(super) fn plain(&self) -> Option<Ran> {
        let ready = self.ready()?;
        let command = ready.plain();
        Some(to_its_end(command, ready.sandbox))
    }

    /// Runs it behind a recorder.
    pub(super) fn recorded(&self) -> Option<Ran> {
        let ready = self.ready()?;
        let command = ready.recorded(&[]);
        Some(to_its_end(command, ready.sandbox))
    }

    /// Runs it again behind a recorder, with the first setting that the hint of the first finding of
    /// `ran` names.
    pub(super) fn as_hinted(&self, ran: &Ran) -> Ran {
        let (name, value) = ran.hinted();
        self.recorded_with(&name, &value)
    }

    /// Runs it again behind a recorder, with another setting.
    pub(super) fn recorded_with(&self, name: &str, value: &str) -> Ran {
        let ready = self.ready().expect("it was there before");
        let mut command = ready.recorded(&[]);
        command.env(name, value);
        to_its_end(command, ready.sandbox)
    }

    /// Runs it again behind a recorder with more flags.
    pub(super) fn recorded_by(&self, flags: &[&str]) -> Ran {
        let ready = self.ready().expect("it was there before");
        let command = ready.recorded(flags);
        to_its_end(command, ready.sandbox)
    }

    /// Runs it again behind a recorder, after something else was done in its sandbox.
    pub(super) fn recorded_after(&self, prepare: impl FnOnce(&Ready<'_>)) -> Ran {
        let ready = self.ready().expect("it was there before");
        prepare(&ready);
        let command = ready.recorded(&[]);
        to_its_end(command, ready.sandbox)
    }

    /// Runs it without modtape until `hangs` has come back, shows that it is still there a while
    /// later, and ends it as Ctrl-C does.
    fn plain_hangs(&self, hangs: impl FnOnce()) -> Option<Ran> {
        let ready = self.ready()?;
        let begun = Clock::start();
        let running = Spawned::start(ready.plain());
        hangs();
        if !running.runs_for(WATCHED) {
            panic!("it has ended: {:?}", running.end());
        }
        Some(interrupted(running, begun, ready.sandbox))
    }

    /// Runs it behind a recorder until stderr tells the cause of this code, and ends both as Ctrl-C does.
    pub(super) fn recorded_hangs(&self, code: &str) -> Option<Ran> {
        let ready = self.ready()?;
        let begun = Clock::start();
        let running = Spawned::start(ready.recorded(&[]));
        running.wait_for_stderr(&told(code));
        Some(interrupted(running, begun, ready.sandbox))
    }

    /// A sandbox in which all is as the run finds it.
    pub(super) fn ready(&self) -> Option<Ready<'_>> {
        let sandbox = Sandbox::new();
        let go = sandbox.go(self.release)?;
        match self.has_sums {
            true => sandbox.project(self.project)?,
            false => sandbox.project_without_sums(self.project)?,
        };
        let ready = Ready {
            run: self,
            sandbox,
            go,
        };
        self.prepare.iter().for_each(|prepare| prepare(&ready));
        Some(ready)
    }
}

/// A run that can begin.
pub(super) struct Ready<'r> {
    run: &'r Run<'r>,
    pub(super) sandbox: Sandbox,
    go: PathBuf,
}

impl Ready<'_> {
    /// `go ARGS` in the sandbox, with the run's settings.
    pub(super) fn go(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(&self.go);
        command.args(args);
        self.set(command)
    }

    /// The run itself, without modtape.
    pub(super) fn plain(&self) -> Command {
        let Some(script) = self.run.script else {
            let args: Vec<_> = self.run.args.iter().map(String::as_str).collect();
            return self.go(&args);
        };
        let mut shell = self.sandbox.command("sh");
        shell.args(["-c", script]);
        self.set(shell)
    }

    fn recorded(&self, flags: &[&str]) -> Command {
        let plain = self.plain();
        let mut command = self
            .sandbox
            .modtape(["record", "-o", "one", "--stall-after"]);
        command.arg(self.run.stall_after).args(flags).arg("--");
        command.arg(plain.get_program()).args(plain.get_args());
        self.set(command)
    }

    fn set(&self, command: Command) -> Command {
        let mut command = self.run.world.trusting(command);
        let folder = self.go.parent().expect("a file stands in a folder");
        command.env("PATH", search_path(&[folder]));
        command.envs(self.run.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// How the line of a stall names its cause.
fn told(code: &str) -> String {
    format!("[{code}]")
}

/// What a terminal makes SIGINT of.
const CTRL_C: &[u8] = b"\x03";

/// The same command on a terminal of its own, whose both streams are stdout.
fn on_terminal(command: Command) -> Command {
    let quoted = |word: &OsStr| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let line: Vec<_> = words.map(quoted).collect();
    let mut script = program("script");
    script.args(["-qec", &line.join(" "), "/dev/null"]);
    let set = command.get_envs();
    script.envs(set.filter_map(|(name, value)| Some((name, value?))));
    script.current_dir(command.get_current_dir().expect("a sandbox sets it"));
    script
}

fn to_its_end(command: Command, sandbox: Sandbox) -> Ran {
    let begun = Clock::start();
    let output = run(command, GO_LIMIT);
    Ran::new(output, begun, sandbox)
}

fn elapsed(begun: Clock) -> Duration {
    begun.now().since(Timestamp::default())
}

fn interrupted(running: Spawned, begun: Clock, sandbox: Sandbox) -> Ran {
    running.interrupt();
    Ran::new(running.end(), begun, sandbox)
}

impl Ran {
    fn new(output: Output, begun: Clock, sandbox: Sandbox) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let status = output.status;
        let of_signal = || status.signal().map(|signal| 128 + signal);
        Self {
            code: status.code().or_else(of_signal).expect("it has ended"),
            stdout: output.stdout,
            stderr: output.stderr,
            took: elapsed(begun),
            sandbox,
        }
    }

    /// What it recorded.
    pub(super) fn recording(&self) -> Recording {
        recording(&self.sandbox, "one")
    }

    /// What go itself said on stderr, in an order of no account.
    fn words(&self) -> Vec<String> {
        let lines = self.stderr.lines();
        let summary = |line: &&str| line.starts_with("modtape: ") && line.contains(" in ");
        let of_go = lines.take_while(|line| !summary(line));
        let of_go = of_go.filter(|line| !line.starts_with("modtape: "));
        let folder = self.sandbox.path().to_string_lossy().into_owned();
        let mut words: Vec<_> = of_go.map(|line| line.replace(&folder, "SANDBOX")).collect();
        words.sort();
        words
    }

    /// Asserts that the cause was told while it hung, in the line that was waited for, and that the
    /// first finding says the same.
    #[track_caller]
    fn told_while_it_hung(&self, code: &str, names: &[&str]) {
        let mut lines = self.stderr.lines();
        let line = lines.find(|line| line.contains(&told(code)));
        let line = line.expect("it was waited for");
        assert!(
            line.contains("still waiting:") && line.contains(names[0]),
            "{line}"
        );
        self.first(code, "problem", names);
    }

    /// Asserts what the first finding of its report is: the code, the severity, words of its title,
    /// evidence and hint, and that the evidence is in the recording.
    #[track_caller]
    pub(super) fn first(&self, code: &str, severity: &str, names: &[&str]) {
        let report = self.report();
        let first = &report["findings"][0];
        let shown = format!("{report:#}\n{}", self.stderr);
        assert_eq!(
            (&first["code"], &first["severity"]),
            (&code.into(), &severity.into()),
            "{shown}"
        );
        let evidence = first["evidence"].as_array().expect("a list");
        assert!(!evidence.is_empty(), "{shown}");
        // In words: the numbers of exchanges, codes and links name nothing.
        let parts = ["shows", "name", "path"];
        let said = evidence
            .iter()
            .flat_map(|piece| parts.map(|part| &piece[part]));
        let said = said.chain([&first["title"], &first["hint"]]);
        let said: Vec<_> = said.map(ToString::to_string).collect();
        for name in names {
            let is_named = said.iter().any(|said| said.contains(name));
            assert!(is_named, "not named: {name}\n{shown}");
        }
        let recording = self.recording();
        for piece in evidence {
            let id = piece["id"].as_u64();
            let is_there = match piece["kind"].as_str().expect("a kind") {
                "exchange" => recording.rows().iter().any(|row| Some(row.id) == id),
                "connection" => id.is_some_and(|id| recording.connection(id).is_some()),
                _ => true,
            };
            assert!(is_there, "{piece}\n{shown}");
        }
    }

    /// Asserts that nothing is wrong with it: no finding above `note`.
    #[track_caller]
    pub(super) fn nothing(&self) {
        self.nothing_but(&[]);
    }

    /// The same but for these causes, whose cost depends on how fast this machine runs git.
    #[track_caller]
    pub(super) fn nothing_but(&self, codes: &[&str]) {
        let report = self.report();
        let mut findings = report["findings"].as_array().expect("a list").iter();
        let is_expected = |finding: &Value| {
            let is_note = finding["severity"] == "note";
            is_note || codes.iter().any(|code| finding["code"] == *code)
        };
        assert!(findings.all(is_expected), "{report:#}\n{}", self.stderr);
    }

    /// What the first finding says to try: the command in it, between backticks.
    pub(super) fn to_try(&self) -> String {
        let report = self.report();
        let hint = report["findings"][0]["hint"].as_str().expect("a hint");
        let mut parts = hint.split('`');
        parts.nth(1).expect("a command").to_owned()
    }

    /// The codes of all findings, first to last.
    pub(super) fn codes(&self) -> Vec<String> {
        let report = self.report();
        let findings = report["findings"].as_array().expect("a list").iter();
        let code = |finding: &Value| finding["code"].as_str().map(str::to_owned);
        findings.filter_map(code).collect()
    }

    /// The first setting that the hint of the first finding names: `GOPROXY='a|b'`, `GOMAXPROCS=16`.
    #[track_caller]
    pub(super) fn hinted(&self) -> (String, String) {
        let hint = self.hint();
        setting(&hint).unwrap_or_else(|| panic!("no setting: {hint}"))
    }

    /// The hint of the first finding.
    #[track_caller]
    pub(super) fn hint(&self) -> String {
        let report = self.report();
        let hint = report["findings"][0]["hint"].as_str();
        hint.expect("a hint").to_owned()
    }

    /// What stands in backticks in the hint of the first finding, and begins so.
    #[track_caller]
    pub(super) fn quoted(&self, begin: &str) -> String {
        let hint = self.hint();
        let mut quoted = hint.split('`').skip(1).step_by(2);
        let found = quoted.find(|part| part.starts_with(begin));
        found
            .unwrap_or_else(|| panic!("no {begin}: {hint}"))
            .to_owned()
    }

    /// Asserts that the command did well, and that its report does not have a finding of this code above
    /// `note`.
    #[track_caller]
    pub(super) fn is_mended(&self, code: &str) {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self.lacks(code);
    }

    /// Asserts that its report does not have a finding of this code above `note`.
    #[track_caller]
    pub(super) fn lacks(&self, code: &str) {
        let report = self.report();
        let mut findings = report["findings"].as_array().expect("a list").iter();
        let is_there = findings.any(|one| one["code"] == code && one["severity"] != "note");
        assert!(!is_there, "{report:#}\n{}", self.stderr);
    }

    /// What `report --format json` prints.
    pub(super) fn report(&self) -> Value {
        let modtape = self.sandbox.modtape(["report", "one", "--format", "json"]);
        let output = run(modtape, LIMIT).expect_success();
        serde_json::from_str(&output.stdout).expect("JSON")
    }
}

/// The first setting that a text names: its name and its value.
fn setting(text: &str) -> Option<(String, String)> {
    let is_of_name = |char: char| char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_';
    text.match_indices('=').find_map(|(at, _)| {
        let (before, value) = (&text[..at], &text[at + 1..]);
        let name = &before[before.trim_end_matches(is_of_name).len()..];
        let value = match value.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'')?.0,
            None => value.split([' ', ',', ';', ')']).next()?,
        };
        (name.len() > 1).then(|| (name.to_owned(), value.to_owned()))
    })
}
