//! How the operations that are products of matrices cut their sums (`kernels/product.cuh`).

use nca_core::Precision;

/// Terms that a block multiplies at a time, `DEPTH` in the kernels.
pub(super) fn depth_of(precision: Precision) -> usize {
    match precision {
        Precision::F32 | Precision::Tf32 => 8,
        Precision::F16 | Precision::Bf16 => 16,
    }
}

/// Blocks that keep a large GPU busy. Fixed, so that sums do not depend on the device.
const BUSY: usize = 264;

/// Terms of a slice, at least: fewer are not worth the addition of their sums.
const MIN_SPAN: usize = 64;

/// What a product consists of.
pub(super) struct Extent {
    /// Tiles of the result.
    pub(super) tiles: usize,
    /// Terms of each sum.
    pub(super) terms: usize,
    /// Terms that a block multiplies at a time.
    pub(super) depth: usize,
}

/// A sum cut into slices of `span` terms, a multiple of those that a block multiplies at a time.
pub(super) struct Slices {
    pub(super) count: usize,
    pub(super) span: usize,
}

impl Slices {
    /// As many slices as it takes for the blocks to be enough, or one.
    pub(super) fn of(Extent { tiles, terms, depth }: Extent) -> Self {
        let wanted = (BUSY / tiles.max(1)).clamp(1, (terms / MIN_SPAN).max(1));
        let span = terms.div_ceil(wanted).next_multiple_of(depth).max(depth);
        Self {
            count: terms.div_ceil(span).max(1),
            span,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_hold_every_term_once_and_none_is_empty() {
        for terms in (0..300).chain([4096, 16_383, 100_001]) {
            for (tiles, depth) in [0, 1, 7, 132, 264, 5000]
                .into_iter()
                .flat_map(|tiles| [(tiles, 8), (tiles, 16)])
            {
                let Slices { count, span } = Slices::of(Extent { tiles, terms, depth });
                assert!(
                    span.is_multiple_of(depth) && count * span >= terms,
                    "{terms} in {tiles}"
                );
                assert!(terms == 0 || (count - 1) * span < terms, "{terms} in {tiles}");
                assert!(
                    count == 1 || count * tiles <= BUSY && span >= MIN_SPAN,
                    "{terms} in {tiles}"
                );
            }
        }
    }
}
