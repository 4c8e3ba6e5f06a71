//! Columns of a matrix by their indices: feature vectors at chosen positions.

use super::Device;
use crate::error::Result;

/// Some columns of each matrix of a batch, as rows.
pub trait GatherColumns: Device {
    /// `y[s, i, r] = x[s, r, index[s, i]]`.
    ///
    /// `x [S,R,N]`, `index [S,K]` → `y [S,K,R]`: `batch` is S, `rows` R, `columns` N, `count` K.
    /// Indices must be below N; a backend that can see them returns
    /// [`Error::Invalid`](crate::Error::Invalid) otherwise.
    fn gather_columns(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        count: usize,
        x: &Self::Buffer,
        index: &Self::Indices,
        y: &mut Self::Buffer,
    ) -> Result<()>;

    /// `g_x[s, r, index[s, i]] = g_y[s, i, r]`, 0 in the other columns (`=`).
    ///
    /// The indices of a sample must differ from each other: nothing is added up.
    fn gather_columns_backward(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        count: usize,
        index: &Self::Indices,
        g_y: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
