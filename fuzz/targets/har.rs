//! Any HAR gives exchanges or named errors, each of which a journal holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::import::check::har(bytes));
