//! SpyNet against PyTorch: `golden/make.py` made the numbers.

use nca_core::Grid;
use nca_core::backend::Backend;
use nca_core::cpu::Cpu;
use nca_core::reference::Reference;
use nca_core::{Real, Result};
use serde::Deserialize;
use spynet::{FlowPass, LayerWeights, SpyNet, SpyNetWeights};

#[derive(Deserialize)]
struct Golden {
    seed: u64,
    gain: f32,
    stride: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    channels: Vec<usize>,
    batch: usize,
    height: usize,
    width: usize,
    mean_length: f64,
    flow: Vec<f64>,
    g_first: Vec<f64>,
    g_second: Vec<f64>,
    g_weights: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/spynet.json")).expect("the golden file")
}

/// Untrained weights times `gain`, so that flows are of the order of pixels.
fn weights(golden: &Golden, case: &Case) -> SpyNetWeights {
    let init = SpyNetWeights::init(6, &case.channels, 7, golden.seed).expect("valid shapes");
    let scaled = |values: &[f32]| values.iter().map(|v| v * golden.gain).collect();
    let levels = init.levels().iter().map(|level| {
        let layer = |layer: &LayerWeights| LayerWeights {
            weight: scaled(&layer.weight),
            bias: scaled(&layer.bias),
            ..layer.clone()
        };
        level.iter().map(layer).collect()
    });
    SpyNetWeights::new(levels.collect()).expect("valid shapes")
}

/// Waves, moved by `(dx, dy)`.
fn frames<T: Real>(case: &Case, dx: f64, dy: f64) -> Vec<T> {
    let mut values = Vec::new();
    for b in 0..case.batch {
        for c in 0..3 {
            for y in 0..case.height {
                for x in 0..case.width {
                    let (b, c, u, v) = (b as f64, f64::from(c), x as f64 - dx, y as f64 - dy);
                    let wave = (0.31 * u + 0.17 * v + 0.9 * c).sin() + (0.13 * u - 0.37 * v + 0.7 * b).cos();
                    values.push(T::of(f64::from((0.5 + 0.2 * wave) as f32)));
                }
            }
        }
    }
    values
}

/// Flow, gradients of both frames, and the norm of each weight tensor's gradient.
fn run<B: Backend>(backend: &B, golden: &Golden, case: &Case) -> Result<[Vec<f64>; 4]> {
    let weights = weights(golden, case);
    let (net, mut grads) = (SpyNet::new(backend, &weights)?, SpyNet::zeros(backend, &weights)?);
    let mut pass = FlowPass::new(backend, &net, Grid::new(case.batch, case.height, case.width), true)?;
    let first = backend.buffer(&frames(case, 0.0, 0.0))?;
    let second = backend.buffer(&frames(case, 1.5, -0.75))?;
    let flow = backend.to_vec(pass.forward(backend, &net, &first, &second)?)?;
    let upstream: Vec<B::Elem> = (0..flow.len()).map(|i| B::Elem::of((0.37 * i as f64).sin())).collect();
    let (mut g_first, mut g_second) = (backend.zeros(backend.len(&first))?, backend.zeros(backend.len(&first))?);
    pass.backward(
        backend,
        &net,
        &backend.buffer(&upstream)?,
        &mut g_first,
        &mut g_second,
        Some(&mut grads),
    )?;
    let host = |values: Vec<B::Elem>| values.into_iter().map(Real::to_f64).collect::<Vec<f64>>();
    let mut norms = Vec::new();
    for layer in grads.layers() {
        for buffer in [&layer.weight, &layer.bias] {
            norms.push(norm(host(backend.to_vec(buffer)?)));
        }
    }
    // Levels finer than the frames are not used.
    norms.retain(|&norm| norm > 0.0);
    Ok([
        host(flow),
        host(backend.to_vec(&g_first)?),
        host(backend.to_vec(&g_second)?),
        norms,
    ])
}

fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// `‖a − b‖ / ‖b‖` over the elements that are stored.
fn distance(a: &[f64], b: &[f64], stride: usize) -> f64 {
    let a: Vec<f64> = a.iter().copied().step_by(stride).collect();
    assert_eq!(a.len(), b.len());
    norm(a.iter().zip(b).map(|(a, b)| a - b)) / norm(b.iter().copied())
}

/// Compares with PyTorch in f64, to within `relative`.
fn check<B: Backend>(backend: &B, narrow_only: bool, relative: f64) {
    let golden = golden();
    for case in &golden.cases {
        if narrow_only && case.channels[1] > 8 {
            continue;
        }
        let [flow, g_first, g_second, g_weights] = run(backend, &golden, case).expect("a valid pass");
        let label = format!("{} {}x{}", backend.name(), case.height, case.width);
        let plane = case.height * case.width;
        let lengths = flow
            .chunks(2 * plane)
            .flat_map(|f| (0..plane).map(|p| f[p].hypot(f[plane + p])));
        let mean = lengths.sum::<f64>() / (case.batch * plane) as f64;
        assert!(
            (mean - case.mean_length).abs() < relative * case.mean_length,
            "{label}: {mean}"
        );
        for (what, got, want, stride) in [
            ("flow", &flow, &case.flow, golden.stride),
            ("g_first", &g_first, &case.g_first, golden.stride),
            ("g_second", &g_second, &case.g_second, golden.stride),
            ("g_weights", &g_weights, &case.g_weights, 1),
        ] {
            let distance = distance(got, want, stride);
            assert!(distance < relative, "{label}: {what} is off by {distance:.1e}");
        }
    }
}

/// The same arithmetic in another order: rounding alone, but for the nine digits that are stored.
#[test]
fn reference_in_f64() {
    check(&Reference::<f64>::new(), true, 1e-8);
}

/// In f32 a ReLU or a warped position may fall on the other side of its kink now and then.
#[test]
fn cpu_in_f32() {
    check(&Cpu::new().expect("a CPU"), false, 2e-3);
}
