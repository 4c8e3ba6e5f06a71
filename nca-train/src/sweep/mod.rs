//! Sweeps: every architecture of a grid trained and measured, one directory a model.
//!
//! The directory's layout is that of [`crate::report::layout`]; a model in training also has its
//! checkpoint there, `state.safetensors`. `result.json` is written last: its presence means done.
//!
//! Every file is written under a temporary name and renamed, so the directory is readable at any
//! moment and a killed sweep loses at most the work since the last checkpoint.

mod claim;
mod differences;
mod estimate;
mod inputs;
mod jobs;
mod leftovers;
mod model;
mod orphans;
mod plan;
mod runner;
mod settings;
mod snapshot;
mod state;

pub use runner::{Event, SETTINGS_FILE, Sweep, SweepOutcome};
pub use settings::{MeasureSettings, ModelSpec, SWEEP_FORMAT, Shard, SweepPreset, SweepSettings};
pub use snapshot::{ModelProgress, Snapshot, Stage, Tally};
