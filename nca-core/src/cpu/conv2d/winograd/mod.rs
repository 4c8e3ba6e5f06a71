//! Convolution with 3 × 3 kernels by Winograd's algorithm on tiles of 4 × 4 outputs.
//!
//! A tile's 6 × 6 inputs and a filter are each transformed to 36 numbers, whose products are summed over
//! the channels, a matrix product for each of them, and transformed to 16 outputs: 36 multiplications
//! instead of 144. Rows of tiles are transposed once, so that channels are lanes, and written back the
//! same way.
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

mod points;
mod strip;

use self::points::{Grid, KERNEL, POINTS, SIDE, STEP, transform_inputs, transform_outputs, transform_weights};
use self::strip::Planes;
use super::super::Cpu;
use super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::gemm::{Matrix, Panels, most_padded, multiply_rows};
use super::super::simd::{Isa, Kernel, lanes};
use super::tiles::{Costs, Layout, Tiling};
use super::{Correlation, Work};

/// As measured.
const COSTS: Costs = Costs {
    product: 42,
    tile: 450,
    filter: 500,
};

/// Transformed filters that a cache holds: 8 MiB.
const CACHED_FLOATS: usize = 2 << 20;
/// What a transformed filter costs beside that if it must be written to memory and read back, in multiply-adds of vectors,
/// as measured: it has 36 floats, where direct sums read nine once.
const FAR: usize = 340;

/// Floats of the transformed tiles of a task.
const TASK_FLOATS: usize = 400_000;

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
    let memory = if filter_floats(work) > CACHED_FLOATS {
        FAR * work.inputs * work.outputs.next_multiple_of(work.lanes)
    } else {
        0
    };
    COSTS.of(Tiling::new(work.batch, STEP, work.out).count(), work) + memory
}

/// Floats of all transformed filters.
pub(super) fn filter_floats(work: Work) -> usize {
    POINTS * work.inputs * work.outputs.next_multiple_of(work.lanes)
}

/// A convolution, and how it is done.
#[derive(Clone, Copy)]
struct Job<'a> {
    of: Correlation<'a>,
    tiling: Tiling,
    /// Tiles of a task.
    chunk: usize,
    filter_layout: Layout,
    source_layout: Layout,
    result_layout: Layout,
}

/// Memory of a task.
#[derive(Clone, Copy)]
struct Memory {
    /// Rows of neighbouring tiles.
    strip: *mut f32,
    source: *mut f32,
    results: *mut f32,
}

impl Cpu {
    /// As [`Cpu::correlate_fft`], for kernels of three.
    pub(super) fn correlate_winograd(&self, correlation: Correlation<'_>) {
        let lanes = lanes(self.simd, usize::MAX);
        let tiling = Tiling::new(correlation.batch, STEP, correlation.out);
        let (inputs, outputs) = (correlation.filters.inputs, correlation.filters.outputs);
        let padded = |channels: usize| channels.next_multiple_of(lanes);
        // A multiple of the heights of register tiles.
        let chunk = tiling.chunk(TASK_FLOATS, POINTS * (padded(inputs) + padded(outputs)), 24);
        let layout = |rows: usize, channels: usize| Layout::new(POINTS, rows, padded(channels), 0);
        let job = Job {
            of: correlation,
            tiling,
            chunk,
            filter_layout: layout(inputs, outputs),
            source_layout: layout(most_padded(chunk), inputs),
            result_layout: layout(most_padded(chunk), outputs),
        };
        self.arenas.reserve_threads(|carver| job.carve(carver, lanes));
        let arenas = &self.arenas;
        self.filters_then_tiles(
            job.filter_layout,
            inputs,
            tiling.count().div_ceil(chunk),
            |filters, input| TransformFilters {
                job,
                arenas,
                filters,
                input,
            },
            |filters, task| Tiles {
                job,
                arenas,
                filters,
                task,
            },
        );
    }
}

impl Job<'_> {
    fn carve(&self, carver: &mut Carver, lanes: usize) -> Memory {
        let tiles = self.chunk.min(self.tiling.across);
        Memory {
            strip: carver.take(SIDE * strip::columns(tiles) * lanes),
            source: carver.take(self.source_layout.len()),
            results: carver.take(self.result_layout.len()),
        }
    }

    /// The runs of neighbours among `count` tiles from `first` on: position in the run's task, tile,
    /// number.
    fn runs(&self, first: usize, count: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let across = self.tiling.across;
        let mut done = 0;
        std::iter::from_fn(move || {
            let (at, tile) = (done, first + done);
            let run = (across - tile % across).min(count - done);
            done += run;
            (run > 0).then_some((at, tile, run))
        })
    }
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

