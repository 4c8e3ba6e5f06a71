//! What a sweep does where something is not as it was before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nca_core::cpu::Cpu;
use nca_core::{Nca, Result};
use nca_train::Texture;
use nca_train::report::layout::{self, ModelDir};
use nca_train::report::{ModelRecord, Status, read_result};
use nca_train::sweep::{Event, Sweep, SweepOutcome, SweepPreset, SweepSettings};
use spynet::SpyNetWeights;

/// A sweep of one small model, measured by the network in `net.safetensors`.
struct Place {
    directory: tempfile::TempDir,
    settings: SweepSettings,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
        (settings.channels, settings.hidden) = (vec![4], vec![6]);
        settings.textures = vec!["cracked".to_owned()];
        let train = &mut settings.train;
        (train.size, train.iterations, train.pool, train.batch) = (16, 6, 4, 1);
        (train.steps_min, train.steps_max) = (2, 3);
        let measure = &mut settings.measure;
        (measure.pairs, measure.training_pairs, measure.every) = (2, 2, 0);
        (measure.warmup, measure.steps_per_frame) = (2, 2);
        measure.flow_weights = Some(directory.path().join("net.safetensors"));
        let place = Self { directory, settings };
        place.network(1);
        place
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn model(&self) -> ModelDir {
        ModelDir::of(&self.out(), "cracked", 4, 6, 0)
    }

    fn state(&self) -> PathBuf {
        self.model().path().join("state.safetensors")
    }

    /// Puts another network where the settings say.
    fn network(&self, seed: u64) {
        let weights = SpyNetWeights::init(1, &[8, 4, 2], 3, seed).unwrap();
        weights
            .save(self.directory.path().join("net.safetensors"), &BTreeMap::new())
            .unwrap();
    }

    fn sweep(&self, resume: bool) -> Result<Sweep> {
        Sweep::new(self.settings.clone(), &self.out(), resume, None, 0.0)
    }

    fn run(&self, resume: bool) -> Result<SweepOutcome> {
        let cpu = Cpu::with_threads(1).unwrap();
        self.sweep(resume)?.run(&[cpu], &mut |_, _| {})
    }

    /// Runs it, and then leaves the model as a process does that dies after four iterations.
    fn run_and_die(&self) -> ModelRecord {
        let aside = self.directory.path().join("aside");
        let cpu = Cpu::with_threads(1).unwrap();
        let mut observe = |_, event: Event<'_>| {
            if let Event::Trained { iteration, .. } = event
                && iteration.iteration == 4
            {
                fs::copy(self.state(), &aside).unwrap();
            }
        };
        let mut outcome = self.sweep(false).unwrap().run(&[cpu], &mut observe).unwrap();
        fs::rename(&aside, self.state()).unwrap();
        fs::remove_file(self.model().result()).unwrap();
        let record = outcome.records.remove(0);
        assert_eq!(record.status, Status::Ok);
        record
    }

    fn reason(&self) -> String {
        read_result(self.model().result()).unwrap().reason.unwrap()
    }
}

/// All but the time.
fn timeless(record: &ModelRecord) -> ModelRecord {
    ModelRecord {
        seconds: None,
        ..record.clone()
    }
}

