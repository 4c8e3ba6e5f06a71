//! All stages of a training, with what they leave on disk.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nca_core::backend::Backend;
use nca_core::checkpoint::write_atomic;
use nca_core::philox::derive_seed;
use nca_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::batch::{Batch, ExampleSource, Kept};
use super::recipe::Recipe;
use super::stage::Stage;
use super::start::Start;
use super::state::TrainState;
use super::trainer::StageTrainer;
use crate::weights::SpyNetWeights;

/// Names of the files in a training's directory.
const STATE_FILE: &str = "state.safetensors";
const LOG_FILE: &str = "log.csv";
/// Metadata of the weights: the recipe that made them, and those that made what it started from.
pub(super) const KEY_RECIPE: &str = "spynet.recipe";
pub(super) const KEY_EARLIER: &str = "spynet.earlier";
/// Batches made ahead of the one in training.
const AHEAD: usize = 2;
/// Which numbers under the recipe's seed are whose.
const TRAINING: u64 = 1;
const HELD_OUT: u64 = 2;

/// How a training is run; nothing here changes its result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainOptions {
    /// Go on from the directory's checkpoint, if there is one.
    pub resume: bool,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Train nothing: the outcome is what the checkpoint holds.
    pub as_it_is: bool,
}

/// Endpoint error on the held-out pairs, in pixels of the size trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOutError {
    /// Of the finest level's flow.
    pub epe: f64,
    /// Of no flow at all: the mean length of the true flow.
    pub zero: f64,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRow {
    /// Stage, counted from 1.
    pub stage: usize,
    /// What it trains.
    pub trained: String,
    /// Iterations done in the stage.
    pub iteration: u64,
    /// Iterations of the stage.
    pub iterations: u64,
    /// Mean loss since the row before.
    pub loss: f64,
    /// Learning rate of the next iteration.
    pub learning_rate: f64,
    /// Endpoint error on the held-out pairs, pixels of the size trained on.
    pub held_out_epe: f64,
    /// What no flow at all would get there.
    pub zero_epe: f64,
    /// Seconds of training so far.
    pub seconds: f64,
}

/// What happens in a training.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A stage begins, or goes on.
    Stage {
        /// Its number, counted from 1.
        number: usize,
        /// Number of stages.
        stages: usize,
        /// The stage.
        stage: &'a Stage,
        /// Iterations done in it.
        done: u64,
    },
    /// An iteration is done.
    Trained {
        /// Iterations done in the stage.
        done: u64,
        /// Its loss.
        loss: f64,
    },
    /// The held-out pairs have been measured.
    Measured(&'a LogRow),
}

/// The result of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The weights.
    pub weights: SpyNetWeights,
    /// The log.
    pub log: Vec<LogRow>,
    /// What a file of the weights says about them: recipe, data, seed, iterations done, licence,
    /// held-out endpoint errors.
    pub metadata: BTreeMap<String, String>,
}

/// Trains a network by `recipe` on pairs from `source`, with log and checkpoint in `directory`, which
/// must exist.
///
/// # Errors
/// For a recipe that cannot be trained; for a directory that holds a checkpoint unless it is to be
/// resumed, or one of another recipe; for losses that are not finite; for files.
pub fn train<B: Backend<Elem = f32>>(
    backend: &B,
    recipe: &Recipe,
    source: &dyn ExampleSource,
    directory: &Path,
    options: &TrainOptions,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome> {
    recipe.validate()?;
    let made_by = format!("{recipe}; data: {}", source.describe());
    let path = directory.join(STATE_FILE);
    let exists = path.try_exists().map_err(|e| Error::io(&path, e))?;
    let mut state = match (exists, options.resume || options.as_it_is) {
        (true, true) => TrainState::load(&path, recipe, &made_by)?,
        (true, false) => {
            return Err(Error::format(
                &path,
                "a checkpoint",
                "none, or --resume to go on from it",
            ));
        }
        (false, _) if options.as_it_is => {
            return Err(Error::format(directory, "no checkpoint", "one whose weights to take"));
        }
        (false, _) => TrainState::new(recipe)?,
    };
    while !options.as_it_is
        && let Some(stage) = recipe.stages.get(state.stage)
    {
        observe(Event::Stage {
            number: state.stage + 1,
            stages: recipe.stages.len(),
            stage,
            done: state.iteration,
        });
        let run = StageRun {
            backend,
            recipe,
            stage,
            source,
            directory,
            made_by: &made_by,
            checkpoint_every: options.checkpoint_every,
        };
        run.run(&mut state, observe)?;
        run.save(&state)?;
    }
    Ok(Outcome {
        metadata: metadata(recipe, source, &state),
        weights: state.weights,
        log: state.log,
    })
}

/// What one stage needs.
struct StageRun<'a, B> {
    backend: &'a B,
    recipe: &'a Recipe,
    stage: &'a Stage,
    source: &'a dyn ExampleSource,
    directory: &'a Path,
    made_by: &'a str,
    checkpoint_every: Duration,
}

