//! The mask of a run of cells as bits.

use super::super::simd::Words;
use crate::philox::{M0, M1, Stream, W0, W1, key};

/// Blocks of four cells drawn at a time, side by side in vector lanes.
const BLOCKS: usize = 8;
/// Bytes of mask written at a time.
const STRIDE: usize = BLOCKS / 2;

/// Everything a mask depends on but sample and cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    pub(super) seed: u64,
    pub(super) step: u32,
    /// [`crate::philox::fire_threshold`].
    pub(super) threshold: u64,
}

/// Bytes that [`Mask::draw`] may write for `count` cells, and that [`bits`] may read.
pub(super) fn mask_bytes(count: usize) -> usize {
    // Up to 3 cells before the run, whole strides, and what an unaligned read of 4 bytes passes.
    (count + 3).div_ceil(8 * STRIDE) * STRIDE + 4
}

impl Mask {
    /// Draws the mask of cells `first..first + count` of `sample`: the bit of cell `first + i` is bit
    /// `first % 4 + i` of `mask`, which holds [`mask_bytes`] bytes.
    #[inline(always)]
    pub(super) fn draw<W: Words>(&self, w: W, sample: u32, first: usize, count: usize, mask: &mut [u8]) {
        let blocks = (first % 4 + count).div_ceil(4);
        let mut block = (first / 4) as u32;
        for bytes in mask.chunks_exact_mut(STRIDE).take(blocks.div_ceil(BLOCKS)) {
            let bits = match u32::try_from(self.threshold) {
                Ok(threshold) => self.bits(w, sample, block, threshold),
                // At fire rate 1 every word is below it.
                Err(_) => u32::MAX,
            };
            bytes.copy_from_slice(&bits.to_le_bytes());
            block = block.wrapping_add(BLOCKS as u32);
        }
    }

    /// The bits of [`BLOCKS`] blocks: Philox with a counter in each 64-bit number, so that a 32-bit product needs no
    /// shuffle (what is in the high half is ignored until it is the high word of a product).
    #[inline(always)]
    fn bits<W: Words>(&self, w: W, sample: u32, block: u32, threshold: u32) -> u32 {
        let (m0, m1) = (w.word(u64::from(M0)), w.word(u64::from(M1)));
        let [mut k0, mut k1] = key(self.seed);
        let mut counter = [
            w.blocks(block),
            w.word(u64::from(sample)),
            w.word(u64::from(self.step)),
            w.word(Stream::Mask as u64),
        ];
        for _ in 0..10 {
            let [c0, c1, c2, c3] = counter;
            let (p0, p1) = (w.mul_low(c0, m0), w.mul_low(c2, m1));
            let keys = [k0, k1].map(|k| w.word(u64::from(k)));
            counter = [w.high_xor(p1, c1, keys[0]), p1, w.high_xor(p0, c3, keys[1]), p0];
            (k0, k1) = (k0.wrapping_add(W0), k1.wrapping_add(W1));
        }
        w.below(counter, threshold)
    }
}

/// Bits `at..at + count` of a mask, `count ≤ 16`.
#[inline(always)]
pub(super) fn bits(mask: &[u8], at: usize, count: usize) -> u32 {
    let bytes = &mask[at / 8..at / 8 + 4];
    let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    word >> (at % 8) & ((1 << count) - 1)
}

#[cfg(test)]
mod tests {
    use super::super::super::Simd;
    use super::super::super::simd::{Isa, Kernel, dispatch};
    use super::*;
    use crate::philox::{fire_threshold, is_active};

    /// Masks of all kinds of runs, against the definition.
    struct Check;

    impl Kernel for Check {
        type Output = ();
        #[inline(always)]
        fn run<S: Isa>(self, s: S) {
            for fire_rate in [0.0, 1e-9, 0.1, 0.5, 0.9, 1.0 - 1e-9, 1.0] {
                let mask = Mask {
                    seed: 0xfeed_beef_1234,
                    step: 77,
                    threshold: fire_threshold(fire_rate),
                };
                for (first, count) in [(0, 1), (0, 128), (3, 29), (6, 200), (1021, 33)] {
                    let mut bytes = vec![0; mask_bytes(count)];
                    mask.draw(s, 5, first, count, &mut bytes);
                    for i in 0..count {
                        let expected = is_active(mask.seed, mask.step, 5, (first + i) as u32, mask.threshold);
                        assert_eq!(bits(&bytes, first % 4 + i, 1) == 1, expected, "{fire_rate} {first}+{i}");
                    }
                }
            }
        }
    }

    #[test]
    fn bits_are_those_of_the_definition() {
        for simd in Simd::ALL.into_iter().filter(|simd| simd.available()) {
            for width in [1, 4, 8, 16] {
                dispatch(simd, width, Check);
            }
        }
    }
}
