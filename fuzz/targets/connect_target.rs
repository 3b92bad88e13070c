//! A CONNECT head and its target: one reading, however the bytes arrive.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::proxy::check::connect_head(bytes));
