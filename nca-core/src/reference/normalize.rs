//! Gradient normalisation.

use super::{Reference, slot_of};
use crate::backend::Normalize;
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Normalize for Reference<T> {
    fn normalize(&self, epsilon: f64, g: &mut Vec<T>, out: &mut Vec<T>, slot: usize) -> Result<()> {
        let out = slot_of("normalize", out, slot)?;
        // In f64: the square of a large f32 is none.
        let squares: f64 = g.iter().map(|&v| Real::to_f64(v) * Real::to_f64(v)).sum();
        let norm = squares.sqrt();
        *out += T::of(norm);
        for v in g {
            *v = T::of(Real::to_f64(*v) / (norm + epsilon));
        }
        Ok(())
    }
}
