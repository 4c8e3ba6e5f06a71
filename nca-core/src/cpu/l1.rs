//! Weighted L1 distance to a target shared by all samples.

use rayon::prelude::*;

use super::reduce::{CHUNK, slot_mut, sum_pairs};
use super::{Buffer, Cpu};
use crate::backend::{L1, check};
use crate::error::{Result, check_len};

impl L1 for Cpu {
    fn l1(&self, weight: f64, a: &Buffer, b: &Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        check::samples("l1", a.len(), b.len())?;
        let out = slot_mut("l1", out, slot)?;
        let sum = self.sum_chunks(a, |i, chunk| {
            let mut sum = 0.0;
            for_pieces(i * CHUNK, chunk.len(), b.len(), |from, at, len| {
                sum += sum_pairs(&chunk[from..from + len], &b[at..at + len], |a, b| (a - b).abs());
            });
            sum
        })?;
        *out += (weight * sum) as f32;
        Ok(())
    }

    fn l1_backward(&self, weight: f64, a: &Buffer, b: &Buffer, g_a: &mut Buffer) -> Result<()> {
        check::samples("l1_backward", a.len(), b.len())?;
        check_len("l1_backward", "g_a", g_a.len(), a.len())?;
        let weight = weight as f32;
        self.install(|| {
            g_a.par_chunks_mut(CHUNK)
                .zip(a.par_chunks(CHUNK))
                .enumerate()
                .for_each(|(i, (g, a))| {
                    for_pieces(i * CHUNK, a.len(), b.len(), |from, at, len| {
                        let pairs = a[from..from + len].iter().zip(&b[at..at + len]);
                        for (g, (&a, &b)) in g[from..from + len].iter_mut().zip(pairs) {
                            *g = weight * sign(a - b);
                        }
                    });
                });
        });
        Ok(())
    }
}

/// −1, 0 or 1; NaN stays NaN.
fn sign(v: f32) -> f32 {
    if v == 0.0 { 0.0 } else { v.signum() }
}

/// Splits elements `start..start + len` of a periodic array of period `period` where the period
/// wraps: `f(offset from start, offset in the period, length)`.
pub(super) fn for_pieces(start: usize, len: usize, period: usize, mut f: impl FnMut(usize, usize, usize)) {
    let mut done = 0;
    while done < len {
        let at = (start + done) % period;
        let n = (period - at).min(len - done);
        f(done, at, n);
        done += n;
    }
}
