//! Windows of images, one channel a lane: read, transformed back and written.

// Kernels on buffers whose lengths have been checked by the callers.
#![allow(unsafe_code)]

use super::super::super::arena::{Carver, Shared};
use super::super::super::simd::Isa;
use super::tile::{AREA, SIDE, Spectrum, inverse, transform};

/// A batch of images.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    /// `[B, channels, height, width]`.
    pub(super) values: &'a [f32],
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Memory for the windows of a block of channels.
#[derive(Clone, Copy)]
pub(super) struct Work {
    /// `[lane][row][column]`.
    pub(super) windows: *mut f32,
    /// Rows of vectors, during a transform.
    rows: *mut f32,
}

impl Work {
    pub(super) fn carve(carver: &mut Carver, lanes: usize) -> Self {
        Self {
            windows: carver.take(AREA * lanes),
            rows: carver.take(AREA * lanes),
        }
    }

    /// Clears the windows.
    ///
    /// # Safety
    /// The memory must be valid for these lanes.
    #[inline(always)]
    pub(super) unsafe fn clear<S: Isa>(self, s: S) {
        for i in 0..AREA {
            // SAFETY: the caller's condition.
            unsafe { s.store(self.windows.add(i * S::LANES), s.splat(0.0)) };
        }
    }

    /// Transforms the first `rows` rows of the windows.
    ///
    /// # Safety
    /// As in [`transform`].
    #[inline(always)]
    pub(super) unsafe fn transform<S: Isa>(self, s: S, rows: usize, to: Spectrum) {
        // SAFETY: the caller's condition.
        unsafe { transform(s, self.windows, SIDE, AREA, rows, self.rows, to) };
    }

    /// Transforms back rows `rows.0..rows.1` of the windows.
    ///
    /// # Safety
    /// As in [`inverse`].
    #[inline(always)]
    pub(super) unsafe fn inverse<S: Isa>(self, s: S, from: Spectrum, rows: (usize, usize)) {
        // SAFETY: the caller's condition.
        unsafe { inverse(s, from, rows, self.rows, self.windows) };
    }
}

impl Planes<'_> {
    /// Transforms the `size` × `size` pixels at row `y` and column `x` of a block of channels of `sample`;
    /// there are zeros outside the image and in the rest of the window.
    ///
    /// # Safety
    /// The block must have a channel, and memory be valid as in [`transform`].
    #[inline(always)]
    pub(super) unsafe fn transform<S: Isa>(
        self,
        s: S,
        sample: usize,
        block: usize,
        (y, x): (isize, isize),
        size: usize,
        work: Work,
        to: Spectrum,
    ) {
        let (height, width, plane) = (self.height as isize, self.width as isize, self.height * self.width);
        let channel = block * S::LANES;
        let channels = S::LANES.min(self.channels - channel);
        let side = size as isize;
        let inside = y >= 0 && x >= 0 && y + side <= height && x + side <= width;
        let start = (sample * self.channels + channel) * plane;
        // SAFETY: pixels inside the image, whose length the callers have checked; windows of 16 × 16.
        unsafe {
            let image = self.values.as_ptr().add(start);
            if inside && size == SIDE && channels == S::LANES {
                let image = image.add(y as usize * self.width + x as usize);
                return transform(s, image, self.width, plane, SIDE, work.rows, to);
            }
            work.clear(s);
            let (top, bottom) = ((-y).max(0), side.min(height - y));
            let (left, right) = ((-x).max(0), side.min(width - x));
            if left < right {
                for lane in 0..channels {
                    for row in top..bottom {
                        let from = image.add(lane * plane + ((y + row) * width + x + left) as usize);
                        let to = work.windows.add(lane * AREA + (row * SIDE as isize + left) as usize);
                        copy(from, to, (right - left) as usize);
                    }
                }
            }
            work.transform(s, size, to);
        }
    }
}

/// Copies at most 16 floats, the usual numbers without a call.
#[inline(always)]
unsafe fn copy(from: *const f32, to: *mut f32, len: usize) {
    // SAFETY: the caller's ranges.
    unsafe {
        match len {
            16 => to.copy_from_nonoverlapping(from, 16),
            10 => to.copy_from_nonoverlapping(from, 10),
            len => {
                for i in 0..len {
                    *to.add(i) = *from.add(i);
                }
            }
        }
    }
}

/// Where windows of results go.
#[derive(Clone, Copy)]
pub(super) struct Results<'a> {
    /// `[B, channels, height, width]`.
    pub(super) values: Shared<f32>,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// A summand for each channel.
    pub(super) bias: Option<&'a [f32]>,
}

impl Results<'_> {
    /// Transforms a block of channels back and writes what the windows hold from row and column
    /// `first` on to row `y` and column `x` of the images of `sample`, as far as those reach.
    ///
    /// # Safety
    /// As in [`inverse`]; nobody else may write there.
    #[inline(always)]
    pub(super) unsafe fn inverse<S: Isa>(
        self,
        s: S,
        from: Spectrum,
        first: usize,
        sample: usize,
        block: usize,
        (y, x): (usize, usize),
        work: Work,
    ) {
        let channel = block * S::LANES;
        let channels = S::LANES.min(self.channels - channel);
        let rows = (SIDE - first).min(self.height - y);
        let columns = (SIDE - first).min(self.width - x);
        // SAFETY: rows and columns of the images; windows of 16 × 16.
        unsafe {
            work.inverse(s, from, (first, first + rows));
            for lane in 0..channels {
                let bias = self.bias.map_or(0.0, |bias| bias[channel + lane]);
                let plane = (sample * self.channels + channel + lane) * self.height;
                for row in 0..rows {
                    let from = work.windows.add(lane * AREA + (first + row) * SIDE + first);
                    let to = self.values.get().add((plane + y + row) * self.width + x);
                    if columns == 10 {
                        add_bias::<10>(from, bias, to);
                    } else {
                        for column in 0..columns {
                            *to.add(column) = *from.add(column) + bias;
                        }
                    }
                }
            }
        }
    }
}

/// `N` floats plus `bias`.
#[inline(always)]
unsafe fn add_bias<const N: usize>(from: *const f32, bias: f32, to: *mut f32) {
    // SAFETY: the caller's rows.
    unsafe {
        let mut row = from.cast::<[f32; N]>().read_unaligned();
        for value in &mut row {
            *value += bias;
        }
        to.cast::<[f32; N]>().write_unaligned(row);
    }
}
