//! The adjoint of the perception of a tile.
//!
//! The gradient with respect to the perception exists at active cells only. Strip by strip it is spread to the cells,
//! zero elsewhere, and summed up down the columns: three planes in L1 tell what every cell's column gives to the cells
//! on the left, in the column and on the right. Across, these are three summands a cell. What falls inside the tile is
//! final; what falls on the ring of cells around it is written aside and added by [`add_rings`] in the order of the
//! tiles, so that no two threads meet and the sum does not depend on them.

// Vector code on scratch memory.
#![allow(unsafe_code)]

use super::super::arena::Carver;
use super::super::perceive::neighbour;
use super::super::simd::{Isa, prefetch};
use super::Plan;
use super::active::Active;
use super::stencil::{Form, Stencil, Three};
use super::tiling::{Tile, Tiling};

/// A way to bring gradients of all kernels back to the cells, down a strip, row after row.
pub(super) trait Adjoint<S: Isa>: Copy {
    /// What is kept of the rows above.
    type Carry: Copy;

    /// Before the first row.
    fn start(self, s: S) -> Self::Carry;

    /// Given one more row, whose gradients of kernel `k` lie packed at `g + k·ld`: what the columns give to the row
    /// above it, left, in the column and right.
    ///
    /// # Safety
    /// `g` must be valid for a vector at each kernel.
    unsafe fn next(
        self,
        s: S,
        carry: Self::Carry,
        g: *const f32,
        ld: usize,
        lanes: S::Select,
    ) -> (Three<S>, Self::Carry);

    /// As [`Adjoint::next`], given a row without gradients.
    fn end(self, s: S, carry: Self::Carry) -> (Three<S>, Self::Carry);
}

/// Gradients of four kernels, one of each symmetry, at a vector of cells: centre, odd in x, odd in y, even.
pub(super) type Four<S> = [<S as Isa>::V; 4];

/// Four kernels, one of each symmetry.
pub(super) trait Symmetric<S: Isa>: Copy {
    /// Number of each kernel in the model.
    fn order(self) -> [usize; 4];

    /// What the columns of three rows give to the middle one, left, in the column and right.
    fn give(self, s: S, rows: [Four<S>; 3]) -> Three<S>;
}

/// Keeps the rows that [`Symmetric::give`] asks for.
#[derive(Clone, Copy)]
struct Window<K>(K);

impl<S: Isa, K: Symmetric<S>> Adjoint<S> for Window<K> {
    /// The last row but one and the last.
    type Carry = [Four<S>; 2];

    #[inline(always)]
    fn start(self, s: S) -> Self::Carry {
        [[s.splat(0.0); 4]; 2]
    }

    #[inline(always)]
    unsafe fn next(
        self,
        s: S,
        [above, here]: Self::Carry,
        g: *const f32,
        ld: usize,
        lanes: S::Select,
    ) -> (Three<S>, Self::Carry) {
        let mut below = [s.splat(0.0); 4];
        for (v, kernel) in below.iter_mut().zip(self.0.order()) {
            // SAFETY: the caller's condition.
            *v = s.expand(unsafe { s.load(g.add(kernel * ld)) }, lanes);
        }
        (self.0.give(s, [above, here, below]), [here, below])
    }

    #[inline(always)]
    fn end(self, s: S, [above, here]: Self::Carry) -> (Three<S>, Self::Carry) {
        let below = [s.splat(0.0); 4];
        (self.0.give(s, [above, here, below]), [here, below])
    }
}

/// Any kernels: nine multiply-adds each.
impl<S: Isa> Adjoint<S> for &Stencil {
    /// What the rows so far give to the last one and to the one below it.
    type Carry = [Three<S>; 2];

    #[inline(always)]
    fn start(self, s: S) -> Self::Carry {
        [[s.splat(0.0); 3]; 2]
    }

