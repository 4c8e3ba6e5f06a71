//! The figures of collections of every shape.

use proptest::prelude::*;

use super::curves::curves;
use super::heatmap::{Shown, heatmap};
use super::scatter::scatter;
use super::*;
use crate::plot::Figure;
use crate::plot::check::{assert_well_laid, check, record};

/// A record whose numbers depend on its architecture, with `status`.
fn model(texture: &str, channels: usize, hidden: usize, seed: u64, status: Status, scale: f64) -> ModelResult {
    let ok = |value: f64| (status == Status::Ok).then_some(value * scale);
    let psi = 0.1 + hidden as f64 / channels as f64 + 0.01 * seed as f64;
    let record = ModelRecord {
        texture: texture.to_owned(),
        channels,
        hidden,
        seed,
        status,
        psi: ok(psi),
        psi_se: ok(0.1),
        psi_floor_static: ok(0.0),
        psi_floor_flicker: ok(0.3),
        flow: "classical".to_owned(),
        steps_per_frame: 32,
        appearance_loss: ok(1.0),
        texture_distance: ok(1.5),
        loss: ok(1.0),
        iterations: 40,
        seconds: Some(1.0),
        precision: "f32".to_owned(),
        backend: "cpu".to_owned(),
    };
    let row = |iteration: u64| MetricRow {
        iteration,
        loss: scale * 100.0 / iteration as f64,
        appearance_loss: 1.0,
        motion_loss: None,
        psi_training: None,
        overflow_loss: 0.0,
        learning_rate: 1e-3,
        steps: 32,
        seconds: 0.0,
        psi: iteration.is_multiple_of(10).then_some(psi * scale),
        psi_se: None,
    };
    ModelResult {
        path: PathBuf::new(),
        result: ResultFile::new(record, "patches", Vec::new()),
        metrics: (1..=40).map(row).collect(),
    }
}

fn collection(
    textures: &[String],
    channels: &[usize],
    hidden: &[usize],
    seeds: u64,
    lost: u64,
    scale: f64,
) -> Collection {
    let (mut models, mut unreadable) = (Vec::new(), Vec::new());
    let mut number: u64 = 0;
    for texture in textures {
        for &c in channels {
            for &d in hidden {
                for seed in 0..seeds {
                    number += 1;
                    let status = match lost {
                        0 => Status::Ok,
                        n if number.is_multiple_of(n) => Status::Diverged,
                        n if number % n == 1 => Status::Failed,
                        n if number % n == 2 => continue,
                        n if number % n == 3 => {
                            unreadable.push(Unreadable {
                                texture: texture.clone(),
                                channels: c,
                                hidden: d,
                                seed,
                                reason: "found a hole, expected a result".to_owned(),
                            });
                            continue;
                        }
                        _ => Status::Ok,
                    };
                    models.push(model(texture, c, d, seed, status, scale));
                }
            }
        }
    }
    Collection {
        models,
        unreadable,
        ..Collection::default()
    }
}

fn check_figures(collection: &Collection) {
    let textures = collection.textures();
    assert_well_laid(&heatmap(collection, &textures, &[Shown::Psi]));
    assert_well_laid(&heatmap(collection, &textures, &[Shown::Error]));
    if let Some(figure) = scatter(collection) {
        assert_well_laid(&figure);
    }
    for texture in textures {
        assert_well_laid(&heatmap(collection, &[texture], &[Shown::Psi, Shown::Error]));
        if let Some(figure) = curves(collection, texture) {
            assert_well_laid(&figure);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_grid_makes_texts_collide_or_leave_the_page(
        names in prop::sample::select(vec![
            vec!["bubbly"],
            vec!["bubbly_0101", "chequered_0121", "cracked_0085", "interlaced_0172"],
            vec!["A texture whose name was given by somebody with time and without mercy", "b & c", "d<e>"],
            vec!["a", "b", "c", "d", "e", "f", "g"],
        ]),
        (channels, hidden) in (1..17usize, 1..17usize),
        step in prop::sample::select(vec![1, 8, 100]),
        seeds in 1..3u64,
        lost in prop::sample::select(vec![0, 1, 2, 5]),
        scale in prop::sample::select(vec![1e-6, 0.01, 1.0, 300.0]),
    ) {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let channels: Vec<usize> = (0..channels).map(|i| 3 + i * step).collect();
        let hidden: Vec<usize> = (0..hidden).map(|i| 1 + i * step).collect();
        check_figures(&collection(&names, &channels, &hidden, seeds, lost, scale));
    }
}

#[test]
fn the_check_of_the_layout_sees_a_collision() {
    let textures = ["bubbly".to_owned()];
    let collection = collection(&textures, &[8, 16], &[16, 32], 1, 0, 1.0);
    let figure = heatmap(&collection, &["bubbly"], &[Shown::Psi]);
    let mut found = record(&figure);
    check(&found, figure.size(), "as it is");
    found.repeat_a_text();
    let caught = std::panic::catch_unwind(|| check(&found, figure.size(), "twice"));
    assert!(caught.is_err());
    let (width, height) = figure.size();
    let caught = std::panic::catch_unwind(|| check(&record(&figure), (width, 0.9 * height), "cut off"));
    assert!(caught.is_err());
}

#[test]
fn extreme_losses_still_make_a_figure() {
    let textures = ["bubbly".to_owned()];
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE] {
        let mut collection = collection(&textures, &[8], &[16, 32], 1, 0, 1.0);
        for row in &mut collection.models[0].metrics {
            row.loss = value;
            row.psi = Some(value);
        }
        collection.models[1].result.record.psi = Some(value);
        check_figures(&collection);
    }
}

#[test]
fn a_contact_sheet_of_many_has_smaller_frames_or_is_left_out() {
    let textures = ["bubbly".to_owned(), "cracked".to_owned()];
    let sides: Vec<usize> = (8..=128).step_by(16).collect();
    let collection = collection(&textures, &sides, &sides, 1, 0, 1.0);
    let path = Path::new("sweep/contact_sheet.png");
    let sheet = |most: u64| {
        let mut damages = damage::Damages::default();
        let sheet = contact::contact_sheet(&collection, path, most, &mut damages);
        (
            sheet.map(|s| u64::from(s.width()) * u64::from(s.height())),
            damages.into_list(),
        )
    };
    let (whole, nothing) = sheet(plot::MAX_PIXELS);
    let whole = whole.unwrap();
    assert_eq!(nothing, []);
    let most = whole * 3 / 4;
    let (smaller, nothing) = sheet(most);
    assert!(smaller.is_some_and(|pixels| pixels <= most), "{smaller:?} of {whole}");
    assert_eq!(nothing, []);
    let (none, noted) = sheet(whole / 20);
    assert_eq!((none, noted.len()), (None, 1));
    let reason = noted[0].below(Path::new("sweep"));
    assert!(
        reason.starts_with("contact_sheet.png: frames of 128 models"),
        "{reason}"
    );
}
