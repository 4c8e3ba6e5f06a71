//! `watch` prints what a sweep directory holds, whatever state its files are in.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use nca_train::Texture;
use nca_train::picture::write_png;
use nca_train::report::layout::ModelDir;
use nca_train::sweep::{SETTINGS_FILE, Sweep, SweepPreset, SweepSettings};
use serde_json::json;

fn watch(directory: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("watch")
        .arg(directory)
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

#[track_caller]
fn once(directory: &Path) -> String {
    let output = watch(directory, &["--once"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    assert!(message.is_empty(), "{message}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The settings of the quick sweep, in a directory.
fn settings(directory: &Path) {
    let settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
    let text = serde_json::to_string(&settings).expect("JSON");
    fs::write(directory.join(SETTINGS_FILE), text).expect("a file");
}

/// Directory of a model that has begun.
fn begun(directory: &Path, channels: usize, hidden: usize) -> ModelDir {
    let model = ModelDir::of(directory, "chequered", channels, hidden, 0);
    fs::create_dir_all(model.path()).expect("a directory");
    fs::write(model.config(), "{}").expect("a file");
    model
}

fn result(channels: usize, hidden: usize, status: &str, psi: Option<f64>) -> String {
    json!({
        "format": 1, "appearance": "patch", "objective": "appearance", "psi_series": [],
        "texture": "chequered", "channels": channels, "hidden": hidden, "seed": 0, "status": status,
        "psi": psi, "psi_se": psi, "psi_floor_static": psi, "psi_floor_flicker": psi,
        "flow": "classical", "steps_per_frame": 32, "appearance_loss": 1.0, "texture_distance": 1.5,
        "loss": 1.0, "iterations": 1200, "seconds": 120.0, "precision": "f32", "backend": "cpu",
    })
    .to_string()
}

const ROW: &str = "{\"iteration\":300,\"loss\":2.5,\"appearance_loss\":2.5,\"overflow_loss\":0,\
                   \"learning_rate\":0.001,\"steps\":40,\"seconds\":9.0}\n";

#[test]
fn once_says_all_there_is_and_skips_what_is_torn() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path();
    settings(directory);
    let fresh = once(directory);
    assert!(fresh.contains("0 of 9 models done"), "{fresh}");
    assert!(fresh.contains("9 waiting"), "{fresh}");

    let write = |path: std::path::PathBuf, text: &str| fs::write(path, text).expect("a file");
    write(begun(directory, 6, 16).result(), &result(6, 16, "ok", Some(0.375)));
    write(begun(directory, 6, 32).result(), &result(6, 32, "diverged", None));
    write(begun(directory, 6, 64).result(), &result(6, 64, "failed", None));
    write(begun(directory, 8, 16).metrics(), &format!("{ROW}{{\"iteration\":3"));
    // Half a log: begun, and no more is known. Half a result: done, and no more is known.
    write(begun(directory, 8, 32).metrics(), "{\"itera\nnonsense\n");
    write(
        begun(directory, 12, 64).result(),
        &result(12, 64, "ok", Some(0.5))[..60],
    );
    fs::create_dir_all(ModelDir::of(directory, "chequered", 8, 64, 0).path()).expect("a directory");

    let text = once(directory);
    let overview =
        "4 of 9 models done: 1 ok, 1 diverged, 1 failed, 1 with a damaged result; 2 begun, 3 waiting; about ";
    assert!(text.contains(overview), "{text}");
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        vec!["C\\D", "16", "32", "64"],
        vec!["6", "0.375*", "×", "!"],
        vec!["8", "25%", "0%", "·"],
        vec!["12", "·", "·", "?"],
    ] {
        assert!(rows.contains(&row), "no {row:?} in\n{text}");
    }
    assert!(
        text.contains("chequered C=8 D=16 seed 0: 300 of 1200, loss 2.5000"),
        "{text}"
    );
    // Ψ is no larger than the floor.
    assert!(
        text.contains("chequered, Ψ (px/frame); * not above its motion floor\n"),
        "{text}"
    );
    assert!(
        text.contains("chequered C=6 D=16 seed 0: Ψ 0.375 px/frame *\n"),
        "{text}"
    );
    assert!(text.contains("\nin training\n"), "{text}");

    // Standard output that is no terminal gets the same.
    let piped = watch(directory, &[]);
    assert_eq!(String::from_utf8_lossy(&piped.stdout), text);
}

#[test]
fn a_sweep_that_nobody_works_on_says_so() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path();
    let settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
    let sweep = Sweep::new(settings, directory, false, None, 60.0).expect("a sweep");
    begun(directory, 8, 16);
    let text = once(directory);
    assert!(!text.contains("nobody") && text.contains("\nin training\n"), "{text}");
    drop(sweep);
    let text = once(directory);
    assert!(
        text.contains(": nobody is at work on it (--resume goes on); 0 of 9 models done"),
        "{text}"
    );
    assert!(text.contains("\nbegun\n"), "{text}");
}

#[test]
fn no_sweep_and_impossible_intervals_are_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let refused = |flags: &[&str], words: &[&str]| {
        let output = watch(place.path(), flags);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert_eq!(message.trim_end().lines().count(), 1, "{message}");
        for word in words {
            assert!(message.contains(word), "no '{word}' in: {message}");
        }
    };
    refused(&["--once"], &[SETTINGS_FILE]);
    settings(place.path());
    refused(&["--interval", "0"], &["--interval"]);
    refused(&["--interval", "NaN"], &["--interval"]);
    fs::write(place.path().join(SETTINGS_FILE), "{").expect("a file");
    refused(&["--once"], &[SETTINGS_FILE]);
}

#[test]
fn a_sweep_can_be_watched_while_it_writes() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let out = place.path().join("run");
    // Not a name that a folder can have: the sweep gives its folder another.
    let picture = place.path().join("my picture.v2.png");
    let texture = Texture::resolve("cracked", None, 24).and_then(|texture| texture.to_image());
    write_png(&picture, &texture.expect("a built-in texture")).expect("a file");
    let mut sweep = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args("sweep --channels 4,5 --hidden 8,12 --size 20 --iterations 60 --texture".split(' '))
        .arg(&picture)
        .args("--pool 8 --steps-min 8 --steps-max 24 --frames 4 --steps-per-frame 4 --warmup 16".split(' '))
        .args("--measure-every 20 --checkpoint-seconds 0.01 --threads 1 --out".split(' '))
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let start = Instant::now();
    let mut looks = 0;
    let status = loop {
        if out.join(SETTINGS_FILE).exists() {
            let text = once(&out);
            assert!(text.contains("of 4 models done") && !text.contains("nobody"), "{text}");
            looks += 1;
        }
        if let Some(status) = sweep.try_wait().expect("an exit status") {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "the sweep does not end");
    };
    assert!(status.success() && looks > 0);
    let text = once(&out);
    assert!(
        text.contains("4 of 4 models done: 4 ok, 0 diverged, 0 failed; 0 begun, 0 waiting\n"),
        "{text}"
    );
}
