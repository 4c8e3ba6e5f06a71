//! Several models at a time on one device, and what becomes of them when it is full or lost.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nca_core::backend::Device as _;
use nca_core::{Error, Precision, Result};
use nca_cuda::{Cuda, Limits};
use nca_train::report::Status;
use nca_train::sweep::{Event, Sweep, SweepOutcome, SweepPreset, SweepSettings};

use self::common::backends;

/// Channels of small models, and of one that needs more than twice their memory. Not more than that takes: each runs for
/// more than a thousand steps in the emulator, before its texture is judged.
const SMALL: [usize; 2] = [4, 5];
const LARGE: usize = 64;

/// Models of one texture.
fn settings(channels: &[usize]) -> SweepSettings {
    let mut settings = SweepSettings::preset(SweepPreset::Quick, "cuda");
    (settings.channels, settings.hidden) = (channels.to_vec(), vec![6]);
    settings.textures = vec!["cracked".to_owned()];
    settings.train.size = 8;
    settings.train.iterations = 2;
    settings.train.pool = 4;
    settings.train.batch = 1;
    (settings.train.steps_min, settings.train.steps_max) = (1, 3);
    settings.measure.pairs = 2;
    (settings.measure.warmup, settings.measure.steps_per_frame) = (1, 1);
    settings.measure.every = 0;
    settings.measure.flow = "classical".to_owned();
    settings
}

/// As many streams of one device.
fn streams(device: &Cuda, jobs: usize) -> Vec<Cuda> {
    (0..jobs).map(|_| device.another().unwrap()).collect()
}

/// Models that are trained at a time are trained alike.
#[test]
fn other_streams_have_the_same_precision() {
    for device in backends() {
        let rounded = device.with_precision(Precision::Bf16);
        assert_eq!(rounded.another().unwrap().precision(), Precision::Bf16);
    }
}

/// Goes on with the sweep in `directory`, or begins it, with a checkpoint after every iteration.
fn sweep(
    directory: &Path,
    channels: &[usize],
    backends: &[Cuda],
    observe: &mut (dyn FnMut(usize, Event<'_>) + Send),
) -> Result<SweepOutcome> {
    let begun = directory.join("sweep.json").exists();
    Sweep::new(settings(channels), directory, begun, None, 0.0)?.run(backends, observe)
}

/// The models' files without times, by name.
fn contents(directory: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory.join("models/cracked")).unwrap() {
        let model = entry.unwrap().path();
        for entry in fs::read_dir(&model).into_iter().flatten() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let text: Vec<&str> = text
                .split([',', '\n'])
                .filter(|part| !part.contains("\"seconds\""))
                .collect();
            files.insert(
                path.strip_prefix(directory).unwrap().display().to_string(),
                text.join(","),
            );
        }
    }
    files
}

#[test]
fn several_at_a_time_are_those_of_one_at_a_time() {
    for device in backends() {
        let (one, several) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        sweep(one.path(), &SMALL, &streams(&device, 1), &mut |_, _| {}).unwrap();
        let mut jobs = Vec::new();
        let outcome = sweep(several.path(), &SMALL, &streams(&device, 2), &mut |job, event| {
            if matches!(event, Event::Finished { .. }) {
                jobs.push(job);
            }
        })
        .unwrap();
        assert!(outcome.records.iter().all(|record| record.status == Status::Ok));
        assert_eq!(jobs.len(), SMALL.len());
        assert!(jobs.iter().any(|job| *job != jobs[0]), "{jobs:?}");
        let (one, several) = (contents(one.path()), contents(several.path()));
        assert!(one.len() >= SMALL.len() * 4, "{:?}", one.keys());
        assert!(
            one == several,
            "{:?}",
            one.iter().find(|(name, text)| several.get(*name) != Some(text))
        );
    }
}

/// The largest model does not fit, and only that fails.
#[test]
fn a_full_device_fails_the_models_that_do_not_fit() {
    // What each model holds while it is trained.
    let device = Cuda::emulated();
    let mut held: Vec<(bool, usize)> = Vec::new();
    let whole = tempfile::tempdir().unwrap();
    sweep(
        whole.path(),
        &[SMALL[1], LARGE],
        &streams(&device, 1),
        &mut |_, event| match event {
            Event::Started { label, .. } => held.push((label.contains(&format!("C={LARGE} ")), 0)),
            Event::Trained { .. } => {
                let (_, bytes) = held.last_mut().unwrap();
                *bytes = device.allocated().max(*bytes);
            }
            _ => {}
        },
    )
    .unwrap();
    let of = |large: bool| held.iter().filter(move |model| model.0 == large).map(|model| model.1);
    let (small, large) = (of(false).max().unwrap(), of(true).min().unwrap());
    // Room for a small one, and for what it needs now and then.
    assert!(small > 0 && large > 2 * small, "{held:?}");
    let device = Cuda::emulated_with(Limits {
        memory: large - 1,
        ..Limits::default()
    });
    let directory = tempfile::tempdir().unwrap();
    let mut reasons = Vec::new();
    let outcome = sweep(
        directory.path(),
        &[SMALL[1], LARGE],
        &streams(&device, 1),
        &mut |_, event| {
            if let Event::Failed { reason, .. } = event {
                reasons.push(reason);
            }
        },
    )
    .unwrap();
    for record in &outcome.records {
        let expected = if record.channels == LARGE {
            Status::Failed
        } else {
            Status::Ok
        };
        assert_eq!(record.status, expected, "{record:?}: {reasons:?}");
    }
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons.iter().all(|reason| reason.contains("out of memory")),
        "{reasons:?}"
    );
    assert_eq!(device.allocated(), 0, "what failed models held");
}

/// A device that is lost ends the sweep with one error; what was done stays, and a resumed sweep does the rest.
#[test]
fn a_lost_device_ends_the_sweep_and_loses_nothing() {
    let (whole, torn) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sweep(whole.path(), &SMALL, &streams(&Cuda::emulated(), 2), &mut |_, _| {}).unwrap();
    let (mut errors, mut torn_with_checkpoint) = (0, false);
    for launches in (6..).map(|power| 1 << power) {
        let device = Cuda::emulated_with(Limits {
            launches,
            ..Limits::default()
        });
        match sweep(torn.path(), &SMALL, &streams(&device, 2), &mut |_, _| {}) {
            Ok(_) => break,
            Err(error @ Error::Lost { .. }) => assert!(error.to_string().contains("start again"), "{error}"),
            Err(error) => panic!("{error}"),
        }
        errors += 1;
        let files = contents(torn.path());
        assert!(
            !files.values().any(|text| text.contains("\"failed\"")),
            "{:?}",
            files.keys()
        );
        torn_with_checkpoint |= files.keys().any(|name| name.ends_with("state.safetensors"));
    }
    assert!(errors >= 2 && torn_with_checkpoint, "{errors} times lost");
    assert!(contents(whole.path()) == contents(torn.path()));
}
