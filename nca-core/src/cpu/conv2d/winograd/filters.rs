//! Filters to their numbers at the points, one output a lane.

// Filters whose channels the callers check, and scratch that they carve.
#![allow(unsafe_code)]

use std::ops::Range;

use super::super::super::simd::Isa;
use super::super::Filters;
use super::points::{Grid, KERNEL, transform_weights};

/// Weights of a filter.
const TAPS: usize = KERNEL * KERNEL;

/// Floats that [`transform_filters`] needs for the filters of `inputs` inputs.
pub(super) fn scratch_floats(inputs: usize, lanes: usize) -> usize {
    (inputs * TAPS + lanes) * lanes
}

/// Transforms the filters from `inputs` to the outputs from `output` on, a vector of them; `to` says where those of an
/// input go, counted from the first.
///
/// # Safety
/// The channels must be there, `scratch` be valid for [`scratch_floats`] and the grids for 6 × 6 vectors.
#[inline(always)]
pub(super) unsafe fn transform_filters<S: Isa>(
    s: S,
    filters: Filters<'_>,
    inputs: Range<usize>,
    output: usize,
    scratch: *mut f32,
    to: impl Fn(usize) -> Grid,
) {
    let count = inputs.len();
    // SAFETY: the caller's condition.
    unsafe {
        if filters.adjoint {
            gather_adjoint(s, filters, inputs, output, scratch);
        } else {
            gather(s, filters, inputs, output, scratch);
        }
        for input in 0..count {
            let from = Grid {
                start: scratch.add(input * TAPS * S::LANES),
                row: KERNEL * S::LANES,
                column: S::LANES,
            };
            transform_weights(s, from, filters.adjoint, to(input));
        }
    }
}

/// Copies the weights to `to`, a vector for each tap of each input. An output's weights from neighbouring inputs lie one
/// after the other.
#[inline(always)]
unsafe fn gather<S: Isa>(s: S, filters: Filters<'_>, inputs: Range<usize>, output: usize, to: *mut f32) {
    let stride = filters.inputs * TAPS;
    let weights = &filters.weight[output * stride + inputs.start * TAPS..];
    let (outputs, taps) = (S::LANES.min(filters.outputs - output), inputs.len() * TAPS);
    // SAFETY: the caller's condition; squares lie within the weights of the inputs and outputs.
    unsafe {
        let mut tap = 0;
        if outputs == S::LANES {
            while tap + S::LANES <= taps {
                s.transpose(weights[tap..].as_ptr(), stride, to.add(tap * S::LANES), S::LANES);
                tap += S::LANES;
            }
        }
        for tap in tap..taps {
            let to = to.add(tap * S::LANES);
            s.store(to, s.splat(0.0));
            for lane in 0..outputs {
                *to.add(lane) = weights[lane * stride + tap];
            }
        }
    }
}

/// As [`gather`], for the adjoint: the weights of an input to neighbouring outputs lie one after the other.
#[inline(always)]
unsafe fn gather_adjoint<S: Isa>(s: S, filters: Filters<'_>, inputs: Range<usize>, output: usize, to: *mut f32) {
    let outputs = S::LANES.min(filters.outputs - output);
    for (input, at) in inputs.zip((0..).step_by(TAPS)) {
        let weights = &filters.weight[(input * filters.outputs + output) * TAPS..];
        // SAFETY: the caller's condition; squares lie within the weights, and what they write behind an input's taps is
        // written again by the next input, or lies in the scratch's surplus.
        unsafe {
            let to = to.add(at * S::LANES);
            if outputs == S::LANES && weights.len() >= (S::LANES - 1) * TAPS + S::LANES.max(TAPS) {
                let mut tap = 0;
                while tap < TAPS {
                    // The last square of narrow vectors overlaps the one before.
                    let first = tap.min(TAPS.saturating_sub(S::LANES));
                    s.transpose(weights[first..].as_ptr(), TAPS, to.add(first * S::LANES), S::LANES);
                    tap += S::LANES;
                }
                continue;
            }
            for tap in 0..TAPS {
                let to = to.add(tap * S::LANES);
                s.store(to, s.splat(0.0));
                for lane in 0..outputs {
                    *to.add(lane) = weights[lane * TAPS + tap];
                }
            }
        }
    }
}
