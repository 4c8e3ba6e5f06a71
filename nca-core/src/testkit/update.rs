//! The masked update against the oracle; its mask bit for bit.

use proptest::prelude::*;

use super::cases::{NcaCase, first_of_seeds, for_all, nca_cases, tiny_nca_cases};
use super::compare::{Mismatch, Tolerance, compare, compare_bits};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use super::kinks::{ROUNDING_MARGIN, STEP_MARGIN, clamp_distance};
use crate::backend::Backend;
use crate::config::{Grid, NcaConfig, Preset};
use crate::error::Result;
use crate::philox::{fire_threshold, is_active};

fn forward<B: Backend>(backend: &B, case: &NcaCase, x: &[f64], dx: &[f64]) -> Result<Vec<f64>> {
    let (x, dx) = (upload(backend, x)?, upload(backend, dx)?);
    let mut x_next = poisoned(backend, case.state_len())?;
    backend.update(&case.config, case.grid, case.key, &x, &dx, &mut x_next)?;
    download(backend, &x_next)
}

/// `(g_x, g_dx)`.
fn backward<B: Backend>(
    backend: &B,
    case: &NcaCase,
    x: &[f64],
    dx: &[f64],
    g_next: &[f64],
) -> Result<(Vec<f64>, Vec<f64>)> {
    let (x, dx, g_next) = (upload(backend, x)?, upload(backend, dx)?, upload(backend, g_next)?);
    let mut g_x = poisoned(backend, case.state_len())?;
    let mut g_dx = poisoned(backend, case.state_len())?;
    backend.update_backward(&case.config, case.grid, case.key, &x, &dx, &g_next, &mut g_x, &mut g_dx)?;
    Ok((download(backend, &g_x)?, download(backend, &g_dx)?))
}

/// A case with a state and an update that stay `margin` away from the clamp.
fn clear(case: &NcaCase, margin: f64) -> Result<(NcaCase, Vec<f64>, Vec<f64>), Mismatch> {
    first_of_seeds(case.seed, "update", |seed| {
        let case = case.with_seed(seed);
        let (x, dx) = (case.numbers(0, case.state_len()), case.numbers(1, case.state_len()));
        let distance = clamp_distance(&case.config, case.grid, case.key, &x, &dx).ok()?;
        (distance >= margin).then_some((case, x, dx))
    })
}

/// Forward and backward against the oracle, every fire rate, with and without clamp; the mask
/// equals [`is_active`] bit for bit.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&nca_cases(), |case| {
        let (case, x, dx) = clear(case, ROUNDING_MARGIN)?;
        let oracle = oracle();
        let got = forward(backend, &case, &x, &dx)?;
        let want = forward(&oracle, &case, &x, &dx)?;
        let magnitude: Vec<f64> = x.iter().zip(&dx).map(|(x, dx)| x.abs() + dx.abs()).collect();
        compare("update", "x_next", &got, &want, &magnitude, Tolerance::roundings(1))?;

        // Gradients are passed on or stopped, never changed.
        let g_next = case.numbers(2, case.state_len());
        let got = backward(backend, &case, &x, &dx, &g_next)?;
        let want = backward(&oracle, &case, &x, &dx, &g_next)?;
        let magnitude = absolute(&g_next);
        compare("update_backward", "g_x", &got.0, &want.0, &magnitude, Tolerance::EXACT)?;
        compare("update_backward", "g_dx", &got.1, &want.1, &magnitude, Tolerance::EXACT)?;
        lengths(backend, &case)
    })?;
    bounds(backend)?;
    for_all(&mask_cases(), |case| masks(backend, case))
}

/// Wide grids, so that every output word and many counters of the generator are used.
fn mask_cases() -> impl Strategy<Value = NcaCase> {
    (nca_cases(), 1..=3_usize, 1..=5_usize, 1..=150_usize).prop_map(|(case, batch, height, width)| NcaCase {
        grid: Grid::new(batch, height, width),
        config: NcaConfig {
            clamp: None,
            ..case.config
        },
        ..case
    })
}

