//! Convolution with factors in bf16, as direct sums.
//!
//! The image is copied into zeros with the channels of a pixel side by side, so that the factors of a pixel and a row of
//! the kernel, all channels of as many pixels, are one run of numbers. A block of 32 pixels with the runs of all rows of
//! the kernel is a left operand as it lies, pixel after pixel; the right one are the weights of 32 outputs. What comes out
//! is transposed, as pictures have the pixels of a channel side by side.
//!
//! # Rounding
//! Factors are rounded to bf16; the sums are direct sums in f32. Behind its end, a run is filled up with up to 15 pairs
//! that follow, which meet weights of 0: an infinity or NaN spoils what lies as far before it, be it at the end of the
//! row above. Samples do not reach each other.

// Kernels on buffers whose lengths have been checked by the callers.
#![allow(unsafe_code)]

mod filters;
pub(super) mod gradient;
mod image;

use rayon::prelude::*;

use self::filters::{PackFilters, TurnedTaps};
use self::image::FillRow;
use super::super::Cpu;
use super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::bf16::{BLOCK, Bf16Unit, Job, Left, Right, SQUARE, Unit, dispatch, padded_pairs};
use super::super::simd::Isa;
use super::{Correlation, Work};
use crate::error::Result;

/// Blocks of pixels of a task: together they stay in a second-level cache, as do the weights of 32 outputs.
const TASK_BLOCKS: usize = 16;
/// Costs in multiply-adds of vectors, as measured on a processor with AMX: of an input that is brought into order,
const INPUT: f64 = 0.5;
/// of a weight,
const WEIGHT: f64 = 1.5;
/// and of storing a square.
const STORE: f64 = 500.0;

/// Cost of a convolution, in multiply-adds of vectors of f32.
pub(super) fn cost(unit: Bf16Unit, work: Work) -> usize {
    let faster = unit.speed();
    let layout = Layout::new(work.inputs, work.kernel, work.out);
    let squares = work.batch * layout.blocks().len() * work.outputs.div_ceil(BLOCK);
    let vectors = work.outputs.min(BLOCK).div_ceil(16);
    let products = (squares * BLOCK * vectors * 2 * layout.depth()) as f64;
    let weights = (work.outputs * work.inputs * work.kernel * work.kernel) as f64;
    let inputs = (work.batch * layout.sample()) as f64;
    (products / faster + STORE * squares as f64 + INPUT * inputs + WEIGHT * weights) as usize
}

/// How images lie: pixel after pixel, row after row, in zeros.
#[derive(Clone, Copy)]
struct Layout {
    kernel: usize,
    /// Pairs of channels of a pixel.
    pairs: usize,
    /// Rows and columns of the result.
    out: (usize, usize),
    /// Rows and columns of the image in its zeros.
    height: usize,
    width: usize,
}

impl Layout {
    fn new(inputs: usize, kernel: usize, out: (usize, usize)) -> Self {
        Self {
            kernel,
            pairs: inputs.div_ceil(2),
            out,
            height: out.0 + kernel - 1,
            width: out.1 + kernel - 1,
        }
    }

    /// Pairs of a run.
    fn run(&self) -> usize {
        self.kernel * self.pairs
    }

    /// Pairs of all runs of a pixel, each filled up.
    fn depth(&self) -> usize {
        self.kernel * padded_pairs(self.run())
    }

    /// Pairs of a row of pixels.
    fn row(&self) -> usize {
        self.width * self.pairs
    }

    /// Pairs of the pixels of a sample.
    fn image(&self) -> usize {
        self.height * self.row()
    }

    /// Pairs of a sample, with what may be read behind it: the rest of a block and of its last run.
    fn sample(&self) -> usize {
        self.image() + BLOCK * self.pairs + padded_pairs(self.run())
    }

    /// The blocks of a sample.
    fn blocks(&self) -> Blocks {
        let by_rows = self.out.0 * self.out.1.div_ceil(BLOCK);
        // The pixels behind the last that count, at the end of the last row, are left out.
        let all = (self.out.0 * self.width).saturating_sub(self.kernel - 1);
        if all.div_ceil(BLOCK) < by_rows {
            Blocks::Through(all)
        } else {
            Blocks::Rows {
                rows: self.out.0,
                width: self.width,
                columns: self.out.1,
            }
        }
    }
}

