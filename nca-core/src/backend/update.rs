//! The stochastic residual update of the state.

use super::{Device, MaskKey};
use crate::config::{Grid, NcaConfig};
use crate::error::Result;

/// Masked addition and clamp.
pub trait Update: Device {
    /// `x_next = clamp(x + mask·dx)`; one mask value a cell, shared by its channels. A NaN passes the clamp.
    ///
    /// All buffers `[B,C,H,W]`; `key.step` is this step's number.
    fn update(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &Self::Buffer,
        dx: &Self::Buffer,
        x_next: &mut Self::Buffer,
    ) -> Result<()>;

    /// Gradients of [`Update::update`]. The clamp passes the gradient where its argument is within
    /// or on the bounds (PyTorch's convention) or NaN, and stops it elsewhere.
    ///
    /// `g_next` → `g_x` (`=`), `g_dx` (`=`), all `[B,C,H,W]`.
    fn update_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &Self::Buffer,
        dx: &Self::Buffer,
        g_next: &Self::Buffer,
        g_x: &mut Self::Buffer,
        g_dx: &mut Self::Buffer,
    ) -> Result<()>;
}
