//! Leases: of the replicas that lack an answer one fetches it, and the others wait.
//!
//! A lease ends with its holder's release, or five seconds after the holder has renewed it for the last time. Each who
//! begins to fetch is given a number, larger than all before; an answer is only taken from the one with the last
//! number, so that what a holder writes that was away for long does not replace what came later.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use redis::{Script, ScriptInvocation};

use super::{LARGEST, MINUTE, Redis, key, milliseconds, value};
use crate::clock::Clock;
use crate::exchange::Hex;
use crate::serve::answer::{Answer, FRESH};
use crate::serve::failure::Failure;
use crate::serve::item::Item;
use crate::tls;

/// How long a lease is good for that is not renewed.
const TERM: Duration = Duration::from_secs(5);

/// How often its holder renews it.
const RENEWAL: Duration = Duration::from_millis(1500);

/// How long one waits for the answer of another; then one fetches it oneself.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is waited before one looks again: at first, and at most.
const STEPS: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(200));

/// How long those who have waited hear of a failure: each looks several times a second.
const FAILED: Duration = Duration::from_secs(2);

/// The longest text of a failure that is told, bytes.
const FAILED_BYTES: usize = 4096;

/// How long the number of the last holder is remembered: longer than anybody who fetches is away and comes back.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// Gives a lease and its number; or 0 if another one holds it, -1 if nobody needs it, -2 if nobody is to wait, -3 if the
/// one that was waited for (the last argument is 1) has failed. Then the value of the answer, if it is newer than the
/// first argument, or why it failed. Whoever comes later does not hear of a failure.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local at = redis.call('HGET', KEYS[1], 'at')
        if at and (tonumber(at) or 0) > tonumber(ARGV[1]) then
            return {-1, redis.call('HGET', KEYS[1], 'value')}
        end
        local held = redis.call('GET', KEYS[2])
        if held and string.sub(held, 1, 7) == 'failed ' then
            if ARGV[5] == '1' then
                return {-3, held}
            end
            redis.call('DEL', KEYS[2])
        end
        if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then
            local number = redis.call('INCR', KEYS[4])
            redis.call('SET', KEYS[3], number, 'PX', ARGV[4])
            return {number, false}
        end
        if redis.call('GET', KEYS[2]) == 'each' then
            return {-2, false}
        end
        return {0, false}",
    )
});

/// Gives a number without a lease.
static NUMBER: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local number = redis.call('INCR', KEYS[2])
        redis.call('SET', KEYS[1], number, 'PX', ARGV[1])
        return number",
    )
});

static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then
            return redis.call('PEXPIRE', KEYS[1], ARGV[2])
        end
        return 0",
    )
});

static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then
            return redis.call('DEL', KEYS[1])
        end
        return 0",
    )
});

/// Has everybody fetch for himself.
static EACH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then
            redis.call('SET', KEYS[1], 'each', 'PX', ARGV[2])
            return 1
        end
        return 0",
    )
});

/// Tells those who wait why there is no answer.
static FAIL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then
            redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
            return 1
        end
        return 0",
    )
});

/// Keeps an answer of the one with the last number.
static PUT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local last = redis.call('GET', KEYS[2])
        if last and last ~= ARGV[1] then
            return 0
        end
        redis.call('HSET', KEYS[1], 'at', ARGV[2], 'value', ARGV[3])
        redis.call('PEXPIRE', KEYS[1], ARGV[4])
        return 1",
    )
});

/// What to do for an answer that is not there.
#[derive(Debug)]
pub(in crate::serve) enum Turn {
    /// Another one has it now.
    Answered(Answer),
    /// It was elsewhere.
    Found(Answer),
    /// The one that was waited for has none, for this reason.
    Failed(Failure),
    /// Fetch it: with a number, so that others can have it, or without, if Redis is away.
    Fetch(Option<Lease>),
}

/// The right to fetch for all, or at least to say what came.
#[derive(Debug)]
pub(in crate::serve) struct Lease {
    redis: Arc<Redis>,
    path: String,
    /// Says whose it is; `None` if it has only a number.
    token: Option<String>,
    number: u64,
}

