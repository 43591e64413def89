//! Lets libFuzzer at the target of this name.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| dtma_fuzz::run("vault_reply", input));
