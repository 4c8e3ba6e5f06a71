//! The patch loss: its value by the definition, its rules, and its gradient down to the weights.

use std::cell::RefCell;

use nca_core::backend::{AvgPool2, Axpy, Device, Overflow, Rgb};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::reference::Reference;
use nca_core::testkit::check_gradient;
use nca_core::{Grid, NcaConfig, Params, Preset, Rollout, param_sizes};
use nca_train::Texture;
use nca_train::loss::{AppearanceLoss, PatchLoss, PatchSettings};

type Host = Reference<f64>;

const DRAW: u64 = 7;
const SETTINGS: PatchSettings = PatchSettings {
    patch: 3,
    projections: 5,
    levels: 3,
};

/// Numbers uniform in (0, 1).
fn numbers(index: u64, len: usize) -> Vec<f64> {
    let mut rng = PhiloxRng::new(1, Stream::Test, index);
    (0..len).map(|_| rng.uniform()).collect()
}

fn exemplar(height: usize, width: usize) -> Texture {
    let rgb = numbers(0, 3 * height * width).into_iter().map(|v| v as f32).collect();
    Texture::new("numbers", height, width, rgb).unwrap()
}

fn patch_loss(settings: PatchSettings, height: usize, width: usize, pictures: usize) -> PatchLoss<Host> {
    PatchLoss::new(&Host::new(), settings, &exemplar(height, width), pictures).unwrap()
}

fn value(loss: &mut PatchLoss<Host>, draw: u64, rgb: &[f64]) -> f64 {
    let backend = Host::new();
    let mut out = backend.zeros(1).unwrap();
    loss.evaluate(&backend, draw, &backend.buffer(rgb).unwrap(), None, &mut out, 0)
        .unwrap();
    backend.to_vec(&out).unwrap()[0]
}

fn value_and_gradient(loss: &mut PatchLoss<Host>, draw: u64, rgb: &[f64]) -> (f64, Vec<f64>) {
    let backend = Host::new();
    let mut out = backend.zeros(1).unwrap();
    // Gradients of activations are overwritten, whatever was there.
    let mut g_rgb = backend.buffer(&vec![f64::NAN; rgb.len()]).unwrap();
    loss.evaluate(
        &backend,
        draw,
        &backend.buffer(rgb).unwrap(),
        Some(&mut g_rgb),
        &mut out,
        0,
    )
    .unwrap();
    (backend.to_vec(&out).unwrap()[0], backend.to_vec(&g_rgb).unwrap())
}

/// All k × k × 3 patches of a picture, projected on one filter and sorted.
fn sorted_projections(rgb: &[f64], height: usize, width: usize, patch: usize, filter: &[f64]) -> Vec<f64> {
    let mut projections = Vec::new();
    for y in 0..=height - patch {
        for x in 0..=width - patch {
            let term = |i: usize| {
                let (channel, dy, dx) = (i / (patch * patch), i / patch % patch, i % patch);
                filter[i] * rgb[(channel * height + y + dy) * width + x + dx]
            };
            projections.push((0..filter.len()).map(term).sum());
        }
    }
    projections.sort_by(f64::total_cmp);
    projections
}

#[test]
fn the_value_is_that_of_the_definition() {
    // Two levels: 13×17 and 6×8, whose smaller side is twice the patch.
    let (height, width, pictures) = (13, 17, 2);
    let backend = Host::new();
    let mut loss = patch_loss(SETTINGS, height, width, pictures);
    assert_eq!(loss.levels(), 2);
    let filters: Vec<Vec<f64>> = (0..2)
        .map(|level| numbers(10 + level, SETTINGS.projections * 27))
        .collect();
    for (level, filters) in filters.iter().enumerate() {
        loss.set_filters(&backend, level, filters).unwrap();
    }
    let rgb = numbers(1, pictures * 3 * height * width);

    let target: Vec<f64> = exemplar(height, width).rgb.iter().map(|&v| f64::from(v)).collect();
    let mut expected = 0.0;
    for picture in rgb.chunks_exact(target.len()) {
        let (mut picture, mut target) = (picture.to_vec(), target.clone());
        let (mut h, mut w) = (height, width);
        for filters in &filters {
            for filter in filters.chunks_exact(27) {
                let a = sorted_projections(&picture, h, w, SETTINGS.patch, filter);
                let b = sorted_projections(&target, h, w, SETTINGS.patch, filter);
                let distance: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum();
                expected += distance / (a.len() * SETTINGS.projections * pictures) as f64;
            }
            let half = |image: &[f64]| {
                let mut y = backend.zeros(3 * (h / 2) * (w / 2)).unwrap();
                let x = backend.buffer(image).unwrap();
                backend.avg_pool2(3, h, w, &x, &mut y).unwrap();
                backend.to_vec(&y).unwrap()
            };
            (picture, target) = (half(&picture), half(&target));
            (h, w) = (h / 2, w / 2);
        }
    }
    let mut out = backend.buffer(&[1.0, 2.0]).unwrap();
    let rgb = backend.buffer(&rgb).unwrap();
    loss.evaluate_as_drawn(&backend, &rgb, None, &mut out, 1).unwrap();
    let out = backend.to_vec(&out).unwrap();
    assert_eq!(out[0], 1.0);
    // Sums of positive numbers in f64: the two orders differ by a few hundred roundings at most.
    assert!(
        (out[1] - 2.0 - expected).abs() < 1e3 * f64::EPSILON,
        "{} {expected}",
        out[1] - 2.0
    );
}

