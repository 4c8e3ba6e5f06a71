//! The gradient with respect to the weights.
//!
//! For each tap of the kernel it is a product over pixels: of the gradient of the outputs and the image, as far away as the
//! tap. A task has some rows of a sample. It packs their gradients as left operands, and copies the rows of the image that
//! they meet into zeros, the channels of a pair of pixels side by side: a right operand from any pair on, row after row.
//! Pairs begin at even pixels and, in a second copy, at odd ones, for taps an odd number of pixels away. What tasks find is
//! added up in an order that does not depend on threads.
//!
//! Pixels that fill up a block are zeros in the gradient; an infinity or NaN of the image that they meet spoils the filter.

use rayon::prelude::*;

use super::super::super::Cpu;
use super::super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::super::bf16::{BLOCK, Bf16Unit, Job, Left, Right, Unit, dispatch, narrow_rows, natural_row};
use super::super::super::simd::Isa;
use super::super::Work;
use crate::backend::ConvShape;
use crate::error::Result;

/// Pixels of a task: with 32 channels on both sides they stay in a second-level cache.
const TASK_PIXELS: usize = 4096;
/// Tasks that there should be, for threads to share; samples of more than [`FEWEST_PIXELS`] are cut into several for it.
const TASKS: usize = 16;
const FEWEST_PIXELS: usize = 1024;
/// Rows of a tile, lanes of a vector.
const TILE: usize = 16;
/// Sums that are worth their memory: 64 MiB.
const MOST_SUMS: usize = 16 << 20;

/// Costs in multiply-adds of vectors, as measured on a processor with AMX: of a number that is brought into order,
const NUMBER: f64 = 0.5;
/// and of a vector of a product that is stored and added up.
const SUM: f64 = 12.0;

/// Cost of the gradient, in multiply-adds of vectors of f32.
pub(in super::super) fn cost(unit: Bf16Unit, work: Work) -> usize {
    let layout = Layout::new(work, 0);
    let taps = work.kernel * work.kernel;
    let vectors = layout.output_rows() * work.inputs.div_ceil(TILE);
    let pixels = layout.tasks() * layout.pixels(layout.rows);
    let products = (pixels * taps * vectors) as f64;
    let turned = layout.tasks() * (layout.rows + work.kernel - 1) * layout.width;
    let numbers = (2 * turned * work.inputs + pixels * work.outputs) as f64;
    let sums = (layout.tasks() * taps * vectors) as f64;
    (products / unit.speed() + NUMBER * numbers + SUM * sums) as usize
}

/// Whether the sums of its tasks are worth their memory.
pub(in super::super) fn suits(work: Work) -> bool {
    let layout = Layout::new(work, 0);
    layout.tasks() * layout.sums() <= MOST_SUMS
}

/// How an image lies in its zeros, and what of it is a task's.
#[derive(Clone, Copy)]
struct Layout {
    batch: usize,
    kernel: usize,
    inputs: usize,
    outputs: usize,
    /// Rows and columns of the gradient.
    out: (usize, usize),
    /// Zeros above and left of the image.
    padding: usize,
    /// Pixels from row to row, even.
    width: usize,
    /// Rows of a task, but for the last of a sample.
    rows: usize,
    /// Whether all rows of a task are one run of pixels, with those between them, which are zeros in the gradient.
    joined: bool,
}

impl Layout {
    fn new(work: Work, padding: usize) -> Self {
        // As far as the last tap of the last pixel, which is where the image and its zeros end.
        let width = (work.out.1 + work.kernel - 1).next_multiple_of(2);
        let blocks = work.out.1.next_multiple_of(BLOCK);
        let line = width.min(blocks);
        let pixels = (work.batch * work.out.0 * line / TASKS).clamp(FEWEST_PIXELS, TASK_PIXELS);
        Self {
            batch: work.batch,
            kernel: work.kernel,
            inputs: work.inputs,
            outputs: work.outputs,
            out: work.out,
            padding,
            width,
            rows: (pixels / line).clamp(1, work.out.0),
            joined: width < blocks,
        }
    }

