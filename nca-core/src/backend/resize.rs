//! Bilinear resizing to any size.

use super::Device;
use super::check::elements;
use crate::error::{Error, Result};

/// The shape of one resizing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResizeShape {
    /// Number of planes, N.
    pub planes: usize,
    /// Input rows, H.
    pub height: usize,
    /// Input columns, W.
    pub width: usize,
    /// Output rows, H'.
    pub out_height: usize,
    /// Output columns, W'.
    pub out_width: usize,
}

impl ResizeShape {
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

    /// No side may be empty.
    pub fn validate(&self) -> Result<()> {
        let sides = [self.height, self.width, self.out_height, self.out_width];
        if sides.contains(&0) {
            return Err(Error::invalid("resize: sides", format!("{sides:?}"), "at least 1 each"));
        }
        Ok(())
    }

    /// The two inputs that output `i` of a line lies between, and the weight of the second.
    ///
    /// Centres of pixels are at halves (`align_corners = false`); beyond the outer centres the
    /// outer pixel is repeated.
    #[must_use]
    pub fn taps(input: usize, output: usize, i: usize) -> (usize, usize, f64) {
        let position = ((i as f64 + 0.5) * (input as f64 / output as f64) - 0.5).max(0.0);
        let low = (position as usize).min(input - 1);
        (low, (low + 1).min(input - 1), position - low as f64)
    }
}

/// Bilinear resizing without antialiasing, as PyTorch's `interpolate` with `align_corners = false`.
pub trait Resize: Device {
    /// `x [N,H,W]` → `y [N,H',W']`.
    fn resize(&self, shape: &ResizeShape, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;

    /// Adjoint of [`Resize::resize`]: `g_y [N,H',W']` → `g_x [N,H,W]` (`=`).
    fn resize_backward(&self, shape: &ResizeShape, g_y: &Self::Buffer, g_x: &mut Self::Buffer) -> Result<()>;
}
