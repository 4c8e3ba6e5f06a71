//! Sorting, the heart of a one-dimensional Wasserstein distance.

use super::Device;
use crate::error::Result;

/// Ascending sort of each row of a matrix.
pub trait SortRows: Device {
    /// `sorted[r, j] = x[r, order[r, j]]`, ascending; equal values keep their order, NaN comes last.
    ///
    /// All `[R,N]`, `rows` being R and `len` N (below 2³²). `x` and `sorted` are different buffers.
    fn sort_rows(
        &self,
        rows: usize,
        len: usize,
        x: &Self::Buffer,
        sorted: &mut Self::Buffer,
        order: &mut Self::Indices,
    ) -> Result<()>;

    /// Undoes the permutation: `g_x[r, order[r, j]] = g_sorted[r, j]` (`=`).
    ///
    /// Indices must be below N; a backend that can see them returns [`Error::Invalid`](crate::Error::Invalid) otherwise.
    fn sort_rows_backward(
        &self,
        rows: usize,
        len: usize,
        order: &Self::Indices,
        g_sorted: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
