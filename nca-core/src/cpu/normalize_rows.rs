//! Rows of unit length.

use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{NormalizeRows, check};
use crate::error::{Result, check_len};

impl NormalizeRows for Cpu {
    fn normalize_rows(
        &self,
        rows: usize,
        len: usize,
        epsilon: f64,
        x: &Buffer,
        y: &mut Buffer,
        norms: &mut Buffer,
    ) -> Result<()> {
        check::shape("normalize_rows", "x", x.len(), &[rows, len])?;
        check::shape("normalize_rows", "y", y.len(), &[rows, len])?;
        check_len("normalize_rows", "norms", norms.len(), rows)?;
        if len == 0 {
            norms.fill(epsilon.sqrt() as f32);
            return Ok(());
        }
        self.install(|| {
            y.par_chunks_exact_mut(len)
                .zip(x.par_chunks_exact(len))
                .zip(norms.par_iter_mut())
                .for_each(|((y, x), norm)| {
                    *norm = (dot(x, x) + epsilon).sqrt() as f32;
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = x / *norm;
                    }
                });
        });
        Ok(())
    }

    fn normalize_rows_backward(
        &self,
        rows: usize,
        len: usize,
        y: &Buffer,
        norms: &Buffer,
        g_y: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        check::shape("normalize_rows_backward", "y", y.len(), &[rows, len])?;
        check_len("normalize_rows_backward", "norms", norms.len(), rows)?;
        check::shape("normalize_rows_backward", "g_y", g_y.len(), &[rows, len])?;
        check::shape("normalize_rows_backward", "g_x", g_x.len(), &[rows, len])?;
        if g_x.is_empty() {
            return Ok(());
        }
        self.install(|| {
            g_x.par_chunks_exact_mut(len)
                .zip(g_y.par_chunks_exact(len))
                .zip(y.par_chunks_exact(len))
                .zip(norms.par_iter())
                .for_each(|(((g_x, g_y), y), &norm)| {
                    let along = dot(g_y, y) as f32;
                    for ((g_x, &g_y), &y) in g_x.iter_mut().zip(g_y).zip(y) {
                        *g_x = (g_y - along * y) / norm;
                    }
                });
        });
        Ok(())
    }
}

/// `Σ a·b` in f64.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}
