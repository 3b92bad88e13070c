//! Where log lines go: a file or stderr, written by a thread of its own, so that nobody waits for it.
//!
//! A line finds room in a queue, or is lost. A full disk, a pipe that nobody reads and a terminal that was stopped
//! delay nothing; what they cost is said: once as it happens, and in the log once it takes lines again.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Called the first time that lines are lost, with the reason.
pub(crate) type OnFailure = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// Bytes of lines that wait to be written: some thousand lines.
const ROOM: usize = 1 << 20;

/// How long lines wait for others: under load many are written at once.
const GATHER: Duration = Duration::from_millis(20);

/// A destination of lines; clones lead to the same.
#[derive(Clone)]
pub(super) struct Sink(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Rung when the thread has something to do, and when it has done it.
    changed: Condvar,
    on_failure: Option<OnFailure>,
}

/// What the thread writes to.
enum Out {
    File(File),
    Stderr,
}

struct State {
    /// Whole lines that nobody has taken yet.
    waiting: Vec<u8>,
    /// The thread's, once it was started; a new one is for the thread to take.
    out: Option<Out>,
    /// Lines that were lost since that was last said in the log.
    lost: u64,
    is_started: bool,
    /// The thread has lines in hand.
    is_writing: bool,
    /// The thread waits for a line, and is to be woken.
    is_idle: bool,
    /// Somebody waits for the lines to be written.
    is_hurried: bool,
    /// Whether it was told that lines are lost.
    is_told: bool,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    /// Appends to a file; `on_failure` is called when lines are lost.
    pub(super) fn file(file: File, on_failure: OnFailure) -> Self {
        Self::new(Out::File(file), Some(on_failure))
    }

    /// Writes to stderr, where no other words tell of what cannot be written there.
    pub(super) fn stderr() -> Self {
        Self::new(Out::Stderr, None)
    }

