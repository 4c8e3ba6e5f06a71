//! How long a sweep will take, from a few timed iterations.
//!
//! An iteration with many frames of motion is not run for it: one with two frames is timed and one with
//! six, which tells what a further frame costs, and the steps that checkpointing recomputes are counted.

use std::time::{Duration, Instant};

use nca_core::backend::Backend;
use nca_core::{Error, Grid, Nca, Result, Rollout, Simulation};
use spynet::{FlowEstimator, SpyNetWeights};

use super::model::trainer;
use super::settings::{ModelSpec, SweepSettings};
use crate::objective::{MotionTerm, Objective};
use crate::settings::TrainSettings;
use crate::texture::Texture;

/// Seconds that the parts of a model's life take.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// One training iteration.
    iteration: f64,
    /// One step of one grid.
    step: f64,
}

impl Cost {
    /// `self·(1 − t) + other·t`.
    fn mix(self, other: Self, t: f64) -> Self {
        Self {
            iteration: self.iteration + (other.iteration - self.iteration) * t,
            step: self.step + (other.step - self.step) * t,
        }
    }
}

/// Predicts the time of models from those at the corners of the (C, D) grid.
///
/// The work of a model is `a + b·C + c·D + d·C·D`; interpolating bilinearly between the four corners
/// is exact for such a function.
pub(super) struct Estimate {
    channels: [usize; 2],
    hidden: [usize; 2],
    /// `[channel corner][hidden corner]`.
    corners: [[Cost; 2]; 2],
    /// Flow of one pair.
    flow: f64,
}

impl Estimate {
    /// Times a few iterations of the smallest and largest models.
    pub(super) fn measure<B: Backend<Elem = f32>>(
        backend: &B,
        settings: &SweepSettings,
        texture: &Texture,
        flow: &dyn FlowEstimator,
        network: Option<&SpyNetWeights>,
    ) -> Result<Self> {
        let extremes = |values: &[usize]| {
            let low = values.iter().copied().min().unwrap_or(0);
            [low, values.iter().copied().max().unwrap_or(low)]
        };
        let (channels, hidden) = (extremes(&settings.channels), extremes(&settings.hidden));
        let mut corners = [[None; 2]; 2];
        for (i, &c) in channels.iter().enumerate() {
            for (j, &d) in hidden.iter().enumerate() {
                corners[i][j] = match (i, j) {
                    (1, _) if channels[0] == channels[1] => corners[0][j],
                    (_, 1) if hidden[0] == hidden[1] => corners[i][0],
                    _ => Some(time_model(backend, settings, texture, network, c, d)?),
                };
            }
        }
        let start = Instant::now();
        let grid = Grid::square(texture.height);
        flow.flow(grid, &texture.rgb, &texture.rgb)?;
        let nothing = Cost {
            iteration: 0.0,
            step: 0.0,
        };
        Ok(Self {
            channels,
            hidden,
            corners: corners.map(|row| row.map(|cost| cost.unwrap_or(nothing))),
            flow: start.elapsed().as_secs_f64(),
        })
    }

    /// Time of one training iteration of a model.
    pub(super) fn iteration(&self, spec: &ModelSpec) -> Duration {
        duration(self.cost(spec).iteration)
    }

    fn cost(&self, spec: &ModelSpec) -> Cost {
        let position = |[low, high]: [usize; 2], at: usize| {
            if low == high {
                0.0
            } else {
                (at as f64 - low as f64) / (high - low) as f64
            }
        };
        let (s, t) = (
            position(self.channels, spec.channels),
            position(self.hidden, spec.hidden),
        );
        let [few, many] = self.corners.map(|[low, high]| low.mix(high, t));
        few.mix(many, s)
    }

