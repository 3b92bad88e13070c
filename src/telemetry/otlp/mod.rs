//! OTLP: spans in batches, sent to a collector or written to a file (OpenTelemetry Protocol 1.10).
//!
//! Nothing here dials: who makes an [`Exporter`] gives it what sends one request. The environment is not read
//! either. `opentelemetry-otlp` does both by itself, keeps the reason of a failure back, and tells nobody of what a
//! collector took in part; so only the messages are of that project (`opentelemetry-proto`).

mod answer;
mod batches;
mod settings;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use http::{Request, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;

use crate::clock::{Clock, Timestamp};
use crate::coding::gzip;
use crate::tls;
pub(crate) use batches::{Batch, Batches};
pub(crate) use settings::{Destination, Protocol, are_asked_for, unusable};

/// How often a request is sent at most.
const TRIES: u32 = 5;

/// How long is waited before a request is sent again, where the collector does not say; doubled each time.
const BACKOFF: Duration = Duration::from_secs(1);

/// The longest message of a collector that is kept, characters.
const LONGEST: usize = 300;

/// The longest `grpc-timeout` in milliseconds: it has at most eight digits.
const GRPC_MILLIS: u128 = 99_999_999;

/// Sends one request, and reads the whole answer.
pub(crate) type Ask = Box<dyn Fn(Request<Bytes>) -> Asking + Send + Sync>;

/// A request on its way.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<Answer, Unreachable>> + Send>>;

/// What a collector answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its header fields.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
    /// Its trailer fields.
    pub(crate) trailers: HeaderMap,
}

/// Why there is no answer, in words.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Unreachable {
    pub(crate) why: String,
    /// Whether the connection was lost that the request was sent on: then it may be sent again.
    pub(crate) was_connected: bool,
}

/// Sends batches to one collector.
pub(crate) struct Exporter {
    destination: Destination,
    clock: Clock,
    ask: Ask,
}

/// What a collector did with a batch that it took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Taken {
    /// How many spans it rejected.
    pub(crate) rejected: u64,
    /// Why, or what else it has to say.
    pub(crate) message: Option<String>,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// There is no answer.
    #[error("{0}")]
    Unreachable(#[from] Unreachable),
    /// There is none within the time that there is.
    #[error("no answer within {}", Seconds(*.0))]
    Silent(Duration),
    /// The collector refuses it.
    #[error("it answered {0}")]
    Refused(String),
}

/// A duration as people write it: `5 s`, `0.3 s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis % 1000 {
            0 => write!(f, "{} s", millis / 1000),
            _ => write!(f, "{:.1} s", self.0.as_secs_f64()),
        }
    }
}

/// What is to be done after an answer.
enum Verdict {
    Taken(Taken),
    /// Asking again may help, after this time if the collector says one.
    Again(String, Option<Duration>),
    Refused(String),
}

impl Exporter {
    pub(crate) const fn new(destination: Destination, clock: Clock, ask: Ask) -> Self {
        Self {
            destination,
            clock,
            ask,
        }
    }

