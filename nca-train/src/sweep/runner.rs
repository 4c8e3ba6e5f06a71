//! The sweep itself: which models are left, in which order, and what becomes of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nca_core::backend::Backend;
use nca_core::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use spynet::{FlowChoice, FlowEstimator, SpyNetWeights};

use super::estimate::Estimate;
use super::model::{ModelRun, json, save_png, write_text};
use super::settings::{ModelSpec, SWEEP_FORMAT, Shard, SweepSettings};
use crate::report::layout::{self, ModelDir, safe_name};
use crate::report::{self, ModelRecord, ReportSummary, Status, read_result};
use crate::texture::Texture;
use crate::trainer::Iteration;

/// Settings of a sweep, in its directory.
pub const SETTINGS_FILE: &str = "sweep.json";

/// What a sweep tells while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// Before the first model.
    Planned {
        /// Models of this run (of this shard).
        models: usize,
        /// Of those, how many are done already.
        done: usize,
        /// Time for the rest, from timed iterations; `None` if nothing is left.
        estimate: Option<Duration>,
        /// Time of one training iteration of the first model left, which the estimate goes by.
        iteration: Option<Duration>,
        /// Where the results go.
        directory: &'a Path,
    },
    /// A model begins or goes on.
    Started {
        /// Texture and architecture.
        label: &'a str,
        /// Iterations in all.
        iterations: u64,
    },
    /// An iteration is done.
    Trained {
        /// What it did.
        iteration: &'a Iteration,
        /// Ψ as last measured, pixels a frame.
        psi: Option<f64>,
    },
    /// A frame of a measurement is done.
    Measuring {
        /// Frames so far.
        done: usize,
        /// Frames in all.
        total: usize,
    },
    /// A model is done.
    Finished {
        /// Its row.
        record: &'a ModelRecord,
        /// Time for the rest of the sweep.
        remaining: Option<Duration>,
    },
    /// A model could not be run; the sweep goes on.
    Failed {
        /// Texture and architecture.
        label: &'a str,
        /// Why.
        reason: String,
    },
}

/// What a sweep has left.
#[derive(Debug, Serialize)]
pub struct SweepOutcome {
    /// Its directory.
    pub directory: PathBuf,
    /// The models of this run.
    pub records: Vec<ModelRecord>,
    /// What tables and plots say; a shard writes none.
    pub report: Option<ReportSummary>,
}

impl SweepOutcome {
    /// Writes tables and plots from what is in `directory`, whoever put it there.
    pub fn merge(directory: &Path) -> Result<Self> {
        let report = report::write_report(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            records: report::collect(directory)?.records().cloned().collect(),
            report: Some(report),
        })
    }

    /// A few lines for the end of a run.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.report {
            Some(report) => report.to_string(),
            None => format!(
                "{} models of this shard are done; once all shards are, run: cargo xtask report {}",
                self.records.len(),
                self.directory.display()
            ),
        }
    }
}

/// A sweep ready to run.
#[derive(Debug)]
pub struct Sweep {
    settings: SweepSettings,
    directory: PathBuf,
    shard: Option<Shard>,
    checkpoint_every: Duration,
    textures: Vec<Texture>,
    flow: FlowChoice,
    /// Held while this value lives: two processes must not work on the same models.
    _lock: File,
}

impl Sweep {
    /// Checks settings, loads textures and claims `directory`.
    ///
    /// An existing sweep in `directory` is gone on with if `resume` says so, or if this is a shard
    /// of it; its settings must be the same.
    pub fn new(
        settings: SweepSettings,
        directory: &Path,
        resume: bool,
        shard: Option<Shard>,
        checkpoint_seconds: f64,
    ) -> Result<Self> {
        settings.validate()?;
        let checkpoint_every = Duration::try_from_secs_f64(checkpoint_seconds)
            .map_err(|_| Error::invalid("--checkpoint-seconds", checkpoint_seconds, "a number of at least 0"))?;
        // Nothing is written before everything that can be wrong has been looked at.
        let flow = FlowChoice::new(&settings.measure.flow, settings.measure.flow_weights.as_deref())?;
        if settings.train.objective.motion().is_some() {
            flow.network()?;
        }
        if settings.init.is_some()
            && let Some(spec) = settings.models().first()
        {
            settings.initial(spec.channels, spec.hidden, spec.seed)?;
        }
        let textures = load_textures(&settings)?;
        match Self::settings_of(directory)? {
            Some(earlier) if earlier != settings => {
                return Err(Error::format(
                    directory.join(SETTINGS_FILE),
                    differences(&earlier, &settings)?,
                    "the settings given; choose another --out, or leave out the flags that differ",
                ));
            }
            Some(_) if !resume && shard.is_none() => {
                return Err(Error::format(
                    directory,
                    "a sweep already",
                    "an empty directory; go on with it by --resume, or choose another --out",
                ));
            }
            _ => {}
        }
        fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
        let lock = claim(directory, shard)?;
        let path = directory.join(SETTINGS_FILE);
        if !path.exists() {
            write_text(&path, &json(&path, &settings)?)?;
        }
        for texture in &textures {
            let folder = layout::models_dir(directory).join(&texture.name);
            fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
            let path = layout::target(directory, &texture.name);
            if !path.exists() {
                save_png(&path, &texture.rgb, settings.train.size)?;
            }
        }
        Ok(Self {
            settings,
            directory: directory.to_owned(),
            shard,
            checkpoint_every,
            textures,
            flow,
            _lock: lock,
        })
    }

