//! Who is asked: the entries of the recorded GOPROXY in their order, and the checksum database by the way that
//! the go command takes.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use crate::commands::client::{Answer, Client, Unreachable, Wanted};
use crate::diagnose::rules::tells_of_failure;
use crate::exchange::chain;
use crate::gomod::{GoProxy, GoSumDb, Location, ProxyTarget, Separator};

/// What the go command takes for "not here" (`cmd/go/internal/modfetch`, `fs.ErrNotExist`).
const ABSENT: [StatusCode; 2] = [StatusCode::NOT_FOUND, StatusCode::GONE];

/// What came of asking for a file.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is there; its content, if that was wanted.
    Found(Vec<u8>),
    /// All who were asked say that there is no such thing.
    Absent,
    /// No answer counts; who failed, and how.
    Failed(Failure),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Failure {
    /// Who was asked.
    pub(super) host: String,
    /// What came instead.
    pub(super) why: String,
}

/// Where modules are asked for, and where the checksum database.
#[derive(Debug)]
pub(super) struct Sources {
    /// Base URLs without a trailing slash, each with what stands behind it.
    entries: Vec<(String, Option<Separator>)>,
    /// Whether `direct` stands behind them: what none of them has is looked for in its repository.
    pub(super) lead_to_repositories: bool,
    hosts: Mutex<Hosts>,
}

/// What is known of hosts.
#[derive(Debug, Default)]
struct Hosts {
    /// Those that have answered.
    reached: HashSet<String>,
    /// Those that could not be reached, and were not reached before: asking each time again takes the time
    /// limit each time.
    dead: HashSet<String>,
}

impl Sources {
    /// Those of a GOPROXY; `direct` and `off` end the list, as for the go command.
    pub(super) fn of(goproxy: &str) -> Self {
        let entries = GoProxy::parse(goproxy).entries;
        let last = entries.last().map(|entry| &entry.target);
        let lead_to_repositories = last == Some(&ProxyTarget::Direct);
        let urls = entries.into_iter().map_while(|entry| match entry.target {
            ProxyTarget::Url(url) => {
                let url = url.trim_end_matches('/').to_owned();
                Some((url, entry.separator))
            }
            _ => None,
        });
        Self {
            // What is read from a folder needs no recording.
            entries: urls.filter(|(url, _)| !url.starts_with("file:")).collect(),
            lead_to_repositories,
            hosts: Mutex::default(),
        }
    }

    /// Asks one after the other, as the go command does: what is absent is asked of the next one; any other
    /// failure counts, unless a bar stands behind the entry.
    pub(super) async fn ask(&self, client: &Client, path: &str, wanted: Wanted) -> Asked {
        if self.entries.is_empty() {
            return Asked::Failed(Failure {
                host: "GOPROXY".into(),
                why: "the recorded one names no module proxy that could be asked".into(),
            });
        }
        let mut failed = None;
        for (base, separator) in &self.entries {
            match self
                .ask_one(client, &format!("{base}/{path}"), wanted)
                .await
            {
                Asked::Absent => {}
                Asked::Failed(failure) if *separator == Some(Separator::Pipe) => {
                    failed.get_or_insert(failure);
                }
                answer => return answer,
            }
        }
        failed.map_or(Asked::Absent, Asked::Failed)
    }

    /// Asks for one URL.
    pub(super) async fn ask_one(&self, client: &Client, url: &str, wanted: Wanted) -> Asked {
        let host = Location::of(url).host;
        let failed = |why: String| {
            let host = host.clone();
            Asked::Failed(Failure { host, why })
        };
        if self.hosts().dead.contains(&host) {
            return failed("not asked again, since it cannot be reached".into());
        }
        let answer = client.get(url, wanted).await;
        if answer.is_ok() {
            self.hosts().reached.insert(host.clone());
        }
        match answer {
            Ok(Answer { status, text }) if status == StatusCode::OK => Asked::Found(text),
            Ok(Answer { status, text })
                if ABSENT.contains(&status)
                    && !tells_of_failure(&String::from_utf8_lossy(&text)) =>
            {
                Asked::Absent
            }
            Ok(Answer { status, text }) => {
                let text = String::from_utf8_lossy(&text);
                let line = text.lines().next().unwrap_or_default().trim();
                failed(match line.is_empty() || line.starts_with('<') {
                    true => format!("status {status}"),
                    false => line.chars().take(200).collect(),
                })
            }
            Err(error) => {
                let unreachable = error
                    .chain()
                    .find_map(|cause| cause.downcast_ref::<Unreachable>().map(ToString::to_string));
                if let Some(why) = unreachable {
                    let mut hosts = self.hosts();
                    if !hosts.reached.contains(&host) {
                        hosts.dead.insert(host.clone());
                    }
                    drop(hosts);
                    return failed(why);
                }
                failed(chain(error.as_ref()))
            }
        }
    }

    /// The URLs of a path that a go command would ask, one after the other.
    pub(super) fn urls(&self, path: &str) -> impl Iterator<Item = String> {
        self.entries
            .iter()
            .map(move |(base, _)| format!("{base}/{path}"))
    }

    /// The host of the last one that is asked for a file.
    pub(super) fn last_host(&self) -> String {
        let last = self.entries.last();
        last.map_or_else(|| "GOPROXY".to_owned(), |(base, _)| Location::of(base).host)
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the checksum database is asked, without a trailing slash: through the first entry that says that it
    /// supports that, else at its own host (`cmd/go/internal/modfetch`, `dbClient.initBase`). `known` is
    /// where its lookups were recorded.
    pub(super) async fn database(
        &self,
        client: &Client,
        setting: &GoSumDb,
        known: Option<String>,
    ) -> Result<Option<String>, Failure> {
        let GoSumDb::On { name, url, .. } = setting else {
            return Ok(None);
        };
        if known.is_some() {
            return Ok(known);
        }
        if let Some(url) = url {
            return Ok(Some(url.trim_end_matches('/').to_owned()));
        }
        for (base, separator) in &self.entries {
            let place = format!("{base}/sumdb/{name}");
            let supported = format!("{place}/supported");
            match self.ask_one(client, &supported, Wanted::Text).await {
                Asked::Found(_) => return Ok(Some(place)),
                Asked::Absent => {}
                Asked::Failed(_) if *separator == Some(Separator::Pipe) => {}
                Asked::Failed(failure) => return Err(failure),
            }
        }
        Ok(Some(format!("https://{name}")))
    }
}
