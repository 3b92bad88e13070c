//! The environment of the command: the proxy, the bundle, and no variable that would bypass them; or the
//! module proxy.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::redact;

/// The settings that decide which hosts get requests for which modules.
pub(crate) const SETTINGS: [&str; 8] = [
    "GOPROXY",
    "GONOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOINSECURE",
    "GOVCS",
    "GOTOOLCHAIN",
];

/// Variables to set and to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// Set to these values.
    pub(crate) set: BTreeMap<String, String>,
    /// Removed.
    pub(crate) unset: Vec<String>,
}

/// What clients need to know of a running recorder.
#[derive(Debug, Clone)]
pub(crate) struct Recorder<'a> {
    /// How they reach it.
    pub(crate) way: WayIn<'a>,
    /// The recording's name.
    pub(crate) name: &'a str,
    /// The PID of the recorder.
    pub(crate) pid: u32,
    /// W3C Trace Context, for the command.
    pub(crate) traceparent: &'a str,
}

/// How clients reach a recorder.
#[derive(Debug, Clone, Copy)]
pub(crate) enum WayIn<'a> {
    /// It is their proxy.
    Proxy {
        /// `http://127.0.0.1:PORT`.
        url: &'a str,
        /// The bundle of CA certificates.
        bundle: &'a Path,
    },
    /// The kernel redirects their connections to it.
    Redirected {
        /// The bundle of CA certificates.
        bundle: &'a Path,
    },
    /// It is their module proxy.
    Gateway {
        /// `http://127.0.0.1:PORT/p0,direct`
        goproxy: &'a str,
        /// `KEY http://127.0.0.1:PORT/p2`, where the user's own names a URL.
        gosumdb: Option<&'a str>,
        /// What a proxy of theirs is not asked for, where it would be asked for this address: see
        /// [`past_proxies`].
        no_proxy: Option<&'a str>,
    },
}

/// Hosts that are never reached through the proxy: cmd/go excludes them itself, git and curl do
/// not.
const LOCAL: &str = "localhost,127.0.0.1,::1";

/// The variables that name a proxy.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// The variables that name who is reached without it.
const BYPASSES: [&str; 2] = ["NO_PROXY", "no_proxy"];

impl Environment {
    /// The variables that lead a go command through a recorder; with its proxy, git and curl too.
    ///
    /// Both cases are set: Go prefers upper case, curl and git read lower case.
    pub(crate) fn through(recorder: &Recorder<'_>) -> Self {
        let mut environment = Self::default();
        match recorder.way {
            WayIn::Proxy { url, bundle } => {
                for name in PROXIES {
                    environment.set(name, url);
                }
                for name in BYPASSES {
                    environment.set(name, LOCAL);
                }
                environment.trust(bundle);
            }
            WayIn::Redirected { bundle } => {
                let proxies = PROXIES.into_iter().chain(BYPASSES).map(str::to_owned);
                environment.unset.extend(proxies);
                environment.trust(bundle);
            }
            WayIn::Gateway {
                goproxy,
                gosumdb,
                no_proxy,
            } => {
                environment.set("GOPROXY", goproxy);
                if let Some(gosumdb) = gosumdb {
                    environment.set("GOSUMDB", gosumdb);
                }
                for name in BYPASSES.into_iter().filter(|_| no_proxy.is_some()) {
                    environment.set(name, no_proxy.unwrap_or_default());
                }
            }
        }
        environment.set("MODTAPE_NAME", recorder.name);
        environment.set("MODTAPE_PID", &recorder.pid.to_string());
        environment.set("TRACEPARENT", recorder.traceparent);
        environment
    }

    /// Trusts the CA certificates in this file, and is led to no other proxy.
    fn trust(&mut self, bundle: &Path) {
        let bundle = bundle.to_string_lossy();
        for name in ["SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE"] {
            self.set(name, &bundle);
        }
        self.unset
            .extend(["ALL_PROXY", "all_proxy"].map(str::to_owned));
    }

