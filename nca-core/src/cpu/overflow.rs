//! The overflow loss.

use rayon::prelude::*;

use super::reduce::{CHUNK, slot_mut};
use super::{Buffer, Cpu};
use crate::backend::Overflow;
use crate::error::{Result, check_len};

impl Overflow for Cpu {
    fn overflow(&self, weight: f64, x: &Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        let out = slot_mut("overflow", out, slot)?;
        // `v − clamp(v)` keeps NaN, so that a diverged state shows in the loss.
        let sum = self.sum_chunks(x, |_, chunk| {
            chunk.iter().map(|&v| f64::from((v - v.clamp(-1.0, 1.0)).abs())).sum()
        })?;
        *out += (weight * sum) as f32;
        Ok(())
    }

    fn overflow_backward(&self, weight: f64, x: &Buffer, g_x: &mut Buffer) -> Result<()> {
        check_len("overflow_backward", "g_x", g_x.len(), x.len())?;
        let weight = weight as f32;
        self.install(|| {
            g_x.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(g, x)| {
                for (g, &x) in g.iter_mut().zip(x) {
                    *g = if x.abs() > 1.0 {
                        weight.copysign(weight * x)
                    } else {
                        0.0
                    };
                }
            });
        });
        Ok(())
    }
}
