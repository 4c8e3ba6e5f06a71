//! Several steps in one call: the weights are packed once and the threads stay awake between steps.

use super::{Buffer, Cpu};
use crate::backend::{MaskKey, RolloutSteps, check};
use crate::config::{Grid, NcaConfig};
use crate::error::Result;
use crate::params::Params;

impl RolloutSteps for Cpu {
    fn rollout(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        key: MaskKey,
        steps: u32,
        x: &mut Buffer,
        spare: &mut Buffer,
        _: &mut [Buffer],
    ) -> Result<()> {
        self.with_forward("rollout", config, grid, params, false, |forward| {
            for step in 0..steps {
                forward.step(key.after(step), x, spare, None)?;
                std::mem::swap(x, spare);
            }
            Ok(())
        })
    }

    fn activations_len(&self, config: &NcaConfig, grid: Grid) -> usize {
        self.activations_len_of(config, grid)
    }

    fn rollout_states(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        key: MaskKey,
        states: &mut [Buffer],
        last: &mut Buffer,
        activations: &mut [Buffer],
        _: &mut [Buffer],
    ) -> Result<()> {
        let expected = self.activations_len(config, grid);
        let first = check::activations("rollout_states", states.len(), activations, |a| a.len(), expected)?;
        let keep = !activations.is_empty();
        self.with_forward("rollout_states", config, grid, params, keep, |forward| {
            for step in 0..states.len() {
                let (x, rest) = states[step..].split_at_mut(1);
                let x_next = rest.first_mut().unwrap_or(&mut *last);
                let activations = step.checked_sub(first).map(|i| &mut activations[i]);
                forward.step(key.after(step as u32), &x[0], x_next, activations)?;
            }
            Ok(())
        })
    }

    fn rollout_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        key: MaskKey,
        states: &[Buffer],
        activations: &[Buffer],
        g: &mut Buffer,
        spare: &mut Buffer,
        grads: &mut Params<Buffer>,
        _: &mut [Buffer],
    ) -> Result<()> {
        let expected = self.activations_len(config, grid);
        let first = check::activations("rollout_backward", states.len(), activations, |a| a.len(), expected)?;
        self.with_backward("rollout_backward", config, grid, params, |backward| {
            for (step, x) in states.iter().enumerate().rev() {
                let activations = step.checked_sub(first).map(|i| &activations[i]);
                backward.step(config, key.after(step as u32), x, activations, g, spare, grads)?;
                std::mem::swap(g, spare);
            }
            Ok(())
        })
    }
}
