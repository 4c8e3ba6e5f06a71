//! Convolution of small images by direct sums.
//!
//! As in `direct`, row `(i, ky, kx)` of the right operand is the input shifted by `(ky, kx)`. But the rows of an image lie
//! one after the other, only as far apart as the kernel needs, and count as one long row, whose surplus columns are
//! dropped at the end: a row that is hardly longer than a vector would leave the micro-kernel one broadcast for one
//! multiply-add. And where images are small, the weights are most of what is read. So a task has some outputs of whole
//! images, packs their weights for some inputs at a time, which then stay in its cache, and adds up what these inputs
//! contribute: each weight is read from memory once.

// Kernels on buffers whose lengths have been checked here.
#![allow(unsafe_code)]

use std::ops::Range;

use rayon::prelude::*;

use super::super::Cpu;
use super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::gemm::{Blocks, Panels, Part, Shifted, most_padded, multiply};
use super::super::simd::{Isa, Kernel, dispatch, lanes};
use super::image::Image;
use super::{Correlation, Work};
use crate::error::Result;

/// Positions of an image up to which it is small.
const MOST_POSITIONS: usize = 1200;
/// Positions of a task, where they are more than one image's.
const TASK_POSITIONS: usize = 1200;
/// Outputs of a task are a multiple of this, which the panels of every instruction set divide, and at most so many.
const UNIT: usize = 24;
const MOST_OUTPUTS: usize = 72;
/// Tasks that outputs are dealt to, as far as they go.
const TASKS: usize = 8;
/// Terms of a sum that are multiplied at a time, about: weights of all a task's outputs for them stay in L2.
const TERMS: usize = 256;
/// What it takes to pack a weight, in multiply-adds of vectors.
const PACKING: usize = 8;

/// Columns of an image whose rows count as one.
fn positions(out: (usize, usize), kernel: usize) -> usize {
    (out.0 - 1) * (out.1 + kernel - 1) + out.1
}

/// Whether images are small, and there is something to add up.
pub(super) fn suits(work: Work) -> bool {
    work.inputs > 0 && work.out.0 > 0 && work.out.1 > 0 && positions(work.out, work.kernel) <= MOST_POSITIONS
}

/// Cost of a convolution, in multiply-adds of vectors.
pub(super) fn cost(work: Work) -> usize {
    let vectors = work.batch * positions(work.out, work.kernel).div_ceil(work.lanes);
    let weights = work.kernel * work.kernel * work.inputs * work.outputs.next_multiple_of(4);
    let packed = PACKING * work.batch.div_ceil(samples(work.out, work.kernel));
    // As measured: the micro-kernel runs on longer rows, and on weights that are in the cache, than elsewhere.
    weights * (vectors + packed) * 2 / 3
}

/// Images of a task.
fn samples(out: (usize, usize), kernel: usize) -> usize {
    (TASK_POSITIONS / positions(out, kernel)).max(1)
}

/// Memory of a call.
#[derive(Clone, Copy)]
struct Memory {
    image: Shared<f32>,
    offsets: Shared<usize>,
}

/// What tasks have in common.
#[derive(Clone, Copy)]
struct Job<'a> {
    of: Correlation<'a>,
    image: Image,
    memory: Memory,
    /// Outputs of a task.
    outputs: usize,
    /// Images of a task.
    samples: usize,
    /// Inputs that are multiplied at a time.
    inputs: usize,
}

/// Scratch of a task.
struct Scratch {
    weights: *mut f32,
    bias: *mut f32,
    /// Results of the task's images, one after the other.
    block: *mut f32,
}

impl Job<'_> {
    fn taps(&self) -> usize {
        self.of.filters.kernel * self.of.filters.kernel
    }

    /// Floats from row to row of the results of an image: whole vectors, an odd number of cache lines, so that rows
    /// do not share cache sets.
    fn row(&self, lanes: usize) -> usize {
        let lines = (positions(self.of.out, self.of.filters.kernel).next_multiple_of(lanes)).div_ceil(16);
        16 * (lines | 1)
    }

    fn carve(&self, carver: &mut Carver, lanes: usize) -> Scratch {
        let rows = most_padded(self.outputs);
        Scratch {
            weights: carver.take(rows * self.inputs * self.taps()),
            bias: carver.take(rows),
            block: carver.take(self.samples * rows * self.row(lanes)),
        }
    }
}

