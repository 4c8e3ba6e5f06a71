//! Gradient normalisation.

use super::Device;
use crate::error::Result;

/// Division of a gradient by its own norm.
pub trait Normalize: Device {
    /// `norm = ‖g‖₂; out[slot] += norm; g /= norm + epsilon`.
    ///
    /// The norm is reported so that a non-finite gradient is seen by the same download that
    /// fetches the loss. It is formed in f64 whatever the scalar: the squares of a gradient of 10²⁰ are no f32.
    fn normalize(&self, epsilon: f64, g: &mut Self::Buffer, out: &mut Self::Buffer, slot: usize) -> Result<()>;
}
