//! go.mod files: any bytes are read, and what is read can be used.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::gomod::check::go_mod(bytes));
