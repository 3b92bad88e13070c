//! Whether the answers are what they were asked for, and whether go.sum, the checksum database and all
//! who served a module version say the same of it.
//!
//! What a portal or a broken mirror serves has status 200 too: a replay of it fails, and a tree that is
//! made of it is broken. The cheap checks run on every answer. The hash of a zip takes about two
//! seconds a gigabyte of files: it is computed where its lookup is on the recording, where another
//! zip of the same version was served, and for all zips where nobody else has done it; with a command that
//! succeeded, the go command has compared them with go.sum itself. Each zip is hashed once, on as many
//! threads as there are processors. Lookups count as far as [`super::proofs`] finds nothing wrong with
//! them. Bodies are read through a [`Source`].

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use rawzip::ReaderAt;

use crate::exchange::{Digest, MadeBy, chain};
use crate::gomod::{
    ContentFault, GoSum, Kind, Location, Lookup, ModuleZip, Route, check_content, go_mod_h1,
    is_html,
};
use crate::recording::Row;
use crate::recording::format::{Conflict, Fault, Hashed};
use crate::recording::reader::RowState;

use super::proofs::{Key, Proofs, Standing, Verifiers};
use super::routes::Routes;

/// Threads at most.
const THREADS: usize = 4;

/// How much of what is no zip is read to see what it is, bytes.
const BEGINNING: usize = 64;

/// The largest answer to a lookup, bytes: real ones have less than a fiftieth of it, and no larger one is
/// replayed.
const LOOKUP_LIMIT: usize = 64 << 10;

/// Reads the contents of answers, content codings undone.
pub(crate) trait Source: Sync {
    /// All of an answer, up to a byte more than [`crate::gomod::TEXT_LIMIT`]; `None` where it was not
    /// kept, or came in a coding that is not known here.
    fn text(&self, row: &Row) -> Result<Option<Vec<u8>>, String>;
    /// A zip, likewise.
    fn zip(&self, row: &Row) -> Result<Option<Zip>, String>;
}

/// A zip, to be read at any place.
pub(crate) struct Zip {
    /// Its bytes.
    pub(crate) reader: Box<dyn ReaderAt>,
    /// How many there are.
    pub(crate) bytes: u64,
}

/// What else the answers are compared with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected<'a> {
    /// The main module's go.sum, if the command went by it.
    pub(crate) go_sum: Option<&'a GoSum>,
    /// Whether all zips are hashed.
    pub(crate) hashes_all: bool,
    /// Whose signatures of tree heads count.
    pub(crate) verifiers: Verifiers,
}

/// What is wrong with the answers.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Answers that are not what they were asked for, in order.
    pub(crate) faults: Vec<Fault>,
    /// Module versions of which not all say the same, in order.
    pub(crate) conflicts: Vec<Conflict>,
    /// What is known of each zip and go.mod.
    pub(crate) files: BTreeMap<File, Found>,
    /// What is known of each lookup and tile.
    pub(crate) standings: BTreeMap<Key, Standing>,
}

/// What is known of a zip or a go.mod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The hashes of what was served, each once for a host.
    pub(crate) served: Vec<Hashed>,
    /// The hashes that recorded lookups have, each once.
    pub(crate) database: Vec<Vouched>,
    /// Answers that have no hash, since there is something wrong with them.
    pub(crate) invalid: Vec<Fault>,
    /// Whether there is an answer that was not looked at: its body was not kept, or nothing asked for its
    /// hash.
    pub(crate) is_unread: bool,
}

impl Found {
    /// Whether there is an answer, and not a lookup alone.
    pub(crate) fn is_there(&self) -> bool {
        self.is_unread || !self.served.is_empty() || !self.invalid.is_empty()
    }
}

