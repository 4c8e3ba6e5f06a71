//! One model's directory: from its configuration to its row of the table.

use std::fs;
use std::io::Write;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nca_core::backend::Backend;
use nca_core::checkpoint::{PerceptionOrder, write_atomic};
use nca_core::{Error, Grid, Nca, Preset, Result};
use serde::Serialize;
use spynet::{FlowEstimator, FlowField, SpyNetWeights, write_flo};

use super::inputs::Inputs;
use super::runner::Event;
use super::settings::{ModelSpec, SWEEP_FORMAT, SweepSettings};
use super::state::Checkpoint;
use crate::distance::DistanceFrames;
use crate::loss::appearance;
use crate::motion::{Motion, MotionSettings, measure_motion};
use crate::picture::write_png;
use crate::provenance;
use crate::report::layout::ModelDir;
use crate::report::{MetricRow, ModelRecord, ResultFile, Status};
use crate::settings::TrainSettings;
use crate::texture::{Texture, rgb_image};
use crate::trainer::{Iteration, Trainer};

/// The checkpoint of an unfinished model, in its directory.
pub(super) const STATE_FILE: &str = "state.safetensors";

/// Iterations between two rows of the metrics.
const LOG_EVERY: u64 = 10;

/// Everything one model's run needs.
pub(super) struct ModelRun<'a, B: Backend<Elem = f32>> {
    pub(super) backend: &'a B,
    pub(super) settings: &'a SweepSettings,
    pub(super) spec: &'a ModelSpec,
    pub(super) texture: &'a Texture,
    /// The files that the sweep began with.
    pub(super) inputs: &'a Inputs,
    pub(super) flow: &'a dyn FlowEstimator,
    /// The network that training follows, if the objective asks for motion.
    pub(super) network: Option<&'a SpyNetWeights>,
    pub(super) directory: ModelDir,
    /// Time between checkpoints.
    pub(super) checkpoint_every: Duration,
    /// Set when the sweep is to end.
    pub(super) stop: &'a AtomicBool,
}

/// `config.json`.
#[derive(Serialize)]
struct ConfigFile<'a> {
    format: u32,
    texture: &'a str,
    seed: u64,
    model: &'a nca_core::NcaConfig,
    appearance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_perception: Option<Preset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_perception_order: Option<PerceptionOrder>,
    #[serde(flatten)]
    inputs: &'a Inputs,
    /// The estimator, which for a file of weights has its hash: the network decides what motion
    /// training follows.
    flow: &'a str,
    train: &'a TrainSettings,
    measure: &'a super::settings::MeasureSettings,
}

/// The text of the `config.json` at `path`: of a model `nca` that is trained on `texture` and measured by `flow`.
pub(super) fn config_text(
    path: &Path,
    settings: &SweepSettings,
    inputs: &Inputs,
    nca: &nca_core::NcaConfig,
    (texture, seed): (&str, u64),
    flow: &str,
) -> Result<String> {
    let config = ConfigFile {
        format: SWEEP_FORMAT,
        texture,
        seed,
        model: nca,
        appearance: settings.appearance_name(),
        init: settings.init.as_deref(),
        init_perception: settings.init_perception,
        init_perception_order: settings.init_perception_order,
        inputs,
        flow,
        train: &settings.train,
        measure: &settings.measure,
    };
    json(path, &config)
}

