//! Several steps in one call, so that a device need not pay for each of them.

use super::{MaskKey, NcaStep};
use crate::config::{Grid, NcaConfig};
use crate::error::Result;
use crate::params::Params;

/// Runs of consecutive steps, `key.step` being the number of the first.
///
/// [`crate::Rollout`] decides which states to keep and which to recompute, and calls these.
/// `scratch` is that of the single step ([`NcaStep::nca_step_scratch`],
/// [`NcaStep::nca_step_backward_scratch`]).
pub trait RolloutSteps: NcaStep {
    /// Advances `x [B,C,H,W]` by `steps` steps in place; `spare` (same size) ends unspecified.
    fn rollout(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Self::Buffer>,
        key: MaskKey,
        steps: u32,
        x: &mut Self::Buffer,
        spare: &mut Self::Buffer,
        scratch: &mut [Self::Buffer],
    ) -> Result<()> {
        for step in 0..steps {
            self.nca_step(config, grid, params, key.after(step), x, spare, scratch)?;
            std::mem::swap(x, spare);
        }
        Ok(())
    }

    /// Fills `states[1..]` from `states[0]`, one step each.
    fn rollout_states(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Self::Buffer>,
        key: MaskKey,
        states: &mut [Self::Buffer],
        scratch: &mut [Self::Buffer],
    ) -> Result<()> {
        for step in 1..states.len() {
            let (done, rest) = states.split_at_mut(step);
            self.nca_step(
                config,
                grid,
                params,
                key.after(step as u32 - 1),
                &done[step - 1],
                &mut rest[0],
                scratch,
            )?;
        }
        Ok(())
    }

    /// Backward through `states.len()` steps, `states[i]` being the state before step
    /// `key.step + i`: turns `g`, the gradient after the last of them, into the gradient before
    /// the first, and adds to `grads`. `spare` (size of `g`) ends unspecified.
    fn rollout_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Self::Buffer>,
        key: MaskKey,
        states: &[Self::Buffer],
        g: &mut Self::Buffer,
        spare: &mut Self::Buffer,
        grads: &mut Params<Self::Buffer>,
        scratch: &mut [Self::Buffer],
    ) -> Result<()> {
        for (i, x) in states.iter().enumerate().rev() {
            self.nca_step_backward(config, grid, params, key.after(i as u32), x, g, spare, grads, scratch)?;
            std::mem::swap(g, spare);
        }
        Ok(())
    }
}
