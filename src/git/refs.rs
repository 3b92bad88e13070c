//! Which refs a repository has, as its answers tell.

use std::collections::BTreeMap;
use std::io::Read;

use super::is_object_id;
use super::pkt_line::{PktLine, PktLines, push};
use super::request::LsRefs;

/// How many refs of one answer are read.
const MOST: usize = 1_000_000;

/// The longest name of a ref that is read, bytes: file systems take less.
const LONGEST: usize = 4_000;

/// A ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ref {
    /// The object that it names; `None` for a HEAD that points to no commit yet.
    pub(crate) object: Option<String>,
    /// The object that its tag object tags.
    pub(crate) peeled: Option<String>,
    /// The ref that it points to, if it is symbolic.
    pub(crate) target: Option<String>,
}

/// The answer to `info/refs` (`gitprotocol-http(5)`, "Smart Clients").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// True for version 2, which has capabilities in place of refs.
    pub(crate) is_v2: bool,
    /// The refs, by name; with what they tag and point to.
    refs: BTreeMap<String, Ref>,
}

impl Advertisement {
    /// Reads one; `None` where the bytes are none.
    pub(crate) fn parse(from: impl Read) -> Option<Self> {
        let mut lines = PktLines::new(from);
        let mut advertisement = Self {
            is_v2: false,
            refs: BTreeMap::new(),
        };
        let mut is_first = true;
        while let Some(line) = lines.next().ok()? {
            // Marks; and names in other encodings than UTF-8, which no module's tag has.
            let Some(text) = line.text() else { continue };
            match text {
                _ if text.starts_with("# service=") || text == "version 1" => continue,
                "version 2" if is_first => {
                    advertisement.is_v2 = true;
                    return Some(advertisement);
                }
                _ => {}
            }
            let (text, capabilities) = text.split_once('\0').unwrap_or((text, ""));
            let (object, name) = text.split_once(' ')?;
            if object == "shallow" {
                continue;
            }
            if !is_object_id(object) || advertisement.refs.len() == MOST {
                return None;
            }
            advertisement.add(object, name);
            if std::mem::take(&mut is_first) {
                advertisement.add_targets(capabilities);
            }
        }
        (!is_first).then_some(advertisement)
    }

    fn add(&mut self, object: &str, name: &str) {
        // `capabilities^{}` stands for no ref at all.
        match name.strip_suffix("^{}") {
            Some(tag) => {
                if let Some(tag) = self.refs.get_mut(tag) {
                    tag.peeled = Some(object.to_owned());
                }
            }
            None if name.len() > LONGEST => {}
            None => {
                let new = Ref {
                    object: Some(object.to_owned()),
                    peeled: None,
                    target: None,
                };
                self.refs.insert(name.to_owned(), new);
            }
        }
    }

    /// `symref=HEAD:refs/heads/main` among the capabilities.
    fn add_targets(&mut self, capabilities: &str) {
        for capability in capabilities.split(' ') {
            let symref = capability.strip_prefix("symref=");
            let Some((name, target)) = symref.and_then(|it| it.split_once(':')) else {
                continue;
            };
            if let Some(symbolic) = self.refs.get_mut(name)
                && target.len() <= LONGEST
            {
                symbolic.target = Some(target.to_owned());
            }
        }
    }
}

/// The refs of a repository, put together from its answers: the last word on each ref counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refs {
    known: BTreeMap<String, Ref>,
    /// All refs whose names begin with one of these are known; an empty one stands for all.
    complete: Vec<String>,
}

impl Refs {
    /// Adds an advertisement of a version that has refs.
    pub(crate) fn add_advertisement(&mut self, advertisement: Advertisement) {
        if !advertisement.is_v2 {
            self.add(&[String::new()], advertisement.refs);
        }
    }

    /// Adds the answer to `ls-refs`. One that was not asked for targets and tagged objects is left out:
    /// it does not tell all of a ref. False if it is no such answer.
    pub(crate) fn add_answer(&mut self, asked: &LsRefs, answer: impl Read) -> bool {
        let Some(refs) = parse_answer(answer) else {
            return false;
        };
        if asked.peel && asked.symrefs {
            let all = [String::new()];
            let prefixes = match &asked.prefixes[..] {
                [] => &all,
                prefixes => prefixes,
            };
            self.add(prefixes, refs);
        }
        true
    }

