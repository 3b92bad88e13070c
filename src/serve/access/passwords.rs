//! Passwords of an htpasswd file.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use moka::sync::Cache;
use tokio::sync::Semaphore;

use crate::clock::{Clock, Timestamp};
use crate::files::read_small;
use crate::proxy::Credentials;

/// The largest file that is read, bytes: some ten thousand users.
const FILE_LIMIT: u64 = 1 << 20;

/// How often the file is looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

/// The costs that are taken: bcrypt has none below 4, and one of 16 takes some seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// Passwords that are verified at once, each of which takes a core.
const AT_ONCE: usize = 2;

/// How long a client waits until its password is verified.
const PATIENCE: Duration = Duration::from_secs(10);

/// Right passwords that are remembered, by digest.
const REMEMBERED: u64 = 10_000;

/// The users of an htpasswd file, and whose passwords were right.
pub(crate) struct Passwords {
    clock: Clock,
    path: PathBuf,
    // A std Mutex: held for a few assignments, never across an await.
    file: Mutex<Known>,
    /// Digests of what was right, under a key that nobody else has: bcrypt is slow on purpose.
    right: Cache<[u8; 32], ()>,
    key: hmac::Key,
    places: Arc<Semaphore>,
}

/// More passwords than can be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// The file as it was read.
struct Known {
    users: Arc<Users>,
    stamp: Option<Stamp>,
    looked_at: Timestamp,
}

/// What the file says.
struct Users {
    /// How often the file was read before: what was right by an older one says nothing.
    reading: u64,
    hashes: HashMap<String, String>,
}

/// What tells that a file is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Passwords {
    /// Reads the file at `path`; an error names the line that is wrong.
    pub(crate) fn open(path: &Path, clock: Clock) -> Result<Self, String> {
        // Before it is read: what changes meanwhile is seen with the next look.
        let stamp = Stamp::of(path);
        let hashes = read(path)?;
        Ok(Self {
            clock,
            path: path.to_owned(),
            file: Mutex::new(Known {
                users: Arc::new(Users { reading: 0, hashes }),
                stamp,
                looked_at: clock.now(),
            }),
            right: Cache::new(REMEMBERED),
            key: hmac::Key::new(hmac::HMAC_SHA256, &crate::tls::random::<32>()),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// The user whose password this is; `None` if it is wrong.
    pub(super) async fn user(&self, shown: &Credentials) -> Result<Option<String>, Busy> {
        let user = shown.user.clone().map(String::from_utf8);
        let Some(Ok(user)) = user else {
            return Ok(None);
        };
        let users = self.users().await;
        let digest = self.digest(&users, &user, &shown.secret);
        if self.right.contains_key(&digest) {
            return Ok(Some(user));
        }
        let hash = users.hashes.get(&user).cloned();
        let is_known = hash.is_some();
        // As long for one who is not in the file, so that the time tells nobody who is.
        let Some(hash) = hash.or_else(|| users.hashes.values().next().cloned()) else {
            return Ok(None);
        };
        let place = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout(PATIENCE, place).await;
        let Ok(Ok(place)) = place else {
            return Err(Busy);
        };
        let secret = shown.secret.clone();
        let verified = tokio::task::spawn_blocking(move || {
            let verified = bcrypt::verify(secret, &hash);
            // A client that leaves does not end the work.
            drop(place);
            verified
        });
        if !matches!(verified.await, Ok(Ok(true))) || !is_known {
            return Ok(None);
        }
        self.right.insert(digest, ());
        Ok(Some(user))
    }

    /// What stands for a user and a password that were right.
    fn digest(&self, users: &Users, user: &str, secret: &[u8]) -> [u8; 32] {
        let mut text = users.reading.to_be_bytes().to_vec();
        // No user name has a colon (RFC 7617 section 2).
        for part in [user.as_bytes(), b":", secret] {
            text.extend_from_slice(part);
        }
        let tag = hmac::sign(&self.key, &text);
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        digest
    }

    /// The users as the file has them now. A file that became invalid changes nothing.
    async fn users(&self) -> Arc<Users> {
        let now = self.clock.now();
        let (users, stamp) = {
            let mut known = self.known();
            let is_due = now.since(known.looked_at) >= LOOK;
            if !is_due {
                return Arc::clone(&known.users);
            }
            // Others take what is known meanwhile.
            known.looked_at = now;
            (Arc::clone(&known.users), known.stamp)
        };
        let path = self.path.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let found = Stamp::of(&path);
            (found, (found != stamp).then(|| read(&path)))
        });
        let Ok((found, Some(read))) = looked.await else {
            return users;
        };
        let mut known = self.known();
        known.stamp = found;
        match read {
            Ok(hashes) => {
                let reading = known.users.reading + 1;
                known.users = Arc::new(Users { reading, hashes });
            }
            Err(why) => {
                tracing::warn!(target: "modtape::serve", "{why}; the users stay as they were");
            }
        }
        Arc::clone(&known.users)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Passwords").field(&self.path).finish()
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    }
}

