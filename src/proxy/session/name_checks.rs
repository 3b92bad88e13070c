//! Whether the names that redirected clients send lead to the addresses to which they connected.
//!
//! The answer is for the recording and for the log, so that no request waits for it: the resolver is asked
//! while the connection is served, and what it says stands in the record of the connection's end.
//!
//! The system's resolver blocks a thread for each name, and may for half a minute where no server
//! answers. So each pair of a name and an address is looked up once (again only some time after that failed), few are
//! at once, and after many no further ones are.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Dialled;
use crate::exchange::{Target, chain};
use crate::proxy::context::{Context, Responder};

/// How many lookups there are at once.
const AT_ONCE: usize = 8;

/// How many pairs are looked up in all.
const IN_ALL: usize = 2_000;

/// How long a lookup that failed is not done again: its cause may be one of a moment.
const FAILED_FOR: Duration = Duration::from_secs(10);

/// How many addresses of a name a note tells.
const TOLD_ADDRESSES: usize = 4;

/// The lookups of all connections.
#[derive(Debug)]
pub(super) struct NameChecks {
    places: Arc<Semaphore>,
    // A std Mutex: held for a map operation, never across an await.
    verdicts: Arc<Mutex<HashMap<Pair, Verdict>>>,
    tasks: Mutex<JoinSet<()>>,
}

/// What is to be said of a name, if anything; the outer `None` until that is known.
type Verdict = watch::Receiver<Option<Option<Arc<str>>>>;

/// What is found out about the name of one connection.
#[derive(Debug)]
pub(super) enum NameCheck {
    /// It is known what is to be said.
    Known(String),
    /// The resolver was asked.
    Asked {
        verdict: Verdict,
        /// The name and the address, in words.
        doubt: String,
        /// How long the resolver may take once everything is told to stop.
        last_patience: Duration,
    },
}

impl Default for NameChecks {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            verdicts: Arc::default(),
            tasks: Mutex::default(),
        }
    }
}

impl NameChecks {
    /// Begins to find out whether `host` leads to the address that the client connected to. `None` where
    /// there is nothing to find out.
    pub(super) fn begin(
        &self,
        context: &Context,
        dialled: &Dialled,
        host: &str,
    ) -> Option<NameCheck> {
        let original = dialled.original?;
        let looked_up = &dialled.target;
        if looked_up.ip().is_none() {
            let is_same = looked_up.host() == host;
            let note = format!("the client looked up {}, not {host}", looked_up.host());
            return (!is_same).then_some(NameCheck::Known(note));
        }
        let Responder::Upstream(dialer) = &context.responder else {
            return None;
        };
        // What a parent proxy resolves may be unknown here.
        if dialled.journey.via.is_some() {
            return None;
        }
        let named = Target::new(host, original.port()).ok()?;
        let pair = Pair {
            host: host.to_owned(),
            original: original.ip().to_canonical(),
        };
        let (doubt, patience) = (pair.doubt(), context.deadlines.name_lookup);
        let dialer = dialer.clone();
        let look_up = async move {
            dialer
                .addresses(&named)
                .await
                .map_err(|error| chain(&error))
        };
        Some(match self.verdict(pair, patience, look_up) {
            Some(verdict) => NameCheck::Asked {
                verdict,
                doubt,
                last_patience: patience / 4,
            },
            None => NameCheck::Known(format!("{doubt}: {IN_ALL} names were looked up before")),
        })
    }

    /// The verdict on a pair, which is looked up if it is new; `None` if there were too many before.
    fn verdict(
        &self,
        pair: Pair,
        patience: Duration,
        look_up: impl Future<Output = Found> + Send + 'static,
    ) -> Option<Verdict> {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = verdicts.get(&pair) {
            return Some(verdict.clone());
        }
        if verdicts.len() >= IN_ALL {
            return None;
        }
        let (tell, verdict) = watch::channel(None);
        verdicts.insert(pair.clone(), verdict.clone());
        drop(verdicts);
        let places = Arc::clone(&self.places);
        let known = Arc::clone(&self.verdicts);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let mut gives_up = pin!(tokio::time::sleep(patience));
            let mut look_up = pin!(look_up);
            let place = tokio::select! {
                place = places.acquire_owned() => place.ok(),
                () = &mut gives_up => None,
            };
            let found = match &place {
                Some(_) => tokio::select! {
                    found = &mut look_up => Some(found),
                    () = &mut gives_up => None,
                },
                None => None,
            };
            let is_under_way = place.is_some() && found.is_none();
            let has_failed = !matches!(found, Some(Ok(_)));
            let mute = || Err(format!("the resolver did not answer within {patience:?}"));
            let note = pair.note(found.unwrap_or_else(mute));
            if let Some(note) = &note {
                tracing::debug!(target: "modtape::connection", %note, "name");
            }
            tell.send_replace(Some(note.map(Arc::from)));
            let ends = async {
                if is_under_way {
                    // Its thread is taken until it ends, and so is its place.
                    let _ = look_up.await;
                }
                drop(place);
            };
            let forgets = async {
                if has_failed {
                    tokio::time::sleep(FAILED_FOR).await;
                    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.remove(&pair);
                }
            };
            tokio::join!(ends, forgets);
        });
        Some(verdict)
    }
}

/// The addresses of a name, or why there are none.
type Found = Result<Vec<SocketAddr>, String>;

/// A name that a client sent, and the address to which it connected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pair {
    host: String,
    original: IpAddr,
}

impl Pair {
    fn doubt(&self) -> String {
        format!("{} may not be {}", self.original, self.host)
    }

