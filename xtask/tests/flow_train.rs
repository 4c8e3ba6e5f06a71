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
    fs::write(out.join("state.safetensors"), "a checkpoint").expect("a file");
    let message = refusal("--resume");
    for part in ["run: found", "another process", "nobody"] {
        assert!(message.contains(part), "no '{part}' in {message}");
    }
    assert_eq!(fs::read_dir(&out).expect("the directory").count(), 2);
    fs::remove_file(out.join("state.safetensors")).expect("a file to remove");
    assert!(refusal("--as-it-is").contains("no checkpoint"));
}

/// The error of `command`, which is refused.
#[track_caller]
fn refusal(command: &mut Command) -> String {
    let output = command.stderr(Stdio::piped()).output().expect("the binary runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    message
}

/// What a training starts from, and what an earlier one made, is not written over.
#[test]
fn weights_that_are_there_stay() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let out = place.path().join("run");
    fs::create_dir(&out).expect("a directory");
    let weights = out.join("spynet-synth.safetensors");
    let own = SpyNetWeights::builtin().expect("weights");
    own.save_f16(&weights, &std::collections::BTreeMap::new())
        .expect("a file");
    let before = fs::read(&weights).expect("weights");
    let start = |from: &Path, flags: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command
            .args("flow-train --rounds 1,1,2,1,1,1 --from".split(' '))
            .arg(from)
            .arg("--out")
            .arg(&out);
        command.args(flags.split_whitespace()).stdout(Stdio::null());
        command
    };
    // The very file, by whatever name, also where a checkpoint would be gone on from or taken as it is.
    for from in [weights.clone(), out.join("../run/./spynet-synth.safetensors")] {
        for flags in ["--iterations 0", "--resume", "--as-it-is"] {
            let message = refusal(&mut start(&from, flags));
            assert!(
                message.contains("--out is ") && message.contains("that of --from"),
                "{message}"
            );
        }
    }
    // Those of another training.
    let copy = place.path().join("copy.safetensors");
    fs::copy(&weights, &copy).expect("a copy");
    for mut command in [start(&copy, "--iterations 0"), training(&out)] {
        let message = refusal(&mut command);
        for part in ["spynet-synth.safetensors: found weights", "another --out"] {
            assert!(message.contains(part), "no '{part}' in {message}");
        }
    }
    assert!(
        fs::read(&weights).expect("weights") == before,
        "the weights were written over"
    );
    assert_eq!(fs::read_dir(&out).expect("the directory").count(), 1);
}

/// Whoever mistypes a directory does not begin anew there.
#[test]
fn nothing_to_go_on_with() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let out = place.path().join("run");
    for (flag, parts) in [
        (
            "--resume",
            [
                "--resume is given for",
                "run, expected a directory with state.safetensors",
            ],
        ),
        ("--as-it-is", ["run: found no checkpoint", "one whose weights to take"]),
    ] {
        let message = refusal(training(&out).arg(flag));
        for part in parts {
            assert!(message.contains(part), "no '{part}' in {message}");
        }
        assert!(!out.exists(), "{flag} made a directory");
    }
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
    // What comes last is looked at before the first training, too; with --resume, what comes after the first that is to begin.
    let remove = |names: &[&str]| {
        for name in names {
            fs::remove_dir_all(out.join(name)).expect("a directory to remove");
        }
    };
    let refused_for = |flags: &[&str], parts: [&str; 2]| {
        let output = chain(flags);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{message}");
        for part in parts {
            assert!(message.contains(part), "no '{part}' in {message}");
        }
        // None had begun.
        assert!(!message.contains("stage 1"), "{message}");
    };
    let photographic = out.join("photographic/state.safetensors");
    let photographic = photographic.to_str().expect("UTF-8");
    remove(&["refined"]);
    refused_for(&["--resume"], [photographic, "refined has no checkpoint"]);
    assert!(!out.join("refined").exists());
    remove(&["full", "photographic"]);
    refused_for(&[], ["run/state.safetensors: found a checkpoint", "another --out"]);
    refused_for(&["--resume"], ["--resume is given for", "run/full, expected"]);
    fs::remove_file(out.join("state.safetensors")).expect("a file to remove");
    refused_for(&[], ["run/spynet-synth.safetensors: found weights", "another --out"]);
    assert!(!out.join("full").exists() && fs::read(&file).expect("weights") == before);
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
    // Nothing is trained, so there is nothing to say about a training.
    for flags in [
        "--levels 3",
        "--batch 1",
        "--learning-rate 2",
        "--budget quick",
        "--exemplars 0",
    ] {
        let other = place.path().join("other");
        let message = refusal(
            Command::new(env!("CARGO_BIN_EXE_xtask"))
                .args("flow-train --rounds 1,1,2,1,1,1 --iterations 0 --from".split(' '))
                .arg(&from)
                .args(flags.split(' '))
                .arg("--out")
                .arg(&other),
        );
        let flag = flags.split(' ').next().expect("a flag");
        assert!(
            message.contains(&format!("{flag} is given with --iterations 0")),
            "{flags}: {message}"
        );
        assert!(!other.exists());
    }
}
