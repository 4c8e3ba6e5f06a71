//! Products of matrices of bf16, block by block.

// Products of tiles in scratch memory.
#![allow(unsafe_code)]

use super::super::simd::Isa;
use super::portable::round;
use super::unit::{Unit, Vector};

/// Columns of a block of the right operand; rows and columns of a square of the product.
pub(in crate::cpu) const BLOCK: usize = 32;
/// Floats of a square.
pub(in crate::cpu) const SQUARE: usize = BLOCK * BLOCK;
/// Rows of a tile of the left operand, and its pairs.
const TILE: usize = 16;

/// Pairs of a sum with those that fill up its last tile.
pub(in crate::cpu) fn padded_pairs(pairs: usize) -> usize {
    pairs.next_multiple_of(TILE)
}

/// Pairs of a sum of `depth` products.
pub(super) fn pairs_of(depth: usize) -> usize {
    depth.div_ceil(2)
}

/// A left operand: rows of pairs in tiles of 16 × 16. A row may consist of several runs of pairs, which need not follow
/// each other.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Left {
    start: *const f32,
    /// Runs of a row.
    pub(super) runs: usize,
    /// Pairs from the start of a run to that of the next.
    jump: usize,
    /// Pairs from row to row of a tile.
    pub(super) row: usize,
    /// Pairs from a tile to the one below.
    down: usize,
    /// Pairs from a tile to the next.
    across: usize,
}

impl Left {
    /// Packed by [`pack_left`], for sums of `depth` products.
    #[inline(always)]
    pub(in crate::cpu) fn packed(start: *const f32, depth: usize) -> Self {
        Self::tiles(start, padded_pairs(pairs_of(depth)) / TILE, 1, 0)
    }

    /// In tiles, rows of which are `tiles` long, with runs that begin `jump` tiles apart.
    #[inline(always)]
    pub(in crate::cpu) fn tiles(start: *const f32, tiles: usize, runs: usize, jump: usize) -> Self {
        Self {
            start,
            runs,
            jump: jump * TILE * TILE,
            row: TILE,
            down: tiles * TILE * TILE,
            across: TILE * TILE,
        }
    }

    /// Rows `row` pairs apart, with runs that begin `jump` pairs apart.
    #[inline(always)]
    pub(in crate::cpu) fn rows(start: *const f32, row: usize, runs: usize, jump: usize) -> Self {
        Self {
            start,
            runs,
            jump,
            row,
            down: TILE * row,
            across: TILE,
        }
    }

    /// Where row `row` begins at pair `pair` of run `run`, the first of a tile's row.
    ///
    /// # Safety
    /// They must exist.
    #[inline(always)]
    pub(super) unsafe fn at(self, row: usize, run: usize, pair: usize) -> *const f32 {
        let within = row / TILE * self.down + row % TILE * self.row;
        // SAFETY: the caller's condition.
        unsafe { self.start.add(within + run * self.jump + pair / TILE * self.across) }
    }

    /// The operand from row `row`, the first of a tile, on.
    #[inline(always)]
    unsafe fn below(self, row: usize) -> Self {
        Self {
            // SAFETY: the caller's condition.
            start: unsafe { self.at(row, 0, 0) },
            ..self
        }
    }
}

/// A right operand: a row of columns for each pair of the sum, run after run.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Right {
    start: *const f32,
    /// Columns from row to row.
    pub(super) row: usize,
    /// Rows from the start of a run to that of the next.
    jump: usize,
}

impl Right {
    /// A block of columns, for runs of `pairs` pairs, each filled up to tiles.
    #[inline(always)]
    pub(in crate::cpu) fn block(start: *const f32, pairs: usize) -> Self {
        Self::rows(start, BLOCK, padded_pairs(pairs))
    }

    /// Rows of `row` columns, with runs that begin `jump` rows apart.
    #[inline(always)]
    pub(in crate::cpu) fn rows(start: *const f32, row: usize, jump: usize) -> Self {
        Self { start, row, jump }
    }

    /// Row `pair` of run `run`.
    ///
    /// # Safety
    /// It must exist.
    #[inline(always)]
    pub(super) unsafe fn at(self, run: usize, pair: usize) -> *const f32 {
        // SAFETY: the caller's condition.
        unsafe { self.start.add((run * self.jump + pair) * self.row) }
    }
}

