//! A flow training killed and resumed ends with the very bits of one that was not.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The coarsest level alone, for so many iterations that it can be killed in their midst however rarely
/// the test gets to look.
fn training(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args("flow-train --budget quick --levels 1 --iterations 120 --batch 2 --seed 3".split(' '))
        .args("--exemplars 0 --checkpoint-seconds 0 --threads 1 --out".split(' '))
        .arg(out)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Waits until `done`, or the child has ended.
fn wait(child: &mut Child, done: impl Fn() -> bool) {
    const PATIENCE: Duration = Duration::from_secs(120);
    let start = Instant::now();
    while !done() && child.try_wait().expect("a process").is_none() {
        assert!(start.elapsed() < PATIENCE, "nothing happens");
        sleep(Duration::from_millis(2));
    }
}

/// Two trainings in a directory would write over each other's checkpoints; to look at one is no training.
#[test]
fn one_training_in_a_directory() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let out = place.path().join("run");
    fs::create_dir(&out).expect("a directory");
    let other = fs::File::create(out.join(".flow-train.lock")).expect("a lock");
    other.lock().expect("the lock");
    let refusal = |flag: &str| {
        let output = training(&out).arg(flag).stderr(Stdio::piped()).output();
        let output = output.expect("the binary runs");
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let message = refusal("--resume");
    for part in ["run: found", "another process", "nobody"] {
        assert!(message.contains(part), "no '{part}' in {message}");
    }
    assert_eq!(fs::read_dir(&out).expect("the directory").count(), 1);
    assert!(refusal("--as-it-is").contains("no checkpoint"));
}

#[test]
fn killed_and_resumed_is_bit_identical() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (whole, torn) = (directory.path().join("whole"), directory.path().join("torn"));
    assert!(training(&whole).status().expect("the binary runs").success());

    let state = torn.join("state.safetensors");
    let mut child = training(&torn).spawn().expect("the binary runs");
    wait(&mut child, || state.exists());
    child.kill().expect("a process to kill");
    child.wait().expect("its end");
    let killed_in = fs::read(&state).expect("a checkpoint");
    assert!(
        !torn.join("spynet-synth.safetensors").exists(),
        "it was done before it was killed"
    );

    // Without --resume the checkpoint is not thrown away.
    assert_eq!(training(&torn).status().expect("the binary runs").code(), Some(2));
    assert_eq!(fs::read(&state).expect("a checkpoint"), killed_in);

    let status = training(&torn).arg("--resume").status().expect("the binary runs");
    assert!(status.success());
    let weights = |run: &Path| fs::read(run.join("spynet-synth.safetensors")).expect("weights");
    assert!(weights(&whole) == weights(&torn), "the weights differ");
}
