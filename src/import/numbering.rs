//! What the entries of one HAR share: the clock that their stamps count from, ids and connections.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use time::OffsetDateTime;

use crate::clock::Timestamp;
use crate::exchange::{ConnectionId, ExchangeId, Target};

/// Times and numbers that entries have in common.
pub(super) struct Numbering {
    wall: OffsetDateTime,
    has_ids: bool,
    pub(super) is_ours: bool,
    last: Timestamp,
    next: ConnectionId,
    /// By name, target and address; without an address, the last one.
    connections: HashMap<(String, Way), ConnectionId>,
    dialled: HashSet<(ConnectionId, Option<Way>)>,
}

/// Where a connection leads: a target, and the address that it was reached at.
type Way = (String, Option<SocketAddr>);

impl Numbering {
    pub(super) fn new(wall: OffsetDateTime, has_ids: bool, is_ours: bool) -> Self {
        Self {
            wall,
            has_ids,
            is_ours,
            last: Timestamp::default(),
            next: 1,
            connections: HashMap::new(),
            dialled: HashSet::new(),
        }
    }

    /// The id of an exchange: the one that it had, where all have one.
    pub(super) fn id(&self, number: u64, own: Option<ExchangeId>) -> ExchangeId {
        own.filter(|_| self.has_ids).unwrap_or(number)
    }

    /// The stamp of a time; of none, that of the exchange before.
    pub(super) fn stamp(&mut self, time: Option<OffsetDateTime>) -> Timestamp {
        let since = time.map(|time| (time - self.wall).whole_microseconds());
        let stamp = since.and_then(|since| u64::try_from(since).ok());
        self.last = stamp.map_or(self.last, Timestamp::from_micros);
        self.last
    }

    /// The connection of that name to that target. Of those without a name, all that lead to one
    /// address are one.
    pub(super) fn connection(
        &mut self,
        name: Option<String>,
        target: &Target,
        address: Option<SocketAddr>,
    ) -> Link {
        let name = name.filter(|name| !name.is_empty() && name.len() <= NAME_LIMIT);
        if name.is_none() && address.is_none() {
            return Link::default();
        }
        let name = name.unwrap_or_default();
        let own = name.parse().ok();
        let own = own.filter(|id| self.is_ours && (1..=ID_LIMIT).contains(id));
        let target = target.to_string();
        let way = (target.clone(), address);
        let id = own.unwrap_or_else(|| {
            let next = self.next;
            let known = self.connections.entry((name.clone(), way.clone()));
            let id = *known.or_insert(next);
            self.next += u64::from(id == next);
            self.connections.insert((name, (target.clone(), None)), id);
            id
        });
        let again = !self.dialled.insert((id, None));
        let is_new = self.dialled.insert((id, Some(way)));
        // A later entry without an address is on the connection that is known by now.
        self.dialled.insert((id, Some((target, None))));
        Link { id, is_new, again }
    }
}

/// A connection as an entry names it.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// 0 where no connection is named, and no address.
    pub(super) id: ConnectionId,
    /// Is this the first that is heard of it, or of this way of it?
    pub(super) is_new: bool,
    /// Was it met before, with another way?
    pub(super) again: bool,
}

/// Bytes of a connection's or a recording's name.
pub(super) const NAME_LIMIT: usize = 100;

/// What every reader of JSON takes for itself (RFC 8259 section 6).
const ID_LIMIT: u64 = 1 << 53;
