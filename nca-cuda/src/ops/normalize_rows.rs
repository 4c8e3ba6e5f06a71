//! Rows of unit length.

use nca_core::backend::{NormalizeRows, check};
use nca_core::{Result, check_len};

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const NORMALIZE_ROWS: Kernel = Kernel::new("normalize_rows", "normalize_rows");
const NORMALIZE_ROWS_BACKWARD: Kernel = Kernel::new("normalize_rows", "normalize_rows_backward");

/// Threads that share a row.
const WARP: usize = 32;

impl NormalizeRows for Cuda {
    fn normalize_rows(
        &self,
        rows: usize,
        len: usize,
        epsilon: f64,
        x: &Buffer,
        y: &mut Buffer,
        norms: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "normalize_rows";
        check::shape(OP, "x", x.len(), &[rows, len])?;
        check::shape(OP, "y", y.len(), &[rows, len])?;
        check_len(OP, "norms", norms.len(), rows)?;
        launch!(
            self,
            NORMALIZE_ROWS,
            Shape::linear(rows * WARP),
            x.address(),
            y.address(),
            norms.address(),
            rows as u64,
            len as u64,
            epsilon as f32,
        )
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
        const OP: &str = "normalize_rows_backward";
        check::shape(OP, "y", y.len(), &[rows, len])?;
        check_len(OP, "norms", norms.len(), rows)?;
        check::shape(OP, "g_y", g_y.len(), &[rows, len])?;
        check::shape(OP, "g_x", g_x.len(), &[rows, len])?;
        launch!(
            self,
            NORMALIZE_ROWS_BACKWARD,
            Shape::linear(rows * WARP),
            y.address(),
            norms.address(),
            g_y.address(),
            g_x.address(),
            rows as u64,
            len as u64,
        )
    }
}
