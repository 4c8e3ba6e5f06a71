//! The hidden layer of a block of cells.

// Kernels on tiles in scratch memory.
#![allow(unsafe_code)]

use std::ops::Range;

use super::super::gemm::{Panels, PartRelu, Strided, multiply};
use super::super::simd::Isa;
use super::weights::Weights;
use super::{Plan, parts};

/// `h = relu(W1·z + b1)` for a block of `vectors` vectors of cells, as far as `channels` contribute: the sums of the
/// first channels start with the bias, those of others with what `h` holds, and the last ones end with ReLU.
///
/// [`Plan::depth`] channels are multiplied at a time, so that their perception stays in L1 while every row of W1 meets
/// it.
///
/// # Safety
/// `z` must have K rows for each of the channels, `h` the padded number of rows, `ldh` floats apart, all valid for the
/// vectors; the weights must be packed in parts that `channels` consist of.
#[inline(always)]
pub(super) unsafe fn hidden_block<S: Isa>(
    s: S,
    plan: &Plan,
    weights: &Weights,
    channels: Range<usize>,
    z: Strided,
    vectors: usize,
    h: *mut f32,
    ldh: usize,
) {
    let hidden = Panels::new::<S>(plan.hidden);
    let first = channels.start;
    for part in parts(channels, plan.depth) {
        let epilogue = PartRelu {
            bias: weights.b1,
            first: part.start == 0,
            last: part.end == plan.stencil.channels,
        };
        // SAFETY: the caller's condition.
        unsafe {
            let z = Strided {
                start: z.start.add(plan.stencil.row(part.start - first, 0) * z.stride),
                stride: z.stride,
            };
            let w1 = weights.w1.add(hidden.padded() * plan.stencil.row(part.start, 0));
            let inputs = plan.stencil.row(part.len(), 0);
            multiply(s, hidden, inputs, w1, z, vectors, h, ldh, epilogue);
        }
    }
}