#[test]
fn a_draw_decides_the_loss() {
    let mut loss = patch_loss(SETTINGS, 14, 12, 2);
    let rgb = numbers(2, 2 * 3 * 14 * 12);
    let (first, gradient) = value_and_gradient(&mut loss, DRAW, &rgb);
    let other = value(&mut loss, DRAW + 1, &rgb);
    assert_ne!(first, other);
    assert_eq!(value(&mut loss, DRAW, &rgb), first);
    assert_eq!(value_and_gradient(&mut loss, DRAW, &rgb), (first, gradient));
    // Given filters last until something is drawn again, the same draw included.
    loss.set_filters(&Host::new(), 0, &[1.0; 5 * 27]).unwrap();
    assert_eq!(value(&mut loss, DRAW, &rgb), first);
}

#[test]
fn the_exemplar_itself_costs_nothing() {
    let rgb: Vec<f64> = exemplar(14, 12).rgb.iter().map(|&v| f64::from(v)).collect();
    let (loss, gradient) = value_and_gradient(&mut patch_loss(SETTINGS, 14, 12, 1), DRAW, &rgb);
    assert_eq!(loss, 0.0);
    assert!(gradient.iter().all(|g| *g == 0.0));
}

#[test]
fn levels_exist_while_two_patches_fit() {
    let settings = PatchSettings::default();
    for (height, width, levels) in [
        (7, 7, 1),
        (27, 40, 1),
        (28, 28, 2),
        (55, 300, 2),
        (56, 56, 3),
        (64, 64, 3),
        (112, 128, 4),
        (300, 300, 4),
    ] {
        let settings = PatchSettings {
            projections: 1,
            ..settings
        };
        assert_eq!(
            patch_loss(settings, height, width, 1).levels(),
            levels,
            "{height}x{width}"
        );
    }
}

#[test]
fn impossible_settings_are_refused() {
    let backend = Host::new();
    let refused = |settings: PatchSettings, height: usize, width: usize, pictures: usize| {
        let texture = exemplar(height, width);
        let error = PatchLoss::new(&backend, settings, &texture, pictures).err();
        error.expect("should be refused").to_string()
    };
    let default = PatchSettings::default();
    assert!(refused(default, 6, 40, 1).contains("6x40"));
    assert!(refused(default, 40, 40, 0).contains("number of pictures"));
    for settings in [
        PatchSettings { patch: 0, ..default },
        PatchSettings { patch: 65, ..default },
        PatchSettings {
            projections: 0,
            ..default
        },
        PatchSettings { levels: 0, ..default },
    ] {
        assert!(refused(settings, 40, 40, 1).contains("expected 1 to"));
    }
    let mut loss = patch_loss(default, 20, 20, 1);
    assert!(loss.set_filters(&backend, 1, &[0.0; 64 * 147]).is_err());
    assert!(loss.set_filters(&backend, 0, &[0.0; 3]).is_err());
    let (rgb, mut out) = (backend.zeros(3 * 19 * 20).unwrap(), backend.zeros(1).unwrap());
    assert!(loss.evaluate(&backend, 0, &rgb, None, &mut out, 0).is_err());
}

#[test]
fn the_gradient_agrees_with_differences() {
    for (height, width, pictures) in [(13, 12, 2), (7, 9, 1), (3, 3, 1), (24, 25, 1)] {
        let rgb = numbers(3, pictures * 3 * height * width);
        let mut loss = patch_loss(SETTINGS, height, width, pictures);
        let (_, g_rgb) = value_and_gradient(&mut loss, DRAW, &rgb);
        let loss = RefCell::new(loss);
        check_gradient("patch loss", "g_rgb", &rgb, &g_rgb, &[1.0], |rgb| {
            Ok(vec![value(&mut loss.borrow_mut(), DRAW, rgb)])
        })
        .unwrap();
    }
}