/// How the pixels of a sample are cut into blocks of 32 that follow each other.
#[derive(Clone, Copy)]
enum Blocks {
    /// Without regard to rows, so many pixels.
    Through(usize),
    /// Row by row: rows, pixels from row to row, and those that count.
    Rows { rows: usize, width: usize, columns: usize },
}

impl Blocks {
    fn len(self) -> usize {
        match self {
            Self::Through(all) => all.div_ceil(BLOCK),
            Self::Rows { rows, columns, .. } => rows * columns.div_ceil(BLOCK),
        }
    }

    /// First pixel of a block, and how many it has.
    fn block(self, number: usize) -> (usize, usize) {
        match self {
            Self::Through(all) => (number * BLOCK, BLOCK.min(all - number * BLOCK)),
            Self::Rows { width, columns, .. } => {
                let across = columns.div_ceil(BLOCK);
                let column = number % across * BLOCK;
                (number / across * width + column, BLOCK.min(columns - column))
            }
        }
    }
}

/// Memory of a convolution.
#[derive(Clone, Copy)]
struct Memory {
    image: Shared<f32>,
    /// For each block of 32 outputs, all runs of pairs of weights, 32 outputs each.
    weights: Shared<f32>,
}

impl Cpu {
    /// As [`Cpu::correlate_fft`], with factors in bf16.
    pub(super) fn correlate_bf16(&self, unit: Bf16Unit, correlation: Correlation<'_>) -> Result<()> {
        let Correlation {
            batch, filters, out, ..
        } = correlation;
        let layout = Layout::new(filters.inputs, filters.kernel, out);
        let output_blocks = filters.outputs.div_ceil(BLOCK);
        let parts = layout.blocks().len().div_ceil(TASK_BLOCKS);
        self.arenas.reserve_threads(Scratch::carver(&layout))?;
        let pieces = |carver: &mut Carver| Memory {
            image: Shared(carver.take(batch * layout.sample())),
            weights: Shared(carver.take(output_blocks * layout.depth() * BLOCK)),
        };
        let call = |memory: Memory| {
            for sample in 0..batch {
                // SAFETY: taken for these lengths; what is read behind a sample are zeros.
                unsafe {
                    let end = memory.image.get().add(sample * layout.sample() + layout.image());
                    end.write_bytes(0, layout.sample() - layout.image());
                }
            }
            let arenas = &self.arenas;
            (0..batch * layout.height).into_par_iter().for_each(|row| {
                let job = FillRow {
                    layout,
                    correlation,
                    arenas,
                    memory,
                    row,
                };
                dispatch(unit, job);
            });
            (0..output_blocks).into_par_iter().for_each(|block| {
                let job = PackFilters {
                    layout,
                    filters,
                    arenas,
                    memory,
                    block,
                };
                dispatch(unit, job);
            });
            (0..batch * parts * output_blocks).into_par_iter().for_each(|task| {
                let (part, block) = (task / output_blocks, task % output_blocks);
                let job = Pixels {
                    layout,
                    correlation,
                    arenas,
                    memory,
                    sample: part / parts,
                    part: part % parts,
                    block,
                };
                dispatch(unit, job);
            });
        };
        self.install(|| self.arenas.with_call(pieces, call))
    }
}

/// Scratch of a task.
struct Scratch {
    square: *mut f32,
    turned: *mut f32,
    /// For [`TurnedTaps`].
    taps: *mut f32,
}

impl Scratch {
    fn carver(layout: &Layout) -> impl Fn(&mut Carver) -> Self {
        let taps = TurnedTaps::len(layout.kernel);
        move |carver| Self {
            square: carver.take(SQUARE),
            turned: carver.take(SQUARE),
            taps: carver.take(taps * BLOCK),
        }
    }
}

/// Some blocks of pixels of a sample, for a block of outputs.
struct Pixels<'a> {
    layout: Layout,
    correlation: Correlation<'a>,
    arenas: &'a Arenas,
    memory: Memory,
    sample: usize,
    /// Which blocks of pixels: [`TASK_BLOCKS`] each.
    part: usize,
    /// Which block of outputs.
    block: usize,
}

