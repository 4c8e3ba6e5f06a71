//! `cargo xtask train`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use nca_core::checkpoint::{Conventions, PerceptionOrder};
use nca_core::{Error, Nca};
use nca_train::report::{Status, read_result};
use nca_train::sweep::{Sweep, SweepPreset, SweepSettings};

use crate::commands::sweep::RunSweep;
use crate::files::{check_extension, check_outputs};
use crate::flags::{ConventionsArgs, TrainingArgs, defaults};
use crate::model::load;
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
    /// train it further, or for something else. If its file holds only weights, --perception and
    /// --perception-order say how they are meant
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    #[command(flatten)]
    conventions: ConventionsArgs,
    #[command(flatten)]
    training: TrainingArgs,
    /// Also save the trained model here
    #[arg(long, value_name = "FILE.safetensors")]
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

/// Refuses to train the many models of an `earlier` sweep in `out` as if they were one.
fn check_one_model(earlier: &SweepSettings, out: &Path) -> nca_core::Result<()> {
    let models = earlier.models().len();
    if models == 1 {
        return Ok(());
    }
    let found = format!("given for {}, a sweep of {models} models", out.display());
    let expected = format!(
        "the directory of one model; `cargo xtask sweep --resume --out {}` goes on with the sweep",
        out.display()
    );
    Err(Error::invalid("--resume", found, expected))
}

/// Conventions are those of a model to start from.
fn check_start(args: &TrainArgs, given: Conventions) -> nca_core::Result<()> {
    let flag = match (given.preset, given.order) {
        _ if args.init.is_some() => return Ok(()),
        (None, None) => return Ok(()),
        (Some(preset), _) => ("--perception", preset.name()),
        (None, Some(order)) => ("--perception-order", order.name()),
    };
    let expected = "--init beside it, with the model that it is about";
    Err(Error::invalid(flag.0, flag.1, expected))
}

pub(crate) fn run(args: &TrainArgs) -> anyhow::Result<()> {
    let training = &args.training;
    let out = training
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join("train"));
    let (earlier, backend) = training.open(&out, args.preset)?;
    if let Some(run) = &earlier {
        check_one_model(run, &out)?;
    }
    let known = earlier
        .as_ref()
        .map(SweepSettings::init_conventions)
        .unwrap_or_default();
    let given = args.conventions.get();
    check_start(args, given)?;
    let conventions = Conventions {
        preset: given.preset.or(known.preset),
        order: given.order.or(known.order),
    };
    let start = match &args.init {
        Some(path) => Some(load(path, conventions)?.0.config),
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
        settings.init_perception = conventions.preset;
        // What is assumed anyway is no other setting.
        settings.init_perception_order = conventions.order.filter(|&order| order != PerceptionOrder::default());
        // The preset's bound is for models without one.
        if config.clamp.is_some() {
            settings.clamp = None;
        }
    }
    training.apply(&mut settings)?;
    training.check_dtd()?;
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
    let model_out = args.model_out.as_deref();
    check_outputs(&[("--model-out", model_out)], &inputs, Some(&out))?;
    check_extension("--model-out", model_out, "a safetensors file", &["safetensors"])?;
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
    use nca_core::Preset;
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
            init_perception_order: Some(PerceptionOrder::ChannelMajor),
            ..SweepSettings::preset(SweepPreset::Quick, "cpu")
        };
        let line = command(&settings);
        let words = line.strip_prefix("cargo xtask train ").expect("a training").split(' ');
        let Cli { train } = Cli::try_parse_from(std::iter::once("train").chain(words)).unwrap();
        assert_eq!(train.init, settings.init, "{line}");
        assert_eq!(train.conventions.get(), settings.init_conventions(), "{line}");
        assert_eq!((train.channels, train.hidden), (Some(12), Some(96)), "{line}");
    }
}
