//! Fourier transforms of tiles of 16 × 16 numbers, one tile in every lane.
//!
//! A spectrum of real numbers is its own mirror image, so half of it is kept: [`FREQUENCIES`] numbers,
//! column 0 and 8 of the transform (each the transform of real numbers: 9 of 16), then columns 1 to 7.

// Columns of tiles whose shapes the callers prepare.
#![allow(unsafe_code)]

use super::super::super::simd::Isa;
use super::dft::{Column, Complex, Half, complex, inverse_real, real};

/// Side of a tile.
pub(super) const SIDE: usize = 16;
/// Numbers of a tile.
pub(super) const AREA: usize = SIDE * SIDE;
/// Complex numbers of a spectrum: 2 real columns of 9 and 7 of 16.
pub(super) const FREQUENCIES: usize = 2 * 9 + 7 * 16;

/// First frequency of inner column `k`, 1 to 7.
#[inline(always)]
fn inner_column(k: usize) -> usize {
    18 + 16 * (k - 1)
}

/// Vectors of a spectrum, each frequency `stride` floats after the one before.
pub(super) type Spectrum = Column;

/// The column of `spectrum` that starts at `frequency`.
#[inline(always)]
unsafe fn from_frequency(spectrum: Spectrum, frequency: usize) -> Column {
    // SAFETY: the callers stay below FREQUENCIES.
    unsafe {
        Column {
            re: spectrum.re.add(frequency * spectrum.stride),
            im: spectrum.im.add(frequency * spectrum.stride),
            ..spectrum
        }
    }
}

/// Column `k` of rows that have been transformed: 16 slots a row, numbers 0 and 8 in the first two,
/// then real and imaginary part of each of 1 to 7.
#[inline(always)]
unsafe fn slots<S: Isa>(rows: *mut f32, k: usize) -> Column {
    // SAFETY: the callers' tiles have 16 slots a row.
    unsafe {
        Column {
            re: rows.add(2 * k * S::LANES),
            im: rows.add((2 * k + 1) * S::LANES),
            stride: SIDE * S::LANES,
        }
    }
}

/// Transforms tiles: the first `rows` rows of one a lane, `lane_stride` floats from lane to lane,
/// `row_stride` from row to row; the other rows are zeros. `work` is overwritten.
///
/// # Safety
/// These rows must be valid for 16 floats in every lane, `work` for [`AREA`] vectors, and `to` for
/// [`FREQUENCIES`] pairs of vectors.
#[inline(always)]
pub(super) unsafe fn transform<S: Isa>(
    s: S,
    from: *const f32,
    row_stride: usize,
    lane_stride: usize,
    rows: usize,
    work: *mut f32,
    to: Spectrum,
) {
    let lanes = S::LANES;
    // SAFETY: the caller's condition.
    unsafe {
        for y in 0..rows {
            let row = work.add(y * SIDE * lanes);
            let mut x = 0;
            while x < SIDE {
                s.transpose(from.add(y * row_stride + x), lane_stride, row.add(x * lanes), lanes);
                x += lanes;
            }
            let half = real(s, row, lanes);
            s.store(row, half.ends[0]);
            s.store(row.add(lanes), half.ends[1]);
            for k in 1..8 {
                s.store(row.add(2 * k * lanes), half.inner[k - 1].re);
                s.store(row.add((2 * k + 1) * lanes), half.inner[k - 1].im);
            }
        }
        for i in rows * SIDE..AREA {
            s.store(work.add(i * lanes), s.splat(0.0));
        }
        for end in 0..2 {
            let half = real(s, work.add(end * lanes), SIDE * lanes);
            let to = from_frequency(to, 9 * end);
            for (at, end) in [0, 8].into_iter().zip(half.ends) {
                let im = s.splat(0.0);
                to.store(s, at, Complex { re: end, im });
            }
            for k in 1..8 {
                to.store(s, k, half.inner[k - 1]);
            }
        }
        for k in 1..8 {
            complex(s, slots::<S>(work, k), from_frequency(to, inner_column(k)));
        }
    }
}

/// The inverse of [`transform`] times [`AREA`]: rows `rows.0..rows.1` of the tile of lane `l`, each of 16
/// floats, to `to[l][y][x]`. `work` is overwritten.
///
/// # Safety
/// As in [`transform`]; `to` must be valid for [`AREA`] vectors.
#[inline(always)]
pub(super) unsafe fn inverse<S: Isa>(s: S, from: Spectrum, rows: (usize, usize), work: *mut f32, to: *mut f32) {
    let lanes = S::LANES;
    // SAFETY: the caller's condition.
    unsafe {
        for end in 0..2 {
            let column = from_frequency(from, 9 * end);
            let mut half = Half {
                ends: [column.load(s, 0).re, column.load(s, 8).re],
                inner: [column.load(s, 1); 7],
            };
            for k in 2..8 {
                half.inner[k - 1] = column.load(s, k);
            }
            inverse_real(s, half, work.add(end * lanes), SIDE * lanes);
        }
        for k in 1..8 {
            let column = from_frequency(from, inner_column(k));
            complex(s, column.exchanged(), slots::<S>(work, k).exchanged());
        }
        for y in rows.0..rows.1 {
            let row = work.add(y * SIDE * lanes);
            let first = Column {
                re: row,
                im: row.add(lanes),
                stride: 2 * lanes,
            };
            let ends = first.load(s, 0);
            let mut half = Half {
                ends: [ends.re, ends.im],
                inner: [first.load(s, 1); 7],
            };
            for k in 2..8 {
                half.inner[k - 1] = first.load(s, k);
            }
            inverse_real(s, half, row, lanes);
            let mut x = 0;
            while x < SIDE {
                s.transpose(row.add(x * lanes), lanes, to.add(y * SIDE + x), AREA);
                x += lanes;
            }
        }
    }
}
