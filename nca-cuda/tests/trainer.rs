//! Whole training iterations: every operation that training needs, chained as training chains them.

mod common;

use nca_core::backend::{Backend, Device as _};
use nca_core::reference::Reference;
use nca_core::{Nca, Preset, Real};
use nca_train::loss::{PatchLoss, PatchSettings};
use nca_train::{Objective, Texture, TrainSettings, Trainer};

use self::common::precise_backends;

const SIZE: usize = 16;

/// How much larger than the reference's own error in f32, with products in the same precision, that of another order of
/// summation may be; as in the suite's rollouts, that error is measured against f64.
const OTHER_ORDER: f64 = 16.0;

/// What an iteration leaves: its loss, the first moments (a tenth of the normalised gradients), the pool.
struct Outcome {
    loss: f64,
    gradients: Vec<f64>,
    pool: Vec<f64>,
}

fn trainer<B: Backend>(backend: &B, preset: Preset) -> Trainer<'_, B> {
    let mut nca = Nca::preset(preset, 5, 20, 1).expect("a valid model");
    // An untrained model of the paper does nothing.
    let weights = nca.params.w1.clone();
    for (w2, w1) in nca.params.w2.iter_mut().zip(weights) {
        *w2 = w1;
    }
    let settings = TrainSettings {
        objective: Objective::Appearance,
        size: SIZE,
        batch: 2,
        pool: 5,
        steps_min: 4,
        steps_max: 6,
        ..TrainSettings::preset(preset)
    };
    let texture = Texture::resolve("chequered", None, SIZE).expect("a built-in exemplar");
    let patches = PatchSettings {
        projections: 8,
        ..PatchSettings::default()
    };
    let loss = PatchLoss::new(backend, patches, &texture, settings.batch).expect("a valid loss");
    Trainer::new(backend, &nca, settings, Box::new(loss), 3).expect("valid settings")
}

fn iteration<B: Backend>(backend: &B, preset: Preset) -> Outcome {
    let mut trainer = trainer(backend, preset);
    let loss = trainer.step().expect("a finite iteration").loss;
    let state = trainer.state().expect("a state");
    Outcome {
        loss,
        gradients: state.first_moments.iter().flatten().map(|v| v.to_f64()).collect(),
        pool: state.pool.iter().map(|v| v.to_f64()).collect(),
    }
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn an_iteration_is_that_of_the_reference() {
    for preset in Preset::ALL {
        let exact = iteration(&Reference::<f64>::new(), preset);
        for backend in precise_backends() {
            let reference = Reference::<f32>::new().with_precision(backend.precision());
            let rounded = iteration(&reference, preset);
            let (name, cuda) = (backend.describe(), iteration(&backend, preset));
            let compare = |what: &str, part: fn(&Outcome) -> &[f64]| {
                let allowed = OTHER_ORDER * largest_difference(part(&rounded), part(&exact));
                let found = largest_difference(part(&cuda), part(&exact));
                assert!(part(&exact).iter().any(|&v| v != 0.0), "{preset}: no {what}");
                assert!(
                    found <= allowed,
                    "{name}, {preset}: {what} off by {found:e}, allowed {allowed:e}"
                );
            };
            compare("loss", |outcome| std::slice::from_ref(&outcome.loss));
            compare("gradients", |outcome| &outcome.gradients);
            compare("pool", |outcome| &outcome.pool);
        }
    }
}
