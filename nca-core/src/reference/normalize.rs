//! Gradient normalisation.

use super::{Reference, slot_of};
use crate::backend::Normalize;
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Normalize for Reference<T> {
    fn normalize(&self, epsilon: f64, g: &mut Vec<T>, out: &mut Vec<T>, slot: usize) -> Result<()> {
        let out = slot_of("normalize", out, slot)?;
        let norm = g.iter().map(|&v| v * v).sum::<T>().sqrt();
        *out += norm;
        for v in g {
            *v /= norm + T::of(epsilon);
        }
        Ok(())
    }
}