/// A hash that a checksum database has of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vouched {
    /// The lookup.
    pub(crate) by: Hashed,
    /// The database's name.
    pub(crate) database: String,
    /// Whether tiles on the recording prove it.
    pub(crate) is_proved: bool,
    /// Whether its database has signed it, as far as is known: if not, it may contradict, and vouches for nothing.
    pub(crate) is_signed: bool,
}

/// Checks the answers among `rows`. Calls `progress` with the number of zips that are done and of all.
/// `None` if it `is_over` before the end, which is asked at every answer and at every piece of a zip.
pub(crate) fn check(
    rows: &[Row],
    routes: &Routes,
    source: &impl Source,
    expected: Expected<'_>,
    mut progress: impl FnMut(usize, usize),
    is_over: &(impl Fn() -> bool + Sync),
) -> Option<Checked> {
    let mut checking = Checking {
        proofs: Proofs::new(expected.verifiers.clone()),
        expected,
        ..Checking::default()
    };
    for row in rows.iter().filter(|row| is_answer(row)) {
        if is_over() {
            return None;
        }
        let route = routes.route(row);
        checking.take(Answer { row, route }, source);
    }
    checking.judge_logged();
    checking.compare_mods();
    checking.check_zips(source, &mut progress, is_over)?;
    let conflicts = checking.conflicts();
    let Checking {
        mut faults,
        files,
        standings,
        ..
    } = checking;
    faults.sort_by_key(|fault| (fault.run, fault.exchange));
    Some(Checked {
        faults,
        conflicts,
        files,
        standings,
    })
}

/// Whether a go command would use this response.
pub(crate) fn is_answer(row: &Row) -> bool {
    let is_whole = row.state == RowState::Ended && row.made_by == Some(MadeBy::Origin);
    is_whole && row.method == "GET" && row.status == Some(200)
}

/// A row, and what it is the answer to.
struct Answer<'a> {
    row: &'a Row,
    route: Route,
}

impl Answer<'_> {
    fn fault(&self, why: String) -> Fault {
        Fault {
            run: self.row.run,
            exchange: self.row.id,
            kind: self.route.kind,
            what: self.route.what(),
            host: Location::of(&self.row.url).host,
            why,
        }
    }

    fn file(&self, kind: Kind) -> Option<File> {
        Some(File {
            module: self.route.module.clone()?,
            version: self.route.version.clone()?,
            kind,
        })
    }

    fn hashed(&self, sum: &str) -> Hashed {
        Hashed {
            run: self.row.run,
            exchange: self.row.id,
            host: Location::of(&self.row.url).host,
            sum: sum.to_owned(),
        }
    }
}

/// What a zip is compared by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Zipped {
    module: String,
    version: String,
    sha256: Digest,
}

/// A zip or a go.mod of a module version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct File {
    pub(crate) module: String,
    pub(crate) version: String,
    /// [`Kind::Zip`], also of a toolchain, or [`Kind::Mod`].
    pub(crate) kind: Kind,
}

/// An answer that a checksum database's log says more about: a lookup with the hashes that it has, or a
/// tile.
struct Logged<'a> {
    answer: Answer<'a>,
    sums: Vec<(Kind, String)>,
}

#[derive(Default)]
struct Checking<'a> {
    expected: Expected<'a>,
    faults: Vec<Fault>,
    files: BTreeMap<File, Found>,
    proofs: Proofs,
    logged: Vec<Logged<'a>>,
    standings: BTreeMap<Key, Standing>,
    /// Each go.mod with its hash.
    mods: Vec<(Answer<'a>, String)>,
    /// Each zip with the rows that have it as their answer.
    zips: BTreeMap<Zipped, Vec<Answer<'a>>>,
}

