//! The convolution and its gradient with respect to the input.

// Kernels on buffers whose lengths have been checked by the callers.
#![allow(unsafe_code)]

use super::super::super::Cpu;
use super::super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::super::gemm::{Panels, most_padded, multiply_complex};
use super::super::super::simd::{Isa, Kernel, lanes};
use super::super::tiles::{Layout, Tiling};
use super::super::{Correlation, Filters};
use super::tile::{AREA, FREQUENCIES, SIDE};
use super::window::{Planes, Results, Work};
use super::{spectra, tiling};
use crate::error::Result;

/// Floats of the spectra of a task: what fits the second-level cache several times is still read fast
/// enough, and the spectra of the filters are read once a task.
const TASK_FLOATS: usize = 600_000;

/// A convolution of images with filters.
#[derive(Clone, Copy)]
struct Job<'a> {
    tiling: Tiling,
    source: Planes<'a>,
    /// Zeros above and left of the images; cropped where negative.
    margin: isize,
    filters: Filters<'a>,
    results: Results<'a>,
    /// Windows of a task.
    chunk: usize,
    filter_layout: Layout,
    source_layout: Layout,
    result_layout: Layout,
}

/// Memory of a task.
#[derive(Clone, Copy)]
struct Memory {
    work: Work,
    source: *mut f32,
    results: *mut f32,
}

impl Cpu {
    /// Convolves by transforms of windows; there must be results.
    pub(in super::super) fn correlate_fft(&self, correlation: Correlation<'_>) -> Result<()> {
        let Correlation {
            filters, source, out, ..
        } = correlation;
        let lanes = lanes(self.simd, usize::MAX);
        let tiling = tiling(correlation.batch, filters.kernel, out);
        let (inputs, outputs) = (filters.inputs, filters.outputs);
        let window_floats = 2 * FREQUENCIES * (inputs.next_multiple_of(lanes) + outputs.next_multiple_of(lanes));
        // A multiple of the heights of register tiles.
        let chunk = tiling.chunk(TASK_FLOATS, window_floats, if lanes == 8 { 6 } else { 8 });
        let rows = most_padded(chunk);
        let job = Job {
            tiling,
            source: Planes {
                values: correlation.x,
                channels: inputs,
                height: source.0,
                width: source.1,
            },
            margin: correlation.margin,
            filters,
            results: Results {
                values: correlation.y,
                channels: outputs,
                height: out.0,
                width: out.1,
                bias: correlation.bias,
            },
            chunk,
            filter_layout: spectra(lanes, inputs, outputs),
            source_layout: spectra(lanes, rows, inputs),
            result_layout: spectra(lanes, rows, outputs),
        };
        self.arenas.reserve_threads(|carver| job.carve(carver, lanes))?;
        let arenas = &self.arenas;
        self.filters_then_tiles(
            job.filter_layout,
            inputs,
            tiling.count().div_ceil(chunk),
            |spectra, input| FilterSpectra {
                job,
                arenas,
                spectra,
                input,
            },
            |spectra, task| Windows {
                job,
                arenas,
                spectra,
                task,
            },
        )
    }
}

impl Job<'_> {
    fn carve(&self, carver: &mut Carver, lanes: usize) -> Memory {
        Memory {
            work: Work::carve(carver, lanes),
            source: carver.take(self.source_layout.len()),
            results: carver.take(self.result_layout.len()),
        }
    }
}

/// The spectra of the filters of one input.
struct FilterSpectra<'a> {
    job: Job<'a>,
    arenas: &'a Arenas,
    spectra: Shared<f32>,
    input: usize,
}

impl Kernel for FilterSpectra<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let Filters { kernel, outputs, .. } = self.job.filters;
        let mut memory = self.arenas.thread();
        let work = carve(&mut memory, |carver| self.job.carve(carver, S::LANES)).work;
        // SAFETY: windows of 16 × 16 that hold a kernel; each input has its own row of the spectra.
        unsafe {
            for block in 0..outputs.div_ceil(S::LANES) {
                work.clear(s);
                for lane in 0..S::LANES.min(outputs - block * S::LANES) {
                    let filter = self.job.filters.taps(block * S::LANES + lane, self.input);
                    for (tap, &weight) in filter.iter().enumerate() {
                        let tap = if self.job.filters.adjoint {
                            tap
                        } else {
                            filter.len() - 1 - tap
                        };
                        // The inverse transform leaves the factor out; a power of two costs no bit.
                        let to = lane * AREA + tap / kernel * SIDE + tap % kernel;
                        *work.windows.add(to) = weight * (1.0 / AREA as f32);
                    }
                }
                let to = self
                    .job
                    .filter_layout
                    .spectrum::<S>(self.spectra.get(), self.input, block);
                work.transform(s, kernel, to);
            }
        }
    }
}

/// A task: some windows, all channels.
struct Windows<'a> {
    job: Job<'a>,
    arenas: &'a Arenas,
    spectra: Shared<f32>,
    task: usize,
}

impl Kernel for Windows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let Job {
            tiling,
            source,
            results,
            margin,
            chunk,
            ..
        } = self.job;
        let (from, to, by) = (self.job.source_layout, self.job.result_layout, self.job.filter_layout);
        let first = self.task * chunk;
        let count = chunk.min(tiling.count() - first);
        let mut memory = self.arenas.thread();
        let memory = carve(&mut memory, |carver| self.job.carve(carver, S::LANES));
        let panels = Panels::new::<S>(count);
        let vectors = results.channels.div_ceil(S::LANES);
        // SAFETY: the layouts have the padded rows of a task; windows write outputs of their own.
        unsafe {
            for row in 0..count {
                let (sample, y, x) = tiling.place(first + row);
                let at = (y as isize - margin, x as isize - margin);
                for block in 0..source.channels.div_ceil(S::LANES) {
                    let to = from.spectrum::<S>(memory.source, row, block);
                    source.transform(s, sample, block, at, SIDE, memory.work, to);
                }
            }
            for frequency in 0..FREQUENCIES {
                // Rows that pad the windows hold old numbers, and so do their products.
                multiply_complex::<S, false>(
                    s,
                    panels,
                    source.channels,
                    from.matrix(memory.source, frequency),
                    by.matrix(self.spectra.get(), frequency),
                    vectors,
                    to.matrix(memory.results, frequency),
                    false,
                );
            }
            for row in 0..count {
                let (sample, y, x) = tiling.place(first + row);
                for block in 0..vectors {
                    let from = to.spectrum::<S>(memory.results, row, block);
                    let first = self.job.filters.kernel - 1;
                    results.inverse(s, from, first, sample, block, (y, x), memory.work);
                }
            }
        }
    }
}
