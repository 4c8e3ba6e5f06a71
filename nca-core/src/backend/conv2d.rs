//! Two-dimensional convolution (cross-correlation, stride 1).

use super::Device;
use super::check::elements;
use crate::error::{Error, Result};

/// The shape of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Samples, B.
    pub batch: usize,
    /// Input channels, I.
    pub inputs: usize,
    /// Output channels, O.
    pub outputs: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Side of the square kernel, k.
    pub kernel: usize,
    /// Rows and columns of zeros added on every side.
    pub padding: usize,
}

impl ConvShape {
    /// Output rows, `height + 2·padding − kernel + 1`; 0 where the kernel does not fit.
    #[must_use]
    pub fn out_height(&self) -> usize {
        (with_zeros(self.height, self.padding) + 1).saturating_sub(self.kernel)
    }

    /// Output columns, `width + 2·padding − kernel + 1`; 0 where the kernel does not fit.
    #[must_use]
    pub fn out_width(&self) -> usize {
        (with_zeros(self.width, self.padding) + 1).saturating_sub(self.kernel)
    }

    /// Elements of the input, `B·I·H·W`.
    #[must_use]
    pub fn input_len(&self) -> usize {
        elements(&[self.batch, self.inputs, self.height, self.width])
    }

    /// Elements of the output, `B·O·H'·W'`.
    #[must_use]
    pub fn output_len(&self) -> usize {
        elements(&[self.batch, self.outputs, self.out_height(), self.out_width()])
    }

    /// Elements of the weights, `O·I·k·k`.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        elements(&[self.outputs, self.inputs, self.kernel, self.kernel])
    }

    /// The kernel must fit the padded input.
    pub fn validate(&self) -> Result<()> {
        let side = with_zeros(self.height.min(self.width), self.padding);
        if self.kernel == 0 || self.kernel > side {
            return Err(Error::invalid(
                "conv2d: kernel size",
                self.kernel,
                format!("1 to {side} for this image"),
            ));
        }
        Ok(())
    }
}

/// A side of the image with the zeros around it, as far as it can be counted.
fn with_zeros(side: usize, padding: usize) -> usize {
    side.saturating_add(padding.saturating_mul(2)).min(usize::MAX - 1)
}

/// Convolution with zero padding.
pub trait Conv2d: Device {
    /// `y[b,o] = bias[o] + Σ_i weight[o,i] ⋆ x[b,i]`.
    ///
    /// `x [B,I,H,W]`, `weight [O,I,k,k]`, `bias [O]` → `y [B,O,H',W']`.
    fn conv2d(
        &self,
        shape: &ConvShape,
        x: &Self::Buffer,
        weight: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
    ) -> Result<()>;

    /// Gradient with respect to the input: `g_y [B,O,H',W']` → `g_x [B,I,H,W]` (`=`).
    fn conv2d_backward_input(
        &self,
        shape: &ConvShape,
        weight: &Self::Buffer,
        g_y: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;

    /// Gradient with respect to the parameters: `g_y [B,O,H',W']` → `g_weight [O,I,k,k]` (`+=`),
    /// `g_bias [O]` (`+=`).
    fn conv2d_backward_weight(
        &self,
        shape: &ConvShape,
        x: &Self::Buffer,
        g_y: &Self::Buffer,
        g_weight: &mut Self::Buffer,
        g_bias: Option<&mut Self::Buffer>,
    ) -> Result<()>;
}
