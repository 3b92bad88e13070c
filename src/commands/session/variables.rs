//! The environment, read in one place and passed down as values.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::child::{self, GoFacts, SETTINGS, go_for, read_env_file};
use crate::files::open_regular;
use crate::gomod::Netrc;

/// The folder of caches, from the user's own.
const CACHE: &str = if cfg!(target_os = "macos") {
    "Library/Caches"
} else {
    ".cache"
};

/// The largest netrc file that is read, bytes.
const NETRC: u64 = 1 << 20;

/// The environment variables that modtape reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    pub(crate) https_proxy: String,
    pub(crate) http_proxy: String,
    pub(crate) no_proxy: String,
    pub(crate) ssl_cert_file: Option<PathBuf>,
    pub(crate) ssl_cert_dir: Option<OsString>,
    pub(crate) traceparent: Option<String>,
    pub(crate) path: Option<OsString>,
    /// The file for TLS secrets, as in other programs.
    pub(crate) key_log: Option<PathBuf>,
    /// Switches of Go programs.
    pub(crate) godebug: String,
    /// The settings of the go command that the environment sets, none empty; `go env -w` may set others.
    pub(crate) go: BTreeMap<String, String>,
    /// How many processors the go command takes to be there.
    pub(crate) processors: Option<u32>,
    /// The file with the credentials that go sends: NETRC, else `.netrc` at home.
    pub(crate) netrc: Option<PathBuf>,
    /// The variables of the user's own that say how git asks for passwords.
    pub(crate) prompts: Vec<&'static str>,
    /// Where programs keep what they can make again: XDG_CACHE_HOME, else the system's folder at home.
    pub(crate) cache: Option<PathBuf>,
    /// The PID of the recorder that this process runs in, if it does.
    pub(crate) outer_pid: Option<u32>,
    /// The socket on which a service manager waits to hear that the service is ready.
    pub(crate) notify_socket: Option<OsString>,
}

impl Variables {
    /// Reads the variables. The upper case of a proxy variable wins, as in Go; empty means not set.
    pub(crate) fn read() -> Self {
        let text = |name: &str| std::env::var(name).unwrap_or_default();
        let either = |upper: &str| match text(upper) {
            value if value.is_empty() => text(&upper.to_lowercase()),
            value => value,
        };
        let os = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            https_proxy: either("HTTPS_PROXY"),
            http_proxy: either("HTTP_PROXY"),
            no_proxy: either("NO_PROXY"),
            ssl_cert_file: os("SSL_CERT_FILE").map(PathBuf::from),
            ssl_cert_dir: os("SSL_CERT_DIR"),
            traceparent: std::env::var("TRACEPARENT").ok(),
            path: os("PATH"),
            key_log: os("MODTAPE_SSLKEYLOGFILE")
                .or_else(|| os("SSLKEYLOGFILE"))
                .map(PathBuf::from),
            godebug: text("GODEBUG"),
            go: SETTINGS
                .iter()
                .map(|name| ((*name).to_owned(), text(name)))
                .filter(|(_, value)| !value.is_empty())
                .collect(),
            processors: text("GOMAXPROCS")
                .parse()
                .ok()
                .filter(|n| *n > 0)
                .or_else(available),
            netrc: os("NETRC").map(PathBuf::from).or_else(|| {
                let home = os("HOME").map(PathBuf::from);
                home.map(|home| home.join(".netrc"))
            }),
            prompts: ["GIT_TERMINAL_PROMPT", "GCM_INTERACTIVE"]
                .into_iter()
                .filter(|name| os(name).is_some())
                .collect(),
            // As os.UserCacheDir.
            cache: os("XDG_CACHE_HOME")
                .filter(|_| !cfg!(target_os = "macos"))
                .map(PathBuf::from)
                .or_else(|| os("HOME").map(|home| PathBuf::from(home).join(CACHE))),
            outer_pid: text("MODTAPE_PID").parse().ok(),
            notify_socket: os("NOTIFY_SOCKET"),
        }
    }
}

