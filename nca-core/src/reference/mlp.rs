//! The update network, the same at every cell: two matrix products with a ReLU between them.

use ndarray::linalg::general_mat_mul;
use ndarray::{Axis, s};

use super::{Reference, factor, mismatch, view, view_mut};
use crate::backend::{Mlp, check};
use crate::config::{Grid, NcaConfig};
use crate::error::Result;
use crate::params::Params;
use crate::real::Real;

impl<T: Real> Mlp for Reference<T> {
    fn mlp(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Vec<T>>,
        z: &Vec<T>,
        h: &mut Vec<T>,
        dx: &mut Vec<T>,
    ) -> Result<()> {
        // z [B,KC,HW] -> h [B,D,HW], dx [B,C,HW]; w1 [D,KC], b1 [D], w2 [C,D], b2 [C].
        // Backward needs z and h.
        const OP: &str = "mlp";
        check::automaton(OP, config, grid)?;
        let (inputs, hidden, outputs) = (config.perceived(), config.hidden, config.channels);
        let (batch, plane) = (grid.batch, grid.plane());
        let (w1, w2, z) = (self.factors(&params.w1), self.factors(&params.w2), self.factors(z));
        let w1 = view(OP, "w1", &w1, (hidden, inputs))?;
        let b1 = view(OP, "b1", &params.b1, (hidden, 1))?;
        let w2 = view(OP, "w2", &w2, (outputs, hidden))?;
        let b2 = output_bias(OP, config, params.b2.as_ref())?
            .map(|b2| view(OP, "b2", b2, (outputs, 1)))
            .transpose()?;
        let z = view(OP, "z", &z, (batch, inputs, plane))?;
        let mut h = view_mut(OP, "h", h, (batch, hidden, plane))?;
        let mut dx = view_mut(OP, "dx", dx, (batch, outputs, plane))?;
        for b in 0..batch {
            let mut h = h.slice_mut(s![b, .., ..]);
            h.assign(&(w1.dot(&z.slice(s![b, .., ..])) + b1));
            h.mapv_inplace(relu);
            let mut dx = dx.slice_mut(s![b, .., ..]);
            dx.assign(&w2.dot(&h.mapv(|h| factor(self.precision, h))));
            if let Some(b2) = &b2 {
                dx += b2;
            }
        }
        Ok(())
    }

    fn mlp_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Vec<T>>,
        z: &Vec<T>,
        h: &Vec<T>,
        g_dx: &Vec<T>,
        g_h: &mut Vec<T>,
        g_z: &mut Vec<T>,
        grads: &mut Params<Vec<T>>,
    ) -> Result<()> {
        // g_dx [B,C,HW] -> g_h [B,D,HW] (before the ReLU), g_z [B,KC,HW] (=), grads (+=).
        const OP: &str = "mlp_backward";
        check::automaton(OP, config, grid)?;
        let (inputs, hidden, outputs) = (config.perceived(), config.hidden, config.channels);
        let (batch, plane) = (grid.batch, grid.plane());
        let precision = self.precision.of_gradients();
        let (w1, w2) = (self.gradient_factors(&params.w1), self.gradient_factors(&params.w2));
        let z = self.gradient_factors(z);
        let w1 = view(OP, "w1", &w1, (hidden, inputs))?;
        let w2 = view(OP, "w2", &w2, (outputs, hidden))?;
        let z = view(OP, "z", &z, (batch, inputs, plane))?;
        let h = view(OP, "h", h, (batch, hidden, plane))?;
        let g_dx = view(OP, "g_dx", g_dx, (batch, outputs, plane))?;
        let mut g_h = view_mut(OP, "g_h", g_h, (batch, hidden, plane))?;
        let mut g_z = view_mut(OP, "g_z", g_z, (batch, inputs, plane))?;
        let mut g_w1 = view_mut(OP, "gradient of w1", &mut grads.w1, (hidden, inputs))?;
        let mut g_b1 = view_mut(OP, "gradient of b1", &mut grads.b1, hidden)?;
        let mut g_w2 = view_mut(OP, "gradient of w2", &mut grads.w2, (outputs, hidden))?;
        let mut g_b2 = output_bias(OP, config, grads.b2.as_mut())?
            .map(|b2| view_mut(OP, "gradient of b2", b2, outputs))
            .transpose()?;
        let one = T::one();
        for b in 0..batch {
            let (z, h, g_dx) = (
                z.slice(s![b, .., ..]),
                h.slice(s![b, .., ..]),
                g_dx.slice(s![b, .., ..]),
            );
            let (mut g_h, mut g_z) = (g_h.slice_mut(s![b, .., ..]), g_z.slice_mut(s![b, .., ..]));
            let (g_factors, h_factors) = (g_dx.mapv(|g| factor(precision, g)), h.mapv(|h| factor(precision, h)));
            general_mat_mul(one, &g_factors, &h_factors.t(), one, &mut g_w2);
            if let Some(g_b2) = &mut g_b2 {
                *g_b2 += &g_dx.sum_axis(Axis(1));
            }
            g_h.assign(&w2.t().dot(&g_factors));
            g_h.zip_mut_with(&h, |g, &h| *g = if h > T::zero() { *g } else { T::zero() });
            let g_factors = g_h.mapv(|g| factor(precision, g));
            general_mat_mul(one, &g_factors, &z.t(), one, &mut g_w1);
            g_b1 += &g_h.sum_axis(Axis(1));
            g_z.assign(&w1.t().dot(&g_factors));
        }
        Ok(())
    }
}

/// `max(v, 0)` that lets a NaN through, so that a diverged state is seen.
fn relu<T: Real>(v: T) -> T {
    if v <= T::zero() { T::zero() } else { v }
}

/// b2 (or its gradient) of a model that has one; its presence must agree with `config`.
fn output_bias<S>(op: &'static str, config: &NcaConfig, b2: Option<S>) -> Result<Option<S>> {
    if b2.is_some() == config.output_bias {
        return Ok(b2);
    }
    let expected = if config.output_bias { config.channels } else { 0 };
    Err(mismatch(op, "b2", config.channels - expected, expected))
}
