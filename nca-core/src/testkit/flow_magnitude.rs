//! The length of flow vectors against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{download, oracle, poisoned, refuses_wrong_lengths, upload};
use super::slots::{added, compare_slots, refuses_missing_slot, scalar, shows_nan};
use crate::backend::Backend;
use crate::error::Result;

/// Samples, pixels, weight and a seed.
type Case = (usize, usize, f64, u64);

fn flow_cases() -> impl Strategy<Value = Case> {
    let weight = proptest::sample::select(vec![1.0, -0.01]);
    (1..=3_usize, 1..=600_usize, weight, any::<u64>())
}

/// Representable, so that both precisions smooth alike.
const EPSILON: f64 = 1.0 / 1024.0;
/// Roundings of a length: two squares, ε², two sums (halved by the root), the root, the difference.
const ROUNDINGS: usize = 5;

/// Flow of every size, some of it exactly zero.
fn flow_of(&(batch, plane, _, seed): &Case) -> Vec<f64> {
    let mut flow = numbers(seed, 0, batch * 2 * plane);
    for (i, v) in flow.iter_mut().enumerate() {
        *v *= [0.0, 0.001, 1.0, 8.0][i % plane % 4];
    }
    flow.iter().map(|&v| f64::from(v as f32)).collect()
}

fn forward<B: Backend>(backend: &B, plane: usize, weight: f64, flow: &[f64]) -> Result<Vec<f64>> {
    let flow = upload(backend, flow)?;
    added(backend, |out, slot| {
        backend.flow_magnitude(plane, EPSILON, weight, &flow, out, slot)
    })
}

fn backward<B: Backend>(backend: &B, plane: usize, weight: f64, flow: &[f64]) -> Result<Vec<f64>> {
    let mut g_flow = poisoned(backend, flow.len())?;
    backend.flow_magnitude_backward(plane, EPSILON, weight, &upload(backend, flow)?, &mut g_flow)?;
    download(backend, &g_flow)
}

/// Forward and backward against the oracle; zero flow, NaN, several samples.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&flow_cases(), |case| {
        let &(batch, plane, weight, _) = case;
        let mut flow = flow_of(case);
        let got = forward(backend, plane, weight, &flow)?;
        let want = forward(&oracle(), plane, weight, &flow)?;
        let magnitude: f64 = flow.iter().map(|v| v.abs()).sum::<f64>() + 2.0 * EPSILON * flow.len() as f64;
        let tolerance = Tolerance::reduction(ROUNDINGS + flow.len());
        compare_slots("flow_magnitude", &got, &want, weight.abs() * magnitude, tolerance)?;

        let got = backward(backend, plane, weight, &flow)?;
        let want = backward(&oracle(), plane, weight, &flow)?;
        let magnitude = vec![weight.abs(); flow.len()];
        let tolerance = Tolerance::roundings(ROUNDINGS + 3);
        compare("flow_magnitude_backward", "g_flow", &got, &want, &magnitude, tolerance)?;

        let last = batch * 2 * plane - 1;
        flow[last] = f64::NAN;
        shows_nan("flow_magnitude", &forward(backend, plane, weight, &flow)?)
    })?;
    let flow = backend.zeros(12)?;
    refuses_missing_slot(backend, "flow_magnitude", |out, slot| {
        backend.flow_magnitude(3, EPSILON, 1.0, &flow, out, slot)
    })?;
    refuses_wrong_lengths("flow_magnitude", 1, |wrong| {
        let flow = backend.zeros(12 + usize::from(wrong == 0))?;
        backend.flow_magnitude(3, EPSILON, 1.0, &flow, &mut backend.zeros(1)?, 0)
    })?;
    refuses_wrong_lengths("flow_magnitude_backward", 2, |wrong| {
        let buffer = |i| backend.zeros(12 + usize::from(i == wrong));
        backend.flow_magnitude_backward(3, EPSILON, 1.0, &buffer(0)?, &mut buffer(1)?)
    })
}

/// Backward against differences. Smooth everywhere, but bent on the scale of ε near zero: vectors
/// are kept longer than that.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&flow_cases(), |&(batch, plane, weight, seed)| {
        let flow: Vec<f64> = numbers(seed, 0, batch * 2 * plane)
            .into_iter()
            .map(|v| v + 0.1 * v.signum())
            .collect();
        let g_flow = backward(backend, plane, weight, &flow)?;
        check_gradient("flow_magnitude_backward", "g_flow", &flow, &g_flow, &[1.0], |flow| {
            let flow = upload(backend, flow)?;
            scalar(backend, |out, slot| {
                backend.flow_magnitude(plane, EPSILON, weight, &flow, out, slot)
            })
        })
    })
}
