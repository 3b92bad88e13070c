//! The effective settings of the go command, as `go env` prints them in the folder where the
//! command will run.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::env_file::read_env_file;
use super::environment::SETTINGS;
use super::run::SpawnError;
use crate::gomod::modfile;
use crate::recording::MainModule;

/// How long `go env` may take; it reads files only.
const LIMIT: Duration = Duration::from_secs(5);

/// Further values that are used: the version and platform in the manifest, GOBIN and the module
/// cache, where settings come from, and where the main module lies.
const OTHERS: [&str; 12] = [
    "GOVERSION",
    "GOOS",
    "GOARCH",
    "GOFLAGS",
    "GOPATH",
    "GOBIN",
    "GOMODCACHE",
    "GOAUTH",
    "GOENV",
    "GOROOT",
    "GOMOD",
    "GOWORK",
];

/// Which toolchains the go command may run in its own place.
const TOOLCHAIN: &str = "GOTOOLCHAIN";

/// The defaults of cmd/go, for machines without a usable go command.
const DEFAULTS: [(&str, &str); 2] = [
    ("GOPROXY", "https://proxy.golang.org,direct"),
    ("GOSUMDB", "sum.golang.org"),
];

/// The go command's effective settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoFacts {
    /// Effective values by name.
    pub(crate) settings: BTreeMap<String, String>,
    /// Why the settings are cmd/go's defaults, if they are.
    pub(crate) defaults_because: Option<String>,
}

impl GoFacts {
    /// The defaults of cmd/go, and why they are used.
    pub(crate) fn defaults(why: String) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            settings: DEFAULTS.iter().map(owned).collect(),
            defaults_because: Some(why),
        }
    }

    /// With the settings of the environment before the defaults, where no go command could be asked.
    pub(crate) fn or_by_environment(mut self, environment: &BTreeMap<String, String>) -> Self {
        if self.defaults_because.is_some() {
            self.settings.extend(environment.clone());
        }
        self
    }

    /// Runs `go env -json` in `folder`, or else in the current one, with `GOTOOLCHAIN=local` so that it
    /// downloads nothing itself; `toolchain` is what the environment says of that, empty for nothing.
    pub(crate) async fn ask(go: &Path, folder: Option<&Path>, toolchain: &str) -> Self {
        let mut child = match (folder, std::path::absolute(go)) {
            // From another folder, a relative path would lead elsewhere.
            (Some(folder), Ok(go)) => {
                let mut child = Command::new(go);
                child.current_dir(folder);
                child
            }
            _ => Command::new(go),
        };
        let child = child
            .args(["env", "-json"])
            .env("GOTOOLCHAIN", "local")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(LIMIT, child).await {
            Ok(Ok(output)) if output.status.success() => output,
            Ok(Ok(output)) => {
                let first = String::from_utf8_lossy(&output.stderr);
                let first = first.lines().next().unwrap_or("no reason given");
                return Self::defaults(format!("{} env failed: {first}", go.display()));
            }
            Ok(Err(error)) => {
                return Self::defaults(format!("cannot run {}: {error}", go.display()));
            }
            Err(_) => {
                return Self::defaults(format!("{} env took over {LIMIT:?}", go.display()));
            }
        };
        let Ok(all) = serde_json::from_slice::<BTreeMap<String, String>>(&output.stdout) else {
            return Self::defaults(format!("{} env gave no JSON", go.display()));
        };
        let is_used = |name: &str| SETTINGS.contains(&name) || OTHERS.contains(&name);
        let mut settings: BTreeMap<String, String> =
            all.into_iter().filter(|(name, _)| is_used(name)).collect();
        // What it says of GOTOOLCHAIN is what it was told just now. Go before 1.21 knows of none.
        if settings.remove(TOOLCHAIN).is_some() {
            // On another thread: a file system that does not answer is not waited for.
            let (environment, known) = (toolchain.to_owned(), settings.clone());
            let reading = move || toolchain_setting(&environment, &known);
            let reading = tokio::task::spawn_blocking(reading);
            let own = tokio::time::timeout(LIMIT, reading).await;
            let own = own.ok().and_then(Result::ok).flatten();
            settings.extend(own.map(|own| (TOOLCHAIN.to_owned(), own)));
        }
        Self {
            settings,
            defaults_because: None,
        }
    }

    /// One setting; empty if it is not known.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }
}

