//! Logs: one line per exchange, to stderr and to a file, as text or JSON. Metrics for Prometheus. Traces: the `spans`
//! of a recording, their `resource`, and how they are sent (`otlp`).
//!
//! The proxy logs the events; this room sets their destination, their format, and what their fields are called in it.

mod fields;
mod file;
mod lines;
pub(crate) mod metrics;
pub(crate) mod otlp;
pub(crate) mod resource;
pub(crate) mod spans;
pub(crate) mod variables;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tracing::Level;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry};

use file::LogFile;
pub(crate) use file::OnFailure;
use lines::{JsonLines, Names};

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
/// `on_failure` is called the first time that the file cannot be written. Gives a handle on the file, if there is one.
pub(crate) fn install(logs: &Logs, on_failure: OnFailure) -> Result<Option<Reopen>, LogError> {
    let mut reopen = None;
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    if logs.verbose > 0 {
        let targets = targets(if logs.verbose > 1 {
            Level::DEBUG
        } else {
            Level::INFO
        });
        layers.push(layer(io::stderr, logs.format).with_filter(targets).boxed());
    }
    if logs.verbose == 0 && logs.warns {
        let layer = layer(io::stderr, logs.format);
        layers.push(layer.with_filter(targets(Level::WARN)).boxed());
    }
    if let Some(path) = &logs.file {
        let file = LogFile::new(open(path)?, on_failure);
        reopen = Some(Reopen {
            path: path.clone(),
            file: file.clone(),
        });
        layers.push(
            layer(file, logs.format)
                .with_filter(targets(Level::DEBUG))
                .boxed(),
        );
    }
    if !layers.is_empty() {
        tracing::subscriber::set_global_default(Registry::default().with(layers))?;
    }
    Ok(reopen)
}

/// The log file, which another program renames from time to time.
pub(crate) struct Reopen {
    path: PathBuf,
    file: LogFile,
}

impl Reopen {
    /// Writes later lines to the file that has the name now, which is made if there is none.
    pub(crate) fn reopen(&self) -> Result<(), LogError> {
        self.file.replace(open(&self.path)?);
        Ok(())
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
