//! Any journal opens, and its records and damage account for all of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::recording::check::journal(bytes));
