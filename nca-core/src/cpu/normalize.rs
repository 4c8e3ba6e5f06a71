//! Gradient normalisation.

use rayon::prelude::*;

use super::reduce::{CHUNK, slot_mut};
use super::{Buffer, Cpu};
use crate::backend::Normalize;
use crate::error::Result;

impl Normalize for Cpu {
    fn normalize(&self, epsilon: f64, g: &mut Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        let out = slot_mut("normalize", out, slot)?;
        let squares = self.sum_chunks(g, |_, chunk| chunk.iter().map(|&v| f64::from(v) * f64::from(v)).sum())?;
        let norm = squares.sqrt();
        *out += norm as f32;
        let divisor = norm + epsilon;
        self.install(|| {
            g.par_chunks_mut(CHUNK).for_each(|chunk| {
                for v in chunk {
                    *v = (f64::from(*v) / divisor) as f32;
                }
            });
        });
        Ok(())
    }
}
