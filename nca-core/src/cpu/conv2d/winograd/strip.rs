//! Rows of neighbouring tiles, one channel a lane.

// Kernels on buffers whose lengths have been checked by the callers.
#![allow(unsafe_code)]

use super::super::super::simd::Isa;
use super::points::{Grid, SIDE, STEP};

/// Columns of a strip for `tiles` tiles, in whole vectors from anywhere.
pub(super) fn columns(tiles: usize) -> usize {
    STEP * tiles + SIDE - STEP + 2 * 16
}

/// Some channels of one sample: planes of `height` rows and `width` columns.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) start: *mut f32,
    /// At most [`Isa::LANES`].
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Planes {
    /// Reads 6 rows of `columns` pixels from row `y` and column `x` on, with zeros outside the image and in
    /// lanes without a channel.
    ///
    /// # Safety
    /// The planes must be valid for reads, `strip` for 6 rows of as many vectors as its stride says, at
    /// least `columns + LANES`.
    #[inline(always)]
    pub(super) unsafe fn read<S: Isa>(self, s: S, y: isize, x: isize, columns: usize, strip: Grid) {
        let plane = self.height * self.width;
        // Columns of the strip with pixels.
        let first = (-x).clamp(0, columns as isize) as usize;
        let end = (self.width as isize - x).clamp(first as isize, columns as isize) as usize;
        // SAFETY: pixels inside the planes, columns inside the strip.
        unsafe {
            for row in 0..SIDE {
                let y = y + row as isize;
                if !(0..self.height as isize).contains(&y) {
                    for column in 0..columns {
                        strip.store(s, row, column, s.splat(0.0));
                    }
                    continue;
                }
                for column in (0..first).chain(end..columns) {
                    strip.store(s, row, column, s.splat(0.0));
                }
                let from = self.start.wrapping_offset(y * self.width as isize + x);
                let to = strip.start.add(row * strip.row);
                let mut column = first;
                if self.channels == S::LANES {
                    while column + S::LANES <= end {
                        let from = from.wrapping_add(column);
                        s.transpose(from, plane, to.add(column * S::LANES), S::LANES);
                        column += S::LANES;
                    }
                }
                for column in column..end {
                    let to = to.add(column * S::LANES);
                    s.store(to, s.splat(0.0));
                    for lane in 0..self.channels {
                        *to.add(lane) = *from.wrapping_add(lane * plane + column);
                    }
                }
            }
        }
    }

    /// Writes 4 rows of `columns` pixels to row `y` and column `x` on, as far as the image reaches.
    ///
    /// # Safety
    /// The planes must be valid for writes there, and `strip` for 4 rows of `columns` vectors.
    #[inline(always)]
    pub(super) unsafe fn write<S: Isa>(self, s: S, y: usize, x: usize, columns: usize, strip: Grid) {
        let plane = self.height * self.width;
        let columns = columns.min(self.width - x);
        // SAFETY: pixels inside the planes, columns inside the strip.
        unsafe {
            for row in 0..STEP.min(self.height - y) {
                let from = strip.start.add(row * strip.row);
                let to = self.start.add((y + row) * self.width + x);
                let mut column = 0;
                if self.channels == S::LANES {
                    while column + S::LANES <= columns {
                        s.transpose(from.add(column * S::LANES), S::LANES, to.add(column), plane);
                        column += S::LANES;
                    }
                }
                for column in column..columns {
                    for lane in 0..self.channels {
                        *to.add(lane * plane + column) = *from.add(column * S::LANES + lane);
                    }
                }
            }
        }
    }
}
