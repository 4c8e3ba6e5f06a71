//! Products of matrices.
//!
//! `C` is halved until a part is at most [`TILE_ROWS`] × [`TILE_COLUMNS`]; the parts are spread over
//! the threads, and each is one call of ndarray's product (a packed kernel for the machine's vector
//! instructions). Sums are never split, and the cuts follow from the shape alone: the bits do not
//! depend on the number of threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use super::{Buffer, Cpu};
use crate::backend::{Matmul, MatmulShape, check};
use crate::error::{Error, Result};

/// Largest part: packing its operands costs little beside multiplying them.
const TILE_ROWS: usize = 128;
const TILE_COLUMNS: usize = 256;
/// Cuts are at multiples of this, so that the kernel has few ragged edges.
const VECTOR: usize = 16;

impl Matmul for Cpu {
    fn matmul(&self, shape: &MatmulShape, alpha: f64, a: &Buffer, b: &Buffer, beta: f64, c: &mut Buffer) -> Result<()> {
        check::operand("matmul", "a", a.len(), shape.batch, shape.a_len())?;
        check::operand("matmul", "b", b.len(), shape.batch, shape.b_len())?;
        check::shape("matmul", "c", c.len(), &[shape.batch, shape.c_len()])?;
        if c.is_empty() {
            return Ok(());
        }
        let (alpha, beta) = (alpha as f32, beta as f32);
        self.install(|| {
            c.par_chunks_exact_mut(shape.c_len())
                .enumerate()
                .try_for_each(|(s, c)| {
                    let a = operand(
                        "a",
                        matrix(a, s, shape.a_len()),
                        shape.rows,
                        shape.inner,
                        shape.transpose_a,
                    )?;
                    let b = operand(
                        "b",
                        matrix(b, s, shape.b_len()),
                        shape.inner,
                        shape.columns,
                        shape.transpose_b,
                    )?;
                    let found = c.len();
                    let c = ArrayViewMut2::from_shape((shape.rows, shape.columns), c)
                        .map_err(|_| mismatch("c", found, shape.c_len()))?;
                    multiply(alpha, &a, &b, beta, c);
                    Ok(())
                })
        })
    }
}

/// Matrix `s`, or the only one.
fn matrix(buffer: &Buffer, s: usize, len: usize) -> &[f32] {
    if buffer.len() == len {
        buffer
    } else {
        &buffer[s * len..][..len]
    }
}

/// A matrix as it is multiplied.
fn operand<'a>(
    what: &'static str,
    values: &'a [f32],
    rows: usize,
    columns: usize,
    transposed: bool,
) -> Result<ArrayView2<'a, f32>> {
    let stored = if transposed { (columns, rows) } else { (rows, columns) };
    let view = ArrayView2::from_shape(stored, values).map_err(|_| mismatch(what, values.len(), rows * columns))?;
    Ok(if transposed { view.reversed_axes() } else { view })
}

fn mismatch(what: &'static str, found: usize, expected: usize) -> Error {
    Error::Length {
        op: "matmul",
        what,
        found,
        expected,
    }
}

/// `C = alpha·A·B + beta·C`, cut until it is small.
fn multiply(alpha: f32, a: &ArrayView2<'_, f32>, b: &ArrayView2<'_, f32>, beta: f32, mut c: ArrayViewMut2<'_, f32>) {
    let (rows, columns) = c.dim();
    if columns > TILE_COLUMNS {
        let middle = (columns / 2).next_multiple_of(VECTOR);
        let (left, right) = b.split_at(Axis(1), middle);
        let (c_left, c_right) = c.split_at(Axis(1), middle);
        rayon::join(
            || multiply(alpha, a, &left, beta, c_left),
            || multiply(alpha, a, &right, beta, c_right),
        );
    } else if rows > TILE_ROWS {
        let middle = (rows / 2).next_multiple_of(VECTOR);
        let (top, bottom) = a.split_at(Axis(0), middle);
        let (c_top, c_bottom) = c.split_at(Axis(0), middle);
        rayon::join(
            || multiply(alpha, &top, b, beta, c_top),
            || multiply(alpha, &bottom, b, beta, c_bottom),
        );
    } else {
        general_mat_mul(alpha, a, b, beta, &mut c);
    }
}
