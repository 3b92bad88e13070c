//! What was found out before any command runs: settings, networks, trust, the module cache.
//!
//! Plain data, which the probes fill and [`super::report`] judges. Times are microseconds.

use crate::recording::caches::{CacheFolder, CheckedModules, Forbidden};

/// All that is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// The go command and its settings.
    pub(crate) go: Go,
    /// How a recorder would see its requests.
    pub(crate) way_in: WayIn,
    /// The hosts that the settings name, each once.
    pub(crate) hosts: Vec<Host>,
    /// The entries of GOPROXY that are folders.
    pub(crate) folders: Vec<Folder>,
    /// The trusted roots.
    pub(crate) roots: Roots,
    /// The credentials file.
    pub(crate) netrc: NetrcFile,
    /// The module cache.
    pub(crate) cache: Cache,
}

/// How a recorder would see a command's requests, where no mode is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct WayIn {
    /// The mode, as `--mode` spells it.
    pub(crate) mode: &'static str,
    /// Why that one.
    pub(crate) why: String,
}

/// The go command and its settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Go {
    /// `go1.27.3`, if there is a usable go command.
    pub(crate) version: Option<String>,
    /// Why there is none.
    pub(crate) missing: Option<String>,
    /// The settings, in the order in which they are shown.
    pub(crate) settings: Vec<Setting>,
}

/// An effective setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its value; empty if it is not set. It may hold credentials.
    pub(crate) value: String,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The environment variable of that name.
    Environment(String),
    /// The file that `go env -w` writes.
    UserFile(String),
    /// The file `go.env` of the Go installation.
    Installation(String),
    /// Another setting, whose value it takes.
    Other(&'static str),
    /// Built in.
    Default,
}

/// A host that the settings name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// The host as a URL has it, with `:port` where that is not the scheme's own.
    pub(crate) name: String,
    /// The parent proxy on the way, without credentials.
    pub(crate) via: Option<String>,
    /// The lookup of the next hop's name; `None` if there is no name to look up.
    pub(crate) lookup: Option<Lookup>,
    /// TCP to the next hop, by family; a family without an address is absent.
    pub(crate) tcp: Vec<Tcp>,
    /// TCP and the parent proxy's answer.
    pub(crate) dial: Outcome,
    /// TLS with a ClientHello that fits into one packet; `None` over http, or without a connection.
    pub(crate) small: Option<Handshake>,
    /// TLS with a ClientHello that does not: with a post-quantum key share.
    pub(crate) large: Option<Handshake>,
    /// What is asked there, in order.
    pub(crate) places: Vec<Place>,
}

impl Host {
    /// Whether the name was looked up, and is not known.
    pub(crate) fn is_unresolved(&self) -> bool {
        matches!(&self.dial, Outcome::Failed(failure) if failure.step == Step::Lookup)
    }

    /// Whether the name was looked up, and is known.
    pub(crate) fn is_resolved(&self) -> bool {
        let lookup = self.lookup.as_ref();
        lookup.is_some_and(|lookup| lookup.error.is_none()) && !self.is_unresolved()
    }
}

/// The end of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was never begun.
    #[default]
    Unknown,
    /// It took so long.
    Took(u64),
    /// It failed, after so long.
    Failed(Failure),
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which step it was.
    pub(crate) step: Step,
    /// The error in words.
    pub(crate) text: String,
    /// When it was given up, since its begin.
    pub(crate) after_us: u64,
}

/// A step of a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The name of the next hop is looked up.
    Lookup,
    /// TCP to the next hop.
    Tcp,
    /// The parent proxy is asked for a tunnel; 407 is `is_unauthorized`.
    Parent {
        /// Whether it wants credentials.
        is_unauthorized: bool,
    },
    /// The settings do not allow it.
    Settings,
    /// The parent proxy is one that go supports and modtape does not: nothing was tried.
    Untested,
}

