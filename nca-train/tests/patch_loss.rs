//! The weight-free loss, and the whole chain from it to the weights, against differences in f64.

use nca_core::backend::{Axpy, Device, Overflow, Rgb, upload_params, zero_params};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::reference::Reference;
use nca_core::testkit::{Mismatch, check_gradient};
use nca_core::{Grid, HostParams, NcaConfig, Preset, Result, Rollout};
use nca_train::Texture;
use nca_train::loss::{AppearanceLoss, PatchLoss, PatchSettings};

type Oracle = Reference<f64>;

/// The draw of the projections.
const DRAW: u64 = 5;

fn numbers(index: u64, len: usize) -> Vec<f64> {
    let mut rng = PhiloxRng::new(2, Stream::Test, index);
    (0..len).map(|_| rng.uniform()).collect()
}

/// An exemplar of independent pixels: no two projections of it tie.
fn exemplar(height: usize, width: usize) -> Texture {
    let rgb = numbers(0, 3 * height * width).iter().map(|&v| v as f32).collect();
    Texture::new("noise", height, width, rgb).expect("values from 0 to 1")
}

/// Few projections and two levels: a difference quotient of a sum of absolute values of sorted
/// values is exact as long as no order and no sign changes within its step.
fn loss(grid: Grid) -> PatchLoss<Oracle> {
    let settings = PatchSettings {
        patch: 3,
        projections: 5,
        levels: 2,
    };
    let exemplar = exemplar(grid.height, grid.width);
    PatchLoss::new(&Oracle::new(), settings, &exemplar, grid.batch).expect("a valid loss")
}

fn value(loss: &mut PatchLoss<Oracle>, rgb: &Vec<f64>, g_rgb: Option<&mut Vec<f64>>) -> Result<f64> {
    let backend = Oracle::new();
    let mut out = vec![0.0; 2];
    loss.evaluate(&backend, DRAW, rgb, g_rgb, &mut out, 1)?;
    assert_eq!(out[0], 0.0, "another slot was written to");
    Ok(out[1])
}

#[test]
fn gradient() -> Result<(), Mismatch> {
    // Odd sides, two samples.
    let grid = Grid::new(2, 9, 11);
    let mut loss = loss(grid);
    let rgb = numbers(1, 3 * grid.cells());
    let mut g_rgb = vec![f64::NAN; rgb.len()];
    value(&mut loss, &rgb, Some(&mut g_rgb))?;
    let loss = std::cell::RefCell::new(loss);
    check_gradient("patch loss", "g_rgb", &rgb, &g_rgb, &[1.0], |rgb| {
        Ok(vec![value(&mut loss.borrow_mut(), &rgb.to_vec(), None)?])
    })
}

/// Everything of a training iteration that has a derivative, as a function of the flat weights.
struct Chain {
    config: NcaConfig,
    grid: Grid,
    x0: Vec<f64>,
    loss: PatchLoss<Oracle>,
}

/// Steps of the rollout, and the rollout's seed.
const STEPS: u32 = 5;
const SEED: u64 = 17;
/// Of the order of the patch loss.
const OVERFLOW: f64 = 0.01;

impl Chain {
    fn new() -> Result<Self> {
        let grid = Grid::new(2, 8, 9);
        let config = NcaConfig::preset(Preset::Paper, 4, 7)?;
        let x0 = numbers(3, config.channels * grid.cells())
            .iter()
            .map(|v| 2.6 * v - 1.3)
            .collect();
        Ok(Self {
            config,
            grid,
            x0,
            loss: loss(grid),
        })
    }

    /// Loss and, flat, its gradient with respect to the weights.
    fn evaluate(&mut self, flat: &[f64]) -> Result<(f64, Vec<f64>)> {
        let backend = Oracle::new();
        let mut params = upload_params(&backend, &HostParams::zeros(&self.config))?;
        let mut rest = flat;
        for tensor in params.iter_mut() {
            let (head, tail) = rest.split_at(tensor.len());
            tensor.copy_from_slice(head);
            rest = tail;
        }
        let (config, grid) = (&self.config, self.grid);
        // A budget of three states: the schedule recomputes.
        let budget = 3 * size_of::<f64>() * self.x0.len();
        let mut rollout = Rollout::new(&backend, config, grid, STEPS, budget)?;
        rollout.forward(&backend, &params, &self.x0, SEED, STEPS, &[], |_, _| Ok(()))?;
        let (mut rgb, mut g_rgb) = (backend.zeros(3 * grid.cells())?, backend.zeros(3 * grid.cells())?);
        let (last, g_last) = rollout.last_and_grad_mut();
        backend.rgb(config, grid, last, &mut rgb)?;
        let mut total = value(&mut self.loss, &rgb, Some(&mut g_rgb))?;
        backend.rgb_backward(config, grid, last, &g_rgb, g_last)?;
        let (mut out, mut g_overflow) = (vec![0.0], vec![0.0; self.x0.len()]);
        backend.overflow(OVERFLOW, last, &mut out, 0)?;
        backend.overflow_backward(OVERFLOW, last, &mut g_overflow)?;
        assert!(out[0] > 0.0, "no state overflows");
        total += out[0];
        backend.axpy(1.0, &g_overflow, g_last)?;
        let mut grads = zero_params(&backend, config)?;
        rollout.backward(&backend, &params, &mut grads, &[], |_, _, _| Ok(()))?;
        Ok((total, grads.iter().flatten().copied().collect()))
    }
}

#[test]
fn gradient_through_rollout_to_weights() -> Result<(), Mismatch> {
    let mut chain = Chain::new()?;
    let count = HostParams::zeros(&chain.config).count();
    let weights: Vec<f64> = numbers(4, count).iter().map(|v| 0.4 * (v - 0.5)).collect();
    let (_, gradient) = chain.evaluate(&weights)?;
    let chain = std::cell::RefCell::new(chain);
    check_gradient("training iteration", "grads", &weights, &gradient, &[1.0], |weights| {
        Ok(vec![chain.borrow_mut().evaluate(weights)?.0])
    })
}

#[test]
fn nothing_is_nearer_than_the_exemplar_itself() -> Result<()> {
    let grid = Grid::new(1, 12, 10);
    let mut loss = loss(grid);
    let same: Vec<f64> = exemplar(12, 10).rgb.iter().map(|&v| f64::from(v)).collect();
    assert!(value(&mut loss, &same, None)? < 1e-12);
    assert!(value(&mut loss, &numbers(9, same.len()), None)? > 1e-3);
    Ok(())
}

#[test]
fn an_exemplar_smaller_than_a_patch_is_refused() {
    let backend = Oracle::new();
    let error = PatchLoss::new(&backend, PatchSettings::default(), &exemplar(6, 20), 1).err();
    let message = error.expect("seven rows are needed").to_string();
    assert!(message.contains('7') && message.contains('6'), "{message}");
}
