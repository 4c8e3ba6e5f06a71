//! Bilinear upsampling by two, from a level of an image pyramid to the next finer one.

use super::Device;
use super::check::elements;
use crate::error::{Error, Result};

/// The shape of one upsampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upsample2Shape {
    /// Number of planes, N.
    pub planes: usize,
    /// Input rows, H.
    pub height: usize,
    /// Input columns, W.
    pub width: usize,
    /// Output rows, 2H or 2H + 1.
    pub out_height: usize,
    /// Output columns, 2W or 2W + 1.
    pub out_width: usize,
}

impl Upsample2Shape {
    /// Elements of the input, `N·H·W`.
    #[must_use]
    pub fn input_len(&self) -> usize {
        elements(&[self.planes, self.height, self.width])
    }

    /// Elements of the output, `N·H'·W'`.
    #[must_use]
    pub fn output_len(&self) -> usize {
        elements(&[self.planes, self.out_height, self.out_width])
    }

    /// The output must be twice the input, or one more.
    pub fn validate(&self) -> Result<()> {
        for (input, output) in [(self.height, self.out_height), (self.width, self.out_width)] {
            if input == 0 || output / 2 != input {
                return Err(Error::invalid(
                    "upsample2: size of the output",
                    output,
                    format!("twice the input's {input} (at least 1), or one more"),
                ));
            }
        }
        Ok(())
    }

    /// The two inputs that output `i` of a line lies between, and the weight of the second.
    ///
    /// Corners are aligned: outputs 0 and `2·input − 1` are inputs 0 and `input − 1`. An output
    /// beyond those repeats the last one.
    #[must_use]
    pub fn taps(input: usize, i: usize) -> (usize, usize, f64) {
        let i = i.min(2 * input - 1);
        // (input − 1) / (2·input − 1) inputs to an output.
        let position = i * (input - 1);
        let low = position / (2 * input - 1);
        let fraction = (position % (2 * input - 1)) as f64 / (2 * input - 1) as f64;
        (low, (low + 1).min(input - 1), fraction)
    }
}

/// Bilinear upsampling by two with aligned corners, times a factor.
pub trait Upsample2: Device {
    /// `y = factor · upsample(x)`; where the output is one larger than twice the input, its last
    /// row or column repeats the one before. The factor is 2 for flow, whose values are pixels.
    ///
    /// `x [N,H,W]` → `y [N,H',W']`.
    fn upsample2(&self, shape: &Upsample2Shape, factor: f64, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;

    /// Adjoint of [`Upsample2::upsample2`]: `g_y [N,H',W']` → `g_x [N,H,W]` (`=`).
    fn upsample2_backward(
        &self,
        shape: &Upsample2Shape,
        factor: f64,
        g_y: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
