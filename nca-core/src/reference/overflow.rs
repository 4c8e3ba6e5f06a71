//! The overflow loss that keeps states near [−1, 1].

use super::{Reference, slot_of};
use crate::backend::Overflow;
use crate::error::{Result, check_len};
use crate::real::Real;

impl<T: Real> Overflow for Reference<T> {
    fn overflow(&self, weight: f64, x: &Vec<T>, out: &mut Vec<T>, slot: usize) -> Result<()> {
        // x of any shape -> out[slot] (+=). Backward needs x.
        let sum: T = x.iter().map(|&v| excess(v).abs()).sum();
        *slot_of("overflow", out, slot)? += T::of(weight) * sum;
        Ok(())
    }

    fn overflow_backward(&self, weight: f64, x: &Vec<T>, g_x: &mut Vec<T>) -> Result<()> {
        // g_x as x (=).
        check_len("overflow_backward", "g_x", g_x.len(), x.len())?;
        for (g, &v) in g_x.iter_mut().zip(x) {
            *g = if v.abs() <= T::one() {
                T::zero()
            } else {
                T::of(weight) * v.signum()
            };
        }
        Ok(())
    }
}

/// `x − clamp(x, −1, 1)`; NaN stays.
fn excess<T: Real>(v: T) -> T {
    v - num_traits::clamp(v, -T::one(), T::one())
}
