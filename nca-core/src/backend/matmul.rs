//! Products of matrices.

use super::Device;
use super::check::elements;
use crate::error::Result;

/// The shape of a batch of products `C = op(A)·op(B)`, op being nothing or transposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatmulShape {
    /// Products, S.
    pub batch: usize,
    /// Rows of C, M.
    pub rows: usize,
    /// Terms of each sum, K.
    pub inner: usize,
    /// Columns of C, N.
    pub columns: usize,
    /// `A` is stored `[K,M]`, not `[M,K]`.
    pub transpose_a: bool,
    /// `B` is stored `[N,K]`, not `[K,N]`.
    pub transpose_b: bool,
}

impl MatmulShape {
    /// `C [M,N] = A [M,K]·B [K,N]`, `batch` times.
    #[must_use]
    pub fn new(batch: usize, rows: usize, inner: usize, columns: usize) -> Self {
        Self {
            batch,
            rows,
            inner,
            columns,
            transpose_a: false,
            transpose_b: false,
        }
    }

    /// The same with `A` stored `[K,M]`.
    #[must_use]
    pub fn transpose_a(self) -> Self {
        Self {
            transpose_a: true,
            ..self
        }
    }

    /// The same with `B` stored `[N,K]`.
    #[must_use]
    pub fn transpose_b(self) -> Self {
        Self {
            transpose_b: true,
            ..self
        }
    }

    /// Elements of one A, `M·K`.
    #[must_use]
    pub fn a_len(&self) -> usize {
        elements(&[self.rows, self.inner])
    }

    /// Elements of one B, `K·N`.
    #[must_use]
    pub fn b_len(&self) -> usize {
        elements(&[self.inner, self.columns])
    }

    /// Elements of one C, `M·N`.
    #[must_use]
    pub fn c_len(&self) -> usize {
        elements(&[self.rows, self.columns])
    }
}

/// Batches of products.
///
/// The gradients are products too, with `g_C` in place of `C`: `g_op(A) = alpha·g_C·op(B)ᵀ`,
/// `g_op(B) = alpha·op(A)ᵀ·g_C`. So there is no other method, and whoever asks for a gradient says
/// by `beta` whether it is added.
pub trait Matmul: Device {
    /// `C = alpha·op(A)·op(B) + beta·C`, all row-major. With `beta = 0`, `C` is written and not read.
    ///
    /// `a [S,M,K]`, `b [S,K,N]` (or transposed), `c [S,M,N]`. An operand of one matrix is shared by
    /// all products.
    fn matmul(
        &self,
        shape: &MatmulShape,
        alpha: f64,
        a: &Self::Buffer,
        b: &Self::Buffer,
        beta: f64,
        c: &mut Self::Buffer,
    ) -> Result<()>;
}
