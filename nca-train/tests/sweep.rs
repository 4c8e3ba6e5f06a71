//! What a sweep does where something is not as it was before.

mod narrow;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nca_core::cpu::Cpu;
use nca_core::{Nca, Result};
use nca_train::Texture;
use nca_train::report::layout::{self, ModelDir};
use nca_train::report::{ModelRecord, Status, read_result};
use nca_train::sweep::{Event, SETTINGS_FILE, Shard, Sweep, SweepOutcome, SweepPreset, SweepSettings};
use spynet::SpyNetWeights;

/// A sweep of one small model, measured by the network in `net.safetensors`.
struct Place {
    directory: tempfile::TempDir,
    settings: SweepSettings,
    /// Seconds between checkpoints.
    seconds_between: f64,
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
        let place = Self {
            directory,
            settings,
            seconds_between: 0.0,
        };
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
        Sweep::new(self.settings.clone(), &self.out(), resume, None, self.seconds_between)
    }

    fn run(&self, resume: bool) -> Result<SweepOutcome> {
        Ok(self.run_and_count(resume)?.0)
    }

    /// Runs it, and tells which iterations that took.
    fn run_and_count(&self, resume: bool) -> Result<(SweepOutcome, Vec<u64>)> {
        let cpu = Cpu::with_threads(1).unwrap();
        let mut trained = Vec::new();
        let outcome = self.sweep(resume)?.run(&[cpu], &mut |_, event: Event<'_>| {
            if let Event::Trained { iteration, .. } = event {
                trained.push(iteration.iteration);
            }
        })?;
        Ok((outcome, trained))
    }

    /// Runs it, and then leaves the model as a process does that dies after four iterations.
    fn run_and_die(&self) -> ModelRecord {
        self.run_and_die_at(|event| matches!(event, Event::Trained { iteration, .. } if iteration.iteration == 4))
    }

    /// Runs it, and then leaves the model as a process does that dies at the last of such events.
    fn run_and_die_at(&self, death: impl Fn(&Event<'_>) -> bool + Sync) -> ModelRecord {
        let aside = self.directory.path().join("aside");
        let cpu = Cpu::with_threads(1).unwrap();
        let mut observe = |_, event: Event<'_>| {
            if death(&event) {
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
    let (resumed, trained) = place.run_and_count(true).unwrap();
    assert_eq!(timeless(&resumed.records[0]), timeless(&whole));
    // What begins anew ends the same.
    assert_eq!(trained, [4, 5]);
    assert!(!place.state().exists());
}

#[test]
fn what_is_in_the_checkpoint_is_gone_on_from() {
    let place = Place::new();
    let whole = place.run_and_die();
    // Other weights, and other seconds: what is not read cannot show.
    let tensors = nca_core::checkpoint::read_tensors(place.state()).unwrap();
    let mut metadata = tensors.metadata().clone();
    metadata.insert("nca.train.seconds".to_owned(), "1000".to_owned());
    let mut views: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
        .collect();
    let weights = views
        .iter_mut()
        .find(|(name, _)| name.starts_with("params.w2"))
        .unwrap();
    weights.1.values.iter_mut().for_each(|weight| *weight += 0.5);
    let views: Vec<_> = views
        .iter()
        .map(|(name, tensor)| nca_core::checkpoint::TensorView::new(name, &tensor.shape, &tensor.values))
        .collect();
    nca_core::checkpoint::write_tensors(place.state(), &views, &metadata).unwrap();
    let (resumed, trained) = place.run_and_count(true).unwrap();
    let record = &resumed.records[0];
    assert_eq!((record.status, trained), (Status::Ok, vec![4, 5]));
    assert!(record.seconds.unwrap() > 1000.0, "{record:?}");
    assert_ne!(record.loss, whole.loss);
    assert_ne!(record.psi, whole.psi);
}

#[test]
fn what_is_trained_is_not_lost_while_it_is_measured() {
    let mut place = Place::new();
    // Longer than it trains.
    place.seconds_between = 1e6;
    let whole = place.run_and_die_at(|event| matches!(event, Event::Measuring { .. }));
    let metrics = fs::read_to_string(place.model().metrics()).unwrap();
    let (resumed, trained) = place.run_and_count(true).unwrap();
    assert_eq!(trained, [0; 0]);
    assert_eq!(timeless(&resumed.records[0]), timeless(&whole));
    assert_eq!(fs::read_to_string(place.model().metrics()).unwrap(), metrics);
    assert!(!place.state().exists());
}

#[test]
fn where_there_is_nothing_to_go_on_with_nothing_begins() {
    let place = Place::new();
    let refused = |begun: bool| {
        let error = place.run(true).unwrap_err().to_string();
        for part in [
            "--resume",
            &place.out().display().to_string(),
            "sweep.json",
            "leave --resume out",
        ] {
            assert!(error.contains(part), "no '{part}' in {error}");
        }
        assert_eq!(place.out().exists(), begun);
    };
    refused(false);
    // Somebody else's directory is not the sweep's either.
    fs::create_dir(place.out()).unwrap();
    refused(true);
    assert_eq!(fs::read_dir(place.out()).unwrap().count(), 0);
}

/// Whatever is wrong with the file of `--vgg` is found before anything is written, of a shard, too.
#[test]
fn a_bad_network_is_found_before_anything_is_written() {
    let mut place = Place::new();
    let network = place.directory.path().join("vgg.safetensors");
    place.settings.appearance = "vgg-slw".to_owned();
    place.settings.vgg = Some(network.clone());
    let refused = |shard: Option<Shard>| {
        let error = Sweep::new(place.settings.clone(), &place.out(), false, shard, 0.0).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with(&network.display().to_string()), "{message}");
        assert!(!place.out().exists());
    };
    let shard = Some(Shard { index: 1, count: 2 });
    for shard in [None, shard] {
        // Missing, garbage, and a file of something else.
        let _ = fs::remove_file(&network);
        refused(shard);
        fs::write(&network, "garbage").unwrap();
        refused(shard);
        fs::copy(place.directory.path().join("net.safetensors"), &network).unwrap();
        refused(shard);
    }
    vgg(&network, 1);
    Sweep::new(place.settings.clone(), &place.out(), false, shard, 0.0).unwrap();
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
    // Beside the one before.
    for (text, name) in [("2nd", "state.damaged-2"), ("3rd", "state.damaged-3")] {
        fs::write(place.state(), text).unwrap();
        assert_eq!(place.run(true).unwrap().records[0].status, Status::Failed);
        let path = place.model().path().join(format!("{name}.safetensors"));
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
    assert_eq!(fs::read(&aside).unwrap(), half);
    // From the start again.
    let (again, trained) = place.run_and_count(true).unwrap();
    assert_eq!(timeless(&again.records[0]), timeless(&whole));
    assert_eq!(trained, [0, 1, 2, 3, 4, 5]);
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

/// A network of one layer, the `seed`-th.
fn vgg(path: &Path, seed: usize) {
    let (_folder, file) = narrow::file(&narrow::tensors(&[(0, 2 + seed)]));
    fs::copy(file, path).unwrap();
}

#[test]
fn models_are_trained_from_the_same_files() {
    let mut place = Place::new();
    let [network, init] = ["vgg.safetensors", "init.safetensors"].map(|name| place.directory.path().join(name));
    let automaton = |seed: u64| {
        let config = SweepSettings::preset(SweepPreset::Quick, "cpu").config(4, 6).unwrap();
        Nca::new(config, seed).unwrap().save(&init).unwrap();
    };
    vgg(&network, 1);
    automaton(1);
    place.settings.appearance = "vgg-slw".to_owned();
    place.settings.vgg = Some(network.clone());
    place.settings.init = Some(init.clone());
    place.settings.seeds = vec![0, 1];
    place.run(false).unwrap();
    let second = ModelDir::of(&place.out(), "cracked", 4, 6, 1);
    let result = fs::read(second.result()).unwrap();
    fs::remove_file(second.result()).unwrap();

    let refused = |what: &Path| {
        let error = place.run(true).unwrap_err().to_string();
        let start = format!("{}: found another file (", what.display());
        assert!(error.starts_with(&start), "{error}");
        assert!(
            error.contains("the model in") && error.contains("put that back"),
            "{error}"
        );
        assert!(!second.result().exists());
    };
    vgg(&network, 2);
    refused(&network);
    vgg(&network, 1);
    automaton(2);
    refused(&init);
    // Where all is trained any file will do, or none.
    fs::write(second.result(), &result).unwrap();
    place.run(true).unwrap();
    fs::remove_file(&network).unwrap();
    place.run(true).unwrap();
    fs::remove_file(second.result()).unwrap();
    let error = place.run(true).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: ", network.display())), "{error}");
    assert!(!second.result().exists());
    vgg(&network, 1);
    automaton(1);
    place.run(true).unwrap();

    // Of models of before such records nobody knows.
    fs::remove_file(second.result()).unwrap();
    for seed in 0..2 {
        let path = ModelDir::of(&place.out(), "cracked", 4, 6, seed).config();
        let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let fields = config.as_object_mut().unwrap();
        assert!(fields.remove("vgg_hash").is_some() && fields.remove("init_hash").is_some());
        fs::write(&path, config.to_string()).unwrap();
    }
    assert_eq!(place.run(true).unwrap().records[1].status, Status::Ok);
}

#[test]
fn a_file_that_changes_during_a_sweep_trains_nothing() {
    let mut place = Place::new();
    let network = place.directory.path().join("vgg.safetensors");
    vgg(&network, 1);
    place.settings.appearance = "vgg-slw".to_owned();
    place.settings.vgg = Some(network.clone());
    place.settings.seeds = vec![0, 1];
    let mut observe = |_, event: Event<'_>| {
        if matches!(event, Event::Finished { .. }) {
            vgg(&network, 2);
        }
    };
    let cpu = Cpu::with_threads(1).unwrap();
    let records = place.sweep(false).unwrap().run(&[cpu], &mut observe).unwrap().records;
    let ends: Vec<_> = records.iter().map(|record| record.status).collect();
    assert_eq!(ends, [Status::Ok, Status::Failed]);
    let result = ModelDir::of(&place.out(), "cracked", 4, 6, 1).result();
    let reason = read_result(result).unwrap().reason.unwrap();
    assert!(reason.contains("with which this sweep began"), "{reason}");
}

#[test]
fn models_without_the_settings_of_their_sweep_are_told_by_their_own() {
    let mut place = Place::new();
    place.run(false).unwrap();
    let settings = place.out().join(SETTINGS_FILE);
    let (text, result) = (fs::read(&settings).unwrap(), fs::read(place.model().result()).unwrap());
    fs::remove_file(&settings).unwrap();
    let refused = |place: &Place, resume: bool, part: &str| {
        let error = place.run(resume).unwrap_err().to_string();
        assert!(
            error.contains(part) && error.contains("choose another --out"),
            "{error}"
        );
        assert!(!settings.exists());
        assert_eq!(fs::read(place.model().result()).unwrap(), result);
    };
    refused(&place, false, "a sweep already");
    place.settings.train.iterations = 7;
    refused(&place, true, "config.json: found iterations 6 instead of 7");
    refused(&place, true, "sweep.json is missing: put it back");
    place.settings.train.iterations = 6;
    place.settings.channels = vec![5];
    refused(&place, true, "c004_d006_s0: found another sweep's model");
    place.settings.channels = vec![4];
    place.settings.backend = "reference".to_owned();
    refused(&place, true, "a model made by cpu in f32");
    place.settings.backend = "cpu".to_owned();
    place.network(2);
    refused(&place, true, "config.json: found flow ");
    place.network(1);
    let config = fs::read(place.model().config()).unwrap();
    fs::remove_file(place.model().config()).unwrap();
    refused(&place, true, "config.json: found nothing that can be read");
    fs::write(place.model().config(), config).unwrap();

    place.run(true).unwrap();
    assert_eq!(fs::read(&settings).unwrap(), text);
    assert_eq!(fs::read(place.model().result()).unwrap(), result);

    // One that failed before it had settings is made anew.
    fs::remove_file(&settings).unwrap();
    let failed = String::from_utf8(result).unwrap().replace("\"ok\"", "\"failed\"");
    fs::write(place.model().result(), failed).unwrap();
    fs::remove_file(place.model().config()).unwrap();
    assert_eq!(place.run(true).unwrap().records[0].status, Status::Ok);
}

#[test]
fn a_result_that_cannot_be_read_is_not_written_over() {
    let place = Place::new();
    place.run(false).unwrap();
    fs::write(place.model().result(), "{").unwrap();
    let error = place.run(true).unwrap_err().to_string();
    assert!(
        error.contains("result.json: found") && error.contains("or delete the file"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(place.model().result()).unwrap(), "{");
}

/// Writes a file that nobody has touched for hours.
fn old(path: &Path) {
    fs::write(path, "old").unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(7200))
        .unwrap();
}

/// Before a sweep has begun there, nothing in its directory is its own.
#[test]
fn a_sweep_that_begins_removes_nothing() {
    let place = Place::new();
    fs::create_dir(place.out()).unwrap();
    let path = place.out().join(".a1B2c3.tmp");
    old(&path);
    place.run(false).unwrap();
    assert!(path.exists());
}

#[test]
fn what_a_killed_run_was_writing_is_removed() {
    let place = Place::new();
    place.run(false).unwrap();
    let (model, texture) = (place.model().path().to_owned(), place.out().join("models/cracked"));
    let mut left = Vec::new();
    for folder in [&model, &texture] {
        fs::write(folder.join(".a1B2c3.tmp"), "half").unwrap();
        for name in ["notes.tmp", ".hidden"] {
            left.push(folder.join(name));
        }
    }
    // A report may be at work here.
    left.push(place.out().join(".a1B2c3.tmp"));
    for path in &left {
        fs::write(path, "whole").unwrap();
    }
    let older = place.out().join(".older1.tmp");
    old(&older);
    place.run(true).unwrap();
    assert!(!older.exists());
    for path in &left {
        assert!(path.exists(), "{}", path.display());
    }
    for folder in [&model, &texture] {
        assert!(!folder.join(".a1B2c3.tmp").exists());
    }
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
    nca.save(path).unwrap();
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
            seconds_between: 0.0,
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
