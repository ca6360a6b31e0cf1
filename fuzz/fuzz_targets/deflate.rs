#![no_main]
#![expect(missing_docs, reason = "see `roomcast_fuzz::deflate`")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roomcast_fuzz::deflate::run(data));
