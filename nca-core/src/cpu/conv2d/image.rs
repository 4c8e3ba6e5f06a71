//! Images that convolutions by direct sums read: copies in zeros.

use rayon::prelude::*;

use crate::backend::ConvShape;

/// Floats that may be read behind the last row of an image.
const SLACK: usize = 64;

/// A batch of images in zeros: `planes` of `height` rows, `pitch` floats apart.
#[derive(Clone, Copy)]
pub(super) struct Image {
    pub(super) batch: usize,
    pub(super) channels: usize,
    /// Rows and columns of the source.
    pub(super) source: (usize, usize),
    /// Zeros above and left of the source; cropped where negative.
    pub(super) margin: isize,
    /// Rows and columns of the result of a product with it.
    pub(super) out: (usize, usize),
    pub(super) height: usize,
    pub(super) pitch: usize,
}

impl Image {
    /// Images of `source` rows and columns, for results of `out` rows and columns.
    pub(super) fn new(
        batch: usize,
        channels: usize,
        source: (usize, usize),
        margin: isize,
        out: (usize, usize),
        kernel: usize,
    ) -> Self {
        Self {
            batch,
            channels,
            source,
            margin,
            out,
            height: out.0 + kernel - 1,
            // The last vector of a row may begin at its last column and is read with every shift.
            pitch: (out.1.next_multiple_of(16) + kernel - 1).next_multiple_of(16),
        }
    }

    /// The same with rows no farther apart than a kernel needs.
    pub(super) fn tight(self, kernel: usize) -> Self {
        Self {
            pitch: self.out.1 + kernel - 1,
            ..self
        }
    }

    /// The input of a convolution.
    pub(super) fn of_input(shape: &ConvShape) -> Self {
        let out = (shape.out_height(), shape.out_width());
        let source = (shape.height, shape.width);
        Self::new(
            shape.batch,
            shape.inputs,
            source,
            shape.padding as isize,
            out,
            shape.kernel,
        )
    }

    /// Floats of a channel.
    pub(super) fn plane(&self) -> usize {
        self.height * self.pitch
    }

    /// Floats of a sample.
    pub(super) fn sample(&self) -> usize {
        self.channels * self.plane()
    }

    /// Floats of all samples and what may be read behind them.
    pub(super) fn len(&self) -> usize {
        self.batch * self.sample() + SLACK
    }

    /// Copies the source into its zeros.
    pub(super) fn fill(&self, source: &[f32], padded: &mut [f32]) {
        let (rows, columns) = self.source;
        let (body, slack) = padded.split_at_mut(self.batch * self.sample());
        slack.fill(0.0);
        // Columns of the padded row that have a source.
        let first = self.margin.max(0) as usize;
        let end = (columns as isize + self.margin).clamp(0, self.pitch as isize) as usize;
        body.par_chunks_exact_mut(self.plane())
            .enumerate()
            .for_each(|(i, plane)| {
                let source = &source[i * rows * columns..][..rows * columns];
                for (y, row) in plane.chunks_exact_mut(self.pitch).enumerate() {
                    row.fill(0.0);
                    let y = y as isize - self.margin;
                    if (0..rows as isize).contains(&y) && first < end {
                        let from = y as usize * columns + (first as isize - self.margin) as usize;
                        row[first..end].copy_from_slice(&source[from..][..end - first]);
                    }
                }
            });
    }

    /// Offset of each row `(channel, ky, kx)` of the operand; rows of padding repeat the first.
    pub(super) fn offsets(&self, kernel: usize, offsets: &mut [usize]) {
        let taps = kernel * kernel;
        for (k, offset) in offsets.iter_mut().enumerate() {
            let (channel, tap) = (k / taps, k % taps);
            *offset = if channel < self.channels {
                channel * self.plane() + tap / kernel * self.pitch + tap % kernel
            } else {
                0
            };
        }
    }
}
