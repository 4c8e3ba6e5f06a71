//! One automaton's training, an iteration at a time.

use nca_core::backend::{AdamStep, Backend, download_params, upload_params, zero_params};
use nca_core::philox::derive_seed;
use nca_core::{Error, Grid, Nca, NcaConfig, Params, Real, Result, Rollout, check_len, param_sizes};
use serde::{Deserialize, Serialize};
use spynet::SpyNetWeights;

use crate::loss::{AppearanceLoss, MotionLoss};
use crate::objective::MotionTerm;
use crate::pool::{Draw, Pool};
use crate::settings::TrainSettings;
use crate::train_state::TrainState;

/// What one iteration did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Iteration {
    /// Its number, counted from 0.
    pub iteration: u64,
    /// The sum of the losses below.
    pub loss: f64,
    /// Appearance loss, if the objective asks for a look.
    pub appearance_loss: Option<f64>,
    /// Motion loss, weighted, if the objective asks for motion.
    pub motion_loss: Option<f64>,
    /// Ψ of the iteration's frames, pixels per frame, from which the motion loss follows.
    ///
    /// The frames are those of the objective's [`MotionTerm`]: not clipped, early in a state's life
    /// now and then, and perhaps paired otherwise than when Ψ is measured.
    pub psi: Option<f64>,
    /// Overflow loss, weighted.
    pub overflow_loss: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// Steps of the rollout, those between frames included.
    pub steps: u32,
}

/// Slots of the scalar buffer that an iteration downloads once.
const APPEARANCE: usize = 0;
const OVERFLOW: usize = 1;
const PSI: usize = 2;
const NORMS: usize = 3;
/// Two losses, Ψ, and the gradient norms of at most four tensors.
const SCALARS: usize = 7;

/// Trains one automaton.
///
/// Every random number is a function of the run seed and the iteration, so a trainer restored from
/// [`Trainer::state`] goes on exactly as if it had never stopped.
#[derive(Debug)]
pub struct Trainer<'b, B: Backend> {
    backend: &'b B,
    config: NcaConfig,
    settings: TrainSettings,
    seed: u64,
    iteration: u64,
    appearance: Option<Box<dyn AppearanceLoss<B> + 'b>>,
    motion: Option<(MotionTerm, MotionLoss<B>)>,
    params: Params<B::Buffer>,
    grads: Params<B::Buffer>,
    first_moments: Params<B::Buffer>,
    second_moments: Params<B::Buffer>,
    pool: Pool<B>,
    rollout: Rollout<B>,
    /// Start states, then gradients on their way to the rollout's, `[B,C,H,W]`.
    batch: B::Buffer,
    rgb: B::Buffer,
    g_rgb: B::Buffer,
    scalars: B::Buffer,
    /// Zeros as long as each parameter tensor, where gradients are not normalised.
    zeros: Option<Vec<B::Buffer>>,
}

impl<'b, B: Backend> Trainer<'b, B> {
    /// A trainer at iteration 0 of `nca`, for the appearance alone; `seed` decides everything random.
    pub fn new(
        backend: &'b B,
        nca: &Nca,
        settings: TrainSettings,
        loss: Box<dyn AppearanceLoss<B> + 'b>,
        seed: u64,
    ) -> Result<Self> {
        Self::with_objective(backend, nca, settings, Some(loss), None, seed)
    }

