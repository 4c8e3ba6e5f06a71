//! `cargo xtask sweep`

use std::path::{Path, PathBuf};

use clap::Args;
use nca_core::backend::Backend;
use nca_core::{Error, Precision};
use nca_train::objective::{MotionTerm, Objective, Pairing};
use nca_train::sweep::{Shard, Sweep, SweepOutcome, SweepPreset, SweepSettings};
use spynet::FlowChoice;

use crate::backend::{BackendArgs, Chosen, Jobs};
use crate::list::List;
use crate::output::{print_json, print_line};
use crate::progress::SweepProgress;

/// Headings of the help. Each flag names its own: one set for a struct holds for all that follows it.
const TRAINING: &str = "Training";
const MEASURING: &str = "Measuring Ψ";
const MOTION: &str = "Motion as an objective (not with --flow classical)";

/// Train a grid of automata and measure how strongly each moves
///
/// Without arguments: the paper's experiment in miniature, nine models of a built-in texture, about
/// ten minutes on two cores, nothing to download. The result is a directory with report.html, a page in
/// which every trained model runs, results.csv, a heat map of the motion strength over (C, D), curves, a
/// contact sheet and the models.
#[derive(Args)]
pub(crate) struct SweepArgs {
    /// Conventions and grid to start from: quick, paper (512 models) or notebook
    #[arg(long, default_value = "quick")]
    preset: SweepPreset,
    /// Channel counts C, as 8,16,32 or 8..=128:8
    #[arg(long, value_name = "LIST")]
    channels: Option<List>,
    /// Hidden neuron counts D, as 16,32 or 16..=128:16
    #[arg(long, value_name = "LIST")]
    hidden: Option<List>,
    #[command(flatten)]
    training: TrainingArgs,
    /// Seeds for each model: N runs with the seeds SEED, SEED + 1, …
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Models in training at a time; results do not depend on it [default: 1, on a GPU 4 or as many as its memory
    /// surely holds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: Option<u8>,
    /// Train only part I of N of the models (counted from 1); `report` merges the parts
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
}

/// How flow is estimated.
#[derive(Args, Clone, Debug)]
pub(crate) struct FlowMethodArgs {
    /// Flow estimator: spynet or classical [default: spynet]
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<String>,
    /// Weights of SpyNet (safetensors or PyTorch file) [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub(crate) flow_weights: Option<PathBuf>,
}

impl FlowMethodArgs {
    /// The method named.
    pub(crate) fn choice(&self) -> nca_core::Result<FlowChoice> {
        FlowChoice::new(
            self.flow.as_deref().unwrap_or(FlowChoice::DEFAULT),
            self.flow_weights.as_deref(),
        )
    }
}

/// What motion training asks for.
///
/// These make a model that moves as strongly as you like: see the section on steering in README.md.
#[derive(Args, Clone, Debug)]
pub(crate) struct MotionArgs {
    /// What training is after: appearance, motion or both [default: what the preset says, appearance
    /// but for notebook; both where that is appearance and a flag below is given]
    #[arg(long, value_name = "NAME", help_heading = TRAINING)]
    objective: Option<String>,
    /// Factor of the motion loss: the objective gains X·Ψ, so a positive one asks for more motion
    /// and a negative one for less; with --motion-target the loss is X·|Ψ − target|
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = MOTION)]
    motion_weight: Option<f64>,
    /// Ψ to be reached, in pixels per frame
    #[arg(long, value_name = "PX", allow_negative_numbers = true, help_heading = MOTION)]
    motion_target: Option<f64>,
    /// Frames of an iteration, --steps-per-frame steps apart, at the end of its rollout
    #[arg(long, value_name = "N", help_heading = MOTION)]
    motion_frames: Option<usize>,
    /// Pairs whose flow counts: successive (the paper's) or last (from the last frame to each
    /// earlier one, the notebook's)
    #[arg(long, value_name = "NAME", help_heading = MOTION)]
    motion_pairs: Option<Pairing>,
    /// Let the gradient flow back through the steps of the last N pairs only; 0 for all
    #[arg(long, value_name = "N", help_heading = MOTION)]
    motion_window: Option<usize>,
}

impl MotionArgs {
    /// Name and value of a flag that was given, `--objective` aside.
    fn given(&self) -> Option<String> {
        let flags = [
            ("--motion-weight", self.motion_weight.map(|v| v.to_string())),
            ("--motion-target", self.motion_target.map(|v| v.to_string())),
            ("--motion-frames", self.motion_frames.map(|v| v.to_string())),
            ("--motion-pairs", self.motion_pairs.map(|v| v.to_string())),
            ("--motion-window", self.motion_window.map(|v| v.to_string())),
        ];
        flags
            .into_iter()
            .find_map(|(flag, value)| Some(format!("{flag} {}", value?)))
    }

