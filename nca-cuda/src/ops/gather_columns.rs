//! Columns of a matrix by their indices.

use nca_core::Result;
use nca_core::backend::{GatherColumns, check};

use crate::launch::{MAX_ROWS, count as counted, launch};
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda, Indices};

const GATHER_COLUMNS: Kernel = Kernel::new("gather_columns", "gather_columns");
const GATHER_COLUMNS_BACKWARD: Kernel = Kernel::new("gather_columns", "gather_columns_backward");

/// Indices and rows of a block, `SIDE` in the kernels.
const SIDE: usize = 32;

impl GatherColumns for Cuda {
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
        const OP: &str = "gather_columns";
        check::shape(OP, "x", x.len(), &[batch, rows, columns])?;
        check::shape(OP, "index", index.0.len(), &[batch, count])?;
        check::shape(OP, "y", y.len(), &[batch, count, rows])?;
        launch!(
            self,
            GATHER_COLUMNS,
            tiles(OP, [batch, rows, columns, count])?,
            x.address(),
            index.0.address(),
            y.address(),
            rows as u32,
            columns as u32,
            count as u32,
            batch as u32,
        )
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
        const OP: &str = "gather_columns_backward";
        check::shape(OP, "index", index.0.len(), &[batch, count])?;
        check::shape(OP, "g_y", g_y.len(), &[batch, count, rows])?;
        check::shape(OP, "g_x", g_x.len(), &[batch, rows, columns])?;
        if g_x.len() == 0 {
            return Ok(());
        }
        self.machine().clear(g_x.address(), g_x.bytes())?;
        launch!(
            self,
            GATHER_COLUMNS_BACKWARD,
            tiles(OP, [batch, rows, columns, count])?,
            index.0.address(),
            g_y.address(),
            g_x.address(),
            rows as u32,
            columns as u32,
            count as u32,
            batch as u32,
        )
    }
}

/// A block for each tile.
fn tiles(op: &'static str, [batch, rows, columns, count]: [usize; 4]) -> Result<Shape> {
    for (what, value) in [("batch", batch), ("columns", columns), ("indices", count)] {
        counted(op, what, value)?;
    }
    let tiles = rows.div_ceil(SIDE);
    if tiles > MAX_ROWS {
        return Err(nca_core::Error::invalid(
            format!("{op}: rows"),
            rows,
            format!("at most {}", MAX_ROWS * SIDE),
        ));
    }
    Ok(Shape::grid([
        count.div_ceil(SIDE) as u32,
        tiles as u32,
        batch.min(MAX_ROWS) as u32,
    ]))
}
