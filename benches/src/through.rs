//! A rollout and the gradient through it, without a loss.

use nca_core::backend::Backend;
use nca_core::{Result, Rollout};

use crate::{Case, Setup, case};

/// Rollouts with their gradients.
pub const THROUGH: [Case; 3] = [case(12, 96, 128, 4), case(32, 128, 128, 4), case(128, 128, 128, 1)];

/// Steps of those.
pub const THROUGH_STEPS: u32 = 64;

/// A model and what its gradient through time needs. The gradient of the last state is given
/// (`setup.g_next`).
#[derive(Debug)]
pub struct Through<B: Backend> {
    /// Weights, initial state, gradient of the last one, and the gradients of weights found.
    pub setup: Setup<B>,
    rollout: Rollout<B>,
}

impl<B: Backend> Through<B> {
    /// Bytes that the trainer gives a rollout by default. All states of every case of the table fit.
    pub const BUDGET: usize = 1 << 30;

    /// Room for `steps` steps of `case` that keep at most `budget` bytes.
    pub fn new(backend: &B, case: Case, fire_rate: f64, steps: u32, budget: usize) -> Result<Self> {
        let setup = Setup::new(backend, case, fire_rate)?;
        Ok(Self {
            rollout: Rollout::new(backend, &setup.config, setup.grid, steps, budget)?,
            setup,
        })
    }

    /// `steps` steps with the masks of `seed` and back; gradients of weights are set, not added to.
    pub fn run(&mut self, backend: &B, seed: u64, steps: u32) -> Result<()> {
        let Self { setup, rollout } = self;
        for grad in setup.grads.iter_mut() {
            backend.fill(0.0, grad)?;
        }
        rollout.forward(backend, &setup.params, &setup.x, seed, steps, &[], |_, _| Ok(()))?;
        let len = backend.len(&setup.g_next);
        backend.copy(&setup.g_next, 0, rollout.grad_mut(), 0, len)?;
        rollout.backward(backend, &setup.params, &mut setup.grads, &[], |_, _, _| Ok(()))?;
        backend.synchronize()
    }

    /// The gradient of the initial state that the last [`Through::run`] found.
    pub fn grad(&mut self) -> &B::Buffer {
        self.rollout.grad_mut()
    }
}
