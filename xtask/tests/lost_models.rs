//! Models that come to nothing: the sweep goes on, and their results say why.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// As little as can be trained.
const SMALL: &str = "--channels 4 --hidden 4 --texture cracked --size 8 --iterations 6 --pool 4 --batch 1 \
                     --frames 2 --steps-per-frame 1 --warmup 1 --measure-every 0 --flow classical --backend cpu";

fn sweep(flags: &str, out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("sweep")
        .args(flags.split_whitespace())
        .arg("--out")
        .arg(out)
        .output()
        .expect("the binary runs")
}

/// The folder of the one model.
fn model(out: &Path) -> PathBuf {
    let mut entries = fs::read_dir(out.join("models/cracked")).expect("the models");
    let found = entries.find_map(|entry| Some(entry.ok()?.path()).filter(|path| path.is_dir()));
    found.expect("a model")
}

fn result(out: &Path) -> serde_json::Value {
    let text = fs::read_to_string(model(out).join("result.json")).expect("the result");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn results_say_why() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("sweep");
    let ended = sweep(
        &format!("{SMALL} --steps-min 60 --steps-max 64 --learning-rate 1"),
        &out,
    );
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let diverged = result(&out);
    assert_eq!(diverged["status"], "diverged");
    let reason = diverged["reason"].as_str().expect("a reason");
    assert!(reason.contains("is not finite at iteration"), "{reason}");

    let out = directory.path().join("other");
    let ended = sweep(&format!("{SMALL} --steps-min 2 --steps-max 3"), &out);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(result(&out).get("reason").is_none());
    fs::remove_file(model(&out).join("result.json")).expect("the result");
    fs::write(model(&out).join("state.safetensors"), "not a checkpoint").expect("a checkpoint");
    let ended = sweep("--resume", &out);
    let message = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{message}");
    assert!(message.contains("1 of 1 models failed"), "{message}");
    let failed = result(&out);
    assert_eq!(failed["status"], "failed");
    let reason = failed["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("state.safetensors"), "{reason}");
    // The checkpoint was what was wrong, and lies aside: the next attempt starts anew.
    assert!(sweep("--resume", &out).status.success());
    assert_eq!(result(&out)["status"], "ok");
}

/// Who trains one model is told that there is none, and keeps what was in its place.
#[test]
fn a_model_that_diverges_replaces_none() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let model = directory.path().join("model.safetensors");
    fs::write(&model, "another one").expect("a file");
    let ended = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("train")
        .args(SMALL.split_whitespace())
        .args("--steps-min 60 --steps-max 64 --learning-rate 1 --out".split(' '))
        .arg(directory.path().join("run"))
        .arg("--model-out")
        .arg(&model)
        .output()
        .expect("the binary runs");
    let message = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(2), "{message}");
    assert!(
        message.contains("error: model diverged: ") && message.contains("is not finite"),
        "{message}"
    );
    assert_eq!(fs::read_to_string(&model).expect("the file"), "another one");
}
