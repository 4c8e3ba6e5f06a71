//! One step of the automaton: perception, update network and masked update together.

use super::{Axpy, MaskKey, Mlp, Perceive, Update, check};
use crate::config::{Grid, NcaConfig};
use crate::error::Result;
use crate::params::Params;

/// One step and its backward, which recomputes what it needs from the state before the step.
///
/// The default composes the fine operations; a backend overrides it (and the scratch it asks for)
/// where it can fuse them.
pub trait NcaStep: Perceive + Mlp + Update + Axpy {
    /// Lengths of the scratch buffers of [`NcaStep::nca_step`].
    fn nca_step_scratch(&self, config: &NcaConfig, grid: Grid) -> Vec<usize> {
        composed_step_scratch(config, grid)
    }

    /// `x_next = clamp(x + mask·mlp(perceive(x)))`, `[B,C,H,W]` → `[B,C,H,W]`.
    fn nca_step(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Self::Buffer>,
        key: MaskKey,
        x: &Self::Buffer,
        x_next: &mut Self::Buffer,
        scratch: &mut [Self::Buffer],
    ) -> Result<()> {
        composed_step(self, config, grid, params, key, x, x_next, scratch)
    }

    /// Lengths of the scratch buffers of [`NcaStep::nca_step_backward`].
    fn nca_step_backward_scratch(&self, config: &NcaConfig, grid: Grid) -> Vec<usize> {
        composed_step_backward_scratch(config, grid)
    }

    /// Gradients of [`NcaStep::nca_step`], given the state before the step.
    ///
    /// `g_next [B,C,H,W]` → `g_x [B,C,H,W]` (`=`), `grads` (`+=`).
    fn nca_step_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Self::Buffer>,
        key: MaskKey,
        x: &Self::Buffer,
        g_next: &Self::Buffer,
        g_x: &mut Self::Buffer,
        grads: &mut Params<Self::Buffer>,
        scratch: &mut [Self::Buffer],
    ) -> Result<()> {
        composed_step_backward(self, config, grid, params, key, x, g_next, g_x, grads, scratch)
    }
}

/// Lengths of the scratch buffers of [`composed_step`].
#[must_use]
pub fn composed_step_scratch(config: &NcaConfig, grid: Grid) -> Vec<usize> {
    [config.perceived(), config.hidden, config.channels]
        .map(|rows| rows.saturating_mul(grid.cells()))
        .to_vec()
}

/// [`NcaStep::nca_step`] of the fine operations, for a backend that fuses only some automata.
pub fn composed_step<B: Perceive + Mlp + Update + ?Sized>(
    backend: &B,
    config: &NcaConfig,
    grid: Grid,
    params: &Params<B::Buffer>,
    key: MaskKey,
    x: &B::Buffer,
    x_next: &mut B::Buffer,
    scratch: &mut [B::Buffer],
) -> Result<()> {
    let [z, h, dx] = check::scratch("nca_step", scratch)?;
    backend.perceive(config, grid, x, z)?;
    backend.mlp(config, grid, params, z, h, dx)?;
    backend.update(config, grid, key, x, dx, x_next)
}

/// Lengths of the scratch buffers of [`composed_step_backward`].
#[must_use]
pub fn composed_step_backward_scratch(config: &NcaConfig, grid: Grid) -> Vec<usize> {
    let (z, h, x) = (config.perceived(), config.hidden, config.channels);
    [z, h, x, z, h, x, x]
        .map(|rows| rows.saturating_mul(grid.cells()))
        .to_vec()
}

/// [`NcaStep::nca_step_backward`] of the fine operations.
pub fn composed_step_backward<B: Perceive + Mlp + Update + Axpy + ?Sized>(
    backend: &B,
    config: &NcaConfig,
    grid: Grid,
    params: &Params<B::Buffer>,
    key: MaskKey,
    x: &B::Buffer,
    g_next: &B::Buffer,
    g_x: &mut B::Buffer,
    grads: &mut Params<B::Buffer>,
    scratch: &mut [B::Buffer],
) -> Result<()> {
    let [z, h, dx, g_z, g_h, g_dx, g_direct] = check::scratch("nca_step_backward", scratch)?;
    backend.perceive(config, grid, x, z)?;
    backend.mlp(config, grid, params, z, h, dx)?;
    backend.update_backward(config, grid, key, x, dx, g_next, g_direct, g_dx)?;
    backend.mlp_backward(config, grid, params, z, h, g_dx, g_h, g_z, grads)?;
    backend.perceive_backward(config, grid, g_z, g_x)?;
    backend.axpy(1.0, g_direct, g_x)
}
