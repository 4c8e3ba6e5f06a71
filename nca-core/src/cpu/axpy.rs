//! Scaled vector addition.

use rayon::prelude::*;

use super::reduce::CHUNK;
use super::{Buffer, Cpu};
use crate::backend::Axpy;
use crate::error::{Result, check_len};

impl Axpy for Cpu {
    fn axpy(&self, alpha: f64, x: &Buffer, y: &mut Buffer) -> Result<()> {
        check_len("axpy", "x", x.len(), y.len())?;
        let alpha = alpha as f32;
        self.install(|| {
            y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y += alpha * x;
                }
            });
        });
        Ok(())
    }
}
