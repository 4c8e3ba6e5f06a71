//! Eight 64-bit numbers side by side, for random bits: products of 32-bit numbers fill them whole.

// Intrinsics.
#![allow(unsafe_code)]

use super::portable::Portable;

/// Arithmetic on eight 64-bit numbers, of which each stands for a block of four cells.
pub(in crate::cpu) trait Words: Copy {
    /// Eight numbers.
    type W: Copy;

    /// All numbers `value`.
    fn word(self, value: u64) -> Self::W;
    /// Eight blocks, counted from `first` on and wrapping at 2³²; their order is that of [`Words::below`].
    fn blocks(self, first: u32) -> Self::W;
    /// Products of the low halves.
    fn mul_low(self, a: Self::W, b: Self::W) -> Self::W;
    /// `(a >> 32) ^ b ^ c`.
    fn high_xor(self, a: Self::W, b: Self::W, c: Self::W) -> Self::W;
    /// Bit `4·i + j`: whether the low half of `words[j]` of block `i` is below `threshold`.
    fn below(self, words: [Self::W; 4], threshold: u32) -> u32;
}

impl<const N: usize, const M: usize, const T: usize> Words for Portable<N, M, T> {
    type W = [u64; 8];

    #[inline(always)]
    fn word(self, value: u64) -> [u64; 8] {
        [value; 8]
    }
    #[inline(always)]
    fn blocks(self, first: u32) -> [u64; 8] {
        std::array::from_fn(|i| u64::from(first.wrapping_add(i as u32)))
    }
    #[inline(always)]
    fn mul_low(self, a: [u64; 8], b: [u64; 8]) -> [u64; 8] {
        const LOW: u64 = 0xffff_ffff;
        std::array::from_fn(|i| (a[i] & LOW) * (b[i] & LOW))
    }
    #[inline(always)]
    fn high_xor(self, a: [u64; 8], b: [u64; 8], c: [u64; 8]) -> [u64; 8] {
        std::array::from_fn(|i| (a[i] >> 32) ^ b[i] ^ c[i])
    }
    #[inline(always)]
    fn below(self, words: [[u64; 8]; 4], threshold: u32) -> u32 {
        let mut bits = 0;
        for (j, word) in words.into_iter().enumerate() {
            for (i, word) in word.into_iter().enumerate() {
                bits |= u32::from((word as u32) < threshold) << (4 * i + j);
            }
        }
        bits
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi32, _mm256_and_si256, _mm256_blend_epi32, _mm256_castsi256_ps,
        _mm256_cmpgt_epi32, _mm256_movemask_ps, _mm256_mul_epu32, _mm256_set1_epi32, _mm256_set1_epi64x,
        _mm256_setr_epi64x, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
        _mm256_xor_si256, _mm512_add_epi32, _mm512_and_si512, _mm512_cmplt_epu32_mask, _mm512_mask_shuffle_epi32,
        _mm512_mul_epu32, _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setr_epi64, _mm512_srli_epi64,
        _mm512_ternarylogic_epi64, _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
    };

    use super::super::Avx512;
    use super::super::avx2::Avx2;
    use super::Words;

    /// Low halves.
    const LOW: i64 = 0xffff_ffff;

    // SAFETY of every intrinsic below: `self` proves that the machine has AVX-512F.
    impl Words for Avx512 {
        type W = __m512i;

        #[inline(always)]
        fn word(self, value: u64) -> __m512i {
            unsafe { _mm512_set1_epi64(value as i64) }
        }
        /// Blocks 0 to 3 in the even lanes and 4 to 7 in the odd ones, as `below` takes first these, then those.
        #[inline(always)]
        fn blocks(self, first: u32) -> __m512i {
            unsafe {
                let count = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
                _mm512_and_si512(
                    _mm512_add_epi32(_mm512_set1_epi32(first as i32), count),
                    _mm512_set1_epi64(LOW),
                )
            }
        }
        #[inline(always)]
        fn mul_low(self, a: __m512i, b: __m512i) -> __m512i {
            unsafe { _mm512_mul_epu32(a, b) }
        }
        #[inline(always)]
        fn high_xor(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
            unsafe { _mm512_ternarylogic_epi64::<0x96>(_mm512_srli_epi64::<32>(a), b, c) }
        }
        #[inline(always)]
        fn below(self, [a, b, c, d]: [__m512i; 4], threshold: u32) -> u32 {
            unsafe {
                // Low halves of two words of a block side by side, then those of all four.
                let pair = |even, odd| _mm512_mask_shuffle_epi32::<0b10_10_00_00>(even, 0xaaaa, odd);
                let (ab, cd) = (pair(a, b), pair(c, d));
                let threshold = _mm512_set1_epi32(threshold as i32);
                let low = _mm512_cmplt_epu32_mask(_mm512_unpacklo_epi64(ab, cd), threshold);
                let high = _mm512_cmplt_epu32_mask(_mm512_unpackhi_epi64(ab, cd), threshold);
                u32::from(low) | u32::from(high) << 16
            }
        }
    }

    // SAFETY of every intrinsic below: `self` proves that the machine has AVX2.
    impl Words for Avx2 {
        type W = [__m256i; 2];

        #[inline(always)]
        fn word(self, value: u64) -> [__m256i; 2] {
            [unsafe { _mm256_set1_epi64x(value as i64) }; 2]
        }
        /// In each vector the first two blocks in the even lanes, the others in the odd ones, as for AVX-512.
        #[inline(always)]
        fn blocks(self, first: u32) -> [__m256i; 2] {
            unsafe {
                let (first, low) = (_mm256_set1_epi32(first as i32), _mm256_set1_epi64x(LOW));
                [_mm256_setr_epi64x(0, 2, 1, 3), _mm256_setr_epi64x(4, 6, 5, 7)]
                    .map(|count| _mm256_and_si256(_mm256_add_epi32(first, count), low))
            }
        }
        #[inline(always)]
        fn mul_low(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
            unsafe { [_mm256_mul_epu32(a[0], b[0]), _mm256_mul_epu32(a[1], b[1])] }
        }
        #[inline(always)]
        fn high_xor(self, a: [__m256i; 2], b: [__m256i; 2], c: [__m256i; 2]) -> [__m256i; 2] {
            let one =
                |i: usize| unsafe { _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64::<32>(a[i]), b[i]), c[i]) };
            [one(0), one(1)]
        }
        #[inline(always)]
        fn below(self, [a, b, c, d]: [[__m256i; 2]; 4], threshold: u32) -> u32 {
            unsafe {
                // Only signed numbers are compared: both sides are moved down by 2³¹.
                let sign = _mm256_set1_epi32(i32::MIN);
                let threshold = _mm256_xor_si256(_mm256_set1_epi32(threshold as i32), sign);
                let pair = |even, odd| _mm256_blend_epi32::<0b1010_1010>(even, _mm256_slli_epi64::<32>(odd));
                let bits = |words| {
                    let less = _mm256_cmpgt_epi32(threshold, _mm256_xor_si256(words, sign));
                    _mm256_movemask_ps(_mm256_castsi256_ps(less)) as u32
                };
                let half = |i: usize| {
                    let (ab, cd) = (pair(a[i], b[i]), pair(c[i], d[i]));
                    bits(_mm256_unpacklo_epi64(ab, cd)) | bits(_mm256_unpackhi_epi64(ab, cd)) << 8
                };
                half(0) | half(1) << 16
            }
        }
    }
}
