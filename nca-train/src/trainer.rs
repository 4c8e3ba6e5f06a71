//! One automaton's training, an iteration at a time.

use nca_core::backend::{AdamStep, Backend, download_params, upload_params, zero_params};
use nca_core::philox::derive_seed;
use nca_core::{Error, Grid, Nca, NcaConfig, Params, Real, Result, Rollout, param_sizes};
use serde::{Deserialize, Serialize};

use crate::loss::AppearanceLoss;
use crate::pool::{Draw, Pool};
use crate::settings::TrainSettings;

/// What one iteration did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Iteration {
    /// Its number, counted from 0.
    pub iteration: u64,
    /// The objective: appearance plus overflow loss.
    pub loss: f64,
    /// Appearance loss.
    pub appearance_loss: f64,
    /// Overflow loss, weighted.
    pub overflow_loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Steps of the rollout.
    pub steps: u32,
}

/// Slots of the scalar buffer that an iteration downloads once.
const APPEARANCE: usize = 0;
const OVERFLOW: usize = 1;
const NORMS: usize = 2;
/// Two losses and the gradient norms of at most four tensors.
const SCALARS: usize = 6;

/// Trains one automaton.
///
/// Every random number is a function of the run seed and the iteration, so a trainer restored from
/// [`Trainer::state`] goes on exactly as if it had never stopped.
pub struct Trainer<'b, B: Backend> {
    backend: &'b B,
    config: NcaConfig,
    settings: TrainSettings,
    seed: u64,
    iteration: u64,
    loss: Box<dyn AppearanceLoss<B> + 'b>,
    params: Params<B::Buffer>,
    grads: Params<B::Buffer>,
    first_moments: Params<B::Buffer>,
    second_moments: Params<B::Buffer>,
    pool: Pool<B>,
    rollout: Rollout<B>,
    /// Start states, then the overflow loss's gradient, `[B,C,H,W]`.
    batch: B::Buffer,
    rgb: B::Buffer,
    g_rgb: B::Buffer,
    scalars: B::Buffer,
    /// Zeros as long as each parameter tensor, where gradients are not normalised.
    zeros: Option<Vec<B::Buffer>>,
}

/// Everything that must survive a stop, on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainState<T> {
    /// Iterations done.
    pub iteration: u64,
    /// Weights.
    pub params: Params<Vec<T>>,
    /// Adam's first moments.
    pub first_moments: Params<Vec<T>>,
    /// Adam's second moments.
    pub second_moments: Params<Vec<T>>,
    /// Pool, `[P,C,H,W]`.
    pub pool: Vec<T>,
}

impl<'b, B: Backend> Trainer<'b, B> {
    /// A trainer at iteration 0 of `nca`; `seed` decides everything random.
    pub fn new(
        backend: &'b B,
        nca: &Nca,
        settings: TrainSettings,
        loss: Box<dyn AppearanceLoss<B> + 'b>,
        seed: u64,
    ) -> Result<Self> {
        settings.validate()?;
        nca.validate()?;
        let config = nca.config.clone();
        let grid = Grid::new(settings.batch, settings.size, settings.size);
        Ok(Self {
            backend,
            params: upload_params(backend, &nca.params)?,
            grads: zero_params(backend, &config)?,
            first_moments: zero_params(backend, &config)?,
            second_moments: zero_params(backend, &config)?,
            pool: Pool::new(backend, &config, grid, settings.pool, seed)?,
            rollout: Rollout::new(backend, &config, grid, settings.steps_max, settings.memory_budget)?,
            batch: backend.zeros(config.channels * grid.cells())?,
            rgb: backend.zeros(3 * grid.cells())?,
            g_rgb: backend.zeros(3 * grid.cells())?,
            scalars: backend.zeros(SCALARS)?,
            zeros: match settings.normalize_gradient {
                true => None,
                false => Some(
                    param_sizes(&config)
                        .iter()
                        .map(|&len| backend.zeros(len))
                        .collect::<Result<_>>()?,
                ),
            },
            config,
            settings,
            seed,
            iteration: 0,
            loss,
        })
    }

