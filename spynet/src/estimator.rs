//! What every optical-flow method offers.

use std::fmt;

use nca_core::{Grid, Result};

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
}

impl fmt::Debug for dyn FlowEstimator + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlowEstimator").field(&self.name()).finish()
    }
}
