//! A ClientHello: one reading, however the bytes arrive, and nothing of it lost.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::proxy::check::hello(bytes));
