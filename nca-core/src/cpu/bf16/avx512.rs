//! AVX-512 BF16.

// Intrinsics.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmplt_epu16_mask, _mm512_cvtne2ps_pbh,
    _mm512_dpbf16_ps, _mm512_maskz_mov_ps, _mm512_permutexvar_epi16, _mm512_set1_epi16, _mm512_sub_epi16,
};
use std::mem::transmute;

use super::super::simd::Avx512;
use super::product::{Left, Right};
use super::unit::{Dots, Job, Unit, multiply_by_dots};

/// Proof that the machine has AVX-512 F, BW and BF16.
#[derive(Clone, Copy)]
pub(super) struct Avx512Bf16(Avx512);

/// Whether the machine has what [`Avx512Bf16`] uses.
pub(super) fn available() -> bool {
    super::super::Simd::Avx512.available()
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512bf16")
}

/// # Safety
/// The unit must be available.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
pub(super) unsafe fn run<J: Job>(job: J) {
    // SAFETY: this function's own condition.
    job.run(unsafe { Avx512Bf16::new() });
}

/// Places of the numbers of a pair in a vector of all low ones and then all high ones.
const INTERLEAVED: [u16; 32] = {
    let mut places = [0; 32];
    let mut i = 0;
    while i < 16 {
        (places[2 * i], places[2 * i + 1]) = (i as u16, 16 + i as u16);
        i += 1;
    }
    places
};

impl Avx512Bf16 {
    /// # Safety
    /// The unit must be available.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        // SAFETY: the caller's condition.
        Self(unsafe { Avx512::new() })
    }
}

// SAFETY of every intrinsic below: `self` proves that the machine has it. Vectors are bits, whatever their type.
impl Unit for Avx512Bf16 {
    type S = Avx512;
    #[inline(always)]
    fn isa(self) -> Avx512 {
        self.0
    }
    #[inline(always)]
    fn pair(self, low: __m512, high: __m512) -> __m512 {
        unsafe {
            let numbers = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            let places = transmute::<[u16; 32], __m512i>(INTERLEAVED);
            _mm512_castsi512_ps(_mm512_permutexvar_epi16(places, numbers))
        }
    }
    #[inline(always)]
    fn narrow(self, a: __m512, b: __m512) -> __m512 {
        unsafe { transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(b, a)) }
    }
    #[inline(always)]
    fn where_positive(self, x: __m512, [a, b]: [__m512; 2]) -> [__m512; 2] {
        unsafe {
            // The positive numbers are the bits 1 to 0x7f80, infinity; less one, 0 and −0 and NaN are larger.
            let before = _mm512_sub_epi16(_mm512_castps_si512(x), _mm512_set1_epi16(1));
            let positive = _mm512_cmplt_epu16_mask(before, _mm512_set1_epi16(0x7f80));
            [
                _mm512_maskz_mov_ps(positive as u16, a),
                _mm512_maskz_mov_ps((positive >> 16) as u16, b),
            ]
        }
    }
    #[inline(always)]
    unsafe fn multiply(self, a: Left, rows: usize, pairs: usize, b: Right, vectors: usize, c: *mut f32) {
        // SAFETY: the caller's condition.
        unsafe { multiply_by_dots(self, a, rows, pairs, b, vectors, c) };
    }
}

impl Dots for Avx512Bf16 {
    #[inline(always)]
    fn dot(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_dpbf16_ps(c, transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)) }
    }
}
