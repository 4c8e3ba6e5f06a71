//! The length of a flow field's vectors: motion strength as an objective.

use super::Device;
use crate::error::Result;

/// Sum of the smoothed lengths of flow vectors.
///
/// `‖flow‖` has no derivative at 0; `√(u² + v² + ε²) − ε` has, is 0 there, and differs from the length
/// by at most ε.
pub trait FlowMagnitude: Device {
    /// `out[slot] += weight · Σ (√(u² + v² + epsilon²) − epsilon)`, over all samples.
    ///
    /// `flow [B,2,P]`, P being `plane`; `epsilon > 0`, in pixels.
    fn flow_magnitude(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &Self::Buffer,
        out: &mut Self::Buffer,
        slot: usize,
    ) -> Result<()>;

    /// `g_flow = weight · (u, v) / √(u² + v² + epsilon²)` (`=`).
    fn flow_magnitude_backward(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &Self::Buffer,
        g_flow: &mut Self::Buffer,
    ) -> Result<()>;
}
