//! How long a sweep will take, from a few timed iterations.

use std::time::{Duration, Instant};

use nca_core::backend::Backend;
use nca_core::{Grid, Nca, Result, Simulation};
use spynet::FlowEstimator;

use super::settings::{ModelSpec, SweepSettings};
use crate::loss::appearance;
use crate::settings::TrainSettings;
use crate::texture::Texture;
use crate::trainer::Trainer;

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
                    _ => Some(time_model(backend, settings, texture, c, d)?),
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

    /// Time of one model from its start.
    pub(super) fn model(&self, settings: &SweepSettings, spec: &ModelSpec) -> Duration {
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
        let cost = few.mix(many, s);
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
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
    }
}

/// Times two iterations of mean length, and some steps, of an untrained model.
fn time_model<B: Backend<Elem = f32>>(
    backend: &B,
    settings: &SweepSettings,
    texture: &Texture,
    channels: usize,
    hidden: usize,
) -> Result<Cost> {
    const ITERATIONS: u32 = 2;
    const STEPS: u32 = 16;
    let train = &settings.train;
    let mean_steps = u32::midpoint(train.steps_min, train.steps_max);
    let brief = TrainSettings {
        pool: train.batch,
        steps_min: mean_steps,
        steps_max: mean_steps + 1,
        ..train.clone()
    };
    let nca = Nca::new(settings.config(channels, hidden)?, 0)?;
    let loss = appearance(
        &settings.appearance,
        settings.vgg.as_deref(),
        backend,
        texture,
        train.batch,
    )?;
    let mut trainer = Trainer::new(backend, &nca, brief, loss, 0)?;
    // The first iteration allocates.
    trainer.step()?;
    let start = Instant::now();
    for _ in 0..ITERATIONS {
        trainer.step()?;
    }
    let iteration = start.elapsed().as_secs_f64() / f64::from(ITERATIONS);
    let mut simulation = Simulation::new(backend, &nca, Grid::square(train.size), 0)?;
    simulation.run(1)?;
    let start = Instant::now();
    simulation.run(STEPS)?;
    backend.synchronize()?;
    let step = start.elapsed().as_secs_f64() / f64::from(STEPS);
    Ok(Cost { iteration, step })
}
