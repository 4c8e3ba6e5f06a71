//! The operations of an automaton.

use std::sync::atomic::Ordering;

use super::{Faulty, Rule};
use crate::backend::{Backend, MaskKey, Mlp, NcaStep, Overflow, Perceive, Rgb, RolloutSteps, Update};
use crate::config::{Grid, NcaConfig};
use crate::error::Result;
use crate::params::Params;

impl<B: Backend> Perceive for Faulty<B> {
    fn perceive(&self, config: &NcaConfig, grid: Grid, x: &B::Buffer, z: &mut B::Buffer) -> Result<()> {
        call!(self.perceive(config, grid, x, z); Overwrites "z" z)
    }

    fn perceive_backward(&self, config: &NcaConfig, grid: Grid, g_z: &B::Buffer, g_x: &mut B::Buffer) -> Result<()> {
        call!(self.perceive_backward(config, grid, g_z, g_x); Overwrites "g_x" g_x)
    }
}

impl<B: Backend> Mlp for Faulty<B> {
    fn mlp(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<B::Buffer>,
        z: &B::Buffer,
        h: &mut B::Buffer,
        dx: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.mlp(config, grid, params, z, h, dx); Overwrites "h" h; Overwrites "dx" dx)
    }

    fn mlp_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<B::Buffer>,
        z: &B::Buffer,
        h: &B::Buffer,
        g_dx: &B::Buffer,
        g_h: &mut B::Buffer,
        g_z: &mut B::Buffer,
        grads: &mut Params<B::Buffer>,
    ) -> Result<()> {
        call_with_grads!(
            self.mlp_backward(config, grid, params, z, h, g_dx, g_h, g_z, grads), grads;
            Overwrites "g_h" g_h; Overwrites "g_z" g_z
        )
    }
}

impl<B: Backend> Update for Faulty<B> {
    fn update(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &B::Buffer,
        dx: &B::Buffer,
        x_next: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.update(config, grid, key, x, dx, x_next); Overwrites "x_next" x_next)
    }

    fn update_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &B::Buffer,
        dx: &B::Buffer,
        g_next: &B::Buffer,
        g_x: &mut B::Buffer,
        g_dx: &mut B::Buffer,
    ) -> Result<()> {
        call!(
            self.update_backward(config, grid, key, x, dx, g_next, g_x, g_dx);
            Overwrites "g_x" g_x; Overwrites "g_dx" g_dx
        )
    }
}

impl<B: Backend> NcaStep for Faulty<B> {
    fn nca_step_scratch(&self, config: &NcaConfig, grid: Grid) -> Vec<usize> {
        self.inner.nca_step_scratch(config, grid)
    }

    fn nca_step(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<B::Buffer>,
        key: MaskKey,
        x: &B::Buffer,
        x_next: &mut B::Buffer,
        scratch: &mut [B::Buffer],
    ) -> Result<()> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        call!(self.nca_step(config, grid, params, key, x, x_next, scratch); Overwrites "x_next" x_next)
    }

    fn nca_step_backward_scratch(&self, config: &NcaConfig, grid: Grid) -> Vec<usize> {
        self.inner.nca_step_backward_scratch(config, grid)
    }

    fn nca_step_backward(
        &self,
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
        self.backward_steps.fetch_add(1, Ordering::Relaxed);
        call_with_grads!(
            self.nca_step_backward(config, grid, params, key, x, g_next, g_x, grads, scratch), grads;
            Overwrites "g_x" g_x
        )
    }
}

impl<B: Backend> RolloutSteps for Faulty<B> {
    fn rollout(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<B::Buffer>,
        key: MaskKey,
        steps: u32,
        x: &mut B::Buffer,
        spare: &mut B::Buffer,
        scratch: &mut [B::Buffer],
    ) -> Result<()> {
        self.steps.fetch_add(u64::from(steps), Ordering::Relaxed);
        call!(self.rollout(config, grid, params, key, steps, x, spare, scratch); InPlace "x" x)
    }

    fn activations_len(&self, config: &NcaConfig, grid: Grid) -> usize {
        self.inner.activations_len(config, grid)
    }

    fn rollout_states(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<B::Buffer>,
        key: MaskKey,
        states: &mut [B::Buffer],
        last: &mut B::Buffer,
        activations: &mut [B::Buffer],
        scratch: &mut [B::Buffer],
    ) -> Result<()> {
        self.steps.fetch_add(states.len() as u64, Ordering::Relaxed);
        call!(
            self.rollout_states(config, grid, params, key, states, last, activations, scratch);
            Overwrites "last" last
        )
    }

    fn rollout_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<B::Buffer>,
        key: MaskKey,
        states: &[B::Buffer],
        activations: &[B::Buffer],
        g: &mut B::Buffer,
        spare: &mut B::Buffer,
        grads: &mut Params<B::Buffer>,
        scratch: &mut [B::Buffer],
    ) -> Result<()> {
        self.backward_steps.fetch_add(states.len() as u64, Ordering::Relaxed);
        call_with_grads!(
            self.rollout_backward(config, grid, params, key, states, activations, g, spare, grads, scratch), grads;
            InPlace "g" g
        )
    }
}

impl<B: Backend> Rgb for Faulty<B> {
    fn rgb(&self, config: &NcaConfig, grid: Grid, x: &B::Buffer, rgb: &mut B::Buffer) -> Result<()> {
        call!(self.rgb(config, grid, x, rgb); Overwrites "rgb" rgb)
    }

    fn rgb_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        x: &B::Buffer,
        g_rgb: &B::Buffer,
        g_x: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.rgb_backward(config, grid, x, g_rgb, g_x); Overwrites "g_x" g_x)
    }
}

impl<B: Backend> Overflow for Faulty<B> {
    fn overflow(&self, weight: f64, x: &B::Buffer, out: &mut B::Buffer, slot: usize) -> Result<()> {
        call!(self.overflow(weight, x, out, slot); Adds "out" out)
    }

    fn overflow_backward(&self, weight: f64, x: &B::Buffer, g_x: &mut B::Buffer) -> Result<()> {
        call!(self.overflow_backward(weight, x, g_x); Overwrites "g_x" g_x)
    }
}
