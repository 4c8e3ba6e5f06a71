//! The scalar types a backend can compute in.

use ndarray::NdFloat;
use num_traits::FromPrimitive;

/// `f32` or `f64`: what a host slice of a backend's buffer holds.
///
/// `f64` exists for the oracle only ([`crate::reference::Reference`]); fast backends are `f32`.
pub trait Real: NdFloat + FromPrimitive + std::iter::Sum + Default {
    /// Rounds to this type.
    fn of(value: f64) -> Self;
    /// Exact for both types.
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
}
