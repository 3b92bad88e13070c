//! Spans of a recording on their way to a collector: the settings of the environment, a client over our own
//! dialer, and how much was sent.

use std::error::Error as _;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::{Bytes, BytesMut};
use http::Request;
use http::header::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::oneshot;

use super::failure::{Failure, USAGE};
use super::runtime::{Stop, block_on};
use super::session::Variables;
use crate::cli::{self, Global, OtlpArgs};
use crate::clock::{Clock, Timestamp};
use crate::diagnose::finding::Finding;
use crate::diagnose::report::Report;
use crate::diagnose::rerun;
use crate::exchange::{TraceParent, chain};
use crate::files;
use crate::recording::{Recording, Row};
use crate::shell;
use crate::sockets::OwnSockets;
use crate::telemetry::otlp::{
    Answer, Ask, Batches, Destination, Exporter, Protocol, SendError, Unreachable, are_asked_for,
    unusable,
};
use crate::telemetry::resource::{is_read, resource};
use crate::telemetry::spans::{Phases, Spans};
use crate::telemetry::variables;
use crate::terminal::words::count;
use crate::terminal::{plain, say, warn};
use crate::tls::{self, ClientConfigs, RootSources, Roots};
use crate::upstream::{Connector, Dialer, Limits, Overrides, ParentProxies, Reach, Settings};

/// How long a command may be held up by what is sent of it, at most.
const AFTER_COMMAND: Duration = Duration::from_secs(5);

/// How much of that is left to say what came of it: a request ends so much earlier.
const TO_SAY: Duration = Duration::from_millis(100);

/// The longest answer that is read, bytes.
const ANSWER: usize = 1 << 20;

/// The variables of OpenTelemetry and of CI systems.
pub(super) fn variables() -> variables::Variables {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        (is_read(&name) && !value.trim().is_empty()).then_some((name, value))
    });
    variables.collect()
}

/// Says of a verb that it sends no traces, if the variables ask for them.
pub(super) fn warn_of_none(verb: &str, global: &Global) {
    if are_asked_for(&variables()) {
        let message = format!("{verb} sends no traces: OTEL_EXPORTER_OTLP_… are not read");
        warn(global, message);
    }
}

/// Drops what traces can be sent without, and says so.
pub(super) fn drop_unusable(variables: &mut variables::Variables, global: &Global) {
    for error in unusable(variables) {
        variables.remove(error.variable);
        warn(global, format!("{error}: it is ignored"));
    }
}

impl From<cli::OtlpPhases> for Phases {
    fn from(phases: cli::OtlpPhases) -> Self {
        match phases {
            cli::OtlpPhases::None => Self::None,
            cli::OtlpPhases::Events => Self::Events,
            cli::OtlpPhases::Spans => Self::Spans,
        }
    }
}

/// What sends to a collector, with the roots of its setting and the user's proxies. Nothing is dialled yet.
pub(super) fn exporter(destination: Destination, clock: Clock) -> anyhow::Result<Exporter> {
    let variables = Variables::read();
    let sources = match &destination.certificate {
        Some(path) => RootSources {
            file: Some(path.clone()),
            dirs: Some(OsString::new()),
            extra: vec![path.clone()],
        },
        None => RootSources {
            file: variables.ssl_cert_file.clone(),
            dirs: variables.ssl_cert_dir.clone(),
            extra: Vec::new(),
        },
    };
    if let Some(path) = &destination.certificate {
        // A pipe would be waited for. Links are followed: a mounted secret is one.
        let opened = fs::canonicalize(path).and_then(|path| files::open_regular(&path));
        opened.with_context(|| format!("cannot read the certificates in {}", path.display()))?;
    }
    let roots = Roots::load(&sources)?;
    let (https, http) = (&variables.https_proxy, &variables.http_proxy);
    let dialer = Dialer::new(Settings {
        clock,
        limits: Limits {
            connect: destination.timeout,
            tls: destination.timeout,
        },
        tls: ClientConfigs::new(&roots),
        parents: ParentProxies::from_variables(https, http, &variables.no_proxy),
        // Those of the command line are for module proxies.
        overrides: Overrides::default(),
        reach: Reach::default(),
        sockets: OwnSockets::default(),
    });
    let ask = asking(dialer, destination.protocol);
    Ok(Exporter::new(destination, clock, ask))
}

