//! An HTTP client of our own, whose requests go through a proxy of our own in this process: what modtape asks
//! for itself has the deadlines, the diagnosis and the record of what a go command asks.

use std::hash::RandomState;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HOST, HeaderValue, LOCATION,
    PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use url::Url;

use super::dialling::LIMITS;
use super::session::Variables;
use crate::ca::{CertificateAuthority, Leafs, Scope};
use crate::child::{GoFacts, Repositories};
use crate::clock::Clock;
use crate::coding::Coding;
use crate::exchange::{ConnectionId, ExchangeId, TraceParent, chain};
use crate::git::REPOSITORY_LIMIT;
use crate::gomod::{
    Base, GoProxy, Kind, Location, MachineRule, Netrc, REDIRECTS, Route, TEXT_LIMIT as TEXT,
    ZIP_LIMIT, redirect_target,
};
use crate::proxy::{
    Access, Context, Deadlines, Entrance, ID_FIELD, Live, NAME, Others, Policy, Propagation, Proxy,
    Responder, Token, Windows,
};
use crate::recording::Recorder;
use crate::redact::Redactor;
use crate::sockets::OwnSockets;
use crate::tls::{self, Protocol};
use crate::upstream::{Dialer, Exposed, Overrides, ParentProxies, PlainOrTls, Reach, Settings};

/// How long the root of this process is valid: longer than any run.
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// How long an upstream may be silent where no command waits for it, if nothing else is said.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// What goes out, and on whose behalf.
pub(super) struct Outward {
    /// Where to connect.
    pub(super) overrides: Overrides,
    /// Through which proxies.
    pub(super) parents: ParentProxies,
    /// Whom to trust.
    pub(super) roots: tls::Roots,
    /// How long an upstream may be silent.
    pub(super) idle: Duration,
    /// What must not reach the disk.
    pub(super) redactor: Redactor,
    /// The places of module proxies.
    pub(super) bases: Vec<Base>,
    /// What is sent to whom.
    pub(super) credentials: Credentials,
    /// The span that the requests are part of.
    pub(super) parent: TraceParent,
    /// The last numbers of exchanges and connections that are taken.
    pub(super) last_ids: (ExchangeId, ConnectionId),
    /// Marks what it dials, where the firewall might redirect that.
    pub(super) sockets: OwnSockets,
    /// What of this machine those reach on whose behalf it goes out; `None` for all.
    pub(super) exposed: Option<Exposed>,
}

/// The credentials of the user's own settings, as the go command finds them.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    netrc: Netrc,
    /// URLs with a userinfo.
    goproxy: Vec<Url>,
}

impl Credentials {
    /// Those in the netrc file and in the user's own GOPROXY: a recording has none.
    pub(super) fn of_user(variables: &Variables, go: &GoFacts) -> Self {
        let goproxy = GoProxy::parse(go.get("GOPROXY"));
        let urls = goproxy.urls().filter_map(|url| url.parse::<Url>().ok());
        Self {
            netrc: variables.read_netrc(),
            goproxy: urls.filter(|url| !url.username().is_empty()).collect(),
        }
    }

    /// Takes those of a URL with a userinfo, before all others.
    pub(super) fn add(&mut self, url: Url) {
        self.goproxy.insert(0, url);
    }

    /// What is sent with a request for this URL, over TLS alone.
    fn of(&self, url: &str) -> anyhow::Result<Option<HeaderValue>> {
        let Some(place) = url.strip_prefix("https://") else {
            return Ok(None);
        };
        let host = Location::of(url).host;
        let is_its =
            |entry: &&Url| entry.scheme() == "https" && Location::of(entry.as_str()).host == host;
        if let Some(entry) = self.goproxy.iter().find(is_its) {
            let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
            let password = text(entry.password().unwrap_or_default());
            return basic(&text(entry.username()), &password).map(Some);
        }
        // The one rule is of Go 1.24 and newer, the other of those before.
        let rules = [MachineRule::Prefix, MachineRule::Host].into_iter();
        let login = rules
            .map(|rule| self.netrc.login_for(place, rule))
            .find_map(|it| it);
        login
            .map(|login| basic(&login.login, &login.password))
            .transpose()
    }
}

/// Sends requests; ends with [`close`](Self::close).
pub(super) struct Client {
    pool: Pool<ThroughUs, Full<Bytes>>,
    /// For requests that go out in clear text; CONNECT has its own.
    authorization: HeaderValue,
    credentials: Credentials,
    serving: JoinSet<()>,
    context: Arc<Context>,
}

