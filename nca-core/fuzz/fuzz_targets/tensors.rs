//! Weights come from strangers: whatever the bytes, the reader answers with tensors or an error, and
//! takes no more memory than a file of that length can ask for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nca_core::checkpoint::parse_tensors_any;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tensors) = parse_tensors_any("fuzzed", bytes) {
        let values: usize = tensors.iter().map(|(_, tensor)| tensor.values.len()).sum();
        assert!(size_of::<f32>() * values <= 4 * bytes.len() + (1 << 20), "{values} values");
    }
});
