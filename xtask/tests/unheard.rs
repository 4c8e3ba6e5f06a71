//! Where nobody can be told anything, commands do their work all the same, and end with the same exit code.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// A pipe that nobody reads from any more.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// The exit code of `args`, with standard error at `errors`.
fn code(args: &str, out: &Path, errors: Stdio) -> Option<i32> {
    let status = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(args.split(' '))
        .arg("--out")
        .arg(out)
        // Of the backend, too, which is said in a way of its own.
        .env("RUST_LOG", "info")
        .stdout(Stdio::null())
        .stderr(errors)
        .status();
    status.expect("the binary runs").code()
}

fn unheard(errors: impl Fn() -> Stdio) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    assert_eq!(code("sweep --size 7", &path("run"), errors()), Some(2));
    let training = "flow-train --budget quick --levels 1 --iterations 1 --batch 1 --exemplars 0 --threads 1";
    assert_eq!(code(training, &path("flow"), errors()), Some(0));
    assert!(path("flow/spynet-synth.safetensors").exists());
    let sweep = "sweep --channels 4 --hidden 8 --texture cracked --size 20 --iterations 2 --pool 8 --steps-min 8 \
                 --steps-max 9 --frames 2 --steps-per-frame 1 --warmup 1 --measure-every 0 --threads 1";
    assert_eq!(code(sweep, &path("sweep"), errors()), Some(0));
    assert!(path("sweep/results.csv").exists());
}

#[test]
fn by_nobody() {
    unheard(closed);
}

#[test]
#[cfg(target_os = "linux")]
fn on_a_full_disk() {
    unheard(|| File::options().write(true).open("/dev/full").expect("it").into());
}
