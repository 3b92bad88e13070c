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

    pub(super) fn add_comment(&mut self, comment: &str) {
        if !self.comment.is_empty() {
            self.comment.push('\n');
        }
        self.comment.push_str(comment);
    }
}
