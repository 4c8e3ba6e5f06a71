//! Products of bf16 over cells, for gradients of weights.

// As in `product`.
#![allow(unsafe_code)]

use super::super::simd::Isa;
use super::product::{BLOCK, Finish, Left, SQUARE, load_cells, padded_pairs, pairs_of, product};
use super::unit::Unit;

/// Pairs of cells that [`product_over_cells`] turns at a time: they stay in L1.
const TURNED_PAIRS: usize = 128;

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

/// `C += A·Bᵀ` (`C = A·Bᵀ` if `fresh`), laid out as `way` says, for operands of rows of bf16 that are `row` pairs apart.
/// From `cells` to the end of a block, one of them must hold zeros and the other finite numbers.
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
    use super::super::Bf16Unit;
    use super::super::unit::{Job, dispatch};
    use super::*;

    /// Small integers, which bf16 represents exactly and f32 sums exactly.
    fn entry(row: usize, cell: usize) -> f32 {
        ((row * 7 + cell * 3) % 11) as f32 - 5.0
    }

    /// Products of `rows` and `columns` rows against plain sums.
    struct Check {
        rows: usize,
        columns: usize,
        cells: usize,
    }

    impl Job for Check {
        #[inline(always)]
        fn run<U: Unit>(self, u: U) {
            let Self { rows, columns, cells } = self;
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
            let (a, b) = (natural(rows, 1), natural(columns, 4));
            let way = Turned::new(rows, columns);
            let mut scratch = vec![f32::NAN; Turned::scratch()];
            let mut c = vec![f32::NAN; way.len()];
            for fresh in [true, false] {
                let (a, b) = (a.as_ptr(), b.as_ptr());
                let (scratch, c) = (scratch.as_mut_ptr(), c.as_mut_ptr());
                // SAFETY: as above.
                unsafe { product_over_cells(u, way, a, b, to_row, cells, scratch, c, fresh) };
            }
            for row in 0..rows {
                for column in 0..columns {
                    let sum: f32 = (0..cells).map(|i| entry(row + 1, i) * entry(column + 4, i)).sum();
                    assert_eq!(c[way.index(row, column)], 2.0 * sum, "{row}, {column}");
                }
            }
        }
    }

    #[test]
    fn products_over_cells_are_exact_on_integers() {
        for unit in Bf16Unit::ALL.into_iter().filter(|unit| unit.available()) {
            for (rows, columns) in [(1, 1), (5, 20), (16, 32), (33, 7), (96, 48), (40, 130)] {
                for cells in [0, 1, 16, 17, 32, 50, 600] {
                    dispatch(unit, Check { rows, columns, cells });
                }
            }
        }
    }
}
