//! The whole step against the oracle.

use super::cases::{NcaCase, first_of_seeds, for_all, nca_cases, tiny_nca_cases};
use super::compare::{Mismatch, Tolerance, compare, compare_bits};
use super::derivative::check_gradient;
use super::host::{
    absolute, absolute_config, absolute_params, download, download_all, oracle, poisoned, poisoned_scratch,
    refuses_wrong_lengths, upload, upload_all,
};
use super::kinks::{ROUNDING_MARGIN, STEP_MARGIN, step_distance};
use super::mlp::{check_param_gradients, compare_grads};
use super::undecided::undecided;
use crate::backend::{Backend, MaskKey, zero_params};
use crate::config::{Grid, NcaConfig, Preset};
use crate::error::Result;
use crate::params::Params;
use crate::precision::Precision;

type HostParams = Params<Vec<f64>>;

/// Size of the second layer's weights: updates of order one.
const GAIN: f64 = 1.0;

fn forward<B: Backend>(backend: &B, case: &NcaCase, params: &HostParams, x: &[f64]) -> Result<Vec<f64>> {
    let (params, x) = (upload_all(backend, params)?, upload(backend, x)?);
    let mut x_next = poisoned(backend, case.state_len())?;
    let mut scratch = poisoned_scratch(backend, &backend.nca_step_scratch(&case.config, case.grid))?;
    backend.nca_step(
        &case.config,
        case.grid,
        &params,
        case.key,
        &x,
        &mut x_next,
        &mut scratch,
    )?;
    download(backend, &x_next)
}

/// `(g_x, grads)`, the gradients of the parameters added to `grads`.
fn backward<B: Backend>(
    backend: &B,
    case: &NcaCase,
    params: &HostParams,
    x: &[f64],
    g_next: &[f64],
    grads: &HostParams,
) -> Result<(Vec<f64>, HostParams)> {
    let params = upload_all(backend, params)?;
    let (x, g_next) = (upload(backend, x)?, upload(backend, g_next)?);
    let mut grads = upload_all(backend, grads)?;
    let mut g_x = poisoned(backend, case.state_len())?;
    let (config, grid, key) = (&case.config, case.grid, case.key);
    let mut scratch = poisoned_scratch(backend, &backend.nca_step_backward_scratch(config, grid))?;
    backend.nca_step_backward(
        config,
        grid,
        &params,
        key,
        &x,
        &g_next,
        &mut g_x,
        &mut grads,
        &mut scratch,
    )?;
    Ok((download(backend, &g_x)?, download_all(backend, &grads)?))
}

/// A case with weights and a state that stay `margin` away from the kinks of ReLU and clamp.
fn clear(case: &NcaCase, margin: f64) -> Result<(NcaCase, HostParams, Vec<f64>), Mismatch> {
    first_of_seeds(case.seed, "nca_step", |seed| {
        let case = case.with_seed(seed);
        let (params, x) = (case.params(GAIN), case.numbers(0, case.state_len()));
        let distance = step_distance(&case.config, case.grid, &params, case.key, 1, &x).ok()?;
        (distance >= margin).then_some((case, params, x))
    })
}

/// Forward and backward against the oracle. Backward recomputes which neurons are active, so
/// inputs are drawn until all pre-activations keep [`ROUNDING_MARGIN`] from the kink; with rounded products they
/// cannot, and a gradient may differ by what passes through kinks.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&nca_cases(), |case| parity_of(backend, case))?;
    nan(backend)
}

/// A state with a NaN in it, every cell active: where forward and backward give NaN is where the oracle does.
fn nan<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for preset in [Preset::Distill, Preset::Paper] {
        let case = NcaCase {
            config: NcaConfig {
                fire_rate: 1.0,
                ..NcaConfig::preset(preset, 4, 5)?
            },
            grid: Grid::new(1, 5, 9),
            seed: 0,
            key: MaskKey { seed: 0, step: 0 },
        };
        let (params, mut x) = (case.params(GAIN), case.numbers(0, case.state_len()));
        x[50] = f64::NAN;
        let g_next = case.numbers(1, x.len());
        let is_nan = |values: &[f64]| -> Vec<f64> { values.iter().map(|v| f64::from(u8::from(v.is_nan()))).collect() };
        let nan_of = |next: Vec<f64>, (g_x, grads): (Vec<f64>, HostParams)| {
            let grads: Vec<f64> = grads.iter().flatten().copied().collect();
            [is_nan(&next), is_nan(&g_x), is_nan(&grads)]
        };
        let zeros = params.try_map(|v| Ok::<_, Mismatch>(vec![0.0; v.len()]))?;
        let got = nan_of(
            forward(backend, &case, &params, &x)?,
            backward(backend, &case, &params, &x, &g_next, &zeros)?,
        );
        let want = nan_of(
            forward(&oracle(), &case, &params, &x)?,
            backward(&oracle(), &case, &params, &x, &g_next, &zeros)?,
        );
        for (output, (got, want)) in ["NaN in x_next", "NaN in g_x", "NaN in grads"]
            .into_iter()
            .zip(got.iter().zip(&want))
        {
            compare_bits("nca_step", output, got, want)?;
        }
    }
    Ok(())
}