/// A response.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its content, decoded, where that was asked for or the status is no 200: then as much as a reason takes.
    pub(super) text: Vec<u8>,
}

/// What is to be done with the body of a 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It is read: a text.
    Text,
    /// It is let pass up to [`ZIP_LIMIT`]: a zip, which the recorder keeps.
    Pass,
}

impl Client {
    /// Starts the proxy, on a port of loopback that nobody else is told.
    pub(super) async fn start(
        clock: Clock,
        outward: Outward,
        recorder: Option<Recorder>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = listener.local_addr()?;
        // Addresses have to be listed.
        let hosts = outward.bases.iter().map(|base| base.host_name().to_owned());
        let scope = Scope::AllNames(hosts.collect());
        let authority = CertificateAuthority::new(&scope, clock.wall_start(), LIFETIME)?;
        let token = Token::random();
        let connector = ThroughUs::new(address, &authority, &token)?;
        let dialer = Dialer::new(Settings {
            clock,
            limits: LIMITS,
            tls: tls::ClientConfigs::new(&outward.roots),
            parents: outward.parents,
            overrides: outward.overrides,
            reach: Reach::all_but(vec![address]).of_this_machine(outward.exposed),
            sockets: outward.sockets,
        });
        let context = Arc::new(Context {
            clock,
            deadlines: Deadlines {
                upstream_idle: Some(outward.idle),
                ..Deadlines::default()
            },
            access: Access::with(token),
            policy: Policy {
                intercept: Default::default(),
                intercept_all: true,
                tunnel: Default::default(),
                others: Others::Tunnel,
                propagation: Propagation::default(),
            },
            leafs: Some(Leafs::new(authority)?),
            responder: Responder::Upstream(dialer),
            repositories: Repositories::new(None, std::env::temp_dir()),
            recorder,
            capture: None,
            redactor: outward.redactor,
            live: Live::new(clock),
            metrics: None,
            bases: outward.bases.into(),
            windows: Windows::default(),
            trace: outward.parent.trace,
            trace_flags: outward.parent.flags,
            spans: RandomState::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            drained: CancellationToken::new(),
            next_exchange: AtomicU64::new(outward.last_ids.0),
            next_connection: AtomicU64::new(outward.last_ids.1),
        });
        let mut serving = JoinSet::new();
        serving.spawn(Proxy::new(listener, Arc::clone(&context), Entrance::Proxy).run());
        let authorization = connector.authorization.clone();
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        Ok(Self {
            pool,
            authorization,
            credentials: outward.credentials,
            serving,
            context,
        })
    }

    /// Sends a GET and follows redirects as the go command does: ten, never from https to http, and
    /// with credentials for their own host alone.
    pub(super) async fn get(&self, url: &str, wanted: Wanted) -> anyhow::Result<Answer> {
        let mut url = url.to_owned();
        for _ in 0..=REDIRECTS {
            let response = self.send(&url).await.with_context(|| shown(&url))?;
            let to = match response.status() {
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => response.headers().get(LOCATION),
                _ => return read(response, wanted).await.with_context(|| shown(&url)),
            };
            let to = to.and_then(|to| redirect_target(&url, to.to_str().ok()?));
            let to = to.with_context(|| format!("{}: an invalid redirect", shown(&url)))?;
            if url.starts_with("https://") && !to.starts_with("https://") {
                anyhow::bail!("{}: redirected from https to http", shown(&url));
            }
            let_pass(response.into_body(), false, TEXT).await?;
            url = to;
        }
        anyhow::bail!("{}: stopped after {REDIRECTS} redirects", shown(&url))
    }