#[test]
fn a_checkpoint_of_another_network_waits_for_its_own() {
    let place = Place::new();
    let whole = place.run_and_die();
    let (state, config) = (
        fs::read(place.state()).unwrap(),
        fs::read(place.model().config()).unwrap(),
    );

    place.network(2);
    let other = place.run(true).unwrap();
    assert_eq!(other.records[0].status, Status::Failed);
    let reason = place.reason();
    assert!(reason.contains("a checkpoint of other settings (flow "), "{reason}");
    // The record of what it was made with, too.
    assert_eq!(fs::read(place.state()).unwrap(), state);
    assert_eq!(fs::read(place.model().config()).unwrap(), config);

    place.network(1);
    let resumed = place.run(true).unwrap();
    assert_eq!(timeless(&resumed.records[0]), timeless(&whole));
    assert!(!place.state().exists());
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_kept_aside() {
    let place = Place::new();
    let whole = place.run_and_die();
    let state = fs::read(place.state()).unwrap();
    let half = &state[..state.len() / 2];
    fs::write(place.state(), half).unwrap();

    let failed = place.run(true).unwrap();
    assert_eq!(failed.records[0].status, Status::Failed);
    assert!(place.reason().contains("truncated"), "{}", place.reason());
    let aside = place.model().path().join("state.damaged.safetensors");
    assert_eq!(fs::read(&aside).unwrap(), half);
    // From the start again.
    assert_eq!(timeless(&place.run(true).unwrap().records[0]), timeless(&whole));
}

#[test]
fn models_are_measured_by_one_network() {
    let mut place = Place::new();
    place.settings.channels = vec![4, 5];
    place.run(false).unwrap();
    let second = ModelDir::of(&place.out(), "cracked", 5, 6, 0).result();
    fs::remove_file(&second).unwrap();

    place.network(2);
    let refused = place.run(true).unwrap_err().to_string();
    assert!(refused.contains("result.json: found motion by spynet"), "{refused}");
    assert!(refused.contains("put back the weights of before"), "{refused}");
    assert!(!second.exists());
    place.network(1);
    place.run(true).unwrap();
    // With nothing left to measure any network will do.
    place.network(2);
    place.run(true).unwrap();
}

#[test]
fn a_finished_model_has_no_checkpoint() {
    let place = Place::new();
    place.run(false).unwrap();
    // As one that died between writing the result and removing this.
    fs::write(place.state(), "left behind").unwrap();
    assert_eq!(place.run(true).unwrap().records[0].status, Status::Ok);
    assert!(!place.state().exists());
}

#[test]
fn a_sweep_keeps_its_picture() {
    let mut place = Place::new();
    let picture = place.directory.path().join("photo.png");
    let paint = |value: f32| {
        let rgb = (0..3 * 16 * 16).map(|i| if i % 5 == 0 { value } else { 0.3 }).collect();
        let texture = Texture::new("photo", 16, 16, rgb).unwrap();
        nca_train::picture::write_png(&picture, &texture.to_image().unwrap()).unwrap();
    };
    paint(0.9);
    place.settings.textures = vec![picture.display().to_string()];
    place.run(false).unwrap();
    place.run(true).unwrap();
    let target = layout::target(&place.out(), "photo");
    let before = fs::read(&target).unwrap();
    paint(0.8);
    let refused = place.run(true).unwrap_err().to_string();
    assert!(
        refused.contains("another picture") && refused.contains("texture photo"),
        "{refused}"
    );
    assert_eq!(fs::read(&target).unwrap(), before);
    paint(0.9);
    place.run(true).unwrap();
}

/// An automaton that grows by half a step leaves the finite numbers within hundreds of steps, but not within those that
/// it is trained for.
fn growing(path: &Path) {
    let mut nca = Nca::new(
        SweepSettings::preset(SweepPreset::Quick, "cpu").config(4, 6).unwrap(),
        0,
    )
    .unwrap();
    nca.config.clamp = None;
    let inputs = nca.config.perceived();
    nca.params.w1.fill(0.0);
    nca.params.w2.fill(0.0);
    let alone = |kernel: &[[f64; 3]; 3]| kernel.iter().flatten().filter(|&&tap| tap != 0.0).count() == 1;
    let identity = nca.config.perception.kernels.iter().position(alone).unwrap();
    for channel in 0..4 {
        nca.params.w1[channel * inputs + identity * 4 + channel] = 1.0;
        nca.params.w2[channel * 6 + channel] = 1.0;
    }
    nca.save(path, &BTreeMap::new()).unwrap();
}

#[test]
fn measuring_does_not_end_a_training() {
    let mut place = Place::new();
    let init = place.directory.path().join("init.safetensors");
    growing(&init);
    place.settings.init = Some(init);
    place.settings.clamp = None;
    place.settings.measure.warmup = 600;
    let iterations = |every: u64| {
        let mut place = Place {
            directory: tempfile::tempdir().unwrap(),
            settings: place.settings.clone(),
        };
        place.settings.measure.every = every;
        let record = place.run(false).unwrap().records.remove(0);
        assert_eq!(record.status, Status::Diverged, "{record:?}");
        assert!(place.reason().contains("is not finite"), "{}", place.reason());
        let metrics = fs::read_to_string(place.model().metrics()).unwrap();
        let rows: Vec<serde_json::Value> = metrics
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(
            !rows.is_empty() && rows.iter().all(|row| row["psi"].is_null()),
            "{metrics}"
        );
        record.iterations
    };
    assert_eq!([iterations(2), iterations(0)], [6, 6]);
}
