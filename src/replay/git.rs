//! Which recorded answer a request to a git repository has.
//!
//! An answer fits if the request is the same but for who asks: the same command, arguments, and objects
//! at hand. Which refs there are is told from all answers together. Any other `fetch` takes git itself,
//! on a repository made of the recorded packs; see [`GitFound::Fetch`].

use std::collections::HashMap;
use std::io::{self, Read, Write};

use super::index::put;
use super::{AnswerError, Conditions, Hit, Replay};
use crate::coding::Coding;
use crate::exchange::{End, Exchange, MadeBy, field};
use crate::git::{self, Advertisement, Command, Fetch, Packed, Refs, Request};
use crate::gomod::canonical;
use crate::recording::reader::RowState;
use crate::recording::{Recording, Row};
use crate::redact::url_without_secrets;

/// The largest body of a request that is looked into, bytes, without its coding: a client names some
/// hundred commits at a time.
pub(crate) const REQUEST_LIMIT: u64 = 8 << 20;

const INFO_REFS: &str = "/info/refs";
const UPLOAD_PACK: &str = "/git-upload-pack";

/// What a client asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GitAsked<'a> {
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    /// The value of `Git-Protocol`; empty without one.
    pub(crate) protocol: &'a str,
    /// The body of the request, without its coding.
    pub(crate) body: &'a [u8],
}

/// What answers it.
#[derive(Debug)]
pub(crate) enum GitFound {
    /// A recorded answer.
    Recorded(Box<Hit>),
    /// The answer to `ls-refs`, put together from others.
    Refs(Vec<u8>),
    /// What git can answer from the recorded packs.
    Fetch(GitFetch),
}

/// A `fetch` that no recorded answer fits.
#[derive(Debug, Clone)]
pub(crate) struct GitFetch {
    /// The repository's URL in one spelling.
    pub(crate) repository: String,
    /// Whether its objects are named by SHA-256.
    pub(crate) is_sha256: bool,
    /// What it asks for.
    pub(crate) fetch: Fetch,
    method: String,
    url: String,
}

/// The repositories of a recording by their URLs.
#[derive(Debug, Default)]
pub(super) struct Repositories(HashMap<String, Repository>);

/// Recorded answers of one repository; numbers count in the recording's rows.
#[derive(Debug, Default)]
struct Repository {
    /// Answers to `info/refs` of version 2.
    advertisements_v2: Vec<usize>,
    /// Those of the versions before.
    advertisements: Vec<usize>,
    /// Answers to commands, by the request in one spelling.
    answers: HashMap<String, Vec<usize>>,
    /// Answers that may have a pack, in order.
    packs: Vec<usize>,
    refs: Refs,
    /// The last run that tells of refs.
    refs_run: u32,
    /// Whether `info/refs` was answered in git's dumb protocol.
    is_dumb: bool,
}

/// What of a repository a URL names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Refs,
    UploadPack,
}

/// The repository's URL in one spelling.
fn repository(url: &str) -> Option<(String, Place)> {
    let url = canonical(&url_without_secrets(url));
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    if let Some(repository) = path.strip_suffix(UPLOAD_PACK) {
        return Some((repository.to_owned(), Place::UploadPack));
    }
    let mut parameters = query.split('&');
    let is_smart = parameters.any(|parameter| parameter == "service=git-upload-pack");
    let repository = path.strip_suffix(INFO_REFS).filter(|_| is_smart)?;
    Some((repository.to_owned(), Place::Refs))
}

impl Repositories {
    pub(super) fn of(recording: &Recording) -> Self {
        let mut repositories = Self::default();
        let rows = recording.rows().iter().enumerate();
        for (number, row) in rows.filter(|(_, row)| is_answer(row)) {
            if let Some((repository, place)) = repository(&row.url) {
                let repository = repositories.0.entry(repository).or_default();
                // One that cannot be read answers nothing.
                let _ = repository.add(recording, number, row, place);
            }
        }
        repositories
    }
}