/// As [`parity`], for one automaton: a backend's own limits are where its tests should look.
pub fn parity_of<B: Backend<Elem = f32>>(backend: &B, case: &NcaCase) -> Result<(), Mismatch> {
    let (case, params, x) = clear(case, ROUNDING_MARGIN)?;
    let (oracle, precision) = (oracle(), backend.precision());
    let config = &case.config;
    let magnitudes = NcaCase {
        config: absolute_config(config),
        ..case.clone()
    };
    let absolute_weights = absolute_params(&params);

    let got = forward(backend, &case, &params, &x)?;
    let want = forward(&oracle, &case, &params, &x)?;
    let magnitude = forward(&oracle, &magnitudes, &absolute_weights, &absolute(&x))?;
    let terms = 9 + config.perceived() + config.hidden;
    let forward_tolerance = Tolerance::products(precision, terms, 2);
    compare("nca_step", "x_next", &got, &want, &magnitude, forward_tolerance)?;

    let (g_next, grads) = (case.numbers(1, case.state_len()), case.param_numbers(2));
    let got = backward(backend, &case, &params, &x, &g_next, &grads)?;
    let want = backward(&oracle, &case, &params, &x, &g_next, &grads)?;
    let mut magnitude = backward(
        &oracle,
        &magnitudes,
        &absolute_weights,
        &absolute(&x),
        &absolute(&g_next),
        &absolute_params(&grads),
    )?;
    const OP: &str = "nca_step_backward";
    let terms = config.channels + config.hidden + 9 * 9 * config.kernels();
    let state_tolerance = Tolerance::products(precision, terms, 2);
    let terms = 9 + config.perceived() + config.channels + case.grid.cells();
    let grads_tolerance = Tolerance::products(precision, terms, 2);
    if precision != Precision::F32 {
        let (g_x, grads) = undecided(&case, &params, &x, &g_next, forward_tolerance)?;
        add_scaled(&mut magnitude.0, 1.0 / state_tolerance.relative, &g_x);
        for (magnitude, grad) in magnitude.1.iter_mut().zip(grads.iter()) {
            add_scaled(magnitude, 1.0 / grads_tolerance.relative, grad);
        }
    }
    compare(OP, "g_x", &got.0, &want.0, &magnitude.0, state_tolerance)?;
    compare_grads(OP, &got.1, &want.1, &magnitude.1, grads_tolerance)?;
    lengths(backend, &case)
}

/// `to += factor · from`
fn add_scaled(to: &mut [f64], factor: f64, from: &[f64]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

fn lengths<B: Backend>(backend: &B, case: &NcaCase) -> Result<(), Mismatch> {
    let (config, grid, key, len) = (&case.config, case.grid, case.key, case.state_len());
    let params = zero_params(backend, config)?;
    refuses_wrong_lengths("nca_step", 2, |wrong| {
        let buffer = |i| backend.zeros(len + usize::from(i == wrong));
        let mut scratch = backend.scratch(&backend.nca_step_scratch(config, grid))?;
        backend.nca_step(config, grid, &params, key, &buffer(0)?, &mut buffer(1)?, &mut scratch)
    })?;
    refuses_wrong_lengths("nca_step_backward", 3, |wrong| {
        let buffer = |i| backend.zeros(len + usize::from(i == wrong));
        let (x, g_next, mut g_x) = (buffer(0)?, buffer(1)?, buffer(2)?);
        let mut grads = zero_params(backend, config)?;
        let mut scratch = backend.scratch(&backend.nca_step_backward_scratch(config, grid))?;
        backend.nca_step_backward(
            config,
            grid,
            &params,
            key,
            &x,
            &g_next,
            &mut g_x,
            &mut grads,
            &mut scratch,
        )
    })
}

/// Backward against differences with respect to the state and each parameter tensor; inputs are
/// drawn until all pre-activations and states keep [`STEP_MARGIN`] from the kinks.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&tiny_nca_cases(), |case| {
        let (case, params, x) = clear(case, STEP_MARGIN)?;
        let g_next = case.numbers(1, case.state_len());
        let zeros = params.try_map(|v| Ok::<_, Mismatch>(vec![0.0; v.len()]))?;
        let (g_x, grads) = backward(backend, &case, &params, &x, &g_next, &zeros)?;
        const OP: &str = "nca_step_backward";
        check_gradient(OP, "g_x", &x, &g_x, &g_next, |x| forward(backend, &case, &params, x))?;
        check_param_gradients(OP, &params, &grads, &g_next, |params| {
            forward(backend, &case, params, &x)
        })
    })
}
