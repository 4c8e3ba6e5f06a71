//! Perception against the oracle, and its adjoint.

use super::cases::{NcaCase, for_all, nca_cases, tiny_nca_cases};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, absolute_config, download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::Backend;
use crate::config::{Grid, NcaConfig};
use crate::error::Result;

fn forward<B: Backend>(backend: &B, config: &NcaConfig, grid: Grid, x: &[f64]) -> Result<Vec<f64>> {
    let x = upload(backend, x)?;
    let mut z = poisoned(backend, config.perceived() * grid.cells())?;
    backend.perceive(config, grid, &x, &mut z)?;
    download(backend, &z)
}

fn backward<B: Backend>(backend: &B, config: &NcaConfig, grid: Grid, g_z: &[f64]) -> Result<Vec<f64>> {
    let g_z = upload(backend, g_z)?;
    let mut g_x = poisoned(backend, config.channels * grid.cells())?;
    backend.perceive_backward(config, grid, &g_z, &mut g_x)?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle; every padding, any kernels, grids down to one cell.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&nca_cases(), |case| {
        let NcaCase { config, grid, .. } = case;
        let (grid, magnitudes, oracle) = (*grid, absolute_config(config), oracle());

        let x = case.numbers(0, case.state_len());
        let got = forward(backend, config, grid, &x)?;
        let want = forward(&oracle, config, grid, &x)?;
        let magnitude = forward(&oracle, &magnitudes, grid, &absolute(&x))?;
        compare("perceive", "z", &got, &want, &magnitude, Tolerance::reduction(9))?;

        let g_z = case.numbers(1, case.perceived_len());
        let got = backward(backend, config, grid, &g_z)?;
        let want = backward(&oracle, config, grid, &g_z)?;
        let magnitude = backward(&oracle, &magnitudes, grid, &absolute(&g_z))?;
        // On a grid of one replicated cell all nine offsets end in it.
        let terms = Tolerance::reduction(9 * 9 * config.kernels());
        compare("perceive_backward", "g_x", &got, &want, &magnitude, terms)?;
        lengths(backend, case)
    })
}

fn lengths<B: Backend>(backend: &B, case: &NcaCase) -> Result<(), Mismatch> {
    let (state, perceived) = (case.state_len(), case.perceived_len());
    refuses_wrong_lengths("perceive", 2, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        backend.perceive(&case.config, case.grid, &buffer(0, state)?, &mut buffer(1, perceived)?)
    })?;
    refuses_wrong_lengths("perceive_backward", 2, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        backend.perceive_backward(&case.config, case.grid, &buffer(0, perceived)?, &mut buffer(1, state)?)
    })
}

/// Backward against differences; linear, so there is no kink.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&tiny_nca_cases(), |case| {
        let NcaCase { config, grid, .. } = case;
        let x = case.numbers(0, case.state_len());
        let g_z = case.numbers(1, case.perceived_len());
        let g_x = backward(backend, config, *grid, &g_z)?;
        check_gradient("perceive_backward", "g_x", &x, &g_x, &g_z, |x| {
            forward(backend, config, *grid, x)
        })
    })
}
