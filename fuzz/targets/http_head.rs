//! The scanner of HTTP/1 requests: one verdict, however the bytes arrive, and httparse agrees.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::proxy::check::requests(bytes));