impl<B: Backend<Elem = f32>> StageRun<'_, B> {
    /// Trains from where `state` is to the start of the next stage.
    fn run(&self, state: &mut TrainState, observe: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        if state.iteration == 0 && self.stage.from_below {
            let top = self.stage.trained.top();
            let (below, above) = state.weights.levels_mut().split_at_mut(top);
            above.fill(below[top - 1].clone());
        }
        let mut trainer = StageTrainer::new(self.backend, self.stage, &state.weights)?;
        trainer.restore(state.iteration, &state.moments)?;
        let held_out = self.held_out()?;
        let seed = derive_seed(derive_seed(self.recipe.seed, TRAINING), state.stage as u64);
        let first = state.iteration;
        thread::scope(|scope| {
            // Two channels in a ring: batches go out full and come back to be filled again.
            let (full, batches) = mpsc::sync_channel::<Result<Batch>>(AHEAD);
            let (back, empty) = mpsc::channel();
            for _ in 0..=AHEAD {
                // The other end is at hand.
                let _ = back.send(Batch::zeros(self.stage));
            }
            let (stage, source) = (self.stage, self.source);
            scope.spawn(move || {
                let mut kept = Kept::new(source, stage, seed);
                for iteration in first..stage.iterations {
                    // Either channel closes when training ends early.
                    let Ok(mut batch) = empty.recv() else { return };
                    let made = kept.make(iteration, &mut batch);
                    if full.send(made.map(|()| batch)).is_err() {
                        return;
                    }
                }
            });
            self.iterate(state, &mut trainer, &held_out, &batches, &back, observe)
        })?;
        state.weights = trainer.weights()?;
        self.fill_above(state);
        state.stage += 1;
        state.iteration = 0;
        state.losses = (0.0, 0);
        state.moments = TrainState::new(self.recipe)?.moments;
        Ok(())
    }

    fn iterate(
        &self,
        state: &mut TrainState,
        trainer: &mut StageTrainer<'_, B>,
        held_out: &[Batch],
        batches: &mpsc::Receiver<Result<Batch>>,
        back: &mpsc::Sender<Batch>,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<()> {
        let iterations = self.stage.iterations;
        let started = Instant::now();
        let before = state.seconds;
        let mut saved = Instant::now();
        while trainer.iteration() < iterations {
            let batch = batches
                .recv()
                .map_err(|_| Error::invalid("thread that makes flow data", "gone", "at work"))??;
            let loss = trainer.step(&batch)?;
            // Nobody waits for it once the last batch is made.
            let _ = back.send(batch);
            let done = trainer.iteration();
            state.losses = (state.losses.0 + loss, state.losses.1 + 1);
            state.seconds = before + started.elapsed().as_secs_f64();
            observe(Event::Trained { done, loss });
            if self.is_measured(done) {
                let error = measure(trainer, held_out)?;
                let row = LogRow {
                    stage: state.stage + 1,
                    trained: self.stage.trained.to_string(),
                    iteration: done,
                    iterations,
                    loss: state.losses.0 / state.losses.1 as f64,
                    learning_rate: self.stage.learning_rate_at(done),
                    held_out_epe: error.epe,
                    zero_epe: error.zero,
                    seconds: state.seconds,
                };
                observe(Event::Measured(&row));
                state.log.push(row);
                state.losses = (0.0, 0);
            }
            if saved.elapsed() >= self.checkpoint_every && done < iterations {
                state.iteration = done;
                state.weights = trainer.weights()?;
                state.moments = trainer.moments()?;
                self.fill_above(state);
                self.save(state)?;
                saved = Instant::now();
            }
        }
        Ok(())
    }

    /// Whether the held-out pairs are measured after `done` iterations: evenly spread, the last time
    /// at the end.
    fn is_measured(&self, done: u64) -> bool {
        let share = |n: u64| n * self.recipe.measurements / self.stage.iterations;
        share(done) > share(done - 1)
    }

    /// Levels that nothing has trained yet are copies of this stage's top, so that the weights are
    /// good for any size at any time. (Given weights are trained until a stage takes those below for them.)
    fn fill_above(&self, state: &mut TrainState) {
        let so_far = &self.recipe.stages[..=state.stage];
        if matches!(self.recipe.start, Start::Weights { .. }) && !so_far.iter().any(|stage| stage.from_below) {
            return;
        }
        let top = self.stage.trained.top();
        let finest = so_far.iter().map(|stage| stage.trained.top()).max();
        if finest == Some(top) {
            let (trained, above) = state.weights.levels_mut().split_at_mut(top + 1);
            above.fill(trained[top].clone());
        }
    }

    fn held_out(&self) -> Result<Vec<Batch>> {
        const USUAL: usize = 128 * 128;
        const FEWEST: usize = 4;
        let pairs = (self.recipe.held_out * USUAL / (self.stage.height * self.stage.width))
            .clamp(FEWEST.min(self.recipe.held_out), self.recipe.held_out);
        let seed = derive_seed(self.recipe.seed, HELD_OUT);
        (0..pairs.div_ceil(self.stage.batch) as u64)
            .map(|number| {
                let mut batch = Batch::zeros(self.stage);
                batch.fill(self.source, self.stage, seed, number)?;
                Ok(batch)
            })
            .collect()
    }

    fn save(&self, state: &TrainState) -> Result<()> {
        let path = self.directory.join(LOG_FILE);
        let log = csv_of(&state.log)?;
        write_atomic(path, |file| file.write_all(log.as_bytes()))?;
        state.save(&self.directory.join(STATE_FILE), self.made_by)
    }
}