/// Everything of a training iteration that has a derivative, for one configuration: patch loss →
/// picture → rollout → weights, and the overflow loss of the last state.
struct Chain {
    config: NcaConfig,
    grid: Grid,
    x0: Vec<f64>,
}

impl Chain {
    const STEPS: u32 = 6;
    const SEED: u64 = 3;
    /// Makes the overflow loss of the order of the patch loss.
    const OVERFLOW: f64 = 0.01;

    fn new(preset: Preset) -> Self {
        let config = NcaConfig::preset(preset, 4, 5).unwrap();
        let grid = Grid::new(2, 8, 7);
        let len = config.channels * grid.cells();
        let x0 = numbers(4, len).into_iter().map(|v| 3.0 * (v - 0.5)).collect();
        Self { config, grid, x0 }
    }

    fn weights(&self) -> Params<Vec<f64>> {
        let mut index = 20;
        let weights = param_sizes(&self.config).try_map(|&len| {
            index += 1;
            Ok::<_, nca_core::Error>(numbers(index, len).into_iter().map(|v| 0.3 * (v - 0.5)).collect())
        });
        weights.unwrap()
    }

    /// The loss, and the gradient of every weight where it is asked for.
    fn run(&self, weights: &Params<Vec<f64>>, gradient: bool) -> (f64, Params<Vec<f64>>) {
        let backend = Host::new();
        let (config, grid) = (&self.config, self.grid);
        let mut loss = patch_loss(SETTINGS, grid.height, grid.width, grid.batch);
        let params = weights.try_map(|w| backend.buffer(w)).unwrap();
        let mut grads = weights.try_map(|w| backend.zeros(w.len())).unwrap();
        // Room for two states only: most are recomputed.
        let mut rollout = Rollout::new(&backend, config, grid, Self::STEPS, 0).unwrap();
        let x0 = backend.buffer(&self.x0).unwrap();
        rollout
            .forward(&backend, &params, &x0, Self::SEED, Self::STEPS, &[], |_, _| Ok(()))
            .unwrap();
        let mut rgb = backend.zeros(3 * grid.cells()).unwrap();
        let mut g_rgb = backend.zeros(3 * grid.cells()).unwrap();
        let mut out = backend.zeros(2).unwrap();
        backend.rgb(config, grid, rollout.last(), &mut rgb).unwrap();
        let wanted = gradient.then_some(&mut g_rgb);
        loss.evaluate(&backend, DRAW, &rgb, wanted, &mut out, 0).unwrap();
        backend.overflow(Self::OVERFLOW, rollout.last(), &mut out, 1).unwrap();
        if gradient {
            let (last, g_last) = rollout.last_and_grad_mut();
            let mut g_overflow = backend.zeros(self.x0.len()).unwrap();
            backend
                .overflow_backward(Self::OVERFLOW, last, &mut g_overflow)
                .unwrap();
            backend.rgb_backward(config, grid, last, &g_rgb, g_last).unwrap();
            backend.axpy(1.0, &g_overflow, g_last).unwrap();
            rollout
                .backward(&backend, &params, &mut grads, &[], |_, _, _| Ok(()))
                .unwrap();
        }
        let losses = backend.to_vec(&out).unwrap();
        assert!(losses.iter().all(|&loss| loss > 0.0), "{losses:?}");
        (losses.iter().sum(), grads.try_map(|g| backend.to_vec(g)).unwrap())
    }
}

#[test]
fn the_whole_chain_agrees_with_differences() {
    for preset in Preset::ALL {
        let chain = Chain::new(preset);
        let weights = chain.weights();
        let (_, grads) = chain.run(&weights, true);
        let names = Params::<Vec<f64>>::NAMES;
        for (tensor, (w, g)) in weights.iter().zip(grads.iter()).enumerate() {
            assert!(g.iter().any(|g| *g != 0.0), "{preset}: {}", names[tensor]);
            let check = |g: &[f64]| {
                check_gradient("patch loss of a rollout", names[tensor], w, g, &[1.0], |moved| {
                    let mut weights = weights.clone();
                    if let Some(w) = weights.iter_mut().nth(tensor) {
                        w.copy_from_slice(moved);
                    }
                    Ok(vec![chain.run(&weights, false).0])
                })
            };
            check(g).unwrap_or_else(|mismatch| panic!("{preset}: {mismatch}"));
            // A gradient wrong in one weight is seen.
            let mut wrong = g.clone();
            wrong[0] += 1e-3 * g.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
            assert!(check(&wrong).is_err(), "{preset}: {}", names[tensor]);
        }
    }
}