    /// What is to be said of it, if anything.
    fn note(&self, found: Found) -> Option<String> {
        let Self { host, original } = self;
        let found = match found {
            Ok(found) => found,
            Err(why) => return Some(format!("{}: {why}", self.doubt())),
        };
        let ips = found.iter().map(|to| to.ip().to_canonical());
        let ips: Vec<IpAddr> = ips.collect();
        if ips.contains(original) {
            return None;
        }
        let told = ips.iter().take(TOLD_ADDRESSES).map(ToString::to_string);
        let told = told.collect::<Vec<_>>().join(", ");
        let more = if ips.len() > TOLD_ADDRESSES {
            ", …"
        } else {
            ""
        };
        Some(format!(
            "modtape's resolver says that {host} leads to {told}{more}, and not to {original}, to which the client connected"
        ))
    }
}

impl NameCheck {
    /// What is to be said, if anything, once that is known; soon if everything is told to stop.
    pub(super) async fn note(self, stop: &CancellationToken) -> Option<String> {
        let (mut verdict, doubt, last_patience) = match self {
            Self::Known(note) => return Some(note),
            Self::Asked {
                verdict,
                doubt,
                last_patience,
            } => (verdict, doubt, last_patience),
        };
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(last_patience).await;
        };
        tokio::select! {
            biased;
            told = verdict.wait_for(Option::is_some) => {
                let told = told.ok()?;
                told.as_ref()?.as_deref().map(str::to_owned)
            }
            () = stopped => Some(format!(
                "{doubt}: the resolver had not answered when modtape was told to stop"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::{Clock, Timestamp};

    const PATIENCE: Duration = Duration::from_secs(2);

    fn pair(host: &str) -> Pair {
        Pair {
            host: host.to_owned(),
            original: [192, 0, 2, 1].into(),
        }
    }

    async fn told(verdict: Option<Verdict>) -> Option<String> {
        let check = NameCheck::Asked {
            verdict: verdict.unwrap(),
            doubt: String::from("in doubt"),
            last_patience: PATIENCE / 4,
        };
        check.note(&CancellationToken::new()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_is_looked_up_once_however_many_connections_have_it() {
        let (checks, asked) = (NameChecks::default(), Arc::<AtomicUsize>::default());
        for _ in 0..3 {
            let counted = Arc::clone(&asked);
            let look_up = async move {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(vec![([192, 0, 2, 7], 443).into()])
            };
            let verdict = checks.verdict(pair("a.example"), PATIENCE, look_up);
            assert_eq!(
                told(verdict).await.as_deref(),
                Some(
                    "modtape's resolver says that a.example leads to 192.0.2.7, and not to 192.0.2.1, to which the client connected"
                )
            );
        }
        let right = async { Ok(vec![([192, 0, 2, 1], 443).into()]) };
        assert_eq!(
            told(checks.verdict(pair("b.example"), PATIENCE, right)).await,
            None
        );
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_failed_is_done_again_after_some_seconds() {
        let checks = NameChecks::default();
        let fails = async { Err(String::from("no answer")) };
        let failed = told(checks.verdict(pair("a.example"), PATIENCE, fails)).await;
        assert!(failed.is_some_and(|note| note.ends_with("no answer")));
        let right = || async { Ok(vec![([192, 0, 2, 1], 443).into()]) };
        let early = told(checks.verdict(pair("a.example"), PATIENCE, right())).await;
        assert!(early.is_some());
        tokio::time::sleep(FAILED_FOR * 2).await;
        let later = told(checks.verdict(pair("a.example"), PATIENCE, right())).await;
        assert_eq!(later, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mute_resolver_keeps_few_threads_and_is_given_up() {
        let (checks, asked) = (NameChecks::default(), Arc::<AtomicUsize>::default());
        let verdicts: Vec<_> = (0..IN_ALL)
            .map(|number| {
                let counted = Arc::clone(&asked);
                let look_up = async move {
                    counted.fetch_add(1, Ordering::Relaxed);
                    std::future::pending().await
                };
                checks.verdict(pair(&format!("{number}.example")), PATIENCE, look_up)
            })
            .collect();
        for (number, verdict) in verdicts.into_iter().enumerate() {
            let expected = format!(
                "192.0.2.1 may not be {number}.example: the resolver did not answer within 2s"
            );
            assert_eq!(told(verdict).await, Some(expected));
        }
        assert_eq!(asked.load(Ordering::Relaxed), AT_ONCE);
        // No more of them, but those that are known.
        let unasked = || async { panic!("it is looked up") };
        assert!(
            checks
                .verdict(pair("one more.example"), PATIENCE, unasked())
                .is_none()
        );
        assert!(
            checks
                .verdict(pair("7.example"), PATIENCE, unasked())
                .is_some()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_run_waits_a_quarter_of_the_time() {
        let (checks, stop) = (NameChecks::default(), CancellationToken::new());
        let check = |host: &str, late: Duration| NameCheck::Asked {
            verdict: checks
                .verdict(pair(host), PATIENCE, async move {
                    tokio::time::sleep(late).await;
                    Ok(Vec::from([([192, 0, 2, 1], 443).into()]))
                })
                .unwrap(),
            doubt: pair(host).doubt(),
            last_patience: PATIENCE / 4,
        };
        let soon = check("soon.example", PATIENCE / 5);
        let late = check("late.example", PATIENCE / 3);
        stop.cancel();
        let clock = Clock::start();
        let (soon, late) = tokio::join!(soon.note(&stop), late.note(&stop));
        assert_eq!(soon, None);
        let told = late.unwrap();
        assert!(told.ends_with("when modtape was told to stop"), "{told}");
        assert_eq!(clock.now().since(Timestamp::default()), PATIENCE / 4);
    }
}
