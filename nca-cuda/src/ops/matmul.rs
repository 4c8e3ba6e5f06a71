//! Products of matrices.

// A struct of C goes to the kernel.
#![allow(unsafe_code)]

use nca_core::Result;
use nca_core::backend::{Matmul, MatmulShape, check};

use super::product::{Extent, Slices, depth_of};
use crate::launch::{Argument, count, launch};
use crate::machine::{Address, Shape};
use crate::module::{Kernel, PrecisionKernel, gradient_kernel};
use crate::workspace::Held;
use crate::{Buffer, Cuda};

const MATMUL_LARGE: PrecisionKernel = gradient_kernel!("matmul", "matmul_large");
const MATMUL_SMALL: PrecisionKernel = gradient_kernel!("matmul", "matmul_small");
const MATMUL_ADD_SLICES: Kernel = Kernel::new("matmul", "matmul_add_slices");

/// Side of the tiles of `matmul_large` and of `matmul_small`.
const LARGE: usize = 128;
const SMALL: usize = 64;

/// Large tiles, at least, for them to be worth it: with fewer, more but smaller ones keep a GPU busier. Sums of
/// more than `LONG` terms count as several: they can be cut.
const ENOUGH: usize = 96;
const LONG: usize = 512;

/// `Matmul` in the kernels.
#[repr(C)]
struct Product {
    a: Address,
    b: Address,
    c: Address,
    a_next: u64,
    b_next: u64,
    a_row: u64,
    a_column: u64,
    b_row: u64,
    b_column: u64,
    rows: i32,
    inner: i32,
    columns: i32,
    tiles: i32,
    tiles_across: i32,
    span: i32,
    split: i32,
    slice: u64,
    alpha: f32,
    beta: f32,
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for Product {}

impl Matmul for Cuda {
    fn matmul(&self, shape: &MatmulShape, alpha: f64, a: &Buffer, b: &Buffer, beta: f64, c: &mut Buffer) -> Result<()> {
        const OP: &str = "matmul";
        let &MatmulShape {
            batch,
            rows,
            inner,
            columns,
            ..
        } = shape;
        let a_next = check::operand(OP, "a", a.len(), batch, shape.a_len())?;
        let b_next = check::operand(OP, "b", b.len(), batch, shape.b_len())?;
        check::shape(OP, "c", c.len(), &[batch, shape.c_len()])?;
        if c.len() == 0 {
            return Ok(());
        }
        let tiles = batch * rows.div_ceil(LARGE) * columns.div_ceil(LARGE) * inner.div_ceil(LONG);
        let large = rows.min(columns) > SMALL && tiles >= ENOUGH;
        let (kernel, side) = if large {
            (MATMUL_LARGE, LARGE)
        } else {
            (MATMUL_SMALL, SMALL)
        };
        let (down, across) = (rows.div_ceil(side), columns.div_ceil(side));
        let tiles = batch * down * across;
        let slices = Slices::of(Extent {
            tiles,
            terms: inner,
            depth: depth_of(self.precision.of_gradients()),
        });
        let (alpha, beta) = (alpha as f32, beta as f32);
        let partial = if slices.count > 1 {
            Some(self.workspace(slices.count * c.len())?)
        } else {
            None
        };
        let strides = |transposed: bool, stored: usize| {
            let stored = stored as u64;
            if transposed { (1, stored) } else { (stored, 1) }
        };
        let (a_row, a_column) = strides(shape.transpose_a, if shape.transpose_a { rows } else { inner });
        let (b_row, b_column) = strides(shape.transpose_b, if shape.transpose_b { inner } else { columns });
        let product = Product {
            a: a.address(),
            b: b.address(),
            c: partial.as_ref().map_or(c.address(), Held::address),
            a_next: a_next as u64,
            b_next: b_next as u64,
            a_row,
            a_column,
            b_row,
            b_column,
            rows: count(OP, "rows", rows)?,
            inner: count(OP, "terms", inner)?,
            columns: count(OP, "columns", columns)?,
            tiles: (down * across) as i32,
            tiles_across: across as i32,
            span: slices.span as i32,
            split: i32::from(slices.count > 1),
            slice: c.len() as u64,
            alpha,
            beta,
        };
        let blocks = count(OP, "tiles", tiles)? as u32;
        launch!(
            self,
            *kernel.of(self.precision),
            Shape::grid([blocks, slices.count as u32, 1]),
            product
        )?;
        let Some(partial) = partial else { return Ok(()) };
        launch!(
            self,
            MATMUL_ADD_SLICES,
            Shape::linear(c.len()),
            partial.address(),
            c.address(),
            c.len() as u64,
            slices.count as i32,
            alpha,
            beta,
        )
    }
}
