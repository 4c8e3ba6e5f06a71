//! The sweep itself: which models are left, in which order, and what becomes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nca_core::backend::Backend;
use nca_core::reference::Reference;
use nca_core::{Error, Result};
use serde::Serialize;
use spynet::{FlowChoice, SpyNetWeights};

use super::claim::Claim;
use super::differences::differences;
use super::estimate::Estimate;
use super::inputs::{Inputs, flow_name};
use super::jobs::make_models;
use super::leftovers::remove_leftovers;
use super::model::{STATE_FILE, json, remove, save_png, write_text};
use super::orphans::has_models;
use super::plan::Plan;
use super::settings::{ModelSpec, SWEEP_FORMAT, Shard, SweepSettings};
use crate::report::layout::{self, ModelDir, safe_name};
use crate::report::{self, ModelRecord, ReportSummary, Status, read_result};
use crate::texture::Texture;
use crate::trainer::Iteration;
use crate::vgg::Vgg;

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
        /// Time for the rest, from timed iterations; `None` if nothing is left, or a model could not be timed.
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
    pub(super) settings: SweepSettings,
    directory: PathBuf,
    shard: Option<Shard>,
    pub(super) checkpoint_every: Duration,
    pub(super) textures: Vec<Texture>,
    pub(super) inputs: Inputs,
    pub(super) flow: FlowChoice,
    /// Held while this value lives: two processes must not work on the same models.
    _claim: Claim,
}

