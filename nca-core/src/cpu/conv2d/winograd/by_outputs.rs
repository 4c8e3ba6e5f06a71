//! The inputs of all tiles first, then tasks of some outputs, which transform their own filters.

// As in `images`.
#![allow(unsafe_code)]

use rayon::prelude::*;

use super::super::super::Cpu;
use super::super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::super::gemm::{Panels, Start, most_padded, multiply_rows};
use super::super::super::simd::{Isa, Kernel, dispatch, lanes};
use super::super::Correlation;
use super::super::tiles::Layout;
use super::filters::{scratch_floats, transform_filters};
use super::images::Images;
use super::{POINTS, layout};
use crate::error::Result;

/// Tiles that are summed up at a time, at most: filters are transformed again for others.
const MOST_TILES: usize = 96;
/// Inputs whose filters are multiplied at a time: with the sums of a task they take at most 0.9 MB, and less than half of
/// that for the 16 tiles of an image of 16 × 16.
const INPUTS: usize = 32;
/// Outputs of a task: what a register tile takes of the widest vectors.
const OUTPUTS: usize = 48;
/// As [`OUTPUTS`], where that would make fewer than four tasks.
const FEW_OUTPUTS: usize = 32;

/// How often all filters are transformed for this many tiles.
pub(super) fn passes(tiles: usize) -> usize {
    tiles.div_ceil(MOST_TILES)
}

/// Most outputs of a task, of so many.
fn task_outputs(outputs: usize) -> usize {
    if outputs > 3 * OUTPUTS { OUTPUTS } else { FEW_OUTPUTS }
}

/// Whether outputs are dealt to more than one task.
pub(super) fn has_several_tasks(outputs: usize) -> bool {
    outputs > task_outputs(outputs)
}

/// A convolution, and how it is done.
#[derive(Clone, Copy)]
struct Job<'a> {
    images: Images<'a>,
    /// Most tiles of a pass.
    chunk: usize,
    /// Most outputs of a task.
    outputs: usize,
    /// For some inputs and the outputs of a task.
    filters: Layout,
    /// For [`INPUTS`] inputs; as many as it takes for all lie one after the other.
    sources: Layout,
    results: Layout,
}

/// Memory of a task.
#[derive(Clone, Copy)]
struct Memory {
    strip: *mut f32,
    taps: *mut f32,
    filters: *mut f32,
    results: *mut f32,
}

impl Cpu {
    pub(super) fn winograd_by_outputs(&self, of: Correlation<'_>) -> Result<()> {
        let lanes = lanes(self.simd, usize::MAX);
        let images = Images::new(of);
        let count = images.tiling.count();
        let chunk = count.div_ceil(passes(count).max(1));
        let (inputs, outputs) = (of.filters.inputs, of.filters.outputs);
        let most = task_outputs(outputs);
        let job = &Job {
            images,
            chunk,
            outputs: most,
            filters: layout(INPUTS, most),
            sources: layout(most_padded(chunk), INPUTS),
            results: layout(most_padded(chunk), most),
        };
        self.arenas.reserve_threads(|carver| job.carve(carver, lanes))?;
        let (arenas, simd) = (&self.arenas, self.simd);
        let pieces = |carver: &mut Carver| Shared(carver.take::<f32>(inputs.div_ceil(INPUTS) * job.sources.len()));
        let call = |sources: Shared<f32>| {
            for first in (0..count).step_by(chunk) {
                let tiles = (first, chunk.min(count - first));
                (0..inputs.div_ceil(lanes)).into_par_iter().for_each(|block| {
                    let task = Sources {
                        job,
                        arenas,
                        sources,
                        tiles,
                        block,
                    };
                    dispatch(simd, usize::MAX, task);
                });
                (0..outputs.div_ceil(most)).into_par_iter().for_each(|task| {
                    let task = Outputs {
                        job,
                        arenas,
                        sources,
                        tiles,
                        first: task * most,
                    };
                    dispatch(simd, usize::MAX, task);
                });
            }
        };
        self.install(|| arenas.with_call(pieces, call))
    }
}

impl Job<'_> {
    fn carve(&self, carver: &mut Carver, lanes: usize) -> Memory {
        Memory {
            strip: self.images.carve_strip(carver, self.chunk, lanes),
            taps: carver.take(scratch_floats(INPUTS, lanes)),
            filters: carver.take(self.filters.len()),
            results: carver.take(self.results.len()),
        }
    }
}

/// Transforms a vector of inputs of all tiles of a pass.
struct Sources<'a> {
    job: &'a Job<'a>,
    arenas: &'a Arenas,
    sources: Shared<f32>,
    /// First, and number.
    tiles: (usize, usize),
    /// Vector of inputs.
    block: usize,
}

impl Kernel for Sources<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let job = self.job;
        let channel = self.block * S::LANES;
        let mut memory = self.arenas.thread();
        let strip = carve(&mut memory, |carver| job.carve(carver, S::LANES)).strip;
        // SAFETY: the strip was carved above; each task writes columns of its own, which vectors divide.
        unsafe {
            let sources = self.sources.get().add(channel / INPUTS * job.sources.len());
            let to = |at| job.sources.grid::<S>(sources, at, channel % INPUTS / S::LANES);
            job.images.transform_inputs(s, self.tiles, channel, strip, to);
        }
    }
}

/// A task: some outputs of all tiles of a pass.
struct Outputs<'a> {
    job: &'a Job<'a>,
    arenas: &'a Arenas,
    sources: Shared<f32>,
    /// First, and number.
    tiles: (usize, usize),
    /// First output.
    first: usize,
}

impl Kernel for Outputs<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let (job, filters) = (self.job, self.job.images.of.filters);
        let vectors = job.outputs.min(filters.outputs - self.first).div_ceil(S::LANES);
        let panels = Panels::new::<S>(self.tiles.1);
        let mut memory = self.arenas.thread();
        let memory = carve(&mut memory, |carver| job.carve(carver, S::LANES));
        // SAFETY: the layouts have the padded rows of a pass, whose padding holds old numbers, as do its
        // products; tasks write outputs of their own.
        unsafe {
            for start in (0..filters.inputs).step_by(INPUTS) {
                let inputs = start..(start + INPUTS).min(filters.inputs);
                for vector in 0..vectors {
                    let to = |input| job.filters.grid::<S>(memory.filters, input, vector);
                    let output = self.first + vector * S::LANES;
                    transform_filters(s, filters, inputs.clone(), output, memory.taps, to);
                }
                let sources = self.sources.get().add(start / INPUTS * job.sources.len());
                let onto = if start == 0 { Start::Fresh } else { Start::Onto };
                for point in 0..POINTS {
                    let source = job.sources.at_point(sources, point);
                    let filters = job.filters.at_point(memory.filters, point);
                    let results = job.results.at_point(memory.results, point);
                    multiply_rows(s, panels, inputs.len(), source, filters, vectors, results, onto);
                }
            }
            for vector in 0..vectors {
                let from = |at| job.results.grid::<S>(memory.results, at, vector);
                let channel = self.first + vector * S::LANES;
                job.images.transform_outputs(s, self.tiles, channel, memory.strip, from);
            }
        }
    }
}
