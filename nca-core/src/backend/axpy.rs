//! Scaled vector addition.

use super::Device;
use crate::error::Result;

/// `y += alpha·x`.
pub trait Axpy: Device {
    /// `y[i] += alpha · x[i]`; both have the same length.
    fn axpy(&self, alpha: f64, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()>;
}
