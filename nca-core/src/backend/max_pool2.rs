//! Max pooling by two.

use super::Device;
use crate::error::Result;

/// Maxima of 2×2 blocks; a last odd row or column is dropped, as PyTorch does.
pub trait MaxPool2: Device {
    /// `x [N,H,W]` → `y [N,⌊H/2⌋,⌊W/2⌋]`, `planes` being N. A block with a NaN gives NaN.
    fn max_pool2(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        x: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<()>;

    /// `g_y [N,⌊H/2⌋,⌊W/2⌋]` → `g_x [N,H,W]` (`=`): the first maximum of a block, in row-major order,
    /// gets its gradient (PyTorch's rule), everything else 0. `x` is the input of the forward.
    fn max_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        x: &Self::Buffer,
        g_y: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
