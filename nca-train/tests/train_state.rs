//! Files of a training's state: what is written comes back, and what is something else is refused by name.

use std::collections::BTreeMap;
use std::fs;

use nca_core::checkpoint::read_tensors;
use nca_core::cpu::Cpu;
use nca_core::{Error, Nca, Preset};
use nca_train::{PatchLoss, PatchSettings, Texture, TrainSettings, TrainState, Trainer};

const SIZE: usize = 16;

fn settings() -> TrainSettings {
    TrainSettings {
        size: SIZE,
        batch: 2,
        pool: 3,
        steps_min: 2,
        steps_max: 4,
        ..TrainSettings::preset(Preset::Paper)
    }
}

/// The state of a short training of a model with b2 or without.
fn trained(preset: Preset) -> (Nca, TrainState<f32>) {
    let backend = Cpu::new().expect("a CPU");
    let nca = Nca::preset(preset, 5, 7, 1).expect("a valid model");
    let texture = Texture::resolve("chequered", None, SIZE).expect("a built-in exemplar");
    let patches = PatchSettings {
        projections: 4,
        ..PatchSettings::default()
    };
    let loss = PatchLoss::new(&backend, patches, &texture, 2).expect("a valid loss");
    let mut trainer = Trainer::new(&backend, &nca, settings(), Box::new(loss), 3).expect("valid settings");
    for _ in 0..2 {
        trainer.step().expect("finite");
    }
    let state = trainer.state().expect("a state");
    (nca, state)
}

#[test]
fn what_is_written_comes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.safetensors");
    for preset in [Preset::Paper, Preset::Notebook] {
        let (nca, state) = trained(preset);
        assert_eq!(state.iteration, 2);
        let extra = BTreeMap::from([("mine".to_owned(), "kept".to_owned())]);
        state.save_with_extra(&path, &extra).expect("a writable directory");
        let loaded = TrainState::load(&path, &nca.config, &settings()).expect("a state");
        assert_eq!(loaded, state, "{preset}");
        assert_eq!(read_tensors(&path).expect("tensors").metadata()["mine"], "kept");
    }
    let names: Vec<_> = fs::read_dir(directory.path()).expect("a directory").collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn what_is_something_else_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("state.safetensors");
    let (nca, state) = trained(Preset::Paper);
    let load = |nca: &Nca, settings: &TrainSettings| TrainState::load(&path, &nca.config, settings).unwrap_err();
    assert!(matches!(load(&nca, &settings()), Error::Io { .. }));

    state.save(&path).expect("a writable directory");
    let wider = Nca::preset(Preset::Paper, 5, 8, 1).expect("a valid model");
    let pool = TrainSettings { pool: 4, ..settings() };
    let endless = TrainSettings {
        pool: usize::MAX,
        ..settings()
    };
    for (error, words) in [
        (load(&wider, &settings()), "params.w1"),
        (load(&nca, &pool), "pool"),
        (load(&nca, &endless), "states"),
    ] {
        let text = error.to_string();
        assert!(text.contains(words), "{text}");
    }

    // A model file is no training's state, and half a file none at all.
    nca.save(&path).expect("a writable directory");
    let text = load(&nca, &settings()).to_string();
    assert!(
        text.contains("state.safetensors") && text.contains("nca.train.format"),
        "{text}"
    );
    state.save(&path).expect("a writable directory");
    let bytes = fs::read(&path).expect("a file");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("a writable directory");
    assert!(matches!(load(&nca, &settings()), Error::Format { .. }));
}
