//! The effective settings, and where each comes from.

use std::collections::BTreeMap;
use std::env;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::limited;
use crate::child::{GoFacts, go_for, read_env_file};
use crate::commands::session::{Variables, Way, user_file};
use crate::diagnose::doctor::facts::{Go, Origin, Setting, WayIn};
use crate::files::open_regular;
use crate::gomod::{GoSum, MachineRule};
use crate::redact::Redactor;

/// The settings of the go command, in the order in which they are shown.
const SETTINGS: [&str; 11] = [
    "GOPROXY",
    "GONOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOINSECURE",
    "GOVCS",
    "GOAUTH",
    "GOFLAGS",
    "GOTOOLCHAIN",
    "GOMODCACHE",
];

/// The variables that only the environment sets. The first of two spellings wins, as in Go.
const VARIABLES: [(&str, Option<&str>); 7] = [
    ("GODEBUG", None),
    ("HTTPS_PROXY", Some("https_proxy")),
    ("HTTP_PROXY", Some("http_proxy")),
    ("NO_PROXY", Some("no_proxy")),
    ("SSL_CERT_FILE", None),
    ("SSL_CERT_DIR", None),
    ("NETRC", None),
];

/// The settings that GOPRIVATE stands in for.
const FROM_GOPRIVATE: [&str; 2] = ["GONOPROXY", "GONOSUMDB"];

/// How much of a go.sum is read, bytes: those of the largest programs have a tenth of it.
const GO_SUM: u64 = 16 << 20;

/// The settings, secrets and all.
pub(super) struct Effective {
    go: GoFacts,
    /// What `go env -w` wrote, and where.
    user: File,
    /// What Go's installation says, and where.
    installation: File,
    settings: Vec<Setting>,
}

#[derive(Default)]
struct File {
    path: Option<PathBuf>,
    values: BTreeMap<String, String>,
}

impl Effective {
    /// Asks the go command; without one, reads what it would read.
    pub(super) async fn find_out(variables: &Variables) -> Self {
        let go = match go_for(None, variables.path.as_ref()) {
            Some(go) => GoFacts::ask(&go, None, variables.go("GOTOOLCHAIN")).await,
            None => GoFacts::defaults(String::from("there is no go command on the PATH")),
        };
        let user = File::read(user_file(go.get("GOENV"))).await;
        let root = Some(go.get("GOROOT")).filter(|root| !root.is_empty());
        let installation = File::read(root.map(|root| Path::new(root).join("go.env"))).await;
        let mut effective = Self {
            go,
            user,
            installation,
            settings: Vec::new(),
        };
        let settings = SETTINGS.map(|name| effective.setting(name));
        effective.settings.extend(settings);
        effective.settings.extend(VARIABLES.map(|(name, other)| {
            let names = [Some(name), other];
            let mut found = names
                .into_iter()
                .flatten()
                .map(|name| (name, variable(name)));
            let found = found.find(|(_, value)| !value.is_empty());
            let (origin, value) = match found {
                Some((spelling, value)) => (Origin::Environment(spelling.to_owned()), value),
                None => (Origin::Default, String::new()),
            };
            Setting {
                name,
                value,
                origin,
            }
        }));
        effective
    }

    fn setting(&self, name: &'static str) -> Setting {
        let own = variable(name);
        let mut value = self.go.get(name).to_owned();
        let is_asked = self.go.defaults_because.is_none();
        let in_file = self.user.values.get(name).filter(|value| !value.is_empty());
        let file = |file: &File| {
            file.path
                .as_deref()
                .map_or(String::new(), |p| p.display().to_string())
        };
        let origin = if !own.is_empty() {
            value = if is_asked { value } else { own };
            Origin::Environment(name.to_owned())
        } else if let Some(written) = in_file {
            value = if is_asked { value } else { written.clone() };
            Origin::UserFile(file(&self.user))
        } else if FROM_GOPRIVATE.contains(&name) && !self.private().is_empty() {
            value = self.private();
            Origin::Other("GOPRIVATE")
        } else if self.installation.values.contains_key(name) {
            Origin::Installation(file(&self.installation))
        } else {
            Origin::Default
        };
        if name == "GOMODCACHE" && value.is_empty() {
            value = default_cache(self.user.values.get("GOPATH")).unwrap_or_default();
        }
        Setting {
            name,
            value,
            origin,
        }
    }

