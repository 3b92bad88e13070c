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

/// How many bytes may wait to be written.
const LIMIT: u64 = 8 << 20;

/// From this number of bytes on, they are written sooner.
const PRESSING: u64 = 1 << 20;

/// From this number of bytes on, they are written at once.
const HALF: u64 = LIMIT / 2;

/// How long a packet waits in a short queue, so that an exchange can add its comment. A killed
/// recorder loses this time at most.
const RIPE: Duration = Duration::from_millis(50);

/// How long a packet waits in a longer queue.
const PRESSED: Duration = Duration::from_millis(2);

/// How many packets are searched for that of a request.
const LOOK_BACK: usize = 4096;

/// Bytes are allocated in chunks of this size. A slow client keeps one of them allocated.
const CHUNK: usize = 64 * 1024;

/// A chunk with less room than this is not used for another read.
const WORTHWHILE: usize = 8 * 1024;

/// The stream of items that belong to no stream.
pub(super) const NO_STREAM: u32 = 0;

/// The approximate cost of an item in addition to its bytes.
pub(super) const ITEM: u64 = 128;

/// Something that passed, or a note about it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) at: Timestamp,
    pub(super) stream: u32,
    /// Whether the client of the connection sent it.
    pub(super) is_clients: bool,
    pub(super) what: What,
    /// The comments of exchanges.
    pub(super) comment: String,
    /// How many request heads it contains that have no comment yet.
    pub(super) heads: u32,
}

/// What an [`Item`] is.
#[derive(Debug)]
pub(super) enum What {
    /// A connection is requested.
    Dialled(Ends),
    /// The connection is established.
    Connected,
    /// Bytes, of which all, some or none are captured; at most [`SEGMENT`].
    Data { shown: Bytes, bytes: u64 },
    /// This side sends no more.
    End,
    /// This side reset the connection.
    Reset,
    /// The socket is closed, whether or not both sides have ended.
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

    /// Its cost in the queue, bytes.
    pub(super) fn cost(&self) -> u64 {
        match &self.what {
            What::Data { shown, .. } => ITEM + shown.len() as u64,
            _ => ITEM,
        }
    }

    /// Splits off its last `rest` bytes as another item; with `cut`, only their number.
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

/// The queue.
pub(super) struct Queue {
    clock: Clock,
    state: Mutex<State>,
    work: Condvar,
    /// Memory for the next bytes; empty between uses.
    chunk: Mutex<BytesMut>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// Data that was read in handshakes whose keys may not be logged yet.
    held: Vec<Item>,
    /// Bytes queued or being written.
    bytes: u64,
    waiting: Vec<Waker>,
    streams: u32,
    /// The writer waits for items.
    is_asleep: bool,
    is_over: bool,
    /// The writer has stopped.
    is_broken: bool,
}

impl State {
    /// How many of the limits the waiting bytes exceed.
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
    // The state is valid after a panic at any point.
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

    /// Adds an item with the time of now.
    pub(super) fn push(&self, stream: u32, is_clients: bool, what: What) {
        self.push_at(self.now(), stream, is_clients, what);
    }

    /// Adds an item with the time `at`.
    pub(super) fn push_at(&self, at: Timestamp, stream: u32, is_clients: bool, what: What) {
        let item = Item::new(at, stream, is_clients, what);
        self.add(&mut lock(&self.state), item);
    }

    /// Holds back what was read in a handshake until [`commit`](Self::commit).
    pub(super) fn hold(&self, stream: u32, is_clients: bool, what: What) {
        let item = Item::new(self.now(), stream, is_clients, what);
        lock(&self.state).held.push(item);
    }

    /// Adds what is held back of `stream`.
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

    /// Notes that the bytes that `stream` read last contain this number of request heads.
    pub(super) fn note_heads(&self, stream: u32, is_clients: bool, heads: u32) {
        let state = &mut lock(&self.state);
        let mut recent = state.items.iter_mut().rev().take(LOOK_BACK);
        if let Some(item) = recent.find(|item| item.is_data_of(stream, is_clients)) {
            item.heads += heads;
        }
    }

    /// Adds `comment` to the first bytes that `stream` read and that contain a request head without
    /// a comment; else to the last bytes that it read; else to the next ones.
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

    /// Ready as long as there is room: if the disk is slower than the network, the traffic waits.
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

    /// Lets `read` fill memory, up to the size of a packet, and returns the bytes.
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

    /// Copies the first `written` bytes of `bufs`, and passes them to `give` in packets.
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

    /// Waits for items and takes them, in order; false at the end.
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
                // The items behind it need only half of that, so that not each of them causes a
                // wake-up.
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

    /// Drops all items and wakes the tasks that wait for room: the writer has stopped.
    pub(super) fn give_up(&self) {
        let mut state = lock(&self.state);
        state.is_broken = true;
        state.items.clear();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Splits off the last `rest` bytes of what `stream` read last and holds back; with `cut`, only
    /// their number.
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

    /// Of what `stream` has read and holds back, keeps only the number of bytes.
    pub(super) fn cut(&self, stream: u32) {
        let state = &mut lock(&self.state);
        let held = state.held.iter_mut().filter(|item| item.stream == stream);
        for item in held {
            if let What::Data { shown, .. } = &mut item.what {
                shown.clear();
            }
        }
    }

    /// Ends the queue: no more items come.
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
