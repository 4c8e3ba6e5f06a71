//! What `sweep` and `train` share.

use std::path::{Path, PathBuf};

use clap::Args;
use nca_core::Error;
use nca_train::exemplar::Exemplar;
use nca_train::sweep::{Sweep, SweepPreset, SweepSettings};

use super::dtd::{check_dtd_folder, is_of_dataset, unused};
use super::motion::MotionArgs;
use super::{FlowMethodArgs, MEASURING, TRAINING};
use crate::backend::{BackendArgs, Chosen};

/// Textures of the Describable Textures Dataset that the presets of full size train on where the dataset is
/// given and nothing else is said; the built-in ones stand in for them.
const DTD_TEXTURES: [&str; 4] = ["bubbly_0101", "chequered_0121", "interlaced_0172", "cracked_0085"];

/// What `sweep` and `train` share.
#[derive(Args, Clone, Debug)]
pub(crate) struct TrainingArgs {
    /// Texture: bubbly, chequered, interlaced, cracked (built in), an image file, or with --dtd a name such as
    /// bubbly_0101; `sweep` takes several, each after a --texture of its own
    #[arg(long = "texture", value_name = "NAME|PATH")]
    pub(crate) textures: Vec<String>,
    /// Folder of the Describable Textures Dataset, for textures by its names. Where the preset is not quick and no texture
    /// is named: bubbly_0101, chequered_0121, interlaced_0172 and cracked_0085 (`train`: the first)
    #[arg(long, value_name = "DIR")]
    pub(crate) dtd: Option<PathBuf>,
    /// Side of the grid in cells; the texture is cropped to a square and resized to it
    #[arg(long, value_name = "N")]
    pub(crate) size: Option<usize>,
    /// Training iterations of a model
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub(crate) iterations: Option<u64>,
    /// Samples of an iteration
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub(crate) batch: Option<usize>,
    /// States in the pool
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub(crate) pool: Option<usize>,
    /// Adam's initial learning rate
    #[arg(long, value_name = "X", help_heading = TRAINING)]
    pub(crate) learning_rate: Option<f64>,
    /// Fewest steps of a training rollout
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub(crate) steps_min: Option<u32>,
    /// One more than the most steps of a training rollout
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    pub(crate) steps_max: Option<u32>,
    /// Bound states to ±X after each step [default: as the preset's automata do]
    #[arg(long, value_name = "X", help_heading = TRAINING)]
    pub(crate) clamp: Option<f64>,
    /// Factor of the loss on states beyond ±1
    #[arg(long, value_name = "X", help_heading = TRAINING)]
    pub(crate) overflow_weight: Option<f64>,
    /// MiB of states, activations and frames of motion kept for the backward pass; states and activations
    /// that do not fit are recomputed
    #[arg(long, value_name = "MIB", help_heading = TRAINING)]
    pub(crate) memory_budget: Option<usize>,
    /// Frame pairs of the final measurement of Ψ: N + 1 frames
    #[arg(long, value_name = "N", help_heading = MEASURING)]
    pub(crate) frames: Option<usize>,
    /// Automaton steps between two frames; Ψ grows with it
    #[arg(long, value_name = "N", help_heading = MEASURING)]
    pub(crate) steps_per_frame: Option<u32>,
    #[command(flatten)]
    pub(crate) flow: FlowMethodArgs,
    #[command(flatten)]
    pub(crate) motion: MotionArgs,
    /// Appearance loss: patch (needs no weights), vgg-ot, vgg-slw or vgg-gram [default: vgg-ot with
    /// --vgg, else patch]
    #[arg(long, value_name = "NAME", help_heading = TRAINING)]
    pub(crate) appearance: Option<String>,
    /// Weights of VGG16 or VGG19 (safetensors or PyTorch file, torchvision names, as many layers as it has)
    #[arg(long, value_name = "FILE", help_heading = TRAINING)]
    pub(crate) vgg: Option<PathBuf>,
    /// Steps before the first frame
    #[arg(long, value_name = "N", help_heading = MEASURING)]
    pub(crate) warmup: Option<u32>,
    /// Iterations between measurements of Ψ during training, 0 for none
    #[arg(long, value_name = "N", help_heading = MEASURING)]
    pub(crate) measure_every: Option<u64>,
    /// Decides everything random
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
    /// Directory of the results [default: runs/ and the preset's name; of `train`, runs/train]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with the run in --out: skip what is done, continue what is half done
    #[arg(long)]
    pub(crate) resume: bool,
    /// Seconds between checkpoints: what a killed run loses at most
    #[arg(long, value_name = "S", default_value = "60")]
    pub(crate) checkpoint_seconds: f64,
    /// Print one JSON object to standard output, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
}