    /// Time of one model from its start.
    pub(super) fn model(&self, settings: &SweepSettings, spec: &ModelSpec) -> Duration {
        let cost = self.cost(spec);
        let iterations = settings.train.iterations as f64;
        let measure = &settings.measure;
        let measurement = |pairs: usize| {
            let steps = f64::from(measure.warmup) + pairs as f64 * f64::from(measure.steps_per_frame);
            steps * cost.step + pairs as f64 * self.flow
        };
        let during = match measure.every {
            0 => 0.0,
            every => (iterations / every as f64).floor() * measurement(measure.training_pairs),
        };
        let seconds = iterations * cost.iteration + during + measurement(measure.pairs);
        duration(seconds)
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// Times iterations of mean length, and some steps, of an untrained model.
fn time_model<B: Backend<Elem = f32>>(
    backend: &B,
    settings: &SweepSettings,
    texture: &Texture,
    network: Option<&SpyNetWeights>,
    channels: usize,
    hidden: usize,
) -> Result<Cost> {
    const STEPS: u32 = 16;
    /// Frames of the longer of two timed iterations that the shorter one has not.
    const FURTHER: usize = 4;
    let train = &settings.train;
    let mean_steps = u32::midpoint(train.steps_min, train.steps_max - 1);
    let brief = TrainSettings {
        pool: train.batch,
        steps_min: mean_steps,
        steps_max: mean_steps + 1,
        ..train.clone()
    };
    let nca = settings.initial(channels, hidden, 0)?;
    let mut simulation = Simulation::new(backend, &nca, Grid::square(train.size), 0)?;
    simulation.run(1)?;
    let start = Instant::now();
    simulation.run(STEPS)?;
    backend.synchronize()?;
    let step = start.elapsed().as_secs_f64() / f64::from(STEPS);

    let time = |objective: Objective| {
        let brief = TrainSettings {
            objective,
            ..brief.clone()
        };
        time_iteration(backend, settings, &nca, brief, texture, network)
    };
    let Some(term) = train.objective.motion() else {
        return Ok(Cost {
            iteration: time(Objective::Appearance)?,
            step,
        });
    };
    let with = |frames: usize, window: Option<usize>| {
        time(Objective::new(
            train.objective.name(),
            MotionTerm {
                frames,
                window,
                ..term.clone()
            },
        )?)
    };
    // Pairs within the window and before it.
    let inside = term.window.unwrap_or(term.pair_count());
    let before = term.pair_count() - inside;
    let narrow = term.window.map(|_| 1);
    let mut iteration = with(2, narrow)?;
    let shortest = iteration;
    // Seconds of `pairs` further ones. No more of them are run than there are: a gradient through more
    // steps than the training's could leave the finite numbers.
    let further = |pairs: usize, within: bool| -> Result<f64> {
        let timed = pairs.min(FURTHER);
        let window = if within { term.window.map(|_| 1 + timed) } else { narrow };
        Ok((with(2 + timed, window)? - shortest).max(0.0) * pairs as f64 / timed as f64)
    };
    if inside > 1 {
        iteration += further(inside - 1, true)?;
    }
    if before > 0 {
        iteration += further(before, false)?;
    }
    // At most: what the short iterations themselves recomputed is counted twice.
    let grid = Grid::new(train.batch, train.size, train.size);
    let (steps, budget) = (
        brief.most_gradient_steps(),
        train.state_budget(grid.cells(), size_of::<f32>()),
    );
    let rollout = Rollout::new(backend, &nca.config, grid, steps, budget)?;
    iteration += rollout.recomputed(steps) as f64 * train.batch as f64 * step;
    Ok(Cost { iteration, step })
}

/// Seconds of an iteration, the quickest of some: what else the machine does shall not count, as
/// differences of such times are taken.
fn time_iteration<B: Backend<Elem = f32>>(
    backend: &B,
    settings: &SweepSettings,
    nca: &Nca,
    train: TrainSettings,
    texture: &Texture,
    network: Option<&SpyNetWeights>,
) -> Result<f64> {
    const ITERATIONS: u32 = 3;
    let mut trainer = trainer(backend, settings, nca, train, texture, network, 0)?;
    // An iteration that ends in numbers that are not finite took its time all the same; to record a
    // model as diverged is left to its training.
    let mut step = || match trainer.step() {
        Ok(_) | Err(Error::NonFinite { .. }) => Ok(()),
        Err(error) => Err(error),
    };
    // The first iteration allocates.
    step()?;
    let mut quickest = f64::INFINITY;
    for _ in 0..ITERATIONS {
        let start = Instant::now();
        step()?;
        quickest = quickest.min(start.elapsed().as_secs_f64());
    }
    Ok(quickest)
}
