//! What a client asks of `git-upload-pack`.

use super::is_object_id;
use super::pkt_line::{PktLine, PktLines};

/// The body of a POST to `git-upload-pack`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// What it asks for.
    pub(crate) command: Command,
    /// The same request in one spelling: equal for two clients of different versions that ask for the
    /// same with the same at hand.
    pub(crate) key: String,
    /// Whether its objects are named by SHA-256.
    pub(crate) is_sha256: bool,
}

/// The command of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Which refs there are (version 2).
    LsRefs(LsRefs),
    /// Objects (version 2).
    Fetch(Fetch),
    /// Another command of version 2, or a request of version 0 or 1.
    Other,
}

/// The arguments of `ls-refs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LsRefs {
    /// Names that are asked for begin so; none asks for all.
    pub(crate) prefixes: Vec<String>,
    /// Whether symbolic refs are to name their target.
    pub(crate) symrefs: bool,
    /// Whether tags are to name what they tag.
    pub(crate) peel: bool,
}

/// What of the arguments of `fetch` decides whether an answer is right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fetch {
    /// The objects that are asked for.
    pub(crate) wants: Vec<String>,
    /// Commits whose parents the client does not have.
    pub(crate) shallow: Vec<String>,
    /// How much of the history is asked for.
    pub(crate) depth: Depth,
}

/// How much of the history is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Depth {
    /// All of it, down to what the client has, and no more of that.
    #[default]
    Missing,
    /// All of it, also what the client's own history lacks: `git fetch --unshallow`.
    All,
    /// So many commits on each way.
    Commits(u32),
    /// By time, or by a ref; or `deepen-relative`.
    Other,
}

/// `git fetch --unshallow` asks for this depth.
const INFINITE: u32 = 0x7fff_ffff;

impl Request {
    /// Reads a body, without its content coding; `None` if it is no such request.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut lines = PktLines::new(body);
        let mut texts = Vec::new();
        let mut is_argument = false;
        let mut arguments = Vec::new();
        while let Some(line) = lines.next().ok()? {
            match line {
                PktLine::Data(_) => {
                    let text = line.text()?;
                    if is_argument {
                        arguments.push(text.to_owned());
                    } else {
                        texts.push(text.to_owned());
                    }
                }
                PktLine::Delimiter => is_argument = true,
                // What follows the end of a command of version 2 is none of it; in the versions
                // before, these marks stand between rounds of the negotiation.
                PktLine::Flush | PktLine::End if texts.first().is_some_and(|it| is_v2(it)) => break,
                PktLine::Flush | PktLine::End => texts.push(String::new()),
            }
        }
        let command = texts.first()?.clone();
        let Some(command) = command.strip_prefix("command=") else {
            return command.starts_with("want ").then(|| Self::classic(texts));
        };
        let is_sha256 = texts.iter().any(|text| text == "object-format=sha256");
        texts.retain(|text| !is_about_the_client(text));
        texts.sort();
        let mut key = arguments.clone();
        key.sort();
        key.dedup();
        let key = format!("{}\n\n{}", texts.join("\n"), key.join("\n"));
        let command = match command {
            "ls-refs" => Command::LsRefs(LsRefs::of(&arguments)),
            "fetch" => Command::Fetch(Fetch::of(&arguments)?),
            _ => Command::Other,
        };
        Some(Self {
            command,
            key,
            is_sha256,
        })
    }

    /// A request of version 0 or 1: `want OID CAPABILITIES`, and so on.
    fn classic(mut texts: Vec<String>) -> Self {
        if let Some(first) = texts.first_mut() {
            let words = first.split(' ').filter(|word| !is_about_the_client(word));
            *first = words.collect::<Vec<_>>().join(" ");
        }
        Self {
            command: Command::Other,
            is_sha256: texts[0].contains("object-format=sha256"),
            key: texts.join("\n"),
        }
    }
}

fn is_v2(first: &str) -> bool {
    first.starts_with("command=")
}

/// Capabilities that say who asks, and nothing of what is asked for.
fn is_about_the_client(capability: &str) -> bool {
    capability.starts_with("agent=") || capability.starts_with("session-id=")
}

impl LsRefs {
    fn of(arguments: &[String]) -> Self {
        let is = |name: &str| arguments.iter().any(|argument| argument == name);
        let prefixes = arguments.iter();
        let prefixes = prefixes.filter_map(|argument| argument.strip_prefix("ref-prefix "));
        Self {
            prefixes: prefixes.map(str::to_owned).collect(),
            symrefs: is("symrefs"),
            peel: is("peel"),
        }
    }
}

