//! The gradient of one step of one tile.

// Kernels on tiles in scratch memory.
#![allow(unsafe_code)]

use super::super::arena::{Arenas, Carver, Shared, carve};
use super::super::bf16::{Turned, dispatch};
use super::super::gemm::{Bias, Blocks, Gate, OverCells, Panels, Plain, Strided, multiply, multiply_over_cells};
use super::super::simd::{Isa, Kernel};
use super::Plan;
use super::activations::{Activations, load_block};
use super::active::{Active, leading};
use super::adjoint::{Columns, adjoint_tile, ring_len};
use super::bf16;
use super::hidden::hidden_block;
use super::mask::Mask;
use super::stencil::{Panel, perceive_tile};
use super::tiling::Tile;
use super::weights::Weights;

/// How the gradients of w1 and w2 are computed and lie.
pub(super) enum Matrices {
    F32([OverCells; 2]),
    Bf16([Turned; 2]),
}

impl Matrices {
    fn new<S: Isa>(plan: &Plan) -> Self {
        let shapes = [(plan.hidden, plan.inputs()), (plan.stencil.channels, plan.hidden)];
        let vectors = plan.backward_active().div_ceil(S::LANES);
        match plan.bf16 {
            Some(_) => Self::Bf16(shapes.map(|(rows, columns)| Turned::new(rows, columns))),
            None => Self::F32(shapes.map(|(rows, columns)| OverCells::new::<S>(rows, columns, vectors))),
        }
    }

    /// Elements of both.
    fn len(&self) -> [usize; 2] {
        match self {
            Self::F32(ways) => ways.map(OverCells::len),
            Self::Bf16(ways) => ways.map(Turned::len),
        }
    }

    /// Where element `(row, column)` of the gradient of w1 lies.
    pub(super) fn w1(&self, row: usize, column: usize) -> usize {
        self.index(0, row, column)
    }

    /// As [`Matrices::w1`], of w2.
    pub(super) fn w2(&self, row: usize, column: usize) -> usize {
        self.index(1, row, column)
    }

    fn index(&self, matrix: usize, row: usize, column: usize) -> usize {
        match self {
            Self::F32(ways) => ways[matrix].index(row, column),
            Self::Bf16(ways) => ways[matrix].index(row, column),
        }
    }
}

/// Where the parts of a group's parameter gradients lie.
pub(super) struct GradLayout {
    pub(super) matrices: Matrices,
    pub(super) w2_start: usize,
    pub(super) b1_start: usize,
    pub(super) b2_start: usize,
    pub(super) len: usize,
}

impl GradLayout {
    pub(super) fn new<S: Isa>(plan: &Plan) -> Self {
        let matrices = Matrices::new::<S>(plan);
        let [w1, w2] = matrices.len();
        let w2_start = w1.next_multiple_of(16);
        let b1_start = w2_start + w2.next_multiple_of(16);
        let b2_start = b1_start + plan.hidden.next_multiple_of(16);
        Self {
            matrices,
            w2_start,
            b1_start,
            b2_start,
            len: b2_start + plan.stencil.channels.next_multiple_of(16),
        }
    }
}

/// The gradient of the tiles of one group, in order.
pub(super) struct BackwardGroup<'a> {
    pub(super) plan: &'a Plan,
    pub(super) arenas: &'a Arenas,
    pub(super) weights: &'a Weights,
    pub(super) mask: Mask,
    /// Numbers of the tiles in the backward tiling.
    pub(super) tiles: std::ops::Range<usize>,
    /// State before the step, `[B,C,H,W]`.
    pub(super) x: &'a [f32],
    /// Hidden layers kept by the step, if any.
    pub(super) activations: Option<Activations>,
    /// Gradient after the step, `[B,C,H,W]`.
    pub(super) g_next: &'a [f32],
    /// Gradient before the step; each tile writes its own cells.
    pub(super) g_x: Shared<f32>,
    /// Rings of all tiles; each tile writes its own.
    pub(super) rings: Shared<f32>,
    /// Parameter gradients of this group, as [`GradLayout`] says; written, not added to.
    pub(super) grads: Shared<f32>,
}