    fn new(out: Out, on_failure: Option<OnFailure>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                waiting: Vec::new(),
                out: Some(out),
                lost: 0,
                is_started: false,
                is_writing: false,
                is_idle: false,
                is_hurried: false,
                is_told: false,
            }),
            changed: Condvar::new(),
            on_failure,
        }))
    }

    /// Writes later lines to another file.
    pub(super) fn replace(&self, file: File, limit: Duration) {
        let mut state = self.written(limit);
        state.out = Some(Out::File(file));
        state.is_told = false;
    }

    /// Waits until all lines are written, or `limit` is over.
    pub(super) fn flush(&self, limit: Duration) {
        drop(self.written(limit));
    }

    fn written(&self, limit: Duration) -> MutexGuard<'_, State> {
        let mut state = self.0.lock();
        state.is_hurried = true;
        self.0.changed.notify_all();
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        let waited = self.0.changed.wait_timeout_while(state, limit, is_busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_hurried = false;
        state
    }

    /// Takes a line, or loses it.
    fn take(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.waiting.len() + line.len() > ROOM {
            state.lost += 1;
            return self.0.tell_apart(state);
        }
        state.waiting.extend_from_slice(line);
        if !state.is_started {
            state.is_started = true;
            let shared = Arc::clone(&self.0);
            let named = thread::Builder::new().name("log".into());
            if let Err(error) = named.spawn(move || shared.write()) {
                state.waiting.clear();
                state.lost += 1;
                state.is_started = false;
                self.0.tell(state, &error);
            }
        } else if std::mem::replace(&mut state.is_idle, false) {
            self.0.changed.notify_all();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells once that lines are lost.
    fn tell(&self, mut state: MutexGuard<'_, State>, why: &io::Error) {
        let is_told = std::mem::replace(&mut state.is_told, true);
        drop(state);
        if let Some(on_failure) = self.on_failure.as_ref().filter(|_| !is_told) {
            on_failure(why);
        }
    }

    /// The same where there is no room, on a thread for it: whoever logs does not wait for a stderr that nobody reads.
    fn tell_apart(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::replace(&mut state.is_told, true) {
            return;
        }
        drop(state);
        let Some(on_failure) = self.on_failure.clone() else {
            return;
        };
        let named = thread::Builder::new().name("log-failure".into());
        let telling = named.spawn(move || {
            on_failure(&io::Error::other("it takes lines too slowly"));
        });
        if telling.is_err() {
            // The next line that is lost tries again.
            self.lock().is_told = false;
        }
    }

    /// Writes lines as they come, to the end of the process.
    fn write(&self) -> ! {
        let (mut out, mut lines) = (Out::Stderr, Vec::new());
        // The last line ends in the middle.
        let mut is_torn = false;
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() {
                state.is_idle = true;
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
            state.is_idle = false;
            if let Some(new) = state.out.take() {
                (out, is_torn) = (new, false);
            }
            lines.clear();
            std::mem::swap(&mut lines, &mut state.waiting);
            state.is_writing = true;
            drop(state);
            if is_torn {
                lines.insert(0, b'\n');
            }
            let (written, outcome) = out.write(&lines);
            is_torn = match written {
                0 => is_torn,
                _ => lines[written - 1] != b'\n',
            };
            let mut state = self.lock();
            state.is_writing = false;
            let rest = lines[written..].iter();
            let lost = rest.filter(|byte| **byte == b'\n').count() as u64;
            state.lost += lost;
            let before = match lost {
                0 => std::mem::take(&mut state.lost),
                _ => 0,
            };
            self.changed.notify_all();
            match outcome {
                Ok(()) => drop(state),
                Err(error) => self.tell(state, &error),
            }
            if before > 0 {
                tracing::warn!(target: "modtape::log", lost = before, "log lines were lost");
            }
            self.gather();
        }
    }

    /// Waits for more lines, unless somebody waits for those that there are.
    fn gather(&self) {
        let is_early = |state: &mut State| !state.is_hurried && state.waiting.len() < ROOM / 2;
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), GATHER, is_early);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Out {
    /// Writes bytes; gives how many were written, and why no more.
    fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            let step = match self {
                Self::File(file) => file.write(rest),
                Self::Stderr => io::stderr().lock().write(rest),
            };
            match step {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(bytes) => written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}

/// Writes one line; its errors end here.
pub(super) struct Line<'a>(&'a Sink);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.take(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn counting() -> (Arc<AtomicU32>, OnFailure) {
        let times = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&times);
        let count = move |_: &io::Error| {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        (times, Arc::new(count))
    }

    #[test]
    fn a_full_disk_is_told_once_and_every_line_is_taken() {
        let (times, on_failure) = counting();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let log = Sink::file(full, on_failure);
        for _ in 0..3 {
            assert_eq!(log.make_writer().write(b"line\n").unwrap(), 5);
            log.flush(LIMIT);
        }
        assert_eq!(times.load(Ordering::Relaxed), 1);
        assert_eq!(log.0.lock().lost, 3);
    }

    #[test]
    fn lines_go_to_the_file_that_there_was_when_they_came() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (_, on_failure) = counting();
        let log = Sink::file(File::create(path("old")).unwrap(), on_failure);
        log.make_writer().write_all(b"one\n").unwrap();
        log.replace(File::create(path("new")).unwrap(), LIMIT);
        log.make_writer().write_all(b"two\n").unwrap();
        log.flush(LIMIT);
        assert_eq!(std::fs::read(path("old")).unwrap(), b"one\n");
        assert_eq!(std::fs::read(path("new")).unwrap(), b"two\n");
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up() {
        // Nor does a stderr that nobody reads, where it is told.
        let (read, stderr) = mpsc::channel::<()>();
        let (telling, told) = mpsc::channel();
        let stderr = Mutex::new(stderr);
        let on_failure = move |_: &io::Error| {
            let _ = stderr.lock().unwrap().recv();
            telling.send(()).unwrap();
        };
        let (mut reader, writer) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let log = Sink::file(file, Arc::new(on_failure));
        let line = [b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<_>>();
        let lines = 4 * ROOM / line.len();
        for _ in 0..lines {
            log.make_writer().write_all(&line).unwrap();
        }
        drop(read);
        told.recv_timeout(LIMIT).unwrap();
        assert!(told.try_recv().is_err());
        let lost = usize::try_from(log.0.lock().lost).unwrap();
        assert!(lost > 0 && lost < lines);
        let mut read = vec![0; (lines - lost) * line.len()];
        reader.read_exact(&mut read).unwrap();
        assert!(read.chunks(line.len()).all(|read| read == line));
    }
}
