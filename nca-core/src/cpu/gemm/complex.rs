//! Products of complex matrices.

// As in `gemm`.
#![allow(unsafe_code)]

use super::super::simd::{Isa, prefetch};
use super::{Panels, SHORT};

/// Rows of `B` that are asked for ahead of their use: spectra exceed the second-level cache, and a row takes no longer
/// to multiply than the third level takes to answer.
const AHEAD: usize = 8;

/// A matrix of complex numbers: its columns in blocks of a vector, of which the real parts come first and
/// the imaginary ones next.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Complex {
    /// Real part of the first element.
    pub(in crate::cpu) start: *mut f32,
    /// Floats from row to row.
    pub(in crate::cpu) row: usize,
}

impl Complex {
    /// The real part of an element; its imaginary part comes a vector later.
    ///
    /// # Safety
    /// It must be an element of the matrix.
    #[inline(always)]
    unsafe fn at<S: Isa>(self, row: usize, column: usize) -> *mut f32 {
        let block = column / S::LANES * 2 * S::LANES;
        // SAFETY: the caller's condition.
        unsafe { self.start.add(row * self.row + block + column % S::LANES) }
    }
}

/// `C = A·B`; if `ADJOINT`, `C = Aᵀ·B̄`. Added to what `C` was if `add`.
///
/// `depth` is the number of rows of `B`, and of columns (if `ADJOINT`, rows) of `A`; `panels` are the rows
/// of `C`; `vectors` blocks of columns are computed.
///
/// # Safety
/// The operands must be valid in these shapes, with the padded number of rows of `panels`.
#[inline(always)]
pub(in crate::cpu) unsafe fn multiply_complex<S: Isa, const ADJOINT: bool>(
    s: S,
    panels: Panels,
    depth: usize,
    a: Complex,
    b: Complex,
    vectors: usize,
    c: Complex,
    add: bool,
) {
    // SAFETY: the caller's condition.
    unsafe {
        for vector in 0..vectors {
            let block = vector * 2 * S::LANES;
            let b = Complex {
                start: b.start.add(block),
                ..b
            };
            let c = Complex {
                start: c.start.add(block),
                ..c
            };
            let mut row = 0;
            for _ in 0..panels.tall {
                match S::ROWS {
                    8 => complex_tile::<S, 8, ADJOINT>(s, row, depth, a, b, c, add),
                    6 => complex_tile::<S, 6, ADJOINT>(s, row, depth, a, b, c, add),
                    _ => complex_tile::<S, 4, ADJOINT>(s, row, depth, a, b, c, add),
                }
                row += S::ROWS;
            }
            for _ in 0..panels.short {
                complex_tile::<S, SHORT, ADJOINT>(s, row, depth, a, b, c, add);
                row += SHORT;
            }
        }
    }
}

/// One register tile: `M` rows, from `row` on, of one complex vector.
#[inline(always)]
unsafe fn complex_tile<S: Isa, const M: usize, const ADJOINT: bool>(
    s: S,
    row: usize,
    depth: usize,
    a: Complex,
    b: Complex,
    c: Complex,
    add: bool,
) {
    // Elements of a row of `A` are neighbours as far as their block reaches, those of a column never are.
    let (stride, run, jump) = if ADJOINT {
        (a.row, depth, 0)
    } else {
        (1, S::LANES, S::LANES)
    };
    // SAFETY: the caller's condition.
    unsafe {
        let mut re = [s.splat(0.0); M];
        let mut im = [s.splat(0.0); M];
        let mut rows = [a.start.cast_const(); M];
        for r in 0..M {
            rows[r] = if ADJOINT {
                a.at::<S>(0, row + r)
            } else {
                a.at::<S>(row + r, 0)
            };
            if add {
                let from = c.at::<S>(row + r, 0);
                re[r] = s.load(from);
                im[r] = s.load(from.add(S::LANES));
            }
        }
        let mut right = b.start.cast_const();
        let (mut left, mut at) = (depth, 0);
        while left > 0 {
            let count = left.min(run);
            for _ in 0..count {
                let (b_re, b_im) = (s.load(right), s.load(right.add(S::LANES)));
                prefetch(right.wrapping_add(AHEAD * b.row), 2 * S::LANES);
                for r in 0..M {
                    let a_re = s.splat(*rows[r].add(at));
                    re[r] = s.fma(a_re, b_re, re[r]);
                    im[r] = if ADJOINT {
                        s.fnma(a_re, b_im, im[r])
                    } else {
                        s.fma(a_re, b_im, im[r])
                    };
                    let a_im = s.splat(*rows[r].add(at + S::LANES));
                    im[r] = s.fma(a_im, b_re, im[r]);
                    re[r] = if ADJOINT {
                        s.fma(a_im, b_im, re[r])
                    } else {
                        s.fnma(a_im, b_im, re[r])
                    };
                }
                right = right.add(b.row);
                at += stride;
            }
            left -= count;
            at += jump;
        }
        for r in 0..M {
            let to = c.at::<S>(row + r, 0);
            s.store(to, re[r]);
            s.store(to.add(S::LANES), im[r]);
        }
    }
}
