//! What passed, in order, on its way to the thread that writes the capture. The bytes that wait are
//! bounded.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::frame::{Ends, SEGMENT};
use crate::clock::{Clock, Timestamp};

/// Bytes that may wait to be written.
const LIMIT: u64 = 8 << 20;

/// From so many bytes on they are written sooner.
const PRESSING: u64 = 1 << 20;

/// And from so many on, at once.
const HALF: u64 = LIMIT / 2;

/// How long a packet waits where nothing presses, so that an exchange can say that it is its
/// request's; and what a kill loses at most.
const RIPE: Duration = Duration::from_millis(50);

/// The same where it does.
const PRESSED: Duration = Duration::from_millis(2);

/// How far back a request's packet is looked for, packets.
const LOOK_BACK: usize = 4096;

/// Bytes are kept in pieces of this size: a client that is slow to take its own holds one.
const CHUNK: usize = 64 * 1024;

/// Below this, a chunk's rest is not worth a read.
const WORTHWHILE: usize = 8 * 1024;

/// For what belongs to no stream.
pub(super) const NO_STREAM: u32 = 0;

/// What an item costs beside its bytes, about.
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

/// What an [`Item`] is.
#[derive(Debug)]
pub(super) enum What {
    /// A connection is asked for.
    Dialled(Ends),
    /// It is there.
    Connected,
    /// Bytes, of which some or none may be shown; at most [`SEGMENT`] of them.
    Data { shown: Bytes, bytes: u64 },
    /// This side sends no more.
    End,
    /// This side broke off.
    Reset,
    /// The connection is gone, whether or not both sides ended it.
    Gone,
    /// The comment belongs to the next bytes of this side.
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

    /// Bytes that it takes in the queue.
    pub(super) fn cost(&self) -> u64 {
        match &self.what {
            What::Data { shown, .. } => ITEM + shown.len() as u64,
            _ => ITEM,
        }
    }

    /// Takes its last `rest` bytes off, for an item of their own; `cut`, shown by number alone.
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

/// The queue itself.
pub(super) struct Queue {
    clock: Clock,
    state: Mutex<State>,
    work: Condvar,
    /// Memory for what comes next; empty between uses.
    chunk: Mutex<BytesMut>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// Read in a handshake, by streams whose keys may not be logged yet.
    held: Vec<Item>,
    /// Bytes queued or being written.
    bytes: u64,
    waiting: Vec<Waker>,
    streams: u32,
    /// The writer has nothing to do.
    is_asleep: bool,
    is_over: bool,
    /// Nothing is written any more.
    is_broken: bool,
}

impl State {
    /// How many limits the bytes that wait have passed.
    const fn pressure(&self) -> u8 {
        match self.bytes {
            ..PRESSING => 0,
            PRESSING..HALF => 1,
            HALF.. => 2,
        }
    }

    /// How long a packet waits.
    const fn ripe(&self) -> Duration {
        match self.pressure() {
            _ if self.is_over => Duration::ZERO,
            0 => RIPE,
            1 => PRESSED,
            _ => Duration::ZERO,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is counted and queued is valid after any panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            work: Condvar::new(),
            chunk: Mutex::default(),
        }
    }