    /// Overwrites in `settings` what was given; frames of training are as far apart as those of
    /// measuring.
    fn apply(&self, settings: &mut SweepSettings, steps_per_frame: Option<u32>) -> nca_core::Result<()> {
        let current = &settings.train.objective;
        let given = self.given();
        let name = match (&self.objective, &given) {
            (Some(name), _) => name.as_str(),
            (None, Some(_)) if current.motion().is_none() => "both",
            (None, _) => current.name(),
        };
        let term = current.motion().cloned().unwrap_or(MotionTerm {
            steps_per_frame: settings.measure.steps_per_frame,
            ..MotionTerm::default()
        });
        let mut objective = Objective::new(name, term)?;
        match (objective.motion_mut(), given) {
            (None, Some(flag)) => {
                return Err(Error::invalid(
                    "--objective",
                    format!("{name} with {flag}"),
                    "motion or both with it",
                ));
            }
            (None, None) => {}
            (Some(term), _) => {
                term.weight = self.motion_weight.unwrap_or(term.weight);
                term.target = self.motion_target.or(term.target);
                term.frames = self.motion_frames.unwrap_or(term.frames);
                term.pairs = self.motion_pairs.unwrap_or(term.pairs);
                term.window = match self.motion_window {
                    Some(0) => None,
                    given => given.or(term.window),
                };
                term.steps_per_frame = steps_per_frame.unwrap_or(term.steps_per_frame);
            }
        }
        settings.train.objective = objective;
        Ok(())
    }
}

/// What `sweep` and `train` share.
#[derive(Args, Clone, Debug)]
pub(crate) struct TrainingArgs {
    /// Texture: bubbly, chequered, interlaced, cracked (built in), an image file, or with --dtd a
    /// name such as bubbly_0101; may be given more than once
    #[arg(long = "texture", value_name = "NAME|PATH")]
    pub(crate) textures: Vec<String>,
    /// Folder of the Describable Textures Dataset
    #[arg(long, value_name = "DIR")]
    pub(crate) dtd: Option<PathBuf>,
    /// Side of the grid in cells; the texture is cropped to a square and resized to it
    #[arg(long, value_name = "N")]
    pub(crate) size: Option<usize>,
    /// Training iterations of each model
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
    /// MiB of states and frames of motion kept for the backward pass; states that do not fit are
    /// recomputed
    #[arg(long, value_name = "MIB", help_heading = TRAINING)]
    pub(crate) memory_budget: Option<usize>,
    /// Frame pairs of the final measurement of Ψ
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
    /// Directory of the results
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

impl TrainingArgs {
    /// The settings of the run in `out` that is gone on with, if one is, and the backend.
    ///
    /// A resumed run starts from its own settings and stays on its backend and in its precision, so that no flag need be repeated; flags
    /// that contradict them are refused.
    pub(crate) fn open(&self, out: &Path) -> nca_core::Result<(Option<SweepSettings>, Chosen)> {
        let earlier = if self.resume { Sweep::settings_of(out)? } else { None };
        let backend = self
            .backend
            .open_again(earlier.as_ref().map(|run| (run.backend.as_str(), run.precision)))?;
        Ok((earlier, backend))
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
            settings.appearance = "vgg-ot".to_owned();
        }
        set(&mut settings.appearance, self.appearance.as_ref());
        if self.dtd.is_some() {
            settings.dtd.clone_from(&self.dtd);
        }
        settings.clamp = self.clamp.or(settings.clamp);
        let train = &mut settings.train;
        set(&mut train.size, self.size.as_ref());
        if let Some(iterations) = self.iterations {
            // The learning rate falls at the same fractions of the run.
            for at in &mut train.decay_at {
                *at = (*at as f64 * iterations as f64 / train.iterations as f64).round() as u64;
            }
            train.iterations = iterations;
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
            let count = settings.seeds.len() as u64;
            settings.seeds = (0..count).map(|i| seed.wrapping_add(i)).collect();
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

pub(crate) fn run(args: &SweepArgs) -> anyhow::Result<()> {
    let training = &args.training;
    let out = training
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(args.preset.name()));
    let (earlier, backend) = training.open(&out)?;
    let settings = settings_of(args, earlier, backend.name(), backend.precision())?;
    let sweep = Sweep::new(settings, &out, training.resume, args.shard, training.checkpoint_seconds)?;
    let jobs = args
        .jobs
        .map_or_else(|| default_jobs(&backend, sweep.settings()), usize::from);
    let outcome = backend.run_on_several(
        jobs,
        RunSweep {
            sweep: &sweep,
            quiet: training.json,
        },
    )?;
    if training.json {
        print_json(&outcome)
    } else {
        print_line(&outcome.summary())
    }
}

/// Models at a time on a GPU: while the host prepares the launches of one, or waits for its loss, the device works for
/// the others. A few are enough for that; the kernels of a model of the paper's size fill a device by themselves.
const GPU_JOBS: usize = 4;

/// Bytes of a device that a model takes beside what its settings say: scratch, losses, the flow network.
const OTHER_MEMORY: usize = 1 << 30;

/// Models at a time, where nobody says.
fn default_jobs(backend: &Chosen, settings: &SweepSettings) -> usize {
    match backend.memory() {
        Some(bytes) => (bytes / (settings.train.memory_budget + OTHER_MEMORY)).clamp(1, GPU_JOBS),
        // All cores work for one model already.
        None => 1,
    }
}

/// What the flags say, over the settings of an `earlier` run or those of the preset on `backend`.
fn settings_of(
    args: &SweepArgs,
    earlier: Option<SweepSettings>,
    backend: &str,
    precision: Precision,
) -> nca_core::Result<SweepSettings> {
    let training = &args.training;
    let mut settings = earlier.unwrap_or_else(|| SweepSettings::preset(args.preset, backend));
    settings.backend = backend.to_owned();
    settings.precision = precision;
    if let Some(List(channels)) = &args.channels {
        settings.channels.clone_from(channels);
    }
    if let Some(List(hidden)) = &args.hidden {
        settings.hidden.clone_from(hidden);
    }
    if let Some(count) = args.seeds {
        let first = settings.seeds.first().copied().unwrap_or(0);
        settings.seeds = (0..count).map(|i| first.wrapping_add(i)).collect();
    }
    training.apply(&mut settings)?;
    Ok(settings)
}

/// Runs a prepared sweep with progress bars.
pub(crate) struct RunSweep<'a> {
    pub(crate) sweep: &'a Sweep,
    pub(crate) quiet: bool,
}

impl Jobs for RunSweep<'_> {
    type Output = SweepOutcome;

