//! Whatever a live capture holds, its copy without secrets holds none.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::capture::check::check(bytes));
