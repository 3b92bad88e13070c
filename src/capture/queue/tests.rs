use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Wake;

use super::super::frame::{Ends, Interface};
use super::super::live::Capture;
use super::super::sink::Section;
use super::*;

fn queue() -> Queue {
    Queue::new(Clock::start())
}

fn data(length: usize) -> What {
    What::Data {
        shown: vec![7; length].into(),
        bytes: length as u64,
    }
}

fn dialled() -> What {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    What::Dialled(Ends {
        interface: Interface::Client,
        client: at(1),
        server: at(2),
    })
}

/// Takes all there is.
fn all(queue: &Queue) -> Vec<Item> {
    queue.end();
    let mut work = VecDeque::new();
    while queue.take(&mut work) {}
    work.into()
}

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_for_room_is_woken_when_the_disk_has_taken_some() {
    let queue = queue();
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(Arc::clone(&woken));
    let cx = Context::from_waker(&waker);
    let mut pushed = 0;
    while queue.poll_room(&cx).is_ready() {
        queue.push(1, true, data(60_000));
        pushed += 60_000 + ITEM;
    }
    assert!((LIMIT..LIMIT + 100_000).contains(&pushed), "{pushed}");
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    queue.done(100_000);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(queue.poll_room(&cx).is_ready());
}

#[test]
fn what_a_handshake_read_comes_after_the_keys_that_it_led_to() {
    let queue = queue();
    queue.hold(1, true, data(10));
    queue.push(NO_STREAM, false, What::Secret(String::from("a key\n")));
    queue.commit(2);
    queue.commit(1);
    let items = all(&queue);
    assert!(matches!(items[0].what, What::Secret(_)), "{items:?}");
    assert!(matches!(items[1].what, What::Data { .. }), "{items:?}");
}

#[test]
fn a_comment_finds_the_packet_that_holds_the_head() {
    let queue = queue();
    for _ in 0..2 {
        queue.push(1, true, data(10));
        queue.note_heads(1, true, 1);
    }
    queue.push(1, true, data(20));
    queue.push(1, false, data(30));
    queue.push(2, true, data(40));
    for comment in ["one", "two", "three", "four"] {
        queue.remark(1, true, comment.to_owned());
    }
    queue.remark(3, true, String::from("five"));
    let items = all(&queue);
    let comments: Vec<_> = items.iter().map(|item| &item.comment[..]).collect();
    assert_eq!(comments, ["one", "two", "three\nfour", "", "", "five"]);
    assert!(matches!(items[5].what, What::Remark));
}

#[test]
fn written_bytes_are_cut_into_packets_and_lose_none() {
    let queue = queue();
    let sizes = [0, 1, 16_000, 70_000, 5, 200_000, 61_440];
    let parts: Vec<Vec<u8>> = sizes.iter().map(|size| vec![*size as u8; *size]).collect();
    let whole = parts.concat();
    let bufs: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    for written in [0, 1, 16_001, 100_000, whole.len()] {
        let given = Mutex::new(Vec::new());
        queue.copy(&bufs, written, |bytes| {
            assert!((1..=segment()).contains(&bytes.len()));
            lock(&given).extend_from_slice(&bytes);
        });
        assert!(*lock(&given) == whole[..written], "{written}");
    }
}

#[test]
fn a_disk_that_is_full_ends_the_capture_and_not_the_traffic() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    let clock = Clock::start();
    let section = Section {
        tool: "tool",
        comment: "comment",
        origin: "as it passed",
    };
    assert!(Capture::start(full.unwrap(), clock, &section).is_err());

    // A pipe that nobody reads any longer fails later on.
    let (reader, writer) = std::io::pipe().unwrap();
    let file = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
    let (capture, running) = Capture::start(file, clock, &section).unwrap();
    drop(reader);
    capture.queue.push(1, true, dialled());
    let outcome = running.finish();
    assert!(outcome.error.is_some());
    let cx = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        assert!(capture.queue.poll_room(&cx).is_ready());
        capture.queue.push(1, true, data(60_000));
    }
    assert!(all(&capture.queue).is_empty(), "nothing is kept for nobody");
}