impl Variables {
    /// What keeps git from asking a person for a password, as go sets it for the programs that it runs
    /// (`cmd/go/internal/modload.Init`); less what the user has set.
    pub(super) fn silent_git(&self) -> Vec<(&'static str, &'static str)> {
        let mut silent = vec![("GIT_TERMINAL_PROMPT", "0"), ("GCM_INTERACTIVE", "never")];
        silent.retain(|(name, _)| !self.prompts.contains(name));
        silent
    }

    /// What the netrc file holds; nothing if it cannot be read.
    pub(crate) fn read_netrc(&self) -> Netrc {
        let mut text = Vec::new();
        let file = self.netrc.as_deref().map(open_regular);
        if let Some(Ok(file)) = file {
            let _ = io::Read::read_to_end(&mut io::Read::take(file, NETRC), &mut text);
        }
        Netrc::parse(&String::from_utf8_lossy(&text))
    }

    /// A setting of the go command, as the environment has it; empty if it is not set there.
    pub(crate) fn go(&self, name: &str) -> &str {
        self.go.get(name).map_or("", String::as_str)
    }

    /// The settings that the go command has in the current folder, as it tells them itself; where no go command
    /// can be asked, what the environment says, or else the file of `go env -w`.
    pub(crate) async fn go_settings(&self) -> GoFacts {
        self.go_settings_of(&[]).await
    }

    /// The same of a command, and in the folder that it changes to.
    pub(crate) async fn go_settings_of(&self, command: &[OsString]) -> GoFacts {
        let program = command.first().map(OsString::as_os_str);
        let folder = child::folder_of(command);
        let mut facts = match go_for(program, self.path.as_ref()) {
            Some(go) => GoFacts::ask(&go, folder.as_deref(), self.go("GOTOOLCHAIN")).await,
            None => GoFacts::defaults(String::from("there is no go command on the PATH")),
        };
        if facts.defaults_because.is_none() {
            return facts;
        }
        let written = user_file("").map(|path| read_env_file(&path));
        let written = written.unwrap_or_default().into_iter();
        let known =
            written.filter(|(name, value)| SETTINGS.contains(&name.as_str()) && !value.is_empty());
        facts.settings.extend(known);
        facts.settings.extend(self.go.clone());
        let private = facts.get("GOPRIVATE").to_owned();
        for name in ["GONOPROXY", "GONOSUMDB"] {
            let own = facts.settings.entry(name.to_owned()).or_default();
            if own.is_empty() {
                own.clone_from(&private);
            }
        }
        facts
    }
}

impl Variables {
    /// Why that go command would not trust the root of a recorder; `None` if it would.
    pub(crate) fn why_untrusted(&self, go: &GoFacts) -> Option<String> {
        child::ignores_ssl_cert_file(std::env::consts::OS, go.get("GOVERSION"), &self.godebug)
    }
}

/// The file of `go env -w`: GOENV of the environment, else `goenv`, else below the user's configuration folder.
pub(crate) fn user_file(goenv: &str) -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = variable("GOENV").unwrap_or_else(|| goenv.into());
    if named == "off" {
        return None;
    }
    if !named.is_empty() {
        return Some(named.into());
    }
    // As os.UserConfigDir.
    let config = || Some(PathBuf::from(variable("HOME")?).join(CONFIG));
    let of_unix = variable("XDG_CONFIG_HOME").filter(|_| !cfg!(target_os = "macos"));
    let config = of_unix.map(PathBuf::from).or_else(config)?;
    Some(config.join("go/env"))
}

/// Where users have their configuration, below their home.
const CONFIG: &str = if cfg!(target_os = "macos") {
    "Library/Application Support"
} else {
    ".config"
};

/// The processors that this process may use, as the Go runtime counts them.
fn available() -> Option<u32> {
    let number = std::thread::available_parallelism().ok()?;
    u32::try_from(number.get()).ok()
}
