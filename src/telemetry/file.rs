//! The log file. A line that cannot be written is lost; the failure is reported once, and delays
//! nothing.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Called the first time that the file cannot be written.
pub(crate) type OnFailure = Box<dyn Fn(&io::Error) + Send + Sync>;

/// A log file; clones write to the same.
#[derive(Clone)]
pub(super) struct LogFile {
    // A std Mutex: held while a line is written, never across an await.
    state: Arc<Mutex<State>>,
    on_failure: Arc<OnFailure>,
}

struct State {
    file: File,
    /// Whether it was told that the file cannot be written.
    is_told: bool,
}

impl LogFile {
    pub(super) fn new(file: File, on_failure: OnFailure) -> Self {
        let is_told = false;
        Self {
            state: Arc::new(Mutex::new(State { file, is_told })),
            on_failure: Arc::new(on_failure),
        }
    }

    /// Writes later lines to another file.
    pub(super) fn replace(&self, file: File) {
        let is_told = false;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { file, is_told };
    }
}

/// Writes one line; its errors end here.
pub(super) struct Line<'a>(&'a LogFile);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let state = self.0.state.lock();
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = state.file.write_all(line)
            && !std::mem::replace(&mut state.is_told, true)
        {
            drop(state);
            (self.0.on_failure)(&error);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_full_disk_is_told_once_and_every_line_is_taken() {
        let times = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&times);
        let full = File::options().write(true).open("/dev/full").unwrap();
        let log = LogFile::new(
            full,
            Box::new(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
            }),
        );
        for _ in 0..3 {
            assert_eq!(log.make_writer().write(b"line").unwrap(), 4);
        }
        assert_eq!(times.load(Ordering::Relaxed), 1);
    }
}