fn is_answer(row: &Row) -> bool {
    row.state == RowState::Ended
        && row.made_by != Some(MadeBy::Modtape)
        && row.status == Some(200)
        && matches!(&*row.method, "GET" | "POST")
}

impl Repository {
    fn add(&mut self, recording: &Recording, number: usize, row: &Row, place: Place) -> Option<()> {
        let exchange = recording.exchange(row).ok()?;
        let end = exchange.end()?;
        if place == Place::Refs {
            let kind = field(&end.headers, "content-type")?;
            if !kind.starts_with(git::ADVERTISEMENT) {
                self.is_dumb = true;
                return None;
            }
            let advertisement = Advertisement::parse(content(recording, end).ok()?)?;
            let answers = match advertisement.is_v2 {
                true => &mut self.advertisements_v2,
                false => &mut self.advertisements,
            };
            put(answers, recording.rows(), number);
            self.refs.add_advertisement(advertisement);
            return Some(());
        }
        let request = request(recording, &exchange)?;
        let answers = self.answers.entry(request.key).or_default();
        put(answers, recording.rows(), number);
        match request.command {
            Command::LsRefs(asked) => {
                self.refs.add_answer(&asked, content(recording, end).ok()?);
                self.refs_run = row.run;
            }
            Command::Fetch(_) | Command::Other => self.packs.push(number),
        }
        Some(())
    }

    const fn has_no_advertisement(&self) -> bool {
        self.advertisements.is_empty() && self.advertisements_v2.is_empty()
    }
}

/// What was asked in a recorded request.
fn request(recording: &Recording, exchange: &Exchange) -> Option<Request> {
    let body = exchange.request_body()?;
    let mut bytes = Vec::new();
    let reader = recording.body(body).ok()?;
    reader.take(REQUEST_LIMIT).read_to_end(&mut bytes).ok()?;
    let coding = Coding::of(&exchange.begin.headers);
    Request::parse(&coding.decode(&bytes, REQUEST_LIMIT).ok()?)
}

/// The body of a recorded answer, without its coding.
fn content(recording: &Recording, end: &End) -> io::Result<Box<dyn Read>> {
    let Some(body) = &end.body else {
        return Ok(Box::new(io::empty()));
    };
    let reader = recording.body(body).map_err(io::Error::other)?;
    let content = Coding::of(&end.headers).reader(reader, body.bytes);
    content.map_err(io::Error::other)
}

/// Whether a request is one to a git repository.
pub(crate) fn is_of_repository(url: &str) -> bool {
    repository(url).is_some()
}

impl Replay {
    /// Whether it is known which repositories are recorded. To find out reads all that was recorded of them:
    /// [`find_repositories`](Self::find_repositories).
    pub(crate) fn knows_repositories(&self) -> bool {
        self.git.get().is_some()
    }

    /// Finds out which repositories are recorded.
    pub(crate) fn find_repositories(&self) {
        self.repositories();
    }

    /// What answers a request to a git repository; `None` if it is none, or one of a repository that no
    /// whole answer is recorded of.
    pub(crate) fn git(&self, asked: &GitAsked<'_>) -> Option<Result<GitFound, AnswerError>> {
        let (url, place) = repository(asked.url)?;
        let repository = self.repositories().0.get(&url)?;
        match place {
            Place::Refs if repository.has_no_advertisement() => {
                let why = "it was recorded in git's dumb protocol, which is not replayed";
                let is_dumb = repository.is_dumb;
                is_dumb.then(|| Err(self.no_answer(asked, why)))
            }
            Place::Refs => Some(self.advertisement(asked, &url, repository)),
            Place::UploadPack => Some(self.command(asked, url, repository)),
        }
    }

    /// The answer to `info/refs`.
    fn advertisement(
        &self,
        asked: &GitAsked<'_>,
        url: &str,
        repository: &Repository,
    ) -> Result<GitFound, AnswerError> {
        // A server may answer in an older version than it was asked for, and in no newer one.
        let takes_v2 = git::asks_for_v2(asked.protocol);
        let numbers = match takes_v2 && !repository.advertisements_v2.is_empty() {
            true => &repository.advertisements_v2,
            false => &repository.advertisements,
        };
        let key = format!("{takes_v2} {url}");
        let Some(row) = self.next(&key, numbers, &Conditions::default()) else {
            let why = "it was recorded in version 2 of git's protocol only";
            return Err(self.no_answer(asked, why));
        };
        self.recorded(asked, row)
    }

