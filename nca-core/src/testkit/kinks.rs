//! How far an input is from the kinks of ReLU and clamp.
//!
//! At a kink a gradient jumps. Two implementations that round differently may then disagree by any
//! amount, and a difference quotient across it means nothing. So the suite asks for inputs that
//! keep a margin: it draws numbers again until they do.

use crate::backend::{MaskKey, Mlp, Perceive, Update};
use crate::config::{Grid, NcaConfig};
use crate::error::Result;
use crate::params::Params;

use super::host::oracle;

/// Margin for comparisons of one step between f32 and f64: pre-activations and states are of
/// order one, their f32 errors of order 1e-7 to 1e-6.
pub const ROUNDING_MARGIN: f64 = 1e-5;

/// Margin for difference quotients, and for rollouts, along which rounding errors grow.
pub const STEP_MARGIN: f64 = 1e-4;

/// Smallest distance of a pre-activation from the kink of the ReLU.
pub fn relu_distance(config: &NcaConfig, grid: Grid, params: &Params<Vec<f64>>, z: &[f64]) -> Result<f64> {
    // relu(p) + relu(−p) = |p|.
    let hidden = |sign: f64| -> Result<Vec<f64>> {
        let signed = Params {
            w1: params.w1.iter().map(|w| sign * w).collect(),
            b1: params.b1.iter().map(|b| sign * b).collect(),
            ..params.clone()
        };
        let mut h = vec![0.0; config.hidden * grid.cells()];
        let mut dx = vec![0.0; config.channels * grid.cells()];
        oracle().mlp(config, grid, &signed, &z.to_vec(), &mut h, &mut dx)?;
        Ok(h)
    };
    let (positive, negative) = (hidden(1.0)?, hidden(-1.0)?);
    Ok(smallest(positive.iter().zip(negative).map(|(p, n)| p + n)))
}

/// Smallest distance of an updated state from the bounds of the clamp.
pub fn clamp_distance(config: &NcaConfig, grid: Grid, key: MaskKey, x: &[f64], dx: &[f64]) -> Result<f64> {
    let Some(bound) = config.clamp else {
        return Ok(f64::INFINITY);
    };
    let unclamped = NcaConfig {
        clamp: None,
        ..config.clone()
    };
    let mut x_next = vec![0.0; x.len()];
    oracle().update(&unclamped, grid, key, &x.to_vec(), &dx.to_vec(), &mut x_next)?;
    // A value that an earlier step left on the bound and that has not moved since is no kink: every
    // implementation has it there exactly, and nothing before the clamp can move it.
    let moved = x_next.iter().zip(x).filter(|(next, x)| next != x || x.abs() != bound);
    Ok(smallest(moved.map(|(next, _)| (next.abs() - bound).abs())))
}

/// Smallest distance from any kink along `steps` steps from `x`.
pub fn step_distance(
    config: &NcaConfig,
    grid: Grid,
    params: &Params<Vec<f64>>,
    key: MaskKey,
    steps: u32,
    x: &[f64],
) -> Result<f64> {
    let oracle = oracle();
    let mut distance = f64::INFINITY;
    let mut x = x.to_vec();
    for step in 0..steps {
        let key = key.after(step);
        let mut z = vec![0.0; config.perceived() * grid.cells()];
        let mut h = vec![0.0; config.hidden * grid.cells()];
        let mut dx = vec![0.0; x.len()];
        let mut x_next = vec![0.0; x.len()];
        oracle.perceive(config, grid, &x, &mut z)?;
        oracle.mlp(config, grid, params, &z, &mut h, &mut dx)?;
        oracle.update(config, grid, key, &x, &dx, &mut x_next)?;
        distance = distance
            .min(relu_distance(config, grid, params, &z)?)
            .min(clamp_distance(config, grid, key, &x, &dx)?);
        x = x_next;
    }
    Ok(distance)
}

fn smallest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}