/// Scratch of one tile.
pub(super) struct Pieces<S: Isa> {
    active: Active<S>,
    columns: Columns,
    /// Perception, then its gradient, `[KC, active cells]`.
    z: *mut f32,
    /// Hidden layer, then the gradient before its ReLU, `[D, active cells]`.
    h: *mut f32,
    /// Update, `[C, active cells]`; only with a clamp.
    dx: *mut f32,
    /// Gradient of the update, `[C, active cells]`.
    g_dx: *mut f32,
    /// What [`multiply_over_cells`] transposes.
    turned: *mut f32,
    /// Where factors are bf16.
    bf16: Option<bf16::Scratch>,
}

impl<S: Isa> Pieces<S> {
    pub(super) fn carve(carver: &mut Carver, plan: &Plan) -> Self {
        let tiling = &plan.backward;
        let cells = tiling.max_height() * tiling.max_width();
        let ld = leading::<S>(cells);
        let [channels, inputs, hidden] =
            [plan.stencil.channels, plan.inputs(), plan.hidden].map(OverCells::padded_rows::<S>);
        Self {
            active: Active::carve(carver, tiling),
            columns: Columns::carve(carver, tiling),
            z: carver.take(inputs * ld),
            h: carver.take(if plan.bf16.is_some() { 0 } else { hidden * ld }),
            dx: carver.take(if plan.clamped() { channels * ld } else { 0 }),
            g_dx: carver.take(channels * ld),
            turned: carver.take(OverCells::scratch()),
            bf16: bf16::Scratch::carve(carver, plan, cells, true),
        }
    }
}

impl Kernel for BackwardGroup<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, s: S) {
        let plan = self.plan;
        let mut memory = self.arenas.thread();
        let mut pieces = carve(&mut memory, |carver| Pieces::<S>::carve(carver, plan));
        let layout = GradLayout::new::<S>(plan);
        for index in self.tiles.clone() {
            // SAFETY: the pieces were carved for this plan; buffers are as long as the grid says.
            unsafe { backward_tile(s, &self, &layout, &mut pieces, index) };
        }
    }
}

