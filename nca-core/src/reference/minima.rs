//! Smallest elements of the rows and columns of a matrix.

use super::{Reference, view, view_mut};
use crate::backend::{Minima, check};
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Minima for Reference<T> {
    fn minima(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        x: &Vec<T>,
        row_min: &mut Vec<T>,
        row_at: &mut Vec<u32>,
        column_min: &mut Vec<T>,
        column_at: &mut Vec<u32>,
    ) -> Result<()> {
        // x [S,M,N] -> row_min, row_at [S,M]; column_min, column_at [S,N]. Backward needs both `at`.
        const OP: &str = "minima";
        let x = view(OP, "x", x, (batch, rows, columns))?;
        let mut row_min = view_mut(OP, "row_min", row_min, (batch, rows))?;
        let mut row_at = view_mut(OP, "row_at", row_at, (batch, rows))?;
        let mut column_min = view_mut(OP, "column_min", column_min, (batch, columns))?;
        let mut column_at = view_mut(OP, "column_at", column_at, (batch, columns))?;
        check::matrix(OP, rows, columns)?;
        for ((s, i, j), &v) in x.indexed_iter() {
            if j == 0 || is_less(v, row_min[[s, i]]) {
                (row_min[[s, i]], row_at[[s, i]]) = (v, j as u32);
            }
            if i == 0 || is_less(v, column_min[[s, j]]) {
                (column_min[[s, j]], column_at[[s, j]]) = (v, i as u32);
            }
        }
        Ok(())
    }

    fn minima_backward(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        row_at: &Vec<u32>,
        column_at: &Vec<u32>,
        g_row: &Vec<T>,
        g_column: &Vec<T>,
        g_x: &mut Vec<T>,
    ) -> Result<()> {
        // g_row [S,M], g_column [S,N] -> g_x [S,M,N] (=).
        const OP: &str = "minima_backward";
        let row_at = view(OP, "row_at", row_at, (batch, rows))?;
        let column_at = view(OP, "column_at", column_at, (batch, columns))?;
        let g_row = view(OP, "g_row", g_row, (batch, rows))?;
        let g_column = view(OP, "g_column", g_column, (batch, columns))?;
        let mut g_x = view_mut(OP, "g_x", g_x, (batch, rows, columns))?;
        for ((s, i, j), g) in g_x.indexed_iter_mut() {
            *g = T::zero();
            if row_at[[s, i]] as usize == j {
                *g += g_row[[s, i]];
            }
            if column_at[[s, j]] as usize == i {
                *g += g_column[[s, j]];
            }
        }
        Ok(())
    }
}

/// `v < min`; NaN is smaller than any number.
fn is_less<T: Real>(v: T, min: T) -> bool {
    v < min || (v.is_nan() && !min.is_nan())
}
