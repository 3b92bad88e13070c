//! Requests to modtape as a module proxy: each path stands for an entry of GOPROXY, which is asked in the
//! client's place. Redirects are followed here, credentials are added here, and the checksum database is asked here
//! where no entry relays it. Each request that is sent for it is an exchange of its own, with the URL that was
//! asked.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version, request};
use hyper::body::{Body as _, Incoming};
use hyper::ext::ReasonPhrase;

use super::answer;
use super::client_leg::ClientLeg;
use super::context::Responder;
use super::fill;
use super::handler::{self, Named};
use super::headers;
use super::live::{Entry, LazyRoute, Subject};
use super::pool::{Origin, Pool};
use super::replayed;
use super::response_body::Outgoing;
use super::ticket::{Beginning, Ticket};
use super::upstreams::Upstreams;
use crate::child::{GoAuth, Refused, basic};
use crate::clock::Timestamp;
use crate::exchange::{Phase, Target};
use crate::gomod::{DatabaseRequest, Front, REDIRECTS, redirect_target};
use crate::redact::Redactor;
use crate::words::duration;

/// How much of a body is read that nobody gets, bytes.
const DISCARDED: usize = 1 << 20;

/// How long such a body is read.
const DISCARDING: Duration = Duration::from_secs(10);

/// A wait for programs that is noted on record, microseconds.
const NOTED_US: u64 = 100_000;

/// What is told of `supported` where the database is asked by modtape.
const RELAYED: &str = "no entry of GOPROXY relays the checksum database: modtape asks it";

/// A module proxy that asks others.
pub struct Gateway {
    front: Front,
    credentials: GoAuth,
    /// Whether clients may name this gateway as they like.
    takes_any_host: bool,
    pub(super) pool: Pool,
    /// The places of entries that do not relay the checksum database, so that it is asked in their place.
    // A std Mutex: held for a set operation, never across an await.
    passed_over: Mutex<BTreeSet<usize>>,
}

/// A request that is not sent on, and why.
struct Refusal {
    status: StatusCode,
    why: String,
}

/// What is sent for one request of a client.
struct Errand<'a> {
    upstreams: &'a Arc<Upstreams>,
    gateway: &'a Gateway,
    /// The client's own head.
    client: request::Parts,
    /// The place of the entry that it asks.
    place: usize,
}

/// One request to one origin.
struct Hop<'a> {
    url: &'a str,
    origin: &'a Origin,
    credentials: Option<&'a HeaderMap>,
    /// The URL that was redirected here.
    referer: Option<HeaderValue>,
    /// What it waited for.
    note: Option<String>,
}

/// A request in flight, while no exchange of it is.
struct InFlight<'a>(&'a ClientLeg);

impl<'a> InFlight<'a> {
    fn begin(leg: &'a ClientLeg) -> Self {
        let _ = leg.watch.begin();
        Self(leg)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.watch.end(self.0.context.clock.now());
    }
}

/// A request that waits for what programs say of its credentials, in the live view meanwhile.
struct Waiting<'a> {
    errand: &'a Errand<'a>,
    url: &'a str,
    /// When the exchange begins that waits.
    started: Timestamp,
    since: Timestamp,
    programs: String,
    /// Whether an exchange tells of it where the client leaves.
    is_on_record: bool,
    entry: Entry,
}

impl Waiting<'_> {
    /// It is over; what there is to note of it, if it took a while.
    fn ends(mut self) -> Option<String> {
        self.is_on_record = true;
        self.entry.done();
        let us = self.waited_us();
        (us >= NOTED_US).then(|| self.note(us))
    }

    fn waited_us(&self) -> u64 {
        let clock = self.errand.upstreams.leg.context.clock;
        clock.now().micros_since(self.since)
    }

    fn note(&self, us: u64) -> String {
        format!("waited {} for the {}", duration(us), self.programs)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_on_record {
            return;
        }
        let context = &self.errand.upstreams.leg.context;
        let waited = self.note(self.waited_us());
        let why = match context.stop.is_cancelled() {
            true => context.why_stopped(),
            false => context.why_closed("the client closed its connection"),
        };
        let ticket = self.errand.ticket(self.started, self.url);
        ticket.abort(&format!("{why}: the request had {waited}"));
    }
}

