//! What an origin does instead of answering a request plainly.
//!
//! The first rule that matches and is not used up decides.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::body::{Cut, Pace, Source};
use super::log::Served;

/// A scripted answer for the requests that it matches.
#[derive(Clone)]
pub struct Rule {
    matches: Arc<dyn Fn(&Served) -> bool + Send + Sync>,
    uses: Uses,
    pub(super) script: Script,
}

/// What happens in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Nothing, for ever; the connection stays open.
    Silence,
    /// The connection is closed (FIN, without a TLS goodbye).
    HangUp,
    /// The connection is reset (RST).
    Reset,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    #[default]
    Keep,
    /// HTTP/1.1: `Connection: close`. HTTP/2: GOAWAY at once, this stream is finished.
    Close,
    /// HTTP/1.1: closed without a word. HTTP/2: GOAWAY after this answer.
    CloseUnannounced,
}

/// How a request is answered.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub delay: Duration,
    pub instead: Option<Instead>,
    pub ignores_body: bool,
    pub status: Option<u16>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub source: Option<Source>,
    pub is_gzip: bool,
    pub is_chunked: bool,
    pub content_length: Option<u64>,
    pub pace: Pace,
    pub after: After,
    /// Where the repositories lie that answer in its place.
    pub git: Option<PathBuf>,
}

impl Rule {
    /// For requests that satisfy the predicate.
    pub fn when(matches: impl Fn(&Served) -> bool + Send + Sync + 'static) -> Self {
        Self {
            matches: Arc::new(matches),
            uses: Uses::default(),
            script: Script::default(),
        }
    }

    /// For requests whose decoded path ends so.
    pub fn suffix(suffix: &str) -> Self {
        let suffix = suffix.to_owned();
        Self::when(move |served| served.path.ends_with(&suffix))
    }

    /// For requests to that host.
    pub fn host(host: &str) -> Self {
        let host = host.to_owned();
        Self::when(move |served| served.host == host)
    }

    /// For all requests.
    pub fn any() -> Self {
        Self::when(|_| true)
    }

    /// Lets the first `n` matching requests pass.
    #[must_use]
    pub fn after(mut self, n: usize) -> Self {
        self.uses.skip = n;
        self
    }

    /// Is used for `n` requests only.
    #[must_use]
    pub fn times(mut self, n: usize) -> Self {
        self.uses.limit = n;
        self
    }

    /// Waits before the head is sent.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.with(|script| script.delay = delay)
    }

    /// Never answers; the connection stays open.
    #[must_use]
    pub fn silent(self) -> Self {
        self.with(|script| script.instead = Some(Instead::Silence))
    }

    /// Closes the connection instead of answering.
    #[must_use]
    pub fn hang_up(self) -> Self {
        self.with(|script| script.instead = Some(Instead::HangUp))
    }

    /// Resets the connection instead of answering.
    #[must_use]
    pub fn reset(self) -> Self {
        self.with(|script| script.instead = Some(Instead::Reset))
    }

    /// Answers without having read the request's body.
    #[must_use]
    pub fn ignore_request_body(self) -> Self {
        self.with(|script| script.ignores_body = true)
    }

    /// Replaces the status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.with(|script| script.status = Some(status))
    }

    /// Sets a header in place of the usual one of that name; twice the same name sends two lines.
    #[must_use]
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = name.parse().expect("a header name");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a header value");
        self.with(|script| script.headers.push((name, value)))
    }

    /// Answers 302 with that `Location` and a short text.
    #[must_use]
    pub fn redirect(self, location: &str) -> Self {
        self.status(302)
            .header("location", location)
            .body("moved\n")
    }

    /// Replaces the body.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        self.with(|script| script.source = Some(Source::Bytes(body)))
    }

    /// Replaces the body by `len` bytes of deterministic noise, see `generated_sha256`.
    #[must_use]
    pub fn generated(self, len: u64) -> Self {
        self.with(|script| script.source = Some(Source::Generated(len)))
    }

    /// Compresses the body, whatever the request accepts.
    #[must_use]
    pub fn gzip(self) -> Self {
        self.with(|script| script.is_gzip = true)
    }

    /// Sends no content-length: chunked in HTTP/1.1, to END_STREAM in HTTP/2.
    #[must_use]
    pub fn chunked(self) -> Self {
        self.with(|script| script.is_chunked = true)
    }

    /// Declares this length instead of the body's; a longer body is cut to it in HTTP/1.1.
    #[must_use]
    pub fn content_length(self, len: u64) -> Self {
        self.with(|script| script.content_length = Some(len))
    }

    /// Ends with a trailer. In HTTP/1.1 it is sent only to a request with `TE: trailers`.
    #[must_use]
    pub fn trailer(self, name: &'static str, value: &'static str) -> Self {
        self.with(|script| {
            let trailers = script.pace.trailers.get_or_insert_with(HeaderMap::new);
            trailers.append(name, HeaderValue::from_static(value));
            script.is_chunked = true;
        })
    }

    /// Declares the whole length, sends `bytes` of it, then closes (HTTP/2: resets the stream).
    #[must_use]
    pub fn short(self, bytes: u64) -> Self {
        self.with(|script| script.pace.cut = Some((bytes, Cut::Break)))
    }

    /// Declares the whole length, sends `bytes` of it, then ends as if that were all.
    #[must_use]
    pub fn ends_early(self, bytes: u64) -> Self {
        self.with(|script| script.pace.cut = Some((bytes, Cut::End)))
    }

    /// Falls silent after `bytes` of the body.
    #[must_use]
    pub fn stall_after(self, bytes: u64) -> Self {
        self.with(|script| script.pace.cut = Some((bytes, Cut::Stall)))
    }

    /// Sends `bytes` at a time, with a pause before each but the first.
    #[must_use]
    pub fn trickle(self, bytes: usize, every: Duration) -> Self {
        self.with(|script| script.pace.trickle = Some((bytes, every)))
    }

    /// Has `git http-backend` answer from the repositories below `root`.
    #[must_use]
    pub fn git(self, root: &Path) -> Self {
        self.with(|script| script.git = Some(root.to_owned()))
    }

    /// Ends the connection after the answer, and says so before.
    #[must_use]
    pub fn close(self) -> Self {
        self.with(|script| script.after = After::Close)
    }

    /// Ends the connection after the answer without having said so (HTTP/2: GOAWAY).
    #[must_use]
    pub fn close_unannounced(self) -> Self {
        self.with(|script| script.after = After::CloseUnannounced)
    }

    pub(super) fn takes(&self, served: &Served) -> bool {
        (self.matches)(served) && self.uses.take()
    }

    fn with(mut self, change: impl FnOnce(&mut Script)) -> Self {
        change(&mut self.script);
        self
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Rule")
            .field("uses", &self.uses)
            .finish_non_exhaustive()
    }
}

/// How often a rule is used; clones share the count.
#[derive(Clone, Debug)]
pub(super) struct Uses {
    seen: Arc<AtomicUsize>,
    pub(super) skip: usize,
    pub(super) limit: usize,
}

impl Default for Uses {
    fn default() -> Self {
        Self {
            seen: Arc::default(),
            skip: 0,
            limit: usize::MAX,
        }
    }
}

impl Uses {
    /// Counts one use; whether the rule is in force for it.
    pub(super) fn take(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        seen >= self.skip && seen - self.skip < self.limit
    }
}

/// The gzip form of `body`.
pub fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).expect("a vector takes all");
    encoder.finish().expect("a vector takes all").into()
}