    #[inline(always)]
    unsafe fn next(
        self,
        s: S,
        [above, here]: Self::Carry,
        g: *const f32,
        ld: usize,
        lanes: S::Select,
    ) -> (Three<S>, Self::Carry) {
        let mut rows = [above, here, [s.splat(0.0); 3]];
        for (k, taps) in self.taps[..self.kernels].iter().enumerate() {
            // SAFETY: the caller's condition.
            let g = s.expand(unsafe { s.load(g.add(k * ld)) }, lanes);
            for (row, weights) in rows.iter_mut().zip(taps) {
                for (sum, &weight) in row.iter_mut().zip(weights) {
                    *sum = s.fma(s.splat(weight), g, *sum);
                }
            }
        }
        let [done, here, below] = rows;
        (done, [here, below])
    }

    #[inline(always)]
    fn end(self, s: S, [above, here]: Self::Carry) -> (Three<S>, Self::Carry) {
        (above, [here, [s.splat(0.0); 3]])
    }
}

/// Scratch of one tile and channel: what the columns give, in rows −1 to `height`.
pub(super) struct Columns {
    /// Of each row what goes left, stays and goes right, in `pitch` floats of which [`MARGIN`] is the tile's first column.
    planes: *mut f32,
    pitch: usize,
    rows: usize,
}

/// Zeros left of a row; as many floats as a vector may have.
const MARGIN: usize = 16;

impl Columns {
    /// Takes the memory for any tile of `tiling`.
    pub(super) fn carve(carver: &mut Carver, tiling: &Tiling) -> Self {
        let pitch = (MARGIN + tiling.max_width() + MARGIN).next_multiple_of(16);
        let rows = tiling.max_height() + 2;
        Self {
            planes: carver.take(3 * rows * pitch),
            pitch,
            rows,
        }
    }

    /// Clears the margins of the rows, which the tile itself never touches.
    #[inline(always)]
    pub(super) unsafe fn clear(&mut self, tile: &Tile) {
        // SAFETY: rows and margins as taken by `carve`.
        unsafe {
            for row in 0..3 * self.rows {
                let start = self.planes.add(row * self.pitch);
                start.write_bytes(0, MARGIN);
                start
                    .add(MARGIN + tile.width)
                    .write_bytes(0, self.pitch - MARGIN - tile.width);
            }
        }
    }

    /// What goes left, stays and goes right in row `row`, counted from the one above the tile, from the tile's first
    /// column on.
    #[inline(always)]
    unsafe fn row(&self, row: usize) -> [*mut f32; 3] {
        // SAFETY: the caller's condition: a row of those that `carve` took.
        unsafe {
            let left = self.planes.add(3 * row * self.pitch + MARGIN);
            [left, left.add(self.pitch), left.add(2 * self.pitch)]
        }
    }

    /// Writes what the vector of columns at `column` gives in a row.
    #[inline(always)]
    unsafe fn write<S: Isa>(&self, s: S, row: usize, column: usize, given: Three<S>) {
        // SAFETY: the caller's condition: a row and columns of those that `carve` took.
        unsafe {
            for (to, v) in self.row(row).into_iter().zip(given) {
                s.store(to.add(column), v);
            }
        }
    }
}

/// What the cell, or vector of cells, at column `at` of a row of [`Columns`] gets.
#[inline(always)]
unsafe fn get<S: Isa>(s: S, [left, middle, right]: [*mut f32; 3], at: isize) -> S::V {
    // SAFETY: the caller keeps columns within the margins.
    unsafe {
        let sides = s.add(s.load(right.offset(at - 1)), s.load(left.offset(at + 1)));
        s.add(sides, s.load(middle.offset(at)))
    }
}

