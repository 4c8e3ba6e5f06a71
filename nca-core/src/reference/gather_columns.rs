//! Columns of a matrix by their indices.

use super::{Reference, view, view_mut};
use crate::backend::GatherColumns;
use crate::error::{Error, Result};
use crate::real::Real;

impl<T: Real> GatherColumns for Reference<T> {
    fn gather_columns(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        count: usize,
        x: &Vec<T>,
        index: &Vec<u32>,
        y: &mut Vec<T>,
    ) -> Result<()> {
        // x [S,R,N], index [S,K] -> y [S,K,R]. Backward needs index.
        const OP: &str = "gather_columns";
        let x = view(OP, "x", x, (batch, rows, columns))?;
        let index = view(OP, "index", index, (batch, count))?;
        let mut y = view_mut(OP, "y", y, (batch, count, rows))?;
        for ((s, i, r), y) in y.indexed_iter_mut() {
            *y = x[[s, r, column(OP, index[[s, i]], columns)?]];
        }
        Ok(())
    }

    fn gather_columns_backward(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        count: usize,
        index: &Vec<u32>,
        g_y: &Vec<T>,
        g_x: &mut Vec<T>,
    ) -> Result<()> {
        // g_y [S,K,R] -> g_x [S,R,N] (=).
        const OP: &str = "gather_columns_backward";
        let index = view(OP, "index", index, (batch, count))?;
        let g_y = view(OP, "g_y", g_y, (batch, count, rows))?;
        let mut g_x = view_mut(OP, "g_x", g_x, (batch, rows, columns))?;
        g_x.fill(T::zero());
        for ((s, i, r), &g) in g_y.indexed_iter() {
            g_x[[s, r, column(OP, index[[s, i]], columns)?]] = g;
        }
        Ok(())
    }
}

/// An index, which must be below `columns`.
fn column(op: &'static str, index: u32, columns: usize) -> Result<usize> {
    let column = index as usize;
    if column < columns {
        Ok(column)
    } else {
        Err(Error::invalid(
            format!("{op}: index"),
            index,
            format!("below {columns}"),
        ))
    }
}
