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
/// Pairs of cells that [`product_over_cells`] turns at a time: they stay in L1.
const TURNED_PAIRS: usize = 128;

/// Pairs of a sum with those that fill up its last tile.
pub(in crate::cpu) fn padded_pairs(pairs: usize) -> usize {
    pairs.next_multiple_of(TILE)
}

/// Pairs of a sum of `depth` products.
fn pairs_of(depth: usize) -> usize {
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
        Self {
            start,
            runs: 1,
            jump: 0,
            row: TILE,
            down: TILE * padded_pairs(pairs_of(depth)),
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

    /// Where row `row` begins at pair `pair` of run `run`, the first of a tile.
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
#[inline(always)]
unsafe fn load_cells<U: Unit>(u: U, from: *const f32, cells: usize) -> [Vector<U>; 2] {
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

/// Pairs from row to row of an array of rows of bf16 with room for `cells` cells: an odd number of cache lines, so
/// that rows fall into different cache sets.
pub(in crate::cpu) fn natural_row(cells: usize) -> usize {
    16 * (cells.div_ceil(BLOCK) | 1)
}

/// A block of `rows` rows of f32, `ld` apart, as rows of bf16, `row` pairs apart; zeros beyond the first `cells` columns.
///
/// # Safety
/// The rows must be valid for whole vectors of 16 up to `cells`, `to` for whole blocks.
#[inline(always)]
pub(in crate::cpu) unsafe fn narrow_rows<U: Unit>(
    u: U,
    from: *const f32,
    ld: usize,
    rows: usize,
    cells: usize,
    to: *mut f32,
    to_row: usize,
) {
    // SAFETY: the caller's condition.
    unsafe {
        for row in 0..rows {
            let [a, b] = load_cells(u, from.add(row * ld), cells);
            u.isa().store(to.add(row * to_row), u.narrow(a, b));
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
            u.multiply(a.below(row), count, pairs_of(depth), b, vectors, square);
            finish.rows(u, row, count, square);
        }
    }
}

/// How a product over cells, `A·Bᵀ` of `rows × columns`, is computed and lies: the operand with fewer rows is turned, so
/// that its rows are the lanes of the product.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Turned {
    /// Whether it is `A`; the product then lies as its transpose.
    first: bool,
    /// Rows of the operand that stays as it is.
    kept: usize,
    /// Rows of the other one, filled up to whole vectors.
    lanes: usize,
}

impl Turned {
    /// For a product of `rows × columns`.
    pub(in crate::cpu) fn new(rows: usize, columns: usize) -> Self {
        let first = rows < columns;
        let (kept, lanes) = if first { (columns, rows) } else { (rows, columns) };
        Self {
            first,
            kept,
            lanes: lanes.next_multiple_of(16),
        }
    }

    /// Floats of the product.
    pub(in crate::cpu) fn len(self) -> usize {
        self.kept * self.lanes
    }

    /// Where element `(row, column)` lies.
    pub(in crate::cpu) fn index(self, row: usize, column: usize) -> usize {
        if self.first {
            column * self.lanes + row
        } else {
            row * self.lanes + column
        }
    }

    /// Floats of scratch that [`product_over_cells`] asks for.
    pub(in crate::cpu) const fn scratch() -> usize {
        TURNED_PAIRS * BLOCK + SQUARE
    }
}

/// Rows that an operand of [`product_over_cells`] must have room for.
pub(in crate::cpu) fn padded_rows(rows: usize) -> usize {
    rows.next_multiple_of(BLOCK)
}

/// Adds a product to a matrix, or writes it.
#[derive(Clone, Copy)]
struct Add {
    to: *mut f32,
    row: usize,
    vectors: usize,
    fresh: bool,
}

impl<U: Unit> Finish<U> for Add {
    #[inline(always)]
    unsafe fn rows(self, u: U, row: usize, count: usize, c: *const f32) {
        let s = u.isa();
        // SAFETY: the caller's condition: the matrix has these rows.
        unsafe {
            for r in 0..count {
                for v in 0..self.vectors {
                    let to = self.to.add((row + r) * self.row + 16 * v);
                    let product = s.load(c.add(r * BLOCK + 16 * v));
                    let sum = if self.fresh {
                        product
                    } else {
                        s.add(s.load(to), product)
                    };
                    s.store(to, sum);
                }
            }
        }
    }
}

/// `C += A·Bᵀ` (`C = A·Bᵀ` if `fresh`), laid out as `way` says, for operands of rows of bf16 that are `row` pairs apart
/// and hold zeros from `cells` to the end of a block.
///
/// # Safety
/// The operands must have room for [`padded_rows`], `c` for [`Turned::len`] floats, `scratch` for [`Turned::scratch`].
#[inline(always)]
pub(in crate::cpu) unsafe fn product_over_cells<U: Unit>(
    u: U,
    way: Turned,
    a: *const f32,
    b: *const f32,
    row: usize,
    cells: usize,
    scratch: *mut f32,
    c: *mut f32,
    fresh: bool,
) {
    let s = u.isa();
    let (kept, turning) = if way.first { (b, a) } else { (a, b) };
    let all = padded_pairs(pairs_of(cells));
    // Once at least: without cells the product is zero all the same.
    for start in (0..all.max(1)).step_by(TURNED_PAIRS) {
        let pairs = TURNED_PAIRS.min(all - start);
        for lane in (0..way.lanes).step_by(BLOCK) {
            let vectors = ((way.lanes - lane) / 16).min(2);
            // SAFETY: the caller's condition.
            unsafe {
                let square = scratch.add(TURNED_PAIRS * BLOCK);
                for pair in (0..pairs).step_by(16) {
                    for v in 0..vectors {
                        let from = turning.add((lane + 16 * v) * row + start + pair);
                        s.transpose(from, row, scratch.add(pair * BLOCK + 16 * v), BLOCK);
                    }
                }
                let kept = Left::rows(kept.add(start), row, 1, 0);
                let add = Add {
                    to: c.add(lane),
                    row: way.lanes,
                    vectors,
                    fresh: fresh && start == 0,
                };
                product(u, kept, way.kept, 2 * pairs, scratch, vectors, square, add);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bf16;
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

    /// `rows × depth` times `depth × cells`, and a product over cells, against plain sums.
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

        #[inline(always)]
        fn over_cells<U: Unit>(&self, u: U) {
            let Self { rows, depth, cells } = *self;
            let (ld, to_row) = (cells.next_multiple_of(16), natural_row(cells));
            let natural = |rows: usize, shift: usize| {
                let from: Vec<f32> = (0..rows * ld)
                    .map(|i| {
                        if i % ld < cells {
                            entry(i / ld + shift, i % ld)
                        } else {
                            f32::NAN
                        }
                    })
                    .collect();
                let mut to = vec![f32::NAN; padded_rows(rows) * to_row];
                for start in (0..cells).step_by(BLOCK) {
                    let (from, to) = (from[start..].as_ptr(), to[start / 2..].as_mut_ptr());
                    // SAFETY: the vectors have these shapes.
                    unsafe { narrow_rows(u, from, ld, rows, BLOCK.min(cells - start), to, to_row) };
                }
                to
            };
            let (a, b) = (natural(rows, 1), natural(depth, 4));
            let way = Turned::new(rows, depth);
            let mut scratch = vec![f32::NAN; Turned::scratch()];
            let mut c = vec![f32::NAN; way.len()];
            for fresh in [true, false] {
                let (a, b) = (a.as_ptr(), b.as_ptr());
                let (scratch, c) = (scratch.as_mut_ptr(), c.as_mut_ptr());
                // SAFETY: as above.
                unsafe { product_over_cells(u, way, a, b, to_row, cells, scratch, c, fresh) };
            }
            for row in 0..rows {
                for column in 0..depth {
                    let sum: f32 = (0..cells).map(|i| entry(row + 1, i) * entry(column + 4, i)).sum();
                    assert_eq!(c[way.index(row, column)], 2.0 * sum, "{row}, {column}");
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
            self.over_cells(u);
        }
    }

    #[test]
    fn products_are_exact_on_integers() {
        for unit in Bf16::ALL.into_iter().filter(|unit| unit.available()) {
            for (rows, depth) in [(1, 1), (5, 20), (16, 32), (33, 7), (96, 48), (40, 130)] {
                for cells in [0, 1, 16, 17, 32, 50, 600] {
                    dispatch(unit, Check { rows, depth, cells });
                }
            }
        }
    }

    /// Every conversion of every unit on numbers that must be rounded, as bits.
    struct Conversions<'a>(&'a mut Vec<u32>);

    impl Job for Conversions<'_> {
        #[inline(always)]
        fn run<U: Unit>(self, u: U) {
            let s = u.isa();
            let mut values: Vec<f32> = (0..60).map(|i| (i as f32 * 0.7).sin() * 1.5_f32.powi(i - 30)).collect();
            // Ties, to even; what is no number, and what is none in bf16.
            values.extend([
                1.00390625,
                1.01171875,
                f32::INFINITY,
                f32::NEG_INFINITY,
                0.0,
                -0.0,
                f32::MAX,
                -1.0,
            ]);
            // SAFETY: three vectors lie within the values at these places.
            let [a, b, c] = [0, 36, 52].map(|at| unsafe { s.load(values[at..].as_ptr()) });
            let positive = u.where_positive(u.narrow(b, c), [a, b]);
            for v in [u.pair(a, b), u.pair(b, c), u.narrow(a, b), positive[0], positive[1]] {
                let mut bits = [0.0_f32; 16];
                // SAFETY: sixteen floats are a vector.
                unsafe { s.store(bits.as_mut_ptr(), v) };
                self.0.extend(bits.map(f32::to_bits));
            }
        }
    }

    #[test]
    fn units_round_alike() {
        let bits = |unit| {
            let mut bits = Vec::new();
            dispatch(unit, Conversions(&mut bits));
            bits
        };
        let expected = bits(Bf16::Portable);
        for unit in Bf16::ALL.into_iter().filter(|unit| unit.available()) {
            assert_eq!(bits(unit), expected, "{unit}");
        }
        // 1 + 2⁻⁸ and 1 + 3·2⁻⁸, in lanes 8 and 9 of `c`, the upper halves of the second vector.
        assert_eq!([expected[16 + 8] >> 16, expected[16 + 9] >> 16], [0x3f80, 0x3f82]);
    }
}
