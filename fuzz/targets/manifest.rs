//! Any manifest is read or named as what it is, and the recording beside it opens.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::recording::check::manifest(bytes));