    pub(crate) const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Sends a batch, again if the collector asks for that, within `limit` in all.
    pub(crate) async fn send(&self, batch: &Batch, limit: Duration) -> Result<Taken, SendError> {
        let deadline = self.clock.now() + limit;
        let body = self.body(batch);
        let mut pause = BACKOFF;
        for number in 1.. {
            let outcome = tokio::time::timeout_at(
                self.clock.instant(deadline),
                (self.ask)(self.request(body.clone(), deadline)),
            );
            let (error, asked) = match outcome.await {
                Err(_) => return Err(SendError::Silent(limit)),
                Ok(Err(error)) if !error.was_connected => return Err(error.into()),
                Ok(Err(error)) => (SendError::from(error), None),
                Ok(Ok(answer)) => match self.judge(&answer) {
                    Verdict::Taken(taken) => return Ok(taken),
                    Verdict::Refused(why) => return Err(SendError::Refused(why)),
                    Verdict::Again(why, asked) => (SendError::Refused(why), asked),
                },
            };
            // Half of it at random: many jobs may have ended at once.
            let wait = asked.unwrap_or_else(|| {
                let [random] = tls::random::<1>();
                pause / 2 + pause / 2 * u32::from(random) / 256
            });
            if number == TRIES || self.clock.now() + wait >= deadline {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        unreachable!("the tries are counted")
    }

    /// The body of a request, which is the same each time that it is sent.
    fn body(&self, batch: &Batch) -> Bytes {
        let encoded = match self.destination.protocol {
            Protocol::HttpJson => batch.json().into_bytes(),
            Protocol::HttpProtobuf | Protocol::Grpc => batch.request.encode_to_vec(),
        };
        let encoded = match self.destination.gzip {
            true => gzip(&encoded, Compression::default()),
            false => encoded,
        };
        match self.destination.protocol {
            Protocol::Grpc => answer::framed(&encoded, self.destination.gzip),
            Protocol::HttpJson | Protocol::HttpProtobuf => encoded.into(),
        }
    }

    fn request(&self, body: Bytes, deadline: Timestamp) -> Request<Bytes> {
        let mut request = Request::post(self.destination.url.clone())
            .body(body)
            .expect("a URL that was parsed and nothing else");
        let headers = request.headers_mut();
        headers.extend(self.destination.headers.clone());
        let agent = HeaderValue::from_static(concat!("modtape/", env!("CARGO_PKG_VERSION")));
        headers.entry(USER_AGENT).or_insert(agent);
        let gzip = HeaderValue::from_static("gzip");
        let kind = match self.destination.protocol {
            Protocol::HttpProtobuf => "application/x-protobuf",
            Protocol::HttpJson => "application/json",
            Protocol::Grpc => "application/grpc",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        match (self.destination.protocol, self.destination.gzip) {
            (Protocol::Grpc, is_gzip) => {
                headers.insert(TE, HeaderValue::from_static("trailers"));
                if is_gzip {
                    headers.insert("grpc-encoding", gzip);
                }
                let left = grpc_timeout(deadline.since(self.clock.now()));
                if let Ok(left) = HeaderValue::try_from(left) {
                    headers.insert("grpc-timeout", left);
                }
            }
            (Protocol::HttpProtobuf | Protocol::HttpJson, true) => {
                headers.insert(CONTENT_ENCODING, gzip);
            }
            (Protocol::HttpProtobuf | Protocol::HttpJson, false) => {}
        }
        request
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        let verdict = match self.destination.protocol {
            Protocol::Grpc => answer::of_grpc(answer),
            Protocol::HttpJson => answer::of_json(answer),
            Protocol::HttpProtobuf => answer::of_protobuf(answer),
        };
        match verdict {
            Verdict::Taken(taken) => Verdict::Taken(Taken {
                message: taken.message.map(|message| self.shown(&message)),
                ..taken
            }),
            Verdict::Again(why, after) => Verdict::Again(self.shown(&why), after),
            Verdict::Refused(why) => Verdict::Refused(self.shown(&why)),
        }
    }

    /// What a collector says, short and without control characters. It is cut last: half a secret is one too.
    fn shown(&self, said: &str) -> String {
        let said = self.without_secrets(said);
        let said = said.chars().take(LONGEST);
        said.map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// What a collector says, without the header fields that it may repeat.
    fn without_secrets(&self, said: &str) -> String {
        let values = self.destination.headers.values();
        let values = values.filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
        // `Bearer TOKEN` may be repeated without its first word.
        let words = values.flat_map(|value| value.split_whitespace());
        let mut words: Vec<&str> = words.filter(|word| word.len() >= 4).collect();
        // One may begin with another.
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        let mut said = said.to_owned();
        for word in words {
            said = said.replace(word, "…");
        }
        said
    }
}

/// The value of `grpc-timeout`.
fn grpc_timeout(left: Duration) -> String {
    match left.as_millis() {
        millis @ ..=GRPC_MILLIS => format!("{}m", millis.max(1)),
        _ => format!("{}S", left.as_secs()),
    }
}

/// The request of a batch in OTLP's JSON.
fn json(request: &ExportTraceServiceRequest) -> String {
    serde_json::to_string(request).expect("messages are plain data")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// Sends one batch to who answers with these statuses, each with a `Retry-After`; gives what came of it, how
    /// long that took, and how many answers are left.
    async fn sent(answers: &[(u16, &'static str)], limit: Duration) -> (String, Duration, usize) {
        let answers: &'static Mutex<VecDeque<(u16, &'static str)>> =
            Box::leak(Box::new(Mutex::new(answers.iter().copied().collect())));
        let ask: Ask = Box::new(|_| {
            let next = answers.lock().unwrap().pop_front();
            Box::pin(async move {
                let Some((status, after)) = next else {
                    return std::future::pending().await;
                };
                let headers = [("retry-after", after)].into_iter();
                let headers = headers.filter(|(_, after)| !after.is_empty());
                let headers = headers.map(|(name, value)| {
                    (http::HeaderName::from_static(name), value.parse().unwrap())
                });
                Ok(Answer {
                    status: StatusCode::from_u16(status).unwrap(),
                    headers: headers.collect(),
                    body: Bytes::new(),
                    trailers: HeaderMap::new(),
                })
            })
        });
        let destination = Destination::of(&std::collections::BTreeMap::new(), None).unwrap();
        let clock = Clock::start();
        let exporter = Exporter::new(destination, clock, ask);
        let batch = Batch {
            request: ExportTraceServiceRequest::default(),
            spans: 0,
        };
        let outcome = exporter.send(&batch, limit).await;
        let outcome = outcome.map_or_else(|error| error.to_string(), |_| String::from("taken"));
        let took = clock.now().since(Timestamp::default());
        (outcome, took, answers.lock().unwrap().len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_collector_is_asked_again_within_the_time_that_there_is() {
        let limit = Duration::from_secs(10);
        let (outcome, took, left) = sent(&[(503, "3"), (429, "4"), (200, "")], limit).await;
        assert_eq!((&*outcome, took.as_secs(), left), ("taken", 7, 0));
        // It would be too late: so nobody waits.
        let (outcome, took, left) = sent(&[(503, "11"), (200, "")], limit).await;
        assert_eq!(
            (&*outcome, left),
            ("it answered 503 Service Unavailable", 1)
        );
        assert_eq!(took.as_secs(), 0);
        let (outcome, took, _) = sent(&[], limit).await;
        assert_eq!((&*outcome, took.as_secs()), ("no answer within 10 s", 10));
        // Each pause is longer than the one before, and at most so long.
        let (outcome, took, left) = sent(&[(502, ""), (504, ""), (200, "")], limit).await;
        assert_eq!((&*outcome, left), ("taken", 0));
        assert!((1_500..=3_000).contains(&took.as_millis()), "{took:?}");
        let busy = [(503, "0"); 9];
        let (outcome, _, left) = sent(&busy, limit).await;
        assert_eq!(
            (&*outcome, left),
            ("it answered 503 Service Unavailable", 4)
        );
        let (_, _, left) = sent(&[(400, ""), (200, "")], limit).await;
        assert_eq!(left, 1);
    }

    #[test]
    fn a_secret_is_replaced_before_a_message_is_cut() {
        let secret = "s".repeat(400);
        let values = [
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("a=abcd,b={secret}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", String::from("grpc")),
        ];
        let values = values.map(|(name, value)| (name.to_owned(), value));
        let destination = Destination::of(&values.into(), None).unwrap();
        let ask: Ask = Box::new(|_| Box::pin(std::future::pending()));
        let exporter = Exporter::new(destination, Clock::start(), ask);
        let message = format!("who%20has%20{secret}%0a{}", "x".repeat(400));
        let answer = Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            trailers: [("grpc-status", "16"), ("grpc-message", &*message)]
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .into_iter()
                .collect(),
        };
        let Verdict::Refused(why) = exporter.judge(&answer) else {
            panic!("it is refused")
        };
        assert!(why.starts_with("UNAUTHENTICATED: who has … xxx"), "{why}");
        assert_eq!(why.chars().count(), LONGEST);
    }

    #[test]
    fn a_timeout_of_grpc_has_at_most_eight_digits() {
        for (millis, expected) in [
            (0, "1m"),
            (99_999_999, "99999999m"),
            (100_000_000, "100000S"),
            (u32::MAX.into(), "4294967S"),
        ] {
            assert_eq!(grpc_timeout(Duration::from_millis(millis)), expected);
        }
    }
}
