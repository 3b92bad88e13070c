//! No secret stays, and redacting twice is redacting once.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::redact::check::text(bytes));
