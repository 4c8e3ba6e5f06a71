//! What a sweep is told, and the models that follow from it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use nca_core::checkpoint::{Conventions, PerceptionOrder};
use nca_core::{Error, Nca, NcaConfig, Precision, Preset, Result};
use serde::{Deserialize, Serialize};
use spynet::FlowChoice;

use crate::loss::APPEARANCES;
use crate::motion::MotionSettings;
use crate::objective::MotionTerm;
use crate::settings::TrainSettings;

/// Version of the sweep directory's layout and of every file in it.
pub const SWEEP_FORMAT: u32 = 1;

/// The named sweeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SweepPreset {
    /// The paper's experiment in miniature, ten to fifteen minutes on two cores: nine models of one built-in texture.
    #[default]
    Quick,
    /// The paper's experiment: C = 8..=128 by 8, D = 16..=128 by 16, four textures.
    Paper,
    /// The paper's grid with the conventions of the notebook.
    Notebook,
}

impl SweepPreset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Quick, Self::Paper, Self::Notebook];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Paper => "paper",
            Self::Notebook => "notebook",
        }
    }

    /// The conventions of its automata.
    #[must_use]
    pub fn model(self) -> Preset {
        match self {
            Self::Quick | Self::Paper => Preset::Paper,
            Self::Notebook => Preset::Notebook,
        }
    }
}

impl fmt::Display for SweepPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SweepPreset {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|p| p.name() == s)
            .ok_or_else(|| Error::invalid("--preset", s, "quick, paper or notebook"))
    }
}

/// How Ψ is measured in a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureSettings {
    /// Frame pairs of the final measurement.
    pub pairs: usize,
    /// Frame pairs of the measurements during training.
    pub training_pairs: usize,
    /// Steps between frames.
    pub steps_per_frame: u32,
    /// Steps from the seed state to the first frame.
    pub warmup: u32,
    /// Iterations between measurements during training; 0 for none.
    pub every: u64,
    /// Flow estimator, as `--flow` names it.
    pub flow: String,
    /// Its weights, where it has some.
    pub flow_weights: Option<PathBuf>,
}

/// Everything that decides the outcome of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepSettings {
    /// Layout version, [`SWEEP_FORMAT`].
    pub format: u32,
    /// The preset it was derived from.
    pub preset: SweepPreset,
    /// Channel counts, C.
    pub channels: Vec<usize>,
    /// Hidden neuron counts, D.
    pub hidden: Vec<usize>,
    /// Textures: built-in names, paths or DTD names.
    pub textures: Vec<String>,
    /// DTD folder, where textures are given by DTD name.
    pub dtd: Option<PathBuf>,
    /// Run seeds.
    pub seeds: Vec<u64>,
    /// Backend the models are trained on, as `--backend` names it.
    pub backend: String,
    /// Precision of products, as `--precision` names it.
    #[serde(default)]
    pub precision: Precision,
    /// Appearance loss, as `--appearance` names it.
    pub appearance: String,
    /// Weights of the features it compares, where it does.
    pub vgg: Option<PathBuf>,
    /// Model that training starts from, instead of random weights: under its own conventions.
    #[serde(default)]
    pub init: Option<PathBuf>,
    /// Conventions of that model, if its file states none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_perception: Option<Preset>,
    /// Order of the columns of its first layer, if neither does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_perception_order: Option<PerceptionOrder>,
    /// Bound of the states' magnitude after each step, in place of the conventions' own.
    #[serde(default)]
    pub clamp: Option<f64>,
    /// Training.
    pub train: TrainSettings,
    /// Measuring.
    pub measure: MeasureSettings,
}

/// One model of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// Index into [`SweepSettings::textures`].
    pub texture: usize,
    /// Channels, C.
    pub channels: usize,
    /// Hidden neurons, D.
    pub hidden: usize,
    /// Run seed.
    pub seed: u64,
}

impl SweepSettings {
    /// The sweep of `preset` on `backend`, in f32.
    #[must_use]
    pub fn preset(preset: SweepPreset, backend: &str) -> Self {
        let train = TrainSettings::preset(preset.model());
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let measure = MeasureSettings {
            pairs: 100,
            training_pairs: 8,
            steps_per_frame: 32,
            warmup: 1024,
            every: 500,
            flow: FlowChoice::DEFAULT.to_owned(),
            flow_weights: None,
        };
        let paper = Self {
            format: SWEEP_FORMAT,
            preset,
            channels: (8..=128).step_by(8).collect(),
            hidden: (16..=128).step_by(16).collect(),
            textures: names(&["bubbly", "chequered", "interlaced", "cracked"]),
            dtd: None,
            seeds: vec![0],
            backend: backend.to_owned(),
            precision: Precision::F32,
            appearance: "patch".to_owned(),
            vgg: None,
            init: None,
            init_perception: None,
            init_perception_order: None,
            clamp: None,
            train,
            measure,
        };
        match preset {
            SweepPreset::Paper => paper,
            // Unbounded, the states of its untrained automata grow some 1.5-fold a step and leave the
            // numbers of f32 after 200.
            SweepPreset::Notebook => Self {
                clamp: Some(2.0),
                ..paper
            },
            SweepPreset::Quick => Self {
                channels: vec![6, 8, 12],
                hidden: vec![16, 32, 64],
                textures: names(&["chequered"]),
                train: TrainSettings {
                    size: 48,
                    iterations: 1200,
                    pool: 64,
                    steps_min: 32,
                    steps_max: 64,
                    decay_at: vec![600, 960],
                    ..paper.train
                },
                measure: MeasureSettings {
                    pairs: 50,
                    training_pairs: 4,
                    warmup: 512,
                    every: 100,
                    ..paper.measure
                },
                ..paper
            },
        }
    }

