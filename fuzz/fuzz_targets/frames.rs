#![no_main]
#![expect(missing_docs, reason = "see `roomcast_fuzz::frames`")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roomcast_fuzz::frames::run(data));
