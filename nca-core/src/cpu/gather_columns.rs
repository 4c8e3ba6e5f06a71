//! Columns of a matrix by their indices.

use rayon::prelude::*;

use super::{Buffer, Cpu, Indices};
use crate::backend::{GatherColumns, check};
use crate::error::Result;

/// Columns gathered together, so that a row of `x` is visited once for all of them.
const BLOCK: usize = 16;

impl GatherColumns for Cpu {
    fn gather_columns(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        count: usize,
        x: &Buffer,
        index: &Indices,
        y: &mut Buffer,
    ) -> Result<()> {
        check::shape("gather_columns", "x", x.len(), &[batch, rows, columns])?;
        check::index("gather_columns", "index", &index.0, &[batch, count], columns)?;
        check::shape("gather_columns", "y", y.len(), &[batch, count, rows])?;
        if y.is_empty() {
            return Ok(());
        }
        self.install(|| {
            y.par_chunks_exact_mut(count * rows).enumerate().for_each(|(s, y)| {
                let x = &x[s * rows * columns..][..rows * columns];
                y.par_chunks_mut(BLOCK * rows)
                    .zip(index.0[s * count..][..count].par_chunks(BLOCK))
                    .for_each(|(y, index)| {
                        for (r, x) in x.chunks_exact(columns).enumerate() {
                            for (y, &i) in y.iter_mut().skip(r).step_by(rows).zip(index) {
                                *y = x[i as usize];
                            }
                        }
                    });
            });
        });
        Ok(())
    }

    fn gather_columns_backward(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        count: usize,
        index: &Indices,
        g_y: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        check::index("gather_columns_backward", "index", &index.0, &[batch, count], columns)?;
        check::shape("gather_columns_backward", "g_y", g_y.len(), &[batch, count, rows])?;
        check::shape("gather_columns_backward", "g_x", g_x.len(), &[batch, rows, columns])?;
        if g_x.is_empty() {
            return Ok(());
        }
        self.install(|| {
            g_x.par_chunks_exact_mut(columns).enumerate().for_each(|(i, g_x)| {
                let (s, r) = (i / rows, i % rows);
                let g_y = &g_y[s * count * rows..][..count * rows];
                g_x.fill(0.0);
                for (&i, &g) in index.0[s * count..][..count]
                    .iter()
                    .zip(g_y.iter().skip(r).step_by(rows))
                {
                    g_x[i as usize] = g;
                }
            });
        });
        Ok(())
    }
}
