//! Flow trainings from the command line: killed and resumed, one after the other, and none at all.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nca_core::checkpoint::read_tensors;
use spynet::SpyNetWeights;

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

/// The recipe of the weights that come with the project, in miniature: four steps, of which each says what was before.
#[test]
fn a_chain_of_trainings() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let out = place.path().join("run");
    let chain = |flags: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(
                "flow-train --budget shipped --levels 3 --iterations 1 --batch 1 --exemplars 0 --seed 3 --out"
                    .split(' '),
            )
            .arg(&out)
            .args(flags)
            .output()
            .expect("the binary runs")
    };
    let first = chain(&[]);
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let file = out.join("spynet-synth.safetensors");
    let weights = SpyNetWeights::load(&file).expect("weights");
    let tensors = read_tensors(&file).expect("weights");
    let metadata = tensors.metadata();
    let own = SpyNetWeights::builtin().expect("weights");
    assert_eq!(weights.rounds(), own.rounds());
    assert!(metadata["spynet.recipe"].starts_with("seed 6; "), "{metadata:?}");
    assert!(metadata["spynet.recipe"].contains("enlarged"), "{metadata:?}");
    let earlier = &metadata["spynet.earlier"];
    let recipes: Vec<&str> = earlier.split("; then: ").collect();
    for (recipe, begin) in recipes.iter().zip(["seed 3; ", "seed 4; ", "seed 5; "]) {
        assert!(recipe.starts_with(begin), "{recipe}");
    }
    assert!(recipes.len() == 3 && recipes[2].contains("photographic"), "{earlier}");
    let before = SpyNetWeights::load(out.join("photographic/spynet-synth.safetensors")).expect("weights");
    // The last one goes on with the coarse levels alone.
    let levels = |weights: &SpyNetWeights, which: std::ops::Range<usize>| weights.levels()[which].to_vec();
    assert_ne!(levels(&before, 0..3), levels(&weights, 0..3));
    assert_eq!(levels(&before, 3..6), levels(&weights, 3..6));

    // What is there is gone on from, or not touched.
    let before = fs::read(&file).expect("weights");
    assert_eq!(chain(&[]).status.code(), Some(2));
    assert!(chain(&["--resume"]).status.success());
    assert!(fs::read(&file).expect("weights") == before, "the weights differ");
    for flags in [
        &["--as-it-is"][..],
        &["--from", "x"],
        &["--seed", "18446744073709551613"],
    ] {
        let refused = chain(flags);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(2) && message.contains(flags[0]),
            "{flags:?}: {message}"
        );
    }
}

/// `--enlarged` means a training of its own, whether rounds are given or not.
#[test]
fn enlarged_with_rounds_and_without() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let from = place.path().join("own.safetensors");
    let own = SpyNetWeights::builtin().expect("weights");
    own.save_f16(&from, &std::collections::BTreeMap::new()).expect("a file");
    for (rounds, expected) in [(None, own.rounds()), (Some("1,2,1,1,1,1"), &[1, 2, 1, 1, 1, 1])] {
        let out = place.path().join(rounds.unwrap_or("none"));
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args("flow-train --enlarged --iterations 1 --batch 1 --exemplars 0 --from".split(' '))
            .arg(&from)
            .arg("--out")
            .arg(&out)
            .args(rounds.map(|rounds| format!("--rounds={rounds}")))
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = out.join("spynet-synth.safetensors");
        let recipe = read_tensors(&file).expect("weights").metadata()["spynet.recipe"].clone();
        assert!(recipe.contains("enlarged") && recipe.contains("levels 0-2"), "{recipe}");
        assert_eq!(SpyNetWeights::load(&file).expect("weights").rounds(), expected);
    }
}

/// Rounds can be set without training.
#[test]
fn rounds_alone() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (from, out) = (place.path().join("own.safetensors"), place.path().join("run"));
    let own = SpyNetWeights::builtin().expect("weights");
    own.save_f16(&from, &std::collections::BTreeMap::new()).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args("flow-train --rounds 1,1,2,1,1,1 --iterations 0 --from".split(' '))
        .arg(&from)
        .arg("--out")
        .arg(&out)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let weights = SpyNetWeights::load(out.join("spynet-synth.safetensors")).expect("weights");
    assert_eq!(weights.rounds(), [1, 1, 2, 1, 1, 1]);
    assert_eq!(weights.levels(), own.levels());
}