    /// Pairs of a row of the image.
    fn row_pairs(&self) -> usize {
        self.width / 2
    }

    /// Channels of a block side by side.
    fn lanes(&self) -> usize {
        if self.inputs > TILE { BLOCK } else { TILE }
    }

    /// Pairs behind the last row of the image: what a tap is away, and a block that is filled up.
    fn behind(&self) -> usize {
        (self.kernel + BLOCK).div_ceil(2)
    }

    /// Floats of a copy of a block of channels of the rows that a task needs.
    fn copy(&self) -> usize {
        ((self.rows + self.kernel - 1) * self.row_pairs() + self.behind()) * self.lanes()
    }

    /// Pixels of the gradient from row to row.
    fn line(&self) -> usize {
        if self.joined {
            self.width
        } else {
            self.out.1.next_multiple_of(BLOCK)
        }
    }

    /// Pixels of `rows` rows of the gradient, in whole blocks.
    fn pixels(&self, rows: usize) -> usize {
        (rows * self.line()).next_multiple_of(BLOCK)
    }

    /// Tiles of a row of the left operand.
    fn tiles(&self) -> usize {
        self.pixels(self.rows) / BLOCK
    }

    /// Tasks of a sample.
    fn parts(&self) -> usize {
        self.out.0.div_ceil(self.rows)
    }

    /// Tasks of all samples.
    fn tasks(&self) -> usize {
        self.batch * self.parts()
    }

    /// Outputs, filled up to tiles.
    fn output_rows(&self) -> usize {
        self.outputs.next_multiple_of(TILE)
    }

    /// Floats of all products of a task with a block of channels: for each tap a row of channels for each output.
    fn products(&self) -> usize {
        self.kernel * self.kernel * self.output_rows() * BLOCK
    }

    /// Floats of all products of a task.
    fn sums(&self) -> usize {
        self.inputs.div_ceil(BLOCK) * self.products()
    }
}

/// The gradient of a convolution.
#[derive(Clone, Copy)]
struct Gradient<'a> {
    layout: Layout,
    x: &'a [f32],
    /// Rows and columns of the image.
    source: (usize, usize),
    g_y: &'a [f32],
    g_weight: Shared<f32>,
    arenas: &'a Arenas,
    /// Products of each task.
    sums: Shared<f32>,
}

/// Scratch of a task.
struct Scratch {
    /// A row of the image in its zeros, with a block behind it; or part of a row of the gradient.
    row: *mut f32,
    /// A row of 32 channels of the image in bf16, or the gradient of one output.
    natural: *mut f32,
    /// The gradient of all outputs.
    left: *mut f32,
    /// A block of channels of the image, with pairs from even pixels on, and from odd ones.
    right: [*mut f32; 2],
}

impl Scratch {
    fn carver(layout: Layout) -> impl Fn(&mut Carver) -> Self {
        move |carver| Self {
            row: carver.take(layout.width + 2 * BLOCK),
            natural: carver.take((BLOCK * natural_row(layout.width)).max(layout.pixels(layout.rows) / 2 + TILE)),
            left: carver.take(layout.output_rows() * layout.tiles() * TILE),
            right: [0, 1].map(|_| carver.take(layout.copy())),
        }
    }
}

