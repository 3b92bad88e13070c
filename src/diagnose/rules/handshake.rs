//! MT107: TCP connects, and the TLS handshake gets no answer.

use super::Found;
use super::dead::Dead;
use crate::diagnose::case::Case;
use crate::diagnose::dials::Step;

pub(super) fn find(case: &Case<'_>) -> Vec<Found> {
    let dead = Dead::all(case, |step| step == Step::Handshake);
    dead.map(|dead| {
        let does = match dead.silent {
            0 => "breaks off",
            _ => "does not answer",
        };
        let title = format!(
            "{} takes connections and then {does} the TLS handshake: {}",
            dead.name,
            dead.how(case)
        );
        let is_v6 = dead.is_over_v6(case);
        let title = match is_v6 {
            true => format!("{title}; over IPv6, which may connect and carry nothing here"),
            false => title,
        };
        let hint = match dead.silent {
            0 => format!("something on the way may forbid {} by its name: try another network, or a GOPROXY that this one lets through; `modtape doctor` tries the host by itself", dead.name),
            _ => format!(
            "`modtape doctor` tries {} with a small and a large ClientHello: if only the large one is lost, a box on the way drops it, and GODEBUG=tlsmlkem=0 makes go's smaller (Go 1.24 and later)",
            dead.name
            ),
        };
        dead.found(case, title, Some(hint))
    })
    .collect()
}
