//! Who has the answer to a request: a tier, a request that is on its way, or upstream.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::Body as _;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::access::Access;
use super::ahead::Ahead;
use super::answer::{Age, Answer, Content, Proof};
use super::counts::{Attempt, Counts, Outcome, REPOSITORIES};
use super::entries::{Asked, Entries};
use super::failure::Failure;
use super::fetch::{Flight, Flights, Pilot};
use super::item::{Item, Life};
use super::places::{Place, Places};
use super::private::{Asker, Body, Found, Git, Private, Users};
use super::purge::{Epoch, Purge};
use super::redis::{LARGEST, Lease, Redis, Turn};
use super::request_log::Ids;
use super::spool::{self, Coming};
use super::tiers::{Tier, Tiers};
use super::tree::Tree;
use super::truth::{Truth, Verdict};
use super::upstream::Upstream;
use crate::clock::Clock;
use crate::gomod::{GoProxy, Kind, Route, is_pseudo_version, latest_version, unescape_version};

/// How long somebody with an old answer waits for a new one.
const PATIENCE: Duration = Duration::from_secs(3);

/// Requests upstream at once.
const OUTGOING: usize = 256;

/// Requests that wait to go upstream, and how long each may.
const QUEUE: usize = 8192;
const QUEUED: Duration = Duration::from_secs(30);

/// How long what is on its way may take at the end.
const LAST: Duration = Duration::from_secs(2);

/// How long what goes to the shared store may take at the end, beside that.
const UPLOADS: Duration = Duration::from_secs(10);

/// A module proxy.
#[derive(Debug)]
pub(crate) struct Server {
    pub(super) tiers: Arc<Tiers>,
    /// What replicas share; `None` if this is the only one.
    pub(super) redis: Option<Arc<Redis>>,
    pub(super) truth: Truth,
    /// What fetches ahead; `None` if nothing does.
    pub(super) ahead: Option<Ahead>,
    /// Who may ask.
    pub(super) access: Access,
    entries: Entries,
    /// Asked instead of them, if there is one.
    tree: Option<Tree>,
    /// What fetches in place of the entries, where modules come from their repositories.
    git: Option<Git>,
    /// Who answers for private modules.
    pub(super) private: Private,
    /// What upstream has said of each client, if it judges each by itself.
    users: Option<Arc<Users>>,
    flights: Arc<Flights>,
    pub(super) clock: Clock,
    pub(super) counts: Arc<Counts>,
    /// Makes the ids of its clients' requests.
    pub(super) ids: Ids,
    /// Who asks upstream waits for a place.
    outgoing: Arc<Places>,
    /// Modules that wait for their repositories.
    queue: Semaphore,
    /// Owns every task.
    tasks: TaskTracker,
    /// Owns those that keep answers in the shared store.
    uploads: TaskTracker,
    /// Ends those that have not ended by themselves.
    stop: CancellationToken,
}

/// What a server is made of.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) tiers: Arc<Tiers>,
    /// What it shares with other replicas.
    pub(crate) redis: Option<Arc<Redis>>,
    /// What it has done so far: one that takes another's place goes on counting.
    pub(crate) counts: Arc<Counts>,
    /// The entries that are asked, in this order.
    pub(crate) goproxy: GoProxy,
    /// How they are asked.
    pub(crate) upstream: Upstream,
    /// The folder that is asked instead of all entries, if there is one.
    pub(crate) tree: Option<Tree>,
    /// What fetches in place of them.
    pub(crate) git: Option<Git>,
    /// Who answers for private modules.
    pub(crate) private: Private,
    /// Upstream judges each client by its own credentials, and has said this of them.
    pub(crate) users: Option<Arc<Users>>,
    /// What comes is held against it.
    pub(crate) truth: Truth,
    /// Whether it fetches before it is asked.
    pub(crate) is_ahead: bool,
    /// Who may ask.
    pub(crate) access: Access,
}

/// Why what an entry sent is not taken.
pub(super) enum Flaw {
    /// It is not whole; and how long nothing had come before.
    BrokeOff(Failure, Duration),
    /// It is not what was asked for.
    Wrong(Failure),
    /// It cannot be passed on: another entry would fare no better.
    Ours(Failure),
}

/// Where an answer comes from, in the words of `X-Modtape-Cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Tier(Tier),
    /// A tier, and it is older than it should be.
    Stale,
    Joined,
    Miss,
}

impl Source {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tier(tier) => tier.name(),
            Self::Stale => "stale",
            Self::Joined => "joined",
            Self::Miss => "miss",
        }
    }
}

