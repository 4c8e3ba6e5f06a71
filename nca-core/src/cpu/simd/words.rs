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

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64::{
        uint32x4_t, vaddq_u32, vaddvq_u32, vandq_u32, vcltq_u32, vdupq_n_u32, veorq_u32, vget_low_u32, vld1q_u32,
        vmull_high_u32, vmull_u32, vorrq_u32, vreinterpretq_u32_u64, vuzp1q_u32, vuzp2q_u32,
    };

    use super::super::neon::Neon;
    use super::Words;

    /// Four numbers by halves, which saves parting them: a product yields both, the next one takes the low one.
    #[derive(Clone, Copy)]
    pub(in crate::cpu) struct Four {
        low: uint32x4_t,
        high: uint32x4_t,
    }

    // SAFETY of every intrinsic below: NEON is part of the target.
    impl Words for Neon {
        type W = [Four; 2];

        #[inline(always)]
        fn word(self, value: u64) -> [Four; 2] {
            let half = |half: u64| unsafe { vdupq_n_u32(half as u32) };
            [Four {
                low: half(value),
                high: half(value >> 32),
            }; 2]
        }
        #[inline(always)]
        fn blocks(self, first: u32) -> [Four; 2] {
            [[0, 1, 2, 3], [4, 5, 6, 7]].map(|count: [u32; 4]| unsafe {
                Four {
                    low: vaddq_u32(vdupq_n_u32(first), vld1q_u32(count.as_ptr())),
                    high: vdupq_n_u32(0),
                }
            })
        }
        #[inline(always)]
        fn mul_low(self, a: [Four; 2], b: [Four; 2]) -> [Four; 2] {
            let four = |a: uint32x4_t, b: uint32x4_t| unsafe {
                let front = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a), vget_low_u32(b)));
                let back = vreinterpretq_u32_u64(vmull_high_u32(a, b));
                Four {
                    low: vuzp1q_u32(front, back),
                    high: vuzp2q_u32(front, back),
                }
            };
            [four(a[0].low, b[0].low), four(a[1].low, b[1].low)]
        }
        #[inline(always)]
        fn high_xor(self, a: [Four; 2], b: [Four; 2], c: [Four; 2]) -> [Four; 2] {
            let four = |a: Four, b: Four, c: Four| unsafe {
                Four {
                    low: veorq_u32(a.high, veorq_u32(b.low, c.low)),
                    high: veorq_u32(b.high, c.high),
                }
            };
            [four(a[0], b[0], c[0]), four(a[1], b[1], c[1])]
        }
        #[inline(always)]
        fn below(self, words: [[Four; 2]; 4], threshold: u32) -> u32 {
            unsafe {
                let threshold = vdupq_n_u32(threshold);
                let mut bits = vdupq_n_u32(0);
                for half in 0..2 {
                    for (j, word) in words.iter().enumerate() {
                        let places: [u32; 4] = std::array::from_fn(|i| 1 << (16 * half + 4 * i + j));
                        let below = vcltq_u32(word[half].low, threshold);
                        bits = vorrq_u32(bits, vandq_u32(below, vld1q_u32(places.as_ptr())));
                    }
                }
                vaddvq_u32(bits)
            }
        }
    }
}