    fn private(&self) -> String {
        match variable("GOPRIVATE") {
            value if value.is_empty() => {
                let written = self.user.values.get("GOPRIVATE");
                written.cloned().unwrap_or_default()
            }
            value => value,
        }
    }

    /// A setting's value; empty if it is not set.
    pub(super) fn get(&self, name: &str) -> &str {
        let mut settings = self.settings.iter();
        settings
            .find(|setting| setting.name == name)
            .map_or("", |setting| &setting.value)
    }

    /// How `modtape record` would see the requests of go.
    pub(super) fn way_in(&self, variables: &Variables) -> WayIn {
        let way = Way::fitting(variables.why_untrusted(&self.go), false);
        WayIn {
            mode: way.name(),
            why: way.why().to_owned(),
        }
    }

    /// The settings without secrets.
    pub(super) fn go(&self, redactor: &Redactor) -> Go {
        let version = Some(self.go.get("GOVERSION")).filter(|version| !version.is_empty());
        Go {
            version: version.map(str::to_owned),
            missing: self.go.defaults_because.clone(),
            settings: self
                .settings
                .iter()
                .map(|setting| Setting {
                    value: redactor.go_setting(setting.name, &setting.value),
                    ..setting.clone()
                })
                .collect(),
        }
    }

    /// How this go compares machines of a netrc file.
    pub(super) fn machine_rule(&self) -> MachineRule {
        let go = Go {
            version: Some(self.go.get("GOVERSION").to_owned()),
            ..Go::default()
        };
        match go.minor() {
            Some(..24) => MachineRule::Host,
            _ => MachineRule::Prefix,
        }
    }

    /// What GOAUTH names in place of the netrc file.
    pub(super) fn other_goauth(&self) -> Option<String> {
        let value = self.get("GOAUTH").trim();
        let is_netrc = value.is_empty() || value.split(';').any(|one| one.trim() == "netrc");
        // The command may have a token among its arguments.
        (!is_netrc).then(|| value.split_whitespace().next().unwrap_or(value).to_owned())
    }

    /// The netrc file that go reads.
    pub(super) fn netrc_path(&self) -> Option<PathBuf> {
        let named = self.get("NETRC");
        if !named.is_empty() {
            return Some(named.into());
        }
        home().map(|home| home.join(".netrc"))
    }

    /// Reads the go.sum of the module that this folder belongs to, if there is one that can be read.
    pub(super) fn go_sum(&self) -> impl FnOnce() -> Option<GoSum> + Send + 'static + use<> {
        let path = Path::new(self.go.get("GOMOD")).with_file_name("go.sum");
        move || {
            let mut content = Vec::new();
            let file = open_regular(&path).ok()?;
            file.take(GO_SUM).read_to_end(&mut content).ok()?;
            Some(GoSum::parse(&content))
        }
    }

    /// The module cache's folder.
    pub(super) fn module_cache(&self) -> Option<PathBuf> {
        let path = self.get("GOMODCACHE");
        (!path.is_empty()).then(|| path.into())
    }
}

impl File {
    /// Nothing of one whose file system does not answer.
    async fn read(path: Option<PathBuf>) -> Self {
        let own = path.clone();
        let values = limited(move || own.as_deref().map(read_env_file)).await;
        Self {
            values: values.flatten().unwrap_or_default(),
            path,
        }
    }
}

/// `pkg/mod` in the first folder of GOPATH.
fn default_cache(written: Option<&String>) -> Option<String> {
    let gopath = match variable("GOPATH") {
        value if value.is_empty() => written.cloned().unwrap_or_default(),
        value => value,
    };
    let first = env::split_paths(&gopath)
        .next()
        .filter(|path| !path.as_os_str().is_empty());
    let first = first.or_else(|| Some(home()?.join("go")))?;
    Some(first.join("pkg/mod").display().to_string())
}

/// The user's home folder.
pub(super) fn home() -> Option<PathBuf> {
    env::var_os("HOME")
        .filter(|home| !home.is_empty())
        .map(PathBuf::from)
}

fn variable(name: &str) -> String {
    env::var_os(name).map_or(String::new(), |value| value.to_string_lossy().into_owned())
}
