//! Which users the upstream of private modules took, and when: only what it says itself lets somebody have an answer.

use std::time::Duration;

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue, header};
use moka::sync::Cache;

use super::Asker;
use crate::clock::{Clock, Timestamp};
use crate::gomod::Kind;
use crate::serve::item::Item;

/// How long a user may have an item again without upstream being asked.
const AGAIN: Duration = Duration::from_secs(60);

/// How long after upstream took a user it may be away: what is kept of that module is served to them meanwhile.
const AWAY: Duration = Duration::from_secs(3600);

/// Users and items, and users and modules, that are remembered: 48 bytes each.
const REMEMBERED: u64 = 200_000;

/// What upstream has said of users.
pub(crate) struct Users {
    clock: Clock,
    /// Keeps credentials out of what is remembered.
    key: hmac::Key,
    items: Cache<[u8; 32], Timestamp>,
    modules: Cache<[u8; 32], Timestamp>,
}

impl Users {
    /// Users of whom nothing is known yet.
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            key: hmac::Key::new(hmac::HMAC_SHA256, &crate::tls::random::<32>()),
            items: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(AGAIN)
                .build(),
            modules: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(AWAY)
                .build(),
        }
    }

    /// Who sends these header fields. Two credentials at once are none.
    pub(in crate::serve) fn asker(&self, fields: &HeaderMap) -> Asker {
        let mut values = fields.get_all(header::AUTHORIZATION).iter();
        let authorization = match (values.next(), values.next()) {
            (Some(value), None) => Some(value.clone()),
            _ => None,
        };
        self.asker_with(authorization)
    }

    /// The client that has sent this, or nothing.
    pub(in crate::serve) fn asker_with(&self, mut authorization: Option<HeaderValue>) -> Asker {
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        let shown = authorization.as_ref().map(HeaderValue::as_bytes);
        // No credentials, and empty ones, are two things.
        let text = shown.map_or_else(|| b"-".to_vec(), |shown| [b"+", shown].concat());
        let mark = self.digest(&text);
        Asker {
            authorization,
            mark,
        }
    }

    /// Upstream has answered this item to that user.
    pub(in crate::serve) fn took(&self, asker: &Asker, item: &Item) {
        let now = self.clock.now();
        self.items.insert(self.of_item(asker, item), now);
        self.modules.insert(self.of_module(asker, item), now);
    }

    /// Upstream has refused it, or denies that there is such a thing, as some do where a user may not know of it.
    pub(in crate::serve) fn refused(&self, asker: &Asker, item: &Item) {
        self.items.invalidate(&self.of_item(asker, item));
        self.modules.invalidate(&self.of_module(asker, item));
    }

    /// Whether this user may have an item without upstream being asked.
    pub(in crate::serve) fn may_have(&self, asker: &Asker, item: &Item) -> bool {
        // With a list, a refusal of the module counts at once.
        let is_known = self.is_within(&self.items, &self.of_item(asker, item), AGAIN);
        is_known && self.may_have_old(asker, item)
    }

    /// Whether this user may have what is kept of a module while upstream is away.
    pub(in crate::serve) fn may_have_old(&self, asker: &Asker, item: &Item) -> bool {
        self.is_within(&self.modules, &self.of_module(asker, item), AWAY)
    }

    fn is_within(
        &self,
        taken: &Cache<[u8; 32], Timestamp>,
        name: &[u8; 32],
        time: Duration,
    ) -> bool {
        let at = taken.get(name);
        at.is_some_and(|at| self.clock.now().since(at) <= time)
    }

    fn of_item(&self, asker: &Asker, item: &Item) -> [u8; 32] {
        self.digest(&[&asker.mark, item.path().as_bytes()].concat())
    }

    fn of_module(&self, asker: &Asker, item: &Item) -> [u8; 32] {
        let module = match item.kind() {
            Kind::Toolchain => item.path(),
            _ => item.module(),
        };
        self.digest(&[&asker.mark, module.as_bytes()].concat())
    }

    fn digest(&self, text: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.key, text);
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        digest
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Users(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(path: &str) -> Item {
        Item::of_path(path).expect("an item")
    }

    fn with(value: &'static str) -> Option<HeaderValue> {
        Some(HeaderValue::from_static(value))
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_for_an_item_and_an_hour_for_its_module() {
        let users = Users::new(Clock::start());
        let ada = users.asker_with(with("Basic ada"));
        let bob = users.asker_with(with("Basic bob"));
        let nobody = users.asker_with(None);
        let zip = item("/git.corp.example/x/@v/v1.0.0.zip");
        let list = item("/git.corp.example/x/@v/list");
        let other = item("/git.corp.example/y/@v/list");
        users.took(&ada, &zip);
        assert!(users.may_have(&ada, &zip));
        assert!(!users.may_have(&ada, &list) && users.may_have_old(&ada, &list));
        assert!(!users.may_have_old(&ada, &other));
        for stranger in [&bob, &nobody] {
            assert!(!users.may_have(stranger, &zip) && !users.may_have_old(stranger, &zip));
        }
        tokio::time::advance(AGAIN + Duration::from_millis(1)).await;
        assert!(!users.may_have(&ada, &zip) && users.may_have_old(&ada, &zip));
        tokio::time::advance(AWAY - AGAIN).await;
        assert!(!users.may_have_old(&ada, &zip));
        // What upstream says last counts.
        users.took(&ada, &zip);
        users.refused(&ada, &list);
        assert!(!users.may_have(&ada, &zip) && !users.may_have_old(&ada, &zip));
    }

    #[test]
    fn credentials_are_shown_nowhere() {
        let users = Users::new(Clock::start());
        let ada = users.asker_with(with("Basic c2VjcmV0"));
        assert!(!format!("{ada:?} {users:?}").contains("c2VjcmV0"));
        assert_ne!(ada.mark, users.asker_with(None).mark);
        assert_ne!(
            ada.mark,
            Users::new(Clock::start())
                .asker_with(with("Basic c2VjcmV0"))
                .mark
        );
        let mut twice = HeaderMap::new();
        for value in ["Basic a", "Basic b"] {
            twice.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        assert_eq!(users.asker(&twice).authorization, None);
    }
}