/// `count` seeds from `first` on.
pub(crate) fn seeds(first: u64, count: u64) -> nca_core::Result<Vec<u64>> {
    let highest = u64::MAX - count.saturating_sub(1);
    if first > highest {
        let expected = format!("at most {highest}, for {count} seeds that follow each other");
        return Err(Error::invalid("--seed", first, expected));
    }
    Ok((0..count).map(|i| first + i).collect())
}

impl TrainingArgs {
    /// The settings of the run in `out` that is gone on with, if one is, and the backend.
    ///
    /// A resumed run starts from its own settings and stays on its backend and in its precision, so that no flag need be repeated; flags
    /// that contradict them are refused.
    pub(crate) fn open(
        &self,
        out: &Path,
        preset: Option<SweepPreset>,
    ) -> nca_core::Result<(Option<SweepSettings>, Chosen)> {
        let earlier = if self.resume { Sweep::settings_of(out)? } else { None };
        if let (Some(given), Some(earlier)) = (preset, &earlier)
            && given != earlier.preset
        {
            let expected = format!("{}, as the run in {}", earlier.preset, out.display());
            return Err(Error::invalid("--preset", given, expected));
        }
        let backend = self
            .backend
            .open_again(earlier.as_ref().map(|run| (run.backend.as_str(), run.precision)))?;
        Ok((earlier, backend))
    }

    /// Refuses a folder of the dataset that is not there.
    pub(crate) fn check_dtd(&self) -> nca_core::Result<()> {
        check_dtd_folder(self.dtd.as_deref())
    }

    /// Overwrites in `settings` what was given.
    pub(crate) fn apply(&self, settings: &mut SweepSettings) -> nca_core::Result<()> {
        fn set<T: Clone>(target: &mut T, given: Option<&T>) {
            if let Some(value) = given {
                *target = value.clone();
            }
        }
        if !self.textures.is_empty() {
            settings.textures.clone_from(&self.textures);
        }
        if self.vgg.is_some() {
            settings.vgg.clone_from(&self.vgg);
            if settings.appearance == "patch" {
                settings.appearance = "vgg-ot".to_owned();
            }
        }
        set(&mut settings.appearance, self.appearance.as_ref());
        if let Some(dtd) = &self.dtd {
            settings.dtd = Some(dtd.clone());
            let textures = &settings.textures;
            if !textures.iter().any(|name| is_of_dataset(name)) {
                // Built-in ones stand in for the dataset's where a preset of full size chose them.
                let built_in = textures.iter().all(|name| Exemplar::by_name(name).is_some());
                if !self.textures.is_empty() || settings.preset == SweepPreset::Quick || !built_in {
                    return Err(unused(dtd));
                }
                settings.textures = DTD_TEXTURES.map(String::from).to_vec();
            }
        }
        settings.clamp = self.clamp.or(settings.clamp);
        let train = &mut settings.train;
        set(&mut train.size, self.size.as_ref());
        if let Some(iterations) = self.iterations {
            *train = train.clone().with_iterations(iterations);
        }
        set(&mut train.batch, self.batch.as_ref());
        set(&mut train.pool, self.pool.as_ref());
        set(&mut train.learning_rate, self.learning_rate.as_ref());
        set(&mut train.steps_min, self.steps_min.as_ref());
        set(&mut train.steps_max, self.steps_max.as_ref());
        set(&mut train.overflow_weight, self.overflow_weight.as_ref());
        if let Some(mib) = self.memory_budget {
            train.memory_budget = mib.saturating_mul(1 << 20);
        }
        let measure = &mut settings.measure;
        if let Some(name) = &self.flow.flow {
            measure.flow.clone_from(name);
        }
        if self.flow.flow_weights.is_some() {
            measure.flow_weights.clone_from(&self.flow.flow_weights);
        }
        set(&mut measure.pairs, self.frames.as_ref());
        set(&mut measure.steps_per_frame, self.steps_per_frame.as_ref());
        set(&mut measure.warmup, self.warmup.as_ref());
        set(&mut measure.every, self.measure_every.as_ref());
        if let Some(seed) = self.seed {
            settings.seeds = seeds(seed, settings.seeds.len() as u64)?;
        }
        self.motion.apply(settings, self.steps_per_frame)?;
        let objective = &settings.train.objective;
        match &self.appearance {
            Some(name) if !objective.has_appearance() => Err(Error::invalid(
                "--appearance",
                format!("{name} with the objective '{}'", objective.name()),
                "--objective appearance or both with it",
            )),
            _ => Ok(()),
        }
    }
}