/// The effective GOTOOLCHAIN, as cmd/go finds it (`cfg.Getenv`): what the environment says, or the file of
/// `go env -w`, or that of Go's installation; `None` if nobody says anything.
fn toolchain_setting(environment: &str, settings: &BTreeMap<String, String>) -> Option<String> {
    let file = |path: &Path| match path.is_absolute() {
        true => read_env_file(path).remove(TOOLCHAIN),
        false => None,
    };
    let path = |name: &str| Path::new(settings.get(name).map_or("", String::as_str));
    let own = Some(environment.to_owned()).filter(|own| !own.is_empty());
    // Even an empty value of the user's stands before that of the installation.
    let own = own.or_else(|| file(path("GOENV")));
    let own = own.or_else(|| file(&path("GOROOT").join("go.env")));
    own.filter(|own| !own.is_empty())
}

/// What a command works on that runs in `folder`, or else in the one that `facts` were asked for in. The
/// files need not exist.
pub(crate) fn main_module(
    command: &[OsString],
    facts: &GoFacts,
    folder: Option<&Path>,
) -> Option<MainModule> {
    if let Some(folder) = folder {
        let folder = std::path::absolute(folder).ok()?;
        let mut above = folder.ancestors().map(|folder| folder.join("go.mod"));
        return above.find(|path| path.is_file()).map(MainModule::Module);
    }
    let (program, words) = command.split_first()?;
    let words: Vec<&str> = match is_go(program) {
        true => words.iter().map_while(|word| word.to_str()).collect(),
        false => Vec::new(),
    };
    let verb = words.first().copied().unwrap_or_default();
    let is_versioned = |word: &&str| word.contains('@') && !word.starts_with('-');
    if matches!(verb, "install" | "run") && words.iter().any(is_versioned) {
        // Outside any module (go help install).
        return None;
    }
    let of_mod = words.get(1).copied().unwrap_or_default();
    // These work on one module even where there is a workspace (cmd/go's `modload.InitWorkfile`).
    let is_alone = verb == "get" || verb == "mod" && matches!(of_mod, "tidy" | "edit" | "init");
    let go_work = facts.get("GOWORK");
    if !is_alone && !["", "off"].contains(&go_work) {
        return Some(MainModule::Workspace(go_work.into()));
    }
    let go_mod = Path::new(facts.get("GOMOD"));
    let is_go_mod = go_mod.file_name().is_some_and(|name| name == "go.mod");
    let other = modfile(facts.get("GOFLAGS"), &words);
    let go_mod = match other.filter(|_| is_go_mod) {
        None => go_mod.to_owned(),
        Some(other) => {
            let folder = folder_of(command).unwrap_or_default();
            std::path::absolute(folder.join(other)).ok()?
        }
    };
    is_go_mod.then_some(MainModule::Module(go_mod))
}

/// The folder that a command goes to before it does anything (`go build -C DIR`), if it is one.
pub(crate) fn folder_of(command: &[OsString]) -> Option<PathBuf> {
    change_of_folder(command).filter(|folder| folder.is_dir())
}

/// The folder of `-C`, which must be the first flag of a go command.
fn change_of_folder(command: &[OsString]) -> Option<PathBuf> {
    let (program, words) = command.split_first()?;
    let at = words
        .iter()
        .position(|word| word.as_encoded_bytes().starts_with(b"-"))?;
    if !is_go(program) || at > 2 {
        return None;
    }
    let flag = words[at].to_str()?.trim_start_matches('-');
    match (flag, flag.strip_prefix("C=")) {
        ("C", _) => words.get(at + 1).map(PathBuf::from),
        (_, Some(folder)) => Some(folder.into()),
        (_, None) => None,
    }
}