impl<'a> Checking<'a> {
    fn take(&mut self, answer: Answer<'a>, source: &impl Source) {
        let Answer { row, route } = &answer;
        match route.kind {
            Kind::Discovery | Kind::Vcs | Kind::Other | Kind::SumdbSupported => return,
            Kind::Zip | Kind::Toolchain => return self.add_zip(answer),
            Kind::List | Kind::Latest | Kind::Info | Kind::Mod | Kind::Lookup | Kind::Tile => {}
        }
        let content = match source.text(row) {
            Ok(Some(content)) => content,
            Ok(None) => return self.add_unread(&answer, Kind::Mod),
            Err(why) => return self.add_invalid(&answer, why),
        };
        match check_content(route, &content) {
            Err(error) => self.add_invalid(&answer, error.to_string()),
            Ok(()) if route.kind == Kind::Mod => self.mods.push((answer, go_mod_h1(&content))),
            Ok(()) => self.add_logged(answer, content),
        }
    }

    fn add_zip(&mut self, answer: Answer<'a>) {
        let Answer { row, route } = &answer;
        if let (Some(module), Some(version), Some(sha256)) =
            (route.module.clone(), route.version.clone(), row.body)
        {
            let zip = Zipped {
                module,
                version,
                sha256,
            };
            self.zips.entry(zip).or_default().push(answer);
        }
    }

    /// Notes an answer that is not what it was asked for.
    fn add_invalid(&mut self, answer: &Answer<'_>, why: String) {
        let fault = answer.fault(why);
        let kind = match answer.route.kind {
            Kind::Toolchain => Kind::Zip,
            kind => kind,
        };
        if let Some(file) = answer
            .file(kind)
            .filter(|file| matches!(file.kind, Kind::Zip | Kind::Mod))
        {
            let found = self.files.entry(file).or_default();
            found.invalid.push(fault.clone());
        }
        self.faults.push(fault);
    }

    /// Notes that an answer was not looked at, if it is one of that kind.
    fn add_unread(&mut self, answer: &Answer<'_>, kind: Kind) {
        let is_it = match answer.route.kind {
            Kind::Toolchain => kind == Kind::Zip,
            own => own == kind,
        };
        if let Some(file) = answer.file(kind).filter(|_| is_it) {
            self.files.entry(file).or_default().is_unread = true;
        }
    }

    /// Keeps a lookup or a tile until all of them are there.
    fn add_logged(&mut self, answer: Answer<'a>, content: Vec<u8>) {
        let Answer { row, route } = &answer;
        let database = route.sumdb.as_deref().unwrap_or_default();
        let key = (row.run, row.id);
        let mut sums = Vec::new();
        match (route.kind, route.tile) {
            (Kind::Lookup, _) if content.len() > LOOKUP_LIMIT => {
                let why = format!("it is larger than {} KiB", LOOKUP_LIMIT >> 10);
                return self.add_invalid(&answer, why);
            }
            (Kind::Lookup, _) => {
                if let (Some(lookup), Some(module), Some(version)) =
                    (Lookup::parse(&content), &route.module, &route.version)
                {
                    let found = lookup.sums(module, version);
                    let found = [(Kind::Zip, found.zip), (Kind::Mod, found.go_mod)];
                    let found = found.into_iter();
                    sums.extend(found.filter_map(|(kind, sum)| Some((kind, sum?.to_owned()))));
                }
                self.proofs.add_lookup(database, key, &content);
            }
            (Kind::Tile, Some(tile)) => self.proofs.add_tile(database, key, tile, content),
            _ => return,
        }
        self.logged.push(Logged { answer, sums });
    }

