#![no_main]
#![expect(missing_docs, reason = "see `roomcast_fuzz::connection`")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roomcast_fuzz::connection::run(data));
