//! What was recorded is found, and nothing else is given for it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::replay::check::matcher(bytes));
