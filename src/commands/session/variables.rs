//! The environment, read in one place and passed down as values.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::child::{self, GoFacts, SETTINGS};
use crate::files::open_regular;
use crate::gomod::Netrc;

/// The largest netrc file that is read, bytes.
const NETRC: u64 = 1 << 20;

/// The environment variables that modtape reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables {
    pub(crate) https_proxy: String,
    pub(crate) http_proxy: String,
    pub(crate) no_proxy: String,
    /// GOPROXY of the environment; `go env -w` may set another.
    pub(crate) goproxy: String,
    /// Patterns of modules that no module proxy is asked for: GONOPROXY of the environment, else GOPRIVATE.
    pub(crate) private: String,
    pub(crate) ssl_cert_file: Option<PathBuf>,
    pub(crate) ssl_cert_dir: Option<OsString>,
    pub(crate) traceparent: Option<String>,
    pub(crate) path: Option<OsString>,
    /// The file for TLS secrets, as in other programs.
    pub(crate) key_log: Option<PathBuf>,
    /// GOTOOLCHAIN of the environment; `go env -w` may set another.
    pub(crate) toolchain: String,
    /// Switches of Go programs.
    pub(crate) godebug: String,
    /// The settings of the go command that the environment sets.
    pub(crate) exported: Vec<String>,
    /// How many processors the go command takes to be there.
    pub(crate) processors: Option<u32>,
    /// The file with the credentials that go sends: NETRC, else `.netrc` at home.
    pub(crate) netrc: Option<PathBuf>,
    /// The PID of the recorder that this process runs in, if it does.
    pub(crate) outer_pid: Option<u32>,
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
            goproxy: text("GOPROXY"),
            private: match text("GONOPROXY") {
                own if own.is_empty() => text("GOPRIVATE"),
                own => own,
            },
            ssl_cert_file: os("SSL_CERT_FILE").map(PathBuf::from),
            ssl_cert_dir: os("SSL_CERT_DIR"),
            traceparent: std::env::var("TRACEPARENT").ok(),
            path: os("PATH"),
            key_log: os("MODTAPE_SSLKEYLOGFILE")
                .or_else(|| os("SSLKEYLOGFILE"))
                .map(PathBuf::from),
            toolchain: text("GOTOOLCHAIN"),
            godebug: text("GODEBUG"),
            exported: SETTINGS
                .iter()
                .filter(|name| !text(name).is_empty())
                .map(|name| (*name).to_owned())
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
            outer_pid: text("MODTAPE_PID").parse().ok(),
        }
    }
}

impl Variables {
    /// What the netrc file holds; nothing if it cannot be read.
    pub(crate) fn read_netrc(&self) -> Netrc {
        let mut text = Vec::new();
        let file = self.netrc.as_deref().map(open_regular);
        if let Some(Ok(file)) = file {
            let _ = io::Read::read_to_end(&mut io::Read::take(file, NETRC), &mut text);
        }
        Netrc::parse(&String::from_utf8_lossy(&text))
    }
}

impl Variables {
    /// Why that go command would not trust the root of a recorder; `None` if it would.
    pub(crate) fn why_untrusted(&self, go: &GoFacts) -> Option<String> {
        child::ignores_ssl_cert_file(std::env::consts::OS, go.get("GOVERSION"), &self.godebug)
    }
}

/// The processors that this process may use, as the Go runtime counts them.
fn available() -> Option<u32> {
    let number = std::thread::available_parallelism().ok()?;
    u32::try_from(number.get()).ok()
}
