//! The adjoint of the perception of a tile.
//!
//! The gradient with respect to the perception exists at active cells only. It is spread to rows of
//! the tile in L1, zero elsewhere; every row then gives to the rows above, at and below it. What
//! falls inside the tile is final; what falls on the ring of cells around it is written aside and
//! added by [`add_rings`] in the order of the tiles, so that no two threads meet and the sum does
//! not depend on them.

// Vector code on scratch memory.
#![allow(unsafe_code)]

use super::super::arena::Carver;
use super::super::perceive::neighbour;
use super::super::simd::{Isa, prefetch};
use super::Plan;
use super::active::Active;
use super::stencil::Stencil;
use super::tiling::{Tile, Tiling};

/// Scratch of one tile and channel.
pub(super) struct Spread {
    /// Gradient of each kernel, rows of `pitch` floats of which column [`MARGIN`] is the tile's first.
    planes: *mut f32,
    /// Gradient of the state with the ring: rows −1 to `height`, column 0 is the tile's column −1.
    sums: *mut f32,
    pitch: usize,
    max_height: usize,
    kernels: usize,
}

/// Zeros left of a row; as many floats as a vector may have.
const MARGIN: usize = 16;

impl Spread {
    /// Takes the memory for any tile of `tiling`.
    pub(super) fn carve(carver: &mut Carver, tiling: &Tiling, kernels: usize) -> Self {
        // The last vector of sums starts at most at the last column of the ring and reads one column
        // further right than it writes.
        let pitch = (MARGIN + tiling.max_width() + 2 * MARGIN + 2).next_multiple_of(16);
        let max_height = tiling.max_height();
        Self {
            planes: carver.take(kernels * max_height * pitch),
            sums: carver.take((max_height + 2) * pitch),
            pitch,
            max_height,
            kernels,
        }
    }

    /// Clears the margins of the rows, which the tile itself never touches.
    #[inline(always)]
    pub(super) unsafe fn clear(&mut self, tile: &Tile) {
        // SAFETY: rows and margins as taken by `carve`.
        unsafe {
            for row in 0..self.kernels * self.max_height {
                let start = self.planes.add(row * self.pitch);
                start.write_bytes(0, MARGIN);
                start
                    .add(MARGIN + tile.width)
                    .write_bytes(0, self.pitch - MARGIN - tile.width);
            }
        }
    }
}

/// Floats a tile writes aside for each channel: the row above, the row below (corners included),
/// the column left, the column right.
pub(super) fn ring_len(tiling: &Tiling) -> usize {
    2 * (tiling.max_width() + 2) + 2 * tiling.max_height()
}

/// `g_x = base + adjoint of the perception` inside `tile`, and the ring of every channel.
///
/// # Safety
/// `g_z` must have `K·C` rows of `ld` floats with a column for each active cell; `base` and
/// `g_x` (which may be the same) be samples `[C,H,W]`; `ring` hold `C · ring_len` floats;
/// `spread` have been cleared for this tile.
#[inline(always)]
pub(super) unsafe fn adjoint_tile<S: Isa>(
    s: S,
    plan: &Plan,
    tile: &Tile,
    active: &Active<S>,
    spread: &Spread,
    g_z: *const f32,
    ld: usize,
    base: *const f32,
    g_x: *mut f32,
    ring: *mut f32,
) {
    let plane = plan.grid.height * plan.grid.width;
    // SAFETY: the caller's condition.
    unsafe {
        for channel in 0..plan.stencil.channels {
            for kernel in 0..spread.kernels {
                let g_z = g_z.add(plan.stencil.row(channel, kernel) * ld);
                for row in 0..tile.height {
                    let to = spread
                        .planes
                        .add((kernel * spread.max_height + row) * spread.pitch + MARGIN);
                    for group in (0..active.groups()).rev() {
                        let (lanes, number) = active.group(row, group);
                        s.store(to.add(active.column(group)), s.expand(s.load(g_z.add(number)), lanes));
                    }
                }
            }
            let vectors = (tile.width + 2).div_ceil(S::LANES);
            for v in 0..vectors {
                give_strip(s, &plan.stencil, spread, tile.height, v * S::LANES);
            }
            let at = channel * plane + tile.y * plan.grid.width + tile.x;
            for row in 0..tile.height {
                let from = spread.sums.add((row + 1) * spread.pitch + 1);
                let at = at + row * plan.grid.width;
                if plan.ahead {
                    prefetch(g_x.wrapping_add(at + plane), tile.width);
                    prefetch(base.wrapping_add(at + plane), tile.width);
                }
                add_row(s, from, base.add(at), g_x.add(at), tile.width);
            }
            write_ring(tile, spread, ring.add(channel * ring_len(&plan.backward)));
        }
    }
}

/// The sums of a strip, from the row above the tile to the row below it, at the vector of columns `at`
/// (counted from the tile's column −1): every row gives to the one above it, to itself and to the one
/// below it.
#[inline(always)]
unsafe fn give_strip<S: Isa>(s: S, stencil: &Stencil, spread: &Spread, height: usize, at: usize) {
    // SAFETY: the caller keeps the vector within the pitch, and so its neighbours on both sides; the
    // sums have two rows more than the tile.
    unsafe {
        let sums = spread.sums.add(at);
        // Of the row above and of the row itself what the rows before have given.
        let mut given = [s.splat(0.0); 2];
        for row in 0..height {
            let [above, here, below] = give(s, stencil, spread, row, at);
            s.store(sums.add(row * spread.pitch), s.add(given[0], above));
            given = [s.add(given[1], here), below];
        }
        for (i, given) in given.into_iter().enumerate() {
            s.store(sums.add((height + i) * spread.pitch), given);
        }
    }
}

