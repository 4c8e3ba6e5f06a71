//! Work over long arrays in pieces of a fixed size, so that sums do not depend on the number of
//! threads.

// Memory lent to a call.
#![allow(unsafe_code)]

use rayon::prelude::*;

use super::Cpu;
use crate::backend::check;
use crate::error::Result;

/// Elements a task handles: 64 KiB of f32.
pub(super) const CHUNK: usize = 16 * 1024;

impl Cpu {
    /// `Σ term(chunk index, chunk)` over chunks of [`CHUNK`] elements, added in ascending order.
    pub(super) fn sum_chunks(&self, x: &[f32], term: impl Fn(usize, &[f32]) -> f64 + Sync) -> Result<f64> {
        let chunks = x.len().div_ceil(CHUNK);
        self.install(|| {
            self.arenas.with_call(
                |carver| carver.take::<f64>(chunks),
                |partial| {
                    // SAFETY: taken for so many; any bits are numbers.
                    let partial = unsafe { std::slice::from_raw_parts_mut(partial, chunks) };
                    x.par_chunks(CHUNK)
                        .zip(&mut *partial)
                        .enumerate()
                        .for_each(|(i, (chunk, sum))| *sum = term(i, chunk));
                    partial.iter().sum()
                },
            )
        })
    }
}

/// `Σ term(a, b)` of two arrays of one length, in partial sums that do not wait for each other.
#[inline(always)]
pub(super) fn sum_pairs(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = whole_a.remainder().iter().zip(whole_b.remainder());
    let rest: f64 = rest.map(|(&a, &b)| f64::from(term(a, b))).sum();
    for (a, b) in whole_a.zip(whole_b) {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += f64::from(term(a, b));
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Element `slot` of `out`.
pub(super) fn slot_mut<'a>(op: &'static str, out: &'a mut [f32], slot: usize) -> Result<&'a mut f32> {
    check::slot(op, out.len(), slot)?;
    Ok(&mut out[slot])
}