/// What came of trying to take a lease.
enum Taken {
    Lease(Lease),
    /// One that is fresh; `None` if it is garbage.
    Answer(Option<Answer>),
    /// Another one holds it.
    Held,
    /// Another one held it, and has no answer.
    Failed(Failure),
    /// Everybody fetches for himself.
    Each,
}

impl Redis {
    /// Waits until it is one's turn to fetch, or another one has fetched what one `accepts`. `elsewhere` has the
    /// answer from where else others may have put it.
    pub(in crate::serve) async fn turn<F: Future<Output = Option<Answer>>>(
        self: &Arc<Self>,
        clock: Clock,
        item: &Item,
        accepts: impl Fn(&Answer) -> bool,
        elsewhere: impl Fn() -> F,
    ) -> Turn {
        let end = clock.now() + PATIENCE;
        let mut step = STEPS.0;
        let mut has_waited = false;
        while clock.now() < end {
            match self.take(item, has_waited).await {
                None => return Turn::Fetch(None),
                Some(Taken::Each) => {
                    return match elsewhere().await {
                        Some(answer) => Turn::Found(answer),
                        None => Turn::Fetch(None),
                    };
                }
                Some(Taken::Answer(Some(answer))) if accepts(&answer) => {
                    return Turn::Answered(answer);
                }
                // What one gets oneself replaces it.
                Some(Taken::Answer(_)) => return Turn::Fetch(self.number(item).await),
                Some(Taken::Lease(lease)) => {
                    if has_waited && let Some(answer) = elsewhere().await {
                        lease.release().await;
                        return Turn::Found(answer);
                    }
                    return Turn::Fetch(Some(lease));
                }
                Some(Taken::Failed(failure)) => return Turn::Failed(failure),
                Some(Taken::Held) => {}
            }
            if !std::mem::replace(&mut has_waited, true) {
                self.lock_waits.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(step).await;
            step = (step * 2).min(STEPS.1);
        }
        Turn::Fetch(self.number(item).await)
    }

    /// Takes the lease of an item; `None` if Redis is away.
    async fn take(self: &Arc<Self>, item: &Item, has_waited: bool) -> Option<Taken> {
        let path = item.path();
        let now = Clock::wall_now().duration_since(std::time::UNIX_EPOCH);
        let since = milliseconds(now.unwrap_or_default().saturating_sub(FRESH));
        let token = Hex(tls::random::<16>()).to_string();
        let mut take = TAKE.key(key("answer", path));
        take.key(key("lease", path))
            .key(key("fence", path))
            .key("modtape:1:fences");
        take.arg(since)
            .arg(&token)
            .arg(milliseconds(TERM))
            .arg(milliseconds(REMEMBERED))
            .arg(u8::from(has_waited));
        let (number, value): (i64, Option<Vec<u8>>) = self.call(&take).await?;
        if number == -3 {
            // Whatever else stands there is no reason to wait.
            let failure = value.as_deref().and_then(failure_of);
            return Some(failure.map_or(Taken::Each, Taken::Failed));
        }
        if let Some(value) = value {
            return Some(Taken::Answer(self.read(path, value)));
        }
        Some(match number {
            0 => Taken::Held,
            number => match u64::try_from(number) {
                Err(_) => Taken::Each,
                Ok(number) => Taken::Lease(Lease {
                    redis: Arc::clone(self),
                    path: path.to_owned(),
                    token: Some(token),
                    number,
                }),
            },
        })
    }

    /// A number without a lease: whoever fetches then makes those who hold it the last but one.
    async fn number(self: &Arc<Self>, item: &Item) -> Option<Lease> {
        let mut number = NUMBER.key(key("fence", item.path()));
        number.key("modtape:1:fences").arg(milliseconds(REMEMBERED));
        Some(Lease {
            redis: Arc::clone(self),
            path: item.path().to_owned(),
            token: None,
            number: self.call(&number).await?,
        })
    }
}

impl Lease {
    /// Renews it until this is dropped.
    pub(in crate::serve) async fn renew(&self) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            if let Some(mut renew) = self.with_token(&RENEW) {
                renew.arg(milliseconds(TERM));
                let _: Option<u64> = self.redis.call(&renew).await;
            }
        }
    }

    /// Has others get the answer; says whether it was taken.
    pub(in crate::serve) async fn put(&self, item: &Item, answer: &Answer) -> bool {
        if answer.bytes() > LARGEST {
            return false;
        }
        let Some((value, life)) = Self::value(item, answer) else {
            return false;
        };
        let mut put = PUT.key(key("answer", &self.path));
        put.key(key("fence", &self.path));
        put.arg(self.number)
            .arg(value::milliseconds(answer))
            .arg(value)
            .arg(milliseconds(life));
        let taken: Option<u64> = self.redis.call(&put).await;
        if taken == Some(0) {
            let path = &self.path;
            tracing::info!(target: "modtape::serve", "{path} is not shared: another one began to fetch it later");
        }
        taken == Some(1)
    }

    fn value(item: &Item, answer: &Answer) -> Option<(Vec<u8>, Duration)> {
        let body: Bytes = answer.text().ok()?;
        let value = value::encode(item.path(), answer, &body)?;
        Some((value, Redis::life(item, answer)))
    }

    /// Nobody waits any longer: what comes cannot be shared here. It is elsewhere, or each fetches it himself.
    pub(in crate::serve) async fn give_up(&self) {
        if let Some(mut each) = self.with_token(&EACH) {
            each.arg(milliseconds(MINUTE));
            let _: Option<u64> = self.redis.call(&each).await;
        }
    }

    /// Those who wait hear why there is no answer, and do not ask upstream one after the other.
    pub(in crate::serve) async fn fail(&self, failure: &Failure) {
        if let Some(mut fail) = self.with_token(&FAIL) {
            fail.arg(text_of(failure)).arg(milliseconds(FAILED));
            let _: Option<u64> = self.redis.call(&fail).await;
        }
    }

    /// Lets the next one have it.
    pub(in crate::serve) async fn release(&self) {
        if let Some(release) = self.with_token(&RELEASE) {
            let _: Option<u64> = self.redis.call(&release).await;
        }
    }

    fn with_token<'a>(&self, script: &'a Script) -> Option<ScriptInvocation<'a>> {
        let token = self.token.as_deref()?;
        let mut call = script.key(key("lease", &self.path));
        call.arg(token);
        Some(call)
    }
}

