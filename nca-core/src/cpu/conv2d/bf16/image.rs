//! Images with the channels of a pixel side by side.

// As in `bf16`.
#![allow(unsafe_code)]

use super::super::super::arena::{Arenas, carve};
use super::super::super::bf16::{Job, Unit};
use super::super::super::simd::Isa;
use super::super::Correlation;
use super::{Layout, Memory, Scratch};

/// Copies a row of the source into its zeros.
pub(super) struct FillRow<'a> {
    pub(super) layout: Layout,
    pub(super) correlation: Correlation<'a>,
    pub(super) arenas: &'a Arenas,
    pub(super) memory: Memory,
    /// Of all samples.
    pub(super) row: usize,
}

impl Job for FillRow<'_> {
    #[inline(always)]
    fn run<U: Unit>(self, u: U) {
        let (layout, s) = (&self.layout, u.isa());
        let Correlation {
            x,
            source: (rows, columns),
            margin,
            filters,
            ..
        } = self.correlation;
        let (sample, row) = (self.row / layout.height, self.row % layout.height);
        let y = row as isize - margin;
        let mut memory = self.arenas.thread();
        let scratch = carve(&mut memory, Scratch::carver(layout));
        // Columns of the padded row that have a source.
        let first = margin.max(0) as usize;
        let end = (columns as isize + margin).clamp(0, layout.width as isize) as usize;
        // SAFETY: the image has this row, the source those that are read, the scratch two squares.
        unsafe {
            let to = self
                .memory
                .image
                .get()
                .add(sample * layout.sample() + row * layout.row());
            to.write_bytes(0, layout.row());
            if filters.inputs == 0 || !(0..rows as isize).contains(&y) || first >= end {
                return;
            }
            let plane = rows * columns;
            let from = x.as_ptr().add(sample * filters.inputs * plane + y as usize * columns);
            for column in (first..end).step_by(16) {
                let count = 16.min(end - column);
                let from = from.add((column as isize - margin) as usize);
                for pair in (0..layout.pairs).step_by(16) {
                    let pairs = 16.min(layout.pairs - pair);
                    for i in 0..pairs {
                        let channel = 2 * (pair + i);
                        let low = load_pixels(s, from.add(channel * plane), count, scratch.taps);
                        let high = if channel + 1 < filters.inputs {
                            load_pixels(s, from.add((channel + 1) * plane), count, scratch.taps)
                        } else {
                            s.splat(0.0)
                        };
                        s.store(scratch.square.add(16 * i), u.pair(low, high));
                    }
                    s.transpose(scratch.square, 16, scratch.turned, 16);
                    for i in 0..count {
                        let to = to.add((column + i) * layout.pairs + pair);
                        to.copy_from_nonoverlapping(scratch.turned.add(16 * i), pairs);
                    }
                }
            }
        }
    }
}

/// `count ≤ 16` pixels: a whole vector might end behind the source.
#[inline(always)]
unsafe fn load_pixels<S: Isa>(s: S, from: *const f32, count: usize, copy: *mut f32) -> S::V {
    // SAFETY: the caller's condition: the pixels are valid, as is room for a vector.
    unsafe {
        if count == 16 {
            return s.load(from);
        }
        copy.copy_from_nonoverlapping(from, count);
        s.load(copy)
    }
}
