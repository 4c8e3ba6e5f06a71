//! Perception: every channel seen through the model's 3×3 kernels.

use super::Device;
use crate::config::{Grid, NcaConfig};
use crate::error::Result;

/// Depthwise 3×3 cross-correlations with shared kernels.
pub trait Perceive: Device {
    /// `z[b, k·C + c] = kernel_k ⋆ x[b, c]`, edges by `config.padding`.
    ///
    /// `x [B,C,H,W]` → `z [B,KC,H,W]`.
    fn perceive(&self, config: &NcaConfig, grid: Grid, x: &Self::Buffer, z: &mut Self::Buffer) -> Result<()>;

    /// Adjoint of [`Perceive::perceive`]: `g_x = Σ_k kernel_kᵀ ⋆ g_z`.
    ///
    /// `g_z [B,KC,H,W]` → `g_x [B,C,H,W]` (`=`).
    fn perceive_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        g_z: &Self::Buffer,
        g_x: &mut Self::Buffer,
    ) -> Result<()>;
}
