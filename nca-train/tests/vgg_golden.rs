//! VGG features and the losses on them against PyTorch: `golden/vgg.json`, written by the script
//! beside it.

mod narrow;

use std::path::Path;

use narrow::{VGG16, VGG19, download, exemplar, load, pictures, upload};
use nca_core::backend::Backend;
use nca_core::cpu::Cpu;
use nca_core::reference::Reference;
use nca_core::testkit::{Fault, Faulty, Kind};
use nca_train::loss::{AppearanceLoss, OtSettings, SlwSettings, VggGram, VggOt, VggSlw};
use nca_train::vgg::Features;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    network: String,
    batch: usize,
    height: usize,
    width: usize,
    samples: usize,
    directions: usize,
    /// relu1_1, relu2_1, relu3_1, relu4_1.
    taps: Vec<Vec<f64>>,
    losses: Vec<Evaluated>,
}

/// A loss on the same pictures.
#[derive(Deserialize)]
struct Evaluated {
    name: String,
    draw: u64,
    loss: f64,
    g_rgb: Vec<f64>,
}

impl Case {
    fn all() -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vgg.json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    fn layers(&self) -> &'static [(usize, usize)] {
        match self.network.as_str() {
            "VGG16" => &VGG16,
            "VGG19" => &VGG19,
            other => panic!("no network {other}"),
        }
    }

    fn loss<B: Backend + 'static>(&self, backend: &B, name: &str) -> Box<dyn AppearanceLoss<B>> {
        let vgg = load(backend, self.layers());
        let exemplar = exemplar(self.height, self.width);
        let ot = OtSettings { samples: self.samples };
        let slw = SlwSettings {
            directions: self.directions,
        };
        match name {
            "vgg-ot" => Box::new(VggOt::new(backend, vgg, &ot, &exemplar, self.batch).unwrap()),
            "vgg-slw" => Box::new(VggSlw::new(backend, vgg, &slw, &exemplar, self.batch).unwrap()),
            "vgg-gram" => Box::new(VggGram::new(backend, vgg, &(), &exemplar, self.batch).unwrap()),
            other => panic!("no loss {other}"),
        }
    }

    /// Additions one after another on the way from a picture to the last layer.
    fn feature_terms(&self) -> usize {
        let inputs = [3].into_iter().chain(self.layers().iter().map(|(_, outputs)| *outputs));
        inputs.zip(self.layers()).map(|(inputs, _)| 9 * inputs + 1).sum()
    }

    /// Those of a loss: features, a sum over positions and one over channels, for every picture.
    fn loss_terms(&self) -> usize {
        self.feature_terms() + self.batch * (self.height * self.width + self.taps.len() * 10)
    }

    /// Those of its gradient: there and back.
    fn gradient_terms(&self) -> usize {
        self.loss_terms() + self.feature_terms()
    }
}

/// `|got − want| ≤ 2·terms·ε·max|want|`: two sums of `terms` terms of that size, one rounded in the
/// backend's type and one in PyTorch's f64.
fn check<B: Backend>(name: &str, got: &[f64], want: &[f64], terms: usize) -> Result<(), String> {
    assert_eq!(got.len(), want.len(), "{name}");
    let epsilon = match size_of::<B::Elem>() {
        4 => f64::from(f32::EPSILON),
        _ => f64::EPSILON,
    };
    let tolerance = 2.0 * terms as f64 * epsilon * want.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (got - want).abs();
        if error.is_nan() || error > tolerance {
            return Err(format!(
                "{name}[{i}]: {got} instead of {want}, off by {error:e} of {tolerance:e}"
            ));
        }
    }
    Ok(())
}

fn agrees_with_pytorch<B: Backend + 'static>(backend: &B) -> Result<(), String> {
    for case in Case::all() {
        let rgb = upload(backend, &pictures(case.batch, case.height, case.width));
        let vgg = load(backend, case.layers());
        let taps = vgg.texture_layers(case.height, case.width);
        assert_eq!(taps.len(), case.taps.len());
        let mut features = Features::new(backend, &vgg, case.batch, case.height, case.width, &taps).unwrap();
        features.forward(backend, &vgg, &rgb).unwrap();
        for (tap, want) in case.taps.iter().enumerate() {
            let name = format!("{} tap {tap}", case.network);
            check::<B>(&name, &download(backend, features.tap(tap)), want, case.feature_terms())?;
        }
        for want in &case.losses {
            let mut loss = case.loss(backend, &want.name);
            let mut out = backend.zeros(1).unwrap();
            let mut g_rgb = backend.zeros(want.g_rgb.len()).unwrap();
            loss.evaluate(backend, want.draw, &rgb, Some(&mut g_rgb), &mut out, 0)
                .unwrap();
            let name = format!("{} {}", case.network, want.name);
            check::<B>(&name, &download(backend, &out), &[want.loss], case.loss_terms())?;
            check::<B>(&name, &download(backend, &g_rgb), &want.g_rgb, case.gradient_terms())?;
        }
    }
    Ok(())
}

#[test]
fn reference_f64() {
    agrees_with_pytorch(&Reference::<f64>::new()).unwrap();
}

#[test]
fn reference_f32() {
    agrees_with_pytorch(&Reference::<f32>::new()).unwrap();
}

#[test]
fn cpu() {
    agrees_with_pytorch(&Cpu::with_threads(2).unwrap()).unwrap();
}

/// The comparison can fail: one element off in any operation on the way is noticed.
#[test]
fn every_fault_is_noticed() {
    for (op, output) in [
        ("channel_affine", "y"),
        ("channel_affine_backward", "g_x"),
        ("conv2d", "y"),
        ("conv2d_backward_input", "g_x"),
        ("relu", "x"),
        ("relu_backward", "g"),
        ("max_pool2", "y"),
        ("max_pool2_backward", "g_x"),
        ("matmul", "c"),
        ("normalize_rows", "y"),
        ("normalize_rows", "norms"),
        ("normalize_rows_backward", "g_x"),
        ("gather_columns", "y"),
        ("gather_columns_backward", "g_x"),
        ("minima", "row_min"),
        ("minima", "column_min"),
        ("minima_backward", "g_x"),
        ("l1", "out"),
        ("l1_backward", "g_a"),
        ("sort_rows", "sorted"),
        ("sort_rows_backward", "g_x"),
        ("l2", "out"),
        ("l2_backward", "g_a"),
    ] {
        let kind = Kind::Element;
        let faulty = Faulty::new(Reference::<f64>::new(), Some(Fault { op, output, kind }));
        assert!(agrees_with_pytorch(&faulty).is_err(), "{op}: {output}");
    }
}