impl<B: Backend<Elem = f32>> ModelRun<'_, B> {
    /// Trains (or goes on training), measures and records the model. A model whose numbers leave
    /// the finite ones is recorded as diverged. `None` where the sweep ended before: then there is a checkpoint.
    pub(super) fn run(&self, observe: &mut dyn FnMut(Event<'_>)) -> Result<Option<ModelRecord>> {
        let directory = self.directory.path();
        fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
        // That of an attempt that failed: while this one runs, nothing is known of its end.
        remove(&self.directory.result())?;
        let spec = self.spec;
        // They are read again for every model.
        Inputs::of(self.settings, false)?.refuse_other(self.settings, self.inputs, "this sweep began")?;
        let nca = self.settings.initial(spec.channels, spec.hidden, spec.seed)?;
        // The very text that a checkpoint must have been made under.
        let config = config_text(
            &self.directory.config(),
            self.settings,
            self.inputs,
            &nca.config,
            (&self.texture.name, spec.seed),
            self.flow.name(),
        )?;

        let train = self.settings.train.clone();
        let mut trainer = trainer(
            self.backend,
            self.settings,
            &nca,
            train,
            self.texture,
            self.network,
            spec.seed,
        )?;
        let mut log = Log::default();
        self.restore(&mut trainer, &mut log, &nca, &config)?;
        write_text(&self.directory.config(), &config)?;
        // What was logged after the checkpoint, or before there is one, will be logged again.
        self.write_metrics(&log.rows)?;
        observe(Event::Started {
            label: &self.label(),
            iterations: self.settings.train.iterations,
        });
        let mut record = self.blank_record();
        let measured = match self.train(&mut trainer, &mut log, &config, observe) {
            Ok(true) => self.measure(&trainer.nca()?, observe),
            Ok(false) => return Ok(None),
            Err(error) => Err(error),
        };
        if let (Ok(measured), Some(last)) = (&measured, log.rows.last_mut()) {
            last.psi = Some(measured.motion.psi);
            last.psi_se = Some(measured.motion.psi_se);
        }
        self.write_metrics(&log.rows)?;
        record.iterations = trainer.iteration();
        record.seconds = Some(log.seconds);
        let mut reason = None;
        let psi_series = match measured {
            Ok(measured) => {
                let motion = measured.motion;
                record.status = Status::Ok;
                record.psi = Some(motion.psi);
                record.psi_se = Some(motion.psi_se);
                record.psi_floor_static = Some(motion.psi_floor_static);
                record.psi_floor_flicker = Some(motion.psi_floor_flicker);
                record.texture_distance = Some(measured.texture_distance);
                if let Some(recent) = recent_mean(&log.rows) {
                    record.appearance_loss = Some(recent.0);
                    record.loss = Some(recent.1);
                }
                motion.psi_series
            }
            Err(error @ Error::NonFinite { .. }) => {
                let words = error.to_string();
                tracing::warn!("{}: {words}", self.label());
                record.status = Status::Diverged;
                reason = Some(words);
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        trainer
            .nca()?
            .save_with_extra(self.directory.model(), &provenance::metadata(&self.settings.train))?;
        let record = self.finish(record, reason, psi_series)?;
        remove(&self.directory.path().join(STATE_FILE))?;
        Ok(Some(record))
    }

    /// Records a model that could not be run; a resumed sweep tries it again, from its checkpoint if there is one.
    pub(super) fn fail(&self, reason: &Error) -> Result<ModelRecord> {
        tracing::error!("{}: {reason}", self.label());
        let directory = self.directory.path();
        fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
        let record = ModelRecord {
            status: Status::Failed,
            ..self.blank_record()
        };
        // Results move, and are shown to others.
        let folder = format!("{}{MAIN_SEPARATOR}", directory.display());
        let words = reason.to_string().replace(&folder, "");
        self.finish(record, Some(words), Vec::new())
    }

    /// Writes `result.json`, the sign that the model is done.
    fn finish(&self, record: ModelRecord, reason: Option<String>, psi_series: Vec<f64>) -> Result<ModelRecord> {
        let result = ResultFile {
            reason,
            objective: self.settings.train.objective.name().to_owned(),
            ..ResultFile::new(record.clone(), self.settings.appearance_name(), psi_series)
        };
        let path = self.directory.result();
        write_text(&path, &json(&path, &result)?)?;
        Ok(record)
    }

    /// Takes up the checkpoint, if there is one.
    fn restore(&self, trainer: &mut Trainer<'_, B>, log: &mut Log, nca: &Nca, config: &str) -> Result<()> {
        let path = self.directory.path().join(STATE_FILE);
        if !path.exists() {
            return Ok(());
        }
        let checkpoint = match Checkpoint::load(&path, &nca.config, &self.settings.train, config) {
            Err(error @ Error::Format { .. }) => {
                // Nothing can be read from it. Tried again, the model begins anew.
                let aside = self.damaged_file();
                tracing::warn!("{}: its checkpoint is kept as {}", self.label(), aside.display());
                fs::rename(&path, &aside).map_err(|e| Error::io(&path, e))?;
                return Err(error);
            }
            checkpoint => checkpoint?,
        };
        trainer.restore(&checkpoint.state)?;
        log.rows = checkpoint.metrics;
        log.seconds = checkpoint.seconds;
        tracing::info!("{}: goes on after iteration {}", self.label(), trainer.iteration());
        Ok(())
    }

    /// What a checkpoint that cannot be read is renamed to: a name that none before it has.
    fn damaged_file(&self) -> PathBuf {
        let place = |suffix: &str| self.directory.path().join(format!("state.damaged{suffix}.safetensors"));
        let mut free = place("");
        let mut number = 1;
        while free.exists() {
            number += 1;
            free = place(&format!("-{number}"));
        }
        free
    }

    /// All iterations that are left; `false` where the sweep ended before.
    fn train(
        &self,
        trainer: &mut Trainer<'_, B>,
        log: &mut Log,
        config: &str,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool> {
        let iterations = self.settings.train.iterations;
        let mut saved = Instant::now();
        let mut psi = log.rows.iter().rev().find_map(|row| row.psi);
        while trainer.iteration() < iterations {
            let start = Instant::now();
            let iteration = trainer.step()?;
            log.seconds += start.elapsed().as_secs_f64();
            let done = trainer.iteration();
            let every = self.settings.measure.every;
            // The last iteration is followed by the final measurement anyway.
            let motion = if every > 0 && done.is_multiple_of(every) && done < iterations {
                self.motion_so_far(&trainer.nca()?, observe)?
            } else {
                None
            };
            if let Some(motion) = &motion {
                psi = Some(motion.psi);
            }
            if motion.is_some() || done.is_multiple_of(LOG_EVERY) || done == iterations {
                log.rows.push(metric_row(&iteration, log.seconds, motion.as_ref()));
            }
            observe(Event::Trained {
                iteration: &iteration,
                psi,
            });
            let stop = self.stop.load(Ordering::Relaxed);
            // What follows the last iteration may take long, and must not cost what was trained.
            if stop || saved.elapsed() >= self.checkpoint_every || done == iterations {
                self.write_metrics(&log.rows)?;
                let checkpoint = Checkpoint {
                    state: trainer.state()?,
                    metrics: log.rows.clone(),
                    seconds: log.seconds,
                };
                checkpoint.save(&self.directory.path().join(STATE_FILE), config)?;
                saved = Instant::now();
                if stop {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The final measurement: Ψ, the distance to the exemplar, the last frame, and the flow that led
    /// to it.
    fn measure(&self, nca: &Nca, observe: &mut dyn FnMut(Event<'_>)) -> Result<Measured> {
        let pairs = self.settings.measure.pairs;
        let mut look = DistanceFrames::new(pairs);
        // The last two frames, in the slots of their parities.
        let mut last = [Vec::new(), Vec::new()];
        let motion = self.motion(nca, pairs, observe, &mut |index, frame| {
            look.visit(index, frame);
            if index + 1 >= pairs {
                last[index % 2] = frame.to_vec();
            }
        })?;
        let size = self.settings.train.size;
        let texture_distance = look.mean(self.backend, self.texture)?;
        let [before, last] = [&last[(pairs + 1) % 2], &last[pairs % 2]];
        save_png(&self.directory.frame(), last, size)?;
        let flow = self.flow.flow(Grid::square(size), before, last)?;
        write_flo(self.directory.flow(), &FlowField::new(size, size, flow)?)?;
        Ok(Measured {
            motion,
            texture_distance,
        })
    }

    /// Ψ in the middle of training; `None` where states leave the finite numbers. Measured automata run for longer than
    /// trained ones, and to measure must not change what training comes to.
    fn motion_so_far(&self, nca: &Nca, observe: &mut dyn FnMut(Event<'_>)) -> Result<Option<Motion>> {
        let pairs = self.settings.measure.training_pairs;
        match self.motion(nca, pairs, observe, &mut |_, _| {}) {
            Err(error @ Error::NonFinite { .. }) => {
                tracing::warn!("{}: measured in training: {error}", self.label());
                Ok(None)
            }
            motion => motion.map(Some),
        }
    }

    /// Ψ over `pairs` frame pairs.
    fn motion(
        &self,
        nca: &Nca,
        pairs: usize,
        observe: &mut dyn FnMut(Event<'_>),
        visit: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<Motion> {
        let settings = MotionSettings {
            pairs,
            steps_per_frame: self.settings.measure.steps_per_frame,
            warmup: self.settings.measure.warmup,
            seed: self.spec.seed,
            height: self.settings.train.size,
            width: self.settings.train.size,
        };
        measure_motion(self.backend, nca, &settings, self.flow, |index, frame| {
            observe(Event::Measuring {
                done: index,
                total: pairs,
            });
            visit(index, frame);
        })
    }

    /// The record of a model about which nothing is known yet.
    fn blank_record(&self) -> ModelRecord {
        ModelRecord {
            texture: self.texture.name.clone(),
            channels: self.spec.channels,
            hidden: self.spec.hidden,
            seed: self.spec.seed,
            status: Status::Failed,
            psi: None,
            psi_se: None,
            psi_floor_static: None,
            psi_floor_flicker: None,
            flow: self.flow.name().to_owned(),
            steps_per_frame: self.settings.measure.steps_per_frame,
            appearance_loss: None,
            texture_distance: None,
            loss: None,
            iterations: 0,
            seconds: None,
            precision: self.backend.precision().to_string(),
            backend: self.backend.name().to_owned(),
        }
    }

    fn write_metrics(&self, rows: &[MetricRow]) -> Result<()> {
        let path = self.directory.metrics();
        let mut text = String::new();
        for row in rows {
            text += &serde_json::to_string(row).map_err(|e| Error::format(&path, e, "a metric row as JSON"))?;
            text.push('\n');
        }
        write_text(&path, &text)
    }

    /// Texture and architecture, as progress lines name a model.
    pub(super) fn label(&self) -> String {
        format!("{} C={} D={}", self.texture.name, self.spec.channels, self.spec.hidden)
    }
}

/// The trainer of a model of the sweep of `settings`, which may be trained otherwise: `train` says how.
pub(super) fn trainer<'b, B: Backend<Elem = f32>>(
    backend: &'b B,
    settings: &SweepSettings,
    nca: &Nca,
    train: TrainSettings,
    texture: &Texture,
    network: Option<&SpyNetWeights>,
    seed: u64,
) -> Result<Trainer<'b, B>> {
    let loss = if train.objective.has_appearance() {
        let (name, vgg) = (&settings.appearance, settings.vgg.as_deref());
        Some(appearance(name, vgg, backend, texture, train.batch)?)
    } else {
        None
    };
    let network = network.filter(|_| train.objective.motion().is_some());
    Trainer::with_objective(backend, nca, train, loss, network, seed)
}

/// The outcome of the final measurement.
struct Measured {
    motion: Motion,
    texture_distance: f64,
}

/// What training has left to show.
#[derive(Default)]
struct Log {
    rows: Vec<MetricRow>,
    /// Seconds spent in iterations.
    seconds: f64,
}

fn metric_row(iteration: &Iteration, seconds: f64, motion: Option<&Motion>) -> MetricRow {
    MetricRow {
        iteration: iteration.iteration + 1,
        loss: iteration.loss,
        appearance_loss: iteration.appearance_loss.unwrap_or(f64::NAN),
        motion_loss: iteration.motion_loss,
        psi_training: iteration.psi,
        overflow_loss: iteration.overflow_loss,
        learning_rate: iteration.learning_rate,
        steps: iteration.steps,
        seconds,
        psi: motion.map(|motion| motion.psi),
        psi_se: motion.map(|motion| motion.psi_se),
    }
}

/// Appearance loss and loss over the last tenth of the rows: single iterations scatter with their
/// rollout lengths and projections.
fn recent_mean(rows: &[MetricRow]) -> Option<(f64, f64)> {
    let recent = &rows[rows.len() - rows.len().div_ceil(10)..];
    let n = recent.len() as f64;
    (!recent.is_empty()).then(|| {
        (
            recent.iter().map(|row| row.appearance_loss).sum::<f64>() / n,
            recent.iter().map(|row| row.loss).sum::<f64>() / n,
        )
    })
}

/// Pretty JSON that ends in a newline.
pub(super) fn json(path: &Path, value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| Error::format(path, e, "JSON"))?;
    text.push('\n');
    Ok(text)
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, e)),
        _ => Ok(()),
    }
}

/// Writes a text file atomically.
pub(super) fn write_text(path: &Path, text: &str) -> Result<()> {
    write_atomic(path, |file| file.write_all(text.as_bytes()))
}

/// Writes planes `[3,size,size]` as PNG, atomically.
pub(super) fn save_png(path: &Path, rgb: &[f32], size: usize) -> Result<()> {
    write_png(path, &rgb_image(rgb, size, size)?)
}
