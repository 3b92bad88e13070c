//! Which hosts are probed, and what is asked there: those of GOPROXY and GOSUMDB, and no other.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use url::Url;

use super::settings::Effective;
use crate::diagnose::doctor::facts::{Asked, Host, Place, Role};
use crate::exchange::Target;
use crate::gomod::{GoProxy, GoSumDb, MachineRule, Netrc, ProxyTarget};
use crate::redact::url_without_secrets;
use crate::upstream::probe::{Ask, Site};

/// A small file of a module that every public proxy has, in a version without known vulnerabilities, which
/// some proxies refuse.
const SMALL: &str = "/golang.org/x/text/@v/v0.21.0.mod";

/// What every checksum database has: its newest signed tree head.
const LATEST: &str = "/latest";

/// How often the small request is sent.
const TRIES: usize = 5;

/// The hosts, each once.
pub(super) struct Sites(pub(super) Vec<Planned>);

/// A host, and what is asked there.
pub(super) struct Planned {
    pub(super) site: Site,
    pub(super) places: Vec<Place>,
}

impl Sites {
    /// The hosts that the settings name, in the order of GOPROXY, the checksum database last.
    pub(super) fn plan(effective: &Effective, netrc: &Netrc, rule: MachineRule) -> Self {
        let mut sites = Self(Vec::new());
        let list = GoProxy::parse(effective.get("GOPROXY"));
        let sumdb = effective.get("GOSUMDB").parse::<GoSumDb>().ok();
        let (relayed, direct) = match sumdb {
            Some(GoSumDb::On {
                name, url: None, ..
            }) => {
                let url = format!("https://{name}");
                (Some(name), Some(url))
            }
            Some(GoSumDb::On { url, .. }) => (None, url),
            Some(GoSumDb::Off) | None => (None, None),
        };
        for (index, entry) in list.entries.iter().enumerate() {
            let ProxyTarget::Url(url) = &entry.target else {
                continue;
            };
            let asks = match &relayed {
                Some(name) => vec![
                    (SMALL.to_owned(), TRIES),
                    (format!("/sumdb/{name}/supported"), 1),
                ],
                None => vec![(SMALL.to_owned(), TRIES)],
            };
            sites.add(Role::Proxy(index), url, asks, netrc, rule);
        }
        if let Some(url) = direct {
            sites.add(
                Role::Sumdb,
                &url,
                vec![(LATEST.to_owned(), TRIES)],
                netrc,
                rule,
            );
        }
        sites
    }

    fn add(
        &mut self,
        role: Role,
        url: &str,
        asks: Vec<(String, usize)>,
        netrc: &Netrc,
        rule: MachineRule,
    ) {
        let Ok(parsed) = Url::parse(url) else { return };
        let is_secure = match parsed.scheme() {
            "https" => true,
            "http" => false,
            _ => return,
        };
        let Some(target) = Target::of_url(url) else {
            return;
        };
        // As in go, credentials go over https only.
        let authorization = is_secure
            .then(|| authorization(&parsed, netrc, rule))
            .flatten();
        let base = parsed.path().trim_end_matches('/');
        let place = Place {
            role,
            url: url_without_secrets(url),
            has_credentials: authorization.is_some(),
            request: asks.first().map(|_| Asked::default()),
            supported: asks.get(1).map(|_| Asked::default()),
        };
        let asks = asks.into_iter().map(|(path, times)| Ask {
            path: format!("{base}{path}"),
            authorization: authorization.clone(),
            times,
        });
        let mut planned = self.0.iter_mut();
        let same = planned
            .find(|planned| planned.site.target == target && planned.site.is_secure == is_secure);
        match same {
            Some(planned) => {
                planned.site.asks.extend(asks);
                planned.places.push(place);
            }
            None => self.0.push(Planned {
                site: Site {
                    target,
                    is_secure,
                    asks: asks.collect(),
                },
                places: vec![place],
            }),
        }
    }
}

/// The value of `Authorization` that go would send: the URL's own, else that of the netrc file.
fn authorization(url: &Url, netrc: &Netrc, rule: MachineRule) -> Option<String> {
    let basic = |user: &str, password: &str| {
        let text = BASE64_STANDARD.encode(format!("{user}:{password}"));
        format!("Basic {text}")
    };
    if !url.username().is_empty() || url.password().is_some() {
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
        let password = decoded(url.password().unwrap_or_default());
        return Some(basic(&decoded(url.username()), &password));
    }
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let plain = format!("{}{port}{}", url.host_str()?, url.path());
    let login = netrc.login_for(&plain, rule)?;
    Some(basic(&login.login, &login.password))
}

impl Planned {
    /// The host with the answers to what was asked there; without a connection there are none.
    pub(super) fn filled(mut host: Host, places: Vec<Place>, asked: Vec<Asked>) -> Host {
        let mut asked = asked.into_iter();
        host.places = places
            .into_iter()
            .map(|place| Place {
                request: place.request.and_then(|_| asked.next()),
                supported: place.supported.and_then(|_| asked.next()),
                ..place
            })
            .collect();
        host
    }
}
