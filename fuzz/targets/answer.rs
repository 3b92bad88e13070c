//! Answers of module proxies and checksum databases: a fault is told in one line.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::gomod::check::answer(bytes));
