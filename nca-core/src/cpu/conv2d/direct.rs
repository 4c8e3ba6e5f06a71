//! Convolution as a matrix product whose right operand is the image itself.
//!
//! Row `(i, ky, kx)` of the operand is the input shifted by `(ky, kx)`, so the micro-kernel reads it
//! through a table of offsets into a zero-padded copy of the image: no im2col. The gradient with
//! respect to the input is the same product with mirrored weights; that with respect to the weights
//! contracts over the positions of whole rows ([`dots`]).

// Kernels on buffers whose lengths have been checked here.
#![allow(unsafe_code)]

use rayon::prelude::*;

use super::super::Cpu;
use super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::gemm::{
    Bias, Blocks, Outer, Panels, Shifted, block_columns, dots, most_padded, most_padded_columns, multiply,
};
use super::super::simd::{Isa, Kernel, dispatch, lanes};
use super::image::Image;
use super::{Filters, Work};
use crate::backend::ConvShape;
use crate::error::Result;

/// Output rows of a task of the product.
const TASK_ROWS: usize = 4;
/// Positions over which a register tile of the weight gradient is summed before it is stored.
const SUMMED_POSITIONS: usize = 768;
/// Groups of rows with weight gradients of their own.
const GROUPS: usize = 16;

/// Cost of a convolution, in multiply-adds of vectors.
pub(super) fn cost(work: Work) -> usize {
    let vectors = work.batch * work.out.0 * work.out.1.div_ceil(work.lanes);
    // Four rows are the least that a register tile takes.
    vectors * work.kernel * work.kernel * work.inputs * work.outputs.next_multiple_of(4)
}

/// Cost of the gradient of the weights: as measured, half as much again.
pub(super) fn gradient_cost(work: Work) -> usize {
    cost(work) + cost(work) / 2
}

/// Memory of a product.
#[derive(Clone, Copy)]
struct Memory {
    image: Shared<f32>,
    weights: Shared<f32>,
    bias: Shared<f32>,
    offsets: Shared<usize>,
}

impl Memory {
    fn carve(carver: &mut Carver, image: &Image, depth: usize, rows: usize) -> Self {
        Self {
            image: Shared(carver.take(image.len())),
            weights: Shared(carver.take(most_padded(rows) * depth)),
            bias: Shared(carver.take(most_padded(rows))),
            offsets: Shared(carver.take(depth)),
        }
    }
}

impl Cpu {
    /// `y[b, r] = bias[r] + Σ_k value(r, k) · (image of x[b], shifted by k)`.
    pub(super) fn correlate_direct(
        &self,
        image: &Image,
        x: &[f32],
        filters: Filters<'_>,
        bias: Option<&[f32]>,
        y: &mut [f32],
    ) -> Result<()> {
        if y.is_empty() {
            return Ok(());
        }
        let (kernel, rows) = (filters.kernel, filters.outputs);
        let depth = image.channels * kernel * kernel;
        let tasks = image.batch * image.out.0.div_ceil(TASK_ROWS);
        let (simd, width) = (self.simd, usize::MAX);
        let y = Shared(y.as_mut_ptr());
        let job = |memory: Memory| {
            // SAFETY: carved for these lengths; nobody else has this memory.
            unsafe {
                image.fill(x, std::slice::from_raw_parts_mut(memory.image.get(), image.len()));
                image.offsets(kernel, std::slice::from_raw_parts_mut(memory.offsets.get(), depth));
            }
            dispatch(
                simd,
                width,
                PackFilters {
                    rows,
                    depth,
                    filters,
                    bias,
                    memory,
                },
            );
            (0..tasks).into_par_iter().for_each(|task| {
                let arenas = &self.arenas;
                dispatch(
                    simd,
                    width,
                    CorrelateRows {
                        image,
                        arenas,
                        memory,
                        rows,
                        depth,
                        task,
                        y,
                    },
                );
            });
        };
        let pieces = |carver: &mut Carver| Memory::carve(carver, image, depth, rows);
        let lanes = lanes(simd, width);
        self.arenas.reserve_threads(|carver| carve_block(carver, rows, lanes))?;
        self.install(|| self.arenas.with_call(pieces, job))
    }
}

