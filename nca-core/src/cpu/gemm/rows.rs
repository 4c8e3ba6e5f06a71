//! Products whose left operand is read row by row, as it lies.

// As in `gemm`.
#![allow(unsafe_code)]

use super::super::simd::Isa;
use super::{Blocks, Panels, SHORT};

/// A matrix with columns one float apart.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Matrix {
    /// First element.
    pub(in crate::cpu) start: *mut f32,
    /// Floats from row to row.
    pub(in crate::cpu) row: usize,
}

impl Matrix {
    /// # Safety
    /// It must be an element of the matrix.
    #[inline(always)]
    unsafe fn at(self, row: usize, column: usize) -> *mut f32 {
        // SAFETY: the caller's condition.
        unsafe { self.start.add(row * self.row + column) }
    }
}

/// How a product enters its result.
#[derive(Clone, Copy)]
pub(in crate::cpu) enum Start {
    /// `C = A·B`.
    Fresh,
    /// `C += A·B`, where `C` holds the first terms of the same sums: what comes out does not depend on where they are cut.
    Onto,
    /// `C += A·B`, the product by itself first: many short sums round less than a long one.
    Beside,
}

/// `A·B`, entered into `C` as `start` says: `B` has `depth` rows of `vectors` vectors, `panels` are the rows of `A` and
/// `C`.
///
/// # Safety
/// The operands must be valid in these shapes, `a` and `c` with the padded number of rows.
#[inline(always)]
pub(in crate::cpu) unsafe fn multiply_rows<S: Isa>(
    s: S,
    panels: Panels,
    depth: usize,
    a: Matrix,
    b: Matrix,
    vectors: usize,
    c: Matrix,
    start: Start,
) {
    // SAFETY: the caller's condition.
    unsafe {
        for (column, vectors) in Blocks::new::<S>(vectors) {
            if S::VECTORS == 3 && vectors == 3 {
                rows_block::<S, 3>(s, panels, depth, a, b, column, c, start);
            } else if vectors == 2 {
                rows_block::<S, 2>(s, panels, depth, a, b, column, c, start);
            } else {
                rows_block::<S, 1>(s, panels, depth, a, b, column, c, start);
            }
        }
    }
}

#[inline(always)]
unsafe fn rows_block<S: Isa, const N: usize>(
    s: S,
    panels: Panels,
    depth: usize,
    a: Matrix,
    b: Matrix,
    column: usize,
    c: Matrix,
    start: Start,
) {
    // SAFETY: the caller's condition.
    unsafe {
        let mut row = 0;
        for _ in 0..panels.tall {
            match S::ROWS {
                8 => rows_tile::<S, 8, N>(s, row, depth, a, b, column, c, start),
                6 => rows_tile::<S, 6, N>(s, row, depth, a, b, column, c, start),
                _ => rows_tile::<S, 4, N>(s, row, depth, a, b, column, c, start),
            }
            row += S::ROWS;
        }
        for _ in 0..panels.short {
            rows_tile::<S, SHORT, N>(s, row, depth, a, b, column, c, start);
            row += SHORT;
        }
    }
}

/// One register tile: `M` rows, from `row` on, of `N` vectors, from `column` on.
#[expect(clippy::needless_range_loop)] // As in `multiply_tile`.
#[inline(always)]
unsafe fn rows_tile<S: Isa, const M: usize, const N: usize>(
    s: S,
    row: usize,
    depth: usize,
    a: Matrix,
    b: Matrix,
    column: usize,
    c: Matrix,
    start: Start,
) {
    // SAFETY: the caller's condition.
    unsafe {
        let mut sums = [[s.splat(0.0); N]; M];
        if matches!(start, Start::Onto) {
            for r in 0..M {
                for v in 0..N {
                    sums[r][v] = s.load(c.at(row + r, column + v * S::LANES));
                }
            }
        }
        let mut rows = [a.start.cast_const(); M];
        for r in 0..M {
            rows[r] = a.at(row + r, 0);
        }
        let mut from = b.at(0, column).cast_const();
        for k in 0..depth {
            let mut columns = [s.splat(0.0); N];
            for v in 0..N {
                columns[v] = s.load(from.add(v * S::LANES));
            }
            from = from.add(b.row);
            for r in 0..M {
                let left = s.splat(*rows[r].add(k));
                for v in 0..N {
                    sums[r][v] = s.fma(left, columns[v], sums[r][v]);
                }
            }
        }
        for r in 0..M {
            for v in 0..N {
                let to = c.at(row + r, column + v * S::LANES);
                if matches!(start, Start::Beside) {
                    sums[r][v] = s.add(s.load(to), sums[r][v]);
                }
                s.store(to, sums[r][v]);
            }
        }
    }
}
