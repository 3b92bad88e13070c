//! Any text is a filter or an error at a place of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::filter::check::check(bytes));