    fn add(&mut self, prefixes: &[String], refs: BTreeMap<String, Ref>) {
        // What is not named any more is gone.
        self.known
            .retain(|name, _| !prefixes.iter().any(|prefix| name.starts_with(prefix)));
        self.known.extend(refs);
        for prefix in prefixes {
            if !self.is_complete(prefix) {
                self.complete.push(prefix.clone());
            }
        }
    }

    fn is_complete(&self, prefix: &str) -> bool {
        self.complete.iter().any(|known| prefix.starts_with(known))
    }

    /// The answer to `ls-refs`, if all that it asks for is known.
    pub(crate) fn answer(&self, asked: &LsRefs) -> Option<Vec<u8>> {
        let all = [String::new()];
        let prefixes = match &asked.prefixes[..] {
            [] => &all,
            prefixes => prefixes,
        };
        // A client that names a branch or a tag asks for it wherever git looks for such a name
        // (gitrevisions(7)): one place is enough.
        let is_named = || {
            let mut named = prefixes.iter().filter(|prefix| self.is_complete(prefix));
            named.any(|prefix| self.known.contains_key(prefix))
        };
        if !prefixes.iter().all(|prefix| self.is_complete(prefix)) && !is_named() {
            return None;
        }
        let mut answer = Vec::new();
        let is_asked = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        // HEAD stands first, as git has it: capital letters come before small ones.
        for (name, of) in self.known.iter().filter(|(name, _)| is_asked(name)) {
            let Some(object) = &of.object else { continue };
            let mut line = format!("{object} {name}");
            if let Some(target) = of.target.as_ref().filter(|_| asked.symrefs) {
                line += &format!(" symref-target:{target}");
            }
            if let Some(peeled) = of.peeled.as_ref().filter(|_| asked.peel) {
                line += &format!(" peeled:{peeled}");
            }
            push(&mut answer, &(line + "\n"));
        }
        answer.extend_from_slice(b"0000");
        Some(answer)
    }

    /// The refs by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Ref)> {
        self.known.iter().map(|(name, of)| (name.as_str(), of))
    }
}

