//! The patch loss against PyTorch: `golden/patch_loss.json`, written by the script beside it.

use std::path::Path;

use nca_core::Real;
use nca_core::backend::Backend;
use nca_core::cpu::Cpu;
use nca_core::reference::Reference;
use nca_train::Texture;
use nca_train::loss::{AppearanceLoss, PatchLoss, PatchSettings};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    height: usize,
    width: usize,
    pictures: usize,
    draw: u64,
    patch: usize,
    projections: usize,
    levels: usize,
    exemplar: Vec<f32>,
    rgb: Vec<f64>,
    loss: f64,
    g_rgb: Vec<f64>,
}

impl Case {
    fn all() -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/patch_loss.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// The loss, and its gradient.
    fn evaluate<B: Backend>(&self, backend: &B) -> (f64, Vec<f64>) {
        let exemplar = Texture {
            name: "golden".to_owned(),
            height: self.height,
            width: self.width,
            rgb: self.exemplar.clone(),
        };
        let settings = PatchSettings {
            patch: self.patch,
            projections: self.projections,
            levels: self.levels,
        };
        let mut loss = PatchLoss::new(backend, settings, &exemplar, self.pictures).unwrap();
        let rgb: Vec<_> = self.rgb.iter().map(|&v| B::Elem::of(v)).collect();
        let rgb = backend.buffer(&rgb).unwrap();
        let mut g_rgb = backend.zeros(self.rgb.len()).unwrap();
        let mut out = backend.zeros(1).unwrap();
        loss.evaluate(backend, self.draw, &rgb, Some(&mut g_rgb), &mut out, 0)
            .unwrap();
        let host = |buffer| -> Vec<f64> {
            let values = backend.to_vec(buffer).unwrap();
            values.into_iter().map(Real::to_f64).collect()
        };
        (host(&out)[0], host(&g_rgb))
    }

    /// Terms of the sum in an element of the gradient: every weight of every filter, at each level.
    fn gradient_terms(&self) -> f64 {
        (self.levels * self.projections * self.patch * self.patch) as f64
    }

    /// Terms of the largest sum of the loss, and those of a projection.
    fn loss_terms(&self) -> f64 {
        let windows = (self.height - self.patch + 1) * (self.width - self.patch + 1);
        (self.pictures * self.projections * windows + 3 * self.patch * self.patch) as f64
    }
}

/// Rounding errors of random sign in a sum of n terms stay below λ·√n·ε but once in 10⁸ (Higham &
/// Mary, *A new approach to probabilistic rounding error analysis*, SISC 2019).
const CONFIDENCE: f64 = 6.0;

fn agrees_with_pytorch<B: Backend>(backend: &B) {
    let epsilon = match size_of::<B::Elem>() {
        4 => f64::from(f32::EPSILON),
        _ => f64::EPSILON,
    };
    let cases = Case::all();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let (loss, g_rgb) = case.evaluate(backend);
        let allowed = CONFIDENCE * case.loss_terms().sqrt() * epsilon * case.loss;
        let error = (loss - case.loss).abs();
        assert!(
            error <= allowed,
            "loss {loss} instead of {}, off by {error:e} of {allowed:e}",
            case.loss
        );

        // The terms are of either sign: the sum of their sizes is up to √n times the result.
        let largest = case.g_rgb.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
        let allowed = case.gradient_terms() * epsilon * largest;
        for (i, (got, want)) in g_rgb.iter().zip(&case.g_rgb).enumerate() {
            let error = (got - want).abs();
            assert!(
                error <= allowed,
                "g_rgb[{i}]: {got} instead of {want}, off by {error:e} of {allowed:e}"
            );
        }
    }
}

#[test]
fn reference_f64() {
    agrees_with_pytorch(&Reference::<f64>::new());
}

#[test]
fn reference_f32() {
    agrees_with_pytorch(&Reference::<f32>::new());
}

#[test]
fn cpu() {
    agrees_with_pytorch(&Cpu::new().unwrap());
}