    fn run<B: Backend<Elem = f32>>(self, backends: &[B]) -> anyhow::Result<SweepOutcome> {
        let mut progress = SweepProgress::new(self.quiet, backends.len());
        Ok(self.sweep.run(backends, &mut |job, event| progress.show(job, &event))?)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use nca_train::report::page::command;

    use super::*;
    use crate::backend::Choice;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: SweepArgs,
    }

    fn settings(words: &str) -> SweepSettings {
        let parsed = Only::try_parse_from(std::iter::once("sweep").chain(words.split_whitespace()));
        let args = parsed.unwrap_or_else(|e| panic!("{words}: {e}")).args;
        let backend = match args.training.backend.backend {
            Choice::Reference => "reference",
            _ => "cpu",
        };
        let precision = args.training.backend.precision.unwrap_or_default();
        settings_of(&args, None, backend, precision).expect("settings")
    }

    #[test]
    fn the_command_that_a_report_states_makes_the_same_sweep() {
        for words in [
            "",
            "--preset paper --seeds 3",
            "--preset notebook --seed 9 --channels 8..=24:8 --hidden 16",
            "--channels 4,5 --hidden 6 --texture cracked --texture photo.jpg --size 40 --iterations 777 --batch 3 --pool 9",
            "--learning-rate 0.0013 --steps-min 7 --steps-max 11 --memory-budget 64 --frames 12 --steps-per-frame 8",
            "--warmup 100 --measure-every 0 --flow spynet --flow-weights net.pytorch --backend reference",
            "--backend reference --precision bf16",
            "--vgg vgg16.safetensors",
            "--motion-weight -2 --motion-window 3 --clamp 1.5 --overflow-weight 0 --flow-weights net.pytorch",
            "--objective motion --motion-target 0.25 --motion-frames 5 --motion-pairs last --steps-per-frame 8",
            "--preset notebook --objective both --motion-weight 3 --flow-weights net.pytorch",
            "--preset notebook --motion-window 0 --motion-frames 4",
            "--vgg vgg16.safetensors --appearance vgg-gram --dtd dtd",
        ] {
            let made = settings(words);
            let line = command(&made);
            let again = line.strip_prefix("cargo xtask sweep").expect("a sweep");
            assert_eq!(settings(again), made, "{line}");
        }
    }
}
