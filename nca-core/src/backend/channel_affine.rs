//! A factor and a summand for each channel.

use super::Device;
use crate::error::Result;

/// `y = scale · x + offset`, each channel with its own.
pub trait ChannelAffine: Device {
    /// `y[b,c] = scale[c] · x[b,c] + offset[c]`; C is the length of `scale` and of `offset`.
    ///
    /// `x [B,C,P]` → `y [B,C,P]`, P being `plane`.
    fn channel_affine(
        &self,
        plane: usize,
        scale: &[f64],
        offset: &[f64],
        x: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<()>;

    /// `g_x[b,c] = scale[c] · g_y[b,c]` (`=`).
    fn channel_affine_backward(
        &self,
        plane: usize,
        scale: &[f64],
        g_y: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
