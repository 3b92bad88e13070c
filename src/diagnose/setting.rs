//! How a setting of the go command is given another value: what the environment sets goes before what
//! `go env -w` wrote.

/// Where a setting comes from, as far as it decides how it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A variable of the environment.
    Environment,
    /// A file of settings, or nowhere.
    File,
    /// A recording does not tell.
    Unknown,
}

/// The words that give a setting another value, which is quoted as a shell needs it: a line for a shell
/// unless the source is unknown.
pub(crate) fn assignment(name: &str, value: &str, source: Source) -> String {
    match source {
        Source::Environment => format!("export {name}={value}"),
        Source::File => format!("go env -w {name}={value}"),
        Source::Unknown => {
            format!("{name}={value} (with go env -w, or export where the environment sets it)")
        }
    }
}

/// The line for a shell that has `host` reached without the parent proxy, and whatever was before.
pub(crate) fn no_proxy(host: &str) -> String {
    // A host of its own characters needs no quotes, and others are no hosts.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:[]*".contains(c);
    let host: String = host.chars().filter(|c| is_plain(*c)).collect();
    format!("export NO_PROXY=\"${{NO_PROXY:-$no_proxy}},{host}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_changed_where_it_was_set_and_a_list_is_kept() {
        for (source, expected) in [
            (Source::Environment, "export GOPROXY='a|b'"),
            (Source::File, "go env -w GOPROXY='a|b'"),
            (
                Source::Unknown,
                "GOPROXY='a|b' (with go env -w, or export where the environment sets it)",
            ),
        ] {
            assert_eq!(assignment("GOPROXY", "'a|b'", source), expected);
        }
        let expected = "export NO_PROXY=\"${NO_PROXY:-$no_proxy},a.example\"";
        assert_eq!(no_proxy("a.example\"`"), expected);
    }
}