    /// Iterations done.
    #[must_use]
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// Runs one iteration.
    ///
    /// A loss or gradient that is not finite ends in [`Error::NonFinite`]; weights and pool are then
    /// those before the iteration.
    pub fn step(&mut self) -> Result<Iteration> {
        let (backend, settings) = (self.backend, &self.settings);
        let grid = self.rollout.grid();
        let iteration = self.iteration;
        let draw = Draw::new(settings, self.seed, iteration);
        let rollout_seed = derive_seed(self.seed, iteration);

        for (slot, &entry) in draw.entries.iter().enumerate() {
            self.pool.take(backend, entry, &mut self.batch, slot)?;
        }
        if iteration.is_multiple_of(settings.reseed_every) {
            self.pool
                .reseed(backend, &self.config, grid, self.seed, iteration, &mut self.batch, 0)?;
        }
        self.rollout.forward(
            backend,
            &self.params,
            &self.batch,
            rollout_seed,
            draw.steps,
            &[],
            |_, _| Ok(()),
        )?;

        backend.fill(0.0, &mut self.scalars)?;
        let (last, g_last) = self.rollout.last_and_grad_mut();
        backend.rgb(&self.config, grid, last, &mut self.rgb)?;
        self.loss.evaluate(
            backend,
            rollout_seed,
            &self.rgb,
            Some(&mut self.g_rgb),
            &mut self.scalars,
            APPEARANCE,
        )?;
        backend.rgb_backward(&self.config, grid, last, &self.g_rgb, g_last)?;
        let weight = settings.overflow_weight;
        backend.overflow(weight, last, &mut self.scalars, OVERFLOW)?;
        backend.overflow_backward(weight, last, &mut self.batch)?;
        backend.axpy(1.0, &self.batch, g_last)?;

        for grad in self.grads.iter_mut() {
            backend.fill(0.0, grad)?;
        }
        self.rollout
            .backward(backend, &self.params, &mut self.grads, &[], |_, _, _| Ok(()))?;
        let epsilon = TrainSettings::NORMALIZE_EPSILON;
        for (i, grad) in self.grads.iter_mut().enumerate() {
            let slot = NORMS + i;
            match &self.zeros {
                None => backend.normalize(epsilon, grad, &mut self.scalars, slot)?,
                // The squared norm, for the look at whether it is finite.
                Some(zeros) => backend.l2(1.0, grad, &zeros[i], &mut self.scalars, slot)?,
            }
        }
        let scalars = self.finite_scalars()?;

        let adam = AdamStep {
            learning_rate: settings.learning_rate_at(iteration),
            beta1: settings.beta1,
            beta2: settings.beta2,
            epsilon: settings.epsilon,
            weight_decay: settings.weight_decay,
            step: iteration + 1,
        };
        let moments = self.first_moments.iter_mut().zip(self.second_moments.iter_mut());
        for ((param, grad), (m, v)) in self.params.iter_mut().zip(self.grads.iter()).zip(moments) {
            backend.adam(&adam, grad, param, m, v)?;
        }
        for (slot, &entry) in draw.entries.iter().enumerate() {
            self.pool.put(backend, self.rollout.last(), slot, entry)?;
        }
        self.iteration += 1;
        Ok(Iteration {
            iteration,
            loss: scalars[APPEARANCE] + scalars[OVERFLOW],
            appearance_loss: scalars[APPEARANCE],
            overflow_loss: scalars[OVERFLOW],
            learning_rate: adam.learning_rate,
            steps: draw.steps,
        })
    }

    /// Losses and gradient norms of the iteration, the only values it downloads.
    fn finite_scalars(&self) -> Result<[f64; SCALARS]> {
        let mut host = [B::Elem::default(); SCALARS];
        self.backend.download(&self.scalars, &mut host)?;
        let scalars = host.map(Real::to_f64);
        for (i, value) in scalars.iter().enumerate() {
            if !value.is_finite() {
                return Err(Error::NonFinite {
                    what: if i < NORMS { "the loss" } else { "the gradient" },
                    step: self.iteration,
                });
            }
        }
        Ok(scalars)
    }

    /// The automaton as trained so far.
    pub fn nca(&self) -> Result<Nca> {
        Ok(Nca {
            config: self.config.clone(),
            params: download_params(self.backend, &self.params)?,
        })
    }

    /// Everything that must survive a stop.
    pub fn state(&self) -> Result<TrainState<B::Elem>> {
        let download = |params: &Params<B::Buffer>| params.try_map(|buffer| self.backend.to_vec(buffer));
        Ok(TrainState {
            iteration: self.iteration,
            params: download(&self.params)?,
            first_moments: download(&self.first_moments)?,
            second_moments: download(&self.second_moments)?,
            pool: self.pool.download(self.backend)?,
        })
    }

    /// Goes on from a state of the same configuration and settings.
    pub fn restore(&mut self, state: &TrainState<B::Elem>) -> Result<()> {
        for (host, device) in [
            (&state.params, &mut self.params),
            (&state.first_moments, &mut self.first_moments),
            (&state.second_moments, &mut self.second_moments),
        ] {
            for (src, dst) in host.iter().zip(device.iter_mut()) {
                self.backend.upload(src, dst)?;
            }
        }
        self.pool.upload(self.backend, &state.pool)?;
        self.iteration = state.iteration;
        Ok(())
    }
}
