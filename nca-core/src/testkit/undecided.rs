//! What the gradients of a step lose or gain where rounding decides on which side of a kink it is.
//!
//! [`kinks`](super::kinks) draws inputs that keep away from kinks by more than the error of f32. By more than that of
//! 11 or 8 bits none of thousands of neurons can. So where products are rounded that far, the suite lets a gradient
//! differ by what passes the neurons and clamps that are nearer to their kinks than the error there.

use super::cases::NcaCase;
use super::compare::Tolerance;
use super::host::{absolute, absolute_config, absolute_params, oracle};
use crate::backend::{Mlp, Perceive, Update};
use crate::config::NcaConfig;
use crate::error::Result;
use crate::params::Params;
use crate::reference::Reference;

/// The sum of the absolute values of all terms that enter the gradients through a kink within `tolerance`: of `g_x` and
/// of the parameters' gradients.
pub(super) fn undecided(
    case: &NcaCase,
    params: &Params<Vec<f64>>,
    x: &[f64],
    g_next: &[f64],
    tolerance: Tolerance,
) -> Result<(Vec<f64>, Params<Vec<f64>>)> {
    let (config, grid, key) = (&case.config, case.grid, case.key);
    let magnitudes = Magnitudes::of(case, params, x)?;
    let near = |distance: f64, magnitude: f64| distance <= tolerance.relative * magnitude + tolerance.absolute;
    let x = x.to_vec();

    let mut z = vec![0.0; case.perceived_len()];
    let (mut h, mut dx) = (vec![0.0; case.hidden_len()], vec![0.0; x.len()]);
    let (mut negative, mut ignored) = (h.clone(), dx.clone());
    oracle().perceive(config, grid, &x, &mut z)?;
    oracle().mlp(config, grid, params, &z, &mut h, &mut dx)?;
    // relu(p) + relu(−p) = |p|.
    let opposite = Params {
        w1: params.w1.iter().map(|w| -w).collect(),
        b1: params.b1.iter().map(|b| -b).collect(),
        ..params.clone()
    };
    oracle().mlp(config, grid, &opposite, &z, &mut negative, &mut ignored)?;
    let on_kink = |i: usize| near(h[i] + negative[i], magnitudes.h[i]);
    let gated = |open: &dyn Fn(usize) -> bool| -> Vec<f64> {
        let gate = |(i, &magnitude)| if open(i) { magnitude } else { 0.0 };
        magnitudes.h.iter().enumerate().map(gate).collect()
    };

    let unclamped = NcaConfig {
        clamp: None,
        ..config.clone()
    };
    let mut x_next = vec![0.0; x.len()];
    oracle().update(&unclamped, grid, key, &x, &dx, &mut x_next)?;
    let (mut sure, mut unsure) = (absolute(g_next), vec![0.0; x.len()]);
    if let Some(bound) = config.clamp {
        for i in 0..x.len() {
            // What does not move is on the same side everywhere.
            if x_next[i] != x[i] && near((x_next[i].abs() - bound).abs(), magnitudes.x_next[i]) {
                unsure[i] = sure[i];
            } else if x_next[i].abs() > bound {
                sure[i] = 0.0;
            }
        }
    }
    let mut grads = params.try_map(|v| Ok::<_, crate::Error>(vec![0.0; v.len()]))?;
    // Through neurons on their kink, whatever the clamp passes; through clamps on theirs, whatever neurons do.
    let (_, by_neurons) = magnitudes.back(&sure, &gated(&on_kink), &mut grads)?;
    let (direct, by_clamps) = magnitudes.back(&unsure, &gated(&|i| h[i] > 0.0 || on_kink(i)), &mut grads)?;
    let g_x = (0..x.len()).map(|i| by_neurons[i] + by_clamps[i] + direct[i]);
    Ok((g_x.collect(), grads))
}

/// The step on absolute values.
struct Magnitudes<'a> {
    case: &'a NcaCase,
    config: NcaConfig,
    params: Params<Vec<f64>>,
    x: Vec<f64>,
    z: Vec<f64>,
    h: Vec<f64>,
    dx: Vec<f64>,
    x_next: Vec<f64>,
}

impl<'a> Magnitudes<'a> {
    fn of(case: &'a NcaCase, params: &Params<Vec<f64>>, x: &[f64]) -> Result<Self> {
        let mut of = Self {
            case,
            config: absolute_config(&case.config),
            params: absolute_params(params),
            x: absolute(x),
            z: vec![0.0; case.perceived_len()],
            h: vec![0.0; case.hidden_len()],
            dx: vec![0.0; x.len()],
            x_next: vec![0.0; x.len()],
        };
        let (oracle, grid): (Reference<f64>, _) = (oracle(), case.grid);
        oracle.perceive(&of.config, grid, &of.x, &mut of.z)?;
        oracle.mlp(&of.config, grid, &of.params, &of.z, &mut of.h, &mut of.dx)?;
        oracle.update(&of.config, grid, case.key, &of.x, &of.dx, &mut of.x_next)?;
        Ok(of)
    }

    /// `g_next` back through the neurons that are not 0 in `gates`: what reaches `g_x` past the network, and through it.
    fn back(&self, g_next: &[f64], gates: &[f64], grads: &mut Params<Vec<f64>>) -> Result<(Vec<f64>, Vec<f64>)> {
        let (grid, key, len) = (self.case.grid, self.case.key, self.x.len());
        let (mut direct, mut g_dx, mut g_x) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
        let (mut g_h, mut g_z) = (vec![0.0; self.h.len()], vec![0.0; self.z.len()]);
        let (g_next, gates) = (g_next.to_vec(), gates.to_vec());
        oracle().update_backward(
            &self.config,
            grid,
            key,
            &self.x,
            &self.dx,
            &g_next,
            &mut direct,
            &mut g_dx,
        )?;
        oracle().mlp_backward(
            &self.config,
            grid,
            &self.params,
            &self.z,
            &gates,
            &g_dx,
            &mut g_h,
            &mut g_z,
            grads,
        )?;
        oracle().perceive_backward(&self.config, grid, &g_z, &mut g_x)?;
        Ok((direct, g_x))
    }
}
