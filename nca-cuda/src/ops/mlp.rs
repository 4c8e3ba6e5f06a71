//! The update network, layer by layer.

// A struct of C goes to the kernel.
#![allow(unsafe_code)]

use nca_core::backend::Mlp;
use nca_core::{Grid, NcaConfig, Params, Precision, Result};

use super::nca::{check_automaton, check_lengths, check_params};
use crate::launch::{Argument, MAX_ROWS, launch};
use crate::machine::{Address, Shape};
use crate::module::{Kernel, PrecisionKernel, gradient_kernel, precision_kernel};
use crate::{Buffer, Cuda};

const MLP_PRODUCT: PrecisionKernel = precision_kernel!("mlp", "mlp_product");
const MLP_OUTER: PrecisionKernel = gradient_kernel!("mlp", "mlp_outer");
const MLP_ADD_SLICES: Kernel = Kernel::new("mlp", "mlp_add_slices");
const MLP_ADD_ROWS: Kernel = Kernel::new("mlp", "mlp_add_rows");

/// Rows and columns of a block's part of a product, `TILE` in the kernels.
const TILE: usize = 64;

/// Cells of a slice of a weight gradient, at least: enough work for a block.
const MIN_SPAN: usize = 1024;

/// Floats that the slices of a weight gradient may take together: 64 MiB.
const MAX_PARTIAL: usize = 16 << 20;

/// `Product` in the kernels.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Product {
    a: Address,
    input: Address,
    bias: Address,
    mask: Address,
    out: Address,
    rows: i32,
    inner: i32,
    transposed: i32,
    rectify: i32,
    plane: u64,
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for Product {}

/// Number and span of the slices of a gradient of `len` weights over `cells` cells: each is a layer of blocks.
fn slices_of(len: usize, cells: usize) -> (usize, usize) {
    let wanted = cells.div_ceil(MIN_SPAN).min(MAX_PARTIAL / len).clamp(1, MAX_ROWS);
    let span = cells.div_ceil(wanted).max(1);
    (cells.div_ceil(span), span)
}

impl Mlp for Cuda {
    fn mlp(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        z: &Buffer,
        h: &mut Buffer,
        dx: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "mlp";
        let (inputs, hidden, outputs, cells) = (config.perceived(), config.hidden, config.channels, grid.cells());
        check_automaton(OP, config, grid)?;
        check_params(OP, config, params)?;
        check_lengths(
            OP,
            &[
                ("z", z, inputs * cells),
                ("h", h, hidden * cells),
                ("dx", dx, outputs * cells),
            ],
        )?;
        let first = Product {
            a: params.w1.address(),
            input: z.address(),
            bias: params.b1.address(),
            out: h.address(),
            rows: hidden as i32,
            inner: inputs as i32,
            rectify: 1,
            ..Product::default()
        };
        let second = Product {
            a: params.w2.address(),
            input: h.address(),
            bias: params.b2.as_ref().map_or(0, Buffer::address),
            out: dx.address(),
            rows: outputs as i32,
            inner: hidden as i32,
            ..Product::default()
        };
        self.product(grid, self.precision, first)?;
        self.product(grid, self.precision, second)
    }

