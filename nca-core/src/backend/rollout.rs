//! Several steps in one call, so that a device need not pay for each of them.

use super::{MaskKey, NcaStep, check};
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

    /// Elements of a buffer for what [`RolloutSteps::rollout_states`] can keep of a step, beside the state before it,
    /// that its backward would compute again: its *activations*. 0 where nothing is kept.
    fn activations_len(&self, config: &NcaConfig, grid: Grid) -> usize {
        let _ = (config, grid);
        0
    }

    /// Runs `states.len()` steps from `states[0]`: the others receive the states before the further steps, `last`
    /// that after the last one.
    ///
    /// `activations`, at most as many as there are steps, receive those of the last steps.
    fn rollout_states(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Self::Buffer>,
        key: MaskKey,
        states: &mut [Self::Buffer],
        last: &mut Self::Buffer,
        activations: &mut [Self::Buffer],
        scratch: &mut [Self::Buffer],
    ) -> Result<()> {
        check::activations("rollout_states", states.len(), activations, |a| self.len(a), 0)?;
        for step in 0..states.len() {
            let (x, rest) = states[step..].split_at_mut(1);
            let x_next = rest.first_mut().unwrap_or(&mut *last);
            self.nca_step(config, grid, params, key.after(step as u32), &x[0], x_next, scratch)?;
        }
        Ok(())
    }

    /// Backward through `states.len()` steps, `states[i]` being the state before step
    /// `key.step + i`: turns `g`, the gradient after the last of them, into the gradient before
    /// the first, and adds to `grads`. `spare` (size of `g`) ends unspecified.
    ///
    /// `activations` are those of the last of these steps, as [`RolloutSteps::rollout_states`] left them, or none.
    fn rollout_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Self::Buffer>,
        key: MaskKey,
        states: &[Self::Buffer],
        activations: &[Self::Buffer],
        g: &mut Self::Buffer,
        spare: &mut Self::Buffer,
        grads: &mut Params<Self::Buffer>,
        scratch: &mut [Self::Buffer],
    ) -> Result<()> {
        check::activations("rollout_backward", states.len(), activations, |a| self.len(a), 0)?;
        for (i, x) in states.iter().enumerate().rev() {
            self.nca_step_backward(config, grid, params, key.after(i as u32), x, g, spare, grads, scratch)?;
            std::mem::swap(g, spare);
        }
        Ok(())
    }
}
