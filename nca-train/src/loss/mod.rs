//! Losses on the picture of a state.

mod patch;
pub(crate) mod pyramid;

pub use patch::{PatchLoss, PatchSettings};

use nca_core::Result;
use nca_core::backend::Backend;

/// How unlike the exemplar a batch of pictures is.
pub trait AppearanceLoss<B: Backend>: Send {
    /// Name recorded with every result.
    fn name(&self) -> &'static str;

    /// Adds the loss of `rgb [B,3,H,W]` to `out[slot]` and, if asked, writes its gradient to
    /// `g_rgb` (`=`).
    ///
    /// `draw` seeds what the loss draws at random (projections, positions): the same value, the
    /// same loss.
    fn evaluate(
        &mut self,
        backend: &B,
        draw: u64,
        rgb: &B::Buffer,
        g_rgb: Option<&mut B::Buffer>,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()>;
}
