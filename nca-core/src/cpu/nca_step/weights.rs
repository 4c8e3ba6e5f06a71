//! The weights of a model, packed for the micro-kernel once a call.

// Packed weights live in scratch memory.
#![allow(unsafe_code)]

use super::super::Buffer;
use super::super::arena::{Arenas, Carver};
use super::super::gemm::{Panels, most_padded};
use super::super::simd::{Isa, Kernel};
use super::{Plan, backward, bf16, forward, parts};
use crate::error::Result;
use crate::params::Params;

/// Packed matrices; those of the backward pass are null where it is not needed.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    /// W1, D rows of KC, columns as the rows of a panel of perceptions ([`Stencil::row`]), cut into parts of
    /// [`Plan::depth`] channels, each packed by itself. Forward starts anew with every [`Plan::part`].
    ///
    /// [`Stencil::row`]: super::stencil::Stencil::row
    pub(super) w1: *const f32,
    pub(super) b1: *const f32,
    /// W2, C rows of D.
    pub(super) w2: *const f32,
    /// Zeros where the model has no b2.
    pub(super) b2: *const f32,
    /// W1ᵀ, KC rows of D, rows as those of a panel of perceptions.
    pub(super) w1_transposed: *const f32,
    /// W2ᵀ, D rows of C.
    pub(super) w2_transposed: *const f32,
    /// The matrices in bf16, where that is multiplied; those of f32 are then empty.
    pub(super) bf16: Option<bf16::Weights>,
    /// As many zeros as a row has cells.
    pub(super) zeros: *const f32,
    /// [`Stencil::input`] of every row, for [`Pack`].
    ///
    /// [`Stencil::input`]: super::stencil::Stencil::input
    order: *mut usize,
}

// SAFETY: tiles only read the weights.
unsafe impl Send for Weights {}
// SAFETY: as above.
unsafe impl Sync for Weights {}

impl Weights {
    /// Takes the memory; [`Pack`] fills it.
    pub(super) fn carve(carver: &mut Carver, plan: &Plan, backward: bool) -> Self {
        let (inputs, hidden, channels) = (plan.inputs(), plan.hidden, plan.stencil.channels);
        let bf16 = bf16::Weights::carve(carver, plan, backward);
        let mut matrix = |rows: usize, depth: usize| carver.take::<f32>(most_padded(rows) * depth);
        let transposed = if backward && bf16.is_none() {
            (inputs, hidden, channels)
        } else {
            (0, 0, 0)
        };
        let depths = if bf16.is_some() { (0, 0) } else { (inputs, hidden) };
        Self {
            bf16,
            w1: matrix(hidden, depths.0),
            b1: matrix(hidden, 1),
            w2: matrix(channels, depths.1),
            b2: matrix(channels, 1),
            w1_transposed: matrix(transposed.0, hidden),
            w2_transposed: matrix(transposed.1, channels),
            zeros: matrix(1, plan.grid.width),
            order: carver.take(inputs),
        }
    }
}

/// Writes the packed weights, and makes room for the tiles of every thread.
pub(super) struct Pack<'a> {
    pub(super) plan: &'a Plan,
    pub(super) params: &'a Params<Buffer>,
    pub(super) arenas: &'a Arenas,
    pub(super) weights: Weights,
    pub(super) backward: bool,
    /// Whether forward steps will keep activations.
    pub(super) keep: bool,
}

impl Kernel for Pack<'_> {
    type Output = Result<()>;
    #[inline(always)]
    fn run<S: Isa>(self, _: S) -> Result<()> {
        let Self {
            plan,
            params,
            arenas,
            weights,
            backward,
            keep,
        } = self;
        let (inputs, hidden, channels) = (plan.inputs(), plan.hidden, plan.stencil.channels);
        let fill = |to: *const f32, rows: usize, depth: usize, value: &dyn Fn(usize, usize) -> f32| {
            let panels = Panels::new::<S>(rows);
            // SAFETY: `Weights::carve` took room for the rows with their padding, and nobody
            // reads it yet.
            let packed = unsafe { std::slice::from_raw_parts_mut(to.cast_mut(), panels.padded() * depth) };
            panels.pack(depth, packed, value);
        };
        let (w1, w2) = (&params.w1[..], &params.w2[..]);
        // SAFETY: `Weights::carve` took room for them; any bits are integers.
        let order = unsafe { std::slice::from_raw_parts_mut(weights.order, inputs) };
        for (row, input) in order.iter_mut().enumerate() {
            *input = plan.stencil.input(row);
        }
        let w1 = |row: usize, column: usize| w1[row * inputs + order[column]];
        let w2 = |row: usize, column: usize| w2[row * hidden + column];
        fill(weights.b1, hidden, 1, &|row, _| params.b1[row]);
        fill(weights.b2, channels, 1, &|row, _| {
            params.b2.as_ref().map_or(0.0, |b2| b2[row])
        });
        if let Some(bf16) = &weights.bf16 {
            bf16.fill(w1, w2);
        } else {
            // Backward perceives all channels in one go.
            let perceived = parts(0..channels, if backward { channels } else { plan.part });
            for part in perceived.flat_map(|perceived| parts(perceived, plan.depth)) {
                let inputs = plan.stencil.row(part.start, 0)..plan.stencil.row(part.end, 0);
                let to = weights
                    .w1
                    .wrapping_add(Panels::new::<S>(hidden).padded() * inputs.start);
                fill(to, hidden, inputs.len(), &|row, column| w1(row, inputs.start + column));
            }
            fill(weights.w2, channels, hidden, &w2);
            if backward {
                fill(weights.w1_transposed, inputs, hidden, &|row, column| w1(column, row));
                fill(weights.w2_transposed, hidden, channels, &|row, column| w2(column, row));
            }
        }
        if backward {
            arenas.reserve_threads(|carver| backward::Pieces::<S>::carve(carver, plan))?;
        } else {
            let tiling = plan.forward_tiling(keep);
            arenas.reserve_threads(|carver| forward::Pieces::<S>::carve(carver, plan, tiling))?;
            if keep {
                // Steps before those whose activations are kept.
                arenas.reserve_threads(|carver| forward::Pieces::<S>::carve(carver, plan, &plan.forward))?;
            }
        }
        // SAFETY: `Weights::carve` took a row of cells.
        unsafe { weights.zeros.cast_mut().write_bytes(0, plan.grid.width) };
        Ok(())
    }
}
