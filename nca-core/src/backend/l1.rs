//! Weighted L1 distance.

use super::Device;
use crate::error::Result;

/// L1 distance to a target that all samples share.
pub trait L1: Device {
    /// `out[slot] += weight · Σ_s Σ_i |a[s, i] − b[i]|`.
    ///
    /// `a [S,N]`, `b [N]`; S is `len(a) / len(b)`, which must divide evenly.
    fn l1(&self, weight: f64, a: &Self::Buffer, b: &Self::Buffer, out: &mut Self::Buffer, slot: usize) -> Result<()>;

    /// `g_a[s, i] = weight · sign(a[s, i] − b[i])` (`=`), 0 where they are equal.
    fn l1_backward(&self, weight: f64, a: &Self::Buffer, b: &Self::Buffer, g_a: &mut Self::Buffer) -> Result<()>;
}