    fn mlp_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        z: &Buffer,
        h: &Buffer,
        g_dx: &Buffer,
        g_h: &mut Buffer,
        g_z: &mut Buffer,
        grads: &mut Params<Buffer>,
    ) -> Result<()> {
        const OP: &str = "mlp_backward";
        let (inputs, hidden, outputs, cells) = (config.perceived(), config.hidden, config.channels, grid.cells());
        check_automaton(OP, config, grid)?;
        check_params(OP, config, params)?;
        check_params(OP, config, grads)?;
        check_lengths(
            OP,
            &[
                ("z", z, inputs * cells),
                ("h", h, hidden * cells),
                ("g_dx", g_dx, outputs * cells),
                ("g_h", g_h, hidden * cells),
                ("g_z", g_z, inputs * cells),
            ],
        )?;
        self.outer(grid, (g_dx, outputs), (h, hidden), &grads.w2)?;
        if let Some(b2) = &grads.b2 {
            self.add_rows(grid, g_dx, b2)?;
        }
        let g_hidden = Product {
            a: params.w2.address(),
            input: g_dx.address(),
            mask: h.address(),
            out: g_h.address(),
            rows: hidden as i32,
            inner: outputs as i32,
            transposed: 1,
            ..Product::default()
        };
        let precision = self.precision.of_gradients();
        self.product(grid, precision, g_hidden)?;
        self.outer(grid, (g_h, hidden), (z, inputs), &grads.w1)?;
        self.add_rows(grid, g_h, &grads.b1)?;
        let g_perceived = Product {
            a: params.w1.address(),
            input: g_h.address(),
            out: g_z.address(),
            rows: inputs as i32,
            inner: hidden as i32,
            transposed: 1,
            ..Product::default()
        };
        self.product(grid, precision, g_perceived)
    }
}

impl Cuda {
    fn product(&self, grid: Grid, precision: Precision, product: Product) -> Result<()> {
        let plane = grid.plane();
        let blocks = [plane.div_ceil(TILE), (product.rows as usize).div_ceil(TILE), grid.batch];
        let product = Product {
            plane: plane as u64,
            ..product
        };
        let kernel = MLP_PRODUCT.of(precision);
        launch!(self, *kernel, Shape::grid(blocks.map(|n| n as u32)), product)
    }

    /// `grad [rows, columns] += Σ over cells of g [B,rows,P] times v [B,columns,P]`.
    fn outer(
        &self,
        grid: Grid,
        (g, rows): (&Buffer, usize),
        (v, columns): (&Buffer, usize),
        grad: &Buffer,
    ) -> Result<()> {
        let (len, cells) = (rows * columns, grid.cells());
        let (slices, span) = slices_of(len, cells);
        let partial = self.workspace(slices * len)?;
        let blocks = [columns.div_ceil(TILE), rows.div_ceil(TILE), slices];
        launch!(
            self,
            *MLP_OUTER.of(self.precision),
            Shape::grid(blocks.map(|n| n as u32)),
            g.address(),
            v.address(),
            partial.address(),
            rows as i32,
            columns as i32,
            grid.plane() as u64,
            cells as u64,
            span as u64,
        )?;
        self.add_slices(slices, partial.address(), grad)
    }

    /// `grad += Σ over slices of partial`, in their order; `partial [slices, …]` is the shape of `grad` for each.
    pub(super) fn add_slices(&self, slices: usize, partial: Address, grad: &Buffer) -> Result<()> {
        let len = grad.len();
        launch!(
            self,
            MLP_ADD_SLICES,
            Shape::linear(len),
            partial,
            grad.address(),
            len as u64,
            slices as i32,
        )
    }

    /// `grad [rows] += Σ over cells of g [B,rows,P]`.
    pub(super) fn add_rows(&self, grid: Grid, g: &Buffer, grad: &Buffer) -> Result<()> {
        launch!(
            self,
            MLP_ADD_ROWS,
            Shape::blocks(grad.len() as u32),
            g.address(),
            grad.address(),
            grad.len() as i32,
            grid.batch as i32,
            grid.plane() as u64,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_hold_every_cell_and_are_not_too_many() {
        for len in [1, 12, 4096, MAX_PARTIAL, 2 * MAX_PARTIAL] {
            for cells in [0, 1, 1023, 1025, 1 << 20, 100_000_000, 1 << 31] {
                let (slices, span) = slices_of(len, cells);
                assert!(
                    slices <= MAX_ROWS && slices * span >= cells,
                    "{cells} cells, {len} weights"
                );
                assert!(
                    cells == 0 || (slices - 1) * span < cells,
                    "{cells} cells, {len} weights"
                );
            }
        }
    }
}
