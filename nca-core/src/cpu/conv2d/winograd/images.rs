//! Images to tiles at the points and back, one channel a lane.

// Kernels on buffers whose lengths have been checked by the callers.
#![allow(unsafe_code)]

use super::super::super::arena::Carver;
use super::super::super::simd::Isa;
use super::super::Correlation;
use super::super::tiles::Tiling;
use super::points::{Grid, SIDE, STEP, transform_inputs, transform_outputs};
use super::strip::{self, Planes};

/// The images of a convolution and the tiles of its results.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub(super) of: Correlation<'a>,
    pub(super) tiling: Tiling,
}

impl<'a> Images<'a> {
    pub(super) fn new(of: Correlation<'a>) -> Self {
        Self {
            of,
            tiling: Tiling::new(of.batch, STEP, of.out),
        }
    }

    /// Rows of up to `tiles` neighbouring tiles.
    pub(super) fn carve_strip(&self, carver: &mut Carver, tiles: usize, lanes: usize) -> *mut f32 {
        carver.take(SIDE * strip::columns(tiles.min(self.tiling.across)) * lanes)
    }

    /// [`Images::carve_strip`] as vectors.
    fn strip<S: Isa>(&self, start: *mut f32, tiles: usize) -> Grid {
        Grid {
            start,
            row: strip::columns(tiles.min(self.tiling.across)) * S::LANES,
            column: S::LANES,
        }
    }

    /// The runs of neighbours among `count` tiles from `first` on: position, tile, number.
    fn runs(&self, first: usize, count: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let across = self.tiling.across;
        let mut done = 0;
        std::iter::from_fn(move || {
            let (at, tile) = (done, first + done);
            let run = (across - tile % across).min(count - done);
            done += run;
            (run > 0).then_some((at, tile, run))
        })
    }

    /// Transforms the inputs of `count` tiles from `first` on, of the block of channels from `channel` on; `to` says
    /// where the tile at a position goes.
    ///
    /// # Safety
    /// The channels must be there, `strip` be carved for `count` tiles and the grids be valid for 6 × 6 vectors.
    #[inline(always)]
    pub(super) unsafe fn transform_inputs<S: Isa>(
        &self,
        s: S,
        (first, count): (usize, usize),
        channel: usize,
        strip: *mut f32,
        to: impl Fn(usize) -> Grid,
    ) {
        let Correlation { source, margin, .. } = self.of;
        let inputs = self.of.filters.inputs;
        let strip = self.strip::<S>(strip, count);
        for (at, tile, run) in self.runs(first, count) {
            let (sample, y, x) = self.tiling.place(tile);
            let plane = (sample * inputs + channel) * source.0 * source.1;
            // SAFETY: the caller's condition.
            unsafe {
                let planes = Planes {
                    start: self.of.x.as_ptr().add(plane).cast_mut(),
                    channels: S::LANES.min(inputs - channel),
                    height: source.0,
                    width: source.1,
                };
                let (y, x) = (y as isize - margin, x as isize - margin);
                planes.read(s, y, x, STEP * run + SIDE - STEP, strip);
                for i in 0..run {
                    transform_inputs(s, strip.columns_from(i * STEP), to(at + i));
                }
            }
        }
    }

    /// Writes the outputs of `count` tiles from `first` on, of the block of channels from `channel` on; `from` says where
    /// the sums of the tile at a position are.
    ///
    /// # Safety
    /// As in [`Images::transform_inputs`]; nobody else may write these outputs.
    #[inline(always)]
    pub(super) unsafe fn transform_outputs<S: Isa>(
        &self,
        s: S,
        (first, count): (usize, usize),
        channel: usize,
        strip: *mut f32,
        from: impl Fn(usize) -> Grid,
    ) {
        let (out, outputs) = (self.of.out, self.of.filters.outputs);
        let strip = self.strip::<S>(strip, count);
        let channels = S::LANES.min(outputs - channel);
        let mut bias = [0.0; 16];
        if let Some(from) = self.of.bias {
            bias[..channels].copy_from_slice(&from[channel..][..channels]);
        }
        for (at, tile, run) in self.runs(first, count) {
            let (sample, y, x) = self.tiling.place(tile);
            // SAFETY: the caller's condition; sixteen floats hold any vector.
            unsafe {
                let planes = Planes {
                    start: self.of.y.get().add((sample * outputs + channel) * out.0 * out.1),
                    channels,
                    height: out.0,
                    width: out.1,
                };
                let bias = s.load(bias.as_ptr());
                for i in 0..run {
                    transform_outputs(s, from(at + i), bias, strip.columns_from(i * STEP));
                }
                planes.write(s, y, x, STEP * run, strip);
            }
        }
    }
}

impl Grid {
    /// The columns from `column` on.
    #[inline(always)]
    fn columns_from(self, column: usize) -> Self {
        Self {
            start: self.start.wrapping_add(column * self.column),
            ..self
        }
    }
}
