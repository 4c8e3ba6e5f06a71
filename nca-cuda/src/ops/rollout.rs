//! Several steps in one call: the weights are packed once.

use nca_core::backend::{MaskKey, NcaStep, RolloutSteps, check};
use nca_core::{Grid, NcaConfig, Params, Result};

use super::nca_step::{BackwardSteps, Steps};
use crate::{Buffer, Cuda};

impl RolloutSteps for Cuda {
    fn rollout(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        key: MaskKey,
        steps: u32,
        x: &mut Buffer,
        spare: &mut Buffer,
        scratch: &mut [Buffer],
    ) -> Result<()> {
        let lengths = self.nca_step_scratch(config, grid);
        let states = [("x", &*x), ("spare", &*spare)];
        self.check_step("rollout", config, grid, &[params], &states, (scratch, &lengths))?;
        let Some(plan) = self.plan(config, grid) else {
            for step in 0..steps {
                self.nca_step(config, grid, params, key.after(step), x, spare, scratch)?;
                std::mem::swap(x, spare);
            }
            return Ok(());
        };
        let fused = Steps::new(self, config, grid, plan, params, &scratch[0])?;
        for step in 0..steps {
            fused.forward(key.after(step), x, spare)?;
            std::mem::swap(x, spare);
        }
        Ok(())
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
        scratch: &mut [Buffer],
    ) -> Result<()> {
        let lengths = self.nca_step_scratch(config, grid);
        check::activations("rollout_states", states.len(), activations, Buffer::len, 0)?;
        let mut named: Vec<_> = states.iter().map(|state| ("state", state)).collect();
        named.push(("last", &*last));
        self.check_step("rollout_states", config, grid, &[params], &named, (scratch, &lengths))?;
        let fused = match self.plan(config, grid) {
            Some(plan) => Some(Steps::new(self, config, grid, plan, params, &scratch[0])?),
            None => None,
        };
        for step in 0..states.len() {
            let (x, rest) = states[step..].split_at_mut(1);
            let (x_next, key) = (rest.first_mut().unwrap_or(&mut *last), key.after(step as u32));
            match &fused {
                Some(fused) => fused.forward(key, &x[0], x_next)?,
                None => self.nca_step(config, grid, params, key, &x[0], x_next, scratch)?,
            }
        }
        Ok(())
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
        scratch: &mut [Buffer],
    ) -> Result<()> {
        const OP: &str = "rollout_backward";
        check::activations(OP, states.len(), activations, Buffer::len, 0)?;
        let lengths = self.nca_step_backward_scratch(config, grid);
        let mut named: Vec<_> = states.iter().map(|state| ("state", state)).collect();
        named.extend([("g", &*g), ("spare", &*spare)]);
        self.check_step(OP, config, grid, &[params, grads], &named, (scratch, &lengths))?;
        let Some(plan) = self.plan_backward(config, grid) else {
            for (i, x) in states.iter().enumerate().rev() {
                self.nca_step_backward(config, grid, params, key.after(i as u32), x, g, spare, grads, scratch)?;
                std::mem::swap(g, spare);
            }
            return Ok(());
        };
        let fused = BackwardSteps::new(self, config, grid, plan, params, check::scratch(OP, scratch)?)?;
        for (i, x) in states.iter().enumerate().rev() {
            fused.backward(key.after(i as u32), x, g, spare, grads)?;
            std::mem::swap(g, spare);
        }
        Ok(())
    }
}
