//! What there is to tell of what passes.

use std::net::IpAddr;

use bytes::Bytes;

use super::frame::Ends;
use crate::clock::Timestamp;

/// What an item costs beside its octets, about.
pub(super) const ITEM: u64 = 128;

/// Something that passed, or is to be told.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) at: Timestamp,
    pub(super) stream: u32,
    /// Whether it comes from the connection's client.
    pub(super) is_clients: bool,
    pub(super) what: What,
    /// What exchanges say of it.
    pub(super) comment: String,
    /// Request heads that it is known to hold, and that said nothing yet.
    pub(super) heads: u32,
}

/// What it is.
#[derive(Debug)]
pub(super) enum What {
    /// A connection is asked for.
    Dialled(Ends),
    /// It is there.
    Connected,
    /// Octets, of which some or none may be shown; at most [`SEGMENT`] of them.
    Data { shown: Bytes, bytes: u64 },
    /// This side sends no more.
    End,
    /// This side broke off.
    Reset,
    /// The connection is gone, whoever has not said so.
    Gone,
    /// The comment belongs to the next octets of this side.
    Remark,
    /// A line of the key log.
    Secret(String),
    /// A name of an address.
    Name(IpAddr, String),
}

impl Item {
    pub(super) const fn new(at: Timestamp, stream: u32, is_clients: bool, what: What) -> Self {
        Self {
            at,
            stream,
            is_clients,
            what,
            comment: String::new(),
            heads: 0,
        }
    }

    pub(super) fn is_data_of(&self, stream: u32, is_clients: bool) -> bool {
        let is_data = matches!(self.what, What::Data { .. });
        self.stream == stream && self.is_clients == is_clients && is_data
    }

    /// Octets that it takes in the queue.
    pub(super) fn cost(&self) -> u64 {
        match &self.what {
            What::Data { shown, .. } => ITEM + shown.len() as u64,
            _ => ITEM,
        }
    }

    /// Takes its last `rest` octets off, for an item of their own; `cut`, shown by number alone.
    pub(super) fn part(&mut self, rest: usize, cut: bool) -> Option<Self> {
        let What::Data { shown, bytes } = &mut self.what else {
            return None;
        };
        let head = shown.len().checked_sub(rest)?;
        let mut apart = shown.split_off(head);
        *bytes = shown.len() as u64;
        let bytes = apart.len() as u64;
        if cut {
            apart.clear();
        }
        let what = What::Data {
            shown: apart,
            bytes,
        };
        Some(Self::new(self.at, self.stream, self.is_clients, what))
    }

    /// Leaves only the length of what is shown, and returns how much that was.
    pub(super) fn cut(&mut self) -> u64 {
        match &mut self.what {
            What::Data { shown, .. } => std::mem::take(shown).len() as u64,
            _ => 0,
        }
    }

    /// Counts the octets of `next` with its own, if both are of one side and shown by number alone.
    pub(super) fn takes(&mut self, next: &Self) -> bool {
        let is_same = self.stream == next.stream && self.is_clients == next.is_clients;
        match (&mut self.what, &next.what) {
            (What::Data { shown, bytes }, What::Data { bytes: more, .. })
                if is_same && shown.is_empty() =>
            {
                *bytes += more;
                true
            }
            _ => false,
        }
    }

    pub(super) fn add_comment(&mut self, comment: &str) {
        add_line(&mut self.comment, comment);
    }
}

/// Adds a line to a text that may be empty.
pub(super) fn add_line(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(line);
}
