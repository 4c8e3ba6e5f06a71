//! Smallest elements of the rows and columns of a matrix.

use rayon::prelude::*;

use super::{Buffer, Cpu, Indices};
use crate::backend::{Minima, check};
use crate::error::Result;

/// Columns whose minima a task keeps in L1 while the rows stream past.
const BLOCK: usize = 256;

impl Minima for Cpu {
    fn minima(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        x: &Buffer,
        row_min: &mut Buffer,
        row_at: &mut Indices,
        column_min: &mut Buffer,
        column_at: &mut Indices,
    ) -> Result<()> {
        check::shape("minima", "x", x.len(), &[batch, rows, columns])?;
        check::shape("minima", "row_min", row_min.len(), &[batch, rows])?;
        check::shape("minima", "row_at", row_at.0.len(), &[batch, rows])?;
        check::shape("minima", "column_min", column_min.len(), &[batch, columns])?;
        check::shape("minima", "column_at", column_at.0.len(), &[batch, columns])?;
        check::matrix("minima", rows, columns)?;
        if x.is_empty() {
            return Ok(());
        }
        self.install(|| {
            x.par_chunks_exact(columns)
                .zip(row_min.par_iter_mut())
                .zip(&mut row_at.0)
                .for_each(|((x, min), at)| {
                    (*min, *at) = (x[0], 0);
                    for (&v, j) in x.iter().zip(0..) {
                        if is_less(v, *min) {
                            (*min, *at) = (v, j);
                        }
                    }
                });
            column_min
                .par_chunks_exact_mut(columns)
                .zip(column_at.0.par_chunks_exact_mut(columns))
                .zip(x.par_chunks_exact(rows * columns))
                .for_each(|((min, at), x)| {
                    min.par_chunks_mut(BLOCK)
                        .zip(at.par_chunks_mut(BLOCK))
                        .enumerate()
                        .for_each(|(block, (min, at))| column_minima(&x[block * BLOCK..], columns, min, at));
                });
        });
        Ok(())
    }

    fn minima_backward(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        row_at: &Indices,
        column_at: &Indices,
        g_row: &Buffer,
        g_column: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        check::shape("minima_backward", "row_at", row_at.0.len(), &[batch, rows])?;
        check::shape("minima_backward", "column_at", column_at.0.len(), &[batch, columns])?;
        check::shape("minima_backward", "g_row", g_row.len(), &[batch, rows])?;
        check::shape("minima_backward", "g_column", g_column.len(), &[batch, columns])?;
        check::shape("minima_backward", "g_x", g_x.len(), &[batch, rows, columns])?;
        if g_x.is_empty() {
            return Ok(());
        }
        self.install(|| {
            g_x.par_chunks_exact_mut(columns).enumerate().for_each(|(row, g_x)| {
                let (s, i) = (row / rows, (row % rows) as u32);
                let nearest = column_at.0[s * columns..][..columns]
                    .iter()
                    .zip(&g_column[s * columns..]);
                for (g_x, (&at, &g)) in g_x.iter_mut().zip(nearest) {
                    *g_x = if at == i { g } else { 0.0 };
                }
                if let Some(g_x) = g_x.get_mut(row_at.0[row] as usize) {
                    *g_x += g_row[row];
                }
            });
        });
        Ok(())
    }
}

/// Minima of as many columns as `min` has, from column 0 of `x`, whose rows are `stride` apart.
fn column_minima(x: &[f32], stride: usize, min: &mut [f32], at: &mut [u32]) {
    min.copy_from_slice(&x[..min.len()]);
    at.fill(0);
    for (x, i) in x.chunks(stride).zip(0..) {
        for ((&v, min), at) in x.iter().zip(&mut *min).zip(&mut *at) {
            if is_less(v, *min) {
                (*min, *at) = (v, i);
            }
        }
    }
}

/// `v < min`; NaN is smaller than any number.
fn is_less(v: f32, min: f32) -> bool {
    v < min || (v.is_nan() && !min.is_nan())
}