    /// The settings of the sweep in `directory`, if there is one.
    pub fn settings_of(directory: &Path) -> Result<Option<SweepSettings>> {
        let path = directory.join(SETTINGS_FILE);
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|e| Error::io(&path, e))?,
        };
        // The version first: a newer layout may have other fields.
        #[derive(serde::Deserialize)]
        struct Version {
            format: u32,
        }
        let broken = |e: serde_json::Error| Error::format(&path, e, "the settings of a sweep");
        let version: Version = serde_json::from_str(&text).map_err(broken)?;
        if version.format != SWEEP_FORMAT {
            return Err(Error::format(
                &path,
                format!("sweep format {}", version.format),
                format!("format {SWEEP_FORMAT}"),
            ));
        }
        serde_json::from_str(&text).map(Some).map_err(broken)
    }

    /// Directory of the `index`-th model.
    #[must_use]
    pub fn model_directory(&self, index: usize) -> Option<ModelDir> {
        self.settings.models().get(index).map(|spec| self.directory_of(spec))
    }

    /// The network that training follows, if the objective asks for motion.
    fn network(&self) -> Result<Option<&SpyNetWeights>> {
        let motion = self.settings.train.objective.motion();
        motion.map(|_| self.flow.network()).transpose()
    }

    fn directory_of(&self, spec: &ModelSpec) -> ModelDir {
        let texture = &self.textures[spec.texture].name;
        ModelDir::of(&self.directory, texture, spec.channels, spec.hidden, spec.seed)
    }

    /// Trains and measures every model that is not done, then writes tables and plots (a shard
    /// leaves those to [`SweepOutcome::merge`]).
    pub fn run<B: Backend<Elem = f32>>(&self, backend: &B, observe: &mut dyn FnMut(Event<'_>)) -> Result<SweepOutcome> {
        let flow = self.flow.estimator(backend)?;
        let models: Vec<ModelSpec> = self
            .settings
            .models()
            .into_iter()
            .enumerate()
            .filter(|(position, _)| self.shard.is_none_or(|shard| shard.holds(*position)))
            .map(|(_, spec)| spec)
            .collect();
        let mut records = Vec::new();
        let mut left = Vec::new();
        for spec in &models {
            match finished(&self.directory_of(spec))? {
                Some(record) => records.push(record),
                None => left.push(spec),
            }
        }
        let mut plan = Plan::new(backend, self, &left, flow.as_ref())?;
        observe(Event::Planned {
            models: models.len(),
            done: records.len(),
            estimate: plan.remaining(),
            iteration: plan.iteration,
            directory: &self.directory,
        });
        for spec in left {
            let run = ModelRun {
                backend,
                settings: &self.settings,
                spec,
                texture: &self.textures[spec.texture],
                flow: flow.as_ref(),
                network: self.network()?,
                directory: self.directory_of(spec),
                checkpoint_every: self.checkpoint_every,
            };
            let record = match run.run(observe) {
                Ok(record) => record,
                // A disk that is full or gone will not serve the next model either.
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => {
                    observe(Event::Failed {
                        label: &run.label(),
                        reason: error.to_string(),
                    });
                    run.fail(&error)?
                }
            };
            plan.done();
            observe(Event::Finished {
                record: &record,
                remaining: plan.remaining(),
            });
            records.push(record);
        }
        if self.shard.is_some() {
            return Ok(SweepOutcome {
                directory: self.directory.clone(),
                records,
                report: None,
            });
        }
        SweepOutcome::merge(&self.directory)
    }
}

/// The time that is left: the estimate of each model, corrected by how long the finished ones took.
struct Plan {
    /// Estimated seconds of the models left, the next one last.
    left: Vec<f64>,
    /// Time of one iteration of the next model.
    iteration: Option<Duration>,
    estimated: f64,
    started: Instant,
}

impl Plan {
    fn new<B: Backend<Elem = f32>>(
        backend: &B,
        sweep: &Sweep,
        left: &[&ModelSpec],
        flow: &dyn FlowEstimator,
    ) -> Result<Self> {
        let (mut seconds, mut iteration) = (Vec::new(), None);
        if let Some(first) = left.first() {
            let texture = &sweep.textures[first.texture];
            let estimate = Estimate::measure(backend, &sweep.settings, texture, flow, sweep.network()?)?;
            iteration = Some(estimate.iteration(first));
            for spec in left.iter().rev() {
                seconds.push(estimate.model(&sweep.settings, spec).as_secs_f64());
            }
        }
        Ok(Self {
            left: seconds,
            iteration,
            estimated: 0.0,
            started: Instant::now(),
        })
    }

    /// The next model is done.
    fn done(&mut self) {
        self.estimated += self.left.pop().unwrap_or(0.0);
    }