impl Job for Pixels<'_> {
    #[inline(always)]
    fn run<U: Unit>(self, u: U) {
        let (layout, s, memory) = (&self.layout, u.isa(), self.memory);
        let Correlation {
            filters, bias, y, out, ..
        } = self.correlation;
        let first = self.block * BLOCK;
        let outputs = BLOCK.min(filters.outputs - first);
        let vectors = outputs.div_ceil(16);
        let mut thread = self.arenas.thread();
        let scratch = carve(&mut thread, Scratch::carver(layout));
        let blocks = layout.blocks();
        let start = self.part * TASK_BLOCKS;
        // SAFETY: blocks and their runs lie within the image and what may be read behind it; every task has pixels and
        // outputs of its own.
        unsafe {
            let image = memory.image.get().add(self.sample * layout.sample());
            let weights = memory.weights.get().add(self.block * layout.depth() * BLOCK);
            for number in start..(start + TASK_BLOCKS).min(blocks.len()) {
                let (pixel, count) = blocks.block(number);
                let a = Left::rows(
                    image.add(pixel * layout.pairs),
                    layout.pairs,
                    layout.kernel,
                    layout.row(),
                );
                let b = Right::block(weights, layout.run());
                u.multiply(a, count, layout.run(), b, vectors, scratch.square);
                for v in 0..vectors {
                    for half in 0..count.div_ceil(16) {
                        let from = scratch.square.add(16 * half * BLOCK + 16 * v);
                        s.transpose(from, BLOCK, scratch.turned.add(16 * v * BLOCK + 16 * half), BLOCK);
                    }
                }
                for output in 0..outputs {
                    let row = scratch.turned.add(output * BLOCK);
                    if let Some(bias) = bias {
                        let bias = s.splat(bias[first + output]);
                        for half in 0..count.div_ceil(16) {
                            let row = row.add(16 * half);
                            s.store(row, s.add(s.load(row), bias));
                        }
                    }
                    let plane = (self.sample * filters.outputs + first + output) * out.0 * out.1;
                    let mut done = 0;
                    while done < count {
                        let (line, column) = ((pixel + done) / layout.width, (pixel + done) % layout.width);
                        let here = (layout.width - column).min(count - done);
                        if column < out.1 {
                            let to = y.get().add(plane + line * out.1 + column);
                            to.copy_from_nonoverlapping(row.add(done), here.min(out.1 - column));
                        }
                        done += here;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Bf16Unit, ConvAlgorithm};
    use super::*;
    use crate::Precision;
    use crate::backend::{Conv2d, ConvShape, Device};

    /// Convolutions of all kinds.
    pub(super) fn shapes() -> impl Iterator<Item = ConvShape> {
        let cases = [
            // Blocks through all rows, and row by row.
            (2, 3, 40, (13, 20), 3, 1),
            (1, 5, 17, (6, 64), 3, 1),
            (2, 8, 32, (9, 33), 7, 3),
            (1, 33, 2, (16, 16), 7, 3),
            (3, 64, 70, (8, 8), 3, 1),
            (1, 1, 1, (1, 1), 1, 0),
            // Several tasks of a sample; a last block that the last row does not reach.
            (1, 8, 3, (70, 64), 5, 2),
            (2, 9, 20, (100, 37), 3, 1),
            (2, 16, 3, (11, 20), 5, 2),
            // Without padding, with much, odd and even, and with a kernel of even side.
            (1, 16, 31, (11, 40), 5, 0),
            (1, 4, 6, (5, 7), 3, 4),
            (1, 4, 6, (5, 7), 2, 5),
            (2, 7, 9, (10, 70), 4, 2),
            // Nothing comes in but the bias.
            (2, 0, 5, (6, 7), 3, 1),
        ];
        cases
            .into_iter()
            .map(|(batch, inputs, outputs, (height, width), kernel, padding)| ConvShape {
                batch,
                inputs,
                outputs,
                height,
                width,
                kernel,
                padding,
            })
    }

    /// Output and gradient of the input of a convolution, of factors that are rounded first.
    fn passes(cpu: &Cpu, shape: &ConvShape, factors: Precision) -> [Vec<f32>; 2] {
        let numbers = |len: usize, step: f32, precision: Precision| {
            let numbers: Vec<f32> = (0..len).map(|i| precision.round((i as f32 * step).sin())).collect();
            cpu.buffer(&numbers).unwrap()
        };
        let x = numbers(shape.input_len(), 0.7, factors);
        let weight = numbers(shape.weight_len(), 1.3, factors);
        let g_y = numbers(shape.output_len(), 1.1, factors);
        let bias = numbers(shape.outputs, 0.9, Precision::F32);
        let mut y = cpu.buffer(&vec![f32::NAN; shape.output_len()]).unwrap();
        let mut g_x = cpu.buffer(&vec![f32::NAN; shape.input_len()]).unwrap();
        cpu.conv2d(shape, &x, &weight, Some(&bias), &mut y).unwrap();
        cpu.conv2d_backward_input(shape, &weight, &g_y, &mut g_x).unwrap();
        [y.to_vec(), g_x.to_vec()]
    }

    /// The sums are those of f32 of rounded factors, but for the roundings of f32.
    #[test]
    fn sums_are_those_of_f32() {
        let exact = Cpu::builder().threads(2).conv(ConvAlgorithm::Direct).build().unwrap();
        for shape in shapes() {
            let expected = passes(&exact, &shape, Precision::Bf16);
            let taps = shape.kernel * shape.kernel;
            let terms = (shape.inputs.max(shape.outputs) * taps + 1) as f32;
            for unit in Bf16Unit::ALL.into_iter().filter(|unit| unit.available()) {
                let cpu = Cpu::builder().threads(2).precision(Precision::Bf16).bf16(unit);
                let cpu = cpu.conv(ConvAlgorithm::Direct).build().unwrap();
                let found = passes(&cpu, &shape, Precision::F32);
                for (found, expected) in found.iter().zip(&expected) {
                    for (f, e) in found.iter().zip(expected) {
                        // Factors are at most 1; both sums err.
                        assert!(
                            (f - e).abs() <= terms * f32::EPSILON * terms.sqrt(),
                            "{unit}: {f}, {e}, {shape:?}"
                        );
                    }
                }
            }
        }
    }

    /// A NaN in the last sample of an unpadded batch, where its first pixel follows the last runs of the one before.
    #[test]
    fn samples_do_not_reach_each_other() {
        let shape = ConvShape {
            batch: 2,
            inputs: 3,
            outputs: 2,
            height: 5,
            width: 40,
            kernel: 3,
            padding: 0,
        };
        let mut x = vec![1.0; shape.input_len()];
        let (first, second) = x.split_at_mut(shape.input_len() / 2);
        second.fill(f32::NAN);
        // In its own sample, it spoils the output below it.
        first[0] = f32::NAN;
        for unit in Bf16Unit::ALL.into_iter().filter(|unit| unit.available()) {
            let cpu = Cpu::builder().threads(1).precision(Precision::Bf16).bf16(unit);
            let cpu = cpu.conv(ConvAlgorithm::Direct).build().unwrap();
            let (x, weight) = (
                cpu.buffer(&x).unwrap(),
                cpu.buffer(&vec![0.5; shape.weight_len()]).unwrap(),
            );
            let mut y = cpu.zeros(shape.output_len()).unwrap();
            cpu.conv2d(&shape, &x, &weight, None, &mut y).unwrap();
            let (first, second) = y.split_at(shape.output_len() / 2);
            assert!(first[0].is_nan() && second.iter().all(|v| v.is_nan()), "{unit}");
            assert!(first[1..38].iter().all(|&v| v == 13.5), "{unit}");
            assert!(first[38..114].iter().all(|&v| v == 13.5), "{unit}");
        }
    }

    #[test]
    fn blocks_cover_what_counts_once() {
        for (out, kernel) in [((13, 20), 3), ((6, 64), 3), ((9, 33), 7), ((1, 1), 1), ((2, 100), 5)] {
            let layout = Layout::new(4, kernel, out);
            let blocks = layout.blocks();
            let mut seen = vec![0; layout.height * layout.width];
            for (pixel, count) in (0..blocks.len()).map(|number| blocks.block(number)) {
                assert!((1..=BLOCK).contains(&count));
                seen[pixel..pixel + count].iter_mut().for_each(|n| *n += 1);
            }
            for (i, &n) in seen.iter().enumerate() {
                let counts = i / layout.width < out.0 && i % layout.width < out.1;
                assert!(n == 1 || !counts && n == 0, "{i}: {n}, {out:?}");
            }
        }
    }
}