/// How an exchange begins that may have waited before.
struct Begun {
    at: Timestamp,
    /// What it waited for.
    note: Option<String>,
}

impl Gateway {
    /// A gateway to the entries of `front`. `has_token` says that clients show one.
    pub(crate) fn new(front: Front, credentials: GoAuth, has_token: bool) -> Self {
        Self {
            front,
            credentials,
            takes_any_host: has_token,
            pool: Pool::default(),
            passed_over: Mutex::default(),
        }
    }

    /// GOPROXY for clients that reach it at `address`.
    pub(crate) fn goproxy(&self, address: &str) -> String {
        self.front.goproxy(address)
    }

    /// GOSUMDB for such clients, where the user's names a URL that is asked here.
    pub(crate) fn gosumdb(&self, address: &str) -> Option<String> {
        self.front.gosumdb(address)
    }

    /// Whether the client may be a page in a browser that reached us by a name of its own (DNS rebinding).
    fn is_foreign(&self, head: &request::Parts) -> bool {
        let host = head.headers.get(header::HOST);
        let host = host.and_then(|host| Target::with_default_port(host.to_str().ok()?, 80).ok());
        let is_own = host.is_some_and(|host| host.ip().is_some() || host.host() == "localhost");
        !self.takes_any_host && !is_own
    }

    fn check(&self, head: &request::Parts, body: &Incoming) -> Result<(), Refusal> {
        let refuse = |status, why: &str| {
            let why = why.to_owned();
            Err(Refusal { status, why })
        };
        if head.uri.authority().is_some() {
            let why = "this is a module proxy, and no HTTP proxy";
            return refuse(StatusCode::BAD_REQUEST, why);
        }
        if !matches!(head.method, Method::GET | Method::HEAD) {
            let why = "a module proxy is asked with GET";
            return refuse(StatusCode::METHOD_NOT_ALLOWED, why);
        }
        if let Some(what) = headers::ambiguity(&head.headers) {
            return refuse(StatusCode::BAD_REQUEST, &format!("the request has {what}"));
        }
        if !body.is_end_stream() {
            let why = "a request to a module proxy has no body";
            return refuse(StatusCode::BAD_REQUEST, why);
        }
        if is_of_browser(&head.headers) {
            let why = "this module proxy is for go, and for no page in a browser";
            return refuse(StatusCode::FORBIDDEN, why);
        }
        if self.is_foreign(head) {
            let why =
                "without a token, this module proxy is for clients that name it by its address";
            return refuse(StatusCode::FORBIDDEN, why);
        }
        Ok(())
    }

    /// Whether the database itself is asked in place of the entry at `place`, which answered with `status`
    /// whether it relays it. `failed` are the entries that gave this client an error: what go does then is one
    /// process's matter.
    fn passes_over(
        &self,
        failed: &Mutex<BTreeSet<usize>>,
        place: usize,
        status: StatusCode,
    ) -> bool {
        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
        let has_failed = failed.range(..place).next().is_some();
        let status = status.as_u16();
        let leads = status != 200 && self.front.leads_to_database(place, status, has_failed);
        match status {
            200 | 404 | 410 => failed.remove(&place),
            _ => failed.insert(place),
        };
        drop(failed);
        let mut passed_over = self.passed_over();
        match (leads, status) {
            (true, _) => passed_over.insert(place),
            (false, 200) => passed_over.remove(&place),
            // An error of a moment changes nothing for other clients.
            (false, _) => false,
        };
        leads
    }

