//! What happens to a CONNECT: intercept, tunnel or refuse.

use std::collections::BTreeSet;

use super::propagation::Propagation;
use crate::exchange::Target;

/// What to do with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Answer TLS ourselves.
    Intercept,
    /// Relay blindly.
    Tunnel,
    /// Refuse, with this reason.
    Refuse(String),
}

/// Which hosts are intercepted, and what happens to all others.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Hosts to intercept: names in lower case, or addresses.
    pub intercept: BTreeSet<String>,
    /// Intercept every name (`--intercept-all`).
    pub intercept_all: bool,
    /// Hosts to tunnel, whatever else is said of them (`--tunnel`).
    pub tunnel: BTreeSet<String>,
    /// Hosts on neither list.
    pub others: Others,
    /// Hosts whose requests carry the ids of their exchange.
    pub propagation: Propagation,
}

/// What happens to a host that is on no list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Others {
    /// Relay blindly: recording.
    Tunnel,
    /// Refuse them: a replay has no upstream to relay to.
    Refuse {
        /// The recording that is replayed.
        recording: String,
        /// Hosts that were tunnelled when it was made.
        tunnelled: BTreeSet<String>,
    },
}

impl Policy {
    /// No host is intercepted: a gateway has no CONNECT.
    pub(crate) fn none() -> Self {
        Self {
            intercept: BTreeSet::new(),
            intercept_all: false,
            tunnel: BTreeSet::new(),
            others: Others::Tunnel,
            propagation: Propagation::default(),
        }
    }

    /// What to do with a CONNECT to `target`.
    pub(super) fn decide(&self, target: &Target) -> Decision {
        if self.intercepts(target.host()) {
            return Decision::Intercept;
        }
        match &self.others {
            Others::Tunnel => Decision::Tunnel,
            Others::Refuse {
                recording,
                tunnelled,
            } if tunnelled.contains(target.host()) => {
                let host = target.host();
                Decision::Refuse(format!(
                    "{host} was tunnelled when {recording} was recorded; \
                     record with --intercept {host}"
                ))
            }
            Others::Refuse { recording, .. } => {
                Decision::Refuse(format!("{} is not on recording {recording}", target.host()))
            }
        }
    }

    /// The hosts that are intercepted: those on the list, without the tunnelled ones.
    pub(crate) fn intercepted(&self) -> impl Iterator<Item = &String> {
        self.intercept.difference(&self.tunnel)
    }

    /// True if TLS for this name is answered by us.
    pub(super) fn intercepts(&self, host: &str) -> bool {
        let listed = self.intercept.contains(host);
        // Without a list no address can be vouched for: see `ca::Scope`.
        let any = self.intercept_all && host.parse::<std::net::IpAddr>().is_err();
        !self.tunnel.contains(host) && (listed || any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(hosts: &[&str]) -> BTreeSet<String> {
        hosts.iter().map(|&host| host.to_owned()).collect()
    }

    fn decide(policy: &Policy, target: &str) -> Decision {
        policy.decide(&target.parse().unwrap())
    }

    #[test]
    fn recording_intercepts_the_list_and_tunnels_the_rest() {
        let mut policy = Policy {
            intercept: set(&["proxy.golang.org", "go.dev"]),
            intercept_all: false,
            tunnel: set(&["go.dev"]),
            others: Others::Tunnel,
            propagation: Propagation::default(),
        };
        assert_eq!(
            decide(&policy, "PROXY.golang.org.:443"),
            Decision::Intercept
        );
        assert_eq!(decide(&policy, "x.proxy.golang.org:443"), Decision::Tunnel);
        assert_eq!(decide(&policy, "go.dev:443"), Decision::Tunnel);
        policy.intercept_all = true;
        assert_eq!(decide(&policy, "github.com:443"), Decision::Intercept);
        assert_eq!(decide(&policy, "go.dev:443"), Decision::Tunnel);
        assert_eq!(decide(&policy, "192.0.2.7:443"), Decision::Tunnel);
    }

    #[test]
    fn a_replay_refuses_by_name_what_it_does_not_hold() {
        let policy = Policy {
            intercept: set(&["proxy.golang.org"]),
            intercept_all: false,
            tunnel: BTreeSet::new(),
            others: Others::Refuse {
                recording: "ci".into(),
                tunnelled: set(&["github.com"]),
            },
            propagation: Propagation::default(),
        };
        assert_eq!(decide(&policy, "proxy.golang.org:443"), Decision::Intercept);
        let Decision::Refuse(reason) = decide(&policy, "github.com:443") else {
            panic!()
        };
        assert!(
            reason.ends_with("record with --intercept github.com"),
            "{reason}"
        );
        let Decision::Refuse(reason) = decide(&policy, "other.example:443") else {
            panic!()
        };
        assert_eq!(reason, "other.example is not on recording ci");
    }
}
