//! Rows of unit length, whose products are cosines.

use super::Device;
use crate::error::Result;

/// Division of each row by its own norm.
pub trait NormalizeRows: Device {
    /// `norms[r] = √(Σ_j x[r, j]² + epsilon)`, `y[r] = x[r] / norms[r]`.
    ///
    /// `x [R,N]` → `y [R,N]`, `norms [R]`, `rows` being R and `len` N. A positive `epsilon` makes it
    /// smooth at 0.
    fn normalize_rows(
        &self,
        rows: usize,
        len: usize,
        epsilon: f64,
        x: &Self::Buffer,
        y: &mut Self::Buffer,
        norms: &mut Self::Buffer,
    ) -> Result<()>;

    /// `g_x[r] = (g_y[r] − (g_y[r]·y[r]) y[r]) / norms[r]` (`=`), all `[R,N]`.
    fn normalize_rows_backward(
        &self,
        rows: usize,
        len: usize,
        y: &Self::Buffer,
        norms: &Self::Buffer,
        g_y: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
