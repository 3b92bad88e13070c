//! The attacks that are nothing but frames: what each round of them sends.

use crate::support::frames::{Frame, block, encode, flag, get, integer, kind, setting};

/// One attack.
pub struct Attack {
    /// After the advisories.
    pub name: &'static str,
    /// Connections that it is made on, one after the other.
    pub strikes: usize,
    /// What the attacker's first SETTINGS say.
    pub settings: &'static [(u16, u32)],
    /// The bytes of a round, for that host.
    pub round: fn(&str, u32) -> Vec<u8>,
    /// What the recording says of its end: one of these.
    pub why: &'static [&'static str],
}

impl Attack {
    /// The host that the attacker asks for.
    pub fn host(&self) -> String {
        format!("{}.test", self.name.replace('_', "-"))
    }
}

/// All of them.
pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "cve_2023_44487_rapid_reset",
        strikes: 5,
        settings: &[],
        round: |host, round| {
            let both = |id| [ask(host, id, "/silent"), Frame::reset(id, CANCEL)];
            encode(&ids(round).flat_map(both).collect::<Vec<_>>())
        },
        why: &[
            "client flooded the connection with resets",
            "flooded the connection with RST_STREAM",
        ],
    },
    Attack {
        name: "cve_2023_44487_reset_a_moment_later",
        strikes: 5,
        settings: &[],
        round: |host, round| match round % 2 {
            0 => encode(
                &ids(round / 2)
                    .map(|id| ask(host, id, "/silent"))
                    .collect::<Vec<_>>(),
            ),
            _ => encode(
                &ids(round / 2)
                    .map(|id| Frame::reset(id, CANCEL))
                    .collect::<Vec<_>>(),
            ),
        },
        why: &[
            "client flooded the connection with resets",
            "flooded the connection with RST_STREAM",
        ],
    },
    Attack {
        name: "cve_2025_8671_made_you_reset",
        strikes: 5,
        settings: &[],
        round: |host, round| {
            let both = |id| {
                [
                    ask(host, id, "/silent"),
                    Frame::window_update(id, i32::MAX as u32),
                ]
            };
            encode(&ids(round).flat_map(both).collect::<Vec<_>>())
        },
        why: &["client flooded the connection with resets", "WINDOW_UPDATE"],
    },
    Attack {
        name: "cve_2019_9514_asked_for_resets",
        strikes: 5,
        settings: &[],
        round: |_, round| {
            let bad = |id| Frame::headers(id, &[(b":method", b"GET"), (b"te", b"gzip")], true);
            encode(&ids(round).map(bad).collect::<Vec<_>>())
        },
        why: &["client flooded the connection with resets"],
    },
    // What comes before the refusals, 250 requests at once, any client may do.
    Attack {
        name: "refused_streams",
        strikes: 2,
        settings: &[],
        round: |host, round| {
            encode(
                &ids(round)
                    .map(|id| ask(host, id, "/silent"))
                    .collect::<Vec<_>>(),
            )
        },
        why: &["client flooded the connection with resets"],
    },
    Attack {
        name: "cve_2024_27316_continuation",
        strikes: 5,
        settings: &[],
        round: |host, round| match round {
            0 => Frame::new(kind::HEADERS, 0, 1, block(&get(host, "/"))).encode(),
            _ => repeat(
                100,
                &Frame::new(kind::CONTINUATION, 0, 1, block(&[(b"x", b"y")])),
            ),
        },
        why: &["client flooded the connection with resets, small frames or header fields"],
    },
    Attack {
        name: "cve_2019_9518_empty_data",
        strikes: 5,
        settings: &[],
        round: |host, round| match round {
            0 => post(host).encode(),
            _ => repeat(500, &Frame::data(1, b"", false)),
        },
        why: &["client flooded the connection with resets"],
    },
    Attack {
        name: "rustsec_2026_0258_padded_data",
        strikes: 5,
        settings: &[],
        round: |host, round| match round {
            0 => post(host).encode(),
            _ => repeat(500, &Frame::new(kind::DATA, flag::PADDED, 1, [3, 0, 0, 0])),
        },
        why: &["client flooded the connection with resets"],
    },
    Attack {
        name: "cve_2019_9515_settings",
        strikes: 5,
        settings: &[],
        round: |_, _| repeat(500, &Frame::settings(&[])),
        why: &["flooded the connection with SETTINGS"],
    },
    Attack {
        name: "cve_2020_11080_large_settings",
        strikes: 5,
        settings: &[],
        round: |_, _| {
            repeat(
                4,
                &Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1); 2700]),
            )
        },
        why: &["flooded the connection with SETTINGS"],
    },
    Attack {
        name: "settings_churn_over_open_streams",
        strikes: 5,
        settings: &[],
        round: |host, round| match round {
            0 => encode(
                &(0..200)
                    .map(|n| ask(host, 2 * n + 1, "/silent"))
                    .collect::<Vec<_>>(),
            ),
            _ => repeat(
                100,
                &Frame::settings(&[
                    (setting::INITIAL_WINDOW_SIZE, round % 2 * 65_535),
                    (setting::HEADER_TABLE_SIZE, round % 2 * 4096),
                    (setting::MAX_FRAME_SIZE, 16_384 + round % 2),
                ]),
            ),
        },
        why: &["flooded the connection with SETTINGS"],
    },
    Attack {
        name: "cve_2026_33814_max_frame_size_0",
        strikes: 5,
        settings: &[],
        round: |_, _| Frame::settings(&[(setting::MAX_FRAME_SIZE, 0)]).encode(),
        why: &["modtape ended the connection with GOAWAY PROTOCOL_ERROR"],
    },
    Attack {
        name: "cve_2019_9512_ping",
        strikes: 5,
        settings: &[],
        round: |_, _| repeat(500, &Frame::ping(*b"pingping")),
        why: &["flooded the connection with PING"],
    },
    Attack {
        name: "cve_2019_9513_priority",
        strikes: 5,
        settings: &[],
        round: |_, round| {
            let priority = |id| Frame::new(kind::PRIORITY, 0, id, [0, 0, 0, 0, 7]);
            encode(&ids(round).map(priority).collect::<Vec<_>>())
        },
        why: &["flooded the connection with PRIORITY"],
    },
    Attack {
        name: "window_updates",
        strikes: 5,
        settings: &[(setting::INITIAL_WINDOW_SIZE, 0)],
        round: |host, round| match round {
            0 => ask(host, 1, "/large").encode(),
            _ => repeat(500, &Frame::window_update(0, 1)),
        },
        why: &["flooded the connection with WINDOW_UPDATE"],
    },
    Attack {
        name: "unknown_frames",
        strikes: 5,
        settings: &[],
        round: |_, _| repeat(500, &Frame::new(0xee, 0xff, 0, [0; 20])),
        why: &["flooded the connection with frames of unknown types"],
    },
    Attack {
        name: "cve_2016_1544_hpack_bomb",
        strikes: 5,
        settings: &[],
        round: |host, round| {
            encode(
                &ids(round)
                    .take(10)
                    .map(|id| bomb(host, id))
                    .collect::<Vec<_>>(),
            )
        },
        why: &["client flooded the connection with resets"],
    },
];