fn read(path: &Path) -> Result<HashMap<String, String>, String> {
    let shown = path.display();
    let text = read_small(path, FILE_LIMIT).map_err(|error| format!("{shown}: {error}"))?;
    let text = String::from_utf8(text).map_err(|_| format!("{shown}: it is not UTF-8"))?;
    parse(&text).map_err(|(line, why)| format!("{shown}:{line}: {why}"))
}

/// The hash of each user; an error has the number of the line, without what stands there.
fn parse(text: &str) -> Result<HashMap<String, String>, (usize, String)> {
    let mut hashes = HashMap::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |why: &str| Err((number, why.to_owned()));
        let Some((user, hash)) = line.split_once(':') else {
            return wrong("a line is USER:HASH");
        };
        if user.is_empty() {
            return wrong("the user has no name");
        }
        if !is_bcrypt(hash) {
            return wrong(
                "the hash is not one of bcrypt ($2y$) with a cost of 4 to 16: `htpasswd -B` makes one",
            );
        }
        if hashes.insert(user.to_owned(), hash.to_owned()).is_some() {
            return wrong("this user has a line already");
        }
    }
    if hashes.is_empty() {
        return Err((1, "there is no user in it".into()));
    }
    Ok(hashes)
}

/// `$2y$`, two digits of cost, `$`, and 53 characters of salt and hash.
fn is_bcrypt(hash: &str) -> bool {
    let Some((cost, rest)) = hash
        .strip_prefix("$2y$")
        .and_then(|rest| rest.split_once('$'))
    else {
        return false;
    };
    let is_cost = cost.len() == 2 && cost.parse().is_ok_and(|cost| COSTS.contains(&cost));
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'/');
    is_cost && rest.len() == 53 && rest.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(user: &str, password: &str) -> Credentials {
        Credentials {
            user: Some(user.into()),
            secret: password.into(),
        }
    }

    fn line(user: &str, password: &str) -> String {
        let hash = bcrypt::hash_with_result(password, 4).expect("it can be hashed");
        let hash = hash.format_for_version(bcrypt::Version::TwoY);
        format!("{user}:{hash}\n")
    }

    #[test]
    fn a_line_that_is_none_is_an_error_with_its_number() {
        let ada = line("ada", "one");
        let ada = ada.trim();
        assert!(parse(&format!("# people\n\n{ada}\n")).is_ok());
        for (text, number) in [
            ("", 1),
            ("# nobody\n", 1),
            ("ada\n", 1),
            ("# x\n:$2y$04$\n", 2),
            ("ada:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=\n", 1),
            ("ada:$apr1$x$y\n", 1),
            (&*ada.replace("$2y$", "$2x$"), 1),
            (&*ada.replace("$04$", "$31$"), 1),
            (&*format!("{ada}x"), 1),
            (&*format!("{ada}\n{ada}\n"), 2),
        ] {
            let (at, why) = parse(text).expect_err(text);
            assert_eq!(at, number, "{text}: {why}");
            assert!(!why.contains("$04"), "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_right_password_opens_and_a_changed_file_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("users");
        let both = line("ada", "one") + &line("bob", "two");
        std::fs::write(&path, both).expect("our own folder");
        let passwords = Passwords::open(&path, Clock::start()).expect("it is valid");
        for _ in 0..2 {
            let user = passwords.user(&shown("ada", "one")).await;
            assert_eq!(user, Ok(Some("ada".into())));
        }
        for (user, password) in [("ada", "two"), ("bob", "one"), ("eve", "one"), ("ada", "")] {
            let user = passwords.user(&shown(user, password)).await;
            assert_eq!(user, Ok(None));
        }
        // Ada has left, and what is remembered of her counts no more.
        std::fs::write(&path, line("bob", "two")).expect("our own folder");
        tokio::time::advance(LOOK).await;
        assert_eq!(passwords.user(&shown("ada", "one")).await, Ok(None));
        assert!(matches!(
            passwords.user(&shown("bob", "two")).await,
            Ok(Some(_))
        ));
        // What is no such file changes nothing.
        std::fs::write(&path, "bob:plain\n").expect("our own folder");
        tokio::time::advance(LOOK).await;
        assert!(matches!(
            passwords.user(&shown("bob", "two")).await,
            Ok(Some(_))
        ));
        assert!(!format!("{passwords:?}").contains("$2y$"));
    }
}
