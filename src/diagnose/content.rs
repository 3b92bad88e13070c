//! Whether the answers are what they were asked for.
//!
//! What a portal or a broken mirror serves has status 200 too: a replay of it fails, and a tree that is
//! made of it is broken. The cheap checks run on every answer; the hash of a zip, which takes about
//! two seconds a gigabyte of files, is compared only where its lookup is on the recording, on as many
//! threads as there are processors. Bodies are read through a [`Source`].

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

use rawzip::ReaderAt;

use crate::exchange::{Digest, MadeBy, chain};
use crate::gomod::{Kind, Location, Lookup, ModuleZip, Route, check_content, go_mod_h1};
use crate::recording::Row;
use crate::recording::format::Fault;
use crate::recording::reader::RowState;

use super::routes::Routes;

/// Threads at most.
const THREADS: usize = 4;

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

/// Finds the answers among `rows` that are not what they were asked for, in order. Calls `progress` with
/// the number of zips that are done and of all.
pub(crate) fn faults(
    rows: &[Row],
    routes: &Routes,
    source: &impl Source,
    mut progress: impl FnMut(usize, usize),
) -> Vec<Fault> {
    let mut checking = Checking::default();
    for row in rows.iter().filter(|row| is_answer(row)) {
        let route = routes.route(row);
        checking.take(Answer { row, route }, source);
    }
    checking.compare_mods();
    checking.check_zips(source, &mut progress);
    let mut faults = checking.faults;
    faults.sort_by_key(|fault| (fault.run, fault.exchange));
    faults
}

/// Whether a go command would use this response.
fn is_answer(row: &Row) -> bool {
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
}

/// What a zip is compared by.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Zipped {
    module: String,
    version: String,
    sha256: Digest,
}

#[derive(Default)]
struct Checking<'a> {
    faults: Vec<Fault>,
    /// The hashes that lookups have: of a zip by its version, of a go.mod by `VERSION/go.mod`.
    sums: BTreeMap<(String, String), BTreeSet<String>>,
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
            Ok(None) => return,
            Err(why) => return self.faults.push(answer.fault(why)),
        };
        match check_content(route, &content) {
            Err(error) => self.faults.push(answer.fault(error.to_string())),
            Ok(()) if route.kind == Kind::Mod => self.mods.push((answer, go_mod_h1(&content))),
            Ok(()) if route.kind == Kind::Lookup => self.add_sums(route, &content),
            Ok(()) => {}
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

    fn add_sums(&mut self, route: &Route, content: &[u8]) {
        let (Some(lookup), Some(module), Some(version)) =
            (Lookup::parse(content), &route.module, &route.version)
        else {
            return;
        };
        let sums = lookup.sums(module, version);
        let go_mod = format!("{version}/go.mod");
        for (version, sum) in [(version.clone(), sums.zip), (go_mod, sums.go_mod)] {
            if let Some(sum) = sum {
                let known = self.sums.entry((module.clone(), version)).or_default();
                known.insert(sum.to_owned());
            }
        }
    }

    fn compare_mods(&mut self) {
        for (answer, found) in std::mem::take(&mut self.mods) {
            let route = &answer.route;
            let module = route.module.clone().unwrap_or_default();
            let version = format!("{}/go.mod", route.version.as_deref().unwrap_or_default());
            let known = self.sums.get(&(module, version));
            if let Some(why) = known.and_then(|known| differs(known, &found)) {
                self.faults.push(answer.fault(why));
            }
        }
    }

    fn check_zips(&mut self, source: &impl Source, progress: &mut impl FnMut(usize, usize)) {
        let mut zips: Vec<_> = std::mem::take(&mut self.zips).into_iter().collect();
        // The largest first, so that all threads end at about the same time.
        let size = |answers: &[Answer<'_>]| answers.first().map_or(0, |answer| answer.row.bytes);
        zips.sort_by_key(|(_, answers)| std::cmp::Reverse(size(answers)));
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (zips, sums) = (&zips[..], &self.sums);
        let work = |mut progress: Option<&mut dyn FnMut(usize, usize)>| {
            let mut faults = Vec::new();
            while let Some((zip, answers)) = zips.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(progress) = &mut progress {
                    progress(done.load(Ordering::Relaxed), zips.len());
                }
                let known = sums.get(&(zip.module.clone(), zip.version.clone()));
                let checked = answers
                    .first()
                    .map(|answer| check_zip(source, zip, answer, known));
                if let Some(Err(why)) = checked {
                    faults.extend(answers.iter().map(|answer| answer.fault(why.clone())));
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            faults
        };
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = processors.min(THREADS).min(zips.len());
        let found = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| work(None))).collect();
            let mut faults = work(Some(progress));
            for other in others {
                faults.extend(other.join().unwrap_or_default());
            }
            faults
        });
        self.faults.extend(found);
    }
}

/// Checks a zip, which is the answer of `answer` and perhaps of others.
fn check_zip(
    source: &impl Source,
    zip: &Zipped,
    answer: &Answer<'_>,
    known: Option<&BTreeSet<String>>,
) -> Result<(), String> {
    let Some(Zip { reader, bytes }) = source.zip(answer.row)? else {
        return Ok(());
    };
    let told = |fault| chain(&fault);
    let zip = ModuleZip::open(reader, bytes, &zip.module, &zip.version).map_err(told)?;
    let Some(known) = known else {
        return Ok(());
    };
    let found = zip.h1().map_err(told)?;
    differs(known, &found).map_or(Ok(()), Err)
}

fn differs(known: &BTreeSet<String>, found: &str) -> Option<String> {
    if known.contains(found) {
        return None;
    }
    let expected = known.first()?;
    Some(format!(
        "its hash is {found}, and its recorded lookup says {expected}"
    ))
}
