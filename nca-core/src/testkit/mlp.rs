//! The update network against the oracle.

use super::cases::{NcaCase, first_of_seeds, for_all, nca_cases, tiny_nca_cases};
use super::compare::{Mismatch, Tolerance, compare, compare_bits};
use super::derivative::check_gradient;
use super::host::{
    absolute, absolute_params, download, download_all, oracle, poisoned, refuses_wrong_lengths, upload, upload_all,
};
use super::kinks::{STEP_MARGIN, relu_distance};
use crate::backend::{Backend, MaskKey, zero_params};
use crate::config::{Grid, NcaConfig, Preset};
use crate::error::Result;
use crate::params::Params;

type HostParams = Params<Vec<f64>>;

/// What one call of `mlp_backward` reads besides the weights.
struct Backward<'a> {
    z: &'a [f64],
    h: &'a [f64],
    g_dx: &'a [f64],
    /// What the gradients of the parameters hold before.
    grads: &'a HostParams,
}

/// `(h, dx)`.
fn forward<B: Backend>(backend: &B, case: &NcaCase, params: &HostParams, z: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
    let (params, z) = (upload_all(backend, params)?, upload(backend, z)?);
    let mut h = poisoned(backend, case.hidden_len())?;
    let mut dx = poisoned(backend, case.state_len())?;
    backend.mlp(&case.config, case.grid, &params, &z, &mut h, &mut dx)?;
    Ok((download(backend, &h)?, download(backend, &dx)?))
}

/// `(g_h, g_z, grads)`.
fn backward<B: Backend>(
    backend: &B,
    case: &NcaCase,
    params: &HostParams,
    given: &Backward<'_>,
) -> Result<(Vec<f64>, Vec<f64>, HostParams)> {
    let params = upload_all(backend, params)?;
    let (z, h, g_dx) = (
        upload(backend, given.z)?,
        upload(backend, given.h)?,
        upload(backend, given.g_dx)?,
    );
    let mut grads = upload_all(backend, given.grads)?;
    let mut g_h = poisoned(backend, case.hidden_len())?;
    let mut g_z = poisoned(backend, case.perceived_len())?;
    let (config, grid) = (&case.config, case.grid);
    backend.mlp_backward(config, grid, &params, &z, &h, &g_dx, &mut g_h, &mut g_z, &mut grads)?;
    Ok((
        download(backend, &g_h)?,
        download(backend, &g_z)?,
        download_all(backend, &grads)?,
    ))
}

/// Forward and backward against the oracle, with and without b2.
///
/// Forward is continuous and needs no margin. Backward is given the same `h` on both sides, so that
/// both see the same neurons as active; zeros in it check the derivative at 0.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&nca_cases(), |case| {
        let oracle = oracle();
        let (inputs, hidden, outputs) = (case.config.perceived(), case.config.hidden, case.config.channels);
        let params = case.params(1.0);
        let magnitudes = absolute_params(&params);

        let z = case.numbers(0, case.perceived_len());
        let got = forward(backend, case, &params, &z)?;
        let want = forward(&oracle, case, &params, &z)?;
        let magnitude = forward(&oracle, case, &magnitudes, &absolute(&z))?;
        let precision = backend.precision();
        let first = Tolerance::products(precision, inputs, 1);
        compare("mlp", "h", &got.0, &want.0, &magnitude.0, first)?;
        let both = Tolerance::products(precision, inputs + hidden, 2);
        compare("mlp", "dx", &got.1, &want.1, &magnitude.1, both)?;

        let h: Vec<f64> = case.numbers(1, case.hidden_len()).iter().map(|v| v.max(0.0)).collect();
        let (g_dx, grads) = (case.numbers(2, case.state_len()), case.param_numbers(3));
        let given = Backward {
            z: &z,
            h: &h,
            g_dx: &g_dx,
            grads: &grads,
        };
        let got = backward(backend, case, &params, &given)?;
        let want = backward(&oracle, case, &params, &given)?;
        let magnitude = backward(
            &oracle,
            case,
            &magnitudes,
            &Backward {
                z: &absolute(&z),
                h: &h,
                g_dx: &absolute(&g_dx),
                grads: &absolute_params(&grads),
            },
        )?;
        const OP: &str = "mlp_backward";
        let precision = precision.of_gradients();
        let second = Tolerance::products(precision, outputs, 1);
        compare(OP, "g_h", &got.0, &want.0, &magnitude.0, second)?;
        let both = Tolerance::products(precision, outputs + hidden, 2);
        compare(OP, "g_z", &got.1, &want.1, &magnitude.1, both)?;
        let cells = Tolerance::products(precision, outputs + case.grid.cells(), 2);
        compare_grads(OP, &got.2, &want.2, &magnitude.2, cells)?;
        lengths(backend, case)
    })?;
    nan(backend)
}

