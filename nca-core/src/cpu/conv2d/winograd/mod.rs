//! Convolution with 3 × 3 kernels by Winograd's algorithm on tiles of 4 × 4 outputs.
//!
//! A tile's 6 × 6 inputs and a filter are each transformed to 36 numbers, whose products are summed over
//! the channels, a matrix product for each of them, and transformed to 16 outputs: 36 multiplications
//! instead of 144. Rows of tiles are transposed once, so that channels are lanes, and written back the
//! same way ([`images`]).
//!
//! Filters are four times as large when transformed. Where a cache holds them all, and tiles are many, they are
//! transformed first, and each task has some tiles and all channels ([`by_tiles`]). Otherwise the inputs are transformed
//! first, and each task has some outputs and transforms their filters, some inputs at a time ([`by_outputs`]): memory
//! never sees a transformed filter. The sums are the same ones in the same order.
//!
//! # Rounding
//! With |·| taken of every element of the matrices and numbers, an output differs from the exact one by at
//! most
//!
//! `2⁻²⁴ · (24 + I) · |Aᵀ|·(Σᵢ |G||wᵢ||Gᵀ| ⊙ |Bᵀ||xᵢ||B|)·|A|`:
//!
//! each factor of the transforms is rounded once, each of their six sums has at most four roundings, and
//! the sum over channels has I. That is up to 60 times the magnitudes of the terms; with normal numbers and
//! many channels the error is like that of direct sums (tests), with few it may be several times as large, so
//! they are left to those. Infinities and NaN spoil their tiles.

// Kernels on buffers whose lengths have been checked by the callers.
#![allow(unsafe_code)]

mod by_outputs;
mod by_tiles;
mod filters;
mod images;
mod points;
mod strip;

use self::points::{Grid, KERNEL, POINTS, SIDE, STEP};
use super::super::Cpu;
use super::super::gemm::Matrix;
use super::super::simd::{Isa, lanes};
use super::tiles::{Costs, Layout, Tiling};
use super::{Correlation, Work};
use crate::error::Result;

/// As measured.
const COSTS: Costs = Costs {
    product: 42,
    tile: 450,
    filter: 300,
};

/// Transformed filters that a cache holds, in floats: a task reads all of them.
const CACHED_FLOATS: usize = 256 << 10;

/// Channels below which a sum has too few terms for the errors of the transforms to average out.
const LEAST_INPUTS: usize = 16;

/// Whether the algorithm is for a kernel of this side.
pub(super) fn suits(kernel: usize) -> bool {
    kernel == KERNEL
}

/// Whether its errors are like those of direct sums, among numbers of like size.
pub(super) fn is_accurate(work: Work) -> bool {
    work.inputs >= LEAST_INPUTS
}

/// Cost of a convolution, in multiply-adds of vectors.
pub(super) fn cost(work: Work) -> usize {
    let tiles = Tiling::new(work.batch, STEP, work.out).count();
    let again = if is_by_outputs(work) {
        by_outputs::passes(tiles).saturating_sub(1)
    } else {
        0
    };
    COSTS.of(tiles, work) + again * COSTS.filter * work.inputs * work.outputs.div_ceil(work.lanes)
}

/// Floats of all transformed filters.
fn filter_floats(work: Work) -> usize {
    POINTS * work.inputs * work.outputs.next_multiple_of(work.lanes)
}

/// Whether tasks have outputs, rather than tiles: where filters are many, or tiles too few to be dealt out. (Sums of
/// nothing must be written too, which is left to tasks of tiles.)
fn is_by_outputs(work: Work) -> bool {
    let tiles = Tiling::new(work.batch, STEP, work.out).count();
    let few = by_outputs::passes(tiles) <= 1 && by_outputs::has_several_tasks(work.outputs);
    work.inputs > 0 && (few || filter_floats(work) > CACHED_FLOATS)
}

impl Cpu {
    /// As [`Cpu::correlate_fft`], for kernels of three.
    pub(super) fn correlate_winograd(&self, correlation: Correlation<'_>) -> Result<()> {
        let work = Work {
            batch: correlation.batch,
            kernel: KERNEL,
            inputs: correlation.filters.inputs,
            outputs: correlation.filters.outputs,
            out: correlation.out,
            lanes: lanes(self.simd, usize::MAX),
        };
        if is_by_outputs(work) {
            self.winograd_by_outputs(correlation)
        } else {
            self.winograd_by_tiles(correlation)
        }
    }
}

/// A layout of a matrix for each point.
fn layout(rows: usize, columns: usize) -> Layout {
    Layout::new(POINTS, rows, columns, 0)
}

impl Layout {
    /// The 6 × 6 numbers of a block of channels in a row.
    ///
    /// # Safety
    /// `start` must be valid for [`Layout::len`] floats, and the row and block be there.
    #[inline(always)]
    unsafe fn grid<S: Isa>(self, start: *mut f32, row: usize, block: usize) -> Grid {
        Grid {
            // SAFETY: the caller's condition.
            start: unsafe { start.add(row * self.row + block * S::LANES) },
            row: SIDE * self.stride,
            column: self.stride,
        }
    }

    /// The matrix of a point.
    ///
    /// # Safety
    /// As in [`Layout::grid`].
    #[inline(always)]
    unsafe fn at_point(self, start: *mut f32, point: usize) -> Matrix {
        Matrix {
            // SAFETY: the caller's condition.
            start: unsafe { start.add(point * self.stride) },
            row: self.row,
        }
    }
}