    /// Takes the hashes of the lookups that nothing is wrong with, and notes the others.
    fn judge_logged(&mut self) {
        let judged = std::mem::take(&mut self.proofs).judge();
        for Logged { answer, sums } in std::mem::take(&mut self.logged) {
            let standing = judged.get(&(answer.row.run, answer.row.id));
            let is_proved = match standing {
                Some(Standing::Wrong(why)) => {
                    self.faults.push(answer.fault(why.clone()));
                    continue;
                }
                Some(Standing::Proved) => true,
                None | Some(Standing::Open | Standing::Unsigned) => false,
            };
            for (kind, sum) in sums {
                let Some(file) = answer.file(kind) else {
                    continue;
                };
                let vouched = Vouched {
                    by: answer.hashed(&sum),
                    database: answer.route.sumdb.clone().unwrap_or_default(),
                    is_proved,
                    is_signed: matches!(standing, Some(Standing::Proved | Standing::Open)),
                };
                let known = &mut self.files.entry(file).or_default().database;
                match known.iter_mut().find(|known| known.by.sum == sum) {
                    Some(known) => {
                        known.is_proved |= vouched.is_proved;
                        known.is_signed |= vouched.is_signed;
                    }
                    None => known.push(vouched),
                }
            }
        }
        self.standings = judged;
    }

    /// Notes the hash of what was served; and a fault, if a lookup has another, or go.sum where there is no
    /// lookup.
    fn add_served(&mut self, answer: &Answer<'_>, kind: Kind, sum: &str) {
        let Some(file) = answer.file(kind) else {
            return;
        };
        let go_sum = self.expected.go_sum;
        let go_sum =
            go_sum.map_or_else(Vec::new, |sums| sums.of(kind, &file.module, &file.version));
        let found = self.files.entry(file).or_default();
        let looked_up: Vec<&str> = found.database.iter().map(|known| &*known.by.sum).collect();
        let why = match looked_up[..] {
            // The go command goes by the first.
            [] => differs(&go_sum[..go_sum.len().min(1)], sum, "go.sum"),
            _ => differs(&looked_up, sum, "its recorded lookup"),
        };
        let hashed = answer.hashed(sum);
        let is_same = |one: &Hashed| (&one.host, &one.sum) == (&hashed.host, &hashed.sum);
        if !found.served.iter().any(is_same) {
            found.served.push(hashed);
        }
        self.faults.extend(why.map(|why| answer.fault(why)));
    }

    fn compare_mods(&mut self) {
        for (answer, sum) in std::mem::take(&mut self.mods) {
            self.add_served(&answer, Kind::Mod, &sum);
        }
    }