    /// Time of the models left; `None` if there are none.
    fn remaining(&self) -> Option<Duration> {
        if self.left.is_empty() {
            return None;
        }
        let left: f64 = self.left.iter().sum();
        let pace = if self.estimated > 0.0 {
            self.started.elapsed().as_secs_f64() / self.estimated
        } else {
            1.0
        };
        Duration::try_from_secs_f64(left * pace).ok()
    }
}

/// Where two sweeps' settings differ, as `size 48 instead of 64, seeds [0] instead of [0,1]`.
fn differences(found: &SweepSettings, given: &SweepSettings) -> Result<String> {
    fn walk(name: &str, found: &Value, given: &Value, list: &mut Vec<String>) {
        match (found, given) {
            (Value::Object(a), Value::Object(b)) => {
                for (key, value) in a {
                    walk(key, value, b.get(key).unwrap_or(&Value::Null), list);
                }
            }
            _ if found != given => list.push(format!("{name} {found} instead of {given}")),
            _ => {}
        }
    }
    let value = |settings| serde_json::to_value(settings).map_err(|e| Error::invalid("settings", e, "JSON"));
    let mut list = Vec::new();
    walk("", &value(found)?, &value(given)?, &mut list);
    Ok(list.join(", "))
}

/// The record of a finished model; a failed one is to be tried again.
fn finished(directory: &ModelDir) -> Result<Option<ModelRecord>> {
    let path = directory.result();
    if !path.exists() {
        return Ok(None);
    }
    let record = read_result(&path)?.record;
    Ok((record.status != Status::Failed).then_some(record))
}

/// Loads the exemplars; their names become directories and must differ.
fn load_textures(settings: &SweepSettings) -> Result<Vec<Texture>> {
    let mut textures: Vec<Texture> = Vec::new();
    for spec in &settings.textures {
        let mut texture = Texture::resolve(spec, settings.dtd.as_deref(), settings.train.size)?;
        texture.name = safe_name(&texture.name);
        if textures.iter().any(|other| other.name == texture.name) {
            return Err(Error::invalid(
                "--texture",
                format!("{} twice", texture.name),
                "textures of different names",
            ));
        }
        textures.push(texture);
    }
    Ok(textures)
}

/// Takes the lock of a sweep or shard; the system releases it when the process ends, however it ends.
fn claim(directory: &Path, shard: Option<Shard>) -> Result<File> {
    let name = match shard {
        Some(Shard { index, count }) => format!(".shard-{index}-of-{count}.lock"),
        None => ".sweep.lock".to_owned(),
    };
    let path = directory.join(name);
    let file = File::create(&path).map_err(|e| Error::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::format(
            directory,
            "a sweep that another process is running",
            "one nobody is working on",
        )),
        Err(fs::TryLockError::Error(e)) => Err(Error::io(&path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::{Snapshot, Stage, SweepPreset};

    #[test]
    fn names_become_directories() {
        assert_eq!(safe_name("bubbly_0101"), "bubbly_0101");
        assert_eq!(safe_name("../a b/ü"), "___a_b_ü");
        assert_eq!(safe_name(""), "texture");
    }

    #[test]
    fn differences_are_named() {
        let settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
        let mut other = settings.clone();
        other.train.size = 63;
        other.seeds = vec![0, 1];
        let text = differences(&settings, &other).unwrap();
        assert!(
            text.contains("size 48 instead of 63") && text.contains("seeds [0] instead of [0,1]"),
            "{text}"
        );
    }

    #[test]
    fn a_model_that_failed_is_begun_while_it_is_tried_again() {
        let place = tempfile::tempdir().unwrap();
        let mut settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
        (settings.channels, settings.hidden) = (vec![4], vec![6]);
        settings.textures = vec!["cracked".to_owned()];
        settings.train.size = 16;
        settings.train.iterations = 2;
        settings.train.pool = 4;
        (settings.train.steps_min, settings.train.steps_max) = (2, 4);
        settings.measure.pairs = 2;
        (settings.measure.warmup, settings.measure.steps_per_frame) = (2, 2);
        settings.measure.flow = "classical".to_owned();
        let cpu = nca_core::cpu::Cpu::with_threads(1).unwrap();
        let sweep = |resume| Sweep::new(settings.clone(), place.path(), resume, None, 1e6).unwrap();
        sweep(false).run(&cpu, &mut |_| {}).unwrap();

        let spec = settings.models().remove(0);
        let path = sweep(true).directory_of(&spec).result();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"ok\"", "\"failed\"")).unwrap();
        let tally = || Snapshot::read(place.path()).unwrap().tally();
        assert_eq!(tally().failed, 1);
        let mut during = Vec::new();
        let mut observe = |event: Event<'_>| {
            if matches!(event, Event::Started { .. }) {
                during.push(Snapshot::read(place.path()).unwrap().models.remove(0).stage);
            }
        };
        sweep(true).run(&cpu, &mut observe).unwrap();
        // What its first attempt logged is no sign of progress either.
        assert_eq!(during, [Stage::Begun(Vec::new())]);
        assert_eq!(tally().ok, 1);
    }
}
