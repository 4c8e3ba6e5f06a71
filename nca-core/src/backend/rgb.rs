//! The picture of a state.

use super::Device;
use crate::config::{Grid, NcaConfig};
use crate::error::Result;

/// The first three channels as colour.
pub trait Rgb: Device {
    /// `config.rgb` applied to `x[:, ..3]`; not clipped.
    ///
    /// `x [B,C,H,W]` → `rgb [B,3,H,W]`.
    fn rgb(&self, config: &NcaConfig, grid: Grid, x: &Self::Buffer, rgb: &mut Self::Buffer) -> Result<()>;

    /// Gradient of [`Rgb::rgb`]. For the min–max map the derivative of the extremes is included;
    /// elements that tie for an extreme share its derivative equally.
    ///
    /// `g_rgb [B,3,H,W]` → `g_x [B,C,H,W]` (`=`; zero beyond channel 3).
    fn rgb_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        x: &Self::Buffer,
        g_rgb: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