/// What row `row` gives to the row above it, to itself and to the row below it.
#[inline(always)]
unsafe fn give<S: Isa>(s: S, stencil: &Stencil, spread: &Spread, row: usize, at: usize) -> [S::V; 3] {
    // SAFETY: the caller's condition.
    unsafe {
        // Column −1 of the tile is one before `MARGIN`.
        let from = |kernel: usize| {
            spread
                .planes
                .add((kernel * spread.max_height + row) * spread.pitch + MARGIN - 1 + at)
        };
        if let Some(classic) = &stencil.classic {
            let [centre, x, y, even] = classic.order.map(from);
            // A kernel seen from the other end is mirrored.
            let slope = s.sub(s.load(x.sub(1)), s.load(x.add(1)));
            let (e, sides) = (s.load(even), s.add(s.load(even.sub(1)), s.load(even.add(1))));
            let mut same = s.mul(s.splat(classic.odd_x[0]), slope);
            same = s.fma(s.splat(classic.even[0]), sides, same);
            same = s.fma(s.splat(classic.even[1]), e, same);
            let corners = s.add(s.load(y.sub(1)), s.load(y.add(1)));
            let odd = s.mul(s.splat(classic.odd_y[0]), corners);
            let odd = s.fma(s.splat(classic.odd_y[1]), s.load(y), odd);
            let mut here = s.mul(s.splat(classic.odd_x[1]), slope);
            here = s.fma(s.splat(classic.even[2]), sides, here);
            here = s.fma(s.splat(classic.even[3]), e, here);
            here = s.fma(s.splat(classic.centre), s.load(centre), here);
            [s.sub(same, odd), here, s.add(same, odd)]
        } else {
            let mut rows = [s.splat(0.0); 3];
            for (k, taps) in stencil.taps[..stencil.kernels].iter().enumerate() {
                let from = from(k);
                let seen = [s.load(from.add(1)), s.load(from), s.load(from.sub(1))];
                for (sum, weights) in rows.iter_mut().zip(taps) {
                    for (&weight, &g) in weights.iter().zip(&seen) {
                        *sum = s.fma(s.splat(weight), g, *sum);
                    }
                }
            }
            rows
        }
    }
}

/// `to = base + sums` over `len` floats.
#[inline(always)]
unsafe fn add_row<S: Isa>(s: S, sums: *const f32, base: *const f32, to: *mut f32, len: usize) {
    let mut i = 0;
    // SAFETY: the caller's condition.
    unsafe {
        while i + S::LANES <= len {
            s.store(to.add(i), s.add(s.load(base.add(i)), s.load(sums.add(i))));
            i += S::LANES;
        }
        while i < len {
            *to.add(i) = *base.add(i) + *sums.add(i);
            i += 1;
        }
    }
}

#[inline(always)]
unsafe fn write_ring(tile: &Tile, spread: &Spread, ring: *mut f32) {
    let row = tile.width + 2;
    // SAFETY: the caller's condition.
    unsafe {
        ring.copy_from_nonoverlapping(spread.sums, row);
        let bottom = spread.sums.add((tile.height + 1) * spread.pitch);
        ring.add(row).copy_from_nonoverlapping(bottom, row);
        for y in 0..tile.height {
            let sums = spread.sums.add((y + 1) * spread.pitch);
            *ring.add(2 * row + y) = *sums;
            *ring.add(2 * row + tile.height + y) = *sums.add(tile.width + 1);
        }
    }
}

/// Adds the rings of all tiles of a sample to one channel plane of its gradient, in the order of the
/// tiles. `ring(index of the tile in the sample)` is the tile's ring for this channel.
pub(super) fn add_rings<'a>(plan: &Plan, g_x: &mut [f32], ring: impl Fn(usize) -> &'a [f32]) {
    let (grid, padding) = (plan.grid, plan.stencil.padding);
    for index in 0..plan.backward.per_sample() {
        let tile = plan.backward.tile(index);
        let ring = ring(index);
        let row_len = tile.width + 2;
        // `neighbour` with shift 0 is the cell before, with shift 2 the one after.
        let left = neighbour(padding, grid.width, tile.x, 0);
        let right = neighbour(padding, grid.width, tile.x + tile.width - 1, 2);
        let above = neighbour(padding, grid.height, tile.y, 0);
        let below = neighbour(padding, grid.height, tile.y + tile.height - 1, 2);
        for (y, values) in [above, below].into_iter().zip(ring.chunks_exact(row_len)) {
            let Some(y) = y else { continue };
            let row = &mut g_x[y * grid.width..][..grid.width];
            for (to, &v) in row[tile.x..].iter_mut().zip(&values[1..=tile.width]) {
                *to += v;
            }
            if let Some(left) = left {
                row[left] += values[0];
            }
            if let Some(right) = right {
                row[right] += values[tile.width + 1];
            }
        }
        let columns = &ring[2 * row_len..];
        for (x, values) in [left, right].into_iter().zip(columns.chunks_exact(tile.height)) {
            let Some(x) = x else { continue };
            for (y, &v) in values.iter().enumerate().take(tile.height) {
                g_x[(tile.y + y) * grid.width + x] += v;
            }
        }
    }
}