/// The go command that will run: `command` itself if it is one, else the first `go` on `path`.
pub(crate) fn go_for(command: Option<&OsStr>, path: Option<&OsString>) -> Option<PathBuf> {
    match command {
        Some(command) if is_go(command) && Path::new(command).components().count() > 1 => {
            Some(command.into())
        }
        Some(command) if is_go(command) => find(command, path),
        _ => find(OsStr::new("go"), path),
    }
}

/// Whether a program, a name or a path, is a go command.
pub(crate) fn is_go(program: &OsStr) -> bool {
    crate::gomod::is_go(&program.to_string_lossy())
}

/// Checks that a program is on `path`, before anything is created for its run.
///
/// A name with a slash is left to the system. Whether the program can be executed is known only
/// when it is run.
pub(crate) fn look_up(program: &OsStr, path: &OsStr) -> Result<(), SpawnError> {
    let has_slash = program.as_encoded_bytes().contains(&b'/');
    if has_slash || find(program, Some(&path.to_owned())).is_some() {
        return Ok(());
    }
    let program = program.to_string_lossy().into_owned();
    Err(SpawnError::NotFound { program })
}

pub(super) fn find(name: &OsStr, path: Option<&OsString>) -> Option<PathBuf> {
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    folders
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_command_itself_is_asked_if_it_is_a_go() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["go", "go1.21.13", "make"] {
            fs::write(temp.path().join(name), "").unwrap();
        }
        let path = Some(temp.path().as_os_str().to_owned());
        let found = |command: Option<&str>| go_for(command.map(OsStr::new), path.as_ref());
        assert_eq!(found(Some("/opt/go/bin/go")), Some("/opt/go/bin/go".into()));
        assert_eq!(
            found(Some("go1.21.13")),
            Some(temp.path().join("go1.21.13"))
        );
        assert_eq!(found(Some("make")), Some(temp.path().join("go")));
        assert_eq!(found(Some("gofmt")), Some(temp.path().join("go")));
        assert_eq!(go_for(Some(OsStr::new("make")), None), None);
    }

    #[test]
    fn what_a_command_works_on_is_a_module_a_workspace_or_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let sub = temp.path().join("sub");
        fs::create_dir_all(sub.join("deep")).unwrap();
        fs::write(sub.join("go.mod"), "module a.b/c\n").unwrap();
        let mut facts = GoFacts::defaults(String::new());
        let found = |facts: &GoFacts, line: &str, folder: Option<&Path>| {
            // The folder's name may have a space.
            let words = line.split('|').map(OsString::from);
            main_module(&words.collect::<Vec<_>>(), facts, folder)
        };
        let module = |path: &str| Some(MainModule::Module(path.into()));
        assert_eq!(found(&facts, "go|build", None), None);
        for gomod in ["/dev/null", ""] {
            facts.settings.insert("GOMOD".into(), gomod.into());
            assert_eq!(found(&facts, "go|build|-modfile=a.mod", None), None);
        }
        facts
            .settings
            .insert("GOMOD".into(), "/src/app/go.mod".into());
        for line in [
            "go|build|./...",
            "make|-C|elsewhere|-modfile=x.mod",
            "go|build|-modfile=x.txt",
            "go|test|-args|-modfile=x.mod",
            "go|run|.|--|-modfile=x.mod",
        ] {
            assert_eq!(
                found(&facts, line, None),
                module("/src/app/go.mod"),
                "{line}"
            );
        }
        for line in ["go|install|a.b/c@latest", "go|run|-x|a.b/c@v1.0.0|-flag"] {
            assert_eq!(found(&facts, line, None), None, "{line}");
        }
        // An absolute path stays one.
        for line in [
            "go|build|-modfile=/src/x.mod",
            "go|mod|tidy|--modfile|/src/x.mod|-v",
            "go|build|-modfile=a.mod|-o|x|-modfile|/src/x.mod|.",
        ] {
            assert_eq!(found(&facts, line, None), module("/src/x.mod"), "{line}");
        }
        let in_sub = MainModule::Module(sub.join("x.mod"));
        let line = format!("go|mod|download|-C|{}|-modfile=x.mod", sub.display());
        assert_eq!(found(&facts, &line, None), Some(in_sub));
        facts
            .settings
            .insert("GOFLAGS".into(), "-x -modfile=/src/y.mod".into());
        assert_eq!(found(&facts, "make", None), module("/src/y.mod"));
        facts
            .settings
            .insert("GOWORK".into(), "/src/go.work".into());
        let workspace = Some(MainModule::Workspace("/src/go.work".into()));
        for line in ["go|build|./...", "go|mod|download", "make", "go|work|sync"] {
            assert_eq!(found(&facts, line, None), workspace, "{line}");
        }
        for line in ["go|mod|tidy", "go|get|a.b/c@v1.0.0"] {
            assert_eq!(found(&facts, line, None), module("/src/y.mod"), "{line}");
        }
        let there = Some(MainModule::Module(sub.join("go.mod")));
        assert_eq!(found(&facts, "go|test", Some(&sub.join("deep"))), there);
        facts.settings.insert("GOWORK".into(), "off".into());
        assert_eq!(found(&facts, "go|build", None), module("/src/y.mod"));
    }

    #[test]
    fn a_go_command_may_go_to_another_folder_first() {
        let temp = tempfile::tempdir().unwrap();
        let there = temp.path().to_owned();
        let found = |line: String| {
            let words = line.split('|').map(OsString::from);
            folder_of(&words.collect::<Vec<_>>())
        };
        let path = there.display();
        for line in [
            format!("go|mod|download|-C|{path}|-x"),
            format!("/opt/go/bin/go|build|-C={path}|./..."),
        ] {
            assert_eq!(found(line), Some(there.clone()));
        }
        for line in [
            format!("make|-C|{path}"),
            format!("go|build|-x|-C|{path}"),
            format!("go|build|-C|{path}/none"),
        ] {
            assert_eq!(found(line), None);
        }
    }

    /// A program in place of go that tells how often it is run, and what GOTOOLCHAIN it was given.
    #[cfg(unix)]
    #[tokio::test]
    async fn go_is_asked_once_and_its_toolchain_setting_is_the_users_own() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        let script = format!(
            "#!/bin/sh\necho \"$*\" >>'{0}/asked'\nprintf '{{\"GOTOOLCHAIN\":\"%s\",\"GOENV\":\"{0}/env\",\"GOROOT\":\"{0}\"}}' \"$GOTOOLCHAIN\"\n",
            temp.path().display()
        );
        fs::write(at("go"), script).unwrap();
        fs::set_permissions(at("go"), fs::Permissions::from_mode(0o755)).unwrap();
        for (installed, written, environment, expected) in [
            ("", None, "", ""),
            ("GOTOOLCHAIN=auto", None, "", "auto"),
            (
                "GOTOOLCHAIN=auto",
                Some("GOTOOLCHAIN=go1.23.4"),
                "",
                "go1.23.4",
            ),
            ("GOTOOLCHAIN=auto", Some("GOTOOLCHAIN="), "", ""),
            ("GOTOOLCHAIN=auto", Some("GOPROXY=off"), "path", "path"),
        ] {
            fs::write(at("go.env"), installed).unwrap();
            let _ = fs::remove_file(at("env"));
            if let Some(written) = written {
                fs::write(at("env"), written).unwrap();
            }
            let facts = GoFacts::ask(&at("go"), None, environment).await;
            assert_eq!(facts.defaults_because, None);
            assert_eq!(facts.get(TOOLCHAIN), expected, "{installed} {written:?}");
        }
        assert_eq!(
            fs::read_to_string(at("asked")).unwrap(),
            "env -json\n".repeat(5)
        );
    }

    #[tokio::test]
    async fn without_a_usable_go_the_defaults_say_why() {
        let facts = GoFacts::ask(Path::new("/does/not/exist/go"), None, "").await;
        assert_eq!(facts.get("GOSUMDB"), "sum.golang.org");
        assert!(facts.defaults_because.unwrap().contains("cannot run"));
    }
}