#[inline(always)]
unsafe fn backward_tile<S: Isa>(
    s: S,
    job: &BackwardGroup<'_>,
    layout: &GradLayout,
    pieces: &mut Pieces<S>,
    index: usize,
) {
    let (plan, weights) = (job.plan, job.weights);
    let tile = plan.backward.tile(index);
    let channels = plan.stencil.channels;
    let sample = tile.sample * channels * plan.grid.plane();
    pieces.active.draw(s, &job.mask, &tile, plan.grid.width);
    let active = &pieces.active;
    let ld = leading::<S>(active.count);
    let vectors = active.count.div_ceil(S::LANES);
    // SAFETY: panels have the rows and columns these kernels ask for (`Pieces::carve`).
    unsafe {
        let x = job.x.as_ptr().add(sample);
        let g_next = job.g_next.as_ptr().add(sample);
        let g_x = job.g_x.get().add(sample);
        let panel = Panel { start: pieces.z, ld };
        perceive_tile(s, plan, &tile, active, x, weights.zeros, 0..channels, panel);
        let rounded = weights.bf16.as_ref().zip(pieces.bf16);
        if let Some((rounded, scratch)) = rounded {
            let layers = bf16::Forward {
                weights: rounded,
                b1: weights.b1,
                b2: weights.b2,
                scratch,
                z: pieces.z,
                dx: if plan.clamped() {
                    pieces.dx
                } else {
                    std::ptr::null_mut()
                },
                ld,
                cells: active.count,
                keep: true,
            };
            dispatch(rounded.unit, layers);
        } else {
            let kept = job.activations.and_then(|kept| kept.get(index, vectors));
            hidden_layer(s, plan, weights, pieces, kept, ld, vectors);
        }
        let base = if plan.clamped() {
            clamp_backward(s, plan, &tile, active, x, pieces.dx, ld, g_next, g_x);
            g_x.cast_const()
        } else {
            g_next
        };
        gather(s, plan, &tile, active, base, pieces.g_dx, ld);
        let (grads, fresh) = (job.grads.get(), index == job.tiles.start);
        let matrices = [grads, grads.add(layout.w2_start)];
        let g_b1 = grads.add(layout.b1_start);
        row_sums(s, pieces.g_dx, ld, channels, vectors, grads.add(layout.b2_start), fresh);
        match (&layout.matrices, rounded) {
            (&Matrices::F32(ways), _) => {
                layers_backward(s, plan, weights, pieces, ld, vectors, ways, matrices, g_b1, fresh);
            }
            (&Matrices::Bf16(ways), Some((rounded, scratch))) => {
                let layers = bf16::Backward {
                    weights: rounded,
                    scratch,
                    g_dx: pieces.g_dx,
                    g_z: pieces.z,
                    ld,
                    cells: active.count,
                    ways,
                    matrices,
                    g_b1,
                    fresh,
                };
                dispatch(rounded.unit, layers);
            }
            (Matrices::Bf16(_), None) => unreachable!("weights and scratch are carved for the plan"),
        }
        pieces.columns.clear(&tile);
        let ring = job.rings.get().add(index * channels * ring_len(&plan.backward));
        adjoint_tile(s, plan, &tile, active, &pieces.columns, pieces.z, ld, base, g_x, ring);
    }
}

/// `h = relu(W1·z + b1)`, or what was kept of it, and `dx = W2·h + b2` where the clamp will ask for it.
#[inline(always)]
unsafe fn hidden_layer<S: Isa>(
    s: S,
    plan: &Plan,
    weights: &Weights,
    pieces: &Pieces<S>,
    kept: Option<*const f32>,
    ld: usize,
    vectors: usize,
) {
    let channels = Panels::new::<S>(plan.stencil.channels);
    // SAFETY: the caller's condition.
    unsafe {
        for (column, vectors) in Blocks::new::<S>(vectors) {
            let z = Strided {
                start: pieces.z.add(column),
                stride: ld,
            };
            let h = pieces.h.add(column);
            if let Some(kept) = kept {
                load_block(s, plan.hidden, vectors, kept.add(column * plan.hidden), h, ld);
            } else {
                hidden_block(s, plan, weights, 0..plan.stencil.channels, z, vectors, h, ld);
            }
            if plan.clamped() {
                let (h, dx) = (Strided { start: h, stride: ld }, pieces.dx.add(column));
                multiply(
                    s,
                    channels,
                    plan.hidden,
                    weights.w2,
                    h,
                    vectors,
                    dx,
                    ld,
                    Bias(weights.b2),
                );
            }
        }
    }
}

/// The gradient of the update: `g`, a gradient of the state, at the active cells.
#[inline(always)]
unsafe fn gather<S: Isa>(s: S, plan: &Plan, tile: &Tile, active: &Active<S>, g: *const f32, g_dx: *mut f32, ld: usize) {
    // SAFETY: the caller's condition; groups lie within the tile.
    unsafe {
        for channel in 0..plan.stencil.channels {
            let g_dx = g_dx.add(channel * ld);
            let at = channel * plan.grid.plane() + tile.y * plan.grid.width + tile.x;
            let mut rest = s.splat(0.0);
            for group in 0..active.groups() {
                for row in 0..tile.height {
                    let (packer, number) = active.packer(s, row, group);
                    let g = s.load(g.add(at + row * plan.grid.width + active.column(group)));
                    rest = s.append(packer, g_dx, number, rest, g);
                }
            }
            s.finish(g_dx, active.count, rest);
        }
    }
}

