//! Work over long arrays in pieces of a fixed size, so that sums do not depend on the number of
//! threads.

use rayon::prelude::*;

use super::Cpu;
use crate::backend::check;
use crate::error::Result;

/// Elements a task handles: 64 KiB of f32.
pub(super) const CHUNK: usize = 16 * 1024;

impl Cpu {
    /// `Σ term(chunk index, chunk)` over chunks of [`CHUNK`] elements, added in ascending order.
    pub(super) fn sum_chunks(&self, x: &[f32], term: impl Fn(usize, &[f32]) -> f64 + Sync) -> f64 {
        let mut partial = vec![0.0; x.len().div_ceil(CHUNK)];
        self.install(|| {
            x.par_chunks(CHUNK)
                .zip(&mut partial)
                .enumerate()
                .for_each(|(i, (chunk, sum))| *sum = term(i, chunk));
        });
        partial.iter().sum()
    }
}

/// Element `slot` of `out`.
pub(super) fn slot_mut<'a>(op: &'static str, out: &'a mut [f32], slot: usize) -> Result<&'a mut f32> {
    check::slot(op, out.len(), slot)?;
    Ok(&mut out[slot])
}
