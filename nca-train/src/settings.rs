//! What a training run is told.

use nca_core::{Error, Preset, Result};
use serde::{Deserialize, Serialize};

use crate::objective::{MotionTerm, Objective};

/// Of a field that older settings lack.
fn is_false(value: &bool) -> bool {
    !value
}

/// How one automaton is trained.
///
/// An iteration draws `batch` states from a pool, runs them for a random number of steps, compares
/// the pictures with the exemplar, and follows the gradient back through all those steps. Where the
/// objective asks for motion, the run goes on over some frames: see [`MotionTerm`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// What is asked for.
    #[serde(default)]
    pub objective: Objective,
    /// Side of the square grid, in cells.
    pub size: usize,
    /// Iterations of a whole training. A [`Trainer`](crate::Trainer) does as many as it is told to; a sweep stops here.
    pub iterations: u64,
    /// Samples of an iteration, B.
    pub batch: usize,
    /// States kept between iterations; drawn without replacement.
    pub pool: usize,
    /// Every so many iterations one sample is replaced by the seed state.
    pub reseed_every: u64,
    /// Whether not one sample is replaced then, but all of them: with [`Self::reseed_every`] 1 every iteration begins anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reseed_all: bool,
    /// Fewest steps of a rollout, those between frames of the motion not counted.
    pub steps_min: u32,
    /// One more than the most steps of a rollout.
    pub steps_max: u32,
    /// Adam's learning rate in the first iteration.
    pub learning_rate: f64,
    /// The learning rate is multiplied by [`Self::decay`] before each of these iterations.
    pub decay_at: Vec<u64>,
    /// See [`Self::decay_at`].
    pub decay: f64,
    /// Adam's decay of the first moment.
    pub beta1: f64,
    /// Adam's decay of the second moment.
    pub beta2: f64,
    /// Adam's denominator summand.
    pub epsilon: f64,
    /// L2 penalty added to the gradient.
    pub weight_decay: f64,
    /// Whether each tensor's gradient is divided by its norm (+ 1e-8) before Adam.
    pub normalize_gradient: bool,
    /// Factor of the overflow loss Σ|x − clamp(x, −1, 1)|.
    pub overflow_weight: f64,
    /// Most bytes of states, activations and frames kept for the backward pass; states and activations that do not fit are
    /// recomputed. However small it is, frames ([`MotionTerm::stored_frames`]) and two states
    /// ([`Rollout::MIN_SLOTS`](nca_core::Rollout::MIN_SLOTS)) are kept; working memory and the pool are not counted.
    pub memory_budget: usize,
}

impl TrainSettings {
    /// Summand in the denominator of gradient normalisation.
    pub const NORMALIZE_EPSILON: f64 = 1e-8;
    /// Most steps of an iteration.
    pub const MAX_STEPS: u32 = 100_000_000;
    /// Smallest grid side.
    pub const MIN_SIZE: usize = 8;
    /// Largest grid side.
    pub const MAX_SIZE: usize = 4096;