/// Floats of a packed left operand.
pub(in crate::cpu) fn packed_len(rows: usize, depth: usize) -> usize {
    rows.next_multiple_of(TILE) * padded_pairs(pairs_of(depth))
}

/// Packs a left operand, given by `value(row, column)`; zeros fill up the tiles.
pub(in crate::cpu) fn pack_left(rows: usize, depth: usize, packed: &mut [f32], value: impl Fn(usize, usize) -> f32) {
    let value = |row: usize, column: usize| {
        if row < rows && column < depth {
            round(value(row, column))
        } else {
            0
        }
    };
    let tiles = padded_pairs(pairs_of(depth)) / TILE;
    for (number, tile) in packed[..packed_len(rows, depth)]
        .chunks_exact_mut(TILE * TILE)
        .enumerate()
    {
        for (i, pair) in tile.iter_mut().enumerate() {
            let row = number / tiles * TILE + i / TILE;
            let column = 2 * (number % tiles * TILE + i % TILE);
            *pair = f32::from_bits(value(row, column) | value(row, column + 1) << 16);
        }
    }
}

/// The first `cells ≤ 32` floats of a row, then zeros.
///
/// # Safety
/// Whole vectors of 16 up to `cells` must be valid.
#[inline(always)]
pub(super) unsafe fn load_cells<U: Unit>(u: U, from: *const f32, cells: usize) -> [Vector<U>; 2] {
    let s = u.isa();
    let front = |n: usize| s.select((1 << n) - 1);
    // SAFETY: the caller's condition.
    unsafe {
        if cells == BLOCK {
            [s.load(from), s.load(from.add(16))]
        } else if cells > 16 {
            [s.load(from), s.expand(s.load(from.add(16)), front(cells - 16))]
        } else {
            [s.expand(s.load(from), front(cells)), s.splat(0.0)]
        }
    }
}

/// Where the pair of row `row` of a block of pairs begins, `row` being even.
///
/// # Safety
/// It must exist.
#[inline(always)]
pub(in crate::cpu) unsafe fn pair_row(pairs: *mut f32, row: usize) -> *mut f32 {
    // SAFETY: the caller's condition.
    unsafe { pairs.add(row / 2 * BLOCK) }
}

/// Zeros behind the pairs of a sum of `depth` products: those that fill up the last tile.
///
/// # Safety
/// `pairs` must have [`padded_pairs`] rows.
#[inline(always)]
pub(in crate::cpu) unsafe fn pad_pairs(pairs: *mut f32, depth: usize) {
    let (end, padded) = (pairs_of(depth), padded_pairs(pairs_of(depth)));
    // SAFETY: the caller's condition.
    unsafe { pairs.add(end * BLOCK).write_bytes(0, (padded - end) * BLOCK) };
}

/// A block of `rows` rows of f32, `ld` apart, as a right operand; zeros beyond the first `cells` columns.
///
/// # Safety
/// The rows must be valid for whole vectors of 16 up to `cells`, `pairs` have [`padded_pairs`] rows.
#[inline(always)]
pub(in crate::cpu) unsafe fn pair_rows<U: Unit>(
    u: U,
    from: *const f32,
    ld: usize,
    rows: usize,
    cells: usize,
    pairs: *mut f32,
) {
    // SAFETY: the caller's condition.
    unsafe {
        for row in (0..rows).step_by(2) {
            let low = load_cells(u, from.add(row * ld), cells);
            let high = if row + 1 < rows {
                load_cells(u, from.add((row + 1) * ld), cells)
            } else {
                [u.isa().splat(0.0); 2]
            };
            store_pairs(u, low, high, pair_row(pairs, row));
        }
        pad_pairs(pairs, rows);
    }
}

/// Stores two rows of a block as a row of pairs.
///
/// # Safety
/// `to` must be valid for a block's row.
#[inline(always)]
pub(in crate::cpu) unsafe fn store_pairs<U: Unit>(u: U, low: [Vector<U>; 2], high: [Vector<U>; 2], to: *mut f32) {
    // SAFETY: the caller's condition.
    unsafe {
        for v in 0..2 {
            u.isa().store(to.add(16 * v), u.pair(low[v], high[v]));
        }
    }
}

/// What becomes of the squares of a product.
pub(in crate::cpu) trait Finish<U: Unit>: Copy {
    /// Takes `count ≤ 32` rows from row `row` on, which lie at `c`, [`BLOCK`] floats apart.
    ///
    /// # Safety
    /// As whoever implements it says; `c` is a square.
    unsafe fn rows(self, u: U, row: usize, count: usize, c: *const f32);
}

