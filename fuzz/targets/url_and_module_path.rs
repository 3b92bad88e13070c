//! URLs, module paths, versions and tiles: what is taken is written back the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| modtape::gomod::check::url(bytes));
