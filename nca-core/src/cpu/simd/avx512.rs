//! AVX-512F: 16 lanes, 32 registers.

use std::arch::x86_64::{
    __m128i, __m512, __m512i, __mmask16, _CMP_GT_OQ, _CMP_NGT_UQ, _mm_loadu_ps, _mm512_abs_ps, _mm512_add_epi32,
    _mm512_add_ps, _mm512_alignr_epi32, _mm512_castps_si512, _mm512_castps128_ps512, _mm512_castsi512_ps,
    _mm512_cmp_ps_mask, _mm512_cvtepi32_epi8, _mm512_cvtepu8_epi32, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_insertf32x4, _mm512_loadu_ps, _mm512_mask_expand_epi32, _mm512_mask_storeu_ps, _mm512_maskz_compress_epi32,
    _mm512_maskz_expand_ps, _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_permutex2var_ps,
    _mm512_set_epi32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps,
    _mm512_storeu_ps, _mm512_sub_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};

use super::Isa;

/// Proof that the machine has AVX-512F (and with it AVX2 and FMA).
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The machine must have AVX-512F.
    #[inline(always)]
    pub(in crate::cpu) unsafe fn new() -> Self {
        Self(())
    }
}

// SAFETY of every intrinsic below: `self` proves that the machine has AVX-512F; pointers are the
// caller's condition.
impl Isa for Avx512 {
    type V = __m512;
    type Select = __mmask16;
    /// Sixteen bytes each: of which lanes, first of the rest and then of the vector, the vector that the rest is part of
    /// is made; and of which lanes of that and of the vector the next rest is.
    type Packing = [__m128i; 2];
    type Packer = [__m512i; 2];
    const LANES: usize = 16;
    /// 8×3 accumulators and 3 vectors of the 32 registers; broadcasts are memory operands.
    const ROWS: usize = 8;
    const VECTORS: usize = 3;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn fnma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn where_above(self, x: __m512, bound: __m512, v: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, bound), v) }
    }
    #[inline(always)]
    fn where_within(self, x: __m512, bound: __m512, v: __m512) -> __m512 {
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NGT_UQ>(_mm512_abs_ps(x), bound), v) }
    }
    #[inline(always)]
    fn shift_up(self, v: __m512, first: f32) -> __m512 {
        unsafe {
            // Lanes 15.. of [first; 16] followed by v.
            let (v, first) = (_mm512_castps_si512(v), _mm512_castps_si512(_mm512_set1_ps(first)));
            _mm512_castsi512_ps(_mm512_alignr_epi32::<15>(v, first))
        }
    }
    #[inline(always)]
    fn shift_down(self, v: __m512, last: f32) -> __m512 {
        unsafe {
            // Lanes 1.. of v followed by [last; 16].
            let (v, last) = (_mm512_castps_si512(v), _mm512_castps_si512(_mm512_set1_ps(last)));
            _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(last, v))
        }
    }
    #[inline(always)]
    fn select(self, bits: u32) -> __mmask16 {
        bits as __mmask16
    }
    #[inline(always)]
    fn packing(self, bits: u32, number: usize) -> [__m128i; 2] {
        let filled = (number % 16) as u32;
        unsafe {
            let rest = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
            let packed = _mm512_maskz_compress_epi32(bits as __mmask16, _mm512_add_epi32(rest, _mm512_set1_epi32(16)));
            let free = (0xffff_u32 << filled) as __mmask16;
            let joined = _mm512_mask_expand_epi32(rest, free, packed);
            let next = if filled + bits.count_ones() < 16 {
                rest
            } else {
                let behind = (0xffff_u32 << (16 - filled)) as __mmask16;
                _mm512_maskz_compress_epi32(behind, packed)
            };
            [_mm512_cvtepi32_epi8(joined), _mm512_cvtepi32_epi8(next)]
        }
    }
    #[inline(always)]
    fn packer(self, _: __mmask16, [joined, next]: [__m128i; 2]) -> [__m512i; 2] {
        unsafe { [_mm512_cvtepu8_epi32(joined), _mm512_cvtepu8_epi32(next)] }
    }
    /// Whole vectors are stored where they end up, for a store that crosses from one cache line to the next takes twice
    /// as long.
    #[inline(always)]
    unsafe fn append(
        self,
        [joined, next]: [__m512i; 2],
        to: *mut f32,
        number: usize,
        rest: __m512,
        v: __m512,
    ) -> __m512 {
        unsafe {
            let whole = _mm512_permutex2var_ps(rest, joined, v);
            _mm512_storeu_ps(to.add(number & !15), whole);
            _mm512_permutex2var_ps(whole, next, v)
        }
    }
    #[inline(always)]
    unsafe fn finish(self, to: *mut f32, number: usize, rest: __m512) {
        let filled = ((1_u32 << (number % 16)) - 1) as __mmask16;
        unsafe { _mm512_storeu_ps(to.add(number & !15), _mm512_maskz_mov_ps(filled, rest)) };
    }
    #[inline(always)]
    fn expand(self, v: __m512, lanes: __mmask16) -> __m512 {
        unsafe { _mm512_maskz_expand_ps(lanes, v) }
    }
    /// In whole vectors up to the last store: halves of a vector live in the lower sixteen registers only, and the
    /// accumulators that they are taken from would have to as well.
    #[inline(always)]
    fn sums(self, [a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        unsafe {
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            // Each quarter: sums of a quarter of a, b, c and d.
            let quarters = _mm512_add_ps(
                _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
                _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
            );
            let halves = _mm512_add_ps(quarters, _mm512_shuffle_f32x4::<0b01_00_11_10>(quarters, quarters));
            let whole = _mm512_add_ps(halves, _mm512_shuffle_f32x4::<0b10_11_00_01>(halves, halves));
            let mut out = [0.0; 4];
            _mm512_mask_storeu_ps(out.as_mut_ptr(), 0b1111, whole);
            out
        }
    }
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe {
            // Quarter q of the result: columns 4q.. of all rows, rows i, i + 4, i + 8, i + 12 side by side.
            for quarter in 0..4 {
                let mut rows = [_mm512_setzero_ps(); 4];
                for (i, row) in rows.iter_mut().enumerate() {
                    let from = from.add(i * from_stride + 4 * quarter);
                    *row = _mm512_castps128_ps512(_mm_loadu_ps(from));
                    *row = _mm512_insertf32x4::<1>(*row, _mm_loadu_ps(from.add(4 * from_stride)));
                    *row = _mm512_insertf32x4::<2>(*row, _mm_loadu_ps(from.add(8 * from_stride)));
                    *row = _mm512_insertf32x4::<3>(*row, _mm_loadu_ps(from.add(12 * from_stride)));
                }
                let [a, b, c, d] = rows;
                let (low, high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
                let (low2, high2) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
                let to = to.add(4 * quarter * to_stride);
                _mm512_storeu_ps(to, _mm512_shuffle_ps::<0b01_00_01_00>(low, low2));
                _mm512_storeu_ps(to.add(to_stride), _mm512_shuffle_ps::<0b11_10_11_10>(low, low2));
                _mm512_storeu_ps(to.add(2 * to_stride), _mm512_shuffle_ps::<0b01_00_01_00>(high, high2));
                _mm512_storeu_ps(to.add(3 * to_stride), _mm512_shuffle_ps::<0b11_10_11_10>(high, high2));
            }
        }
    }
}
