//! `cargo xtask train`

use std::path::{Path, PathBuf};

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
///
/// Its preset quick is one larger model, for longer and on a larger grid than each of the nine of `sweep`.
#[derive(Args)]
#[command(after_long_help = defaults(&presets(), &[]))]
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
    let known = earlier.as_ref().and_then(|run| run.init_perception);
    let perception = args.perception.or(known);
    let start = match &args.init {
        Some(path) => Some(Nca::load(path, perception)?.config),
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
        settings.init_perception = perception;
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
    let mut inputs = vec![
        settings.init.as_deref(),
        settings.vgg.as_deref(),
        settings.measure.flow_weights.as_deref(),
    ];
    // Other names are those of built-in textures, or of a dataset's.
    let files = settings.textures.iter().map(Path::new).filter(|path| path.is_file());
    inputs.extend(files.map(Some));
    check_outputs(&[("--model-out", args.model_out.as_deref())], &inputs, Some(&out))?;
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
        let (nca, extra) = Nca::load_with_extra(directory.model(), None)?;
        nca.save_with_extra(path, &extra)?;
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use nca_train::report::page::command;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        train: TrainArgs,
    }

    /// The command that a page shows of a model that was trained from another one.
    #[test]
    fn the_command_of_a_model_with_a_start() {
        let settings = SweepSettings {
            channels: vec![12],
            hidden: vec![96],
            init: Some("start.pytorch".into()),
            init_perception: Some(Preset::Distill),
            ..SweepSettings::preset(SweepPreset::Quick, "cpu")
        };
        let line = command(&settings);
        let words = line.strip_prefix("cargo xtask train ").expect("a training").split(' ');
        let Cli { train } = Cli::try_parse_from(std::iter::once("train").chain(words)).unwrap();
        assert_eq!(train.init, settings.init, "{line}");
        assert_eq!(train.perception, settings.init_perception, "{line}");
        assert_eq!((train.channels, train.hidden), (Some(12), Some(96)), "{line}");
    }
}
