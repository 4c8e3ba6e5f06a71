//! Weights as right operands.

// As in `bf16`.
#![allow(unsafe_code)]

use super::super::super::arena::{Arenas, carve};
use super::super::super::bf16::{BLOCK, Job, Unit, padded_pairs, store_pairs};
use super::super::super::simd::Isa;
use super::super::Filters;
use super::{Layout, Memory, Scratch};

/// Packs the weights of a block of outputs.
pub(super) struct PackFilters<'a> {
    pub(super) layout: Layout,
    pub(super) filters: Filters<'a>,
    pub(super) arenas: &'a Arenas,
    pub(super) memory: Memory,
    pub(super) block: usize,
}

impl Job for PackFilters<'_> {
    #[inline(always)]
    fn run<U: Unit>(self, u: U) {
        let (layout, filters, s) = (&self.layout, self.filters, u.isa());
        let (kernel, taps) = (layout.kernel, layout.kernel * layout.kernel);
        let mut memory = self.arenas.thread();
        let scratch = carve(&mut memory, Scratch::carver(layout));
        let run = padded_pairs(layout.run());
        let turned = TurnedTaps {
            filters,
            first: self.block * BLOCK,
            rows: scratch.taps,
        };
        // SAFETY: the memory has the weights of all blocks, the scratch those of `INPUTS` channels.
        unsafe {
            let to = self.memory.weights.get().add(self.block * layout.depth() * BLOCK);
            to.write_bytes(0, layout.depth() * BLOCK);
            for input in (0..filters.inputs).step_by(INPUTS) {
                let inputs = INPUTS.min(filters.inputs - input);
                turned.fill(s, input, inputs);
                for i in (0..inputs).step_by(2) {
                    for tap in 0..taps {
                        let low = turned.row(i, tap);
                        let low = [s.load(low), s.load(low.add(16))];
                        let high = if i + 1 < inputs {
                            let high = turned.row(i + 1, tap);
                            [s.load(high), s.load(high.add(16))]
                        } else {
                            [s.splat(0.0); 2]
                        };
                        let row = tap / kernel * run + tap % kernel * layout.pairs + (input + i) / 2;
                        store_pairs(u, low, high, to.add(row * BLOCK));
                    }
                }
            }
        }
    }
}

/// Channels whose weights are turned at a time: even.
const INPUTS: usize = 8;

/// The weights of some channels and a block of outputs, a row for each tap of each channel, so that outputs are lanes.
pub(super) struct TurnedTaps<'a> {
    filters: Filters<'a>,
    /// First output.
    first: usize,
    rows: *mut f32,
}

impl TurnedTaps<'_> {
    /// Rows of any channels.
    pub(super) const fn len(kernel: usize) -> usize {
        INPUTS * (kernel * kernel).next_multiple_of(16)
    }

    fn taps(&self) -> usize {
        self.filters.kernel * self.filters.kernel
    }

    /// Rows from channel to channel.
    fn channel(&self) -> usize {
        if self.filters.adjoint {
            self.taps().next_multiple_of(16)
        } else {
            self.taps()
        }
    }

    /// Weights of tap `tap` of channel number `i` of those turned.
    ///
    /// # Safety
    /// They must have been.
    #[inline(always)]
    unsafe fn row(&self, i: usize, tap: usize) -> *mut f32 {
        let tap = if self.filters.adjoint {
            self.taps() - 1 - tap
        } else {
            tap
        };
        // SAFETY: the caller's condition.
        unsafe { self.rows.add((i * self.channel() + tap) * BLOCK) }
    }

    /// Turns the weights of `inputs` channels from `input` on; zeros where there are no outputs.
    ///
    /// # Safety
    /// There must be room for [`TurnedTaps::len`] rows.
    #[inline(always)]
    unsafe fn fill<S: Isa>(&self, s: S, input: usize, inputs: usize) {
        let (filters, taps) = (self.filters, self.taps());
        for half in 0..2 {
            let first = self.first + 16 * half;
            let lanes = filters.outputs.saturating_sub(first).min(16);
            // SAFETY: the caller's condition; a vector and a row follow each other as the weights lie.
            unsafe {
                let to = self.rows.add(16 * half);
                if filters.adjoint {
                    // The weights of a channel follow each other output by output.
                    for i in 0..inputs {
                        let start = ((input + i) * filters.outputs + first) * taps;
                        turn(
                            s,
                            filters.weight,
                            start,
                            taps,
                            lanes,
                            taps,
                            to.add(i * self.channel() * BLOCK),
                        );
                    }
                } else {
                    // Those of an output channel by channel.
                    let start = (first * filters.inputs + input) * taps;
                    turn(
                        s,
                        filters.weight,
                        start,
                        filters.inputs * taps,
                        lanes,
                        inputs * taps,
                        to,
                    );
                }
            }
        }
    }
}

/// Transposes `lanes ≤ 16` rows of `columns` weights, `row` apart from `start` on, to rows of lanes, [`BLOCK`] floats apart;
/// zeros in lanes beyond. Rows beyond the columns, up to a multiple of sixteen, are unspecified.
///
/// # Safety
/// The rows that are written must be valid.
#[inline(always)]
unsafe fn turn<S: Isa>(s: S, weights: &[f32], start: usize, row: usize, lanes: usize, columns: usize, to: *mut f32) {
    for column in (0..columns).step_by(16) {
        let start = start + column;
        // SAFETY: the caller's condition; whole squares are read where they lie within the weights.
        unsafe {
            let to = to.add(column * BLOCK);
            if lanes == 16 && start + 15 * row + 16 <= weights.len() {
                s.transpose(weights.as_ptr().add(start), row, to, BLOCK);
                continue;
            }
            for i in 0..16.min(columns - column) {
                for lane in 0..16 {
                    *to.add(i * BLOCK + lane) = if lane < lanes {
                        weights[start + lane * row + i]
                    } else {
                        0.0
                    };
                }
            }
        }
    }
}