/// What comes of a request.
#[derive(Debug)]
pub(super) enum Obtained {
    Whole(Answer, Source),
    /// A body that is on its way.
    Growing(Following),
    Failed(Failure),
}

/// A flight whose body is passed on as it comes.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) flight: Arc<Flight>,
    pub(super) source: Source,
}

/// A client that waits for an answer. If it leaves before, it is counted by what it has waited for.
struct Waits<'a> {
    counts: &'a Counts,
    /// Set once upstream is asked for it, or for another client already.
    source: OnceLock<Source>,
    is_counted: bool,
}

impl Waits<'_> {
    /// It has an answer.
    fn counted(mut self, source: Source) {
        self.is_counted = true;
        self.counts.answered(source);
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(source) = self.source.get().filter(|_| !self.is_counted) {
            self.counts.answered(*source);
        }
    }
}

/// Boxed, since an answer may need others before it is proved.
type Obtaining = Pin<Box<dyn Future<Output = Obtained> + Send>>;

impl Server {
    /// A server that serves nobody yet.
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let flights = Arc::default();
        parts.tiers.expect(&flights);
        Arc::new(Self {
            tiers: parts.tiers,
            redis: parts.redis,
            truth: parts.truth,
            ahead: parts.is_ahead.then(Ahead::new),
            access: parts.access,
            entries: Entries::new(&parts.goproxy, parts.upstream, parts.clock, &parts.counts),
            tree: parts.tree,
            git: parts.git,
            private: parts.private,
            users: parts.users,
            flights,
            clock: parts.clock,
            counts: parts.counts,
            ids: Ids::default(),
            outgoing: Places::new(OUTGOING, QUEUE),
            queue: Semaphore::new(QUEUE),
            tasks: TaskTracker::new(),
            uploads: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    /// Runs a task until it is over, or the server is closed.
    pub(super) fn spawn(&self, task: impl Future<Output: Send> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks
            .spawn(stop.run_until_cancelled_owned(Box::pin(task)));
    }

    /// What a request holds as long as it is answered.
    pub(super) fn underway(&self) -> TaskTrackerToken {
        self.tasks.token()
    }

    /// Waits until what is on its way has ended by itself: another server answers what comes now.
    pub(crate) async fn drain(&self) {
        if let Some(ahead) = &self.ahead {
            ahead.end();
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.private.drain().await;
    }

    /// Ends what is still on its way, after a moment for what is nearly there: what is not whole is not kept.
    pub(crate) async fn close(&self) {
        if let Some(ahead) = &self.ahead {
            ahead.end();
        }
        self.tasks.close();
        let _ = tokio::time::timeout(LAST, self.tasks.wait()).await;
        self.uploads.close();
        let _ = tokio::time::timeout(UPLOADS, self.uploads.wait()).await;
        self.stop.cancel();
        self.tasks.wait().await;
        self.uploads.wait().await;
        self.tiers.close_shared().await;
        self.private.close().await;
    }

    /// Tells each host that an entry of a list has, and whether the entry is left alone at the moment.
    pub(super) fn each_breaker(&self, tell: &mut dyn FnMut(&str, bool)) {
        for (host, is_open) in self.entries.breakers() {
            tell(host, is_open);
        }
        self.private.each_breaker(tell);
    }

    /// Whether requests to that checksum database are answered here.
    pub(super) fn relays(&self, database: &str) -> bool {
        let tree = self.tree.as_ref();
        self.truth.knows(database) && tree.is_none_or(|tree| tree.has_database(database))
    }

    /// An item as it is asked for in the name of a client with these header fields, if upstream judges each by itself.
    pub(super) fn asked_by(&self, item: Item, fields: &HeaderMap) -> Item {
        match &self.users {
            Some(users) => item.asked_by(users.asker(fields)),
            None => item,
        }
    }

    /// Answers a client.
    pub(super) async fn answer(self: &Arc<Self>, item: Item) -> Obtained {
        Ahead::asked(self, &item);
        let waits = Waits {
            counts: &self.counts,
            source: OnceLock::new(),
            is_counted: false,
        };
        let obtained = Box::pin(Arc::clone(self).find(item, &waits.source)).await;
        waits.counted(match &obtained {
            Obtained::Whole(_, source) => *source,
            Obtained::Growing(following) => following.source,
            Obtained::Failed(_) => Source::Miss,
        });
        obtained
    }

    /// Drops what a purge covers, and keeps nothing of it that is on its way.
    pub(super) async fn purge(&self, purge: &Purge, is_recent: bool) -> bool {
        // First where others take it from.
        let database = self.truth.database_name();
        self.tiers.purge_shared(purge, database, is_recent).await;
        let is_done = self.tiers.purge(purge).await;
        let is_done_there = Box::pin(self.private.purge(purge, is_recent)).await;
        is_done && is_done_there
    }

    /// Has an answer, or the beginning of one.
    pub(super) fn obtain(self: &Arc<Self>, item: Item) -> Obtaining {
        let server = Arc::clone(self);
        Box::pin(async move { server.find(item, &OnceLock::new()).await })
    }

    /// Says in `waits` what it waits for, once it does.
    async fn find(self: Arc<Self>, item: Item, waits: &OnceLock<Source>) -> Obtained {
        if let (Some(users), Some(asker)) = (&self.users, item.asker()) {
            return self.find_for(users, asker, &item, waits).await;
        }
        let found = match self.tiers.get(item.path()).await {
            Some(found) => Some(found),
            None => self.cut_from_wider(&item).await,
        };
        let found = self.newest(&item, found).await;
        let mut old = None;
        if let Some((answer, tier)) = found {
            match self.age(&item, &answer) {
                Age::Fresh => return Obtained::Whole(answer, Source::Tier(tier)),
                Age::Stale => {
                    let _ = self.flight(item);
                    return Obtained::Whole(answer, Source::Stale);
                }
                Age::Old => old = Some(answer),
                Age::Over => {}
            }
        }
        let (flight, source) = self.flight(item.clone());
        let _ = waits.set(source);
        let obtained = match old {
            Some(_) => tokio::time::timeout(PATIENCE, Self::follow(flight, source)).await,
            None => Ok(Self::follow(flight, source).await),
        };
        match (obtained, old) {
            (Ok(Obtained::Failed(failure)), None) => match self.made_of_kept(&item).await {
                Some(answer) => Obtained::Whole(answer, Source::Stale),
                None => Obtained::Failed(failure),
            },
            (Ok(Obtained::Failed(_)) | Err(_), Some(old)) => Obtained::Whole(old, Source::Stale),
            (Err(_), None) => Obtained::Failed(Failure::timeout("nobody answered in time")),
            (Ok(obtained), _) => obtained,
        }
    }

    /// An answer that is not fresh, or what another replica has that is newer.
    async fn newest(&self, item: &Item, found: Option<(Answer, Tier)>) -> Option<(Answer, Tier)> {
        let Some(redis) = self.redis_for(item) else {
            return found;
        };
        let known = found.as_ref().map(|(answer, _)| answer);
        let is_fresh = |answer: &Answer| self.age(item, answer) == Age::Fresh;
        // What never changes and is not there is looked for when it is about to be fetched.
        let is_asked_for = known.is_some() || item.life() == Life::Mutable;
        if known.is_some_and(is_fresh) || !is_asked_for {
            return found;
        }
        match redis.find(item, known).await {
            Some(answer) if self.takes(item, &answer) => {
                self.tiers.put_of_replica(item.path(), &answer).await;
                Some((answer, Tier::Redis))
            }
            _ => found,
        }
    }

    /// Redis, if it may hear of an item: private modules are each replica's own, and so is a tree.
    fn redis_for(&self, item: &Item) -> Option<&Arc<Redis>> {
        let redis = self.redis.as_ref().filter(|_| self.tree.is_none())?;
        let is_for_all = item.asker().is_none() && self.truth.is_public(item.module());
        is_for_all.then_some(redis)
    }

    fn age(&self, item: &Item, answer: &Answer) -> Age {
        let is_proved = self.truth.accepts(item, &answer.proof);
        answer.age(item.life(), is_proved, Clock::wall_now())
    }

    /// Whether another replica's answer would be one of our own. One tile says nothing; a lookup proves it.
    fn takes(&self, item: &Item, answer: &Answer) -> bool {
        let is_proved = || self.truth.accepts(item, &answer.proof);
        answer.status != StatusCode::OK || item.kind() == Kind::Tile || is_proved()
    }

    /// The same for a client whom upstream judges by itself. What is kept is for those whose request for that very
    /// thing upstream took; while it is away, for those whom it took for that module within the hour.
    async fn find_for(
        self: &Arc<Self>,
        users: &Users,
        asker: &Asker,
        item: &Item,
        waits: &OnceLock<Source>,
    ) -> Obtained {
        let kept = self.tiers.get(&item.kept_name()).await;
        let kept = kept.filter(|(answer, _)| answer.status == StatusCode::OK);
        let age = kept.as_ref().map_or(Age::Over, |(answer, _)| {
            let is_proved = self.truth.accepts(item, &answer.proof);
            answer.age(item.life(), is_proved, Clock::wall_now())
        });
        let fresh = kept.as_ref().filter(|_| age == Age::Fresh);
        let fresh =
            fresh.map(|(answer, tier)| Obtained::Whole(answer.clone(), Source::Tier(*tier)));
        let obtained = match fresh {
            Some(fresh) if users.may_have(asker, item) => return fresh,
            Some(fresh) if item.is_zip() => self.if_taken(item, fresh).await,
            _ => {
                let (flight, source) = self.flight(item.clone());
                let _ = waits.set(source);
                Self::follow(flight, source).await
            }
        };
        let is_refused = match &obtained {
            Obtained::Whole(answer, _) => answer.status != StatusCode::OK,
            Obtained::Growing(_) => false,
            Obtained::Failed(failure) if failure.status.is_client_error() => true,
            // Upstream is away.
            Obtained::Failed(_) => {
                let kept = kept.filter(|_| age != Age::Over && users.may_have_old(asker, item));
                return kept.map_or(obtained, |(answer, _)| {
                    Obtained::Whole(answer, Source::Stale)
                });
            }
        };
        match is_refused {
            true => users.refused(asker, item),
            false => users.took(asker, item),
        }
        obtained
    }

    /// What is kept, if upstream has it for this client too: the body that it may send is left alone.
    async fn if_taken(&self, item: &Item, kept: Obtained) -> Obtained {
        let _place = match self.place(item).await {
            Ok(place) => place,
            Err(failure) => return Obtained::Failed(failure),
        };
        if self.entries.tells_by_head(item).await {
            return kept;
        }
        let mut asking = self.entries.asking(item);
        match asking.next().await {
            Asked::Zip(_) | Asked::File(..) | Asked::Text(_) => {
                asking.was_right();
                kept
            }
            Asked::Absent(status, text) => {
                Obtained::Whole(Answer::absent(status, text), Source::Miss)
            }
            Asked::Failed(failure) => Obtained::Failed(failure),
        }
    }

    /// Which versions there are, as far as they can be served whole, where nobody tells.
    async fn made_of_kept(&self, item: &Item) -> Option<Answer> {
        let folder = match item.kind() {
            Kind::List => item.path().strip_suffix("/@v/list")?,
            Kind::Latest => item.path().strip_suffix("/@latest")?,
            _ => return None,
        };
        let kept = self.tiers.whole_versions(folder).await;
        let versions: Vec<_> = kept
            .iter()
            .filter_map(|it| unescape_version(it).ok())
            .collect();
        let latest = latest_version(versions.iter().map(String::as_str))?;
        if item.kind() == Kind::Latest {
            let info = Item::of_version(Kind::Info, item.module(), latest)?;
            return Some(self.tiers.get(info.path()).await?.0);
        }
        // go takes pseudo-versions from no list.
        let listed = versions
            .iter()
            .filter(|version| !is_pseudo_version(version));
        let text: String = listed.map(|version| format!("{version}\n")).collect();
        Some(Answer {
            status: StatusCode::OK,
            content: Content::Bytes(text.into()),
            at: Clock::wall_now(),
            proof: Proof::None,
        })
    }

    async fn follow(flight: Arc<Flight>, source: Source) -> Obtained {
        let state = flight.begun().await;
        let source = match source {
            Source::Miss if state.is_of_store => Source::Tier(Tier::Store),
            Source::Miss if state.is_of_replica => Source::Tier(Tier::Redis),
            source => source,
        };
        match state.end {
            Some(Ok(answer)) => Obtained::Whole(answer, source),
            Some(Err(failure)) => Obtained::Failed(failure),
            None => Obtained::Growing(Following { flight, source }),
        }
    }

    /// Whether an answer to an item is kept that is right for ever.
    pub(super) async fn has(&self, item: &Item) -> bool {
        let found = self.tiers.get(item.path()).await;
        let is_proved = |answer: &Answer| self.truth.accepts(item, &answer.proof);
        found.is_some_and(|(answer, _)| item.life() == Life::Immutable && is_proved(&answer))
    }

    /// The request for an item that is on its way; a new one if there is none. It ends whoever leaves.
    fn flight(self: &Arc<Self>, item: Item) -> (Arc<Flight>, Source) {
        let (flight, pilot) = self.flights.join(&item.flight_name());
        // Whoever waits is told, should the task end before it has begun.
        let Some(pilot) = pilot else {
            return (flight, Source::Joined);
        };
        let server = Arc::clone(self);
        self.spawn(async move {
            // The proof is fetched beside what it proves.
            if let Some(lookup) = server.truth.lookup_of(&item)
                && !server.has(&lookup).await
            {
                let _ = server.flight(lookup);
            }
            server.fetch(&item, pilot).await;
        });
        (flight, Source::Miss)
    }

    /// Gets an answer from another replica, or from upstream and for the others too.
    async fn fetch(self: &Arc<Self>, item: &Item, pilot: Pilot) {
        // Another one may have come and been kept, while whoever begins this looked for it elsewhere. In the name of a
        // client upstream is asked all the same.
        if item.asker().is_none()
            && let Some((answer, _)) = self.tiers.get(item.path()).await
            && self.age(item, &answer) == Age::Fresh
        {
            return pilot.ends(Ok(answer));
        }
        if let Some(git) = &self.git {
            return self.fetch_by_git(git, item, pilot).await;
        }
        if let Some(answer) = self.shared(item).await {
            self.forget_if_purged(item, &pilot).await;
            pilot.is_of_store();
            pilot.ends(Ok(answer));
            return;
        }
        let lease = match self.turn(item).await {
            Turn::Answered(answer) => return self.answered_elsewhere(item, answer, pilot).await,
            Turn::Found(answer) => {
                self.forget_if_purged(item, &pilot).await;
                pilot.is_of_store();
                pilot.ends(Ok(answer));
                return;
            }
            Turn::Failed(failure) => return pilot.ends(Err(failure)),
            Turn::Fetch(lease) => lease,
        };
        let fetched = self.fetch_for_all(item, lease.as_ref(), pilot);
        let Some(lease) = &lease else {
            let _ = fetched.await;
            return;
        };
        let failure = tokio::select! {
            failure = fetched => failure,
            // It never ends.
            () = lease.renew() => None,
        };
        match failure {
            Some(failure) => lease.fail(&failure).await,
            None => lease.release().await,
        }
    }

    /// Whether to fetch: of the replicas one does, and the others wait for it.
    async fn turn(self: &Arc<Self>, item: &Item) -> Turn {
        let Some(redis) = self.redis_for(item) else {
            return Turn::Fetch(None);
        };
        let accepts =
            |answer: &Answer| self.takes(item, answer) && self.age(item, answer) == Age::Fresh;
        let elsewhere = async || self.shared(item).await;
        redis.turn(self.clock, item, accepts, elsewhere).await
    }

    /// Keeps an answer of another replica as if it had come from upstream.
    async fn answered_elsewhere(self: &Arc<Self>, item: &Item, answer: Answer, pilot: Pilot) {
        if pilot.may_keep() {
            self.tiers.put_of_replica(item.path(), &answer).await;
        }
        self.forget_if_purged(item, &pilot).await;
        if answer.status == StatusCode::OK {
            if item.kind() == Kind::Mod
                && self.truth.is_public(item.module())
                && let Ok(text) = answer.text()
            {
                Ahead::follow(self, &text);
            }
            self.complete(item);
        }
        pilot.is_of_replica();
        pilot.ends(Ok(answer));
    }

    /// Asks upstream, and keeps what comes where other machines find it. Gives why upstream has no answer, if that is so
    /// for others too.
    async fn fetch_for_all(
        self: &Arc<Self>,
        item: &Item,
        lease: Option<&Lease>,
        pilot: Pilot,
    ) -> Option<Failure> {
        // A purge that comes from here on covers what is about to come.
        let epoch = self.tiers.epoch();
        let answer = match self.fetch_upstream(item, lease, pilot).await {
            Ok(answer) => answer?,
            Err(failure) => return failure,
        };
        let upload = match answer.proof {
            Proof::None => None,
            _ => self.share(item, &answer, epoch),
        };
        let lease = lease.filter(|_| self.takes(item, &answer))?;
        if answer.bytes() <= LARGEST {
            lease.put(item, &answer).await;
        } else if let Some(upload) = upload {
            // Those who wait find it in the shared store, all at once.
            let _ = upload.await;
            lease.give_up().await;
        }
        None
    }

    /// Asks upstream until what an entry sends is taken. Gives what others may have as well; an error, if no entry has
    /// an answer, is why, if others would fare no better.
    async fn fetch_upstream(
        self: &Arc<Self>,
        item: &Item,
        lease: Option<&Lease>,
        pilot: Pilot,
    ) -> Result<Option<Answer>, Option<Failure>> {
        let mut asking = self.entries.asking(item);
        let mut failed = None;
        let mut spool = None;
        let end = loop {
            let place = match self.place(item).await {
                Ok(place) => place,
                Err(failure) => break Err(failure),
            };
            let asked = match &self.tree {
                Some(tree) => tree.ask(item).await,
                None => asking.next().await,
            };
            drop(place);
            let came = match asked {
                Asked::Zip(response) => {
                    let length = response.body().size_hint().exact();
                    if let Some(lease) = lease
                        && length.is_none_or(|length| length > LARGEST)
                        && !self.tiers.has_shared()
                    {
                        lease.give_up().await;
                    }
                    spool::fetch(self, item, response.into(), &mut spool, &pilot).await
                }
                Asked::File(file, bytes) => {
                    let coming = Coming::File(file, bytes);
                    spool::fetch(self, item, coming, &mut spool, &pilot).await
                }
                Asked::Text(text) => self.text(item, text, &pilot).await.map_err(Flaw::Wrong),
                Asked::Absent(status, text) => {
                    let answer = Answer::absent(status, text);
                    // What one client is told is no answer to others.
                    if pilot.may_keep() && item.asker().is_none() {
                        self.tiers.put_in_memory(item.path(), &answer);
                    }
                    break Ok(answer);
                }
                Asked::Failed(failure) => {
                    failed = Some(failure.clone());
                    break Err(failure);
                }
            };
            match came {
                Ok(answer) => {
                    asking.was_right();
                    break Ok(answer);
                }
                // A file is what it is.
                Err(Flaw::BrokeOff(failure, _) | Flaw::Wrong(failure)) if self.tree.is_some() => {
                    break Err(failure);
                }
                Err(Flaw::BrokeOff(failure, silence)) => asking.broke_off(failure, silence),
                Err(Flaw::Wrong(failure)) => asking.was_wrong(failure),
                Err(Flaw::Ours(failure)) => {
                    asking.was_right();
                    break Err(failure);
                }
            }
        };
        let came = match &end {
            Ok(answer) => Ok(Some(answer.clone()).filter(|_| pilot.may_keep())),
            Err(_) => Err(failed),
        };
        pilot.ends(end);
        came
    }

    /// Has go fetch an item from its repository, and keeps what comes with it.
    async fn fetch_by_git(self: &Arc<Self>, git: &Git, item: &Item, pilot: Pilot) {
        let Ok(_queued) = self.queue.try_acquire() else {
            let why = "more modules wait for their repositories than can: try again in a moment";
            return pilot.ends(Err(Failure::overloaded(why)));
        };
        let attempt = Attempt::begin(&self.counts.attempts(REPOSITORIES));
        let found = git.ask(item).await;
        attempt.ended(match &found {
            Found::Files(_) => Outcome::Ok,
            Found::Absent(..) => Outcome::Absent,
            Found::Failed(failure) if failure.status == StatusCode::GATEWAY_TIMEOUT => {
                Outcome::Timeout
            }
            Found::Failed(_) => Outcome::Failed,
        });
        let files = match found {
            Found::Files(files) => files,
            Found::Absent(status, text) => {
                let answer = Answer::absent(status, text);
                if pilot.may_keep() {
                    self.tiers.put_in_memory(item.path(), &answer);
                }
                return pilot.ends(Ok(answer));
            }
            Found::Failed(failure) => return pilot.ends(Err(failure)),
        };
        let mut end = Err(Failure::bad_gateway(format!(
            "go has not fetched {}",
            item.path()
        )));
        let mut zips = Vec::new();
        for (of, body) in files {
            match body {
                Body::Zip(file, bytes) => zips.push((of, file, bytes)),
                Body::Text(text) => {
                    let kept = self.text(&of, text, &pilot).await;
                    if of.path() == item.path() {
                        end = kept;
                    }
                }
            }
        }
        for (of, file, bytes) in zips {
            let zip = Coming::File(file, bytes);
            if of.path() == item.path() {
                end = self.zip(item, zip, &pilot).await;
                continue;
            }
            // What go fetched before a purge is not to be kept after it.
            if pilot.may_keep()
                && let (_, Some(pilot)) = self.flights.join(of.path())
            {
                let server = Arc::clone(self);
                self.spawn(async move {
                    let end = server.zip(&of, zip, &pilot).await;
                    pilot.ends(end);
                });
            }
        }
        pilot.ends(end);
    }

    /// Judges a zip that is here, and keeps it.
    async fn zip(
        self: &Arc<Self>,
        item: &Item,
        zip: Coming,
        pilot: &Pilot,
    ) -> Result<Answer, Failure> {
        let fetched = spool::fetch(self, item, zip, &mut None, pilot).await;
        fetched.map_err(|flaw| match flaw {
            Flaw::BrokeOff(failure, _) | Flaw::Wrong(failure) | Flaw::Ours(failure) => failure,
        })
    }

    /// A purge may have come while an answer was kept.
    async fn forget_if_purged(&self, item: &Item, pilot: &Pilot) {
        if !pilot.may_keep() {
            self.tiers.forget(item.path()).await;
        }
    }

    /// A place among those who ask upstream; a failure if too many wait for one, or for too long.
    async fn place(&self, item: &Item) -> Result<Place, Failure> {
        let place = self.outgoing.take(item.client(), QUEUED).await;
        place.ok_or_else(|| {
            let why = "more requests wait to go upstream than can: try again in a moment";
            Failure::overloaded(why)
        })
    }

    /// Judges a text and keeps it.
    async fn text(
        self: &Arc<Self>,
        item: &Item,
        text: Bytes,
        pilot: &Pilot,
    ) -> Result<Answer, Failure> {
        self.counts.fetched(text.len() as u64);
        if item.kind() == Kind::Mod && self.ahead.is_some() && self.truth.is_public(item.module()) {
            Ahead::follow(self, &text);
        }
        let proof = self.judged(item, self.truth.of_text(self, item, &text).await)?;
        let answer = Answer {
            status: StatusCode::OK,
            content: Content::Bytes(text.clone()),
            at: Clock::wall_now(),
            proof,
        };
        match answer.proof {
            _ if !pilot.may_keep() => {}
            Proof::None => self.tiers.put_in_memory(&item.kept_name(), &answer),
            _ if item.asker().is_some() && item.life() == Life::Mutable => {
                self.tiers.put_in_memory(&item.kept_name(), &answer);
            }
            _ => self.tiers.put(item.path(), &answer).await,
        }
        self.forget_if_purged(item, pilot).await;
        if item.kind() == Kind::Tile {
            let (server, item) = (Arc::clone(self), item.clone());
            self.spawn(async move { server.truth.prove_tile(&server, &item, &text).await });
        }
        Ok(answer)
    }

    /// What proves what came; an error if it is not what was asked for.
    pub(super) fn judged(&self, item: &Item, verdict: Verdict) -> Result<Proof, Failure> {
        let path = item.path();
        match verdict {
            Verdict::Proved => Ok(self.truth.proof_of(item)),
            Verdict::Unproved(why) => {
                if item.kind() != Kind::Tile {
                    tracing::info!(target: "modtape::serve", "{path} is not kept: {why}");
                }
                Ok(Proof::None)
            }
            Verdict::Wrong(why) => {
                tracing::warn!(target: "modtape::serve", "{path} is refused: {why}");
                let why = format!("what upstream answered is not {path}: {why}");
                Err(Failure::bad_gateway(why))
            }
            Verdict::Unread(why) => Err(Failure::bad_gateway(format!("{path}: {why}"))),
        }
    }

    /// A zip is kept for ever: what a command that downloads asks beside it, too.
    pub(super) fn complete(self: &Arc<Self>, zip: &Item) {
        if let Some(info) = Item::of_version(Kind::Info, zip.module(), zip.version())
            && zip.kind() == Kind::Zip
        {
            let info = match zip.asker() {
                Some(asker) => info.asked_by(asker.clone()),
                None => info,
            };
            let server = Arc::clone(self);
            self.spawn(async move {
                if !server.has(&info).await {
                    let _ = server.flight(info);
                }
            });
        }
    }

    /// A go.mod that a client is about to work on: what it requires is fetched, with the zips if it `needs_zips`.
    pub(crate) fn expect(self: &Arc<Self>, go_mod: &[u8], needs_zips: bool) {
        Ahead::follow(self, go_mod);
        if needs_zips {
            Ahead::follow_zips(self, go_mod);
        }
    }

    /// Whether requests wait for others upstream to end.
    pub(super) fn is_busy(&self) -> bool {
        self.outgoing.are_taken()
    }

    /// Keeps a text of our own.
    pub(super) async fn remember(&self, path: &str, text: &[u8]) {
        let answer = Answer {
            status: StatusCode::OK,
            content: Content::Bytes(Bytes::copy_from_slice(text)),
            at: Clock::wall_now(),
            proof: Proof::Form,
        };
        self.tiers.put(path, &answer).await;
    }

    /// The same as another process may have kept it since.
    pub(super) async fn remembered_on_disk(&self, path: &str) -> Option<Bytes> {
        self.tiers.get_of_disk(path).await?.text().ok()
    }

    /// A text of our own, if it was kept.
    pub(super) async fn remembered(&self, path: &str) -> Option<(Answer, Tier)> {
        self.tiers.get(path).await
    }

    /// Keeps a tile that a proof has used.
    pub(super) async fn proved(self: &Arc<Self>, item: &Item, body: &Bytes) {
        let is_kept = |(answer, _): &(Answer, Tier)| self.truth.accepts(item, &answer.proof);
        if self
            .tiers
            .get(item.path())
            .await
            .as_ref()
            .is_some_and(is_kept)
        {
            return;
        }
        let answer = Answer {
            status: StatusCode::OK,
            content: Content::Bytes(body.clone()),
            at: Clock::wall_now(),
            proof: self.truth.proof_of(item),
        };
        self.tiers.put(item.path(), &answer).await;
        let _ = self.share(item, &answer, self.tiers.epoch());
    }

    /// An answer that another machine has proved and kept in the shared store; it is kept here then.
    pub(super) async fn shared(self: &Arc<Self>, item: &Item) -> Option<Answer> {
        if !self.is_for_all(item) {
            return None;
        }
        let accepts = |proof: &Proof| self.truth.accepts(item, proof);
        let answer = match self.tiers.get_shared(item, accepts).await {
            Some(answer) => answer,
            None => self.shared_tile(item).await?,
        };
        if item.kind() == Kind::Mod && self.ahead.is_some() {
            Ahead::follow(self, &answer.text().ok()?);
        }
        self.complete(item);
        Some(answer)
    }

    /// A part of a tile of which the shared store has all.
    async fn shared_tile(&self, item: &Item) -> Option<Answer> {
        let tile = item.route.tile.filter(|tile| !tile.is_full())?;
        let route = Route::of_tile(item.route.sumdb.as_deref()?, tile.full());
        let full = Item::of_route(route).ok()?;
        let accepts = |proof: &Proof| self.truth.accepts(&full, proof);
        self.tiers.get_shared(&full, accepts).await?;
        Some(self.cut_from_wider(item).await?.0)
    }

    /// Keeps what was proved, and was fetched after `epoch`, in the shared store, beside what clients wait for. Gives
    /// when that is over, if it is kept.
    fn share(
        self: &Arc<Self>,
        item: &Item,
        answer: &Answer,
        epoch: Epoch,
    ) -> Option<JoinHandle<Option<()>>> {
        if !self.is_for_all(item) {
            return None;
        }
        let place = self.tiers.queue_shared(answer)?;
        let (server, item, answer) = (Arc::clone(self), item.clone(), answer.clone());
        let upload = async move {
            server.tiers.put_shared(&item, &answer, epoch).await;
            drop(place);
        };
        let stop = self.stop.clone();
        let upload = stop.run_until_cancelled_owned(Box::pin(upload));
        Some(self.uploads.spawn(upload))
    }

    /// Whether the shared store may have an item: what never changes, of modules that are not private. A tree is
    /// this server's own.
    fn is_for_all(&self, item: &Item) -> bool {
        self.tree.is_none() && item.life() == Life::Immutable && self.truth.is_public(item.module())
    }

    /// A tile as wide as it was asked for, from a wider one: the hashes of complete subtrees never change.
    async fn cut_from_wider(&self, item: &Item) -> Option<(Answer, Tier)> {
        let tile = item.route.tile.filter(|tile| !tile.is_full())?;
        let route = Route::of_tile(item.route.sumdb.as_deref()?, tile.full());
        let full = Item::of_route(route).ok()?;
        let mut wider = self.tiers.get(full.path()).await;
        if wider.is_none() {
            let folder = item.path().rsplit_once('/')?.0;
            let path = self.tiers.wider_tile(folder, tile.width).await?;
            wider = self.tiers.get(&path).await;
        }
        let (answer, tier) = wider.filter(|(answer, _)| self.truth.accepts(item, &answer.proof))?;
        let body = answer.text().ok()?;
        let cut = body.len().min(tile.len_bytes());
        let content = Content::Bytes(body.slice(..cut));
        Some((Answer { content, ..answer }, tier))
    }
}