/// Mean endpoint errors of the flow of the finest level.
fn measure<B: Backend<Elem = f32>>(trainer: &mut StageTrainer<'_, B>, held_out: &[Batch]) -> Result<HeldOutError> {
    let (plane, mut pixels) = (trainer.plane(), 0.0);
    let mut error = HeldOutError { epe: 0.0, zero: 0.0 };
    for batch in held_out {
        let flow = trainer.flow(batch)?;
        for (flow, truth) in flow.chunks_exact(2 * plane).zip(batch.flow.chunks_exact(2 * plane)) {
            for p in 0..plane {
                let (u, v) = (f64::from(truth[p]), f64::from(truth[plane + p]));
                error.zero += u.hypot(v);
                error.epe += (f64::from(flow[p]) - u).hypot(f64::from(flow[plane + p]) - v);
            }
            pixels += plane as f64;
        }
    }
    Ok(HeldOutError {
        epe: error.epe / pixels,
        zero: error.zero / pixels,
    })
}

fn metadata(recipe: &Recipe, source: &dyn ExampleSource, state: &TrainState) -> BTreeMap<String, String> {
    let iterations: Vec<String> = recipe
        .stages
        .iter()
        .enumerate()
        .map(|(number, stage)| {
            let done = match number.cmp(&state.stage) {
                std::cmp::Ordering::Less => stage.iterations,
                std::cmp::Ordering::Equal => state.iteration,
                std::cmp::Ordering::Greater => 0,
            };
            format!("{} {done}/{}", stage.trained, stage.iterations)
        })
        .collect();
    let held_out: Vec<String> = (1..=recipe.stages.len())
        .filter_map(|number| state.log.iter().rev().find(|row| row.stage == number))
        .map(|row| {
            format!(
                "{} {:.4} px (zero flow {:.4})",
                row.trained, row.held_out_epe, row.zero_epe
            )
        })
        .collect();
    let earlier = match &recipe.start {
        Start::Weights { earlier, .. } => earlier.clone(),
        Start::Untrained { .. } => None,
    };
    let entries = [
        ("spynet.format", "1".to_owned()),
        ("spynet.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("spynet.license", "MIT OR Apache-2.0".to_owned()),
        ("spynet.seed", recipe.seed.to_string()),
        (KEY_RECIPE, recipe.to_string()),
        ("spynet.data", source.describe()),
        ("spynet.iterations", iterations.join(", ")),
        ("spynet.held_out_epe", held_out.join(", ")),
    ];
    // Where nothing is trained there are no iterations and no errors to tell of.
    entries
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .chain(earlier.map(|recipes| (KEY_EARLIER, recipes)))
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// The log as CSV.
pub(super) fn csv_of(rows: &[LogRow]) -> Result<String> {
    let wrong = |e: String| Error::invalid("log of a flow training", e, "rows of numbers");
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).map_err(|e| wrong(e.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|e| wrong(e.to_string()))?;
    String::from_utf8(bytes).map_err(|e| wrong(e.to_string()))
}

/// The log from CSV.
pub(super) fn rows_of(path: &Path, text: &str) -> Result<Vec<LogRow>> {
    csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .map(|row| row.map_err(|e| Error::format(path, e, "the log of a flow training")))
        .collect()
}