    /// Every model, in the order in which a sweep trains them: small ones first, so that the first
    /// results come soon.
    #[must_use]
    pub fn models(&self) -> Vec<ModelSpec> {
        let mut models = Vec::new();
        for &seed in &self.seeds {
            for &channels in &self.channels {
                for &hidden in &self.hidden {
                    for texture in 0..self.textures.len() {
                        models.push(ModelSpec {
                            texture,
                            channels,
                            hidden,
                            seed,
                        });
                    }
                }
            }
        }
        models.sort_by_key(|model| (model.seed, model.channels * model.hidden));
        models
    }

    /// Conventions of the model (C, D) that starts from random weights.
    pub fn config(&self, channels: usize, hidden: usize) -> Result<NcaConfig> {
        let config = NcaConfig::preset(self.preset.model(), channels, hidden)?;
        Ok(NcaConfig {
            clamp: self.clamp.or(config.clamp),
            ..config
        })
    }

    /// The model (C, D) before training: random weights drawn with `seed`, or those of
    /// [`SweepSettings::init`].
    pub fn initial(&self, channels: usize, hidden: usize, seed: u64) -> Result<Nca> {
        let Some(path) = &self.init else {
            return Nca::new(self.config(channels, hidden)?, seed);
        };
        let mut nca = Nca::load(path, self.init_conventions())?;
        nca.config.clamp = self.clamp.or(nca.config.clamp);
        if (nca.config.channels, nca.config.hidden) != (channels, hidden) {
            return Err(Error::format(
                path,
                format!("C = {}, D = {}", nca.config.channels, nca.config.hidden),
                format!("a model of C = {channels}, D = {hidden}, as --channels and --hidden say"),
            ));
        }
        Ok(nca)
    }

    /// How the weights of [`SweepSettings::init`] are meant, where its file does not say.
    #[must_use]
    pub fn init_conventions(&self) -> Conventions {
        Conventions {
            preset: self.init_perception,
            order: self.init_perception_order,
        }
    }

    /// Name of the appearance loss as results record it.
    #[must_use]
    pub fn appearance_name(&self) -> &str {
        if self.train.objective.has_appearance() {
            &self.appearance
        } else {
            "none"
        }
    }

