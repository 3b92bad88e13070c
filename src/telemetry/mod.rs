//! Logs: one line per exchange, to stderr and to a file, as text or JSON. Metrics for Prometheus. Traces: the `spans`
//! of a recording, their `resource`, and how they are sent (`otlp`).
//!
//! The proxy logs the events; this room sets their destination, their format, and what their fields are called in it.

mod fields;
mod lines;
pub(crate) mod metrics;
pub(crate) mod otlp;
pub(crate) mod resource;
mod sink;
pub(crate) mod spans;
pub(crate) mod variables;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Level;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry};

use lines::{JsonLines, Names};
pub(crate) use sink::OnFailure;
use sink::Sink;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `name=value` pairs after the time.
    Text,
    /// One JSON object per line, with OpenTelemetry's names.
    Json,
    /// One JSON object per line, as the Elastic Common Schema has it.
    Ecs,
}

/// Where log lines go.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    /// 0: nothing on stderr, but what a server `warns` of; 1: exchanges; 2: connections too.
    pub(crate) verbose: u8,
    /// Whether warnings go to stderr in any case: those of a server whose clients are elsewhere.
    pub(crate) warns: bool,
    /// A file to append to, created owner-only.
    pub(crate) file: Option<PathBuf>,
    /// Their format.
    pub(crate) format: Format,
}

/// How long lines are waited for.
const LIMIT: Duration = Duration::from_secs(1);

/// Why there can be no log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The file cannot be opened.
    #[error("cannot write the log {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A log was set up before.
    #[error("a log is set up already")]
    Twice(#[from] SetGlobalDefaultError),
}

/// Sends all later log lines to the destinations of `logs`. Call it once, before the first
/// connection.
///
/// `on_failure` is called the first time that lines are lost which are for the file. Gives a handle on the
/// destinations.
pub(crate) fn install(logs: &Logs, on_failure: OnFailure) -> Result<Log, LogError> {
    let mut log = Log::default();
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    let level = match logs.verbose {
        0 => logs.warns.then_some(Level::WARN),
        1 => Some(Level::INFO),
        _ => Some(Level::DEBUG),
    };
    if let Some(level) = level {
        let sink = Sink::stderr();
        log.stderr = Some(sink.clone());
        layers.push(layer(sink, logs.format).with_filter(targets(level)).boxed());
    }
    if let Some(path) = &logs.file {
        let sink = Sink::file(open(path)?, on_failure);
        log.file = Some((path.clone(), sink.clone()));
        layers.push(
            layer(sink, logs.format)
                .with_filter(targets(Level::DEBUG))
                .boxed(),
        );
    }
    if !layers.is_empty() {
        tracing::subscriber::set_global_default(Registry::default().with(layers))?;
    }
    Ok(log)
}

/// The destinations of log lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    stderr: Option<Sink>,
    file: Option<(PathBuf, Sink)>,
    /// Held while the file is opened again: the last who is told to opens it last.
    reopening: Arc<Mutex<()>>,
}

impl Log {
    /// Whether there is a file.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Writes later lines to the file that has the name now, which is made if there is none: another program
    /// renames it from time to time. Gives its path, which is empty without a file. It may block for long, on a FIFO
    /// until somebody reads it.
    pub(crate) fn reopen(&self) -> Result<&Path, LogError> {
        let Some((path, sink)) = &self.file else {
            return Ok(Path::new(""));
        };
        let turn = self.reopening.lock();
        let _turn = turn.unwrap_or_else(PoisonError::into_inner);
        sink.replace(open(path)?, LIMIT);
        Ok(path)
    }

    /// Waits until all lines are written; not for long, if nobody takes them.
    pub(crate) fn flush(&self) {
        let file = self.file.as_ref().map(|(_, sink)| sink);
        for sink in self.stderr.iter().chain(file) {
            sink.flush(LIMIT);
        }
    }
}

fn targets(level: Level) -> Targets {
    Targets::new().with_target("modtape", level)
}

fn open(path: &Path) -> Result<File, LogError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| LogError::Open {
            path: path.to_owned(),
            source,
        })
}

/// Without colour, which tracing-subscriber is built without.
fn layer<W>(writer: W, format: Format) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        Format::Text => layer.boxed(),
        Format::Json => layer.event_format(JsonLines(Names::Otel)).boxed(),
        Format::Ecs => layer.event_format(JsonLines(Names::Ecs)).boxed(),
    }
}
