//! `cargo xtask gpu-bundle`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::output::print_line;

/// Pack the tests and measurements of the CUDA backend for a machine with only a driver
///
/// DIR/run.sh there prints the device, the results of the tests (one that is skipped is a failure) and the table of
/// times.
#[derive(Args)]
pub(crate) struct GpuBundleArgs {
    /// Directory to pack them into
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Cargo's arguments for each program, the name of its target, and its name in the bundle.
const PROGRAMS: [(&[&str], &str, &str); 6] = [
    (
        &["test", "--no-run", "-p", "nca-cuda", "--test", "probe"],
        "probe",
        "probe",
    ),
    (
        &["test", "--no-run", "-p", "nca-cuda", "--test", "gpu"],
        "gpu",
        "parity",
    ),
    (
        &["test", "--no-run", "-p", "nca-cuda", "--test", "limits"],
        "limits",
        "limits",
    ),
    (
        &["test", "--no-run", "-p", "nca-cuda", "--test", "large"],
        "large",
        "large",
    ),
    (
        &["test", "--no-run", "-p", "nca-cuda", "--test", "trainer"],
        "trainer",
        "training",
    ),
    (&["build", "-p", "benches", "--example", "device"], "device", "times"),
];

/// What the other machine runs.
const RUN: &str = "#!/usr/bin/env bash
# Tests and measures the CUDA backend on this machine. Needs an NVIDIA driver and nothing else.
set -uo pipefail
cd \"$(dirname \"$0\")\"
export NCA_REQUIRE_GPU=1
failed=0
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader 2>/dev/null
date -u
echo '== probe'
if ! ./probe --test-threads=1 the_device_found_is_described; then
    echo '== no GPU that can be used here (the reason is above): nothing was tested or measured'
    exit 1
fi
for tests in parity limits large training; do
    echo \"== $tests: agreement with the reference\"
    ./$tests --test-threads=1 || failed=1
done
echo '== times'
./times || failed=1
exit $failed
";

pub(crate) fn run(args: &GpuBundleArgs) -> anyhow::Result<()> {
    let directory = &args.directory;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    for (arguments, target, name) in PROGRAMS {
        let program = build(arguments, target)?;
        let packed = directory.join(name);
        fs::copy(&program, &packed).with_context(|| packed.display().to_string())?;
        // Where there is no `strip` the programs are only larger.
        if Command::new("strip")
            .arg(&packed)
            .status()
            .is_ok_and(|status| !status.success())
        {
            bail!("{}: strip failed", packed.display());
        }
        print_line(&format!("{} ({:.1} MB)", packed.display(), megabytes(&packed)?))?;
    }
    let script = directory.join("run.sh");
    fs::write(&script, RUN).with_context(|| script.display().to_string())?;
    let status = Command::new("chmod").arg("+x").arg(&script).status().context("chmod")?;
    ensure!(status.success(), "{}: chmod failed", script.display());
    print_line(&script.display().to_string())
}

fn megabytes(path: &Path) -> anyhow::Result<f64> {
    let length = fs::metadata(path).with_context(|| path.display().to_string())?.len();
    Ok(length as f64 / 1e6)
}

/// Builds one program for release and returns where it is.
fn build(arguments: &[&str], target: &str) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .args(["--release", "--message-format=json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    ensure!(output.status.success(), "cargo {} failed", arguments.join(" "));
    executable(&String::from_utf8_lossy(&output.stdout), target)
        .with_context(|| format!("cargo {} made no program {target}", arguments.join(" ")))
}

/// The program of `target` in cargo's messages.
fn executable(messages: &str, target: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|message| message["target"]["name"] == target && message["executable"].is_string())
        .and_then(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = "not json\n\
             {\"target\":{\"name\":\"gpu\"},\"executable\":null}\n\
             {\"target\":{\"name\":\"other\"},\"executable\":\"/x/other\"}\n\
             {\"target\":{\"name\":\"gpu\"},\"executable\":\"/x/gpu-1\"}\n";
        assert_eq!(executable(messages, "gpu"), Some(PathBuf::from("/x/gpu-1")));
        assert_eq!(executable(messages, "probe"), None);
    }
}
