//! Average pooling by two.

use super::Device;
use crate::error::Result;

/// Means of 2×2 blocks; a last odd row or column is dropped, as PyTorch does.
pub trait AvgPool2: Device {
    /// `x [N,H,W]` → `y [N,⌊H/2⌋,⌊W/2⌋]`, `planes` being N.
    fn avg_pool2(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        x: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<()>;

    /// `g_y [N,⌊H/2⌋,⌊W/2⌋]` → `g_x [N,H,W]` (`=`); a dropped row or column gets 0.
    fn avg_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        g_y: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
