//! A sweep killed at any moment and resumed, with however many models at a time, ends with the very bits of one that was not.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nca_core::philox::{PhiloxRng, Stream};
use serde_json::Value;

/// Four small models, checkpointed far more often than anyone would.
fn sweep(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args("sweep --channels 4,5 --hidden 8,12 --texture cracked --size 20 --iterations 60".split(' '))
        .args("--pool 8 --steps-min 8 --steps-max 24 --frames 4 --steps-per-frame 4 --warmup 16".split(' '))
        .args("--measure-every 20 --checkpoint-seconds 0.02 --threads 1 --out".split(' '))
        .arg(out)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Drops what is a time.
fn without_time(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("seconds");
            map.values_mut().for_each(without_time);
        }
        Value::Array(list) => list.iter_mut().for_each(without_time),
        _ => {}
    }
}

fn json(text: &str) -> Vec<u8> {
    let mut value = serde_json::from_str(text).expect("JSON");
    without_time(&mut value);
    value.to_string().into_bytes()
}

/// Contents of every file below `directory` but plots and reports (made from the others), times removed.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let name = path
                .strip_prefix(directory)
                .expect("below")
                .to_string_lossy()
                .into_owned();
            let bytes = fs::read(&path).expect("a file");
            let text = || String::from_utf8(bytes.clone()).expect("UTF-8");
            let bytes = match path.extension().and_then(|e| e.to_str()) {
                Some("json") => json(&text()),
                Some("jsonl") => text().lines().flat_map(json).collect(),
                Some("safetensors" | "png") if name.starts_with("models") => bytes,
                _ => continue,
            };
            files.insert(name, bytes);
        }
    }
    files
}

/// Whether some model in the sweep's directory can be gone on with.
fn has_checkpoint(sweep: &Path) -> bool {
    let Ok(models) = fs::read_dir(sweep.join("models/cracked")) else {
        return false;
    };
    models
        .flatten()
        .any(|model| model.path().join("state.safetensors").exists())
}

#[test]
fn killed_and_resumed_is_bit_identical() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (whole, torn) = (directory.path().join("whole"), directory.path().join("torn"));
    assert!(sweep(&whole).status().expect("the binary runs").success());

    let mut rng = PhiloxRng::new(1, Stream::Test, 0);
    let (mut kills, mut continued) = (0, 0);
    for attempt in 0.. {
        let mut command = sweep(&torn);
        // How many are made at a time is nothing to go by.
        command.args(["--jobs", if attempt % 2 == 0 { "1" } else { "3" }]);
        // One that was killed before it wrote its settings has nothing to go on with.
        if torn.join("sweep.json").exists() {
            command.arg("--resume");
        }
        let found = has_checkpoint(&torn);
        let log = directory.path().join(format!("log {attempt}"));
        let mut child = command
            .env("RUST_LOG", "nca_train=info")
            .stderr(fs::File::create(&log).expect("a file"))
            .spawn()
            .expect("the binary runs");
        if attempt < 12 {
            sleep(Duration::from_millis(rng.uniform_in(20.0, 400.0) as u64));
            child.kill().expect("a process to kill");
        } else if continued == 0 && !found {
            // On a machine with much else to do none may have come as far as a checkpoint, which this one does; the next goes
            // on with it.
            while !has_checkpoint(&torn) && child.try_wait().expect("its status").is_none() {
                sleep(Duration::from_millis(1));
            }
            let _ = child.kill();
        }
        let status = child.wait().expect("an exit status");
        let log = fs::read_to_string(&log).expect("what it said");
        continued += log.matches("goes on after iteration").count();
        if status.success() {
            break;
        }
        // Killed, that is; an error would be a code.
        assert_eq!(status.code(), None, "attempt {attempt}");
        kills += 1;
    }
    assert!(kills > 0, "the sweep ended before it could be killed");
    // What begins anew ends with the same bits.
    assert!(continued > 0, "of {kills} that were killed, none was gone on with");

    let (whole, torn) = (contents(&whole), contents(&torn));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&whole), names(&torn));
    assert!(whole.keys().filter(|name| name.ends_with("model.safetensors")).count() == 4);
    for (name, bytes) in &whole {
        assert!(bytes == &torn[name], "{name} differs after {kills} kills");
    }
}

#[test]
fn shards_are_merged_by_report() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let out = directory.path().join("run");
    let table = out.join("results.csv");
    for shard in ["1/2", "2/2"] {
        let status = sweep(&out).args(["--shard", shard]).status().expect("the binary runs");
        assert!(status.success(), "{shard}");
        assert!(!table.exists(), "a shard wrote the table");
    }
    let status = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("report")
        .arg(&out)
        .stdout(Stdio::null())
        .status()
        .expect("the binary runs");
    assert!(status.success());
    let rows = fs::read_to_string(&table).expect("the table");
    assert_eq!(rows.lines().count(), 1 + 4);

    // The same directory again, without --resume or with other settings, is refused.
    for flags in [vec![], vec!["--resume", "--seed", "9"]] {
        let status = sweep(&out).args(&flags).status().expect("the binary runs");
        assert_eq!(status.code(), Some(2), "{flags:?}");
    }
}
