//! Adam against the oracle.

use proptest::prelude::*;

use super::cases::{for_all, numbers, rounded};
use super::compare::{Mismatch, Tolerance, compare};
use super::host::{download, oracle, refuses_wrong_lengths, upload};
use crate::backend::{Adam, AdamStep, Backend};
use crate::error::Result;

/// A tensor, its gradient and its moments.
#[derive(Clone)]
struct Tensors {
    g: Vec<f64>,
    p: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
}

fn step<B: Adam>(backend: &B, settings: &AdamStep, before: &Tensors) -> Result<Tensors> {
    let g = upload(backend, &before.g)?;
    let (mut p, mut m, mut v) = (
        upload(backend, &before.p)?,
        upload(backend, &before.m)?,
        upload(backend, &before.v)?,
    );
    backend.adam(settings, &g, &mut p, &mut m, &mut v)?;
    Ok(Tensors {
        g: download(backend, &g)?,
        p: download(backend, &p)?,
        m: download(backend, &m)?,
        v: download(backend, &v)?,
    })
}

fn settings() -> impl Strategy<Value = AdamStep> {
    let decays = proptest::sample::select(vec![0.0, 1e-5, 0.1]);
    let betas = proptest::sample::select(vec![(0.9, 0.999), (0.5, 0.9)]);
    let steps = proptest::sample::select(vec![1, 2, 1000, 1_000_000]);
    (decays, betas, steps).prop_map(|(weight_decay, (beta1, beta2), step)| AdamStep {
        learning_rate: 1e-3,
        beta1,
        beta2,
        epsilon: 1e-8,
        weight_decay,
        step,
    })
}

/// One step from any state, first steps from zero moments, late steps, weight decay.
///
/// Gradients are at least 0.25 in size and the decay at most a tenth, so that `g'` does not cancel
/// and √v stays well conditioned. The tolerances are tight enough to see `1 − β2` formed in f32.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    const OP: &str = "adam";
    let cases = (settings(), 1..=300_usize, any::<bool>(), any::<u64>());
    for_all(&cases, |(settings, len, fresh, seed)| {
        let numbers = |index| numbers(*seed, index, *len);
        let moment = |values: Vec<f64>| if *fresh { vec![0.0; *len] } else { values };
        let before = Tensors {
            g: rounded(numbers(0).iter().map(|v| v + 0.25 * v.signum())),
            p: numbers(1),
            m: moment(numbers(2)),
            v: moment(numbers(3).iter().map(|v| v.abs()).collect()),
        };
        let got = step(backend, settings, &before)?;
        let want = step(&oracle(), settings, &before)?;
        let magnitude = magnitude(settings, &before, &want);
        let tolerance = Tolerance::roundings(12);
        compare(OP, "g", &got.g, &before.g, &before.g, Tolerance::EXACT)?;
        compare(OP, "m", &got.m, &want.m, &magnitude.m, tolerance)?;
        compare(OP, "v", &got.v, &want.v, &magnitude.v, tolerance)?;
        compare(OP, "p", &got.p, &want.p, &magnitude.p, tolerance)
    })?;
    let settings = AdamStep {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        step: 1,
    };
    refuses_wrong_lengths(OP, 4, |wrong| {
        let buffer = |i| backend.zeros(5 + usize::from(i == wrong));
        backend.adam(
            &settings,
            &buffer(0)?,
            &mut buffer(1)?,
            &mut buffer(2)?,
            &mut buffer(3)?,
        )
    })
}

/// Sums of the absolute values of the terms of p, m and v.
fn magnitude(settings: &AdamStep, before: &Tensors, after: &Tensors) -> Tensors {
    let (bias1, bias2) = settings.bias_corrections();
    let mut magnitude = before.clone();
    for i in 0..before.g.len() {
        let g = before.g[i].abs() + settings.weight_decay * before.p[i].abs();
        let m = settings.beta1 * before.m[i].abs() + (1.0 - settings.beta1) * g;
        let denominator = (after.v[i] / bias2).sqrt() + settings.epsilon;
        magnitude.m[i] = m;
        magnitude.v[i] = settings.beta2 * before.v[i] + (1.0 - settings.beta2) * g * g;
        magnitude.p[i] = before.p[i].abs() + settings.learning_rate / bias1 * m / denominator;
    }
    magnitude
}
