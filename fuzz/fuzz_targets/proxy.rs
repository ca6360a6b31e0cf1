#![no_main]
#![expect(missing_docs, reason = "see `roomcast_fuzz::proxy`")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roomcast_fuzz::proxy::run(data));
