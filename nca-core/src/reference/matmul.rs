//! Products of matrices.

use ndarray::{ArrayView2, ArrayView3, Axis};

use super::{Reference, view, view_mut};
use crate::backend::{Matmul, MatmulShape, check};
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Matmul for Reference<T> {
    fn matmul(&self, shape: &MatmulShape, alpha: f64, a: &Vec<T>, b: &Vec<T>, beta: f64, c: &mut Vec<T>) -> Result<()> {
        // a [S,M,K], b [S,K,N] -> c [S,M,N] (beta). Gradients are products with a and b, so either may be one.
        let (a, b) = (self.gradient_factors(a), self.gradient_factors(b));
        let a = operand("a", &a, shape.batch, [shape.rows, shape.inner], shape.transpose_a)?;
        let b = operand("b", &b, shape.batch, [shape.inner, shape.columns], shape.transpose_b)?;
        let mut c = view_mut("matmul", "c", c, (shape.batch, shape.rows, shape.columns))?;
        for ((s, i, j), c) in c.indexed_iter_mut() {
            let (a, b): (ArrayView2<'_, T>, ArrayView2<'_, T>) = (shared(&a, s), shared(&b, s));
            let product = (0..shape.inner).map(|k| a[[i, k]] * b[[k, j]]).sum::<T>() * T::of(alpha);
            *c = if beta == 0.0 {
                product
            } else {
                product + T::of(beta) * *c
            };
        }
        Ok(())
    }
}

/// The matrices of an operand as they are multiplied: `[S,·,·]`, or `[1,·,·]` for a shared one.
fn operand<'a, T>(
    what: &'static str,
    buffer: &'a [T],
    batch: usize,
    [rows, columns]: [usize; 2],
    transposed: bool,
) -> Result<ArrayView3<'a, T>> {
    let shared = check::operand("matmul", what, buffer.len(), batch, check::elements(&[rows, columns]))? == 0;
    let count = if shared { 1 } else { batch };
    if transposed {
        let stored = view("matmul", what, buffer, (count, columns, rows))?;
        Ok(stored.permuted_axes([0, 2, 1]))
    } else {
        view("matmul", what, buffer, (count, rows, columns))
    }
}

/// Matrix `s`, or the only one.
fn shared<'a, T>(matrices: &'a ArrayView3<'_, T>, s: usize) -> ArrayView2<'a, T> {
    matrices.index_axis(Axis(0), if matrices.len_of(Axis(0)) == 1 { 0 } else { s })
}
