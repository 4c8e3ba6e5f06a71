//! The length of a flow field's vectors.

use rayon::prelude::*;

use super::reduce::slot_mut;
use super::{Buffer, Cpu};
use crate::backend::{FlowMagnitude, check};
use crate::error::{Result, check_len};

impl FlowMagnitude for Cpu {
    fn flow_magnitude(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &Buffer,
        out: &mut Buffer,
        slot: usize,
    ) -> Result<()> {
        const OP: &str = "flow_magnitude";
        check::planes(OP, 2, plane, flow.len())?;
        let out = slot_mut(OP, out, slot)?;
        if flow.is_empty() {
            return Ok(());
        }
        let eps = epsilon as f32;
        let sum: f64 = self.install(|| {
            // Collected first: the samples' sums are added in their order.
            let sums: Vec<f64> = flow
                .par_chunks_exact(2 * plane)
                .map(|flow| {
                    let (u, v) = flow.split_at(plane);
                    u.iter()
                        .zip(v)
                        .map(|(&u, &v)| f64::from(smooth_length(u, v, eps) - eps))
                        .sum()
                })
                .collect();
            sums.iter().sum()
        });
        *out += (weight * sum) as f32;
        Ok(())
    }

    fn flow_magnitude_backward(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &Buffer,
        g_flow: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "flow_magnitude_backward";
        check::planes(OP, 2, plane, flow.len())?;
        check_len(OP, "g_flow", g_flow.len(), flow.len())?;
        if flow.is_empty() {
            return Ok(());
        }
        let (eps, weight) = (epsilon as f32, weight as f32);
        self.install(|| {
            g_flow
                .par_chunks_exact_mut(2 * plane)
                .zip(flow.par_chunks_exact(2 * plane))
                .for_each(|(g, flow)| {
                    let (g_u, g_v) = g.split_at_mut(plane);
                    let (u, v) = flow.split_at(plane);
                    for ((g_u, g_v), (&u, &v)) in g_u.iter_mut().zip(g_v).zip(u.iter().zip(v)) {
                        let factor = weight / smooth_length(u, v, eps);
                        *g_u = factor * u;
                        *g_v = factor * v;
                    }
                });
        });
        Ok(())
    }
}

#[inline]
fn smooth_length(u: f32, v: f32, epsilon: f32) -> f32 {
    (u * u + v * v + epsilon * epsilon).sqrt()
}