/// The lookup of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// The name.
    pub(crate) name: String,
    /// The system's own answer, which is what is dialled.
    pub(crate) took_us: u64,
    /// Its error.
    pub(crate) error: Option<String>,
    /// Each resolver's answers.
    pub(crate) queries: Vec<Query>,
}

/// A question to one resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// The resolver's address, as resolv.conf has it: with the scope of a link-local one.
    pub(crate) resolver: String,
    /// AAAA, else A.
    pub(crate) is_v6: bool,
    /// Until the answer, or until it was given up.
    pub(crate) took_us: u64,
    /// The answer.
    pub(crate) answer: DnsAnswer,
}

/// A resolver's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DnsAnswer {
    /// So many addresses; 0 if the name has none of that family.
    Addresses(usize),
    /// There is no such name.
    NoName,
    /// An error code of RFC 1035 section 4.1.1 or RFC 6895, such as SERVFAIL.
    Error(u8),
    /// Nothing came.
    Silence,
    /// The question could not be sent, or the answer is not DNS.
    Failed(String),
}

/// TCP to the addresses of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tcp {
    /// IPv6, else IPv4.
    pub(crate) is_v6: bool,
    /// How many addresses there are.
    pub(crate) addresses: usize,
    /// Until one of them answered, or until all had failed.
    pub(crate) took_us: u64,
    /// The error of each, if none answered.
    pub(crate) error: Option<String>,
}

/// A TLS handshake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Handshake {
    /// Its end.
    pub(crate) took_us: u64,
    /// The error in words, if it failed.
    pub(crate) error: Option<String>,
    /// Whether it failed because nothing came back.
    pub(crate) is_silent: bool,
    /// The size of the ClientHello, bytes.
    pub(crate) hello_bytes: usize,
    /// `TLS 1.3`
    pub(crate) version: Option<&'static str>,
    /// The protocol that ALPN chose.
    pub(crate) alpn: Option<&'static str>,
    /// The certificate, if one came.
    pub(crate) certificate: Option<Certificate>,
}

/// The certificate of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its issuer, as people know it.
    pub(crate) issuer: Option<String>,
    /// The issuer's organisation.
    pub(crate) issuer_organisation: Option<String>,
    /// The last day on which it is valid, `2027-01-31`.
    pub(crate) expires: Option<String>,
    /// How long it is still valid, seconds; negative if it has expired.
    pub(crate) valid_s: Option<i64>,
    /// Whether it is trusted.
    pub(crate) verdict: Verdict,
    /// Whether go would trust it without `--upstream-ca`.
    pub(crate) is_trusted_by_go: bool,
}

/// Whether a certificate is trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is.
    Trusted,
    /// Its issuer is not.
    UnknownIssuer,
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// Anything else.
    #[default]
    Other,
}

/// Something that is asked at a host: a GOPROXY entry, or the checksum database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// Its role.
    pub(crate) role: Role,
    /// Its URL, without credentials.
    pub(crate) url: String,
    /// Whether credentials were sent.
    pub(crate) has_credentials: bool,
    /// The small request, several times.
    pub(crate) request: Option<Asked>,
    /// `/sumdb/NAME/supported`, at a module proxy.
    pub(crate) supported: Option<Asked>,
}

/// The role of a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// The entry of GOPROXY with this index.
    Proxy(usize),
    /// The checksum database.
    #[default]
    Sumdb,
}

/// A request, asked once or several times in a row on one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The path.
    pub(crate) path: String,
    /// From each request's first byte to the first byte of its response.
    pub(crate) first_byte_us: Vec<u64>,
    /// The status of the last response.
    pub(crate) status: Option<u16>,
    /// Where it redirects to: the host.
    pub(crate) redirects_to: Option<String>,
    /// The first bytes of its text, if it is an error.
    pub(crate) message: Option<String>,
    /// The server's clock minus ours, seconds.
    pub(crate) skew_s: Option<i64>,
    /// Why there is no response to the last one.
    pub(crate) error: Option<String>,
}

