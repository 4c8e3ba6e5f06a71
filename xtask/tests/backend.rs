//! Which backend a command computes on, and what it says about it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// As little as can be trained.
const SMALL: &str = "--channels 4 --hidden 4 --texture cracked --size 8 --iterations 2 --pool 4 --batch 1 --steps-min 2 \
                     --steps-max 3 --frames 2 --steps-per-frame 1 --warmup 1 --measure-every 0 --flow classical";

fn xtask(command: &str, flags: &str, out: &Path) -> Command {
    let mut process = Command::new(env!("CARGO_BIN_EXE_xtask"));
    process
        .arg(command)
        .args(flags.split_whitespace())
        .arg("--out")
        .arg(out);
    process
}

fn output(process: &mut Command) -> (Output, String) {
    let output = process.output().expect("the binary runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, message)
}

/// The models of a run come from one backend: resumed, it stays where it was, and is not moved elsewhere.
#[test]
fn a_resumed_run_stays_on_its_backend() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for command in ["sweep", "train"] {
        let out = directory.path().join(command);
        let (made, message) = output(&mut xtask(command, &format!("{SMALL} --backend reference"), &out));
        assert!(made.status.success(), "{command}: {message}");

        let (moved, message) = output(&mut xtask(command, "--resume --backend cpu", &out));
        assert_eq!(moved.status.code(), Some(2), "{command}: {message}");
        assert!(
            message.contains("backend \"reference\" instead of \"cpu\""),
            "{command}: {message}"
        );

        // Without the model's result there is something left to do, and the record names who did it.
        let record = result_in(&out);
        fs::remove_file(&record).expect("a file");
        let (resumed, message) = output(&mut xtask(command, "--resume", &out));
        assert!(resumed.status.success(), "{command}: {message}");
        assert_eq!(json(&record)["backend"], "reference", "{command}");
    }
}

/// The precision is recorded, kept by a resumed run, and not changed in the middle of one.
#[test]
fn a_resumed_run_keeps_its_precision() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for command in ["sweep", "train"] {
        let out = directory.path().join(command);
        let flags = format!("{SMALL} --backend reference --precision bf16");
        let (made, message) = output(&mut xtask(command, &flags, &out));
        assert!(made.status.success(), "{command}: {message}");

        let (changed, message) = output(&mut xtask(command, "--resume --precision tf32", &out));
        assert_eq!(changed.status.code(), Some(2), "{command}: {message}");
        assert!(
            message.contains("precision \"bf16\" instead of \"tf32\""),
            "{command}: {message}"
        );

        let record = result_in(&out);
        let before: serde_json::Value = json(&record);
        assert_eq!(before["precision"], "bf16", "{command}");
        fs::remove_file(&record).expect("a file");
        let (resumed, message) = output(&mut xtask(command, "--resume", &out));
        assert!(resumed.status.success(), "{command}: {message}");
        let after = json(&record);
        assert_eq!(after["precision"], "bf16", "{command}");
        assert_eq!(after["loss"], before["loss"], "{command}");

        // Rounded factors are not those of f32.
        let exact = directory.path().join(format!("{command} in f32"));
        let (made, message) = output(&mut xtask(command, &format!("{SMALL} --backend reference"), &exact));
        assert!(made.status.success(), "{command}: {message}");
        let exact = json(&result_in(&exact));
        assert_eq!(exact["precision"], "f32", "{command}");
        assert_ne!(exact["loss"], before["loss"], "{command}");
    }
}

/// The CPU multiplies f32 and bf16 only, and says so before anything is written.
#[test]
fn a_precision_that_the_cpu_lacks_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("out");
    let (refused, message) = output(&mut xtask(
        "train",
        &format!("{SMALL} --backend cpu --precision f16"),
        &out,
    ));
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(
        message.contains("--precision is f16, expected f32 or bf16 on the CPU"),
        "{message}"
    );
    assert!(!out.exists());
    let (refused, message) = output(&mut xtask("train", &format!("{SMALL} --precision half"), &out));
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(message.contains("expected f32, tf32, f16 or bf16"), "{message}");
}

/// What multiplies bf16 may be said, so that it runs on any machine; what is said wrongly is refused.
#[test]
fn the_cpu_multiplies_bf16() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let flags = |precision: &str| format!("{SMALL} --backend cpu --precision {precision}");
    let results = ["bf16", "f32"].map(|precision| {
        let out = directory.path().join(precision);
        let (made, message) = output(xtask("train", &flags(precision), &out).env("NCA_BF16", "portable"));
        assert!(made.status.success(), "{message}");
        json(&result_in(&out))
    });
    assert_eq!(results[0]["precision"], "bf16");
    assert_ne!(results[0]["loss"], results[1]["loss"]);
    let out = directory.path().join("unknown");
    let (refused, message) = output(xtask("train", &flags("bf16"), &out).env("NCA_BF16", "amx2"));
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(
        message.contains("NCA_BF16 is amx2, expected amx, avx512 or portable"),
        "{message}"
    );
    assert!(!out.exists());
}

/// The one result of a run.
fn result_in(out: &Path) -> std::path::PathBuf {
    fs::read_dir(out.join("models/cracked"))
        .expect("the models")
        .map(|entry| entry.expect("an entry").path().join("result.json"))
        .find(|path| path.exists())
        .expect("a result")
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&fs::read_to_string(path).expect("the result")).expect("JSON")
}

/// A GPU that is there and cannot be used is worth a word; none at all is not.
#[test]
#[cfg(target_os = "linux")]
fn a_gpu_that_cannot_be_used_is_told_of() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (code, library) = (directory.path().join("driver.c"), directory.path().join("libcuda.so"));
    fs::write(&code, "int unrelated;").expect("a file");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &code])
        .status();
    if !compiled.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no C compiler makes a shared library here");
        return;
    }
    fs::copy(&library, directory.path().join("libcuda.so.1")).expect("a file");
    let told = |path: &Path, out: &str| {
        let out = directory.path().join(out);
        let (made, message) = output(xtask("train", SMALL, &out).env("LD_LIBRARY_PATH", path));
        assert!(made.status.success(), "{message}");
        message
    };
    let broken = told(directory.path(), "broken");
    assert!(
        broken.contains("computing on the CPU: the CUDA driver (libcuda) lacks"),
        "{broken}"
    );
    if nca_cuda::probe() == Err(nca_cuda::Unavailable::NoDriver) {
        let none = told(&directory.path().join("nothing"), "none");
        assert!(!none.contains("computing on"), "{none}");
    }
}