/// With a clamp: `g_x = g_next` where `x + mask·dx` is within the bounds, else 0.
#[inline(always)]
unsafe fn clamp_backward<S: Isa>(
    s: S,
    plan: &Plan,
    tile: &Tile,
    active: &Active<S>,
    x: *const f32,
    dx: *const f32,
    ld: usize,
    g_next: *const f32,
    g_x: *mut f32,
) {
    let bound = s.splat(plan.bound);
    // SAFETY: the caller's condition; groups lie within the tile.
    unsafe {
        for channel in 0..plan.stencil.channels {
            let dx = dx.add(channel * ld);
            for row in 0..tile.height {
                let at = channel * plan.grid.plane() + (tile.y + row) * plan.grid.width + tile.x;
                for group in (0..active.groups()).rev() {
                    let (lanes, number) = active.group(row, group);
                    let at = at + active.column(group);
                    let next = s.add(s.load(x.add(at)), s.expand(s.load(dx.add(number)), lanes));
                    s.store(g_x.add(at), s.where_within(next, bound, s.load(g_next.add(at))));
                }
            }
        }
    }
}

/// Gradients of w1, w2 and b1, computed in the given `ways`; `h` turns from the hidden layer into the gradient before
/// its ReLU, and `z` from the perception into its gradient.
#[inline(always)]
unsafe fn layers_backward<S: Isa>(
    s: S,
    plan: &Plan,
    weights: &Weights,
    pieces: &Pieces<S>,
    ld: usize,
    vectors: usize,
    [w1, w2]: [OverCells; 2],
    [g_w1, g_w2]: [*mut f32; 2],
    g_b1: *mut f32,
    fresh: bool,
) {
    let [inputs, hidden] = [plan.inputs(), plan.hidden].map(Panels::new::<S>);
    let turned = pieces.turned;
    let columns = |panel: *mut f32, column: usize| Strided {
        start: panel.wrapping_add(column),
        stride: ld,
    };
    // SAFETY: the caller's condition; the gradients are as long as their layouts say.
    unsafe {
        multiply_over_cells(s, w2, pieces.g_dx, pieces.h, ld, vectors, turned, g_w2, fresh);
        for (column, vectors) in Blocks::new::<S>(vectors) {
            let (g_dx, h) = (columns(pieces.g_dx, column), pieces.h.add(column));
            let (w2, channels) = (weights.w2_transposed, plan.stencil.channels);
            multiply(s, hidden, channels, w2, g_dx, vectors, h, ld, Gate);
        }
        multiply_over_cells(s, w1, pieces.h, pieces.z, ld, vectors, turned, g_w1, fresh);
        row_sums(s, pieces.h, ld, plan.hidden, vectors, g_b1, fresh);
        for (column, vectors) in Blocks::new::<S>(vectors) {
            let (h, z) = (columns(pieces.h, column), pieces.z.add(column));
            multiply(s, inputs, plan.hidden, weights.w1_transposed, h, vectors, z, ld, Plain);
        }
    }
}

/// `sums[r] += Σ a[r]` (`=` if `fresh`), four rows at a time: `a` and `sums` have room for whole fours.
#[inline(always)]
unsafe fn row_sums<S: Isa>(s: S, a: *const f32, ld: usize, rows: usize, vectors: usize, sums: *mut f32, fresh: bool) {
    // SAFETY: the caller's condition.
    unsafe {
        for row in (0..rows).step_by(4) {
            let mut partial = [s.splat(0.0); 4];
            for v in 0..vectors {
                for (r, partial) in partial.iter_mut().enumerate() {
                    *partial = s.add(*partial, s.load(a.add((row + r) * ld + v * S::LANES)));
                }
            }
            for (r, sum) in s.sums(partial).into_iter().enumerate() {
                let old = if fresh { 0.0 } else { *sums.add(row + r) };
                *sums.add(row + r) = old + sum;
            }
        }
    }
}