    /// Refuses what could not be run, naming the flag.
    pub fn validate(&self) -> Result<()> {
        if self.format != SWEEP_FORMAT {
            return Err(Error::invalid(
                "format of the sweep",
                self.format,
                SWEEP_FORMAT.to_string(),
            ));
        }
        fn list<T: Ord + Clone + ToString>(flag: &str, values: &[T]) -> Result<()> {
            if values.is_empty() {
                return Err(Error::invalid(flag, "empty", "at least one value"));
            }
            let mut sorted = values.to_vec();
            sorted.sort();
            match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                Some(pair) => Err(Error::invalid(
                    flag,
                    format!("{} given twice", pair[0].to_string()),
                    "each value once",
                )),
                None => Ok(()),
            }
        }
        list("--channels", &self.channels)?;
        list("--hidden", &self.hidden)?;
        list("--texture", &self.textures)?;
        list("--seeds", &self.seeds)?;
        let range = |flag: &str, values: &[usize], low: usize, high: usize| match values
            .iter()
            .find(|value| !(low..=high).contains(value))
        {
            Some(value) => Err(Error::invalid(flag, value, format!("{low} to {high}"))),
            None => Ok(()),
        };
        range("--channels", &self.channels, 3, NcaConfig::MAX_CHANNELS)?;
        range("--hidden", &self.hidden, 1, NcaConfig::MAX_HIDDEN)?;
        self.train.validate()?;
        let train = &self.train;
        // Frames are kept whatever the budget of states: what could not be trained within it is refused.
        let frames = train.objective.motion().map_or(0, MotionTerm::stored_frames);
        let frame = 3 * train.batch * train.size * train.size * size_of::<f32>();
        let bytes = frames.saturating_mul(frame);
        if bytes > train.memory_budget {
            let mib = |bytes: usize| bytes.div_ceil(1 << 20);
            return Err(Error::invalid(
                "--memory-budget",
                format!("{} MiB", train.memory_budget >> 20),
                format!("at least {} MiB for {frames} frames of motion", mib(bytes)),
            ));
        }
        let measure = &self.measure;
        let motion = |pairs| MotionSettings {
            pairs,
            steps_per_frame: measure.steps_per_frame,
            warmup: measure.warmup,
            seed: 0,
            height: train.size,
            width: train.size,
        };
        motion(measure.pairs).validate()?;
        if let Some(clamp) = self.clamp
            && !(clamp > 0.0 && clamp.is_finite())
        {
            return Err(Error::invalid("--clamp", clamp, "a positive number"));
        }
        if !APPEARANCES.contains(&self.appearance.as_str()) {
            return Err(Error::invalid("--appearance", &self.appearance, APPEARANCES.join(", ")));
        }
        if !self.train.objective.has_appearance()
            && let Some(vgg) = &self.vgg
        {
            let found = format!("{} for an objective without appearance", vgg.display());
            return Err(Error::invalid("--vgg", found, "--objective appearance or both with it"));
        }
        if self.train.objective.has_appearance() && self.appearance != "patch" && self.vgg.is_none() {
            let expected = format!("a file of weights of VGG16 or VGG19 for {}", self.appearance);
            return Err(Error::invalid("--vgg", "missing", expected));
        }
        if self.appearance == "patch"
            && let Some(vgg) = &self.vgg
        {
            let found = format!("{} for the patch loss, which needs none", vgg.display());
            return Err(Error::invalid(
                "--vgg",
                found,
                "--appearance vgg-ot, vgg-slw or vgg-gram with it",
            ));
        }
        if measure.every > 0 && measure.training_pairs < MotionSettings::MIN_PAIRS {
            let expected = format!("at least {}", MotionSettings::MIN_PAIRS);
            return Err(Error::invalid(
                "pairs measured during training",
                measure.training_pairs,
                expected,
            ));
        }
        Ok(())
    }
}

/// Part `index` of `count` of a sweep, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 1.
    pub index: usize,
    /// Of how many.
    pub count: usize,
}

impl Shard {
    /// Whether the `position`-th model of [`SweepSettings::models`] belongs to it.
    #[must_use]
    pub fn holds(self, position: usize) -> bool {
        position % self.count == self.index - 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        let parsed = s
            .split_once('/')
            .and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parsed {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err(Error::invalid("--shard", s, "I/N with I from 1 to N, as in 1/4")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{MotionTerm, Objective};

    #[test]
    fn paper_grid_has_512_models() {
        let settings = SweepSettings::preset(SweepPreset::Paper, "cpu");
        settings.validate().unwrap();
        assert_eq!(settings.models().len(), 512);
    }

    #[test]
    fn shards_partition_the_models() {
        let count = 5;
        for position in 0..64 {
            let holders = (1..=count).filter(|&index| Shard { index, count }.holds(position));
            assert_eq!(holders.count(), 1);
        }
        for bad in ["0/4", "5/4", "1", "a/b", "1/0", "-1/2", ""] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
        assert_eq!("2/4".parse::<Shard>().unwrap(), Shard { index: 2, count: 4 });
    }

    #[test]
    fn impossible_grids_are_refused_by_flag() {
        let refused = |change: fn(&mut SweepSettings)| {
            let mut settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        assert!(refused(|s| s.channels = vec![2]).contains("--channels is 2"));
        assert!(refused(|s| s.channels.clear()).contains("--channels is empty"));
        assert!(refused(|s| s.hidden = vec![16, 16]).contains("--hidden is 16 given twice"));
        assert!(refused(|s| s.train.size = 7).contains("--size is 7"));
        assert!(refused(|s| s.train.learning_rate = f64::NAN).contains("--learning-rate is NaN"));
        assert!(refused(|s| s.measure.steps_per_frame = 0).contains("--steps-per-frame"));
        let moving = |s: &mut SweepSettings| {
            s.train.objective = Objective::Motion(MotionTerm {
                weight: 0.0,
                ..MotionTerm::default()
            });
        };
        assert!(refused(moving).contains("--motion-weight is 0"));
        // 1001 pictures of 48x48 of 4 samples.
        let long = |s: &mut SweepSettings| {
            s.train.memory_budget = 64 << 20;
            s.train.objective = Objective::Motion(MotionTerm {
                frames: 1001,
                ..MotionTerm::default()
            });
        };
        assert!(refused(long).contains("--memory-budget is 64 MiB"));
        let seeing = |s: &mut SweepSettings| {
            s.train.objective = Objective::Motion(MotionTerm::default());
            s.vgg = Some("vgg.safetensors".into());
        };
        assert!(refused(seeing).contains("--vgg is vgg.safetensors for an objective without appearance"));
    }
}
