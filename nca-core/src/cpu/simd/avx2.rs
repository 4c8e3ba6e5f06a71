//! AVX2 with FMA: 8 lanes, 16 registers.

use std::arch::x86_64::{
    __m256, __m256i, _CMP_GT_OQ, _CMP_NGT_UQ, _mm_add_ps, _mm_loadu_ps, _mm_storeu_ps, _mm256_add_ps, _mm256_and_ps,
    _mm256_andnot_ps, _mm256_blend_ps, _mm256_blendv_ps, _mm256_castps128_ps256, _mm256_castps256_ps128,
    _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_hadd_ps,
    _mm256_insertf128_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_max_ps, _mm256_min_ps, _mm256_mul_ps,
    _mm256_permutevar8x32_ps, _mm256_set1_ps, _mm256_setr_epi32, _mm256_setzero_ps, _mm256_shuffle_ps,
    _mm256_storeu_ps, _mm256_sub_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::Isa;

/// Proof that the machine has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The machine must have AVX2 and FMA.
    #[inline(always)]
    pub(super) unsafe fn new() -> Self {
        Self(())
    }
}

/// Permutations that pack and spread the lanes of a bit set.
#[derive(Clone, Copy)]
pub(super) struct Select {
    /// Source lane of each packed lane.
    pack: __m256i,
    /// Source lane of each spread lane; the sign bit marks lanes outside the set.
    spread: __m256i,
}

/// [`Select`] of every set of 8 lanes.
static SELECTS: [[[i32; 8]; 2]; 256] = selects();

const fn selects() -> [[[i32; 8]; 2]; 256] {
    let mut table = [[[0; 8], [i32::MIN; 8]]; 256];
    let mut bits = 0;
    while bits < 256 {
        let (mut lane, mut packed) = (0, 0);
        while lane < 8 {
            if bits >> lane & 1 == 1 {
                table[bits][0][packed] = lane as i32;
                table[bits][1][lane] = packed as i32;
                packed += 1;
            }
            lane += 1;
        }
        bits += 1;
    }
    table
}

// SAFETY of every intrinsic below: `self` proves that the machine has AVX2 and FMA; pointers are the
// caller's condition.
impl Isa for Avx2 {
    type V = __m256;
    type Select = Select;
    type Packing = ();
    type Packer = __m256i;
    const LANES: usize = 8;
    /// 6×2 accumulators, 2 vectors and 2 broadcasts fill the 16 registers. (4×3 would leave one
    /// register for broadcasts; the compiler wants two and spills an accumulator.)
    const ROWS: usize = 6;
    const VECTORS: usize = 2;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn fnma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn where_above(self, x: __m256, bound: __m256, v: __m256) -> __m256 {
        unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(x, bound), v) }
    }
    #[inline(always)]
    fn where_within(self, x: __m256, bound: __m256, v: __m256) -> __m256 {
        unsafe {
            let magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0), x);
            _mm256_and_ps(_mm256_cmp_ps::<_CMP_NGT_UQ>(magnitude, bound), v)
        }
    }
    #[inline(always)]
    fn shift_up(self, v: __m256, first: f32) -> __m256 {
        unsafe {
            let moved = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 2, 3, 4, 5, 6));
            _mm256_blend_ps::<0b0000_0001>(moved, _mm256_set1_ps(first))
        }
    }
    #[inline(always)]
    fn shift_down(self, v: __m256, last: f32) -> __m256 {
        unsafe {
            let moved = _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 7));
            _mm256_blend_ps::<0b1000_0000>(moved, _mm256_set1_ps(last))
        }
    }
    #[inline(always)]
    fn select(self, bits: u32) -> Select {
        let [pack, spread] = &SELECTS[bits as usize & 0xff];
        unsafe {
            Select {
                pack: _mm256_loadu_si256(pack.as_ptr().cast()),
                spread: _mm256_loadu_si256(spread.as_ptr().cast()),
            }
        }
    }
    #[inline(always)]
    fn packing(self, _: u32, _: usize) {}
    #[inline(always)]
    fn packer(self, lanes: Select, (): ()) -> __m256i {
        lanes.pack
    }
    #[inline(always)]
    unsafe fn append(self, pack: __m256i, to: *mut f32, number: usize, rest: __m256, v: __m256) -> __m256 {
        unsafe { _mm256_storeu_ps(to.add(number), _mm256_permutevar8x32_ps(v, pack)) };
        rest
    }
    #[inline(always)]
    unsafe fn finish(self, to: *mut f32, number: usize, _: __m256) {
        unsafe { _mm256_storeu_ps(to.add(number), _mm256_setzero_ps()) };
    }
    #[inline(always)]
    fn expand(self, v: __m256, lanes: Select) -> __m256 {
        unsafe {
            // The permutation reads the low three bits of an index only, the blend its sign.
            let spread = _mm256_permutevar8x32_ps(v, lanes.spread);
            _mm256_blendv_ps(spread, _mm256_setzero_ps(), _mm256_castsi256_ps(lanes.spread))
        }
    }
    #[inline(always)]
    fn sums(self, v: [__m256; 4]) -> [f32; 4] {
        unsafe {
            let pairs = [_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3])];
            let quads = _mm256_hadd_ps(pairs[0], pairs[1]);
            let sums = _mm_add_ps(_mm256_castps256_ps128(quads), _mm256_extractf128_ps::<1>(quads));
            let mut out = [0.0; 4];
            _mm_storeu_ps(out.as_mut_ptr(), sums);
            out
        }
    }
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe {
            // Half h of the result: columns 4h.. of all rows, rows i and i + 4 side by side.
            for half in 0..2 {
                let mut rows = [_mm256_setzero_ps(); 4];
                for (i, row) in rows.iter_mut().enumerate() {
                    let low = from.add(i * from_stride + 4 * half);
                    let high = low.add(4 * from_stride);
                    let low = _mm256_castps128_ps256(_mm_loadu_ps(low));
                    *row = _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(high));
                }
                let [a, b, c, d] = rows;
                let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let (low2, high2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                let to = to.add(4 * half * to_stride);
                _mm256_storeu_ps(to, _mm256_shuffle_ps::<0b01_00_01_00>(low, low2));
                _mm256_storeu_ps(to.add(to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(low, low2));
                _mm256_storeu_ps(to.add(2 * to_stride), _mm256_shuffle_ps::<0b01_00_01_00>(high, high2));
                _mm256_storeu_ps(to.add(3 * to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(high, high2));
            }
        }
    }
}