/// `OID NAME symref-target:NAME peeled:OID`, a line a ref.
fn parse_answer(from: impl Read) -> Option<BTreeMap<String, Ref>> {
    let mut lines = PktLines::new(from);
    let mut refs = BTreeMap::new();
    loop {
        let line = lines.next().ok()??;
        if !matches!(line, PktLine::Data(_)) {
            return (line == PktLine::Flush).then_some(refs);
        }
        // As in an advertisement.
        let Some(text) = line.text().filter(|text| text.len() <= LONGEST) else {
            continue;
        };
        let mut words = text.split(' ');
        let (object, name) = (words.next()?, words.next()?);
        if object != "unborn" && !is_object_id(object) || refs.len() == MOST {
            return None;
        }
        let mut new = Ref {
            object: (object != "unborn").then(|| object.to_owned()),
            peeled: None,
            target: None,
        };
        for word in words {
            match word.split_once(':') {
                Some(("peeled", object)) if is_object_id(object) => {
                    new.peeled = Some(object.to_owned());
                }
                Some(("symref-target", target)) => new.target = Some(target.to_owned()),
                _ => {}
            }
        }
        refs.insert(name.to_owned(), new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn lines(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        lines.iter().for_each(|line| push(&mut bytes, line));
        bytes.extend_from_slice(b"0000");
        bytes
    }

    fn asked(prefixes: &[&str]) -> LsRefs {
        LsRefs {
            prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
            symrefs: true,
            peel: true,
        }
    }

    fn all() -> Vec<u8> {
        let head = format!("{A} HEAD symref-target:refs/heads/main\n");
        let main = format!("{A} refs/heads/main\n");
        let tag = format!("{B} refs/tags/v1.0.0 peeled:{A}\n");
        lines(&[&head, &main, &tag])
    }

    #[test]
    fn what_was_answered_whole_answers_any_part_of_it() {
        let mut refs = Refs::default();
        assert!(refs.add_answer(&asked(&[]), &all()[..]));
        assert_eq!(refs.answer(&asked(&[])), Some(all()));
        let tags = lines(&[&format!("{B} refs/tags/v1.0.0 peeled:{A}\n")]);
        assert_eq!(
            refs.answer(&asked(&["refs/tags/", "refs/tags/v9"])),
            Some(tags)
        );
        let plain = LsRefs::default();
        let told = String::from_utf8(refs.answer(&plain).unwrap()).unwrap();
        assert!(
            !told.contains("peeled") && !told.contains("symref"),
            "{told}"
        );
    }

    #[test]
    fn what_was_not_asked_for_is_not_known() {
        let mut refs = Refs::default();
        let tags = asked(&["refs/tags/"]);
        assert!(refs.add_answer(&tags, &lines(&[&format!("{B} refs/tags/v1\n")])[..]));
        assert!(refs.answer(&asked(&["refs/tags/v"])).is_some());
        assert_eq!(refs.answer(&asked(&["refs/"])), None);
        assert_eq!(refs.answer(&asked(&["refs/tags/", "HEAD"])), None);
        // What `git fetch origin v1` asks for.
        let by_name = asked(&["v1", "refs/v1", "refs/tags/v1", "refs/heads/v1"]);
        assert!(refs.answer(&by_name).is_some());
        let unpeeled = LsRefs::default();
        assert!(refs.add_answer(&unpeeled, &all()[..]));
        assert_eq!(
            refs.answer(&asked(&[])),
            None,
            "it does not tell what tags tag"
        );
    }

    #[test]
    fn the_last_word_on_a_ref_counts() {
        let mut refs = Refs::default();
        refs.add_answer(&asked(&[]), &all()[..]);
        let moved = lines(&[&format!("{B} refs/heads/main\n")]);
        refs.add_answer(&asked(&["refs/heads/"]), &moved[..]);
        refs.add_answer(&asked(&["refs/tags/"]), &lines(&[])[..]);
        let names: Vec<_> = refs
            .iter()
            .map(|(name, it)| (name, it.object.as_deref()))
            .collect();
        assert_eq!(names, [("HEAD", Some(A)), ("refs/heads/main", Some(B))]);
    }

    #[test]
    fn an_advertisement_of_the_versions_before_tells_the_refs() {
        let head = format!("{A} HEAD\0thin-pack symref=HEAD:refs/heads/main agent=git/2.47\n");
        let [main, tag, peeled] = [
            format!("{A} refs/heads/main\n"),
            format!("{B} refs/tags/v1.0.0\n"),
            format!("{A} refs/tags/v1.0.0^{{}}\n"),
        ];
        let service = lines(&["# service=git-upload-pack\n"]);
        let bytes = [service, lines(&[&head, &main, &tag, &peeled])].concat();
        let advertisement = Advertisement::parse(&bytes[..]).unwrap();
        assert!(!advertisement.is_v2);
        let mut refs = Refs::default();
        refs.add_advertisement(advertisement);
        assert_eq!(refs.answer(&asked(&[])), Some(all()));
    }

    #[test]
    fn an_advertisement_of_version_2_has_none() {
        let bytes = lines(&["version 2\n", "agent=git/2.47\n", "ls-refs=unborn\n"]);
        let with_service = [lines(&["# service=git-upload-pack\n"]), bytes.clone()].concat();
        for bytes in [bytes, with_service] {
            let mut refs = Refs::default();
            let advertisement = Advertisement::parse(&bytes[..]).unwrap();
            assert!(advertisement.is_v2);
            refs.add_advertisement(advertisement);
            assert_eq!(refs.answer(&asked(&[])), None);
        }
    }

    #[test]
    fn what_is_no_advertisement_is_none() {
        let dumb = format!("{A}\trefs/heads/main\n");
        for bytes in [&b""[..], dumb.as_bytes(), b"<html>", b"0000"] {
            assert_eq!(Advertisement::parse(bytes), None);
        }
    }
}