/// With x = 0 and dx = 1 the next state is the mask.
fn masks<B: Backend<Elem = f32>>(backend: &B, case: &NcaCase) -> Result<(), Mismatch> {
    let (channels, plane) = (case.config.channels, case.grid.plane());
    let threshold = fire_threshold(case.config.fire_rate);
    let mask: Vec<f64> = (0..case.state_len())
        .map(|i| {
            let (sample, cell) = (i / (channels * plane), i % plane);
            let active = is_active(case.key.seed, case.key.step, sample as u32, cell as u32, threshold);
            f64::from(u8::from(active))
        })
        .collect();
    let (zeros, ones) = (vec![0.0; mask.len()], vec![1.0; mask.len()]);
    compare_bits("update", "mask", &forward(backend, case, &zeros, &ones)?, &mask)?;
    let (g_x, g_dx) = backward(backend, case, &zeros, &ones, &ones)?;
    compare_bits("update_backward", "g_x of ones", &g_x, &ones)?;
    compare_bits("update_backward", "mask", &g_dx, &mask)
}

/// On the bounds of the clamp the gradient passes, just beyond them it stops; beyond them an
/// inactive cell is clamped too. A NaN passes both ways.
fn bounds<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for fire_rate in [0.0, 1.0] {
        let preset = NcaConfig::preset(Preset::Distill, 5, 1)?;
        let case = NcaCase {
            config: NcaConfig { fire_rate, ..preset },
            grid: Grid::new(1, 1, 1),
            seed: 0,
            key: crate::backend::MaskKey { seed: 0, step: 0 },
        };
        let beyond = 2.0 + 2.0 * f64::from(f32::EPSILON);
        let x = [2.0, -2.0, beyond, -beyond, f64::NAN];
        let (dx, ones) = ([0.0; 5], [1.0; 5]);
        compare_bits(
            "update",
            "x_next at the clamp",
            &forward(backend, &case, &x, &dx)?,
            &[2.0, -2.0, 2.0, -2.0, f64::NAN],
        )?;
        let (g_x, g_dx) = backward(backend, &case, &x, &dx, &ones)?;
        compare_bits("update_backward", "g_x at the clamp", &g_x, &[1.0, 1.0, 0.0, 0.0, 1.0])?;
        let passed = [fire_rate, fire_rate, 0.0, 0.0, fire_rate];
        compare_bits("update_backward", "g_dx at the clamp", &g_dx, &passed)?;
    }
    Ok(())
}

fn lengths<B: Backend>(backend: &B, case: &NcaCase) -> Result<(), Mismatch> {
    let (config, grid, key, len) = (&case.config, case.grid, case.key, case.state_len());
    refuses_wrong_lengths("update", 3, |wrong| {
        let buffer = |i| backend.zeros(len + usize::from(i == wrong));
        backend.update(config, grid, key, &buffer(0)?, &buffer(1)?, &mut buffer(2)?)
    })?;
    refuses_wrong_lengths("update_backward", 5, |wrong| {
        let buffer = |i| backend.zeros(len + usize::from(i == wrong));
        let (x, dx, g_next) = (buffer(0)?, buffer(1)?, buffer(2)?);
        backend.update_backward(config, grid, key, &x, &dx, &g_next, &mut buffer(3)?, &mut buffer(4)?)
    })
}

/// Backward against differences; inputs are drawn until all keep [`STEP_MARGIN`] from the clamp.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&tiny_nca_cases(), |case| {
        let (case, x, dx) = clear(case, STEP_MARGIN)?;
        let g_next = case.numbers(2, case.state_len());
        let (g_x, g_dx) = backward(backend, &case, &x, &dx, &g_next)?;
        const OP: &str = "update_backward";
        check_gradient(OP, "g_x", &x, &g_x, &g_next, |x| forward(backend, &case, x, &dx))?;
        check_gradient(OP, "g_dx", &dx, &g_dx, &g_next, |dx| forward(backend, &case, &x, dx))
    })
}
