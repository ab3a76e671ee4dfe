#![no_main]
#![allow(missing_docs, reason = "what the macro makes has none")]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cni_fuzz::dhcp_rpc(data));