    /// A trainer for any objective of `settings`: `appearance` compares pictures with the exemplar,
    /// the network of `flow` sees motion.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless exactly those are given that the objective has terms for.
    pub fn with_objective(
        backend: &'b B,
        nca: &Nca,
        settings: TrainSettings,
        appearance: Option<Box<dyn AppearanceLoss<B> + 'b>>,
        flow: Option<&SpyNetWeights>,
        seed: u64,
    ) -> Result<Self> {
        settings.validate()?;
        let term = settings.objective.motion();
        if appearance.is_some() != settings.objective.has_appearance() || flow.is_some() != term.is_some() {
            let given = |is: bool| if is { "given" } else { "not given" };
            return Err(Error::invalid(
                "losses of the trainer",
                format!(
                    "appearance {}, flow network {}",
                    given(appearance.is_some()),
                    given(flow.is_some())
                ),
                format!("what the objective '{}' asks for", settings.objective.name()),
            ));
        }
        nca.validate()?;
        let config = nca.config.clone();
        let grid = Grid::new(settings.batch, settings.size, settings.size);
        if let Some(found) = appearance
            .as_ref()
            .map(|loss| loss.grid())
            .filter(|&found| found != grid)
        {
            let pictures = |grid: Grid| format!("{} pictures of {}x{}", grid.batch, grid.height, grid.width);
            return Err(Error::invalid(
                "appearance loss",
                format!("for {}", pictures(found)),
                format!("{} as the settings say", pictures(grid)),
            ));
        }
        let motion = match (term, flow) {
            (Some(term), Some(weights)) => Some((term.clone(), MotionLoss::new(backend, term, weights, grid)?)),
            _ => None,
        };
        let states = settings.state_budget(grid.cells(), size_of::<B::Elem>());
        Ok(Self {
            backend,
            appearance,
            motion,
            params: upload_params(backend, &nca.params)?,
            grads: zero_params(backend, &config)?,
            first_moments: zero_params(backend, &config)?,
            second_moments: zero_params(backend, &config)?,
            pool: Pool::new(backend, &config, grid, settings.pool, seed)?,
            rollout: Rollout::new(backend, &config, grid, settings.most_gradient_steps(), states)?,
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
        })
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> &TrainSettings {
        &self.settings
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
        let overflow_weight = settings.overflow_weight;
        let adam = AdamStep {
            learning_rate: settings.learning_rate_at(iteration),
            beta1: settings.beta1,
            beta2: settings.beta2,
            epsilon: settings.epsilon,
            weight_decay: settings.weight_decay,
            step: iteration + 1,
        };

        for (slot, &entry) in draw.entries.iter().enumerate() {
            self.pool.take(backend, entry, &mut self.batch, slot)?;
        }
        if iteration.is_multiple_of(settings.reseed_every) {
            let slots = if settings.reseed_all { draw.entries.len() } else { 1 };
            for slot in 0..slots {
                // No two seed states of a training are alike.
                let index = iteration * slots as u64 + slot as u64;
                self.pool
                    .reseed(backend, &self.config, grid, self.seed, index, &mut self.batch, slot)?;
            }
        }
        backend.fill(0.0, &mut self.scalars)?;
        let steps = self.forward(rollout_seed, draw.steps)?;
        let slope = self.motion_slope()?;

        let (last, g_last) = self.rollout.last_and_grad_mut();
        match &mut self.appearance {
            Some(appearance) => {
                backend.rgb(&self.config, grid, last, &mut self.rgb)?;
                let (g_rgb, scalars) = (Some(&mut self.g_rgb), &mut self.scalars);
                appearance.evaluate(backend, rollout_seed, &self.rgb, g_rgb, scalars, APPEARANCE)?;
            }
            None => backend.fill(0.0, &mut self.g_rgb)?,
        }
        if let Some((term, motion)) = &self.motion {
            backend.axpy(slope, motion.gradient(term.pair_count())?, &mut self.g_rgb)?;
        }
        backend.rgb_backward(&self.config, grid, last, &self.g_rgb, g_last)?;
        backend.overflow(overflow_weight, last, &mut self.scalars, OVERFLOW)?;
        backend.overflow_backward(overflow_weight, last, &mut self.batch)?;
        backend.axpy(1.0, &self.batch, g_last)?;

        for grad in self.grads.iter_mut() {
            backend.fill(0.0, grad)?;
        }
        self.backward(draw.steps, slope)?;
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

        let moments = self.first_moments.iter_mut().zip(self.second_moments.iter_mut());
        for ((param, grad), (m, v)) in self.params.iter_mut().zip(self.grads.iter()).zip(moments) {
            backend.adam(&adam, grad, param, m, v)?;
        }
        for (slot, &entry) in draw.entries.iter().enumerate() {
            self.pool.put(backend, self.rollout.last(), slot, entry)?;
        }
        self.iteration += 1;
        let psi = self.motion.is_some().then_some(scalars[PSI]);
        let appearance_loss = self.appearance.is_some().then_some(scalars[APPEARANCE]);
        let motion_loss = self.motion.as_ref().map(|(term, _)| term.loss(scalars[PSI]));
        Ok(Iteration {
            iteration,
            loss: appearance_loss.unwrap_or(0.0) + motion_loss.unwrap_or(0.0) + scalars[OVERFLOW],
            appearance_loss,
            motion_loss,
            psi,
            overflow_loss: scalars[OVERFLOW],
            learning_rate: adam.learning_rate,
            steps,
        })
    }

    /// Runs the start states in `batch` for `first` steps and on over the frames, if there are any.
    /// Ψ ends in its slot. The number of all steps is returned.
    fn forward(&mut self, seed: u64, first: u32) -> Result<u32> {
        let (backend, config) = (self.backend, &self.config);
        let Some((term, motion)) = &mut self.motion else {
            let nothing = |_: u32, _: &B::Buffer| Ok(());
            self.rollout
                .forward(backend, &self.params, &self.batch, seed, first, &[], nothing)?;
            return Ok(first);
        };
        motion.begin();
        let frames: Vec<u32> = (0..term.frames).map(|index| term.step_of(first, index)).collect();
        let (from, steps, scalars) = (term.gradient_from(first), first + term.steps(), &mut self.scalars);
        self.rollout.forward_from(
            backend,
            &self.params,
            &self.batch,
            seed,
            from,
            steps,
            &frames,
            |_, state| motion.push(backend, config, state, scalars, PSI),
        )?;
        Ok(steps)
    }

    /// The derivative of the motion loss with respect to Ψ; 0 where there is none.
    fn motion_slope(&self) -> Result<f64> {
        let Some((term, _)) = &self.motion else {
            return Ok(0.0);
        };
        // Only with a target it depends on Ψ, and only then the device is waited for.
        let psi = match term.target {
            None => 0.0,
            Some(_) => self.scalars()?[PSI],
        };
        Ok(term.slope(psi))
    }

    /// Backward through the rollout; the gradients of all frames but the last, whose gradient is part
    /// of the last state's, enter on the way.
    fn backward(&mut self, first: u32, slope: f64) -> Result<()> {
        let (backend, config, grid) = (self.backend, &self.config, self.rollout.grid());
        let Some((term, motion)) = &self.motion else {
            let nothing = |_: u32, _: &B::Buffer, _: &mut B::Buffer| Ok(());
            return self
                .rollout
                .backward(backend, &self.params, &mut self.grads, &[], nothing);
        };
        let inner = term.first_in_window()..term.pair_count();
        let frames: Vec<u32> = inner.map(|index| term.step_of(first, index)).collect();
        let g_state = &mut self.batch;
        self.rollout
            .backward(backend, &self.params, &mut self.grads, &frames, |step, state, grad| {
                let index = (step - first) / term.steps_per_frame;
                backend.rgb_backward(config, grid, state, motion.gradient(index as usize)?, g_state)?;
                backend.axpy(slope, g_state, grad)
            })
    }

    /// Losses, Ψ and gradient norms of the iteration, the only values it downloads.
    fn scalars(&self) -> Result<[f64; SCALARS]> {
        let mut host = [B::Elem::default(); SCALARS];
        self.backend.download(&self.scalars, &mut host)?;
        Ok(host.map(Real::to_f64))
    }

    /// As [`Self::scalars`], which must be finite.
    fn finite_scalars(&self) -> Result<[f64; SCALARS]> {
        let scalars = self.scalars()?;
        for (i, value) in scalars.iter().enumerate() {
            if !value.is_finite() {
                return Err(Error::NonFinite {
                    what: if i < NORMS { "the loss" } else { "the gradient" },
                    unit: "iteration",
                    at: self.iteration,
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
    ///
    /// # Errors
    /// [`Error::Length`] if it is of another configuration, and [`Error::NonFinite`] if not all of it is finite; the trainer
    /// is then as it was.
    pub fn restore(&mut self, state: &TrainState<B::Elem>) -> Result<()> {
        let params = [&state.params, &state.first_moments, &state.second_moments];
        for (what, host) in ["weights", "first moments", "second moments"].into_iter().zip(params) {
            let sizes = param_sizes(&self.config);
            check_len("restore", what, host.iter().count(), sizes.iter().count())?;
            for (values, &len) in host.iter().zip(sizes.iter()) {
                check_len("restore", what, values.len(), len)?;
            }
        }
        let values = params.into_iter().flat_map(Params::iter).chain([&state.pool]);
        if values.flatten().any(|v| !Real::to_f64(*v).is_finite()) {
            return Err(Error::NonFinite {
                what: "the state of a training",
                unit: "iteration",
                at: state.iteration,
            });
        }
        self.pool.upload(self.backend, &state.pool)?;
        for (host, device) in [
            (&state.params, &mut self.params),
            (&state.first_moments, &mut self.first_moments),
            (&state.second_moments, &mut self.second_moments),
        ] {
            for (src, dst) in host.iter().zip(device.iter_mut()) {
                self.backend.upload(src, dst)?;
            }
        }
        self.iteration = state.iteration;
        Ok(())
    }
}