/// A NaN passes forward; a neuron that is not positive, 0 or NaN, passes no gradient.
fn nan<B: Backend>(backend: &B) -> Result<(), Mismatch> {
    let case = NcaCase {
        config: NcaConfig::preset(Preset::Paper, 3, 1)?,
        grid: Grid::new(1, 1, 3),
        seed: 0,
        key: MaskKey { seed: 0, step: 0 },
    };
    let ones = case
        .param_numbers(0)
        .try_map(|v| Ok::<_, Mismatch>(vec![1.0; v.len()]))?;
    let mut z = vec![0.0; case.perceived_len()];
    z[2] = f64::NAN;
    let (h, dx) = forward(backend, &case, &ones, &z)?;
    compare_bits("mlp", "h of a NaN", &h, &[1.0, 1.0, f64::NAN])?;
    let is_nan: Vec<f64> = dx.iter().map(|v| f64::from(u8::from(v.is_nan()))).collect();
    compare_bits("mlp", "NaN in dx", &is_nan, &[0.0, 0.0, 1.0].repeat(3))?;
    let given = Backward {
        z: &vec![0.0; z.len()],
        h: &[1.0, 0.0, f64::NAN],
        g_dx: &[1.0; 9],
        grads: &ones,
    };
    let (g_h, _, _) = backward(backend, &case, &ones, &given)?;
    compare_bits("mlp_backward", "g_h at 1, 0 and NaN", &g_h, &[3.0, 0.0, 0.0])
}

/// Compares the gradients of all parameters.
pub(super) fn compare_grads(
    op: &'static str,
    got: &HostParams,
    want: &HostParams,
    magnitude: &HostParams,
    tolerance: Tolerance,
) -> Result<(), Mismatch> {
    let tensors = got.iter().zip(want.iter()).zip(magnitude.iter());
    for (name, ((got, want), magnitude)) in HostParams::NAMES.into_iter().zip(tensors) {
        compare(op, name, got, want, magnitude, tolerance)?;
    }
    Ok(())
}

fn lengths<B: Backend>(backend: &B, case: &NcaCase) -> Result<(), Mismatch> {
    let (config, grid) = (&case.config, case.grid);
    let (state, perceived, hidden) = (case.state_len(), case.perceived_len(), case.hidden_len());
    let tensors = if config.output_bias { 4 } else { 3 };
    // Parameters of which tensor number `wrong − first` is one element too long.
    let params = |first: usize, wrong: usize| {
        let mut params = zero_params(backend, config)?;
        for (i, tensor) in params.iter_mut().enumerate() {
            if first + i == wrong {
                *tensor = backend.zeros(backend.len(tensor) + 1)?;
            }
        }
        Ok::<_, crate::Error>(params)
    };
    refuses_wrong_lengths("mlp", 3 + tensors, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        let (z, mut h, mut dx) = (buffer(0, perceived)?, buffer(1, hidden)?, buffer(2, state)?);
        backend.mlp(config, grid, &params(3, wrong)?, &z, &mut h, &mut dx)
    })?;
    refuses_wrong_lengths("mlp_backward", 5 + tensors, |wrong| {
        let buffer = |i, len| backend.zeros(len + usize::from(i == wrong));
        let (z, h, g_dx) = (buffer(0, perceived)?, buffer(1, hidden)?, buffer(2, state)?);
        let (mut g_h, mut g_z) = (buffer(3, hidden)?, buffer(4, perceived)?);
        let (weights, mut grads) = (zero_params(backend, config)?, params(5, wrong)?);
        backend.mlp_backward(config, grid, &weights, &z, &h, &g_dx, &mut g_h, &mut g_z, &mut grads)
    })
}

/// Backward against differences with respect to `z` and each parameter tensor; inputs are drawn
/// until every pre-activation keeps [`STEP_MARGIN`] from the kink of the ReLU.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&tiny_nca_cases(), |case| {
        let (case, params, z) = first_of_seeds(case.seed, "mlp", |seed| {
            let case = case.with_seed(seed);
            let (params, z) = (case.params(1.0), case.numbers(0, case.perceived_len()));
            let distance = relu_distance(&case.config, case.grid, &params, &z).ok()?;
            (distance >= STEP_MARGIN).then_some((case, params, z))
        })?;
        let g_dx = case.numbers(2, case.state_len());
        let (h, _) = forward(backend, &case, &params, &z)?;
        let given = Backward {
            z: &z,
            h: &h,
            g_dx: &g_dx,
            grads: &params.try_map(|v| Ok::<_, Mismatch>(vec![0.0; v.len()]))?,
        };
        let (_, g_z, grads) = backward(backend, &case, &params, &given)?;
        const OP: &str = "mlp_backward";
        check_gradient(OP, "g_z", &z, &g_z, &g_dx, |z| {
            Ok(forward(backend, &case, &params, z)?.1)
        })?;
        check_param_gradients(OP, &params, &grads, &g_dx, |params| {
            Ok(forward(backend, &case, params, &z)?.1)
        })
    })
}

/// [`check_gradient`] for each parameter tensor in turn.
pub(super) fn check_param_gradients(
    op: &'static str,
    params: &HostParams,
    grads: &HostParams,
    g_y: &[f64],
    forward: impl Fn(&HostParams) -> Result<Vec<f64>>,
) -> Result<(), Mismatch> {
    for (i, (name, grad)) in HostParams::NAMES.into_iter().zip(grads.iter()).enumerate() {
        let Some(values) = params.iter().nth(i) else { continue };
        check_gradient(op, name, values, grad, g_y, |values| {
            let mut moved = params.clone();
            if let Some(tensor) = moved.iter_mut().nth(i) {
                tensor.copy_from_slice(values);
            }
            forward(&moved)
        })?;
    }
    Ok(())
}
