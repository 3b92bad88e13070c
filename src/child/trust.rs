//! Whether a go command trusts the roots that its environment names.

use crate::gomod::compare_go;

/// The first release that heeds SSL_CERT_FILE on macOS and Windows.
const HEEDED_FROM: &str = "1.27";

/// Switches that off again, in GODEBUG (crypto/x509).
const SWITCH: &str = "x509sslcertoverrideplatform";

/// Why a go command does not heed SSL_CERT_FILE; `None` if it does. `os` is the system as
/// `std::env::consts::OS` names it, `version` GOVERSION, empty if it is not known.
pub(crate) fn ignores_ssl_cert_file(os: &str, version: &str, godebug: &str) -> Option<String> {
    let system = match os {
        "macos" => "macOS",
        "windows" => "Windows",
        _ => return None,
    };
    if version.is_empty() {
        return Some(format!(
            "a go command from before go{HEEDED_FROM} would not heed SSL_CERT_FILE on {system}"
        ));
    }
    // What `go version` says of a build of the development branch is newer than any release.
    let is_devel = version.starts_with("devel");
    if !is_devel && compare_go(version, HEEDED_FROM).is_lt() {
        return Some(format!(
            "{version} does not heed SSL_CERT_FILE on {system}: go{HEEDED_FROM} is the first that does"
        ));
    }
    // The last one counts.
    let mut settings = godebug.rsplit(',').filter_map(|pair| pair.split_once('='));
    let switch = settings.find(|(name, _)| *name == SWITCH);
    match switch {
        Some((_, "0")) => Some(format!("GODEBUG has {SWITCH}=0")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_releases_on_some_systems_ignore_it() {
        for (os, version, godebug, expected) in [
            ("linux", "go1.19.8", "", false),
            ("linux", "", "", false),
            (
                "freebsd",
                "go1.21.13",
                "x509sslcertoverrideplatform=0",
                false,
            ),
            ("macos", "go1.26.4", "", true),
            ("macos", "go1.27.0", "", false),
            ("macos", "go1.27.3", "http2client=0", false),
            ("macos", "devel go1.28-0f3a", "", false),
            ("windows", "go1.24.11", "", true),
            ("windows", "", "", true),
            ("windows", "go1.27.3", "x509sslcertoverrideplatform=0", true),
            (
                "windows",
                "go1.27.3",
                "a=b,x509sslcertoverrideplatform=0,x509sslcertoverrideplatform=1",
                false,
            ),
        ] {
            let ignores = ignores_ssl_cert_file(os, version, godebug);
            assert_eq!(
                ignores.is_some(),
                expected,
                "{os} {version} {godebug}: {ignores:?}"
            );
        }
    }
}
