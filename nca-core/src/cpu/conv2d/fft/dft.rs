//! Discrete Fourier transforms of 16 numbers, one transform in every lane.
//!
//! `X[k] = Σ_n x[n]·w^{nk}` with `w = e^{−2πi/16}`; the inverses leave out the factor 1/16.

// Columns of tiles whose shapes the callers prepare.
#![allow(unsafe_code)]

use super::super::super::simd::Isa;

/// cos(π/8), cos(π/4), sin(π/8).
const C1: f32 = 0.923_879_5;
const C2: f32 = std::f32::consts::FRAC_1_SQRT_2;
const S1: f32 = 0.382_683_43;

/// Cosine and sine of `k·π/8`: `w^k = cos − i·sin`.
const TURNS: [(f32, f32); 10] = [
    (1.0, 0.0),
    (C1, S1),
    (C2, C2),
    (S1, C1),
    (0.0, 1.0),
    (-S1, C1),
    (-C2, C2),
    (-C1, S1),
    (-1.0, 0.0),
    (-C1, -S1),
];

/// A complex number in every lane.
#[derive(Clone, Copy)]
pub(super) struct Complex<V> {
    pub(super) re: V,
    pub(super) im: V,
}

impl<V: Copy> Complex<V> {
    #[inline(always)]
    fn add<S: Isa<V = V>>(self, s: S, other: Self) -> Self {
        Self {
            re: s.add(self.re, other.re),
            im: s.add(self.im, other.im),
        }
    }

    #[inline(always)]
    fn sub<S: Isa<V = V>>(self, s: S, other: Self) -> Self {
        Self {
            re: s.sub(self.re, other.re),
            im: s.sub(self.im, other.im),
        }
    }

    /// The conjugate of `self − other`.
    #[inline(always)]
    fn mirrored<S: Isa<V = V>>(self, s: S, other: Self) -> Self {
        Self {
            re: s.sub(self.re, other.re),
            im: s.sub(other.im, self.im),
        }
    }

    /// `self` plus the conjugate of `other`.
    #[inline(always)]
    fn add_conjugate<S: Isa<V = V>>(self, s: S, other: Self) -> Self {
        Self {
            re: s.add(self.re, other.re),
            im: s.sub(self.im, other.im),
        }
    }

    /// `self` minus the conjugate of `other`.
    #[inline(always)]
    fn sub_conjugate<S: Isa<V = V>>(self, s: S, other: Self) -> Self {
        Self {
            re: s.sub(self.re, other.re),
            im: s.add(self.im, other.im),
        }
    }

    #[inline(always)]
    fn swapped(self) -> Self {
        Self {
            re: self.im,
            im: self.re,
        }
    }

    /// `self · w^k`.
    #[inline(always)]
    fn turned<S: Isa<V = V>>(self, s: S, k: usize) -> Self {
        match k {
            0 => self,
            4 => Self {
                re: self.im,
                im: s.sub(s.splat(0.0), self.re),
            },
            _ => {
                let (cos, sin) = (s.splat(TURNS[k].0), s.splat(TURNS[k].1));
                Self {
                    re: s.fma(self.im, sin, s.mul(self.re, cos)),
                    im: s.fnma(self.re, sin, s.mul(self.im, cos)),
                }
            }
        }
    }
}

/// Sixteen complex vectors in memory.
#[derive(Clone, Copy)]
pub(super) struct Column {
    /// First real and imaginary part.
    pub(super) re: *mut f32,
    pub(super) im: *mut f32,
    /// Floats from each to the next.
    pub(super) stride: usize,
}

impl Column {
    /// # Safety
    /// Vector `i` must be valid.
    #[inline(always)]
    pub(super) unsafe fn load<S: Isa>(self, s: S, i: usize) -> Complex<S::V> {
        // SAFETY: the caller's condition.
        unsafe {
            Complex {
                re: s.load(self.re.add(i * self.stride)),
                im: s.load(self.im.add(i * self.stride)),
            }
        }
    }

