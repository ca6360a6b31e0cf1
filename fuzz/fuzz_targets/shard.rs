#![no_main]
#![expect(missing_docs, reason = "see `roomcast_fuzz::shard`")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| roomcast_fuzz::shard::run(data));
