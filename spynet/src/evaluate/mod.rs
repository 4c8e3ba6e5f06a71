//! What a flow estimator is worth: endpoint errors, calibration of Ψ, floors.
//!
//! * [`Accuracy`]: endpoint error and outliers on pairs with known flow, by set;
//! * [`calibrate`]: textures moved by known distances in all directions: is Ψ their length?
//! * [`floors`]: Ψ of frames that do not move, alike or flickering;
//! * [`fields`]: rotation, zoom and shear recovered.
//!
//! Tables of all of them as Markdown and CSV are made by [`tables`]. Synthetic pairs for an evaluation
//! come from [`HELD_OUT_SEED`].

mod accuracy;
mod calibration;
mod exhibit;
pub mod files;
pub mod tables;

use nca_core::backend::check;
use nca_core::{Grid, Result};

use crate::estimator::FlowEstimator;

pub use accuracy::{Accuracy, AccuracyRow, Set, SizeClass};
pub use calibration::{CalibrationRow, DIRECTIONS, DISTANCES, FloorRow, calibrate, fields, floors};
pub use exhibit::Exhibit;

/// Seed of the synthetic pairs that estimators are judged by: not one that anyone would give a training.
pub const HELD_OUT_SEED: u64 = 0xE7A1_5EED_0F10_77ED;

/// The estimator that sees nothing move: what any other has to beat.
#[derive(Clone, Copy, Debug, Default)]
pub struct ZeroFlow;

impl FlowEstimator for ZeroFlow {
    fn name(&self) -> &'static str {
        "zero"
    }

    fn flow(&self, grid: Grid, first: &[f32], second: &[f32]) -> Result<Vec<f32>> {
        for (what, frame) in [("first frame", first), ("second frame", second)] {
            check::shape(
                "zero flow",
                what,
                frame.len(),
                &[3, grid.batch, grid.height, grid.width],
            )?;
        }
        Ok(vec![0.0; 2 * grid.cells()])
    }
}