    /// # Safety
    /// Vector `i` must be valid.
    #[inline(always)]
    pub(super) unsafe fn store<S: Isa>(self, s: S, i: usize, z: Complex<S::V>) {
        // SAFETY: the caller's condition.
        unsafe {
            s.store(self.re.add(i * self.stride), z.re);
            s.store(self.im.add(i * self.stride), z.im);
        }
    }

    /// The column with its parts exchanged: `i` times the conjugate of each number. A transform between
    /// two exchanged columns is the inverse one.
    #[inline(always)]
    pub(super) fn exchanged(self) -> Self {
        Self {
            re: self.im,
            im: self.re,
            ..self
        }
    }
}

/// Transform of four numbers.
#[inline(always)]
fn dft4<S: Isa>(s: S, z: [Complex<S::V>; 4]) -> [Complex<S::V>; 4] {
    let (a, b) = (z[0].add(s, z[2]), z[0].sub(s, z[2]));
    let (c, d) = (z[1].add(s, z[3]), z[1].sub(s, z[3]));
    [
        a.add(s, c),
        Complex {
            re: s.add(b.re, d.im),
            im: s.sub(b.im, d.re),
        },
        a.sub(s, c),
        Complex {
            re: s.sub(b.re, d.im),
            im: s.add(b.im, d.re),
        },
    ]
}

/// Transform of a column of complex numbers, `16 = 4 × 4`.
///
/// # Safety
/// Both columns must be valid; they may be the same.
#[expect(clippy::needless_range_loop)] // Constant bounds unroll, so that numbers stay in registers.
#[inline(always)]
pub(super) unsafe fn complex<S: Isa>(s: S, from: Column, to: Column) {
    let zero = Complex {
        re: s.splat(0.0),
        im: s.splat(0.0),
    };
    let mut middle = [[zero; 4]; 4];
    // SAFETY: the caller's condition.
    unsafe {
        for n in 0..4 {
            let four = [
                from.load(s, n),
                from.load(s, n + 4),
                from.load(s, n + 8),
                from.load(s, n + 12),
            ];
            let four = dft4(s, four);
            for k in 0..4 {
                middle[k][n] = four[k].turned(s, n * k);
            }
        }
        for k in 0..4 {
            let four = dft4(s, middle[k]);
            for j in 0..4 {
                to.store(s, k + 4 * j, four[j]);
            }
        }
    }
}

/// Transform of four real numbers: the real 0 and 2, and the complex 1.
#[inline(always)]
fn real4<S: Isa>(s: S, x: [S::V; 4]) -> (S::V, Complex<S::V>, S::V) {
    let (even, odd) = (s.add(x[0], x[2]), s.add(x[1], x[3]));
    let first = Complex {
        re: s.sub(x[0], x[2]),
        im: s.sub(x[3], x[1]),
    };
    (s.add(even, odd), first, s.sub(even, odd))
}

/// Transform of eight real numbers: 0 and 4 (both real), then 1, 2, 3.
#[inline(always)]
fn real8<S: Isa>(s: S, x: [S::V; 8]) -> (S::V, S::V, [Complex<S::V>; 3]) {
    let even = real4(s, [x[0], x[2], x[4], x[6]]);
    let odd = real4(s, [x[1], x[3], x[5], x[7]]);
    let turned = odd.1.turned(s, 2);
    let second = Complex {
        re: even.2,
        im: s.sub(s.splat(0.0), odd.2),
    };
    (
        s.add(even.0, odd.0),
        s.sub(even.0, odd.0),
        [even.1.add(s, turned), second, even.1.mirrored(s, turned)],
    )
}

/// Half the transform of 16 real numbers; the other half is its conjugate.
#[derive(Clone, Copy)]
pub(super) struct Half<V> {
    /// Numbers 0 and 8, which are real.
    pub(super) ends: [V; 2],
    /// Numbers 1 to 7.
    pub(super) inner: [Complex<V>; 7],
}

