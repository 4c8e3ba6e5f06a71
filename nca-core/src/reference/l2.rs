//! Weighted squared L2 distance.

use super::l1::samples;
use super::{Reference, slot_of, view_mut};
use crate::backend::L2;
use crate::error::Result;
use crate::real::Real;

impl<T: Real> L2 for Reference<T> {
    fn l2(&self, weight: f64, a: &Vec<T>, b: &Vec<T>, out: &mut Vec<T>, slot: usize) -> Result<()> {
        // a [S,N], b [N] -> out[slot] (+=). Backward needs a and b.
        let out = slot_of("l2", out, slot)?;
        let (a, b) = samples("l2", a, b)?;
        *out += T::of(weight) * (&a - &b).mapv(|d| d * d).sum();
        Ok(())
    }

    fn l2_backward(&self, weight: f64, a: &Vec<T>, b: &Vec<T>, g_a: &mut Vec<T>) -> Result<()> {
        // g_a [S,N] (=).
        let (a, b) = samples("l2_backward", a, b)?;
        let mut g_a = view_mut("l2_backward", "g_a", g_a, a.dim())?;
        g_a.assign(&(&a - &b).mapv(|d| T::of(2.0 * weight) * d));
        Ok(())
    }
}