/// Scratch of a task: a block of columns of all results.
fn carve_block(carver: &mut Carver, rows: usize, lanes: usize) -> *mut f32 {
    carver.take(most_padded(rows) * block_columns(lanes))
}

/// Packs the left operand of [`Cpu::correlate_direct`].
struct PackFilters<'a> {
    rows: usize,
    depth: usize,
    filters: Filters<'a>,
    bias: Option<&'a [f32]>,
    memory: Memory,
}

impl Kernel for PackFilters<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let panels = Panels::new::<S>(self.rows);
        // SAFETY: `Memory::carve` took room for the padded rows; tasks have not begun.
        let (weights, bias) = unsafe {
            (
                std::slice::from_raw_parts_mut(self.memory.weights.get(), panels.padded() * self.depth),
                std::slice::from_raw_parts_mut(self.memory.bias.get(), panels.padded()),
            )
        };
        self.filters.pack(panels, 0, 0..self.filters.inputs, weights);
        panels.pack(1, bias, |row, _| self.bias.map_or(0.0, |bias| bias[row]));
    }
}

/// Some output rows of one sample.
struct CorrelateRows<'a> {
    image: &'a Image,
    arenas: &'a Arenas,
    memory: Memory,
    rows: usize,
    depth: usize,
    task: usize,
    /// `[B, rows, out]`; each task writes its own rows of every plane.
    y: Shared<f32>,
}

impl Kernel for CorrelateRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let (image, memory) = (self.image, self.memory);
        let (height, width) = image.out;
        let tasks = height.div_ceil(TASK_ROWS);
        let (sample, first) = (self.task / tasks, self.task % tasks * TASK_ROWS);
        let panels = Panels::new::<S>(self.rows);
        let ld = block_columns(S::LANES);
        let mut scratch = self.arenas.thread();
        let block = carve(&mut scratch, |carver| carve_block(carver, self.rows, S::LANES));
        // SAFETY: shifted rows stay within the image and its slack; the block has the padded rows;
        // output columns are cut at the width.
        unsafe {
            for y in first..(first + TASK_ROWS).min(height) {
                let start = memory.image.get().add(sample * image.sample() + y * image.pitch);
                for (column, vectors) in Blocks::new::<S>(width.div_ceil(S::LANES)) {
                    let shifted = Shifted {
                        start: start.add(column),
                        offsets: memory.offsets.get(),
                    };
                    let (weights, bias) = (memory.weights.get(), Bias(memory.bias.get()));
                    multiply(s, panels, self.depth, weights, shifted, vectors, block, ld, bias);
                    let columns = (vectors * S::LANES).min(width - column);
                    for row in 0..self.rows {
                        let to = ((sample * self.rows + row) * height + y) * width + column;
                        let to = self.y.get().add(to);
                        to.copy_from_nonoverlapping(block.add(row * ld), columns);
                    }
                }
            }
        }
    }
}

/// Memory of a weight gradient.
#[derive(Clone, Copy)]
struct GradMemory {
    image: Shared<f32>,
    /// Gradient of the output, rows as far apart as those of the image, zeros between.
    g_y: Shared<f32>,
    offsets: Shared<usize>,
    /// A product for each group of rows.
    sums: Shared<f32>,
}

/// How the rows of a batch are dealt to groups.
#[derive(Clone, Copy)]
struct Groups {
    /// Runs of rows, of one sample each.
    runs: usize,
    /// Runs of a sample.
    per_sample: usize,
    /// Rows of a run.
    rows: usize,
    count: usize,
}

impl Groups {
    fn new(image: &Image) -> Self {
        let rows = (SUMMED_POSITIONS / image.pitch).clamp(1, image.out.0);
        let per_sample = image.out.0.div_ceil(rows);
        let runs = image.batch * per_sample;
        Self {
            runs,
            per_sample,
            rows,
            count: runs.min(GROUPS),
        }
    }
}

