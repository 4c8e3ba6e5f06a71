//! Products over long rows.

// As in `gemm`.
#![allow(unsafe_code)]

use std::ops::Range;

use super::super::simd::Isa;
use super::{Panels, Rows, SHORT};

/// Layout of the result of [`dots`]: register tile after register tile.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Outer {
    rows: Panels,
    columns: usize,
    /// Columns of a register tile.
    tile: usize,
}

impl Outer {
    /// A product of `rows × columns`.
    #[inline(always)]
    pub(in crate::cpu) fn new<S: Isa>(rows: usize, columns: usize) -> Self {
        Self {
            rows: Panels::new::<S>(rows),
            columns,
            tile: S::VECTORS,
        }
    }

    /// Columns with those that pad the last tile; so many rows of `B` are read.
    pub(in crate::cpu) fn padded_columns(self) -> usize {
        self.columns.next_multiple_of(self.tile)
    }

    /// Number of elements.
    pub(in crate::cpu) fn len(self) -> usize {
        self.rows.padded() * self.padded_columns()
    }

    /// Where element `(row, column)` lies.
    pub(in crate::cpu) fn index(self, row: usize, column: usize) -> usize {
        let (first, height) = self.rows.panel(row);
        let tile = first * self.padded_columns() + column / self.tile * self.tile * height;
        tile + column % self.tile * height + row - first
    }
}

/// Bound on [`Outer::padded_columns`] over all instruction sets.
pub(in crate::cpu) const fn most_padded_columns(columns: usize) -> usize {
    columns + 2
}

/// Floats of `B` that [`dots`] keeps in L1 while the rows of `A` stream past: 16 KiB.
const DOTS_BLOCK: usize = 4096;

/// `C += A·Bᵀ` (`C = A·Bᵀ` if `fresh`), `c` laid out as `outer` says.
///
/// Rows of `a` are `lda` floats apart, of both operands `vectors` vectors long.
///
/// # Safety
/// `a` must have the padded number of rows, `b` the padded number of columns, all valid for that
/// length; `c` must hold `outer.len()` floats.
#[inline(always)]
pub(in crate::cpu) unsafe fn dots<S: Isa, R: Rows>(
    s: S,
    outer: Outer,
    a: *const f32,
    lda: usize,
    b: R,
    vectors: usize,
    c: *mut f32,
    fresh: bool,
) {
    let columns = outer.padded_columns();
    let block = (DOTS_BLOCK / (vectors * S::LANES).max(1))
        .max(1)
        .next_multiple_of(outer.tile);
    let mut first = 0;
    // SAFETY: the caller's condition.
    unsafe {
        while first < columns {
            let end = (first + block).min(columns);
            let mut row = 0;
            for _ in 0..outer.rows.tall {
                let (a, c) = (a.add(row * lda), c.add(row * columns));
                match (S::ROWS, S::VECTORS) {
                    (8, 3) => dots_panel::<S, R, 8, 3>(s, a, lda, b, first..end, vectors, c, fresh),
                    (6, 2) => dots_panel::<S, R, 6, 2>(s, a, lda, b, first..end, vectors, c, fresh),
                    _ => dots_panel::<S, R, 4, 2>(s, a, lda, b, first..end, vectors, c, fresh),
                }
                row += S::ROWS;
            }
            for _ in 0..outer.rows.short {
                let (a, c) = (a.add(row * lda), c.add(row * columns));
                match S::VECTORS {
                    3 => dots_panel::<S, R, SHORT, 3>(s, a, lda, b, first..end, vectors, c, fresh),
                    _ => dots_panel::<S, R, SHORT, 2>(s, a, lda, b, first..end, vectors, c, fresh),
                }
                row += SHORT;
            }
            first = end;
        }
    }
}

/// `M` rows of `A` against some rows of `B`, `N` at a time.
#[inline(always)]
unsafe fn dots_panel<S: Isa, R: Rows, const M: usize, const N: usize>(
    s: S,
    a: *const f32,
    lda: usize,
    b: R,
    columns: Range<usize>,
    vectors: usize,
    c: *mut f32,
    fresh: bool,
) {
    for column in columns.step_by(N) {
        // SAFETY: the caller's condition.
        unsafe { dots_tile::<S, R, M, N>(s, a, lda, b, column, vectors, c.add(M * column), fresh) };
    }
}

/// One register tile of [`dots`]: `M` rows of `A` against `N` rows of `B`; `M·N` is a multiple of 4.
#[expect(clippy::needless_range_loop)] // As in `multiply_tile`.
#[inline(always)]
unsafe fn dots_tile<S: Isa, R: Rows, const M: usize, const N: usize>(
    s: S,
    a: *const f32,
    lda: usize,
    b: R,
    column: usize,
    vectors: usize,
    c: *mut f32,
    fresh: bool,
) {
    // SAFETY: the caller's condition.
    unsafe {
        let mut from = [std::ptr::null(); N];
        for (j, from) in from.iter_mut().enumerate() {
            *from = b.row(column + j);
        }
        let mut sums = [[s.splat(0.0); M]; N];
        for v in 0..vectors {
            let at = v * S::LANES;
            let mut right = [s.splat(0.0); N];
            for j in 0..N {
                right[j] = s.load(from[j].add(at));
            }
            for i in 0..M {
                let left = s.load(a.add(i * lda + at));
                for j in 0..N {
                    sums[j][i] = s.fma(left, right[j], sums[j][i]);
                }
            }
        }
        let sums = sums.as_flattened();
        for i in (0..M * N).step_by(4) {
            let four = s.sums([sums[i], sums[i + 1], sums[i + 2], sums[i + 3]]);
            let c = c.add(i).cast::<[f32; 4]>();
            let old = if fresh { [0.0; 4] } else { c.read_unaligned() };
            c.write_unaligned([old[0] + four[0], old[1] + four[1], old[2] + four[2], old[3] + four[3]]);
        }
    }
}
