//! Flow between pictures as data sets keep them.

use std::fs;
use std::path::Path;
use std::process::Command;

use spynet::{FlowField, write_kitti};

const SIDE: usize = 48;

/// Waves moved by `shift` pixels to the right, as a binary PPM: what FlyingChairs is made of.
fn write_ppm(path: &Path, shift: f64) {
    let mut bytes = format!("P6\n# a comment\n{SIDE} {SIDE}\n255\n").into_bytes();
    for p in 0..SIDE * SIDE {
        let (x, y) = ((p % SIDE) as f64 - shift, (p / SIDE) as f64);
        let waves = [(0.5, 0.1), (0.4, 0.4), (-0.2, 0.5)];
        bytes.extend(waves.map(|(a, b)| (127.5 + 100.0 * (a * x + b * y).sin()) as u8));
    }
    fs::write(path, bytes).expect("a file");
}

#[test]
fn a_pair_of_ppm_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    write_ppm(&path("a.ppm"), 0.0);
    write_ppm(&path("b.ppm"), 1.0);
    let flow = |second: &str| {
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args("flow --json --flow classical --backend cpu --threads 1".split(' '))
            .args([path("a.ppm"), path(second)])
            .output()
            .expect("the binary runs")
    };
    let output = flow("b.ppm");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let psi = found["psi"].as_f64().expect("a number");
    assert!((psi - 1.0).abs() < 0.1, "{found}");

    // True flow as a KITTI PNG, of which the left half is not known.
    let vectors = (0..2 * SIDE * SIDE).map(|p| match p {
        p if p % SIDE < SIDE / 2 => 2e9,
        p if p < SIDE * SIDE => 1.0,
        _ => 0.0,
    });
    let truth = FlowField::new(SIDE, SIDE, vectors.collect()).expect("a field");
    write_kitti(path("truth.png"), &truth).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args("flow --json --flow classical --backend cpu --threads 1 --gt".split(' '))
        .args([path("truth.png"), path("a.ppm"), path("b.ppm")])
        .output()
        .expect("the binary runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let error = found["epe"].as_f64().expect("a number");
    assert!(error < 0.1, "{found}");

    let whole = fs::read(path("b.ppm")).expect("the picture");
    fs::write(path("torn.ppm"), &whole[..whole.len() - 100]).expect("a file");
    let output = flow("torn.ppm");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("torn.ppm"), "{message}");
}