impl Cpu {
    /// Adds `Σ_b x[b, i] ⋆ g_y[b, o]` to `g_weight[o, i]`, with factors in bf16.
    pub(in super::super) fn weight_gradient_bf16(
        &self,
        unit: Bf16Unit,
        work: Work,
        shape: &ConvShape,
        x: &[f32],
        g_y: &[f32],
        g_weight: &mut [f32],
    ) -> Result<()> {
        let layout = Layout::new(work, shape.padding);
        self.arenas.reserve_threads(Scratch::carver(layout))?;
        let pieces = |carver: &mut Carver| Shared(carver.take(layout.tasks() * layout.sums()));
        let call = |sums| {
            let gradient = Gradient {
                layout,
                x,
                source: (shape.height, shape.width),
                g_y,
                g_weight: Shared(g_weight.as_mut_ptr()),
                arenas: &self.arenas,
                sums,
            };
            (0..layout.tasks()).into_par_iter().for_each(|task| {
                let first = task % layout.parts() * layout.rows;
                let job = Products {
                    gradient,
                    task,
                    sample: task / layout.parts(),
                    first,
                    rows: layout.rows.min(layout.out.0 - first),
                };
                dispatch(unit, job);
            });
            (0..layout.outputs).into_par_iter().for_each(|output| {
                dispatch(unit, AddFilters { gradient, output });
            });
        };
        self.install(|| self.arenas.with_call(pieces, call))
    }
}

/// The products of some rows of a sample.
struct Products<'a> {
    gradient: Gradient<'a>,
    task: usize,
    sample: usize,
    /// First row of the gradient, and how many.
    first: usize,
    rows: usize,
}

impl Products<'_> {
    /// The gradient as a left operand.
    ///
    /// # Safety
    /// The scratch must have been carved for it.
    #[inline(always)]
    unsafe fn pack<U: Unit>(&self, u: U, scratch: &Scratch) {
        let layout = &self.gradient.layout;
        let (columns, line, pixels) = (layout.out.1, layout.line(), layout.pixels(self.rows));
        for output in 0..layout.outputs {
            let channel = self.sample * layout.outputs + output;
            // SAFETY: the caller's condition. A row is written in whole blocks: of joined ones, the zeros at its end are
            // overwritten by the next, or lie behind the pixels.
            unsafe {
                for row in 0..self.rows {
                    let start = (channel * layout.out.0 + self.first + row) * columns;
                    let values = &self.gradient.g_y[start..][..columns];
                    for column in (0..columns).step_by(BLOCK) {
                        let count = BLOCK.min(columns - column);
                        let mut from = values.as_ptr().add(column);
                        if count < BLOCK {
                            // Whole vectors are read.
                            scratch.row.copy_from_nonoverlapping(from, count);
                            from = scratch.row;
                        }
                        let to = scratch.natural.add((row * line + column) / 2);
                        narrow_rows(u, from, 0, 1, count, to, 0);
                    }
                }
                let end = self.rows * line;
                scratch.natural.add(end / 2).write_bytes(0, (pixels - end) / 2);
                for tile in 0..pixels / BLOCK {
                    let place = output / TILE * layout.tiles() + tile;
                    let to = scratch.left.add((place * TILE + output % TILE) * TILE);
                    to.copy_from_nonoverlapping(scratch.natural.add(tile * TILE), TILE);
                }
            }
        }
    }

    /// A block of channels of the image as right operands.
    ///
    /// # Safety
    /// The scratch must have been carved for it.
    #[inline(always)]
    unsafe fn turn<U: Unit>(&self, u: U, scratch: &Scratch, block: usize) {
        let (layout, (rows, columns)) = (&self.gradient.layout, self.gradient.source);
        let (lanes, pairs) = (layout.lanes(), layout.row_pairs());
        let channels = lanes.min(layout.inputs - block * BLOCK);
        let last = self.rows + layout.kernel - 1;
        // SAFETY: the caller's condition: the copies have these rows and what lies behind them.
        unsafe {
            scratch.row.write_bytes(0, layout.width + 2 * BLOCK);
            for (odd, copy) in scratch.right.into_iter().enumerate() {
                copy.add(last * pairs * lanes).write_bytes(0, layout.behind() * lanes);
                for row in 0..last {
                    let to = copy.add(row * pairs * lanes);
                    let Some(y) = (self.first + row).checked_sub(layout.padding).filter(|&y| y < rows) else {
                        to.write_bytes(0, pairs * lanes);
                        continue;
                    };
                    let start = (self.sample * layout.inputs + block * BLOCK) * rows + y;
                    for channel in 0..channels {
                        let values = &self.gradient.x[(start + channel * rows) * columns..][..columns];
                        self.narrow(u, scratch, values, odd, channel);
                    }
                    self.transpose(u, scratch, to);
                }
            }
        }
    }

    /// A row of a channel in its zeros, from the first pixel or the second on.
    ///
    /// # Safety
    /// As of [`Products::turn`]; of the row in the scratch all but what lies under the image must be zeros.
    #[inline(always)]
    unsafe fn narrow<U: Unit>(&self, u: U, scratch: &Scratch, values: &[f32], odd: usize, channel: usize) {
        let layout = &self.gradient.layout;
        // SAFETY: the caller's condition.
        unsafe {
            let row = scratch.row.add(layout.padding);
            row.copy_from_nonoverlapping(values.as_ptr(), values.len());
            for start in (0..layout.width).step_by(BLOCK) {
                let to = channel * natural_row(layout.width) + start / 2;
                narrow_rows(u, scratch.row.add(start + odd), 0, 1, BLOCK, scratch.natural.add(to), 0);
            }
        }
    }

    /// The rows of all channels of a block as a row of pairs of pixels.
    ///
    /// # Safety
    /// As of [`Products::turn`].
    #[inline(always)]
    unsafe fn transpose<U: Unit>(&self, u: U, scratch: &Scratch, to: *mut f32) {
        let (layout, s) = (&self.gradient.layout, u.isa());
        let (lanes, pairs, ld) = (layout.lanes(), layout.row_pairs(), natural_row(layout.width));
        for pair in (0..pairs).step_by(TILE) {
            for lane in (0..lanes).step_by(TILE) {
                // SAFETY: the caller's condition; zeros that fill up the row lie where the next one will, or behind the last.
                unsafe {
                    let from = scratch.natural.add(lane * ld + pair);
                    s.transpose(from, ld, to.add(pair * lanes + lane), lanes);
                }
            }
        }
    }
}