/// As [`get`], for one cell.
#[inline(always)]
unsafe fn get_one([left, middle, right]: [*mut f32; 3], at: isize) -> f32 {
    // SAFETY: the caller keeps columns within the margins.
    unsafe { *right.offset(at - 1) + *left.offset(at + 1) + *middle.offset(at) }
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
/// `columns` have been cleared for this tile.
#[inline(always)]
pub(super) unsafe fn adjoint_tile<S: Isa>(
    s: S,
    plan: &Plan,
    tile: &Tile,
    active: &Active<S>,
    columns: &Columns,
    g_z: *const f32,
    ld: usize,
    base: *const f32,
    g_x: *mut f32,
    ring: *mut f32,
) {
    // SAFETY: the caller's condition.
    unsafe {
        match plan.stencil.form {
            Form::Sobel(sobel) => {
                let adjoint = Window(sobel.splat(s));
                adjoint_by(s, plan, tile, active, columns, g_z, ld, base, g_x, ring, adjoint);
            }
            Form::Classic(classic) => {
                let adjoint = Window(classic.splat(s));
                adjoint_by(s, plan, tile, active, columns, g_z, ld, base, g_x, ring, adjoint);
            }
            Form::Any => adjoint_by(s, plan, tile, active, columns, g_z, ld, base, g_x, ring, &plan.stencil),
        }
    }
}

/// [`adjoint_tile`] with one way to apply the kernels.
#[inline(always)]
unsafe fn adjoint_by<S: Isa, A: Adjoint<S>>(
    s: S,
    plan: &Plan,
    tile: &Tile,
    active: &Active<S>,
    columns: &Columns,
    g_z: *const f32,
    ld: usize,
    base: *const f32,
    g_x: *mut f32,
    ring: *mut f32,
    adjoint: A,
) {
    let plane = plan.grid.height * plan.grid.width;
    // SAFETY: the caller's condition.
    unsafe {
        for channel in 0..plan.stencil.channels {
            let g_z = g_z.add(plan.stencil.row(channel, 0) * ld);
            // From the last strip to the first: see `active`.
            for strip in (0..active.groups()).rev() {
                down(s, active, columns, strip, g_z, ld, adjoint);
            }
            let at = channel * plane + tile.y * plan.grid.width + tile.x;
            for row in 0..tile.height {
                let at = at + row * plan.grid.width;
                if plan.ahead {
                    prefetch(g_x.wrapping_add(at + plane), tile.width);
                    prefetch(base.wrapping_add(at + plane), tile.width);
                }
                add_row(s, columns.row(row + 1), base.add(at), g_x.add(at), tile.width);
            }
            write_ring(s, tile, columns, ring.add(channel * ring_len(&plan.backward)));
        }
    }
}

/// Fills the columns of a strip, from the row above the tile to the row below it.
#[inline(always)]
unsafe fn down<S: Isa, A: Adjoint<S>>(
    s: S,
    active: &Active<S>,
    columns: &Columns,
    strip: usize,
    g_z: *const f32,
    ld: usize,
    adjoint: A,
) {
    let (height, column) = (active.height(), active.column(strip));
    // SAFETY: the columns of the tile have two rows more than it; groups lie within it.
    unsafe {
        let mut carry = adjoint.start(s);
        for row in 0..height {
            let (lanes, number) = active.group(row, strip);
            let given;
            (given, carry) = adjoint.next(s, carry, g_z.add(number), ld, lanes);
            columns.write(s, row, column, given);
        }
        for row in height..height + 2 {
            let given;
            (given, carry) = adjoint.end(s, carry);
            columns.write(s, row, column, given);
        }
    }
}

/// `to = base + what a row gets`, over `len` cells.
#[inline(always)]
unsafe fn add_row<S: Isa>(s: S, row: [*mut f32; 3], base: *const f32, to: *mut f32, len: usize) {
    let mut i = 0;
    // SAFETY: the caller's condition.
    unsafe {
        while i + S::LANES <= len {
            s.store(to.add(i), s.add(s.load(base.add(i)), get(s, row, i as isize)));
            i += S::LANES;
        }
        while i < len {
            *to.add(i) = *base.add(i) + get_one(row, i as isize);
            i += 1;
        }
    }
}

/// Writes what falls outside the tile.
#[inline(always)]
unsafe fn write_ring<S: Isa>(s: S, tile: &Tile, columns: &Columns, ring: *mut f32) {
    let len = tile.width + 2;
    // SAFETY: the caller's condition.
    unsafe {
        for (row, ring) in [(0, ring), (tile.height + 1, ring.add(len))] {
            let row = columns.row(row);
            let mut i = 0;
            while i + S::LANES <= len {
                s.store(ring.add(i), get(s, row, i as isize - 1));
                i += S::LANES;
            }
            while i < len {
                *ring.add(i) = get_one(row, i as isize - 1);
                i += 1;
            }
        }
        for y in 0..tile.height {
            let row = columns.row(y + 1);
            *ring.add(2 * len + y) = get_one(row, -1);
            *ring.add(2 * len + tile.height + y) = get_one(row, tile.width as isize);
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