/// `failed STATUS`, then its lines.
fn text_of(failure: &Failure) -> String {
    let mut text = format!("failed {}", failure.status.as_u16());
    for line in failure.lines.iter() {
        if text.len() + line.len() > FAILED_BYTES {
            break;
        }
        text.push('\n');
        text.push_str(line);
    }
    text
}

/// The same read; `None` if it is something else.
fn failure_of(text: &[u8]) -> Option<Failure> {
    let text = std::str::from_utf8(text).ok()?;
    let (status, lines) = text.strip_prefix("failed ")?.split_once('\n')?;
    let status = match status {
        "502" => StatusCode::BAD_GATEWAY,
        "504" => StatusCode::GATEWAY_TIMEOUT,
        _ => return None,
    };
    let is_plain = lines.chars().all(|c| c == '\n' || !c.is_control());
    (is_plain && lines.len() <= FAILED_BYTES).then(|| Failure {
        status,
        lines: lines.lines().map(str::to_owned).collect(),
        challenges: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_as_it_was() {
        let both = [
            Failure::timeout("a is slow"),
            Failure::bad_gateway("b: 500"),
        ];
        let failure = Failure::of_all(&both);
        let told = failure_of(text_of(&failure).as_bytes()).expect("it is one");
        assert_eq!((told.status, &told.lines), (failure.status, &failure.lines));
        let long = Failure::bad_gateway("x".repeat(2 * FAILED_BYTES));
        for text in [
            "",
            "failed ",
            "failed 200\nx",
            "failed 502",
            "failed 502\n\x1b[2J",
            &text_of(&long),
        ] {
            assert!(failure_of(text.as_bytes()).is_none(), "{text}");
        }
    }
}