impl Job for Products<'_> {
    #[inline(always)]
    fn run<U: Unit>(self, u: U) {
        let layout = &self.gradient.layout;
        let mut memory = self.gradient.arenas.thread();
        let scratch = carve(&mut memory, Scratch::carver(*layout));
        let (runs, pairs) = if layout.joined {
            (1, layout.pixels(self.rows) / 2)
        } else {
            (self.rows, layout.out.1.div_ceil(2))
        };
        // SAFETY: the scratch is for such a task; every task has sums of its own, with whole tiles of outputs.
        unsafe {
            let sums = self.gradient.sums.get().add(self.task * layout.sums());
            self.pack(u, &scratch);
            for block in 0..layout.inputs.div_ceil(BLOCK) {
                self.turn(u, &scratch, block);
                let vectors = BLOCK.min(layout.inputs - block * BLOCK).div_ceil(TILE);
                for output in (0..layout.outputs).step_by(BLOCK) {
                    let left = scratch.left.add(output * layout.tiles() * TILE);
                    let a = Left::tiles(left, layout.tiles(), runs, layout.line() / BLOCK);
                    for tap in 0..layout.kernel * layout.kernel {
                        let (down, right) = (tap / layout.kernel, tap % layout.kernel);
                        let pair = down * layout.row_pairs() + right / 2;
                        let b = scratch.right[right % 2].add(pair * layout.lanes());
                        let b = Right::rows(b, layout.lanes(), layout.row_pairs());
                        let row = tap * layout.output_rows() + output;
                        let c = sums.add(block * layout.products() + row * BLOCK);
                        u.multiply(a, BLOCK.min(layout.outputs - output), pairs, b, vectors, c);
                    }
                }
            }
        }
    }
}

/// Adds up the gradient of the filters of an output.
struct AddFilters<'a> {
    gradient: Gradient<'a>,
    output: usize,
}

