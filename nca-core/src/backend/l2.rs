//! Weighted squared L2 distance.

use super::Device;
use crate::error::Result;

/// Squared L2 distance to a target that all samples share.
pub trait L2: Device {
    /// `out[slot] += weight · Σ_s Σ_i (a[s, i] − b[i])²`.
    ///
    /// `a [S,N]`, `b [N]`; S is `len(a) / len(b)`, which must divide evenly.
    fn l2(&self, weight: f64, a: &Self::Buffer, b: &Self::Buffer, out: &mut Self::Buffer, slot: usize) -> Result<()>;

    /// `g_a[s, i] = 2·weight·(a[s, i] − b[i])` (`=`).
    fn l2_backward(&self, weight: f64, a: &Self::Buffer, b: &Self::Buffer, g_a: &mut Self::Buffer) -> Result<()>;
}