impl Cpu {
    pub(super) fn correlate_flat(&self, of: Correlation<'_>) -> Result<()> {
        let (filters, out) = (of.filters, of.out);
        let image =
            Image::new(of.batch, filters.inputs, of.source, of.margin, out, filters.kernel).tight(filters.kernel);
        let depth = filters.inputs * filters.kernel * filters.kernel;
        let outputs = filters.outputs.div_ceil(TASKS).next_multiple_of(UNIT);
        let pieces = |carver: &mut Carver| Memory {
            image: Shared(carver.take(image.len())),
            offsets: Shared(carver.take(depth)),
        };
        let call = |memory: Memory| -> Result<()> {
            // SAFETY: carved for these lengths; nobody else has this memory.
            unsafe {
                image.fill(of.x, std::slice::from_raw_parts_mut(memory.image.get(), image.len()));
                image.offsets(
                    filters.kernel,
                    std::slice::from_raw_parts_mut(memory.offsets.get(), depth),
                );
            }
            let job = &Job {
                of,
                image,
                memory,
                outputs: outputs.min(MOST_OUTPUTS),
                samples: samples(out, filters.kernel).min(of.batch),
                inputs: (TERMS / (filters.kernel * filters.kernel)).clamp(1, filters.inputs),
            };
            let lanes = lanes(self.simd, usize::MAX);
            self.arenas.reserve_threads(|carver| job.carve(carver, lanes))?;
            let groups = filters.outputs.div_ceil(job.outputs);
            let tasks = groups * of.batch.div_ceil(job.samples);
            (0..tasks).into_par_iter().for_each(|task| {
                let (outputs, samples) = (task % groups * job.outputs, task / groups * job.samples);
                let task = Task {
                    job,
                    arenas: &self.arenas,
                    outputs: outputs..(outputs + job.outputs).min(filters.outputs),
                    samples: samples..(samples + job.samples).min(of.batch),
                };
                dispatch(self.simd, usize::MAX, task);
            });
            Ok(())
        };
        self.install(|| self.arenas.with_call(pieces, call)?)
    }
}

/// Some outputs of some images.
struct Task<'a> {
    job: &'a Job<'a>,
    arenas: &'a Arenas,
    outputs: Range<usize>,
    samples: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let Self {
            job,
            arenas,
            outputs,
            samples,
        } = self;
        let (of, image, taps) = (job.of, &job.image, job.taps());
        let ((height, width), filters) = (of.out, of.filters);
        let panels = Panels::new::<S>(outputs.len());
        let (row, vectors) = (job.row(S::LANES), positions(of.out, filters.kernel).div_ceil(S::LANES));
        let mut memory = arenas.thread();
        let scratch = carve(&mut memory, |carver| job.carve(carver, S::LANES));
        // SAFETY: the scratch is carved for the padded rows. A shifted image ends less than a vector behind its channel,
        // within the image's slack. Tasks write outputs and images of their own.
        unsafe {
            let bias = std::slice::from_raw_parts_mut(scratch.bias, panels.padded());
            let given = |row| of.bias.map_or(0.0, |bias| bias[outputs.start + row]);
            panels.pack(1, bias, |row, _| given(row));
            for first in (0..filters.inputs).step_by(job.inputs) {
                let inputs = first..(first + job.inputs).min(filters.inputs);
                let depth = inputs.len() * taps;
                let weights = std::slice::from_raw_parts_mut(scratch.weights, panels.padded() * depth);
                filters.pack(panels, outputs.start, inputs, weights);
                for (sample, block) in samples.clone().zip((0..).step_by(panels.padded() * row)) {
                    let start = job.memory.image.get().add(sample * image.sample());
                    for (column, vectors) in Blocks::new::<S>(vectors) {
                        let shifted = Shifted {
                            start: start.add(column),
                            offsets: job.memory.offsets.get().add(first * taps),
                        };
                        let part = Part {
                            bias: scratch.bias,
                            first: first == 0,
                        };
                        let to = scratch.block.add(block + column);
                        multiply(s, panels, depth, scratch.weights, shifted, vectors, to, row, part);
                    }
                }
            }
            for (sample, block) in samples.zip((0..).step_by(panels.padded() * row)) {
                for (r, output) in outputs.clone().enumerate() {
                    for y in 0..height {
                        let from = scratch.block.add(block + r * row + y * image.pitch);
                        let to = ((sample * filters.outputs + output) * height + y) * width;
                        of.y.get().add(to).copy_from_nonoverlapping(from, width);
                    }
                }
            }
        }
    }
}
