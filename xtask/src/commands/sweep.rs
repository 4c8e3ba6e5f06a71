//! `cargo xtask sweep`

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use nca_core::Precision;
use nca_core::backend::Backend;
use nca_train::report::Status;
use nca_train::sweep::{Shard, Sweep, SweepOutcome, SweepPreset, SweepSettings};

use crate::backend::{Chosen, Jobs};
use crate::flags::{TrainingArgs, Value, defaults, seeds};
use crate::list::List;
use crate::output::{print_json, print_line};
use crate::progress::SweepProgress;

/// Train a grid of automata and measure how strongly each moves
///
/// Without arguments: the paper's experiment in miniature, nine models of a built-in texture, ten to
/// fifteen minutes on two cores, nothing to download. The result is a directory with report.html, a page in
/// which every trained model runs, results.csv, a heat map of the motion strength over (C, D), curves, a
/// contact sheet and the models.
#[derive(Args)]
#[command(after_long_help = defaults(&presets(), &MODELS))]
pub(crate) struct SweepArgs {
    /// Conventions and grid to start from: quick, paper (512 models) or notebook [default: quick]
    #[arg(long, value_name = "PRESET")]
    preset: Option<SweepPreset>,
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

/// Which models a preset trains, for the help.
const MODELS: [(&str, Value); 4] = [
    ("--channels", |s| List(s.channels.clone()).to_string()),
    ("--hidden", |s| List(s.hidden.clone()).to_string()),
    ("--texture", |s| match &s.textures[..] {
        [texture] => texture.clone(),
        several => format!("{} built in", several.len()),
    }),
    ("--seeds", |s| s.seeds.len().to_string()),
];

/// What the presets say, for the help.
fn presets() -> [(&'static str, SweepSettings); 3] {
    SweepPreset::ALL.map(|preset| (preset.name(), SweepSettings::preset(preset, "cpu")))
}

pub(crate) fn run(args: &SweepArgs) -> anyhow::Result<()> {
    let training = &args.training;
    let out = training
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(args.preset.unwrap_or_default().name()));
    let (earlier, backend) = training.open(&out, args.preset)?;
    let settings = settings_of(args, earlier, backend.name(), backend.precision())?;
    training.check_dtd()?;
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
        print_json(&outcome)?;
    } else {
        print_line(&outcome.summary())?;
    }
    let failed = outcome.records.iter().filter(|record| record.status == Status::Failed);
    match failed.count() {
        0 => Ok(()),
        failed => bail!(
            "{failed} of {} models failed: result.json of each says why, and --resume tries them again",
            outcome.records.len()
        ),
    }
}

/// Models at a time on a GPU: while the host prepares the launches of one, or waits for its loss, the device works for
/// the others. A few are enough for that; the kernels of a model of the paper's size fill a device by themselves.
const GPU_JOBS: usize = 4;

/// Bytes of a device that a model takes beside its pool and its budget: scratch, losses, the flow network.
const OTHER_MEMORY: usize = 1 << 30;

/// Bytes of a device that the largest model takes.
fn memory_of(settings: &SweepSettings) -> usize {
    let train = &settings.train;
    let channels = settings.channels.iter().max().copied().unwrap_or(0);
    let state = channels * train.size * train.size * size_of::<f32>();
    train.pool * state + train.memory_budget + OTHER_MEMORY
}

/// Models at a time, where nobody says.
fn default_jobs(backend: &Chosen, settings: &SweepSettings) -> usize {
    match backend.memory() {
        Some(bytes) => (bytes / memory_of(settings)).clamp(1, GPU_JOBS),
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
    let mut settings = earlier.unwrap_or_else(|| SweepSettings::preset(args.preset.unwrap_or_default(), backend));
    settings.backend = backend.to_owned();
    settings.precision = precision;
    if let Some(List(channels)) = &args.channels {
        settings.channels.clone_from(channels);
    }
    if let Some(List(hidden)) = &args.hidden {
        settings.hidden.clone_from(hidden);
    }
    if let Some(count) = args.seeds {
        let first = training.seed.or(settings.seeds.first().copied());
        settings.seeds = seeds(first.unwrap_or(0), count)?;
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
    use clap::{CommandFactory as _, FromArgMatches as _, Parser};
    use nca_train::report::page::command;

    use super::*;
    use crate::backend::Choice;
    use crate::flags::take_negative_numbers;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: SweepArgs,
    }

    fn settings(words: &str) -> SweepSettings {
        let words_of = std::iter::once("sweep").chain(words.split_whitespace());
        let given = take_negative_numbers(Only::command()).try_get_matches_from(words_of);
        let args = given
            .and_then(|given| Only::from_arg_matches(&given))
            .unwrap_or_else(|e| panic!("{words}: {e}"))
            .args;
        let backend = match args.training.backend.backend {
            Choice::Reference => "reference",
            _ => "cpu",
        };
        let precision = args.training.backend.precision.unwrap_or_default();
        settings_of(&args, None, backend, precision).expect("settings")
    }

    /// The pool of a model of the paper's is twice its budget.
    #[test]
    fn the_pool_counts() {
        let paper = memory_of(&settings("--preset paper"));
        assert_eq!(paper, (256 * 128 * 128 * 128 * 4) + (1 << 30) + OTHER_MEMORY);
        assert!(memory_of(&settings("--preset paper --channels 8")) < paper);
    }

    #[test]
    fn motion_beside_a_look_is_asked_for_gently() {
        for (flags, expected) in [
            ("--motion-target 0.5", 0.2),
            ("--objective both", 0.02),
            ("--motion-frames 3 --motion-weight 3", 3.0),
            ("--objective motion --motion-target 0.5", 1.0),
            ("--preset notebook --motion-frames 5", 1.0),
            ("--preset notebook --objective both", 0.02),
            ("--preset notebook --objective both --motion-weight 1", 1.0),
        ] {
            let objective = settings(flags).train.objective;
            assert_eq!(objective.motion().map(|term| term.weight), Some(expected), "{flags}");
        }
    }

    #[test]
    fn textures_of_the_dataset() {
        let paper = settings("--preset paper --dtd dtd");
        assert_eq!(paper.textures.len(), 4);
        assert!(
            paper.textures.iter().all(|name| name.contains("_0")),
            "{:?}",
            paper.textures
        );
        let chosen = settings("--preset paper --dtd dtd --texture dotted_0001 --texture bubbly");
        assert_eq!(chosen.textures, ["dotted_0001", "bubbly"]);
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
            "--vgg vgg16.safetensors --appearance vgg-gram --dtd dtd --texture bubbly_0101",
            "--preset paper --dtd dtd",
        ] {
            let made = settings(words);
            let line = command(&made);
            let again = line.strip_prefix("cargo xtask sweep").expect("a sweep");
            assert_eq!(settings(again), made, "{line}");
        }
    }
}