    async fn send(&self, url: &str) -> anyhow::Result<http::Response<Incoming>> {
        let uri: Uri = url.parse()?;
        let is_plain = uri.scheme_str() == Some("http");
        let mut request = Request::get(uri)
            .header(USER_AGENT, concat!("modtape/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT_ENCODING, "gzip")
            .body(Full::default())?;
        if is_plain {
            let ours = self.authorization.clone();
            request.headers_mut().insert(PROXY_AUTHORIZATION, ours);
        } else if let Some(value) = self.credentials.of(url)? {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(self.pool.request(request).await?)
    }

    /// Sends a request as it is, and what it is redirected to if it only reads, and lets the answers pass, which
    /// the recorder keeps. Returns once the last one is on record; an answer of an upstream is no error,
    /// whatever its status, but one that is longer than the go command takes of its kind is: it is given up.
    pub(super) async fn pass(&self, request: Request<Bytes>) -> anyhow::Result<()> {
        let (mut head, body) = request.into_parts();
        let limit = limit(&Route::of(&head.uri.to_string(), &self.context.bases));
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        for _ in 0..=REDIRECTS {
            if head.uri.scheme_str() == Some("http") {
                let ours = self.authorization.clone();
                head.headers.insert(PROXY_AUTHORIZATION, ours);
            }
            let request = Request::from_parts(head.clone(), Full::new(body.clone()));
            let response = self.pool.request(request).await?;
            let from = head.uri.to_string();
            let to = response.headers().get(LOCATION);
            let to = to.filter(|_| reads && response.status().is_redirection());
            let to = to.and_then(|to| redirect_target(&from, to.to_str().ok()?));
            let is_ours = response.headers().contains_key(ID_FIELD);
            let said = let_pass(response.into_body(), is_ours, limit).await?;
            if is_ours {
                let said = said.strip_prefix(NAME).unwrap_or(&said);
                anyhow::bail!(said.trim_end().to_owned());
            }
            // What cannot be followed is the client's to judge.
            let Some(to) = to.and_then(|to| to.parse::<Uri>().ok()) else {
                return Ok(());
            };
            if to.authority() != head.uri.authority() {
                head.headers.remove(AUTHORIZATION);
            }
            if head.uri.scheme_str() == Some("https") && to.scheme_str() != Some("https") {
                return Ok(());
            }
            head.headers.remove(PROXY_AUTHORIZATION);
            head.uri = to;
        }
        Ok(())
    }

    /// Ends all connections, once the requests that were given up are over; only then is the recorder free.
    pub(super) async fn close(mut client: Arc<Self>) {
        let Self {
            pool,
            context,
            serving,
            ..
        } = loop {
            client = match Arc::try_unwrap(client) {
                Ok(client) => break client,
                Err(shared) => shared,
            };
            // Tasks that were ended let go of it at their next turn.
            tokio::task::yield_now().await;
        };
        drop(pool);
        context.stop.cancel();
        drop(context);
        serving.join_all().await;
    }
}

/// Requests that are on their way at once: a go command on eight processors sends as many.
const AT_ONCE: usize = 16;

/// Sends requests, some at once, and gives each outcome to `take` as it comes.
pub(super) async fn some_at_once<T: Send + 'static>(
    mut requests: impl Iterator<Item: Future<Output = T> + Send + 'static>,
    mut take: impl FnMut(T),
) -> anyhow::Result<()> {
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < AT_ONCE
            && let Some(request) = requests.next()
        {
            asking.spawn(request);
        }
        match asking.join_next().await {
            Some(outcome) => take(outcome?),
            None => return Ok(()),
        }
    }
}

/// The longest reason that is kept, bytes.
const REASON: usize = 4096;

/// The longest answer to a request, bytes.
const fn limit(route: &Route) -> u64 {
    match route.kind {
        Kind::Zip | Kind::Toolchain | Kind::Other => ZIP_LIMIT,
        Kind::Vcs => REPOSITORY_LIMIT,
        _ => TEXT,
    }
}

/// An error if a body is longer.
fn check_length(passed: u64, limit: u64) -> anyhow::Result<()> {
    anyhow::ensure!(passed <= limit, "it is longer than {} MiB", limit >> 20);
    Ok(())
}

/// Reads a body to its end; its beginning, if it is a text that is wanted.
async fn let_pass(mut body: Incoming, is_wanted: bool, limit: u64) -> anyhow::Result<String> {
    let (mut beginning, mut passed) = (Vec::new(), 0_u64);
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        passed = passed.saturating_add(frame.data_ref().map_or(0, Bytes::len) as u64);
        check_length(passed, limit)?;
        if let Some(data) = frame.data_ref().filter(|_| is_wanted) {
            let room = REASON.saturating_sub(beginning.len()).min(data.len());
            beginning.extend_from_slice(&data[..room]);
        }
    }
    Ok(String::from_utf8_lossy(&beginning).into_owned())
}