    /// `None` if it `is_over` before all are checked.
    fn check_zips(
        &mut self,
        source: &impl Source,
        progress: &mut impl FnMut(usize, usize),
        is_over: &(impl Fn() -> bool + Sync),
    ) -> Option<()> {
        let zips = std::mem::take(&mut self.zips);
        let mut contents: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for zip in zips.keys() {
            *contents.entry((&zip.module, &zip.version)).or_default() += 1;
        }
        let is_hashed = |zip: &Zipped, answers: &[Answer<'_>]| {
            let file = answers.first().and_then(|answer| answer.file(Kind::Zip));
            let found = file.and_then(|file| self.files.get(&file));
            let is_looked_up = found.is_some_and(|found| !found.database.is_empty());
            let is_alone = contents.get(&(&*zip.module, &*zip.version)) == Some(&1);
            self.expected.hashes_all || is_looked_up || !is_alone
        };
        let mut work: Vec<_> = zips
            .iter()
            .map(|(zip, answers)| (zip, answers, is_hashed(zip, answers)))
            .collect();
        // The largest first, so that all threads end at about the same time.
        let size = |answers: &[Answer<'_>]| answers.first().map_or(0, |answer| answer.row.bytes);
        work.sort_by_key(|(_, answers, _)| std::cmp::Reverse(size(answers)));
        let checked = in_parallel(source, &work, progress, is_over);
        if is_over() {
            return None;
        }
        for (answers, checked) in checked {
            for answer in answers {
                match &checked {
                    Ok(Some(sum)) => self.add_served(answer, Kind::Zip, sum),
                    Ok(None) => self.add_unread(answer, Kind::Zip),
                    Err(why) => self.add_invalid(answer, why.clone()),
                }
            }
        }
        Some(())
    }

    /// The files of which not all say the same.
    fn conflicts(&mut self) -> Vec<Conflict> {
        let conflict = |(file, found): (&File, &mut Found)| {
            let File {
                module,
                version,
                kind,
            } = file;
            let go_sum = self.expected.go_sum;
            let go_sum = go_sum.map_or_else(Vec::new, |sums| sums.of(*kind, module, version));
            let go_sum: Vec<String> = go_sum.into_iter().map(str::to_owned).collect();
            found.served.sort_by_key(|one| (one.run, one.exchange));
            let looked_up = found.database.iter().map(|known| &known.by);
            let others = looked_up.clone().chain(&found.served).map(|one| &one.sum);
            let said: BTreeSet<&String> = go_sum.first().into_iter().chain(others).collect();
            (said.len() > 1).then(|| Conflict {
                kind: *kind,
                module: module.clone(),
                version: version.clone(),
                database: looked_up.cloned().collect(),
                served: found.served.clone(),
                go_sum,
            })
        };
        self.files.iter_mut().filter_map(conflict).collect()
    }
}

/// A zip, the answers that are it, and whether its hash is asked for.
type Work<'w, 'a> = (&'w Zipped, &'w Vec<Answer<'a>>, bool);

/// What came of zips: the answers that are one, and its hash if it was asked for, or what is wrong with it.
type ZipsDone<'w, 'a> = Vec<(&'w [Answer<'a>], Result<Option<String>, String>)>;

/// Checks zips on several threads. What comes of them is in the order of `work`, and means nothing if it
/// `is_over`.
fn in_parallel<'w, 'a>(
    source: &impl Source,
    work: &[Work<'w, 'a>],
    progress: &mut impl FnMut(usize, usize),
    is_over: &(impl Fn() -> bool + Sync),
) -> ZipsDone<'w, 'a> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run = |mut progress: Option<&mut dyn FnMut(usize, usize)>| {
        let mut checked = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((zip, answers, is_hashed)) = work.get(at).filter(|_| !is_over()) else {
                return checked;
            };
            if let Some(progress) = &mut progress {
                progress(done.load(Ordering::Relaxed), work.len());
            }
            if let Some(answer) = answers.first() {
                let outcome = check_zip(source, zip, answer, *is_hashed, is_over);
                checked.push((at, (&answers[..], outcome)));
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = processors.min(THREADS).min(work.len());
    let mut checked = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| run(None))).collect();
        let mut checked = run(Some(progress));
        for other in others {
            // What it had checked is lost, and nothing may be said without it.
            let other = other.join().unwrap_or_else(|panic| resume_unwind(panic));
            checked.extend(other);
        }
        checked
    });
    checked.sort_by_key(|(at, _)| *at);
    checked.into_iter().map(|(_, checked)| checked).collect()
}

/// Checks a zip, which is the answer of `answer` and perhaps of others; its hash, if it is asked for.
fn check_zip(
    source: &impl Source,
    zip: &Zipped,
    answer: &Answer<'_>,
    is_hashed: bool,
    is_over: &impl Fn() -> bool,
) -> Result<Option<String>, String> {
    let Some(Zip { reader, bytes }) = source.zip(answer.row)? else {
        return Ok(None);
    };
    let mut beginning = [0; BEGINNING];
    let read = reader.read_at(&mut beginning, 0).unwrap_or(0);
    let told = |fault| chain(&fault);
    let zip = match ModuleZip::open(reader, bytes, &zip.module, &zip.version) {
        Err(_) if is_html(&beginning[..read]) => return Err(ContentFault::Html.to_string()),
        opened => opened.map_err(told)?,
    };
    match is_hashed {
        true => zip.h1_unless(is_over).map_err(told),
        false => Ok(None),
    }
}

/// Whether a hash is none of those that somebody has.
fn differs(known: &[&str], found: &str, who: &str) -> Option<String> {
    if known.contains(&found) {
        return None;
    }
    let expected = known.first()?;
    Some(format!("its hash is {found}, and {who} says {expected}"))
}
