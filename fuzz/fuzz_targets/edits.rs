//! The target `edits`, for libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roothold_fuzz::run("edits", data));
