//! Weighted L1 distance.

use ndarray::{ArrayView1, ArrayView2};

use super::{Reference, mismatch, slot_of, view, view_mut};
use crate::backend::L1;
use crate::error::Result;
use crate::real::Real;

impl<T: Real> L1 for Reference<T> {
    fn l1(&self, weight: f64, a: &Vec<T>, b: &Vec<T>, out: &mut Vec<T>, slot: usize) -> Result<()> {
        // a [S,N], b [N] -> out[slot] (+=). Backward needs a and b.
        let out = slot_of("l1", out, slot)?;
        let (a, b) = samples("l1", a, b)?;
        *out += T::of(weight) * (&a - &b).mapv(T::abs).sum();
        Ok(())
    }

    fn l1_backward(&self, weight: f64, a: &Vec<T>, b: &Vec<T>, g_a: &mut Vec<T>) -> Result<()> {
        // g_a [S,N] (=).
        let (a, b) = samples("l1_backward", a, b)?;
        let mut g_a = view_mut("l1_backward", "g_a", g_a, a.dim())?;
        g_a.assign(&(&a - &b).mapv(|d| T::of(weight) * sign(d)));
        Ok(())
    }
}

/// `a` as `[S,N]` and `b` as `[N]`.
pub(super) fn samples<'a, T>(
    op: &'static str,
    a: &'a [T],
    b: &'a [T],
) -> Result<(ArrayView2<'a, T>, ArrayView1<'a, T>)> {
    let samples = a.len().checked_div(b.len()).unwrap_or(0);
    if samples * b.len() != a.len() {
        return Err(mismatch(op, "a", a.len(), samples.max(1) * b.len()));
    }
    Ok((view(op, "a", a, (samples, b.len()))?, view(op, "b", b, b.len())?))
}

/// −1, 0 or 1; NaN stays.
fn sign<T: Real>(d: T) -> T {
    if d == T::zero() { T::zero() } else { d.signum() }
}