/// Sends requests over connections of a dialer.
fn asking(dialer: Dialer, protocol: Protocol) -> Ask {
    let is_grpc = protocol == Protocol::Grpc;
    let alpn = if is_grpc {
        tls::Protocol::H2
    } else {
        tls::Protocol::Http1
    };
    let mut builder = Client::builder(TokioExecutor::new());
    builder.http2_only(is_grpc);
    let client: Client<_, Full<Bytes>> = builder.build(Connector::new(dialer, alpn));
    Box::new(move |request: Request<Bytes>| {
        let asked = client.request(request.map(Full::new));
        Box::pin(async move {
            let response = asked.await.map_err(|error| Unreachable {
                was_connected: !error.is_connect(),
                // Its own words say less than those below.
                why: trusting(&error.source().map_or_else(|| chain(&error), chain)),
            })?;
            let (head, mut body) = response.into_parts();
            let (mut bytes, mut trailers) = (BytesMut::new(), HeaderMap::new());
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Unreachable {
                    was_connected: true,
                    why: chain(&error),
                })?;
                match frame.into_data() {
                    Ok(data) if bytes.len() + data.len() <= ANSWER => {
                        bytes.extend_from_slice(&data)
                    }
                    // What is longer is none that is understood.
                    Ok(_) => break,
                    Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
                }
            }
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: bytes.freeze(),
                trailers,
            })
        })
    })
}

/// What is wrong with a certificate, with the setting that says whom to trust here: the flag of upstreams does not.
fn trusting(why: &str) -> String {
    why.replace("--upstream-ca FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE=FILE")
}

/// The findings of the recorded command, whatever was added to the recording later.
fn findings(recording: &Recording) -> Vec<Finding> {
    let runs = recording.runs().len();
    let is_added =
        u32::try_from(runs).is_ok_and(|runs| (0..runs).any(|run| recording.is_added(run)));
    if !is_added {
        return Report::of(recording).findings;
    }
    let again = Recording::open(recording.dir()).map(Recording::of_command);
    again.map_or_else(|_| Vec::new(), |own| Report::of(&own).findings)
}

/// All spans of a recording, those of the exchanges in `rows`; `host` is the machine that recorded, if it is this.
pub(super) fn batches<'a>(
    recording: &'a Recording,
    rows: &'a [&'a Row],
    phases: Phases,
    variables: &variables::Variables,
    host: Option<&str>,
) -> Batches<'a> {
    let resource = resource(recording.manifest(), variables, host);
    let spans = Spans::of(recording, phases);
    let roots = spans.roots(&findings(recording));
    Batches::of(spans, roots, rows, resource)
}

/// How much was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Spans that the collector has.
    pub(super) spans: u64,
    /// Spans that it rejected.
    pub(super) rejected: u64,
    /// What it says of that, the first time.
    pub(super) message: Option<String>,
    /// Why the rest was not sent.
    pub(super) failure: Option<SendError>,
}

/// Sends what there is, up to the first batch that is not taken, and until `deadline`. Calls `progress` with the
/// number of exchanges that are left.
pub(super) async fn send(
    exporter: &Exporter,
    clock: Clock,
    batches: &mut Batches<'_>,
    deadline: Option<Timestamp>,
    mut progress: impl FnMut(usize),
) -> Sent {
    let mut sent = Sent::default();
    let timeout = exporter.destination().timeout;
    while let Some(batch) = batches.next() {
        progress(batches.left());
        let left = deadline.map_or(timeout, |deadline| deadline.since(clock.now()).min(timeout));
        match exporter.send(&batch, left).await {
            Ok(taken) => {
                let rejected = taken.rejected.min(batch.spans);
                sent.spans += batch.spans - rejected;
                sent.rejected += rejected;
                sent.message = sent.message.or(taken.message);
            }
            Err(error) => {
                sent.failure = Some(error);
                break;
            }
        }
    }
    sent
}

/// Whether the trace that modtape was started in is not recorded by those who began it.
fn is_left_out() -> bool {
    let given = std::env::var("TRACEPARENT").ok();
    let given = given.as_deref().and_then(TraceParent::parse);
    given.is_some_and(|given| !given.flags.is_sampled())
}

/// What is to be sent after a command.
#[derive(Debug)]
pub(super) struct AfterCommand {
    destination: Destination,
    variables: variables::Variables,
    phases: Phases,
}

