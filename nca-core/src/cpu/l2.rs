//! Weighted squared L2 distance to a target shared by all samples.

use rayon::prelude::*;

use super::l1::for_pieces;
use super::reduce::{CHUNK, slot_mut, sum_pairs};
use super::{Buffer, Cpu};
use crate::backend::{L2, check};
use crate::error::{Result, check_len};

impl L2 for Cpu {
    fn l2(&self, weight: f64, a: &Buffer, b: &Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        check::samples("l2", a.len(), b.len())?;
        let out = slot_mut("l2", out, slot)?;
        let sum = self.sum_chunks(a, |i, chunk| {
            let mut sum = 0.0;
            for_pieces(i * CHUNK, chunk.len(), b.len(), |from, at, len| {
                sum += sum_pairs(&chunk[from..from + len], &b[at..at + len], |a, b| (a - b) * (a - b));
            });
            sum
        })?;
        *out += (weight * sum) as f32;
        Ok(())
    }

    fn l2_backward(&self, weight: f64, a: &Buffer, b: &Buffer, g_a: &mut Buffer) -> Result<()> {
        check::samples("l2_backward", a.len(), b.len())?;
        check_len("l2_backward", "g_a", g_a.len(), a.len())?;
        let weight = (2.0 * weight) as f32;
        self.install(|| {
            g_a.par_chunks_mut(CHUNK)
                .zip(a.par_chunks(CHUNK))
                .enumerate()
                .for_each(|(i, (g, a))| {
                    for_pieces(i * CHUNK, a.len(), b.len(), |from, at, len| {
                        let pairs = a[from..from + len].iter().zip(&b[at..at + len]);
                        for (g, (&a, &b)) in g[from..from + len].iter_mut().zip(pairs) {
                            *g = weight * (a - b);
                        }
                    });
                });
        });
        Ok(())
    }
}