    /// A number for a new stream.
    pub(super) fn number(&self) -> u32 {
        let mut state = lock(&self.state);
        state.streams = state.streams.wrapping_add(1).max(NO_STREAM + 1);
        state.streams
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes what happens now.
    pub(super) fn push(&self, stream: u32, is_clients: bool, what: What) {
        self.push_at(self.now(), stream, is_clients, what);
    }

    /// Takes what happened at `at`.
    pub(super) fn push_at(&self, at: Timestamp, stream: u32, is_clients: bool, what: What) {
        let item = Item::new(at, stream, is_clients, what);
        self.add(&mut lock(&self.state), item);
    }

    /// Holds what was read in a handshake until [`commit`](Self::commit).
    pub(super) fn hold(&self, stream: u32, is_clients: bool, what: What) {
        let item = Item::new(self.now(), stream, is_clients, what);
        lock(&self.state).held.push(item);
    }

    /// Takes what `stream` holds.
    pub(super) fn commit(&self, stream: u32) {
        let state = &mut lock(&self.state);
        while let Some(at) = state.held.iter().position(|item| item.stream == stream) {
            let item = state.held.remove(at);
            self.add(state, item);
        }
    }

    fn add(&self, state: &mut State, item: Item) {
        if state.is_broken {
            return;
        }
        let before = state.pressure();
        state.bytes += item.cost();
        state.items.push_back(item);
        if state.pressure() != before || state.is_asleep {
            state.is_asleep = false;
            self.work.notify_one();
        }
    }

    /// Notes that the bytes that `stream` read last hold so many request heads.
    pub(super) fn note_heads(&self, stream: u32, is_clients: bool, heads: u32) {
        let state = &mut lock(&self.state);
        let mut recent = state.items.iter_mut().rev().take(LOOK_BACK);
        if let Some(item) = recent.find(|item| item.is_data_of(stream, is_clients)) {
            item.heads += heads;
        }
    }

    /// Adds `comment` to the first bytes that `stream` read and that hold a request head of which
    /// nothing was said, else to those that it read last, else to those that come next.
    pub(super) fn remark(&self, stream: u32, is_clients: bool, comment: String) {
        let state = &mut lock(&self.state);
        let recent = state.items.iter_mut().rev().take(LOOK_BACK);
        let mut read = recent.filter(|item| item.is_data_of(stream, is_clients));
        let last = read.next();
        let first = read.filter(|item| item.heads > 0).last();
        let found = first.or(last);
        match found {
            Some(item) => {
                item.heads = item.heads.saturating_sub(1);
                item.add_comment(&comment);
            }
            None => {
                let mut item = Item::new(self.now(), stream, is_clients, What::Remark);
                item.comment = comment;
                self.add(state, item);
            }
        }
    }

    /// Adds `comment` to the bytes that `stream` sends next.
    pub(super) fn announce(&self, stream: u32, is_clients: bool, comment: String) {
        let mut item = Item::new(self.now(), stream, is_clients, What::Remark);
        item.comment = comment;
        self.add(&mut lock(&self.state), item);
    }

    /// Ready as long as there is room: where the disk is slower than the network, the traffic waits.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let state = &mut lock(&self.state);
        if state.bytes < LIMIT || state.is_broken {
            return Poll::Ready(());
        }
        let mut waiting = state.waiting.iter();
        if !waiting.any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Lets `read` fill memory, and returns what it read. It may read up to a packet's worth.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&mut BytesMut, usize) -> Poll<T>,
    ) -> (Poll<T>, Bytes) {
        let chunk = &mut *lock(&self.chunk);
        if chunk.capacity() < WORTHWHILE {
            *chunk = BytesMut::with_capacity(CHUNK);
        }
        let outcome = read(chunk, chunk.capacity().min(segment()));
        (outcome, chunk.split().freeze())
    }

    /// Copies the first `written` bytes of `bufs`, and gives them on in packets.
    pub(super) fn copy(
        &self,
        bufs: &[IoSlice<'_>],
        mut written: usize,
        mut give: impl FnMut(Bytes),
    ) {
        let chunk = &mut *lock(&self.chunk);
        for buf in bufs {
            let mut part = &buf[..written.min(buf.len())];
            written -= part.len();
            while !part.is_empty() {
                if chunk.is_empty() && chunk.capacity() < segment().min(part.len() + written) {
                    *chunk = BytesMut::with_capacity(CHUNK);
                }
                let room = segment() - chunk.len();
                let (now, later) = part.split_at(room.min(part.len()));
                chunk.extend_from_slice(now);
                part = later;
                if chunk.len() == segment() {
                    give(chunk.split().freeze());
                }
            }
        }
        if !chunk.is_empty() {
            give(chunk.split().freeze());
        }
    }

    /// Waits for work and takes it, in order; false once all is done.
    pub(super) fn take(&self, work: &mut VecDeque<Item>) -> bool {
        let mut state = lock(&self.state);
        loop {
            let Some(first) = state.items.front() else {
                if state.is_over {
                    return false;
                }
                state.is_asleep = true;
                state = wait(self.work.wait(state));
                continue;
            };
            let now = self.now();
            let ripe = state.ripe();
            let age = now.since(first.at);
            if age >= ripe {
                // Half of that for those behind it, or each would have a wake of its own.
                let is_ripe = |item: &Item| now.since(item.at) >= ripe / 2;
                let ripe = state.items.partition_point(is_ripe);
                work.extend(state.items.drain(..ripe));
                return true;
            }
            let before = state.pressure();
            let waited = self.work.wait_timeout_while(state, ripe - age, |state| {
                !state.is_over && state.pressure() == before
            });
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Notes that items which cost `bytes` were written.
    pub(super) fn done(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_sub(bytes);
        if state.bytes < LIMIT {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Nothing is written any more: drops what is queued, and wakes everyone that waits for room.
    pub(super) fn give_up(&self) {
        let mut state = lock(&self.state);
        state.is_broken = true;
        state.items.clear();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Of what `stream` read last and holds, the last `rest` bytes stand apart; `cut`, only their
    /// number is told.
    pub(super) fn part(&self, stream: u32, rest: usize, cut: bool) {
        let state = &mut lock(&self.state);
        let mut held = state.held.iter_mut().rev();
        let Some(item) = held.find(|item| item.stream == stream) else {
            return;
        };
        if let Some(apart) = item.part(rest, cut) {
            state.held.push(apart);
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        let state = &mut lock(&self.state);
        state.is_over = true;
        for item in std::mem::take(&mut state.held) {
            self.add(state, item);
        }
        self.work.notify_one();
    }
}

fn wait<T>(guard: Result<T, PoisonError<T>>) -> T {
    guard.unwrap_or_else(PoisonError::into_inner)
}

/// The most bytes of one packet.
fn segment() -> usize {
    usize::try_from(SEGMENT).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
