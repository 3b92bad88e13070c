//! Requests to git-upload-pack and its answers are read whatever they hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::git::check::protocol(bytes));