const CANCEL: u32 = 8;

/// A hundred stream identifiers that no other round has.
fn ids(round: u32) -> impl Iterator<Item = u32> {
    (round * 100..round * 100 + 100).map(|n| 2 * n + 1)
}

/// A whole request.
pub fn ask(host: &str, id: u32, path: &str) -> Frame {
    Frame::headers(id, &get(host, path), true)
}

/// A request whose body is to come.
fn post(host: &str) -> Frame {
    let mut fields = get(host, "/silent");
    fields[0] = (b":method", b"POST");
    Frame::headers(1, &fields, false)
}

fn repeat(times: usize, frame: &Frame) -> Vec<u8> {
    frame.encode().repeat(times)
}

/// One field of 4 KB, indexed, and then 12,000 times that field: 48 MB in one frame of 16 KB.
fn bomb(host: &str, id: u32) -> Frame {
    let mut bytes = block(&get(host, "/"));
    bytes.push(0x40);
    integer(1, 7, &mut bytes);
    bytes.push(b'x');
    integer(4000, 7, &mut bytes);
    bytes.extend([b'y'; 4000]);
    bytes.extend([0x80 | 62; 12_000]);
    Frame::new(
        kind::HEADERS,
        flag::END_HEADERS | flag::END_STREAM,
        id,
        bytes,
    )
}