impl Job for AddFilters<'_> {
    #[inline(always)]
    fn run<U: Unit>(self, u: U) {
        let (layout, s) = (&self.gradient.layout, u.isa());
        let taps = layout.kernel * layout.kernel;
        for first in (0..layout.inputs).step_by(TILE) {
            for tap in 0..taps {
                let row = tap * layout.output_rows() + self.output;
                let row = first / BLOCK * layout.products() + row * BLOCK + first % BLOCK;
                let mut sums = [0.0_f32; TILE];
                // SAFETY: every task has this row of sums, every output filters of its own.
                unsafe {
                    let mut sum = s.splat(0.0);
                    for task in 0..layout.tasks() {
                        let part = self.gradient.sums.get().add(task * layout.sums() + row);
                        sum = s.add(sum, s.load(part));
                    }
                    s.store(sums.as_mut_ptr(), sum);
                    let to = self
                        .gradient
                        .g_weight
                        .get()
                        .add(self.output * layout.inputs * taps + tap);
                    for (input, sum) in (first..layout.inputs).zip(sums) {
                        *to.add(input * taps) += sum;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::ConvAlgorithm;
    use super::super::tests::shapes;
    use super::*;
    use crate::Precision;
    use crate::backend::{Conv2d, Device};

    /// The gradient of the weights, added to one that was there, of factors that are rounded first.
    fn gradient(cpu: &Cpu, shape: &ConvShape, factors: Precision) -> Vec<f32> {
        let numbers = |len: usize, step: f32, precision: Precision| {
            let numbers: Vec<f32> = (0..len).map(|i| precision.round((i as f32 * step).sin())).collect();
            cpu.buffer(&numbers).unwrap()
        };
        let x = numbers(shape.input_len(), 0.7, factors);
        let g_y = numbers(shape.output_len(), 1.1, factors);
        let mut g_weight = numbers(shape.weight_len(), 1.3, Precision::F32);
        cpu.conv2d_backward_weight(shape, &x, &g_y, &mut g_weight, None)
            .unwrap();
        g_weight.to_vec()
    }

    /// Leaves NaN in scratch memory.
    fn spoil(cpu: &Cpu) {
        let shape = ConvShape {
            batch: 2,
            inputs: 40,
            outputs: 36,
            height: 100,
            width: 68,
            kernel: 3,
            padding: 1,
        };
        let nan = |len| cpu.buffer(&vec![f32::NAN; len]).unwrap();
        let (x, g_y) = (nan(shape.input_len()), nan(shape.output_len()));
        let mut g_weight = cpu.zeros(shape.weight_len()).unwrap();
        cpu.conv2d_backward_weight(&shape, &x, &g_y, &mut g_weight, None)
            .unwrap();
    }

    /// The sums are those of f32 of rounded factors, but for the roundings of f32, whatever scratch memory held.
    #[test]
    fn sums_are_those_of_f32() {
        let exact = Cpu::builder().threads(2).conv(ConvAlgorithm::Direct).build().unwrap();
        for shape in shapes() {
            let expected = gradient(&exact, &shape, Precision::Bf16);
            let terms = (shape.output_len() / shape.outputs + 1) as f32;
            for unit in Bf16Unit::ALL.into_iter().filter(|unit| unit.available()) {
                let bf16 = |threads| {
                    let cpu = Cpu::builder().threads(threads).precision(Precision::Bf16).bf16(unit);
                    cpu.conv(ConvAlgorithm::Direct).build().unwrap()
                };
                let used = bf16(2);
                spoil(&used);
                let found = gradient(&used, &shape, Precision::F32);
                for (f, e) in found.iter().zip(&expected) {
                    // Factors are at most 1; both sums err.
                    assert!(
                        (f - e).abs() <= terms * f32::EPSILON * terms.sqrt(),
                        "{unit}: {f}, {e}, {shape:?}"
                    );
                }
                let new = gradient(&bf16(1), &shape, Precision::F32);
                assert_eq!(found, new, "{unit}: by threads or scratch, {shape:?}");
            }
        }
    }
}
