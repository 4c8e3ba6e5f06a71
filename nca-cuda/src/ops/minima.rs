//! Smallest elements of the rows and columns of a matrix.

use nca_core::Result;
use nca_core::backend::{Minima, check};

use crate::launch::{MAX_ROWS, count, launch};
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda, Indices};

const MINIMA_ROWS: Kernel = Kernel::new("minima", "minima_rows");
const MINIMA_COLUMNS: Kernel = Kernel::new("minima", "minima_columns");
const MINIMA_BACKWARD: Kernel = Kernel::new("minima", "minima_backward");

/// Columns of a block, and threads that share a row: a warp.
const WARP: usize = 32;

impl Minima for Cuda {
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
        const OP: &str = "minima";
        check::shape(OP, "x", x.len(), &[batch, rows, columns])?;
        check::shape(OP, "row_min", row_min.len(), &[batch, rows])?;
        check::shape(OP, "row_at", row_at.0.len(), &[batch, rows])?;
        check::shape(OP, "column_min", column_min.len(), &[batch, columns])?;
        check::shape(OP, "column_at", column_at.0.len(), &[batch, columns])?;
        check::matrix(OP, rows, columns)?;
        check_counts(OP, [batch, rows, columns])?;
        launch!(
            self,
            MINIMA_ROWS,
            Shape::linear(batch * rows * WARP),
            x.address(),
            (batch * rows) as u64,
            columns as u32,
            row_min.address(),
            row_at.0.address(),
        )?;
        launch!(
            self,
            MINIMA_COLUMNS,
            Shape::grid([columns.div_ceil(WARP) as u32, batch.min(MAX_ROWS) as u32, 1]),
            x.address(),
            batch as u32,
            rows as u32,
            columns as u32,
            column_min.address(),
            column_at.0.address(),
        )
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
        const OP: &str = "minima_backward";
        check::shape(OP, "row_at", row_at.0.len(), &[batch, rows])?;
        check::shape(OP, "column_at", column_at.0.len(), &[batch, columns])?;
        check::shape(OP, "g_row", g_row.len(), &[batch, rows])?;
        check::shape(OP, "g_column", g_column.len(), &[batch, columns])?;
        check::shape(OP, "g_x", g_x.len(), &[batch, rows, columns])?;
        check_counts(OP, [batch, rows, columns])?;
        launch!(
            self,
            MINIMA_BACKWARD,
            Shape::blocks(count(OP, "rows", batch * rows)? as u32),
            row_at.0.address(),
            column_at.0.address(),
            g_row.address(),
            g_column.address(),
            g_x.address(),
            rows as u32,
            columns as u32,
        )
    }
}

fn check_counts(op: &'static str, [batch, rows, columns]: [usize; 3]) -> Result<()> {
    for (what, value) in [("batch", batch), ("rows", rows), ("columns", columns)] {
        count(op, what, value)?;
    }
    Ok(())
}
