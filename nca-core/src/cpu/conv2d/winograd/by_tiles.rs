//! All filters first, then tasks of some tiles and all channels.

// As in `images`.
#![allow(unsafe_code)]

use super::super::super::Cpu;
use super::super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::super::gemm::{Panels, Start, most_padded, multiply_rows};
use super::super::super::simd::{Isa, Kernel, lanes};
use super::super::Correlation;
use super::super::tiles::Layout;
use super::filters::{scratch_floats, transform_filters};
use super::images::Images;
use super::{POINTS, layout};
use crate::error::Result;

/// Floats of the transformed tiles of a task.
const TASK_FLOATS: usize = 400_000;
/// Inputs whose filters are gathered at a time.
const GATHERED: usize = 16;

/// A convolution, and how it is done.
#[derive(Clone, Copy)]
struct Job<'a> {
    images: Images<'a>,
    /// Tiles of a task.
    chunk: usize,
    filters: Layout,
    sources: Layout,
    results: Layout,
}

/// Memory of a task.
#[derive(Clone, Copy)]
struct Memory {
    strip: *mut f32,
    taps: *mut f32,
    sources: *mut f32,
    results: *mut f32,
}

impl Cpu {
    pub(super) fn winograd_by_tiles(&self, of: Correlation<'_>) -> Result<()> {
        let lanes = lanes(self.simd, usize::MAX);
        let images = Images::new(of);
        let padded = |channels: usize| channels.next_multiple_of(lanes);
        let (inputs, outputs) = (of.filters.inputs, padded(of.filters.outputs));
        // A multiple of the heights of register tiles.
        let chunk = images
            .tiling
            .chunk(TASK_FLOATS, POINTS * (padded(inputs) + outputs), 24);
        let job = Job {
            images,
            chunk,
            filters: layout(inputs, outputs),
            sources: layout(most_padded(chunk), padded(inputs)),
            results: layout(most_padded(chunk), outputs),
        };
        self.arenas.reserve_threads(|carver| job.carve(carver, lanes))?;
        let arenas = &self.arenas;
        self.filters_then_tiles(
            job.filters,
            inputs.div_ceil(GATHERED) * (outputs / lanes),
            images.tiling.count().div_ceil(chunk),
            |filters, block| TransformFilters {
                job,
                arenas,
                filters,
                block,
            },
            |filters, task| Tiles {
                job,
                arenas,
                filters,
                task,
            },
        )
    }
}

impl Job<'_> {
    fn carve(&self, carver: &mut Carver, lanes: usize) -> Memory {
        Memory {
            strip: self.images.carve_strip(carver, self.chunk, lanes),
            taps: carver.take(scratch_floats(GATHERED, lanes)),
            sources: carver.take(self.sources.len()),
            results: carver.take(self.results.len()),
        }
    }
}

/// Transforms the filters of some inputs to a vector of outputs.
struct TransformFilters<'a> {
    job: Job<'a>,
    arenas: &'a Arenas,
    filters: Shared<f32>,
    /// Counts vectors of outputs, then inputs.
    block: usize,
}

impl Kernel for TransformFilters<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let (job, filters) = (&self.job, self.job.images.of.filters);
        let vectors = filters.outputs.div_ceil(S::LANES);
        let (vector, first) = (self.block % vectors, self.block / vectors * GATHERED);
        let inputs = first..(first + GATHERED).min(filters.inputs);
        let mut memory = self.arenas.thread();
        let taps = carve(&mut memory, |carver| job.carve(carver, S::LANES)).taps;
        // SAFETY: carved above; each task writes vectors of its own.
        unsafe {
            let to = |input| job.filters.grid::<S>(self.filters.get(), first + input, vector);
            transform_filters(s, filters, inputs, vector * S::LANES, taps, to);
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
        let filters = job.images.of.filters;
        let (inputs, vectors) = (filters.inputs, filters.outputs.div_ceil(S::LANES));
        let first = self.task * job.chunk;
        let count = job.chunk.min(job.images.tiling.count() - first);
        let tiles = (first, count);
        let mut memory = self.arenas.thread();
        let memory = carve(&mut memory, |carver| job.carve(carver, S::LANES));
        // SAFETY: the layouts have the padded rows of a task, whose padding holds old numbers, as do its
        // products; tiles write outputs of their own.
        unsafe {
            for block in 0..inputs.div_ceil(S::LANES) {
                let to = |at| job.sources.grid::<S>(memory.sources, at, block);
                job.images
                    .transform_inputs(s, tiles, block * S::LANES, memory.strip, to);
            }
            let panels = Panels::new::<S>(count);
            for point in 0..POINTS {
                let source = job.sources.at_point(memory.sources, point);
                let filters = job.filters.at_point(self.filters.get(), point);
                let results = job.results.at_point(memory.results, point);
                multiply_rows(s, panels, inputs, source, filters, vectors, results, Start::Fresh);
            }
            for block in 0..vectors {
                let from = |at| job.results.grid::<S>(memory.results, at, block);
                job.images
                    .transform_outputs(s, tiles, block * S::LANES, memory.strip, from);
            }
        }
    }
}
