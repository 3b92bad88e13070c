//! MT104: the certificate of a host is not accepted: inspected by another, expired, or for another name.

use super::Found;
use super::dead::Dead;
use crate::diagnose::case::Case;
use crate::diagnose::dials::Step;
use crate::exchange::DialFailure;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let dead = Dead::all(case, |step| step == Step::Certificate);
    dead.map(|dead| {
        let why = dead.why(case);
        let issuer = quoted(&why);
        let name = dead.name;
        let (title, hint) = if dead.reason == DialFailure::TlsUnknownAuthority {
            let by = issuer.map_or_else(String::new, |issuer| format!(" by \"{issuer}\""));
            (
                format!(
                    "the certificate of {name} was signed{by}, which no root here vouches for: TLS inspection, or a private CA"
                ),
                String::from(
                    "ask IT for that root's certificate, if the network is meant to inspect TLS; then SSL_CERT_FILE=BUNDLE (the system's roots with it) for go, and --upstream-ca FILE for modtape",
                ),
            )
        } else if matches!(dead.reason, DialFailure::TlsExpired | DialFailure::TlsNotYetValid) {
            (
                format!("the certificate of {name} is out of date: {}", after_its(&why)),
                format!("check this machine's clock (`date`); if it is right, the operator of {name} has to renew the certificate"),
            )
        } else if dead.reason == DialFailure::TlsWrongName {
            (
                format!("{name} shows a certificate of another host: {}", after_its(&why)),
                format!("check that {name} resolves to the right address (`getent hosts {name}`), and the name in GOPROXY; a captive portal does this too"),
            )
        } else {
            (
                format!("the certificate of {name} is not accepted: {}", after_its(&why)),
                format!("the operator of {name} has to mend its certificate or the chain that it sends"),
            )
        };
        dead.found(case, title, Some(hint))
    })
    .collect()
}

/// What stands in quotes: the issuer's name.
fn quoted(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("(\"")?;
    Some(rest.split_once("\")")?.0)
}

/// Without the words before the sentence on the certificate.
fn after_its(why: &str) -> &str {
    why.split_once(": ").map_or(why, |(_, rest)| rest)
}