    /// The answer to a command.
    fn command(
        &self,
        asked: &GitAsked<'_>,
        url: String,
        repository: &Repository,
    ) -> Result<GitFound, AnswerError> {
        let Some(request) = Request::parse(asked.body) else {
            return Err(self.no_answer(asked, "the request is none of git's"));
        };
        let rows = self.recording.rows();
        let same = repository.answers.get(&request.key);
        let same = same.and_then(|numbers| {
            let key = format!("{url}\n{}", request.key);
            self.next(&key, numbers, &Conditions::default())
        });
        let run = same.and_then(|row| rows.get(row)).map(|row| row.run);
        let is_outdated = run.is_none_or(|run| run < repository.refs_run);
        if let (Command::LsRefs(refs), true) = (&request.command, is_outdated) {
            // All answers about refs tell of one state.
            if let Some(answer) = repository.refs.answer(refs) {
                return Ok(GitFound::Refs(answer));
            }
        }
        if let Some(row) = same {
            return self.recorded(asked, row);
        }
        match request.command {
            Command::LsRefs(_) => {
                let why = "not all of the refs that it asks for were recorded";
                Err(self.no_answer(asked, why))
            }
            Command::Fetch(fetch) => Ok(GitFound::Fetch(GitFetch {
                repository: url,
                is_sha256: request.is_sha256,
                fetch,
                method: asked.method.to_owned(),
                url: asked.url.to_owned(),
            })),
            Command::Other => Err(self.no_answer(asked, "what was recorded is another request")),
        }
    }

    fn recorded(&self, asked: &GitAsked<'_>, row: usize) -> Result<GitFound, AnswerError> {
        let hit = Hit {
            exchange: self.exchange(asked.method, asked.url, row)?,
            cut: None,
        };
        Ok(GitFound::Recorded(Box::new(hit)))
    }

    fn no_answer(&self, asked: &GitAsked<'_>, why: &str) -> AnswerError {
        AnswerError::Miss(self.missing(asked.method, asked.url, Some(why)))
    }

    fn repositories(&self) -> &Repositories {
        self.git.get_or_init(|| Repositories::of(&self.recording))
    }

    /// How many recorded answers of the repository may have a pack.
    pub(crate) fn packs(&self, repository: &str) -> usize {
        let repository = self.repositories().0.get(repository);
        repository.map_or(0, |repository| repository.packs.len())
    }

    /// Writes the pack of one of these answers to `pack`, and tells what else it holds.
    pub(crate) fn unpack(
        &self,
        repository: &str,
        number: usize,
        pack: &mut impl Write,
    ) -> io::Result<Packed> {
        let packs = self.repositories().0.get(repository).map(|it| &it.packs);
        let row = packs.and_then(|packs| self.recording.rows().get(*packs.get(number)?));
        let row = row.ok_or(io::ErrorKind::NotFound)?;
        let exchange = self.recording.exchange(row).map_err(io::Error::other)?;
        let end = exchange.end().ok_or(io::ErrorKind::NotFound)?;
        git::unpack(content(&self.recording, end)?, pack)
    }

    /// The recorded refs of the repository.
    pub(crate) fn refs(&self, repository: &str) -> Refs {
        let repository = self.repositories().0.get(repository);
        repository.map_or_else(Refs::default, |repository| repository.refs.clone())
    }

    /// Counts an answer that was put together.
    pub(crate) fn answered(&self) {
        self.ledger.hit();
    }

    /// Counts a `fetch` that git could not answer as missing; the two lines that the client is shown.
    pub(crate) fn not_fetched(&self, fetch: &GitFetch, why: &str) -> String {
        self.missing(&fetch.method, &fetch.url, Some(why))
    }
}
