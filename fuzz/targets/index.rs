//! Any index is the journal's or is passed over, and leads nowhere but into the journal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::recording::check::index(bytes));
