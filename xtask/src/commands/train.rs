//! `cargo xtask train`

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use nca_core::{Error, Nca, Preset};
use nca_train::report::{Status, read_result};
use nca_train::sweep::{Sweep, SweepPreset, SweepSettings};

use crate::commands::sweep::RunSweep;
use crate::files::check_outputs;
use crate::flags::{TrainingArgs, defaults};
use crate::output::{print_json, print_line};

/// Train one automaton and measure it: a sweep of one model
#[derive(Args)]
#[command(after_long_help = defaults(&presets()))]
pub(crate) struct TrainArgs {
    /// Conventions to start from: quick, paper or notebook [default: quick]
    #[arg(long, value_name = "PRESET")]
    preset: Option<SweepPreset>,
    /// Channels, C [default: 12, or those of --init]
    #[arg(long, value_name = "N")]
    channels: Option<usize>,
    /// Hidden neurons, D [default: 96, or those of --init]
    #[arg(long, value_name = "N")]
    hidden: Option<usize>,
    /// Start from this model (safetensors or PyTorch) instead of random weights, under its own conventions: to
    /// train it further, or for something else
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Conventions of that model, if its file holds only weights: paper, notebook or distill
    #[arg(long, value_name = "PRESET", requires = "init")]
    perception: Option<Preset>,
    #[command(flatten)]
    training: TrainingArgs,
    /// Also save the trained model here (safetensors)
    #[arg(long, value_name = "FILE")]
    model_out: Option<PathBuf>,
}

/// `train` trains one model for longer than `quick` trains each of nine.
const QUICK_ITERATIONS: u64 = 2000;
/// Channels and hidden neurons of a model that starts from random weights.
const ARCHITECTURE: (usize, usize) = (12, 96);

/// What a preset says of one model.
fn preset(preset: SweepPreset, backend: &str) -> SweepSettings {
    let mut settings = SweepSettings::preset(preset, backend);
    if preset == SweepPreset::Quick {
        settings.train.steps_max = 96;
        settings.train.iterations = QUICK_ITERATIONS;
        settings.train.decay_at = vec![QUICK_ITERATIONS / 2, QUICK_ITERATIONS * 4 / 5];
        settings.train.size = 64;
    }
    settings
}

/// What the presets say, for the help.
fn presets() -> [(&'static str, SweepSettings); 3] {
    SweepPreset::ALL.map(|name| (name.name(), preset(name, "cpu")))
}

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let training = &args.training;
    let out = training
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join("train"));
    let (earlier, backend) = training.open(&out, args.preset)?;
    check_outputs(
        &[("--model-out", args.model_out.as_deref())],
        &[args.init.as_deref(), training.vgg.as_deref()],
    )?;
    let start = match &args.init {
        Some(path) => Some(Nca::load(path, args.perception)?.config),
        None => None,
    };
    let architecture = start
        .as_ref()
        .map_or(ARCHITECTURE, |config| (config.channels, config.hidden));
    let mut settings = earlier.unwrap_or_else(|| {
        let mut settings = preset(args.preset.unwrap_or_default(), backend.name());
        settings.textures.truncate(1);
        settings.channels = vec![architecture.0];
        settings.hidden = vec![architecture.1];
        settings
    });
    settings.backend = backend.name().to_owned();
    settings.precision = backend.precision();
    if let Some(channels) = args.channels {
        settings.channels = vec![channels];
    }
    if let Some(hidden) = args.hidden {
        settings.hidden = vec![hidden];
    }
    if let Some(config) = start {
        settings.init.clone_from(&args.init);
        settings.init_perception = args.perception;
        // The preset's bound is for models without one.
        if config.clamp.is_some() {
            settings.clamp = None;
        }
    }
    training.apply(&mut settings)?;
    if training.textures.is_empty() {
        settings.textures.truncate(1);
    }
    if settings.textures.len() > 1 {
        return Err(Error::invalid(
            "--texture",
            settings.textures.join(" and "),
            "one texture; `sweep` takes several",
        )
        .into());
    }
    let sweep = Sweep::new(settings, &out, training.resume, None, training.checkpoint_seconds)?;
    let outcome = backend.run_on_several(
        1,
        RunSweep {
            sweep: &sweep,
            quiet: training.json,
        },
    )?;
    let directory = sweep.model_directory(0).context("the sweep has no model")?;
    let result = read_result(directory.result())?;
    if result.record.status == Status::Ok
        && let Some(path) = &args.model_out
    {
        Nca::load(directory.model(), None)?.save(path, &std::collections::BTreeMap::new())?;
    }
    if training.json {
        print_json(&result.record)?;
    } else {
        print_line(&outcome.summary())?;
    }
    if result.record.status != Status::Ok {
        let reason = result.reason.unwrap_or_else(|| "for no reason on record".to_owned());
        bail!("model {}: {reason}", result.record.status.name());
    }
    Ok(())
}
