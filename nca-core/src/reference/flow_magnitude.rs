//! The length of a flow field's vectors.

use super::channel_affine::samples;
use super::{Reference, slot_of, view, view_mut};
use crate::backend::FlowMagnitude;
use crate::error::Result;
use crate::real::Real;

impl<T: Real> FlowMagnitude for Reference<T> {
    fn flow_magnitude(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &Vec<T>,
        out: &mut Vec<T>,
        slot: usize,
    ) -> Result<()> {
        // flow [B,2,P] -> out[slot] (+=). Backward needs flow.
        const OP: &str = "flow_magnitude";
        let out = slot_of(OP, out, slot)?;
        let (batch, _, plane) = samples(OP, plane, 2, flow.len())?;
        let flow = view(OP, "flow", flow, (batch, 2, plane))?;
        let epsilon = T::of(epsilon);
        for b in 0..batch {
            for p in 0..plane {
                *out += T::of(weight) * (smooth_length(flow[[b, 0, p]], flow[[b, 1, p]], epsilon) - epsilon);
            }
        }
        Ok(())
    }

    fn flow_magnitude_backward(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &Vec<T>,
        g_flow: &mut Vec<T>,
    ) -> Result<()> {
        // g_flow [B,2,P] (=).
        const OP: &str = "flow_magnitude_backward";
        let shape = samples(OP, plane, 2, flow.len())?;
        let (batch, _, plane) = shape;
        let flow = view(OP, "flow", flow, shape)?;
        let mut g_flow = view_mut(OP, "g_flow", g_flow, shape)?;
        for b in 0..batch {
            for p in 0..plane {
                let (u, v) = (flow[[b, 0, p]], flow[[b, 1, p]]);
                let length = smooth_length(u, v, T::of(epsilon));
                g_flow[[b, 0, p]] = T::of(weight) * u / length;
                g_flow[[b, 1, p]] = T::of(weight) * v / length;
            }
        }
        Ok(())
    }
}

fn smooth_length<T: Real>(u: T, v: T, epsilon: T) -> T {
    (u * u + v * v + epsilon * epsilon).sqrt()
}
