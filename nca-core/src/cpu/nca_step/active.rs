//! Which cells of a tile update, in the form the vector code wants.
//!
//! The rows of a tile are cut into groups of one vector; groups one above the other are a strip. Active
//! cells are numbered strip by strip, in each row by row, in the order in which the perception walks
//! down the strips; a group knows its active lanes and the number of the first. Where the width of the
//! tile is not a whole number of vectors, the last strip is moved left to end with the row. The cells
//! it then shares with the strip before belong to that one: in the moved strip they are never
//! active. Who writes whole vectors of cells does so from the last strip to the first, so that the
//! strip they belong to has the last word; who writes packed lanes, from the first to the last.

// Reads and writes tables in scratch memory.
#![allow(unsafe_code)]

use super::super::arena::Carver;
use super::super::simd::Isa;
use super::mask::{Mask, bits, mask_bytes};
use super::tiling::{Tile, Tiling};

/// The groups of a tile, strip by strip.
pub(super) struct Active<S: Isa> {
    mask: *mut u8,
    mask_len: usize,
    select: *mut S::Select,
    packing: *mut S::Packing,
    number: *mut u32,
    /// Groups in a row.
    groups: usize,
    height: usize,
    width: usize,
    /// Number of active cells.
    pub(super) count: usize,
}

impl<S: Isa> Active<S> {
    /// Takes the memory for any tile of `tiling`.
    pub(super) fn carve(carver: &mut Carver, tiling: &Tiling) -> Self {
        let (height, width) = (tiling.max_height(), tiling.max_width());
        let groups = height * width.div_ceil(S::LANES);
        let mask_len = mask_bytes(height * width).max(height * mask_bytes(width));
        Self {
            mask: carver.take(mask_len),
            mask_len,
            select: carver.take(groups),
            packing: carver.take(groups),
            number: carver.take(groups),
            groups: 0,
            height: 0,
            width: 0,
            count: 0,
        }
    }

    /// Draws the mask of `tile`, whose grid is `grid_width` cells wide.
    #[inline(always)]
    pub(super) fn draw(&mut self, s: S, mask: &Mask, tile: &Tile, grid_width: usize) {
        (self.height, self.width) = (tile.height, tile.width);
        self.groups = tile.width.div_ceil(S::LANES);
        // SAFETY: `carve` took `mask_len` bytes; any byte is a value.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.mask, self.mask_len) };
        let sample = tile.sample as u32;
        let whole = tile.width == grid_width;
        if whole {
            mask.draw(s, sample, tile.y * grid_width, tile.height * grid_width, bytes);
        }
        let row_bytes = mask_bytes(tile.width);
        if !whole {
            for (row, bytes) in bytes.chunks_exact_mut(row_bytes).take(tile.height).enumerate() {
                mask.draw(s, sample, (tile.y + row) * grid_width + tile.x, tile.width, bytes);
            }
        }
        let bytes = &*bytes;
        // The bit of the first cell of a row.
        let row_bit = |row: usize| {
            if whole {
                tile.y * grid_width % 4 + row * grid_width
            } else {
                8 * row * row_bytes + ((tile.y + row) * grid_width + tile.x) % 4
            }
        };
        let mut count = 0;
        for group in 0..self.groups {
            let column = self.column(group);
            let shared = group * S::LANES - column;
            for row in 0..tile.height {
                let lanes = bits(bytes, row_bit(row) + column, S::LANES) >> shared << shared;
                let index = group * tile.height + row;
                // SAFETY: `index` is below the number of groups that `carve` took room for.
                unsafe {
                    self.select.add(index).write(s.select(lanes));
                    self.packing.add(index).write(s.packing(lanes, count as usize));
                    self.number.add(index).write(count);
                }
                count += lanes.count_ones();
            }
        }
        self.count = count as usize;
    }

    /// Groups in a strip: rows of the tile.
    #[inline(always)]
    pub(super) fn height(&self) -> usize {
        self.height
    }

    /// Groups in a row: strips.
    #[inline(always)]
    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// First column of a group, counted from the left edge of the tile.
    #[inline(always)]
    pub(super) fn column(&self, group: usize) -> usize {
        (group * S::LANES).min(self.width - S::LANES)
    }

    /// The active lanes of group `group` of `row`, and the number of the first.
    ///
    /// # Safety
    /// The group must exist in the tile drawn last.
    #[inline(always)]
    pub(super) unsafe fn group(&self, row: usize, group: usize) -> (S::Select, usize) {
        let index = group * self.height + row;
        // SAFETY: the caller's condition; `draw` wrote all groups.
        unsafe { (*self.select.add(index), *self.number.add(index) as usize) }
    }

    /// How the active lanes of group `group` of `row` are packed, and the number of the first.
    ///
    /// # Safety
    /// As [`Active::group`].
    #[inline(always)]
    pub(super) unsafe fn packer(&self, s: S, row: usize, group: usize) -> (S::Packer, usize) {
        // SAFETY: the caller's condition; `draw` wrote all groups.
        unsafe {
            let (lanes, number) = self.group(row, group);
            let packing = *self.packing.add(group * self.height + row);
            (s.packer(lanes, packing), number)
        }
    }
}

/// Floats from row to row of a panel with a column for each of `count` active cells: whole vectors
/// and one more, since a group is always written as a whole; and an odd number of cache lines, so
/// that the rows of a block of columns fall into different cache sets. Whatever S, these are whole vectors of sixteen
/// floats, as [`bf16`](super::bf16) reads them.
pub(super) fn leading<S: Isa>(count: usize) -> usize {
    let lines = (count.next_multiple_of(S::LANES) + S::LANES).div_ceil(16);
    16 * (lines | 1)
}