    fn passed_over(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        let passed_over = self.passed_over.lock();
        passed_over.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a page in a browser asks, which may be of any site (Fetch Metadata Request Headers).
fn is_of_browser(fields: &HeaderMap) -> bool {
    fields.contains_key(header::ORIGIN) || fields.contains_key("sec-fetch-site")
}

/// Answers one request of a client.
pub(super) async fn serve(
    upstreams: &Arc<Upstreams>,
    gateway: &Gateway,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    let mut response = ask(upstreams, gateway, request).await;
    // A permission that the upstream gives is none of ours.
    headers::without(response.headers_mut(), |name| {
        name.as_str().starts_with("access-control-")
    });
    response
}

/// Asks whom the path stands for.
async fn ask(
    upstreams: &Arc<Upstreams>,
    gateway: &Gateway,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    let leg = &upstreams.leg;
    let started = leg.watch.begin();
    let _in_flight = InFlight::begin(leg);
    let (client, body) = request.into_parts();
    if let Err(refusal) = gateway.check(&client, &body) {
        return refused(leg, &client, started, refusal).await;
    }
    let path = client
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let asked = match gateway.front.asked(path) {
        Ok(asked) => asked,
        Err(why) => {
            let refusal = Refusal {
                // Not 404, which would send go on to the next entry.
                status: StatusCode::BAD_REQUEST,
                why: why.to_string(),
            };
            return refused(leg, &client, started, refusal).await;
        }
    };
    let errand = Errand {
        upstreams,
        gateway,
        client,
        place: asked.place,
    };
    match asked.database {
        Some(DatabaseRequest::Supported) => {
            let response = errand.fetch(started, &asked.url).await;
            let failed = &upstreams.failed_databases;
            if !gateway.passes_over(failed, asked.place, response.status()) {
                return response;
            }
            errand.leave(response).await;
            errand.own(&asked.url, StatusCode::OK, RELAYED).await
        }
        Some(DatabaseRequest::At(url)) if gateway.passed_over().contains(&asked.place) => {
            errand.fetch(started, &url).await
        }
        _ => errand.fetch(started, &asked.url).await,
    }
}

/// Answers what is no request to an entry.
async fn refused(
    leg: &Arc<ClientLeg>,
    client: &request::Parts,
    started: Timestamp,
    refusal: Refusal,
) -> Response<Outgoing> {
    let Named { url, host } = Named::of_refused(leg, client);
    let beginning = Beginning {
        request: client,
        url: &url,
        host: &host,
        started,
        head_bytes: 0,
    };
    let ticket = Ticket::begin(leg, beginning);
    let why = refusal.why;
    let text = format!("{why}\n`modtape env GOPROXY` prints what go needs to ask it");
    answer::own(ticket, refusal.status, &text).await
}

impl Errand<'_> {
    /// Sends it with the credentials that go would send; with others once more, where a 4xx lets GOAUTH find
    /// some.
    async fn fetch(&self, started: Timestamp, url: &str) -> Response<Outgoing> {
        let auth = &self.gateway.credentials;
        let entry = self.gateway.front.entry(self.place);
        let is_secure = url.starts_with("https://");
        let userinfo = entry.filter(|entry| entry.holds(url));
        let userinfo = userinfo.and_then(|entry| entry.userinfo.as_ref());
        let mut note = None;
        let mut credentials = match userinfo {
            Some(_) if !is_secure => {
                let why = "refusing to pass credentials to an insecure URL";
                return self
                    .own_at(started, url, StatusCode::BAD_GATEWAY, why)
                    .await;
            }
            Some(_) if !auth.is_by_host() => HeaderMap::new(),
            _ => {
                let waiting = match auth.is_settled() {
                    true => None,
                    false => self.waiting(started, url, false),
                };
                let credentials = auth.credentials(url).await;
                note = waiting.and_then(Waiting::ends);
                credentials
            }
        };
        if let (Some(userinfo), true) = (userinfo, credentials.is_empty()) {
            credentials = basic(&userinfo.user, &userinfo.password);
        }
        let begun = Begun { at: started, note };
        let mut response = self.follow(Some(begun), url, &credentials).await;
        let asks_again = is_secure && userinfo.is_none() && auth.can_ask_again();
        if !asks_again || !response.status().is_client_error() {
            return response;
        }
        let reason = response.extensions().get::<ReasonPhrase>();
        let refused = Refused {
            version: match response.extensions().get() {
                Some(&Version::HTTP_2) => "HTTP/2.0",
                _ => "HTTP/1.1",
            },
            status: response.status(),
            reason: reason.map(|reason| reason.as_bytes().to_vec()),
            headers: response.headers().clone(),
        };
        let since = self.upstreams.leg.context.clock.now();
        let waiting = self.waiting(since, url, true);
        let (others, of_git) = auth.credentials_after(url, &refused).await;
        let note = waiting.and_then(Waiting::ends);
        if others.is_empty() || others == credentials {
            if let (Some(note), Outgoing::Recorded(body)) = (note, response.body_mut()) {
                body.note(&note);
            }
            return response;
        }
        self.leave(response).await;
        // Its time began when the programs were asked.
        self.begin();
        let begun = Begun { at: since, note };
        let response = self.follow(Some(begun), url, &others).await;
        let verdict = match response.status() {
            StatusCode::OK => Some(true),
            StatusCode::UNAUTHORIZED => Some(false),
            _ => None,
        };
        if let Some(is_right) = verdict {
            self.upstreams.leg.context.spawn(async move {
                for credential in of_git {
                    credential.was(is_right).await;
                }
            });
        }
        response
    }

    /// Begins to wait for programs, if there are any. `is_on_record` says that an exchange is in flight that
    /// tells of a client that leaves.
    fn waiting<'a>(
        &'a self,
        started: Timestamp,
        url: &'a str,
        is_on_record: bool,
    ) -> Option<Waiting<'a>> {
        let programs = self.gateway.credentials.programs()?;
        let leg = &self.upstreams.leg;
        let context = &leg.context;
        let origin = Origin::of_url(url);
        let shown = context.redactor.url(url);
        let subject = Subject {
            connection: leg.id,
            host: origin.as_ref().map_or("", |origin| origin.target.host()),
            protocol: Some(leg.protocol),
            route: Some(LazyRoute::new(shown, Arc::clone(&context.bases))),
            awaits: Some(programs.clone()),
            ..Subject::default()
        };
        Some(Waiting {
            errand: self,
            url,
            started,
            since: context.clock.now(),
            programs,
            is_on_record,
            entry: context.live.begin(subject, Phase::Blocked),
        })
    }

    /// Sends it, and follows redirects as go does: ten requests, never from https to http. The credentials go
    /// to their own origin alone, and no more once another one has said where to go.
    async fn follow(
        &self,
        mut begun: Option<Begun>,
        url: &str,
        credentials: &HeaderMap,
    ) -> Response<Outgoing> {
        let first = Origin::of_url(url);
        let mut credentials = Some(credentials);
        let mut url = url.to_owned();
        let mut referer = None;
        let mut sent = 0;
        loop {
            let Begun { at: begun, note } = begun.take().unwrap_or_else(|| Begun {
                at: self.begin(),
                note: None,
            });
            let Some(origin) = Origin::of_url(&url) else {
                let why = "the URL has no usable scheme and host";
                return self.own_at(begun, &url, StatusCode::BAD_GATEWAY, why).await;
            };
            if first.as_ref() != Some(&origin) {
                credentials = None;
            }
            let leaves_tls = first.as_ref().is_some_and(|first| first.is_secure);
            if leaves_tls && !origin.is_secure {
                let why = "redirected from a secure URL to an insecure one";
                return self.own_at(begun, &url, StatusCode::BAD_GATEWAY, why).await;
            }
            if sent == REDIRECTS {
                let why = format!("stopped after {REDIRECTS} redirects");
                return self
                    .own_at(begun, &url, StatusCode::BAD_GATEWAY, &why)
                    .await;
            }
            let hop = Hop {
                url: &url,
                origin: &origin,
                credentials,
                referer,
                note,
            };
            let response = self.exchange(begun, &hop).await;
            sent += 1;
            let Some(location) = location(&response) else {
                return response;
            };
            let to = redirect_target(&url, &location);
            self.leave(response).await;
            let Some(to) = to else {
                let why = "the redirect leads to no URL";
                return self.own(&url, StatusCode::BAD_GATEWAY, why).await;
            };
            referer = origin.referer(&url);
            url = to;
        }
    }

    /// Leaves a response of which only the head counts: what is left of it is read beside what follows. Where
    /// nothing may pass that is not on record, what follows waits for it, and is refused if it must be.
    async fn leave(&self, response: Response<Outgoing>) {
        let Outgoing::Recorded(body) = response.into_body() else {
            return;
        };
        let context = &self.upstreams.leg.context;
        let stop = context.stop.clone();
        let enough = async move {
            let _ = tokio::time::timeout(DISCARDING, stop.cancelled()).await;
        };
        let rest = body.read_rest(DISCARDED, enough);
        match context.requires_all() {
            true => rest.await,
            false => context.spawn(rest),
        }
    }

    async fn exchange(&self, started: Timestamp, hop: &Hop<'_>) -> Response<Outgoing> {
        let leg = &self.upstreams.leg;
        let context = &leg.context;
        let Hop {
            url,
            origin,
            credentials,
            ..
        } = *hop;
        let Some(head) = self.head(hop) else {
            let why = "the URL cannot be sent";
            return self
                .own_at(started, url, StatusCode::BAD_GATEWAY, why)
                .await;
        };
        let shown = credentials.map(|credentials| marked(&head, credentials, &context.redactor));
        let beginning = Beginning {
            request: shown.as_ref().unwrap_or(&head),
            url,
            host: origin.target.host(),
            started,
            head_bytes: 0,
        };
        let mut ticket = Ticket::begin(leg, beginning);
        if let Some(note) = &hop.note {
            ticket.add_note(note);
        }
        if let Some(why) = context.refusal() {
            return answer::own(ticket, StatusCode::BAD_GATEWAY, &why).await;
        }
        match &context.responder {
            Responder::Replay(replay) => {
                replayed::answer(leg, replay, ticket, &head, None, url).await
            }
            Responder::Fill(fill) => fill::answer(leg, fill, ticket, &head, None, url).await,
            Responder::Upstream(dialer) => {
                handler::forward(self.upstreams, dialer, ticket, origin, head, None).await
            }
        }
    }

    /// The client's head as it is sent.
    fn head(&self, hop: &Hop<'_>) -> Option<request::Parts> {
        let mut head = self.client.clone();
        head.uri = hop.url.parse::<Uri>().ok()?;
        let host = HeaderValue::from_str(&hop.origin.authority()).ok()?;
        head.headers.insert(header::HOST, host);
        if let Some(referer) = hop.referer.as_ref() {
            let fields = &mut head.headers;
            fields
                .entry(header::REFERER)
                .or_insert_with(|| referer.clone());
        }
        match hop.credentials {
            None => headers::without(&mut head.headers, |name| {
                matches!(*name, header::AUTHORIZATION | header::COOKIE)
            }),
            Some(credentials) => {
                headers::without(&mut head.headers, |name| credentials.contains_key(name));
                for (name, value) in credentials {
                    head.headers.append(name.clone(), value.clone());
                }
            }
        }
        Some(head)
    }

    /// A further exchange begins.
    fn begin(&self) -> Timestamp {
        let leg = &self.upstreams.leg;
        // Its stamp is that of the client's head.
        let _ = leg.watch.begin();
        leg.context.clock.now()
    }

    /// An exchange that we answer ourselves.
    async fn own(&self, url: &str, status: StatusCode, text: &str) -> Response<Outgoing> {
        self.own_at(self.begin(), url, status, text).await
    }

    async fn own_at(
        &self,
        started: Timestamp,
        url: &str,
        status: StatusCode,
        text: &str,
    ) -> Response<Outgoing> {
        let ticket = self.ticket(started, url);
        answer::own(ticket, status, text).await
    }

    /// Begins an exchange whose request is not sent.
    fn ticket(&self, started: Timestamp, url: &str) -> Ticket {
        let origin = Origin::of_url(url);
        let host = origin.as_ref().map_or("", |origin| origin.target.host());
        let mut head = self.client.clone();
        let own = origin.as_ref().map(Origin::authority);
        if let Some(Ok(own)) = own.map(|own| HeaderValue::from_str(&own)) {
            head.headers.insert(header::HOST, own);
        }
        let beginning = Beginning {
            request: &head,
            url,
            host,
            started,
            head_bytes: 0,
        };
        Ticket::begin(&self.upstreams.leg, beginning)
    }
}

/// Where a response leads, if clients follow it (RFC 9110 section 15.4, as `net/http`).
fn location(response: &Response<Outgoing>) -> Option<String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?;
    if location.is_empty() {
        return None;
    }
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// The head as it is recorded: without the values of credentials, whatever their names.
fn marked(head: &request::Parts, credentials: &HeaderMap, redactor: &Redactor) -> request::Parts {
    let mut shown = head.clone();
    for (name, value) in &mut shown.headers {
        // Its scheme is told.
        if *name == header::AUTHORIZATION || !credentials.contains_key(name) {
            continue;
        }
        let mark = redactor.mark(&String::from_utf8_lossy(value.as_bytes()));
        *value = HeaderValue::from_str(&mark).unwrap_or(HeaderValue::from_static(""));
    }
    shown
}
