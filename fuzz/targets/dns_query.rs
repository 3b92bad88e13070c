//! Any bytes that a command sends to a resolver are a query or are refused; the answer is a DNS message.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::netns::check::query(bytes));
