//! bf16 on arrays: rounded factors, multiplied as f32.

// Vectors in memory.
#![allow(unsafe_code)]

use super::super::simd::{Isa, Wide};
use super::product::{Left, Right};
use super::unit::{Dots, Unit, multiply_by_dots};

/// Any machine.
#[derive(Clone, Copy)]
pub(super) struct Portable;

/// The bits of `v` rounded to bf16; NaN stays NaN.
#[inline(always)]
pub(super) fn round(v: f32) -> u32 {
    let bits = v.to_bits();
    if v.is_nan() {
        // Its upper half may be that of an infinity.
        return bits >> 16 | 0x40;
    }
    // Below the last bit: a half, or the least bit less than a half where the last bit is even.
    (bits + 0x7fff + (bits >> 16 & 1)) >> 16
}

/// The number in the lower half of a pair.
#[inline(always)]
fn low(pair: f32) -> f32 {
    f32::from_bits(pair.to_bits() << 16)
}

/// The number in the upper half of a pair.
#[inline(always)]
fn high(pair: f32) -> f32 {
    f32::from_bits(pair.to_bits() & 0xffff_0000)
}

impl Unit for Portable {
    type S = Wide;
    #[inline(always)]
    fn isa(self) -> Wide {
        Wide {}
    }
    #[inline(always)]
    fn pair(self, low: [f32; 16], high: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| f32::from_bits(round(low[i]) | round(high[i]) << 16))
    }
    #[inline(always)]
    fn narrow(self, a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| {
            let from = if i < 8 { &a[2 * i..] } else { &b[2 * i - 16..] };
            f32::from_bits(round(from[0]) | round(from[1]) << 16)
        })
    }
    #[inline(always)]
    fn where_positive(self, x: [f32; 16], v: [[f32; 16]; 2]) -> [[f32; 16]; 2] {
        let number = |i: usize| {
            if i.is_multiple_of(2) {
                low(x[i / 2])
            } else {
                high(x[i / 2])
            }
        };
        [0, 1].map(|half| std::array::from_fn(|i| if number(16 * half + i) > 0.0 { v[half][i] } else { 0.0 }))
    }
    #[inline(always)]
    unsafe fn multiply(self, a: Left, rows: usize, pairs: usize, b: Right, vectors: usize, c: *mut f32) {
        // SAFETY: the caller's condition.
        unsafe { multiply_by_dots(self, a, rows, pairs, b, vectors, c) };
    }
}

impl Dots for Portable {
    #[inline(always)]
    fn dot(self, a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        let s = self.isa();
        s.fma(a.map(low), b.map(low), s.fma(a.map(high), b.map(high), c))
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::round;

    #[test]
    fn rounding_is_that_of_the_half_crate() {
        // Both halves of many patterns: all exponents, ties, subnormal numbers, infinities.
        for high in (0..1_u32 << 16).step_by(7) {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let v = f32::from_bits(high << 16 | low);
                let (found, expected) = (round(v), u32::from(bf16::from_f32(v).to_bits()));
                assert!(
                    found == expected || v.is_nan() && bf16::from_bits(found as u16).is_nan(),
                    "{v:e}"
                );
            }
        }
    }
}
