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
/// DIR/run.sh there prints the device, the results of the tests (one that is skipped is a failure) and tables of
/// times; it is meant to take less than ten minutes.
#[derive(Args)]
pub(crate) struct GpuBundleArgs {
    /// Directory to pack them into
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Each program: the kind of cargo's target, its name, and the program's name in the bundle.
const PROGRAMS: [(&str, &str, &str); 8] = [
    ("--test", "probe", "probe"),
    ("--test", "gpu", "parity"),
    ("--test", "limits", "limits"),
    ("--test", "large", "large"),
    ("--test", "trainer", "training"),
    ("--test", "jobs", "jobs"),
    ("--example", "device", "times"),
    ("--bin", "xtask", "xtask"),
];

/// PyTorch's side, in `benches/peers`.
const PEERS: [&str; 7] = [
    "torch_times.py",
    "torch_device.py",
    "torch_nca.py",
    "torch_spynet.py",
    "torch_vgg.py",
    "serve.py",
    "vgg16.py",
];

/// What the other machine runs: what matters most first, and each part for itself.
const RUN: &str = include_str!("gpu_bundle/run.sh");

pub(crate) fn run(args: &GpuBundleArgs) -> anyhow::Result<()> {
    let directory = &args.directory;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let (mut bytes, mut glibc) = (0.0, None);
    let messages = build()?;
    for (_, target, name) in PROGRAMS {
        let program = executable(&messages, target).with_context(|| format!("cargo made no program {target}"))?;
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
        let program = fs::read(&packed).with_context(|| packed.display().to_string())?;
        let megabytes = program.len() as f64 / 1e6;
        bytes += megabytes;
        glibc = glibc.max(newest_glibc(&program));
        print_line(&format!("{} ({megabytes:.1} MB)", packed.display()))?;
    }
    let peers = directory.join("peers");
    fs::create_dir_all(&peers).with_context(|| peers.display().to_string())?;
    for name in PEERS {
        let source = workspace().join("benches/peers").join(name);
        fs::copy(&source, peers.join(name)).with_context(|| source.display().to_string())?;
    }
    let script = write_script(directory)?;
    let needs = glibc.map_or_else(String::new, |[major, minor]| {
        format!("; the machine needs glibc {major}.{minor} or newer")
    });
    print_line(&format!("{} ({bytes:.1} MB in all{needs})", script.display()))
}

/// Writes the script beside the programs.
fn write_script(directory: &Path) -> anyhow::Result<PathBuf> {
    let script = directory.join("run.sh");
    fs::write(&script, RUN).with_context(|| script.display().to_string())?;
    let status = Command::new("chmod").arg("+x").arg(&script).status().context("chmod")?;
    ensure!(status.success(), "{}: chmod failed", script.display());
    Ok(script)
}

/// The newest version of glibc that a program names: it does not start with an older one.
fn newest_glibc(program: &[u8]) -> Option<[u32; 2]> {
    const NAME: &[u8] = b"GLIBC_";
    let number = |text: &mut &[u8]| {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = text.split_at(digits);
        *text = rest.strip_prefix(b".").unwrap_or(rest);
        std::str::from_utf8(number).ok()?.parse().ok()
    };
    let version = |start: usize| {
        let mut text = &program[start..];
        Some([number(&mut text)?, number(&mut text)?])
    };
    (NAME.len()..program.len())
        .filter(|&start| program[..start].ends_with(NAME))
        .filter_map(version)
        .max()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Builds all programs for release, in one go since they share most of it; returns cargo's messages.
fn build() -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "-p", "nca-cuda", "-p", "benches", "-p", "xtask"])
        .args(PROGRAMS.iter().flat_map(|(kind, target, _)| [kind, target]))
        .arg("--message-format=json-render-diagnostics")
        .current_dir(workspace())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    ensure!(output.status.success(), "cargo build failed ({})", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
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

    #[test]
    fn the_newest_version_of_glibc_counts() {
        assert_eq!(
            newest_glibc(b"\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE"),
            Some([2, 34])
        );
        assert_eq!(newest_glibc(b"GLIBC_2"), None);
    }

    /// The script's exit code and output, where programs do what `scripts` says (by name; the others succeed).
    #[cfg(unix)]
    fn run_with(scripts: &[(&str, &str)], seconds: &str) -> (Option<i32>, String) {
        let directory = tempfile::tempdir().unwrap();
        for (_, _, name) in PROGRAMS {
            let body = scripts.iter().find(|(program, _)| *program == name);
            let body = body.map_or("echo \"$0 $*\"", |(_, body)| body);
            let path = directory.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            assert!(Command::new("chmod").arg("+x").arg(&path).status().unwrap().success());
        }
        let output = Command::new(write_script(directory.path()).unwrap())
            .env("NCA_SECONDS", seconds)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }

    #[test]
    #[cfg(unix)]
    fn without_a_gpu_the_script_says_so_and_fails() {
        let (code, said) = run_with(&[("probe", "test \"$NCA_REQUIRE_GPU\" = 1 && exit 101")], "60");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("no GPU that can be used here"), "{said}");
        assert!(!said.contains("./parity"), "{said}");
    }

    #[test]
    #[cfg(unix)]
    fn a_part_that_fails_leaves_the_others_alone() {
        let (code, said) = run_with(&[("parity", "exit 7")], "60");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("agreement with the reference       FAILED (7)"), "{said}");
        for other in ["./times steps", "./large --test-threads=1", "./times convolutions"] {
            assert!(said.contains(other), "{other}: {said}");
        }
        let (code, said) = run_with(&[], "60");
        assert_eq!(code, Some(0), "{said}");
    }

    #[test]
    #[cfg(unix)]
    fn a_part_that_hangs_is_ended() {
        let (code, said) = run_with(&[("large", "exec sleep 600")], "2");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("./limits"), "{said}");
        assert!(
            said.contains("agreement: large shapes            OUT OF TIME"),
            "{said}"
        );
        assert!(
            said.contains("times: convolutions                OUT OF TIME"),
            "{said}"
        );
    }
}
