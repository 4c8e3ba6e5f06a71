//! Flags that several commands share.

mod conventions;
mod dtd;
mod flow;
mod motion;
mod size;
mod training;

use std::any::TypeId;

use clap::Command;
use nca_train::sweep::SweepSettings;

use crate::list::List;

pub(crate) use conventions::ConventionsArgs;
pub(crate) use dtd::check_dtd;
pub(crate) use flow::FlowMethodArgs;
pub(crate) use size::Size;
pub(crate) use training::{TrainingArgs, seeds};

/// Headings of the help. Each flag names its own: one set for a struct holds for all that follows it.
const TRAINING: &str = "Training";
const MEASURING: &str = "Measuring Ψ";
const MOTION: &str = "Motion as an objective (not with --flow classical)";

/// `command` whose flags for numbers, and those of its subcommands, take what begins with a minus: then an error names the
/// flag and what it takes. By itself clap knows no flag called -1.
pub(crate) fn take_negative_numbers(command: Command) -> Command {
    let numbers = [
        TypeId::of::<f64>(),
        TypeId::of::<f32>(),
        TypeId::of::<u64>(),
        TypeId::of::<u32>(),
        TypeId::of::<u16>(),
        TypeId::of::<u8>(),
        TypeId::of::<usize>(),
        TypeId::of::<List>(),
        TypeId::of::<Size>(),
    ];
    let command = command.mut_args(|flag| {
        let value = flag.get_value_parser().type_id();
        let is_number = flag.get_action().takes_values() && numbers.iter().any(|number| value == *number);
        flag.allow_negative_numbers(is_number)
    });
    command.mut_subcommands(take_negative_numbers)
}

/// The value of a flag.
pub(crate) type Value = fn(&SweepSettings) -> String;

/// The values of flags that each of `presets` stands for, as a table: of `first`, then of those that commands share.
pub(crate) fn defaults(presets: &[(&str, SweepSettings)], first: &[(&str, Value)]) -> String {
    const ROWS: [(&str, Value); 14] = [
        ("--size", |s| s.train.size.to_string()),
        ("--iterations", |s| s.train.iterations.to_string()),
        ("--batch", |s| s.train.batch.to_string()),
        ("--pool", |s| s.train.pool.to_string()),
        ("--learning-rate", |s| s.train.learning_rate.to_string()),
        ("--steps-min", |s| s.train.steps_min.to_string()),
        ("--steps-max", |s| s.train.steps_max.to_string()),
        ("--overflow-weight", |s| s.train.overflow_weight.to_string()),
        ("--clamp", |s| s.clamp.map_or("none".into(), |clamp| clamp.to_string())),
        ("--memory-budget", |s| (s.train.memory_budget >> 20).to_string()),
        ("--frames", |s| s.measure.pairs.to_string()),
        ("--steps-per-frame", |s| s.measure.steps_per_frame.to_string()),
        ("--warmup", |s| s.measure.warmup.to_string()),
        ("--measure-every", |s| s.measure.every.to_string()),
    ];
    let line = |first: &str, cells: &mut dyn Iterator<Item = String>| {
        let cells: String = cells.map(|cell| format!("{cell:>13}")).collect();
        format!("  {first:20}{cells}\n")
    };
    let mut text = String::from("Defaults:\n");
    text += &line("", &mut presets.iter().map(|(name, _)| (*name).to_owned()));
    for &(flag, value) in first.iter().chain(&ROWS) {
        text += &line(flag, &mut presets.iter().map(|(_, settings)| value(settings)));
    }
    text
}
