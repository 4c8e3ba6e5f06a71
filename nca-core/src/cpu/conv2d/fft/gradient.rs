//! The gradient with respect to the weights.

// Kernels on buffers whose lengths have been checked by the callers.
#![allow(unsafe_code)]

use rayon::prelude::*;

use super::super::super::Cpu;
use super::super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::super::gemm::{Panels, most_padded, multiply_complex};
use super::super::super::simd::{Isa, Kernel, dispatch, lanes};
use super::super::tiles::{Layout, Tiling};
use super::tile::{AREA, FREQUENCIES, SIDE};
use super::window::{Planes, Work};
use super::{spectra, tiling};
use crate::backend::ConvShape;
use crate::error::Result;

/// Floats of the spectra of windows that are multiplied at once.
const PART_FLOATS: usize = 2_000_000;

/// The gradient of a convolution.
#[derive(Clone, Copy)]
struct Gradient<'a> {
    tiling: Tiling,
    kernel: usize,
    padding: isize,
    x: Planes<'a>,
    g_y: Planes<'a>,
    x_layout: Layout,
    g_layout: Layout,
    sum_layout: Layout,
}

/// Memory of the spectra of some windows, and of the sum of their products.
#[derive(Clone, Copy)]
struct Memory {
    x: Shared<f32>,
    g_y: Shared<f32>,
    sums: Shared<f32>,
}

impl Cpu {
    /// Adds `Σ_b x[b, i] ⋆ g_y[b, o]` to `g_weight[o, i]`.
    pub(in super::super) fn weight_gradient_fft(
        &self,
        shape: &ConvShape,
        x: &[f32],
        g_y: &[f32],
        g_weight: &mut [f32],
    ) -> Result<()> {
        let lanes = lanes(self.simd, usize::MAX);
        let out = (shape.out_height(), shape.out_width());
        let tiling = tiling(shape.batch, shape.kernel, out);
        let (inputs, outputs) = (shape.inputs, shape.outputs);
        let window_floats = 2 * FREQUENCIES * (inputs.next_multiple_of(lanes) + outputs.next_multiple_of(lanes));
        let part = (PART_FLOATS / window_floats).clamp(1, tiling.count());
        let job = Gradient {
            tiling,
            kernel: shape.kernel,
            padding: shape.padding as isize,
            x: Planes {
                values: x,
                channels: inputs,
                height: shape.height,
                width: shape.width,
            },
            g_y: Planes {
                values: g_y,
                channels: outputs,
                height: out.0,
                width: out.1,
            },
            x_layout: spectra(lanes, part, inputs),
            g_layout: spectra(lanes, part, outputs),
            sum_layout: spectra(lanes, most_padded(inputs), outputs),
        };
        let work = |carver: &mut Carver| Work::carve(carver, lanes);
        self.arenas.reserve_threads(work)?;
        let pieces = |carver: &mut Carver| Memory {
            x: Shared(carver.take(job.x_layout.len())),
            g_y: Shared(carver.take(job.g_layout.len())),
            sums: Shared(carver.take(job.sum_layout.len())),
        };
        let g_weight = Shared(g_weight.as_mut_ptr());
        let call = |memory: Memory| {
            let (simd, arenas) = (self.simd, &self.arenas);
            for first in (0..tiling.count()).step_by(part) {
                let count = part.min(tiling.count() - first);
                (0..count).into_par_iter().for_each(|row| {
                    let windows = Windows {
                        job,
                        arenas,
                        memory,
                        tile: first + row,
                        row,
                    };
                    dispatch(simd, usize::MAX, windows);
                });
                (0..FREQUENCIES).into_par_iter().for_each(|frequency| {
                    let product = Product {
                        job,
                        memory,
                        frequency,
                        count,
                        add: first > 0,
                    };
                    dispatch(simd, usize::MAX, product);
                });
            }
            (0..inputs).into_par_iter().for_each(|input| {
                let filters = AddFilters {
                    job,
                    arenas,
                    memory,
                    input,
                    g_weight,
                };
                dispatch(simd, usize::MAX, filters);
            });
        };
        self.install(|| self.arenas.with_call(pieces, call))
    }
}

/// The spectra of one window of both images.
struct Windows<'a> {
    job: Gradient<'a>,
    arenas: &'a Arenas,
    memory: Memory,
    tile: usize,
    row: usize,
}

impl Kernel for Windows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let Gradient {
            tiling,
            x,
            g_y,
            padding,
            ..
        } = self.job;
        let (sample, top, left) = tiling.place(self.tile);
        let (top, left) = (top as isize, left as isize);
        let mut memory = self.arenas.thread();
        let work = carve(&mut memory, |carver| Work::carve(carver, S::LANES));
        // SAFETY: each window has its own row of the spectra.
        unsafe {
            for block in 0..x.channels.div_ceil(S::LANES) {
                let to = self.job.x_layout.spectrum::<S>(self.memory.x.get(), self.row, block);
                x.transform(s, sample, block, (top - padding, left - padding), SIDE, work, to);
            }
            for block in 0..g_y.channels.div_ceil(S::LANES) {
                let to = self.job.g_layout.spectrum::<S>(self.memory.g_y.get(), self.row, block);
                g_y.transform(s, sample, block, (top, left), tiling.step, work, to);
            }
        }
    }
}

/// The product of one frequency, summed over windows.
struct Product<'a> {
    job: Gradient<'a>,
    memory: Memory,
    frequency: usize,
    count: usize,
    add: bool,
}

impl Kernel for Product<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let (job, memory, frequency) = (self.job, self.memory, self.frequency);
        // SAFETY: the layouts have these rows, that of the sums the padded ones; channels that pad those
        // of `x` are whatever lies behind.
        unsafe {
            multiply_complex::<S, true>(
                s,
                Panels::new::<S>(job.x.channels),
                self.count,
                job.x_layout.matrix(memory.x.get(), frequency),
                job.g_layout.matrix(memory.g_y.get(), frequency),
                job.g_y.channels.div_ceil(S::LANES),
                job.sum_layout.matrix(memory.sums.get(), frequency),
                self.add,
            );
        }
    }
}

/// Adds the gradient of the filters of one input.
struct AddFilters<'a> {
    job: Gradient<'a>,
    arenas: &'a Arenas,
    memory: Memory,
    input: usize,
    g_weight: Shared<f32>,
}

impl Kernel for AddFilters<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let (kernel, inputs, outputs) = (self.job.kernel, self.job.x.channels, self.job.g_y.channels);
        let mut memory = self.arenas.thread();
        let work = carve(&mut memory, |carver| Work::carve(carver, S::LANES));
        // SAFETY: the sums have a row for each input, and each input its own filters.
        unsafe {
            for block in 0..outputs.div_ceil(S::LANES) {
                let from = self
                    .job
                    .sum_layout
                    .spectrum::<S>(self.memory.sums.get(), self.input, block);
                work.inverse(s, from, (0, kernel));
                for lane in 0..S::LANES.min(outputs - block * S::LANES) {
                    let filter = (block * S::LANES + lane) * inputs + self.input;
                    let to = self.g_weight.get().add(filter * kernel * kernel);
                    for tap in 0..kernel * kernel {
                        let from = work.windows.add(lane * AREA + tap / kernel * SIDE + tap % kernel);
                        *to.add(tap) += *from * (1.0 / AREA as f32);
                    }
                }
            }
        }
    }
}
