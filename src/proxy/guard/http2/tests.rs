use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = [0, 0, 0, u8::from(kind != kind::SETTINGS)];
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

fn greeted() -> Http2 {
    let mut frames = Http2::new();
    frames.received(PREFACE, at(0)).unwrap();
    frames
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::default() + Duration::from_secs(seconds)
}

/// How many of these the client may send at that moment, 5,000 at most.
fn allowed(frames: &mut Http2, bytes: &[u8], now: Timestamp) -> usize {
    let may = |_: &usize| frames.received(bytes, now).is_ok();
    (0..5000).take_while(may).count()
}

#[test]
fn what_nobody_asked_for_has_a_burst_and_a_rate() {
    let rows = [
        ("PRIORITY frames", frame(kind::PRIORITY, 0, b"\0\0\0\0.")),
        (
            "RST_STREAM frames",
            frame(kind::RST_STREAM, 0, b"\0\0\0\x08"),
        ),
        ("SETTINGS frames", frame(kind::SETTINGS, 0, b"")),
        ("SETTINGS frames", frame(kind::SETTINGS, 1, b"")),
        ("PING frames", frame(kind::PING, 0, b"12345678")),
        ("PING frames", frame(kind::PING, 1, b"12345678")),
        (
            "WINDOW_UPDATE frames",
            frame(kind::WINDOW_UPDATE, 0, b"\0\0\0\x01"),
        ),
        ("GOAWAY frames", frame(kind::GOAWAY, 0, b"\0\0\0\0\0\0\0\0")),
        ("frames of unknown types", frame(0xfe, 0, &[0; 16_384])),
    ];
    for (sort, bytes) in rows {
        // A reset is a request that was made for nothing: it counts five times.
        let burst = if sort.starts_with("RST") { 200 } else { 1000 };
        let mut frames = greeted();
        assert_eq!(allowed(&mut frames, &bytes, at(0)), burst, "{sort}");
        let flood = frames.received(&bytes, at(0)).unwrap_err().to_string();
        assert!(flood.ends_with(sort), "{flood}");
        let mut frames = greeted();
        for second in 0..100 {
            for _ in 0..burst / 5 {
                frames.received(&bytes, at(second)).unwrap();
            }
        }
        assert_eq!(allowed(&mut frames, &bytes, at(100)), burst, "{sort}");
    }
}

#[test]
fn data_and_heads_cost_nothing() {
    let rows = [
        frame(kind::DATA, 0, b"x"),
        frame(kind::HEADERS, END_HEADERS, b"\x82"),
    ];
    for bytes in rows {
        assert_eq!(allowed(&mut greeted(), &bytes, at(0)), 5000);
    }
}

/// 5 GB in a moment, with clients' habits: bytes of DATA, window updates for them.
#[test]
fn a_download_may_be_updated_for_as_often_as_clients_do() {
    let update = frame(kind::WINDOW_UPDATE, 0, b"\0\0\x10\0");
    let rows = [
        ("go: both windows, each 4 KiB", 16_384, 8),
        ("small windows: both for each frame", 4096, 2),
        ("an update of both for each frame of any size", 1, 2),
        ("half of 64 KiB, both", 32_768, 2),
    ];
    for (habit, size, updates) in rows {
        let mut frames = greeted();
        let data = frame(kind::DATA, 0, &vec![0; size]);
        for _ in 0..(5_000_000_000 / size).min(40_000) {
            frames.sent(&data);
            for _ in 0..updates {
                frames.received(&update, at(0)).expect(habit);
            }
        }
    }
}

/// What it is, the bytes of each second, and the second that it is timed from.
type Row<'a> = (&'a str, &'a [&'a [u8]], Option<u64>);

#[test]
fn what_holds_up_the_connection_is_timed_from_its_first_byte() {
    let begin = frame(kind::HEADERS, 0, b"\x82");
    let go_on = frame(kind::CONTINUATION, 0, b"\x84");
    let last = frame(kind::CONTINUATION, END_HEADERS, b"\x86");
    let whole = frame(kind::HEADERS, END_HEADERS, b"\x82\x84\x86");
    let data = frame(kind::DATA, 0, b"abcdefgh");
    let rows: [Row<'_>; 10] = [
        ("nothing", &[], None),
        ("a preface", &[&PREFACE[..5], &PREFACE[5..7]], Some(0)),
        ("a whole preface", &[PREFACE], None),
        (
            "a frame's head",
            &[PREFACE, &data[..4], &data[4..8]],
            Some(1),
        ),
        ("a body's frame", &[PREFACE, &data[..14]], None),
        ("a head", &[PREFACE, &begin, &go_on, &go_on], Some(1)),
        (
            "a head's frame",
            &[PREFACE, &whole[..10], &whole[10..11]],
            Some(1),
        ),
        (
            "a head's last frame",
            &[PREFACE, &begin, &last[..9]],
            Some(1),
        ),
        ("a whole head", &[PREFACE, &begin, &last], None),
        (
            "a head and more",
            &[PREFACE, &[&whole[..], &data[..13]].concat()],
            None,
        ),
    ];
    for (what, pieces, expected) in rows {
        let mut frames = Http2::new();
        for (second, piece) in (0..).zip(pieces) {
            frames.received(piece, at(second)).unwrap();
        }
        assert_eq!(frames.incomplete_since(), expected.map(at), "{what}");
    }
}

#[test]
fn large_settings_count_by_their_bytes() {
    let large = frame(kind::SETTINGS, 0, &[0; 16_200]);
    assert_eq!(allowed(&mut greeted(), &large, at(0)), 3);
}

#[test]
fn a_goaway_stands_between_two_frames_of_ours() {
    let mut frames = greeted();
    let goaway = frames.goaway().unwrap();
    assert_eq!(&goaway, b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b");
    let data = frame(kind::DATA, 0, b"abcdefgh");
    frames.sent(&data[..12]);
    assert_eq!(frames.goaway(), None);
    frames.sent(&data[12..]);
    assert!(frames.goaway().is_some());
}
