//! The rectifier between layers.

use rayon::prelude::*;

use super::reduce::CHUNK;
use super::{Buffer, Cpu};
use crate::backend::Relu;
use crate::error::{Result, check_len};

impl Relu for Cpu {
    fn relu(&self, x: &mut Buffer) -> Result<()> {
        self.install(|| {
            x.par_chunks_mut(CHUNK).for_each(|x| {
                for v in x {
                    // Not `max`, which would turn NaN into 0.
                    *v = if *v <= 0.0 { 0.0 } else { *v };
                }
            });
        });
        Ok(())
    }

    fn relu_backward(&self, y: &Buffer, g: &mut Buffer) -> Result<()> {
        check_len("relu_backward", "g", g.len(), y.len())?;
        self.install(|| {
            g.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(g, y)| {
                for (g, &y) in g.iter_mut().zip(y) {
                    *g = if y > 0.0 { *g } else { 0.0 };
                }
            });
        });
        Ok(())
    }
}
