//! The time that a sweep has left.

use std::time::{Duration, Instant};

use super::estimate::Estimate;
use super::settings::{ModelSpec, SweepSettings};

/// The time that is left: the estimate of each model, corrected by how long it took to come as far as this.
pub(super) struct Plan {
    models: Vec<Part>,
    /// Whether that was timed; else all models count alike.
    timed: bool,
    /// Time of one iteration of the next model.
    pub(super) iteration: Option<Duration>,
    started: Instant,
}

/// How far a model is.
struct Part {
    /// Estimated seconds of all of it.
    seconds: f64,
    /// Which part of it was done when this run took it up, and which is now; both between 0 and 1.
    begun: Option<f64>,
    done: f64,
}

impl Plan {
    /// Of the models that are `left`, begun now; without an estimate they count alike.
    pub(super) fn new(settings: &SweepSettings, estimate: Option<&Estimate>, left: &[&ModelSpec]) -> Self {
        let seconds = |spec: &ModelSpec| estimate.map_or(1.0, |estimate| estimate.model(settings, spec).as_secs_f64());
        let part = |spec: &&ModelSpec| Part {
            seconds: seconds(spec),
            begun: None,
            done: 0.0,
        };
        Self {
            models: left.iter().map(part).collect(),
            timed: estimate.is_some(),
            iteration: estimate
                .zip(left.first())
                .map(|(estimate, first)| estimate.iteration(first)),
            started: Instant::now(),
        }
    }

    /// A model has come from `before` to `done`.
    pub(super) fn advance(&mut self, index: usize, before: f64, done: f64) {
        let part = &mut self.models[index];
        part.begun.get_or_insert(before);
        part.done = done;
    }

    /// Time of what is left; `None` if nothing is, or nothing is known.
    pub(super) fn remaining(&self) -> Option<Duration> {
        if self.models.iter().all(|part| part.done >= 1.0) {
            return None;
        }
        let parts = || self.models.iter();
        let done: f64 = parts()
            .map(|part| part.seconds * (part.done - part.begun.unwrap_or(0.0)))
            .sum();
        let left: f64 = parts().map(|part| part.seconds * (1.0 - part.done)).sum();
        let pace = match done > 0.0 {
            true => self.started.elapsed().as_secs_f64() / done,
            false if self.timed => 1.0,
            false => return None,
        };
        Duration::try_from_secs_f64(left.max(0.0) * pace).ok()
    }
}