    /// The optimiser and pool that go with the conventions of `preset`.
    ///
    /// Automata of the notebook's preset leave the numbers of f32 long before the 3200 steps of its iteration, unless their
    /// states are clamped (`nca.config.clamp = Some(2.0)`), as a sweep does.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let paper = Self {
            objective: Objective::Appearance,
            size: 128,
            iterations: 6000,
            batch: 4,
            pool: 256,
            reseed_every: 8,
            reseed_all: false,
            steps_min: 32,
            steps_max: 128,
            learning_rate: 1e-3,
            decay_at: vec![1000, 2000],
            decay: 0.5,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            normalize_gradient: true,
            overflow_weight: 10.0,
            memory_budget: 1 << 30,
        };
        match preset {
            Preset::Paper | Preset::Distill => paper,
            // −Ψ of 100 frames 32 steps apart, each time from new noise; nothing else is asked for.
            Preset::Notebook => Self {
                objective: Objective::Motion(MotionTerm::notebook()),
                batch: 1,
                pool: 1,
                reseed_every: 1,
                reseed_all: true,
                steps_min: 32,
                steps_max: 33,
                overflow_weight: 0.0,
                weight_decay: 1e-5,
                decay_at: Vec::new(),
                normalize_gradient: false,
                ..paper
            },
        }
    }

    /// The same training in `iterations` iterations: the learning rate falls at the same fractions of it, after the first.
    #[must_use]
    pub fn with_iterations(mut self, iterations: u64) -> Self {
        for at in &mut self.decay_at {
            let scaled = (*at as f64 * iterations as f64 / self.iterations as f64).round() as u64;
            *at = scaled.max(1);
        }
        self.iterations = iterations;
        self
    }

    /// Learning rate of iteration `iteration`, counted from 0.
    #[must_use]
    pub fn learning_rate_at(&self, iteration: u64) -> f64 {
        let decays = self.decay_at.iter().filter(|&&at| iteration >= at).count();
        self.learning_rate * self.decay.powi(decays as i32)
    }

    /// Most steps of an iteration's rollout.
    #[must_use]
    pub fn most_steps(&self) -> u32 {
        let motion = self.objective.motion().map_or(0, MotionTerm::steps);
        self.steps_max.saturating_sub(1).saturating_add(motion)
    }

    /// Most steps that an iteration's gradient goes back through.
    #[must_use]
    pub fn most_gradient_steps(&self) -> u32 {
        let first = self.steps_max.saturating_sub(1);
        let from = self.objective.motion().map_or(0, |term| term.gradient_from(first));
        self.most_steps() - from
    }

    /// Bytes of [`Self::memory_budget`] left for states, frames of `pixels` pixels in all samples
    /// and `size` bytes a value being kept too.
    #[must_use]
    pub(crate) fn state_budget(&self, pixels: usize, size: usize) -> usize {
        let frames = self.objective.motion().map_or(0, MotionTerm::stored_frames);
        self.memory_budget.saturating_sub(frames * 3 * pixels * size)
    }

    /// Refuses what could not be trained, naming the flag.
    pub fn validate(&self) -> Result<()> {
        self.objective.validate()?;
        let within = |flag: &str, found: f64, ok: bool, expected: &str| {
            if ok {
                Ok(())
            } else {
                Err(Error::invalid(flag, found, expected))
            }
        };
        let count = |flag: &str, found: u64, low: u64, high: u64| {
            if (low..=high).contains(&found) {
                Ok(())
            } else {
                Err(Error::invalid(flag, found, format!("{low} to {high}")))
            }
        };
        count("--size", self.size as u64, Self::MIN_SIZE as u64, Self::MAX_SIZE as u64)?;
        count("--iterations", self.iterations, 1, 100_000_000)?;
        count("--batch", self.batch as u64, 1, 1024)?;
        count("--pool", self.pool as u64, self.batch as u64, 65_536)?;
        count("reseed interval", self.reseed_every, 1, u64::MAX)?;
        count("--steps-min", u64::from(self.steps_min), 1, 100_000)?;
        count(
            "--steps-max",
            u64::from(self.steps_max),
            u64::from(self.steps_min) + 1,
            100_001,
        )?;
        if self.most_steps() > Self::MAX_STEPS {
            let expected = format!("at most {} in an iteration, over all its frames", Self::MAX_STEPS);
            return Err(Error::invalid("steps", self.most_steps(), expected));
        }
        let rate = self.learning_rate;
        within(
            "--learning-rate",
            rate,
            rate > 0.0 && rate <= 1.0,
            "a number above 0, at most 1",
        )?;
        within(
            "learning rate decay",
            self.decay,
            self.decay > 0.0 && self.decay <= 1.0,
            "a number above 0, at most 1",
        )?;
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            within(name, beta, (0.0..1.0).contains(&beta), "a number from 0, below 1")?;
        }
        within(
            "Adam's epsilon",
            self.epsilon,
            self.epsilon > 0.0 && self.epsilon.is_finite(),
            "a positive number",
        )?;
        for (name, weight) in [
            ("weight decay", self.weight_decay),
            ("--overflow-weight", self.overflow_weight),
        ] {
            within(
                name,
                weight,
                weight >= 0.0 && weight.is_finite(),
                "a number of at least 0",
            )?;
        }
        Ok(())
    }
}