/// `A·B` for one block of columns, of which `vectors` vectors count, handed to `finish` in squares of 32 rows.
///
/// # Safety
/// `a` must have the rows, filled up to tiles of 16, and `pairs` pairs; `b` be a block of them, zeros beyond them; `square`
/// hold [`SQUARE`] floats; `finish` must be allowed to take the rows.
#[inline(always)]
pub(in crate::cpu) unsafe fn product<U: Unit, F: Finish<U>>(
    u: U,
    a: Left,
    rows: usize,
    depth: usize,
    b: *const f32,
    vectors: usize,
    square: *mut f32,
    finish: F,
) {
    for row in (0..rows).step_by(BLOCK) {
        let count = BLOCK.min(rows - row);
        // SAFETY: the caller's condition.
        unsafe {
            let pairs = pairs_of(depth);
            u.multiply(a.below(row), count, pairs, Right::block(b, pairs), vectors, square);
            finish.rows(u, row, count, square);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bf16Unit;
    use super::super::unit::{Job, dispatch};
    use super::*;

    /// Small integers, which bf16 represents exactly and f32 sums exactly.
    fn entry(row: usize, column: usize) -> f32 {
        ((row * 7 + column * 3) % 11) as f32 - 5.0
    }

    /// Stores what it gets, in rows of a block.
    #[derive(Clone, Copy)]
    struct Keep(*mut f32);

    impl<U: Unit> Finish<U> for Keep {
        #[inline(always)]
        unsafe fn rows(self, _: U, row: usize, count: usize, c: *const f32) {
            // SAFETY: the array below has room for all rows.
            unsafe { self.0.add(row * BLOCK).copy_from_nonoverlapping(c, count * BLOCK) };
        }
    }

    /// `rows × depth` times `depth × cells` against plain sums.
    struct Check {
        rows: usize,
        depth: usize,
        cells: usize,
    }

    impl Check {
        #[inline(always)]
        fn block<U: Unit>(&self, u: U, start: usize) {
            let Self { rows, depth, .. } = *self;
            let cells = BLOCK.min(self.cells - start);
            let mut packed = vec![f32::NAN; packed_len(rows, depth)];
            pack_left(rows, depth, &mut packed, entry);
            // Whole vectors are read, and what follows the cells must not count.
            let ld = cells.next_multiple_of(16) + 3;
            let right: Vec<f32> = (0..depth * ld)
                .map(|i| {
                    if i % ld < cells {
                        entry(i / ld, i % ld + start)
                    } else {
                        f32::NAN
                    }
                })
                .collect();
            let mut pairs = vec![f32::NAN; padded_pairs(pairs_of(depth)) * BLOCK];
            let mut square = vec![f32::NAN; SQUARE];
            let mut c = vec![f32::NAN; rows * BLOCK];
            // SAFETY: the vectors have these shapes.
            unsafe {
                pair_rows(u, right.as_ptr(), ld, depth, cells, pairs.as_mut_ptr());
                let left = Left::packed(packed.as_ptr(), depth);
                product(
                    u,
                    left,
                    rows,
                    depth,
                    pairs.as_ptr(),
                    2,
                    square.as_mut_ptr(),
                    Keep(c.as_mut_ptr()),
                );
            }
            for row in 0..rows {
                for column in 0..BLOCK {
                    let sum: f32 = (0..depth).map(|k| entry(row, k) * entry(k, column + start)).sum();
                    let expected = if column < cells { sum } else { 0.0 };
                    assert_eq!(c[row * BLOCK + column], expected, "{row}, {column}");
                }
            }
        }
    }

    impl Job for Check {
        #[inline(always)]
        fn run<U: Unit>(self, u: U) {
            for start in (0..self.cells).step_by(BLOCK) {
                self.block(u, start);
            }
        }
    }

    #[test]
    fn products_are_exact_on_integers() {
        for unit in Bf16Unit::ALL.into_iter().filter(|unit| unit.available()) {
            for (rows, depth) in [(1, 1), (5, 20), (16, 32), (33, 7), (96, 48), (40, 130)] {
                for cells in [1, 16, 17, 32, 50] {
                    dispatch(unit, Check { rows, depth, cells });
                }
            }
        }
    }
}