fn basic(login: &str, password: &str) -> anyhow::Result<HeaderValue> {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{login}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn shown(url: &str) -> String {
    crate::redact::url_without_secrets(url)
}

async fn read(response: http::Response<Incoming>, wanted: Wanted) -> anyhow::Result<Answer> {
    let (head, mut body) = response.into_parts();
    let is_text = wanted == Wanted::Text || head.status != StatusCode::OK;
    let (mut bytes, mut passed) = (Vec::new(), 0_u64);
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let data = frame.data_ref();
        passed = passed.saturating_add(data.map_or(0, Bytes::len) as u64);
        check_length(passed, if is_text { TEXT } else { ZIP_LIMIT })?;
        if let Some(data) = data.filter(|_| is_text) {
            bytes.extend_from_slice(data);
        }
    }
    let coded = head.headers.get(CONTENT_ENCODING);
    let coding = coded.and_then(|coding| coding.to_str().ok());
    let text = match coding {
        None => bytes,
        Some(coding) => decoded(coding, bytes)?,
    };
    Ok(Answer {
        status: head.status,
        text,
    })
}

fn decoded(coding: &str, bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let fields = vec![("content-encoding".to_owned(), coding.into())];
    let length = bytes.len() as u64;
    let reader = Coding::of(&fields).reader(io::Cursor::new(bytes), length);
    let mut text = Vec::new();
    let reader =
        reader.map_err(|_| anyhow::anyhow!("its content coding is not known: {coding}"))?;
    io::Read::read_to_end(&mut io::Read::take(reader, TEXT), &mut text)?;
    Ok(text)
}

/// Connects to hosts through our own proxy.
#[derive(Clone)]
struct ThroughUs {
    address: SocketAddr,
    authorization: HeaderValue,
    tls: TlsConnector,
    /// Owns the connections to the proxy.
    tasks: TaskTracker,
}

impl ThroughUs {
    fn new(
        address: SocketAddr,
        authority: &CertificateAuthority,
        token: &Token,
    ) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.root().clone())?;
        let config = rustls::ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address,
            authorization: basic("modtape", token.secret())?,
            tls: TlsConnector::from(tls::offer(config, &[Protocol::H2, Protocol::Http1])),
            tasks: TaskTracker::new(),
        })
    }

    async fn connect(self, uri: Uri) -> Result<Stream, Unreachable> {
        let host = uri.host().unwrap_or_default().to_owned();
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        if uri.scheme_str() != Some("https") {
            return Ok(Stream::Plain(TokioIo::new(tcp)));
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
        self.tasks.spawn(async move {
            // An error reaches the request that was on the connection.
            let _ = connection.with_upgrades().await;
        });
        let place = format!("{host}:{}", uri.port_u16().unwrap_or(443));
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri(&place)
            .header(HOST, &place)
            .header(PROXY_AUTHORIZATION, self.authorization)
            .body(Empty::<Bytes>::new());
        let response = sender
            .send_request(request.map_err(io::Error::other)?)
            .await?;
        if response.status() != StatusCode::OK {
            let reason = response.extensions().get::<hyper::ext::ReasonPhrase>();
            let reason =
                reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
            return Err(Unreachable(
                reason.unwrap_or_else(|| response.status().to_string()),
            ));
        }
        let tunnel = hyper::upgrade::on(response).await?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(io::Error::other)?;
        let tls = self.tls.connect(name, TokioIo::new(tunnel)).await?;
        Ok(Stream::Tls(Box::new(TokioIo::new(tls))))
    }
}

/// Why a host cannot be reached, in the words of our own proxy.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreachable(String);

impl From<io::Error> for Unreachable {
    fn from(error: io::Error) -> Self {
        Self(chain(&error))
    }
}

impl From<hyper::Error> for Unreachable {
    fn from(error: hyper::Error) -> Self {
        Self(chain(&error))
    }
}

impl Service<Uri> for ThroughUs {
    type Response = Stream;
    type Error = Unreachable;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Unreachable>> + Send>>;

    fn poll_ready(&mut self, _: &mut Poller<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection to a host, or to our proxy for a plain one.
type Stream = PlainOrTls<TokioIo<TcpStream>, TokioIo<TlsStream<TokioIo<Upgraded>>>>;

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain(_) => Connected::new().proxy(true),
            Self::Tls(tls) => {
                let alpn = tls.inner().get_ref().1.alpn_protocol();
                match alpn == Some(Protocol::H2.alpn()) {
                    true => Connected::new().negotiated_h2(),
                    false => Connected::new(),
                }
            }
        }
    }
}
