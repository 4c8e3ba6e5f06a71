//! Several steps in one call: the weights are packed once and the threads stay awake between steps.

use super::{Buffer, Cpu};
use crate::backend::{MaskKey, RolloutSteps};
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
        self.with_forward("rollout", config, grid, params, |forward| {
            for step in 0..steps {
                forward.step(key.after(step), x, spare)?;
                std::mem::swap(x, spare);
            }
            Ok(())
        })
    }

    fn rollout_states(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        key: MaskKey,
        states: &mut [Buffer],
        _: &mut [Buffer],
    ) -> Result<()> {
        self.with_forward("rollout_states", config, grid, params, |forward| {
            for step in 1..states.len() {
                let (done, rest) = states.split_at_mut(step);
                forward.step(key.after(step as u32 - 1), &done[step - 1], &mut rest[0])?;
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
        g: &mut Buffer,
        spare: &mut Buffer,
        grads: &mut Params<Buffer>,
        _: &mut [Buffer],
    ) -> Result<()> {
        self.with_backward("rollout_backward", config, grid, params, |backward| {
            for (i, x) in states.iter().enumerate().rev() {
                backward.step(config, key.after(i as u32), x, g, spare, grads)?;
                std::mem::swap(g, spare);
            }
            Ok(())
        })
    }
}