/// Transforms the filters of one input.
struct TransformFilters<'a> {
    job: Job<'a>,
    arenas: &'a Arenas,
    filters: Shared<f32>,
    input: usize,
}

impl Kernel for TransformFilters<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let filters = self.job.of.filters;
        let mut memory = self.arenas.thread();
        let strip = carve(&mut memory, |carver| self.job.carve(carver, S::LANES)).strip;
        // SAFETY: a strip has more than 9 columns; each input has its own row.
        unsafe {
            for block in 0..filters.outputs.div_ceil(S::LANES) {
                for tap in 0..KERNEL * KERNEL {
                    s.store(strip.add(tap * S::LANES), s.splat(0.0));
                }
                for lane in 0..S::LANES.min(filters.outputs - block * S::LANES) {
                    let taps = filters.taps(block * S::LANES + lane, self.input);
                    for (tap, &weight) in taps.iter().enumerate() {
                        let tap = if filters.adjoint { taps.len() - 1 - tap } else { tap };
                        *strip.add(tap * S::LANES + lane) = weight;
                    }
                }
                let from = Grid {
                    start: strip,
                    row: KERNEL * S::LANES,
                    column: S::LANES,
                };
                let to = self.job.filter_layout.grid::<S>(self.filters.get(), self.input, block);
                transform_weights(s, from, to);
            }
        }
    }
}

/// A task: some tiles, all channels.
struct Tiles<'a> {
    job: Job<'a>,
    arenas: &'a Arenas,
    filters: Shared<f32>,
    task: usize,
}

impl Kernel for Tiles<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let job = &self.job;
        let Correlation { source, out, .. } = job.of;
        let (inputs, outputs) = (job.of.filters.inputs, job.of.filters.outputs);
        let first = self.task * job.chunk;
        let count = job.chunk.min(job.tiling.count() - first);
        let mut memory = self.arenas.thread();
        let memory = carve(&mut memory, |carver| job.carve(carver, S::LANES));
        let strip = Grid {
            start: memory.strip,
            row: strip::columns(job.chunk.min(job.tiling.across)) * S::LANES,
            column: S::LANES,
        };
        // SAFETY: the layouts have the padded rows of a task, whose padding holds old numbers, as do its
        // products; tiles write outputs of their own.
        unsafe {
            for (at, tile, run) in job.runs(first, count) {
                let (sample, y, x) = job.tiling.place(tile);
                for block in 0..inputs.div_ceil(S::LANES) {
                    let channel = block * S::LANES;
                    let plane = (sample * inputs + channel) * source.0 * source.1;
                    let planes = Planes {
                        start: job.of.x.as_ptr().add(plane).cast_mut(),
                        channels: S::LANES.min(inputs - channel),
                        height: source.0,
                        width: source.1,
                    };
                    let (y, x) = (y as isize - job.of.margin, x as isize - job.of.margin);
                    planes.read(s, y, x, STEP * run + SIDE - STEP, strip);
                    for i in 0..run {
                        let from = Grid {
                            start: strip.start.add(i * STEP * S::LANES),
                            ..strip
                        };
                        transform_inputs(s, from, job.source_layout.grid::<S>(memory.source, at + i, block));
                    }
                }
            }
            let (panels, vectors) = (Panels::new::<S>(count), outputs.div_ceil(S::LANES));
            for point in 0..POINTS {
                let source = job.source_layout.at_point(memory.source, point);
                let filters = job.filter_layout.at_point(self.filters.get(), point);
                let results = job.result_layout.at_point(memory.results, point);
                multiply_rows(s, panels, inputs, source, filters, vectors, results);
            }
            for (at, tile, run) in job.runs(first, count) {
                let (sample, y, x) = job.tiling.place(tile);
                for block in 0..vectors {
                    let channel = block * S::LANES;
                    let planes = Planes {
                        start: job.of.y.get().add((sample * outputs + channel) * out.0 * out.1),
                        channels: S::LANES.min(outputs - channel),
                        height: out.0,
                        width: out.1,
                    };
                    let mut bias = [0.0; 16];
                    if let Some(from) = job.of.bias {
                        bias[..planes.channels].copy_from_slice(&from[channel..][..planes.channels]);
                    }
                    let bias = s.load(bias.as_ptr());
                    for i in 0..run {
                        let to = Grid {
                            start: strip.start.add(i * STEP * S::LANES),
                            ..strip
                        };
                        transform_outputs(s, job.result_layout.grid::<S>(memory.results, at + i, block), bias, to);
                    }
                    planes.write(s, y, x, STEP * run, strip);
                }
            }
        }
    }
}
