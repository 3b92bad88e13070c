//! The netrc file, as cmd/go reads it (`cmd/go/internal/auth`): credentials for https hosts.

/// The credentials of a netrc file, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Netrc {
    /// The entries that are complete.
    pub(crate) logins: Vec<Login>,
    /// Machines whose login or password is missing: cmd/go passes them over.
    pub(crate) incomplete: Vec<String>,
    /// Machines behind a line that ends in the word `default`: cmd/go stops reading there.
    pub(crate) unread: Vec<String>,
    /// Whether there is a `default` entry, which cmd/go never uses.
    pub(crate) has_default: bool,
}

/// The credentials for a machine. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// The machine as written.
    pub(crate) machine: String,
    /// The user name.
    pub(crate) login: String,
    /// The password.
    pub(crate) password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.machine)
    }
}

/// How a machine is compared with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MachineRule {
    /// Up to Go 1.23: the host alone, whatever the port.
    Host,
    /// From Go 1.24 on: `host[:port]` with any part of the path behind it, as the URL has them.
    Prefix,
}

impl Netrc {
    /// Reads the file as `parseNetrc` does.
    pub(crate) fn parse(text: &str) -> Self {
        let mut netrc = Self::default();
        let mut open: Option<Login> = None;
        let (mut is_macro, mut is_over) = (false, false);
        for line in text.split('\n') {
            if is_macro {
                is_macro = !line.is_empty();
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            for pair in words.chunks_exact(2) {
                match (pair[0], &mut open) {
                    ("machine", _) => {
                        netrc.drop_incomplete(open.take(), is_over);
                        open = Some(Login {
                            machine: pair[1].to_owned(),
                            login: String::new(),
                            password: String::new(),
                        });
                    }
                    ("login", Some(login)) => login.login = pair[1].to_owned(),
                    ("password", Some(login)) => login.password = pair[1].to_owned(),
                    ("macdef", _) => is_macro = true,
                    _ => {}
                }
                let is_complete =
                    |login: &mut Login| !login.login.is_empty() && !login.password.is_empty();
                match (open.take_if(is_complete), is_over) {
                    (Some(login), false) => netrc.logins.push(login),
                    (Some(login), true) => netrc.unread.push(login.machine),
                    (None, _) => {}
                }
            }
            netrc.has_default |= words.iter().step_by(2).any(|word| *word == "default");
            // The words are read in pairs: only a `default` that is left over ends the file.
            if words.len() % 2 == 1 && words.last() == Some(&"default") {
                netrc.drop_incomplete(open.take(), is_over);
                is_over = true;
            }
        }
        netrc.drop_incomplete(open, is_over);
        netrc
    }

    fn drop_incomplete(&mut self, login: Option<Login>, is_over: bool) {
        let machine = login.map(|login| login.machine);
        match is_over {
            true => self.unread.extend(machine),
            false => self.incomplete.extend(machine),
        }
    }

    /// The credentials that cmd/go sends with a request for an https URL, given without its scheme:
    /// `host[:port][/path]`.
    pub(crate) fn login_for(&self, url: &str, rule: MachineRule) -> Option<&Login> {
        let find = |wanted: &str| {
            self.logins.iter().find(|login| match rule {
                MachineRule::Host => login.machine == wanted,
                MachineRule::Prefix => {
                    let machine = &login.machine;
                    let machine = machine.strip_prefix("https://").unwrap_or(machine);
                    machine.strip_suffix('/').unwrap_or(machine) == wanted
                }
            })
        };
        let mut prefix = url.strip_suffix('/').unwrap_or(url);
        if rule == MachineRule::Host {
            return find(host_of(prefix));
        }
        loop {
            let found = find(prefix);
            let shorter = prefix.rfind('/').map(|slash| &prefix[..slash]);
            match (found, shorter) {
                (None, Some(shorter)) => prefix = shorter,
                _ => return found,
            }
        }
    }

    /// The first machine that names the host of `url` and yet does not apply to it.
    pub(crate) fn near_miss(&self, url: &str, rule: MachineRule) -> Option<&str> {
        if self.login_for(url, rule).is_some() {
            return None;
        }
        let machines = self.logins.iter().map(|login| &*login.machine);
        let mut machines = machines.chain(self.incomplete.iter().map(String::as_str));
        machines.find(|machine| names(machine, url))
    }

    /// The machine that would apply to `url` if cmd/go read on.
    pub(crate) fn unread_for(&self, url: &str, rule: MachineRule) -> Option<&str> {
        if self.login_for(url, rule).is_some() {
            return None;
        }
        let mut machines = self.unread.iter().map(String::as_str);
        machines.find(|machine| names(machine, url))
    }
}

/// Whether a machine, as written, is the host of `url`.
fn names(machine: &str, url: &str) -> bool {
    let machine = machine.split_once("://").map_or(machine, |(_, rest)| rest);
    host_of(machine).eq_ignore_ascii_case(host_of(url))
}

/// The host of `host[:port][/path]`; of an IPv6 address without its brackets, as Go's `Hostname`.
fn host_of(url: &str) -> &str {
    let authority = url.split('/').next().unwrap_or(url);
    if let Some(inside) = authority.strip_prefix('[') {
        return inside.split(']').next().unwrap_or(inside);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(text: &str, url: &str, rule: MachineRule) -> Option<String> {
        let netrc = Netrc::parse(text);
        netrc.login_for(url, rule).map(|login| login.login.clone())
    }

    #[test]
    fn a_file_is_read_as_go_reads_it() {
        let text = "machine a.example login ana password x\n\
                    # a comment of words\n\
                    machine b.example\n\tlogin bob\n\tpassword y\n\
                    macdef init\nmachine c.example login no password no\n\n\
                    machine d.example login dora\n";
        let netrc = Netrc::parse(text);
        let machines: Vec<_> = netrc.logins.iter().map(|login| &*login.machine).collect();
        assert_eq!(machines, ["a.example", "b.example"]);
        assert_eq!(netrc.incomplete, ["d.example"]);
        assert_eq!(Netrc::parse(""), Netrc::default());
    }

    #[test]
    fn a_default_at_the_end_of_a_line_ends_the_file() {
        let machines = |netrc: &Netrc| -> Vec<String> {
            let logins = netrc.logins.iter();
            logins.map(|login| login.machine.clone()).collect()
        };
        let (a, b) = (
            "machine a login x password y\n",
            "machine b login x password y\n",
        );
        for (middle, read, unread) in [
            (
                "default\nlogin anonymous password me\n",
                &["a"][..],
                &["b"][..],
            ),
            ("default", &["a"], &["b"]),
            ("machine c login x default", &["a"], &["b"]),
            // In pairs with what follows, it is passed over.
            ("default login anonymous password me\n", &["a", "b"], &[]),
            ("default login anonymous\n", &["a", "b"], &[]),
        ] {
            let netrc = Netrc::parse(&format!("{a}{middle}\n{b}"));
            assert_eq!(machines(&netrc), read, "{middle}");
            assert_eq!(netrc.unread, unread, "{middle}");
            assert!(netrc.has_default, "{middle}");
            for rule in [MachineRule::Host, MachineRule::Prefix] {
                let found = netrc.unread_for("b/p", rule);
                assert_eq!(found, unread.first().copied(), "{middle}");
                assert_eq!(netrc.unread_for("a", rule), None, "{middle}");
            }
        }
        assert!(!Netrc::parse(a).has_default);
    }

    #[test]
    fn the_port_counts_from_go_1_24_on() {
        use MachineRule::{Host, Prefix};
        for (machine_as_written, url, host, prefix) in [
            ("a.example", "a.example/p", true, true),
            ("a.example", "a.example:8443/p", true, false),
            ("a.example:8443", "a.example:8443/p/", false, true),
            ("a.example:443", "a.example/p", false, false),
            ("https://a.example", "a.example", false, true),
            ("http://a.example", "a.example", false, false),
            ("a.example/p", "a.example/p/q", false, true),
            ("a.example/q", "a.example/p", false, false),
            ("b.example", "a.example", false, false),
        ] {
            let text = format!("machine {machine_as_written} login ana password x");
            for (rule, expected) in [(Host, host), (Prefix, prefix)] {
                let found = machine(&text, url, rule);
                assert_eq!(found.is_some(), expected, "{text}, {url}, {rule:?}");
                let missed = Netrc::parse(&text).near_miss(url, rule).is_some();
                let is_same_host = machine_as_written != "b.example";
                assert_eq!(missed, !expected && is_same_host, "{text}, {url}, {rule:?}");
            }
        }
    }

    #[test]
    fn the_first_of_several_counts_and_no_password_is_shown() {
        let text = "machine a login one password x\nmachine a login two password y";
        let found = machine(text, "a", MachineRule::Prefix);
        assert_eq!(found.as_deref(), Some("one"));
        let shown = format!("{:?}", Netrc::parse("machine a login one password hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
