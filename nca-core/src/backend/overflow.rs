//! The overflow loss that keeps states near [−1, 1].

use super::Device;
use crate::error::Result;

/// `weight · Σ |x − clamp(x, −1, 1)|`.
pub trait Overflow: Device {
    /// `out[slot] += weight · Σ |x − clamp(x, −1, 1)|`.
    fn overflow(&self, weight: f64, x: &Self::Buffer, out: &mut Self::Buffer, slot: usize) -> Result<()>;

    /// `g_x = weight · sign(x)` (`=`) where `|x| > 1`, else 0.
    fn overflow_backward(&self, weight: f64, x: &Self::Buffer, g_x: &mut Self::Buffer) -> Result<()>;
}
