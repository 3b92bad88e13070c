//! Object stores, with the settings that the environment has for them.

use std::time::Duration;

use anyhow::Context as _;

use crate::clock::Clock;
use crate::objects::{Objects, Place};
use crate::sockets::OwnSockets;
use crate::tls::{ClientConfigs, Roots};
use crate::upstream::{Dialer, Limits, Overrides, ParentProxies, Reach, Settings};

/// How long the steps of a dial may take.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    tls: Duration::from_secs(5),
};

/// What the variables of object stores begin with.
const PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// Opens a place with the variables that other tools take their endpoints and keys from; nothing is asked yet.
pub(super) fn open(
    place: &Place,
    clock: Clock,
    roots: &Roots,
    parents: ParentProxies,
) -> anyhow::Result<Objects> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let is_of_store = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        (is_of_store && !value.is_empty()).then_some((name, value))
    });
    let variables: Vec<_> = variables.collect();
    let dialer = Dialer::new(Settings {
        clock,
        limits: LIMITS,
        tls: ClientConfigs::new(roots),
        parents,
        // Those of the command line are for module proxies.
        overrides: Overrides::default(),
        reach: Reach::default(),
        sockets: OwnSockets::default(),
    });
    Objects::open(place, &variables, dialer).with_context(|| place.to_string())
}
