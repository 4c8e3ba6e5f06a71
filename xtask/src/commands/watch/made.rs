//! A made-up sweep for tests.

use nca_train::report::{MetricRow, ModelRecord, Status};
use nca_train::sweep::{ModelProgress, Snapshot, Stage, SweepPreset, SweepSettings};
use serde_json::json;

/// A finished model.
pub(super) fn done(status: Status, psi: f64) -> Stage {
    let ok = |value: f64| (status == Status::Ok).then_some(value);
    let record: ModelRecord = serde_json::from_value(json!({
        "texture": "chequered", "channels": 6, "hidden": 16, "seed": 0, "status": status.name(),
        "psi": ok(psi), "psi_se": ok(0.01), "psi_floor_static": ok(0.0), "psi_floor_flicker": ok(0.05),
        "flow": "classical", "steps_per_frame": 32, "appearance_loss": ok(1.0), "texture_distance": ok(1.5),
        "loss": ok(1.0), "iterations": 1200, "seconds": 60.0, "precision": "f32", "backend": "cpu",
    }))
    .unwrap();
    Stage::Done(Box::new(record))
}

/// A model in training, as of a checkpoint after so many iterations.
pub(super) fn begun(iterations: u64) -> Stage {
    let row = |iteration: u64| -> MetricRow {
        serde_json::from_value(json!({
            "iteration": iteration, "loss": 1000.0 / iteration as f64, "appearance_loss": 1.0,
            "overflow_loss": 0.0, "learning_rate": 1e-3, "steps": 32, "seconds": 1.0, "psi": 0.25,
        }))
        .unwrap()
    };
    Stage::Begun((1..=iterations / 10).map(|i| row(10 * i)).collect())
}

/// The quick sweep on two textures, with these stages of models of C, D and the index of a texture; all
/// others wait.
pub(super) fn snapshot(stages: &[((usize, usize, usize), Stage)]) -> Snapshot {
    let mut settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
    settings.textures = vec!["chequered".to_owned(), "bubbly".to_owned()];
    let models = settings.models().into_iter().map(|spec| {
        let key = (spec.channels, spec.hidden, spec.texture);
        let given = stages.iter().find(|(at, _)| *at == key);
        ModelProgress {
            texture: spec.texture,
            channels: spec.channels,
            hidden: spec.hidden,
            seed: spec.seed,
            stage: given.map_or(Stage::Waiting, |(_, stage)| stage.clone()),
        }
    });
    Snapshot {
        models: models.collect(),
        textures: settings.textures.clone(),
        settings,
        at_work: None,
    }
}
