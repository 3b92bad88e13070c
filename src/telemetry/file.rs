//! The log file. A line that cannot be written is lost; the failure is reported once, and delays
//! nothing.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Called the first time that the file cannot be written.
pub(crate) type OnFailure = Box<dyn Fn(&io::Error) + Send + Sync>;

/// A log file.
pub(super) struct LogFile {
    // A std Mutex: held while a line is written, never across an await.
    state: Mutex<State>,
}

struct State {
    file: File,
    /// `None` after it was called.
    on_failure: Option<OnFailure>,
}

impl LogFile {
    pub(super) const fn new(file: File, on_failure: OnFailure) -> Self {
        let on_failure = Some(on_failure);
        let state = Mutex::new(State { file, on_failure });
        Self { state }
    }
}

/// Writes one line; its errors end here.
pub(super) struct Line<'a>(&'a Mutex<State>);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = state.file.write_all(line)
            && let Some(on_failure) = state.on_failure.take()
        {
            drop(state);
            on_failure(&error);
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
        Line(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
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