impl AfterCommand {
    /// Where the flag or the variables lead, if they ask for that. An invalid flag is an error; what is wrong with
    /// variables, which are set for other programs too, is said, and the command runs.
    pub(super) fn of(args: &OtlpArgs, global: &Global) -> Result<Option<Self>, Failure> {
        let mut variables = variables();
        let given = args.otlp.as_deref().filter(|url| !url.is_empty());
        if args.otlp.is_none() && (!are_asked_for(&variables) || is_left_out()) {
            return Ok(None);
        }
        drop_unusable(&mut variables, global);
        match Destination::of(&variables, given.map(|url| ("--otlp", url))) {
            Ok(destination) => Ok(Some(Self {
                destination,
                variables,
                phases: args.otlp_phases.into(),
            })),
            Err(error) if args.otlp.is_some() => Err(Failure::new(USAGE, error.into())),
            Err(error) => {
                warn(global, format!("no traces will be sent: {error}"));
                Ok(None)
            }
        }
    }

    /// Sends the recording in a folder. What cannot be sent is said, and is no failure.
    pub(super) fn send(self, dir: &Path, global: &Global) {
        let destination = self.destination.to_string();
        match self.in_time(dir.to_owned()) {
            Ok((sent, trace)) => {
                let spans = count(sent.spans, "span");
                if sent.rejected > 0 {
                    let rejected = count(sent.rejected, "span");
                    let why = sent.message.as_deref().unwrap_or("it does not say why");
                    warn(
                        global,
                        plain(&format!("{destination} rejected {rejected}: {why}")),
                    );
                }
                match sent.failure {
                    None => say(
                        global,
                        format!("modtape: trace {trace} sent to {destination} ({spans})"),
                    ),
                    Some(error) => not_sent(dir, &destination, &error.to_string(), global),
                }
            }
            Err(error) => not_sent(dir, &destination, &format!("{error:#}"), global),
        }
    }

    /// Sends on a thread, which is waited for until the time is over or a signal is received: files may be slow too.
    fn in_time(self, dir: PathBuf) -> anyhow::Result<(Sent, String)> {
        let stop = Stop::listen()?;
        let limit = AFTER_COMMAND.min(self.destination.timeout);
        let (told, outcome) = oneshot::channel();
        let sending = move || {
            // Whoever does not wait any more needs no answer.
            let _ = told.send(self.try_to_send(&dir, limit));
        };
        let named = thread::Builder::new().name("traces".into());
        named.spawn(sending).context("cannot start")?;
        block_on(async {
            tokio::select! {
                biased;
                sent = outcome => sent.context("the thread that sends failed")?,
                () = stop.heard() => Err(anyhow!("stopped by a signal")),
                () = tokio::time::sleep(limit) => Err(SendError::Silent(limit).into()),
            }
        })
        .context("cannot send")?
    }

    fn try_to_send(self, dir: &Path, limit: Duration) -> anyhow::Result<(Sent, String)> {
        let clock = Clock::start();
        let deadline = clock.now() + limit.saturating_sub(TO_SAY.min(limit / 8));
        let recording = Recording::open(dir)?;
        let rows: Vec<_> = recording.rows().iter().collect();
        let host = host_name();
        let mut batches = batches(
            &recording,
            &rows,
            self.phases,
            &self.variables,
            host.as_deref(),
        );
        let exporter = exporter(self.destination, clock)?;
        let sending = send(&exporter, clock, &mut batches, Some(deadline), |_| {});
        let mut sent = block_on(sending).context("cannot send")?;
        if let Some(SendError::Silent(within)) = &mut sent.failure {
            // The time of the last request alone says little.
            *within = limit;
        }
        Ok((sent, recording.manifest().trace.to_string()))
    }
}

/// Says once that not all was sent, why, and how it can be sent later.
fn not_sent(dir: &Path, destination: &str, why: &str, global: &Global) {
    let name = dir.file_name().unwrap_or(dir.as_os_str());
    // A name is looked up in the folder of recordings; anything else is a path.
    let name = match dir.parent() == Some(&global.recordings) {
        true => name.to_string_lossy(),
        false => dir.to_string_lossy(),
    };
    let recordings = rerun::recordings(global);
    let words = ["modtape", "export", "otlp", &name].map(shell::word);
    let words = words
        .into_iter()
        .map(Into::into)
        .chain(recordings.iter().map(|it| shell::word(it).into()));
    let words: Vec<String> = words.collect();
    let message = format!(
        "not all traces were sent to {destination}: {why}; `{}` sends them later",
        words.join(" ")
    );
    warn(global, plain(&message));
}

/// The name of this machine, as its system has it.
pub(super) fn host_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}
