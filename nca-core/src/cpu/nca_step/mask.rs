//! The mask of a run of cells as bits.

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
    pub(super) fn draw(&self, sample: u32, first: usize, count: usize, mask: &mut [u8]) {
        let blocks = (first % 4 + count).div_ceil(4);
        let mut block = (first / 4) as u32;
        for bytes in mask.chunks_exact_mut(STRIDE).take(blocks.div_ceil(BLOCKS)) {
            let bits = if self.threshold > u64::from(u32::MAX) {
                u32::MAX
            } else {
                self.bits(sample, block)
            };
            bytes.copy_from_slice(&bits.to_le_bytes());
            block = block.wrapping_add(BLOCKS as u32);
        }
    }

    /// The bits of [`BLOCKS`] blocks: Philox with a counter in each 64-bit lane, so that a 32-bit
    /// product needs no shuffle (the high half of a lane is ignored until it is the high word of a
    /// product).
    #[inline(always)]
    fn bits(&self, sample: u32, block: u32) -> u32 {
        const LOW: u64 = 0xffff_ffff;
        let mut keys = key(self.seed);
        let mut c0: [u64; BLOCKS] = std::array::from_fn(|i| u64::from(block.wrapping_add(i as u32)));
        let mut c1 = [u64::from(sample); BLOCKS];
        let mut c2 = [u64::from(self.step); BLOCKS];
        let mut c3 = [Stream::Mask as u64; BLOCKS];
        for _ in 0..10 {
            let [k0, k1] = keys.map(u64::from);
            for i in 0..BLOCKS {
                let p0 = (c0[i] & LOW) * u64::from(M0);
                let p1 = (c2[i] & LOW) * u64::from(M1);
                c0[i] = (p1 >> 32) ^ c1[i] ^ k0;
                c1[i] = p1;
                c2[i] = (p0 >> 32) ^ c3[i] ^ k1;
                c3[i] = p0;
            }
            keys = [keys[0].wrapping_add(W0), keys[1].wrapping_add(W1)];
        }
        let mut bits = 0;
        for i in 0..BLOCKS {
            for (j, word) in [c0[i], c1[i], c2[i], c3[i]].into_iter().enumerate() {
                bits |= u32::from(word & LOW < self.threshold) << (4 * i + j);
            }
        }
        bits
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
    use super::*;
    use crate::philox::{fire_threshold, is_active};

    #[test]
    fn bits_are_those_of_the_definition() {
        for fire_rate in [0.0, 0.1, 0.5, 1.0] {
            let mask = Mask {
                seed: 0xfeed_beef_1234,
                step: 77,
                threshold: fire_threshold(fire_rate),
            };
            for (first, count) in [(0, 1), (0, 128), (3, 29), (6, 200), (1021, 33)] {
                let mut bytes = vec![0; mask_bytes(count)];
                mask.draw(5, first, count, &mut bytes);
                for i in 0..count {
                    let expected = is_active(mask.seed, mask.step, 5, (first + i) as u32, mask.threshold);
                    assert_eq!(bits(&bytes, first % 4 + i, 1) == 1, expected, "{fire_rate} {first}+{i}");
                }
            }
        }
    }
}
