//! One step of one tile.

// Kernels on tiles in scratch memory.
#![allow(unsafe_code)]

use super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::bf16::dispatch;
use super::super::gemm::{Bias, Blocks, Panels, Strided, multiply};
use super::super::simd::{Isa, Kernel, prefetch};
use super::activations::{Activations, store_block};
use super::active::{Active, leading};
use super::bf16;
use super::hidden::hidden_block;
use super::mask::Mask;
use super::stencil::{Panel, perceive_tile};
use super::tiling::{Tile, Tiling};
use super::weights::Weights;
use super::{Plan, parts};

/// `x' = clamp(x + mask·dx)` on one tile.
pub(super) struct ForwardTile<'a> {
    pub(super) plan: &'a Plan,
    pub(super) arenas: &'a Arenas,
    pub(super) weights: &'a Weights,
    pub(super) mask: Mask,
    /// The tiling ([`Plan::forward_tiling`]) and the number of the tile in it.
    pub(super) tiling: &'a Tiling,
    pub(super) index: usize,
    /// Where the hidden layer is kept, if it is.
    pub(super) activations: Option<Activations>,
    /// State, `[B,C,H,W]`.
    pub(super) x: &'a [f32],
    /// Next state; each tile writes its own cells.
    pub(super) x_next: Shared<f32>,
}

/// Scratch of one tile.
pub(super) struct Pieces<S: Isa> {
    active: Active<S>,
    /// Perception of a part of the channels, `[K·part, active cells]`.
    z: *mut f32,
    /// Hidden layer: of one block of columns if there is one part, else `[D, active cells]`.
    h: *mut f32,
    /// Update, `[C, active cells]`.
    dx: *mut f32,
    /// Where factors are bf16.
    bf16: Option<bf16::Scratch>,
}

impl<S: Isa> Pieces<S> {
    pub(super) fn carve(carver: &mut Carver, plan: &Plan, tiling: &Tiling) -> Self {
        let cells = tiling.max_height() * tiling.max_width();
        let ld = leading::<S>(cells);
        let hidden = if plan.bf16.is_some() { 0 } else { plan.hidden };
        Self {
            active: Active::carve(carver, tiling),
            z: carver.take(plan.stencil.row(plan.part, 0) * ld),
            h: carver.take(Panels::new::<S>(hidden).padded() * ld.max(S::VECTORS * S::LANES)),
            dx: carver.take(Panels::new::<S>(plan.stencil.channels).padded() * ld),
            bf16: bf16::Scratch::carve(carver, plan, cells, false),
        }
    }
}

impl Kernel for ForwardTile<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let plan = self.plan;
        let mut memory = self.arenas.thread();
        let pieces = carve(&mut memory, |carver| Pieces::<S>::carve(carver, plan, self.tiling));
        // SAFETY: the pieces were carved for this plan; the state is as long as the grid says.
        unsafe { forward_tile(s, &self, pieces) };
    }
}

#[inline(always)]
unsafe fn forward_tile<S: Isa>(s: S, job: &ForwardTile<'_>, mut pieces: Pieces<S>) {
    let (plan, weights) = (job.plan, job.weights);
    let tile = job.tiling.tile(job.index);
    let sample = tile.sample * plan.stencil.channels * plan.grid.plane();
    pieces.active.draw(s, &job.mask, &tile, plan.grid.width);
    let active = &pieces.active;
    let ld = leading::<S>(active.count);
    let vectors = active.count.div_ceil(S::LANES);
    // SAFETY: panels have the rows and columns these kernels ask for (`Pieces::carve`), as has the room for
    // activations, which are only kept of layers that are not summed up part by part (`Layout::new`).
    unsafe {
        let x = job.x.as_ptr().add(sample);
        if let Some((rounded, scratch)) = weights.bf16.as_ref().zip(pieces.bf16) {
            // `Plan::new` has one part of all channels.
            let panel = Panel { start: pieces.z, ld };
            let all = 0..plan.stencil.channels;
            perceive_tile(s, plan, &tile, active, x, weights.zeros, all, panel);
            let layers = bf16::Forward {
                weights: rounded,
                b1: weights.b1,
                b2: weights.b2,
                scratch,
                z: pieces.z,
                dx: pieces.dx,
                ld,
                cells: active.count,
                keep: false,
            };
            dispatch(rounded.unit, layers);
            update_tile(s, plan, &tile, active, x, pieces.dx, ld, job.x_next.get().add(sample));
            return;
        }
        let channels = Panels::new::<S>(plan.stencil.channels);
        let kept = job.activations.and_then(|kept| kept.take(job.index, vectors));
        let whole = plan.part == plan.stencil.channels;
        let ldh = if whole { S::VECTORS * S::LANES } else { ld };
        for part in parts(0..plan.stencil.channels, plan.part) {
            if active.count == 0 {
                break;
            }
            let panel = Panel { start: pieces.z, ld };
            perceive_tile(s, plan, &tile, active, x, weights.zeros, part.clone(), panel);
            let last = part.end == plan.stencil.channels;
            for (column, vectors) in Blocks::new::<S>(vectors) {
                let z = Strided {
                    start: pieces.z.add(column),
                    stride: ld,
                };
                let h = pieces.h.add(if whole { 0 } else { column });
                hidden_block(s, plan, weights, part.clone(), z, vectors, h, ldh);
                if last {
                    let h = Strided { start: h, stride: ldh };
                    if let Some(kept) = kept {
                        store_block(s, plan.hidden, vectors, h, kept.add(column * plan.hidden));
                    }
                    let (dx, bias) = (pieces.dx.add(column), Bias(weights.b2));
                    multiply(s, channels, plan.hidden, weights.w2, h, vectors, dx, ld, bias);
                }
            }
        }
        update_tile(s, plan, &tile, active, x, pieces.dx, ld, job.x_next.get().add(sample));
    }
}

/// `x' = clamp(x + mask·dx)`.
///
/// # Safety
/// `x` and `x_next` must be samples `[C,H,W]`, `dx` have C rows of `ld` floats.
#[inline(always)]
unsafe fn update_tile<S: Isa>(
    s: S,
    plan: &Plan,
    tile: &Tile,
    active: &Active<S>,
    x: *const f32,
    dx: *const f32,
    ld: usize,
    x_next: *mut f32,
) {
    let bound = s.splat(plan.bound);
    let negative = s.splat(-plan.bound);
    // SAFETY: the caller's condition; groups lie within the tile.
    unsafe {
        for channel in 0..plan.stencil.channels {
            for row in 0..tile.height {
                let at = channel * plan.grid.plane() + (tile.y + row) * plan.grid.width + tile.x;
                if plan.ahead {
                    prefetch(x_next.wrapping_add(at + plan.grid.plane()), tile.width);
                    prefetch(x.wrapping_add(at + plan.grid.plane()), tile.width);
                }
                for group in (0..active.groups()).rev() {
                    let (lanes, number) = active.group(row, group);
                    let at = at + active.column(group);
                    let step = s.expand(s.load(dx.add(channel * ld + number)), lanes);
                    let next = s.add(s.load(x.add(at)), step);
                    s.store(x_next.add(at), s.max(negative, s.min(bound, next)));
                }
            }
        }
    }
}
