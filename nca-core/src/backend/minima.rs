//! Smallest elements of the rows and columns of a matrix: who is nearest to whom.

use super::Device;
use crate::error::Result;

/// Minima along both sides of each matrix of a batch.
pub trait Minima: Device {
    /// `row_min[s, i] = min_j x[s, i, j]`, at `j = row_at[s, i]`; `column_min[s, j] = min_i x[s, i, j]`,
    /// at `i = column_at[s, j]`. Of equal elements the first counts; NaN is smaller than any number.
    ///
    /// `x [S,M,N]` → `[S,M]` and `[S,N]`: `batch` is S, `rows` M and `columns` N, both positive.
    fn minima(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        x: &Self::Buffer,
        row_min: &mut Self::Buffer,
        row_at: &mut Self::Indices,
        column_min: &mut Self::Buffer,
        column_at: &mut Self::Indices,
    ) -> Result<()>;

    /// `g_x[s, i, j] = g_row[s, i]` where `j = row_at[s, i]`, plus `g_column[s, j]` where
    /// `i = column_at[s, j]`, else 0 (`=`).
    fn minima_backward(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        row_at: &Self::Indices,
        column_at: &Self::Indices,
        g_row: &Self::Buffer,
        g_column: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
