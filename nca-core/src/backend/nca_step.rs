//! One step of the automaton: perception, update network and masked update together.

use super::{Axpy, MaskKey, Mlp, Perceive, Update};
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
        let cells = grid.cells();
        vec![
            config.perceived() * cells,
            config.hidden * cells,
            config.channels * cells,
        ]
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
        let [z, h, dx] = scratch_of(scratch, "nca_step")?;
        self.perceive(config, grid, x, z)?;
        self.mlp(config, grid, params, z, h, dx)?;
        self.update(config, grid, key, x, dx, x_next)
    }

    /// Lengths of the scratch buffers of [`NcaStep::nca_step_backward`].
    fn nca_step_backward_scratch(&self, config: &NcaConfig, grid: Grid) -> Vec<usize> {
        let cells = grid.cells();
        let (z, h, x) = (
            config.perceived() * cells,
            config.hidden * cells,
            config.channels * cells,
        );
        vec![z, h, x, z, h, x, x]
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
        let [z, h, dx, g_z, g_h, g_dx, g_direct] = scratch_of(scratch, "nca_step_backward")?;
        self.perceive(config, grid, x, z)?;
        self.mlp(config, grid, params, z, h, dx)?;
        self.update_backward(config, grid, key, x, dx, g_next, g_direct, g_dx)?;
        self.mlp_backward(config, grid, params, z, h, g_dx, g_h, g_z, grads)?;
        self.perceive_backward(config, grid, g_z, g_x)?;
        self.axpy(1.0, g_direct, g_x)
    }
}

/// The scratch buffers by name.
fn scratch_of<'a, S, const N: usize>(scratch: &'a mut [S], op: &'static str) -> Result<&'a mut [S; N]> {
    let found = scratch.len();
    scratch.try_into().map_err(|_| crate::Error::Length {
        op,
        what: "list of scratch buffers",
        found,
        expected: N,
    })
}
