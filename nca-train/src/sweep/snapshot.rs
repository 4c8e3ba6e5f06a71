//! How far a sweep has come, read from its directory by anyone, at any moment.

use std::path::Path;
use std::time::Duration;

use nca_core::{Error, Result};

use super::claim;
use super::runner::{SETTINGS_FILE, Sweep};
use super::settings::SweepSettings;
use crate::report::layout::{ModelDir, safe_name};
use crate::report::{MetricRow, ModelRecord, Status, read_metrics, read_result};
use crate::texture::name_of;

/// A moment of a sweep that may be running.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What it was told.
    pub settings: SweepSettings,
    /// Names of the textures, in the order of the settings.
    pub textures: Vec<String>,
    /// Every model there is to be, in the order in which they are trained.
    pub models: Vec<ModelProgress>,
    /// Whether a process is at work on it, as far as the locks that each holds tell; `None` where they tell nothing.
    pub at_work: Option<bool>,
}

/// How far one model has come.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelProgress {
    /// Index into [`Snapshot::textures`].
    pub texture: usize,
    /// Channels, C.
    pub channels: usize,
    /// Hidden neurons, D.
    pub hidden: usize,
    /// Run seed.
    pub seed: u64,
    /// How far.
    pub stage: Stage,
}

/// What is known of a model.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// Nothing has been written yet, or nothing that could be read.
    Waiting,
    /// Begun: what its log said at the last checkpoint, oldest row first; empty before the first.
    Begun(Vec<MetricRow>),
    /// Done: trained and measured, diverged or failed.
    Done(Box<ModelRecord>),
    /// Done, but its result is damaged, which a sweep does not write over.
    Unreadable,
}

/// How many models are at which stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Trained and measured.
    pub ok: usize,
    /// Left the finite numbers.
    pub diverged: usize,
    /// Could not be run to their end.
    pub failed: usize,
    /// Done with a result that cannot be read.
    pub unreadable: usize,
    /// Begun.
    pub begun: usize,
    /// Not begun.
    pub waiting: usize,
}

impl Tally {
    /// Models of which nothing more is to come.
    #[must_use]
    pub fn done(self) -> usize {
        self.ok + self.diverged + self.failed + self.unreadable
    }
}

impl Snapshot {
    /// Reads what there is in the sweep directory `dir`.
    ///
    /// Files of models that are missing or damaged count as not there, but for damaged results; only a directory without
    /// readable settings is an error.
    pub fn read(dir: &Path) -> Result<Self> {
        let Some(settings) = Sweep::settings_of(dir)? else {
            return Err(Error::format(
                dir,
                format!("no {SETTINGS_FILE}"),
                "the directory of a sweep",
            ));
        };
        // Before the models: of a sweep that ends meanwhile nothing is said to be left undone.
        let at_work = claim::at_work(dir);
        let textures: Vec<_> = settings
            .textures
            .iter()
            .map(|t| safe_name(&name_of(Path::new(t))))
            .collect();
        let models = settings.models().into_iter().map(|spec| {
            let name = &textures[spec.texture];
            let files = ModelDir::of(dir, name, spec.channels, spec.hidden, spec.seed);
            ModelProgress {
                texture: spec.texture,
                channels: spec.channels,
                hidden: spec.hidden,
                seed: spec.seed,
                stage: Stage::of(&files),
            }
        });
        Ok(Self {
            models: models.collect(),
            textures,
            settings,
            at_work,
        })
    }

    /// Models by stage.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for model in &self.models {
            let count = match &model.stage {
                Stage::Waiting => &mut tally.waiting,
                Stage::Begun(_) => &mut tally.begun,
                Stage::Unreadable => &mut tally.unreadable,
                Stage::Done(record) => match record.status {
                    Status::Ok => &mut tally.ok,
                    Status::Diverged => &mut tally.diverged,
                    Status::Failed => &mut tally.failed,
                },
            };
            *count += 1;
        }
        tally
    }

    /// Whether models are left that nobody is making.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        let tally = self.tally();
        self.at_work == Some(false) && tally.begun + tally.waiting > 0
    }

    /// Training time that is left for one process, from the time the models took that are done, each
    /// in proportion to its C·D; `None` before the first is, zero if nothing is left.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let (mut seconds, mut spent, mut left) = (0.0, 0.0, 0.0);
        for model in &self.models {
            let work = (model.channels * model.hidden) as f64;
            match &model.stage {
                Stage::Done(record) => {
                    // Of the others the time says nothing: they ended early.
                    if let (Status::Ok, Some(took)) = (record.status, record.seconds) {
                        seconds += took;
                        spent += work;
                    }
                }
                Stage::Begun(rows) => left += work * (1.0 - self.share(rows)),
                Stage::Waiting => left += work,
                Stage::Unreadable => {}
            }
        }
        if left == 0.0 {
            return Some(Duration::ZERO);
        }
        (spent > 0.0).then(|| Duration::try_from_secs_f64(left * seconds / spent).unwrap_or(Duration::MAX))
    }

    /// The share of its iterations that a model has done, by its log.
    #[must_use]
    pub fn share(&self, rows: &[MetricRow]) -> f64 {
        let done = rows.last().map_or(0, |row| row.iteration);
        (done as f64 / self.settings.train.iterations.max(1) as f64).min(1.0)
    }
}

impl Stage {
    fn of(files: &ModelDir) -> Self {
        match read_result(files.result()) {
            Ok(result) => return Self::Done(Box::new(result.record)),
            Err(Error::Format { .. }) => return Self::Unreadable,
            Err(_) => {}
        }
        if !files.config().exists() {
            return Self::Waiting;
        }
        Self::Begun(read_metrics(files.metrics()).unwrap_or_default())
    }
}
