//! Section 6.5: settings, their values and their answers.

use super::*;
use crate::support::frames::setting::*;

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    case("6.5", "settings on a stream", || only(&[Frame::new(kind::SETTINGS, 0, 1, *b"")]),
        Connection(PROTOCOL_ERROR)),
    case("6.5", "an answer to settings with a payload", || {
        only(&[Frame::new(kind::SETTINGS, flag::ACK, 0, [0, 1, 0, 0, 0, 0])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.5", "settings of five bytes", || {
        only(&[Frame::new(kind::SETTINGS, 0, 0, [0; 5])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.5", "settings of seven bytes", || {
        only(&[Frame::new(kind::SETTINGS, 0, 0, [0; 7])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FRAME_SIZE_ERROR"),
    case("6.5", "settings that say nothing", || only(&[Frame::settings(&[])]), Ignored),
    case("6.5.2", "ENABLE_PUSH of 0 and 1", || {
        only(&[Frame::settings(&[(ENABLE_PUSH, 1), (ENABLE_PUSH, 0)])])
    }, Ignored),
    case("6.5.2", "ENABLE_PUSH of 2", || only(&[Frame::settings(&[(ENABLE_PUSH, 2)])]),
        Connection(PROTOCOL_ERROR)),
    case("6.5.2", "INITIAL_WINDOW_SIZE of 2^31-1", || {
        only(&[Frame::settings(&[(INITIAL_WINDOW_SIZE, i32::MAX as u32)]), asking("/")])
    }, Answer(200)),
    case("6.5.2", "INITIAL_WINDOW_SIZE of 2^31", || {
        only(&[Frame::settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)])])
    }, Connection(PROTOCOL_ERROR)).instead_of("FLOW_CONTROL_ERROR"),
    case("6.5.2", "MAX_FRAME_SIZE of 0", || only(&[Frame::settings(&[(MAX_FRAME_SIZE, 0)])]),
        Connection(PROTOCOL_ERROR)),
    case("6.5.2", "MAX_FRAME_SIZE of 16,383", || {
        only(&[Frame::settings(&[(MAX_FRAME_SIZE, 16_383)])])
    }, Connection(PROTOCOL_ERROR)),
    case("6.5.2", "MAX_FRAME_SIZE of 2^24-1", || {
        only(&[Frame::settings(&[(MAX_FRAME_SIZE, (1 << 24) - 1)]), asking("/")])
    }, Answer(200)),
    case("6.5.2", "MAX_FRAME_SIZE of 2^24", || {
        only(&[Frame::settings(&[(MAX_FRAME_SIZE, 1 << 24)])])
    }, Connection(PROTOCOL_ERROR)),
    case("6.5.2", "HEADER_TABLE_SIZE of nothing", || {
        only(&[Frame::settings(&[(HEADER_TABLE_SIZE, 0)]), asking("/")])
    }, Answer(200)),
    case("6.5.2", "HEADER_TABLE_SIZE of 4 GiB", || {
        only(&[Frame::settings(&[(HEADER_TABLE_SIZE, u32::MAX)]), asking("/")])
    }, Answer(200)),
    case("6.5.2", "MAX_CONCURRENT_STREAMS of nothing", || {
        only(&[Frame::settings(&[(MAX_CONCURRENT_STREAMS, 0)]), asking("/")])
    }, Answer(200)),
    case("6.5.2", "MAX_HEADER_LIST_SIZE of nothing", || {
        only(&[Frame::settings(&[(MAX_HEADER_LIST_SIZE, 0)]), asking("/")])
    }, Answer(200)),
    case("6.5.2", "settings that nobody knows", || {
        only(&[Frame::settings(&[(0, 1), (0x0a0a, u32::MAX), (0xffff, 7)]), asking("/")])
    }, Answer(200)),
    case("6.5.3", "the last of equal settings counts", || {
        only(&[Frame::settings(&[(INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 9)]), asking("/")])
    }, Answer(200)),
    case("6.5.3", "an answer to settings that were not sent", || only(&[Frame::settings_ack()]),
        Connection(PROTOCOL_ERROR)).instead_of("nothing: it does not say"),
    case("6.9.2", "a window that settings lift above 2^31-1", || {
        only(&[
            asking("/silent"),
            Frame::window_update(1, 1 << 30),
            Frame::settings(&[(INITIAL_WINDOW_SIZE, i32::MAX as u32)]),
        ])
    }, Connection(FLOW_CONTROL_ERROR)),
    case("6.9.2", "a window that settings make negative", || {
        only(&[
            Frame::settings(&[(INITIAL_WINDOW_SIZE, 3)]),
            asking("/"),
            Frame::settings(&[(INITIAL_WINDOW_SIZE, 0)]),
            Frame::settings(&[(INITIAL_WINDOW_SIZE, 65_535)]),
        ])
    }, Answer(200)),
];