    /// Sets one more variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.set.insert(name.to_owned(), value.to_owned());
    }
}

/// The NO_PROXY with which `host` is reached without a proxy, by a client whose own value is `own`; `None` where
/// that needs none, since go asks no proxy for its own machine.
pub(crate) fn past_proxies(own: &str, host: &str) -> Option<String> {
    let bare = host.trim_matches(['[', ']']);
    let is_loopback = bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_loopback || bare == "localhost" {
        return None;
    }
    let mut hosts: Vec<&str> = own.split(',').filter(|host| !host.is_empty()).collect();
    if !hosts.contains(&bare) {
        hosts.push(bare);
    }
    Some(hosts.join(","))
}

/// Sets GOPATH and the module cache to folders below `dir`; GOBIN does not change.
pub(crate) fn private_go_dirs(
    environment: &mut Environment,
    dir: &Path,
    settings: &BTreeMap<String, String>,
) {
    environment.set("GOPATH", &private_gopath(dir).to_string_lossy());
    environment.set("GOMODCACHE", &private_cache(dir).to_string_lossy());
    if let Some(bin) = gobin(settings) {
        environment.set("GOBIN", &bin.to_string_lossy());
    }
}

fn private_gopath(dir: &Path) -> PathBuf {
    dir.join("gopath")
}

/// The module cache below a private folder.
pub(crate) fn private_cache(dir: &Path) -> PathBuf {
    private_gopath(dir).join("pkg").join("mod")
}

/// Where `go install` puts programs: GOBIN, else `bin` of the first GOPATH folder.
fn gobin(settings: &BTreeMap<String, String>) -> Option<PathBuf> {
    let value = |name: &str| settings.get(name).filter(|value| !value.is_empty());
    if let Some(bin) = value("GOBIN") {
        return Some(bin.into());
    }
    let first = std::env::split_paths(value("GOPATH")?).next()?;
    Some(first.join("bin"))
}

/// The recorded Go settings for a replay, without credentials.
pub(crate) fn replayed_settings(recorded: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let settings = SETTINGS.iter().filter_map(|&name| {
        // A variable cannot contain NUL: the command could not be started.
        let value = recorded.get(name).filter(|value| !value.contains('\0'))?;
        Some((name.to_owned(), without_userinfo(value)))
    });
    let mut settings: BTreeMap<_, _> = settings.collect();
    settings.insert(String::from("GOAUTH"), String::from("off"));
    settings
}

