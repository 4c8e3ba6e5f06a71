//! What every optical-flow method offers.

use std::fmt;

use nca_core::{Error, Grid, Result};

use crate::field::{FlowField, first_unknown};

/// A method that estimates optical flow.
///
/// Flow `[B,2,H,W]` is in pixels; channel 0 is x (columns, to the right), channel 1 is y (rows,
/// downwards). A cell at `p` in the first frame is at `p + flow(p)` in the second.
pub trait FlowEstimator: Send + Sync {
    /// Name that is recorded with every result: the method, and where there is a choice, its weights.
    fn name(&self) -> &str;

    /// Flow from each image of `first` to the image of the same index in `second`.
    ///
    /// `first`, `second` `[B,3,H,W]`, RGB in `[0, 1]` → `[B,2,H,W]`; `grid` gives B, H and W.
    fn flow(&self, grid: Grid, first: &[f32], second: &[f32]) -> Result<Vec<f32>>;

    /// Flow of one pair of frames `[3,H,W]`, known at every pixel: to say "unknown" is for the files of true flow, and an
    /// estimate that did so would be judged by the rest of its pixels.
    ///
    /// # Errors
    /// As [`FlowEstimator::flow`]; names the estimator where a component is not finite or beyond ±1e9 px.
    fn estimate(&self, height: usize, width: usize, first: &[f32], second: &[f32]) -> Result<FlowField> {
        let flow = self.flow(Grid::new(1, height, width), first, second)?;
        let name = self.name();
        let field = FlowField::new(height, width, flow).map_err(|error| match error {
            Error::Invalid { what, found, expected } => {
                Error::invalid(format!("estimate of {name}: {what}"), found, expected)
            }
            other => other,
        })?;
        match first_unknown(&field, None) {
            None => Ok(field),
            Some((place, found)) => {
                let what = format!("estimate of {name}: flow {place}");
                Err(Error::invalid(what, found, "components within ±1e9 px"))
            }
        }
    }
}

impl fmt::Debug for dyn FlowEstimator + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlowEstimator").field(&self.name()).finish()
    }
}
