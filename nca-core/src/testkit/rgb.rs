//! The picture of a state against the oracle.

use proptest::prelude::*;

use super::cases::{NcaCase, first_of_seeds, for_all, nca_cases, numbers, tiny_nca_cases};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use super::kinks::STEP_MARGIN;
use crate::backend::Backend;
use crate::config::{NcaConfig, RgbMap};
use crate::error::Result;

fn forward<B: Backend>(backend: &B, case: &NcaCase, x: &[f64]) -> Result<Vec<f64>> {
    let x = upload(backend, x)?;
    let mut rgb = poisoned(backend, 3 * case.grid.cells())?;
    backend.rgb(&case.config, case.grid, &x, &mut rgb)?;
    download(backend, &rgb)
}

fn backward<B: Backend>(backend: &B, case: &NcaCase, x: &[f64], g_rgb: &[f64]) -> Result<Vec<f64>> {
    let (x, g_rgb) = (upload(backend, x)?, upload(backend, g_rgb)?);
    let mut g_x = poisoned(backend, case.state_len())?;
    backend.rgb_backward(&case.config, case.grid, &x, &g_rgb, &mut g_x)?;
    download(backend, &g_x)
}

/// Every map of a base case.
fn mapped(cases: impl Strategy<Value = NcaCase>) -> impl Strategy<Value = NcaCase> {
    let affine = |scale, offset| RgbMap::Affine { scale, offset };
    let maps = vec![affine(1.0, 0.5), affine(0.5, 0.5), RgbMap::MinMax];
    (cases, proptest::sample::select(maps)).prop_map(|(case, rgb)| NcaCase {
        config: NcaConfig { rgb, ..case.config },
        ..case
    })
}

/// States in full precision, and some in a few levels, so that many elements tie for an extreme.
fn states() -> impl Strategy<Value = (NcaCase, Vec<f64>)> {
    (mapped(nca_cases()), proptest::sample::select(vec![0.0, 1.0, 4.0])).prop_map(|(case, levels): (_, f64)| {
        let mut x = case.numbers(0, case.state_len());
        if levels > 0.0 {
            for v in &mut x {
                *v = (*v * levels).round() / levels;
            }
        }
        (case, x)
    })
}

/// Forward and backward against the oracle, every map, with ties; NaN must not be hidden.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&states(), |(case, x)| {
        let oracle = oracle();
        let got = forward(backend, case, x)?;
        let want = forward(&oracle, case, x)?;
        let magnitude = match case.config.rgb {
            RgbMap::Affine { offset, .. } => want.iter().map(|v| (v - offset).abs() + offset.abs()).collect(),
            RgbMap::MinMax => absolute(&want),
        };
        compare("rgb", "rgb", &got, &want, &magnitude, Tolerance::roundings(5))?;

        let g_rgb = case.numbers(1, 3 * case.grid.cells());
        let got = backward(backend, case, x, &g_rgb)?;
        let want = backward(&oracle, case, x, &g_rgb)?;
        let magnitude = backward_magnitude(case, x, &g_rgb);
        let terms = 3 * case.grid.plane() + 8;
        compare(
            "rgb_backward",
            "g_x",
            &got,
            &want,
            &magnitude,
            Tolerance::reduction(terms),
        )?;

        let mut broken = x.clone();
        broken[0] = f64::NAN;
        if !forward(backend, case, &broken)?[0].is_nan() {
            return Err(Mismatch::Rule {
                op: "rgb",
                rule: "hides a NaN of the state".to_owned(),
            });
        }
        lengths(backend, case)
    })
}

/// Sums of the absolute values of the terms of each element of `g_x`.
fn backward_magnitude(case: &NcaCase, x: &[f64], g_rgb: &[f64]) -> Vec<f64> {
    let (channels, colour) = (case.config.channels * case.grid.plane(), 3 * case.grid.plane());
    let mut magnitude = vec![0.0; x.len()];
    for ((m, x), g) in magnitude
        .chunks_exact_mut(channels)
        .zip(x.chunks_exact(channels))
        .zip(g_rgb.chunks_exact(colour))
    {
        let s = &x[..colour];
        let (min, max) = extremes(s);
        let all: f64 = g.iter().map(|g| g.abs()).sum();
        let count = |value| s.iter().filter(|&&v| v == value).count() as f64;
        for ((m, &s), g) in m.iter_mut().zip(s).zip(g) {
            *m = match case.config.rgb {
                RgbMap::Affine { scale, .. } => (scale * g).abs(),
                RgbMap::MinMax => {
                    let from_min = if s == min { all / count(min) } else { 0.0 };
                    let from_max = if s == max { all / count(max) } else { 0.0 };
                    (g.abs() + from_min + from_max) / (max - min + RgbMap::MIN_MAX_EPSILON)
                }
            };
        }
    }
    magnitude
}

fn extremes(s: &[f64]) -> (f64, f64) {
    s.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), &v| {
        (min.min(v), max.max(v))
    })
}

fn lengths<B: Backend>(backend: &B, case: &NcaCase) -> Result<(), Mismatch> {
    let (config, grid) = (&case.config, case.grid);
    let (state, colour) = (case.state_len(), 3 * grid.cells());
    refuses_wrong_lengths("rgb", 2, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        backend.rgb(config, grid, &buffer(0, state)?, &mut buffer(1, colour)?)
    })?;
    refuses_wrong_lengths("rgb_backward", 3, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        backend.rgb_backward(
            config,
            grid,
            &buffer(0, state)?,
            &buffer(1, colour)?,
            &mut buffer(2, state)?,
        )
    })
}

/// Backward against differences. The min–max map has kinks where two elements tie for an extreme:
/// states are drawn until the runners-up of every sample stay [`STEP_MARGIN`] behind.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&mapped(tiny_nca_cases()), |case| {
        let sample = case.config.channels * case.grid.plane();
        let x = first_of_seeds(case.seed, "rgb", |seed| {
            let x = numbers(seed, 0, case.state_len());
            let clear = x.chunks_exact(sample).all(|x| {
                let mut s = x[..3 * case.grid.plane()].to_vec();
                s.sort_by(f64::total_cmp);
                let last = s.len() - 1;
                s[1] - s[0] >= STEP_MARGIN && s[last] - s[last - 1] >= STEP_MARGIN
            });
            clear.then_some(x)
        })?;
        let g_rgb = case.numbers(1, 3 * case.grid.cells());
        let g_x = backward(backend, case, &x, &g_rgb)?;
        check_gradient("rgb_backward", "g_x", &x, &g_x, &g_rgb, |x| forward(backend, case, x))
    })
}
