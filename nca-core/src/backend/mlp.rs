//! The update network, the same at every cell.

use super::Device;
use crate::config::{Grid, NcaConfig};
use crate::error::Result;
use crate::params::Params;

/// Two linear layers with a ReLU between them, applied to each cell's perception vector.
pub trait Mlp: Device {
    /// `h = relu(W1·z + b1)`, `dx = W2·h + b2`. A NaN passes the ReLU.
    ///
    /// `z [B,KC,H,W]` → `h [B,D,H,W]`, `dx [B,C,H,W]`. Backward needs `z` and `h`.
    fn mlp(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Self::Buffer>,
        z: &Self::Buffer,
        h: &mut Self::Buffer,
        dx: &mut Self::Buffer,
    ) -> Result<()>;

    /// Gradients of [`Mlp::mlp`]. The derivative of ReLU is 1 where `h` is positive and 0 elsewhere, at 0 and NaN
    /// too, as in [`Relu::relu_backward`](super::Relu::relu_backward).
    ///
    /// `g_dx [B,C,H,W]` → `g_z [B,KC,H,W]` (`=`), `grads` (`+=`); `g_h [B,D,H,W]` is scratch and
    /// ends as the gradient before the ReLU.
    fn mlp_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Self::Buffer>,
        z: &Self::Buffer,
        h: &Self::Buffer,
        g_dx: &Self::Buffer,
        g_h: &mut Self::Buffer,
        g_z: &mut Self::Buffer,
        grads: &mut Params<Self::Buffer>,
    ) -> Result<()>;
}