/// Transform of 16 real vectors, `stride` floats apart.
///
/// # Safety
/// They must be valid.
#[inline(always)]
pub(super) unsafe fn real<S: Isa>(s: S, from: *const f32, stride: usize) -> Half<S::V> {
    let mut evens = [s.splat(0.0); 8];
    let mut odds = [s.splat(0.0); 8];
    for i in 0..8 {
        // SAFETY: the caller's condition.
        unsafe {
            evens[i] = s.load(from.add(2 * i * stride));
            odds[i] = s.load(from.add((2 * i + 1) * stride));
        }
    }
    let (even0, even4, even) = real8(s, evens);
    let (odd0, odd4, odd) = real8(s, odds);
    let mut inner = [Complex { re: even4, im: even4 }; 7];
    for k in 1..4 {
        let turned = odd[k - 1].turned(s, k);
        inner[k - 1] = even[k - 1].add(s, turned);
        inner[7 - k] = even[k - 1].mirrored(s, turned);
    }
    inner[3] = Complex {
        re: even4,
        im: s.sub(s.splat(0.0), odd4),
    };
    Half {
        ends: [s.add(even0, odd0), s.sub(even0, odd0)],
        inner,
    }
}

/// The inverse of [`real4`], times four.
#[inline(always)]
fn inverse4<S: Isa>(s: S, zero: S::V, first: Complex<S::V>, second: S::V) -> [S::V; 4] {
    let (sum, difference) = (s.add(zero, second), s.sub(zero, second));
    let (re, im) = (s.add(first.re, first.re), s.add(first.im, first.im));
    [
        s.add(sum, re),
        s.sub(difference, im),
        s.sub(sum, re),
        s.add(difference, im),
    ]
}

/// The inverse of [`real8`], times eight.
#[inline(always)]
fn inverse8<S: Isa>(s: S, zero: S::V, fourth: S::V, z: [Complex<S::V>; 3]) -> [S::V; 8] {
    let even = z[0].add_conjugate(s, z[2]);
    let even = inverse4(s, s.add(zero, fourth), even, s.add(z[1].re, z[1].re));
    let odd = turned_back(s, z[0].sub_conjugate(s, z[2]), 2);
    let odd = inverse4(s, s.sub(zero, fourth), odd, minus_twice(s, z[1].im));
    [even[0], odd[0], even[1], odd[1], even[2], odd[2], even[3], odd[3]]
}

#[inline(always)]
fn minus_twice<S: Isa>(s: S, v: S::V) -> S::V {
    s.mul(s.splat(-2.0), v)
}

/// `z · w^{−k}`.
#[inline(always)]
fn turned_back<S: Isa>(s: S, z: Complex<S::V>, k: usize) -> Complex<S::V> {
    z.swapped().turned(s, k).swapped()
}

/// The inverse of [`real`], times sixteen, to `stride` floats apart.
///
/// # Safety
/// The 16 vectors must be valid.
#[inline(always)]
pub(super) unsafe fn inverse_real<S: Isa>(s: S, half: Half<S::V>, to: *mut f32, stride: usize) {
    let [zero, eighth] = half.ends;
    let mut even = [half.inner[0]; 3];
    let mut odd = even;
    for k in 1..4 {
        let (low, high) = (half.inner[k - 1], half.inner[7 - k]);
        even[k - 1] = low.add_conjugate(s, high);
        odd[k - 1] = turned_back(s, low.sub_conjugate(s, high), k);
    }
    let fourth = half.inner[3];
    let even = inverse8(s, s.add(zero, eighth), s.add(fourth.re, fourth.re), even);
    let odd = inverse8(s, s.sub(zero, eighth), minus_twice(s, fourth.im), odd);
    for i in 0..8 {
        // SAFETY: the caller's condition.
        unsafe {
            s.store(to.add(2 * i * stride), even[i]);
            s.store(to.add((2 * i + 1) * stride), odd[i]);
        }
    }
}
