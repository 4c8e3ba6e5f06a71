//! The transforms of Winograd's F(4 × 4, 3 × 3), one channel in every lane.
//!
//! A correlation of six numbers with three is a product of polynomials read backwards: both are evaluated
//! at the points 0, ±⅔, ±3/2 and ∞, multiplied there, and the four outputs interpolated (Winograd 1980;
//! Lavin & Gray, *Fast Algorithms for Convolutional Neural Networks*, 2015, with the points 0, ±1, ±2 and ∞).
//! Points whose magnitudes are each other's inverse keep the factors small: a fourth of the
//! amplification of rounding errors.

// Vectors of tiles whose shapes the callers prepare.
#![allow(unsafe_code)]
// Constant bounds unroll, so that numbers stay in registers.
#![expect(clippy::needless_range_loop)]

use super::super::super::simd::Isa;

/// Points ±A and ±B.
const A: f64 = 2.0 / 3.0;
const B: f64 = 3.0 / 2.0;
/// Products of the differences of ±A, and of ±B, from all other points.
const N_A: f64 = 2.0 * A * A * (A * A - B * B);
const N_B: f64 = 2.0 * B * B * (B * B - A * A);

/// Side of the inputs of a tile.
pub(super) const SIDE: usize = 6;
/// Side of its outputs.
pub(super) const STEP: usize = 4;
/// Side of the kernel.
pub(super) const KERNEL: usize = 3;
/// Numbers of a tile in the transformed domain.
pub(super) const POINTS: usize = SIDE * SIDE;

/// Vectors in memory: rows of a tile, or its numbers.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) start: *mut f32,
    /// Floats from row to row and from column to column.
    pub(super) row: usize,
    pub(super) column: usize,
}

impl Grid {
    /// # Safety
    /// The vector must be valid.
    #[inline(always)]
    pub(super) unsafe fn load<S: Isa>(self, s: S, row: usize, column: usize) -> S::V {
        // SAFETY: the caller's condition.
        unsafe { s.load(self.start.add(row * self.row + column * self.column)) }
    }

    /// # Safety
    /// The vector must be valid.
    #[inline(always)]
    pub(super) unsafe fn store<S: Isa>(self, s: S, row: usize, column: usize, v: S::V) {
        // SAFETY: the caller's condition.
        unsafe { s.store(self.start.add(row * self.row + column * self.column), v) }
    }
}

/// Six inputs to the six points.
#[inline(always)]
fn inputs<S: Isa>(s: S, x: [S::V; 6]) -> [S::V; 6] {
    let (a2, b2) = (s.splat((A * A) as f32), s.splat((B * B) as f32));
    let (a, b) = (s.splat(A as f32), s.splat(B as f32));
    let both = s.splat((A * A + B * B) as f32);
    // Even and odd part at ±A, and at ±B.
    let (even_a, odd_a) = (s.fnma(b2, x[2], x[4]), s.fnma(b2, x[1], x[3]));
    let (even_b, odd_b) = (s.fnma(a2, x[2], x[4]), s.fnma(a2, x[1], x[3]));
    [
        s.add(x[0], s.fnma(both, x[2], x[4])),
        s.fma(a, odd_a, even_a),
        s.fnma(a, odd_a, even_a),
        s.fma(b, odd_b, even_b),
        s.fnma(b, odd_b, even_b),
        s.add(x[1], s.fnma(both, x[3], x[5])),
    ]
}

/// Three weights to the six points.
#[inline(always)]
fn weights<S: Isa>(s: S, w: [S::V; 3]) -> [S::V; 6] {
    let even_a = s.fma(
        s.splat((A * A / N_A) as f32),
        w[2],
        s.mul(s.splat((1.0 / N_A) as f32), w[0]),
    );
    let even_b = s.fma(
        s.splat((B * B / N_B) as f32),
        w[2],
        s.mul(s.splat((1.0 / N_B) as f32), w[0]),
    );
    let (a, b) = (s.splat((A / N_A) as f32), s.splat((B / N_B) as f32));
    [
        w[0],
        s.fma(a, w[1], even_a),
        s.fnma(a, w[1], even_a),
        s.fma(b, w[1], even_b),
        s.fnma(b, w[1], even_b),
        w[2],
    ]
}

/// Products at the six points to four outputs.
#[inline(always)]
fn outputs<S: Isa>(s: S, m: [S::V; 6]) -> [S::V; 4] {
    let (sum_a, difference_a) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (sum_b, difference_b) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    let (a, b) = (s.splat(A as f32), s.splat(B as f32));
    let (a2, b2) = (s.splat((A * A) as f32), s.splat((B * B) as f32));
    let (a3, b3) = (s.splat((A * A * A) as f32), s.splat((B * B * B) as f32));
    [
        s.add(s.add(m[0], sum_a), sum_b),
        s.fma(b, difference_b, s.mul(a, difference_a)),
        s.fma(b2, sum_b, s.mul(a2, sum_a)),
        s.fma(b3, difference_b, s.fma(a3, difference_a, m[5])),
    ]
}

/// Transforms the 6 × 6 inputs of `from`.
///
/// # Safety
/// Both grids must be valid for 6 × 6 vectors.
#[inline(always)]
pub(super) unsafe fn transform_inputs<S: Isa>(s: S, from: Grid, to: Grid) {
    let mut rows = [[s.splat(0.0); 6]; 6];
    // SAFETY: the caller's condition.
    unsafe {
        for y in 0..6 {
            let mut row = [s.splat(0.0); 6];
            for x in 0..6 {
                row[x] = from.load(s, y, x);
            }
            rows[y] = inputs(s, row);
        }
        for x in 0..6 {
            let column = [rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]];
            let column = inputs(s, column);
            for y in 0..6 {
                to.store(s, y, x, column[y]);
            }
        }
    }
}

/// Transforms the 3 × 3 weights of `from`, turned by half a turn if `mirrored`.
///
/// # Safety
/// `from` must be valid for 3 × 3 vectors, `to` for 6 × 6.
#[inline(always)]
pub(super) unsafe fn transform_weights<S: Isa>(s: S, from: Grid, mirrored: bool, to: Grid) {
    let mut rows = [[s.splat(0.0); 6]; 3];
    let at = |i: usize| if mirrored { KERNEL - 1 - i } else { i };
    // SAFETY: the caller's condition.
    unsafe {
        for y in 0..3 {
            let row = at(y);
            let taps = [
                from.load(s, row, at(0)),
                from.load(s, row, at(1)),
                from.load(s, row, at(2)),
            ];
            rows[y] = weights(s, taps);
        }
        for x in 0..6 {
            let column = weights(s, [rows[0][x], rows[1][x], rows[2][x]]);
            for y in 0..6 {
                to.store(s, y, x, column[y]);
            }
        }
    }
}

/// Interpolates the 4 × 4 outputs of the products `from` and adds `bias`.
///
/// # Safety
/// `from` must be valid for 6 × 6 vectors, `to` for 4 × 4.
#[inline(always)]
pub(super) unsafe fn transform_outputs<S: Isa>(s: S, from: Grid, bias: S::V, to: Grid) {
    let mut rows = [[s.splat(0.0); 4]; 6];
    // SAFETY: the caller's condition.
    unsafe {
        for y in 0..6 {
            let mut row = [s.splat(0.0); 6];
            for x in 0..6 {
                row[x] = from.load(s, y, x);
            }
            rows[y] = outputs(s, row);
        }
        for x in 0..4 {
            let column = [rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]];
            let column = outputs(s, column);
            for y in 0..4 {
                to.store(s, y, x, s.add(column[y], bias));
            }
        }
    }
}