/// A list of URLs, each without its userinfo; the separators stay.
fn without_userinfo(value: &str) -> String {
    let mut whole = String::with_capacity(value.len());
    for entry in value.split_inclusive([',', '|', ' ']) {
        let (url, separator) = match entry.strip_suffix([',', '|', ' ']) {
            Some(url) => entry.split_at(url.len()),
            None => (entry, ""),
        };
        if url.contains("://") {
            whole.push_str(&redact::url_without_userinfo(url));
        } else {
            whole.push_str(url);
        }
        whole.push_str(separator);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn everything_leads_through_the_recorder() {
        let environment = Environment::through(&Recorder {
            way: WayIn::Proxy {
                url: "http://127.0.0.1:1",
                bundle: Path::new("/run/bundle.pem"),
            },
            name: "one",
            pid: 7,
            traceparent: "00-x-y-01",
        });
        for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
            assert_eq!(environment.set[name], "http://127.0.0.1:1");
        }
        assert_eq!(environment.set["NO_PROXY"], "localhost,127.0.0.1,::1");
        assert_eq!(environment.set["SSL_CERT_FILE"], "/run/bundle.pem");
        assert_eq!(environment.unset, ["ALL_PROXY", "all_proxy"]);
    }

    #[test]
    fn a_redirected_command_is_led_to_no_proxy() {
        let environment = Environment::through(&Recorder {
            way: WayIn::Redirected {
                bundle: Path::new("/run/bundle.pem"),
            },
            name: "one",
            pid: 7,
            traceparent: "00-x-y-01",
        });
        assert_eq!(environment.set["SSL_CERT_FILE"], "/run/bundle.pem");
        let is_set = |name: &String| name.to_uppercase().ends_with("_PROXY");
        assert!(!environment.set.keys().any(is_set));
        for name in ["HTTPS_PROXY", "http_proxy", "NO_PROXY", "all_proxy"] {
            let mut unset = environment.unset.iter();
            assert!(unset.any(|unset| unset == name), "{name}");
        }
    }

    #[test]
    fn a_gateway_leaves_proxies_and_trust_alone() {
        let goproxy = "http://127.0.0.1:1/p0,direct";
        let through = |gosumdb, no_proxy| {
            Environment::through(&Recorder {
                way: WayIn::Gateway {
                    goproxy,
                    gosumdb,
                    no_proxy,
                },
                name: "one",
                pid: 7,
                traceparent: "00-x-y-01",
            })
        };
        let environment = through(None, None);
        let names: Vec<_> = environment.set.keys().map(String::as_str).collect();
        let expected = ["GOPROXY", "MODTAPE_NAME", "MODTAPE_PID", "TRACEPARENT"];
        assert_eq!(names, expected);
        assert_eq!(environment.set["GOPROXY"], goproxy);
        assert!(environment.unset.is_empty());
        let environment = through(Some("sums.corp+0a+A http://127.0.0.1:1/p2"), Some("a,b"));
        let gosumdb = "sums.corp+0a+A http://127.0.0.1:1/p2";
        assert_eq!(environment.set["GOSUMDB"], gosumdb);
        assert_eq!(environment.set["NO_PROXY"], "a,b");
        assert_eq!(environment.set["no_proxy"], "a,b");
    }

    #[test]
    fn no_proxy_is_asked_for_a_recorder_on_another_address() {
        for (own, host, expected) in [
            ("", "127.0.0.1", None),
            ("a.example", "[::1]", None),
            ("a.example", "localhost", None),
            ("", "192.0.2.1", Some("192.0.2.1")),
            ("a.example,", "[2001:db8::1]", Some("a.example,2001:db8::1")),
            ("a.example,b", "b", Some("a.example,b")),
        ] {
            assert_eq!(past_proxies(own, host).as_deref(), expected, "{own} {host}");
        }
    }

    #[test]
    fn programs_are_still_installed_where_they_were() {
        let mut environment = Environment::default();
        let known = settings(&[("GOPATH", "/home/ana/go:/opt/go"), ("GOBIN", "")]);
        private_go_dirs(&mut environment, Path::new("/tmp/x"), &known);
        assert_eq!(environment.set["GOPATH"], "/tmp/x/gopath");
        assert_eq!(environment.set["GOMODCACHE"], "/tmp/x/gopath/pkg/mod");
        assert_eq!(environment.set["GOBIN"], "/home/ana/go/bin");
    }

    #[test]
    fn a_replay_gets_the_recorded_settings_without_credentials() {
        let recorded = settings(&[
            (
                "GOPROXY",
                "https://redacted:0123@goproxy.corp/x|https://h.corp/redacted:0123456789abcdef,direct",
            ),
            ("GOSUMDB", "sums.corp+0a0b+AZ/09 https://u:p@sums.corp"),
            ("GOVERSION", "go1.27.3"),
        ]);
        let replayed = replayed_settings(&recorded);
        let goproxy = "https://goproxy.corp/x|https://h.corp/redacted:0123456789abcdef,direct";
        assert_eq!(replayed["GOPROXY"], goproxy);
        let sumdb = "sums.corp+0a0b+AZ/09 https://sums.corp";
        assert_eq!(replayed["GOSUMDB"], sumdb);
        assert_eq!(replayed["GOAUTH"], "off");
        assert!(!replayed.contains_key("GOVERSION"));
    }
}