impl Cpu {
    pub(super) fn weight_gradient_direct(
        &self,
        shape: &ConvShape,
        x: &[f32],
        g_y: &[f32],
        g_weight: &mut [f32],
    ) -> Result<()> {
        let image = &Image::of_input(shape);
        // The gradient with the pitch of the image and no zeros before it.
        let gradient = &Image {
            channels: shape.outputs,
            source: image.out,
            margin: 0,
            height: image.out.0,
            ..*image
        };
        let filter = shape.inputs * shape.kernel * shape.kernel;
        let outer_len = most_padded(shape.outputs) * most_padded_columns(filter);
        let groups = Groups::new(image);
        let pieces = |carver: &mut Carver| GradMemory {
            image: Shared(carver.take(image.len())),
            // Rows that pad the outputs are read too, and ignored.
            g_y: Shared(carver.take(gradient.len() + most_padded(0) * gradient.plane())),
            offsets: Shared(carver.take(most_padded_columns(filter))),
            sums: Shared(carver.take(groups.count * outer_len)),
        };
        let job = |memory: GradMemory| {
            // SAFETY: carved for these lengths; nobody else has this memory.
            let sums = unsafe {
                image.fill(x, std::slice::from_raw_parts_mut(memory.image.get(), image.len()));
                gradient.fill(g_y, std::slice::from_raw_parts_mut(memory.g_y.get(), gradient.len()));
                let offsets = std::slice::from_raw_parts_mut(memory.offsets.get(), most_padded_columns(filter));
                image.offsets(shape.kernel, offsets);
                std::slice::from_raw_parts_mut(memory.sums.get(), groups.count * outer_len)
            };
            sums.par_chunks_exact_mut(outer_len)
                .enumerate()
                .for_each(|(group, sums)| {
                    let job = GradGroup {
                        image,
                        gradient,
                        groups,
                        memory,
                        filter,
                        group,
                        sums,
                    };
                    dispatch(self.simd, usize::MAX, job);
                });
            dispatch(
                self.simd,
                usize::MAX,
                AddSums {
                    sums,
                    outer_len,
                    filter,
                    g_weight,
                },
            );
        };
        self.install(|| self.arenas.with_call(pieces, job))
    }
}

/// The weight gradient of one group of rows.
struct GradGroup<'a> {
    image: &'a Image,
    gradient: &'a Image,
    groups: Groups,
    memory: GradMemory,
    filter: usize,
    group: usize,
    sums: &'a mut [f32],
}

impl Kernel for GradGroup<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let (image, gradient, groups, memory) = (self.image, self.gradient, self.groups, self.memory);
        let outer = Outer::new::<S>(gradient.channels, self.filter);
        let cut = |i: usize| i * groups.runs / groups.count;
        for run in cut(self.group)..cut(self.group + 1) {
            let (sample, first) = (run / groups.per_sample, run % groups.per_sample * groups.rows);
            let rows = groups.rows.min(image.out.0 - first);
            // SAFETY: whole rows of the gradient; the shifted image stays within its slack, and what it
            // reads beyond a row meets zeros of the gradient.
            unsafe {
                let g_y = memory
                    .g_y
                    .get()
                    .add(sample * gradient.sample() + first * gradient.pitch);
                let shifted = Shifted {
                    start: memory.image.get().add(sample * image.sample() + first * image.pitch),
                    offsets: memory.offsets.get(),
                };
                let vectors = rows * image.pitch / S::LANES;
                let fresh = run == cut(self.group);
                let sums = self.sums.as_mut_ptr();
                dots(s, outer, g_y, gradient.plane(), shifted, vectors, sums, fresh);
            }
        }
    }
}

/// Adds the products of all groups, in their order, to the gradient.
struct AddSums<'a> {
    sums: &'a [f32],
    outer_len: usize,
    filter: usize,
    g_weight: &'a mut [f32],
}

impl Kernel for AddSums<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        let Self {
            sums,
            outer_len,
            filter,
            g_weight,
        } = self;
        let outer = Outer::new::<S>(g_weight.len() / filter, filter);
        g_weight
            .par_chunks_exact_mut(filter)
            .enumerate()
            .for_each(|(row, g_weight)| {
                for (column, g) in g_weight.iter_mut().enumerate() {
                    let at = outer.index(row, column);
                    *g += sums.chunks_exact(outer_len).map(|sums| sums[at]).sum::<f32>();
                }
            });
    }
}
