//! The flags that say where the upstream leg connects.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;

use super::session::Variables;
use crate::cli::DialArgs;
use crate::redact;
use crate::upstream::{Limits, Overrides, ParentProxies};

/// How long the steps of a dial may take.
pub(super) const LIMITS: Limits = Limits {
    connect: Duration::from_secs(30),
    tls: Duration::from_secs(9),
};

/// `--resolve` and `--connect-to`.
pub(super) fn overrides(args: &DialArgs) -> anyhow::Result<Overrides> {
    Ok(Overrides {
        resolve: parse_all("--resolve", &args.resolve)?,
        connect_to: parse_all("--connect-to", &args.connect_to)?,
    })
}

fn parse_all<T>(flag: &str, values: &[String]) -> anyhow::Result<Vec<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let parse = |value: &String| value.parse().with_context(|| format!("{flag} {value}"));
    values.iter().map(parse).collect()
}

/// `--upstream-proxy`, and the variables in its place.
pub(super) fn parents(args: &DialArgs, variables: &Variables) -> anyhow::Result<ParentProxies> {
    Ok(match args.upstream_proxy.as_str() {
        "none" => ParentProxies::none(),
        "env" => ParentProxies::from_variables(
            &variables.https_proxy,
            &variables.http_proxy,
            &variables.no_proxy,
        ),
        url => ParentProxies::checked(url, &variables.no_proxy)
            .with_context(|| format!("--upstream-proxy {}", redact::url_without_secrets(url)))?,
    })
}