impl Fetch {
    fn of(arguments: &[String]) -> Option<Self> {
        let mut fetch = Self::default();
        for argument in arguments {
            let (name, value) = argument.split_once(' ').unwrap_or((argument, ""));
            match name {
                "want" | "shallow" if !is_object_id(value) => return None,
                "want" => fetch.wants.push(value.to_owned()),
                "shallow" => fetch.shallow.push(value.to_owned()),
                "deepen" if fetch.depth == Depth::Missing => {
                    fetch.depth = match value.parse().ok()? {
                        INFINITE => Depth::All,
                        commits => Depth::Commits(commits),
                    };
                }
                "deepen-relative" | "deepen-since" | "deepen-not" => fetch.depth = Depth::Other,
                _ => {}
            }
        }
        Some(fetch)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pkt_line::push;
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn v2(capabilities: &[&str], arguments: &[&str]) -> Vec<u8> {
        let mut body = Vec::new();
        capabilities
            .iter()
            .for_each(|line| push(&mut body, &format!("{line}\n")));
        body.extend_from_slice(b"0001");
        arguments
            .iter()
            .for_each(|line| push(&mut body, &format!("{line}\n")));
        body.extend_from_slice(b"0000");
        body
    }

    fn parsed(capabilities: &[&str], arguments: &[&str]) -> Request {
        Request::parse(&v2(capabilities, arguments)).unwrap()
    }

    #[test]
    fn a_request_is_known_by_its_command_and_arguments_whoever_asks() {
        let fetch = |agent: &str, arguments: &[&str]| {
            parsed(&["command=fetch", agent, "object-format=sha1"], arguments)
        };
        let (want, have) = (format!("want {A}"), format!("have {B}"));
        let first = fetch(
            "agent=git/2.39",
            &["thin-pack", &want, &have, "deepen 1", "done"],
        );
        let same = fetch(
            "agent=git/2.47",
            &["thin-pack", &have, &want, "deepen 1", "done"],
        );
        assert_eq!(first, same);
        let other = fetch("agent=git/2.47", &["thin-pack", &want, "deepen 1", "done"]);
        assert_ne!(first.key, other.key);
        let Command::Fetch(fetch) = first.command else {
            panic!("it is a fetch")
        };
        assert_eq!(
            (fetch.wants, fetch.depth),
            (vec![A.to_owned()], Depth::Commits(1))
        );
    }

    #[test]
    fn the_arguments_of_a_command_are_told() {
        let asked = [
            "peel",
            "symrefs",
            "ref-prefix refs/heads/",
            "ref-prefix HEAD",
        ];
        let Command::LsRefs(asked) = parsed(&["command=ls-refs"], &asked).command else {
            panic!("it is ls-refs")
        };
        assert!(asked.peel && asked.symrefs);
        assert_eq!(asked.prefixes, ["refs/heads/", "HEAD"]);
        let depth = |argument: &str| match parsed(&["command=fetch"], &[argument]).command {
            Command::Fetch(fetch) => fetch.depth,
            _ => panic!("it is a fetch"),
        };
        assert_eq!(depth("deepen 2147483647"), Depth::All);
        assert_eq!(depth("deepen-since 1"), Depth::Other);
        assert_eq!(depth("done"), Depth::Missing);
        let of_sha256 = parsed(&["command=fetch", "object-format=sha256"], &[]);
        assert!(of_sha256.is_sha256);
    }

    #[test]
    fn a_request_of_the_versions_before_keeps_its_rounds() {
        let mut body = Vec::new();
        push(&mut body, &format!("want {A} thin-pack agent=git/2.47\n"));
        body.extend_from_slice(b"0000");
        push(&mut body, "done\n");
        let request = Request::parse(&body).unwrap();
        assert_eq!(request.command, Command::Other);
        assert_eq!(request.key, format!("want {A} thin-pack\n\ndone"));
    }

    #[test]
    fn what_is_no_request_is_none() {
        for body in [&b""[..], b"0000", b"hello", b"0009don"] {
            assert_eq!(Request::parse(body), None, "{body:?}");
        }
        assert_eq!(
            Request::parse(&v2(&["command=fetch"], &["want ../x"])),
            None
        );
    }
}