impl Sweep {
    /// Checks settings, loads textures and claims `directory`.
    ///
    /// An existing sweep in `directory` is gone on with if `resume` says so, or if this is a shard
    /// of it; its settings must be the same. Where its `sweep.json` is missing, those of each model must be.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is nothing to `resume`, and for settings that cannot be run; [`Error::Format`] where
    /// there is a sweep already, and `resume` is not asked for, or a file cannot be read as what it is given for. Nothing has
    /// been written then.
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
        let inputs = Inputs::of(&settings, true)?;
        let textures = load_textures(&settings)?;
        let has_begun = || {
            let begun = Self::has_settings(directory, &settings)?
                || has_models(directory, &settings, &textures, &inputs, &flow)?;
            if begun && !resume && shard.is_none() {
                return Err(Error::format(
                    directory,
                    "a sweep already",
                    "an empty directory; go on with it by --resume, or choose another --out",
                ));
            }
            Ok(begun)
        };
        if !has_begun()? {
            if resume {
                return Err(Error::invalid(
                    "--resume",
                    format!(
                        "given for {}, where there is nothing to go on with",
                        directory.display()
                    ),
                    format!(
                        "a directory with {SETTINGS_FILE} or models of this sweep; leave --resume out to begin one there"
                    ),
                ));
            }
            // Where all is made, which only a sweep that has begun can tell, none of them is needed.
            Inputs::of(&settings, false)?;
            if let Some(vgg) = &settings.vgg {
                Vgg::<Reference<f32>>::load(&Reference::new(), vgg)?;
            }
        }
        fs::create_dir_all(directory).map_err(|e| Error::io(directory, e))?;
        let claim = Claim::new(directory, shard)?;
        // Another process may have begun in the meantime.
        let begun = claim.alone(|| {
            let begun = has_begun()?;
            let path = directory.join(SETTINGS_FILE);
            if !path.exists() {
                write_text(&path, &json(&path, &settings)?)?;
            }
            Ok(begun)
        })?;
        // Reports are written here, too, and of a directory that is no sweep's yet all is somebody else's.
        if begun {
            for shared in [directory.to_owned(), layout::plots_dir(directory)] {
                remove_leftovers(&shared, true);
            }
        }
        for texture in &textures {
            let folder = layout::models_dir(directory).join(&texture.name);
            fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
            remove_leftovers(&folder, shard.is_some());
            let path = layout::target(directory, &texture.name);
            match Texture::read(&path) {
                Ok(before) => refuse_other_picture(&path, &before, texture)?,
                Err(_) => save_png(&path, &texture.rgb, settings.train.size)?,
            }
        }
        Ok(Self {
            settings,
            directory: directory.to_owned(),
            shard,
            checkpoint_every,
            textures,
            inputs,
            flow,
            _claim: claim,
        })
    }

    /// What is trained, and how.
    #[must_use]
    pub fn settings(&self) -> &SweepSettings {
        &self.settings
    }

    /// Whether there is a sweep in `directory`; an error if it has other settings.
    fn has_settings(directory: &Path, settings: &SweepSettings) -> Result<bool> {
        let Some(earlier) = Self::settings_of(directory)? else {
            return Ok(false);
        };
        if earlier == *settings {
            return Ok(true);
        }
        let value = |settings| serde_json::to_value(settings).map_err(|e| Error::invalid("settings", e, "JSON"));
        Err(Error::format(
            directory.join(SETTINGS_FILE),
            differences(&value(&earlier)?, &value(settings)?),
            "the settings given; choose another --out, or leave out the flags that differ",
        ))
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
    pub(super) fn network(&self) -> Result<Option<&SpyNetWeights>> {
        let motion = self.settings.train.objective.motion();
        motion.map(|_| self.flow.network()).transpose()
    }

    /// The models of a sweep are measured by one estimator, and trained from the same files. Of these the settings know at
    /// most the paths; the estimator's name has the hash of its weights.
    fn refuse_other_files(&self, flow: &str) -> Result<()> {
        // Other shards' models, too; a result of theirs that cannot be read says nothing.
        for spec in self.settings.models() {
            let directory = self.directory_of(&spec);
            let Ok(Some(record)) = finished(&directory) else {
                continue;
            };
            if record.flow != flow {
                return Err(Error::format(
                    directory.result(),
                    format!("motion by {}", record.flow),
                    format!(
                        "{flow}, by which the models left would be measured; put back the weights of before, or choose another --out"
                    ),
                ));
            }
            let model = format!("the model in {} was trained", directory.path().display());
            self.inputs
                .refuse_other(&self.settings, &Inputs::recorded(&directory), &model)?;
        }
        Ok(())
    }

    /// How long models take, measured on the first that is `left`; `None` if there is none, or the device cannot
    /// hold it: that model fails when its turn comes, and the others do not.
    fn estimate<B: Backend<Elem = f32>>(&self, backend: &B, left: &[&ModelSpec]) -> Result<Option<Estimate>> {
        let Some(first) = left.first() else {
            return Ok(None);
        };
        let texture = &self.textures[first.texture];
        let flow = self.flow.estimator(backend)?;
        match Estimate::measure(backend, &self.settings, texture, flow.as_ref(), self.network()?) {
            Ok(estimate) => Ok(Some(estimate)),
            Err(error @ Error::Device { .. }) => {
                tracing::warn!("no estimate of the time: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn directory_of(&self, spec: &ModelSpec) -> ModelDir {
        let texture = &self.textures[spec.texture].name;
        ModelDir::of(&self.directory, texture, spec.channels, spec.hidden, spec.seed)
    }

    /// Trains and measures every model that is not done, then writes tables and plots (a shard
    /// leaves those to [`SweepOutcome::merge`]).
    ///
    /// As many models are in the making at a time as there are `backends`, each on one of them and on a thread of its
    /// own; results do not depend on it. `observe` is told the backend's index with each event.
    ///
    /// A model that cannot be run is recorded as failed, and the others go on. A disk that is full or a device that is
    /// lost ends the sweep: the models in the making leave their checkpoints as far as they can, and the first error is
    /// returned.
    pub fn run<B: Backend<Elem = f32>>(
        &self,
        backends: &[B],
        observe: &mut (dyn FnMut(usize, Event<'_>) + Send),
    ) -> Result<SweepOutcome> {
        let models: Vec<ModelSpec> = self
            .settings
            .models()
            .into_iter()
            .enumerate()
            .filter(|(position, _)| self.shard.is_none_or(|shard| shard.holds(*position)))
            .map(|(_, spec)| spec)
            .collect();
        let Some(first) = backends.first() else {
            return Err(Error::invalid("number of models at a time", 0, "at least 1"));
        };
        let mut records = Vec::new();
        let mut left = Vec::new();
        for spec in &models {
            let directory = self.directory_of(spec);
            remove_leftovers(directory.path(), false);
            let Some(record) = finished(&directory)? else {
                left.push(spec);
                continue;
            };
            // Left behind where the process died between writing the result and removing this.
            remove(&directory.path().join(STATE_FILE))?;
            records.push(record);
        }
        if !left.is_empty() {
            // What is missing now is missed.
            Inputs::of(&self.settings, false)?;
            self.refuse_other_files(&flow_name(&self.flow))?;
        }
        let plan = Plan::new(&self.settings, self.estimate(first, &left)?.as_ref(), &left);
        observe(
            0,
            Event::Planned {
                models: models.len(),
                done: records.len(),
                estimate: plan.remaining(),
                iteration: plan.iteration,
                directory: &self.directory,
            },
        );
        records.extend(make_models(self, &left, plan, backends, observe)?);
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

/// A sweep goes on with the picture it began with, of which the settings know only the name.
fn refuse_other_picture(path: &Path, before: &Texture, texture: &Texture) -> Result<()> {
    // A shard on another system may decode and resize the same file with other rounding.
    let near = |(a, b): (&f32, &f32)| (a - b).abs() < 2.0 / 255.0;
    if before.rgb.len() == texture.rgb.len() && before.rgb.iter().zip(&texture.rgb).all(near) {
        return Ok(());
    }
    Err(Error::format(
        path,
        "another picture",
        format!(
            "that of texture {} as it is now: give it back the picture that this sweep began with, or choose another --out",
            texture.name
        ),
    ))
}

/// The record of a finished model; a failed one is to be tried again.
fn finished(directory: &ModelDir) -> Result<Option<ModelRecord>> {
    let path = directory.result();
    if !path.exists() {
        return Ok(None);
    }
    let record = match read_result(&path) {
        // Nothing is made again, and written over, unless it is asked for.
        Err(Error::Format { path, found, expected }) => {
            let expected = format!("{expected}; put that back, or delete the file to make the model again");
            return Err(Error::format(path, found, expected));
        }
        result => result?.record,
    };
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
        sweep(false).run(std::slice::from_ref(&cpu), &mut |_, _| {}).unwrap();

        let spec = settings.models().remove(0);
        let path = sweep(true).directory_of(&spec).result();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"ok\"", "\"failed\"")).unwrap();
        let tally = || Snapshot::read(place.path()).unwrap().tally();
        assert_eq!(tally().failed, 1);
        let mut during = Vec::new();
        let mut observe = |_, event: Event<'_>| {
            if matches!(event, Event::Started { .. }) {
                during.push(Snapshot::read(place.path()).unwrap().models.remove(0).stage);
            }
        };
        sweep(true).run(std::slice::from_ref(&cpu), &mut observe).unwrap();
        // What its first attempt logged is no sign of progress either.
        assert_eq!(during, [Stage::Begun(Vec::new())]);
        assert_eq!(tally().ok, 1);
    }
}