/// An entry of GOPROXY that is a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Folder {
    /// Its URL.
    pub(crate) url: String,
    /// Why it cannot be read.
    pub(crate) error: Option<String>,
}

/// The trusted roots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roots {
    /// How many go trusts.
    pub(crate) count: usize,
    /// How many more `--upstream-ca` names.
    pub(crate) extra: usize,
    /// Why the file that SSL_CERT_FILE names gives none. Go reads on then, in folders.
    pub(crate) file_error: Option<String>,
}

/// The netrc file, in which go looks for credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NetrcFile {
    /// Its path.
    pub(crate) path: Option<String>,
    /// Whether it is there.
    pub(crate) exists: bool,
    /// Why it cannot be read.
    pub(crate) error: Option<String>,
    /// How many complete entries it has.
    pub(crate) machines: usize,
    /// Entries that do not apply to the host that they name.
    pub(crate) mistakes: Vec<MachineMistake>,
    /// Machines whose login or password is missing.
    pub(crate) incomplete: Vec<String>,
    /// Machines that stand behind the word `default`, where go stops reading.
    pub(crate) unread: Vec<String>,
    /// Whether it has an entry `default`, which go does not use.
    pub(crate) has_default: bool,
    /// Whether others may read it.
    pub(crate) is_open: bool,
    /// What GOAUTH names in its place; doctor does not run it.
    pub(crate) goauth: Option<String>,
}

/// An entry that does not apply to the host that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MachineMistake {
    /// As written.
    pub(crate) machine: String,
    /// What go looks for.
    pub(crate) expected: String,
}

/// The module cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cache {
    /// GOMODCACHE; `None` if it is not known.
    pub(crate) path: Option<String>,
    /// The folder that was looked at: itself, or the nearest above it that exists.
    pub(crate) looked_at: String,
    /// Whether it exists.
    pub(crate) exists: bool,
    /// Why no file can be made in it.
    pub(crate) write_error: Option<String>,
    /// Free bytes for this user.
    pub(crate) free_bytes: Option<u64>,
    /// The file system's type, `ext4`, if it is known.
    pub(crate) file_system: Option<String>,
    /// Whether that is a network's.
    pub(crate) is_remote: bool,
    /// Who holds locks in it; `None` where the system does not tell.
    pub(crate) locks: Option<Vec<Lock>>,
    /// The modules in it that the go.sum of this folder's module names, if there is one.
    pub(crate) modules: Option<CheckedModules>,
    /// A place for it that is this user's own, writable and on a local disk, below the home folder.
    pub(crate) elsewhere: Option<String>,
    /// The folder or lock in it, or else the folder above it, that this user cannot write.
    pub(crate) forbidden: Option<Forbidden>,
}

/// A lock in the module cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lock {
    /// The file, below the cache.
    pub(crate) file: String,
    /// The process that holds it.
    pub(crate) pid: u32,
    /// Its command line, cut.
    pub(crate) command: String,
}

impl Facts {
    /// Whether no name can be resolved: then there is no network, and no setting makes one.
    pub(crate) fn is_offline(&self) -> bool {
        self.hosts.iter().all(Host::is_unresolved)
    }
}

impl Cache {
    /// What is known of its folder.
    pub(crate) fn of(folder: CacheFolder) -> Self {
        Self {
            looked_at: folder.path.clone(),
            path: Some(folder.path),
            exists: folder.exists,
            write_error: folder.write_error,
            forbidden: folder.forbidden,
            free_bytes: folder.free_bytes,
            ..Self::default()
        }
    }
}

impl Go {
    /// A setting's value; empty if it is not set.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.setting(name).map_or("", |setting| &setting.value)
    }

    /// A setting.
    pub(crate) fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// The minor version, 27 of `go1.27.3`.
    pub(crate) fn minor(&self) -> Option<u32> {
        let rest = self.version.as_deref()?.strip_prefix("go1.")?;
        let end = rest.find(|c: char| !c.is_ascii_digit());
        rest[..end.unwrap_or(rest.len())].parse().ok()
    }
}
