//! Parity of memory operations: every bit arrives.

use super::compare::{Mismatch, compare_bits};
use crate::backend::Device;
use crate::error::{Error, Result};

/// Values that a conversion or a flush to zero would change.
const VALUES: [f32; 9] = [
    0.0,
    -0.0,
    1.5,
    f32::MIN_POSITIVE,
    1e-45,
    f32::MAX,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// Upload, download, fill and copy, and what they refuse.
pub fn parity<B: Device<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    let buffer = backend.buffer(&VALUES)?;
    compare_bits("upload and download", "buffer", &backend.to_vec(&buffer)?, &VALUES)?;
    if backend.len(&buffer) != VALUES.len() {
        return Err(broken(
            "len",
            format!("is {}, expected {}", backend.len(&buffer), VALUES.len()),
        ));
    }
    // 1000 is no multiple of a vector, a warp or a tile.
    for len in [0, 1, 1000] {
        let mut buffer = backend.zeros(len)?;
        compare_bits("zeros", "buffer", &backend.to_vec(&buffer)?, &vec![0.0; len])?;
        backend.fill(f64::NAN, &mut buffer)?;
        backend.fill(-2.5, &mut buffer)?;
        backend.synchronize()?;
        compare_bits("fill", "buffer", &backend.to_vec(&buffer)?, &vec![-2.5; len])?;
    }
    for (from, to, len) in [(0, 0, 9), (2, 5, 3), (8, 0, 1), (0, 11, 2), (4, 4, 0)] {
        let mut got = backend.buffer(&[7.0; 13])?;
        backend.copy(&buffer, from, &mut got, to, len)?;
        let mut want = [7.0; 13];
        want[to..to + len].copy_from_slice(&VALUES[from..from + len]);
        compare_bits("copy", "destination", &backend.to_vec(&got)?, &want)?;
    }
    let places = [0, 7, u32::MAX];
    let mut found = [1; 3];
    backend.download_indices(&backend.indices(&places)?, &mut found)?;
    if found != places {
        return Err(broken(
            "upload and download of indices",
            format!("gave {found:?}, expected {places:?}"),
        ));
    }
    refusals(backend)
}

fn refusals<B: Device<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    let mut buffer = backend.buffer(&VALUES)?;
    let mut other = backend.zeros(4)?;
    let mut places = backend.zero_indices(4)?;
    let answers = [
        ("download_indices", backend.download_indices(&places, &mut [0; 5])),
        ("upload_indices", backend.upload_indices(&[0; 5], &mut places)),
        ("upload", backend.upload(&VALUES[1..], &mut buffer)),
        ("download", backend.download(&buffer, &mut [0.0; 10])),
        ("copy", backend.copy(&buffer, 6, &mut other, 0, 4)),
        ("copy", backend.copy(&buffer, 0, &mut other, 1, 4)),
        ("copy", backend.copy(&buffer, usize::MAX, &mut other, 0, 2)),
        ("copy", backend.copy(&buffer, 0, &mut other, usize::MAX, 2)),
    ];
    for (op, answer) in answers {
        if !matches!(answer, Err(Error::Length { .. })) {
            return Err(broken(
                op,
                format!("answered {answer:?} to a wrong length, expected Error::Length"),
            ));
        }
    }
    Ok(())
}

fn broken(op: &'static str, rule: String) -> Mismatch {
    Mismatch::Rule { op, rule }
}
