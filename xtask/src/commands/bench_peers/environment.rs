//! The virtual environment that the peers run in.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail, ensure};
use nca_core::Error;

use crate::output::say;
use crate::python::make_environment;

/// What the peers import, but for torch and jax.
const OTHERS: [&str; 2] = ["numpy", "safetensors"];
/// Prints the version of each distribution asked for, `-` for one that is not there.
const VERSIONS: &str = "
import sys
from importlib import metadata
for name in sys.argv[1:]:
    try:
        print(metadata.version(name))
    except metadata.PackageNotFoundError:
        print('-')
";
/// Prints the version of Python, if it is one that can make an environment.
const PYTHON_VERSION: &str = "import sys, venv; print('.'.join(map(str, sys.version_info[:3])))";

/// Versions asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) torch: Option<String>,
    pub(super) jax: Option<String>,
}

/// A directory with Python, PyTorch and JAX.
pub(super) struct Environment {
    directory: PathBuf,
    /// Loaded before PyTorch, on a processor of AMD.
    preload: Option<PathBuf>,
    /// Why there is none, or that there is one.
    pub(super) preload_note: String,
}

impl Environment {
    /// The environment in `directory`: made there by `python` if there is none, and given what it lacks.
    pub(super) fn open(directory: &Path, python: Option<&Path>, wanted: &Wanted) -> anyhow::Result<Self> {
        let version = match python {
            Some(python) => python_version(python, "--python")?,
            None => String::new(),
        };
        if interpreter(directory).exists() {
            let made_by = python_version(&interpreter(directory), "--environment")?;
            if let Some(python) = python.filter(|_| made_by != version) {
                let found = format!("{} (Python {version})", python.display());
                let expected = format!(
                    "Python {made_by}, which the environment {} is of; remove that, or name another by --environment",
                    directory.display()
                );
                return Err(Error::invalid("--python", found, expected).into());
            }
        } else {
            make_environment(directory, python)?;
        }
        install(directory, wanted)?;
        let (preload, preload_note) = preload(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            preload,
            preload_note,
        })
    }

    /// File that what a peer writes to standard error goes to.
    pub(super) fn log(&self, peer: &str) -> PathBuf {
        self.directory.join(format!("{peer}.log"))
    }

    /// A peer's program on `threads` threads.
    pub(super) fn command(&self, peer: &str, threads: usize) -> Command {
        let mut command = Command::new(interpreter(&self.directory));
        command
            .arg(sources().join(format!("{peer}_peer.py")))
            .arg(threads.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("OMP_NUM_THREADS", threads.to_string())
            .env("MKL_NUM_THREADS", threads.to_string())
            // glibc would give every large tensor's pages back, and take them anew.
            .env("MALLOC_MMAP_MAX_", "0")
            .env("MALLOC_TRIM_THRESHOLD_", "100000000000")
            // Both libraries on the CPU, as ours.
            .env("CUDA_VISIBLE_DEVICES", "")
            .env("JAX_PLATFORMS", "cpu")
            // Compilation in the process itself, and once for all runs.
            .env("TORCHINDUCTOR_COMPILE_THREADS", "1")
            .env("TORCHINDUCTOR_CACHE_DIR", self.directory.join("inductor"));
        if let Some(preload) = &self.preload {
            command.env("LD_PRELOAD", preload);
        }
        command
    }
}

/// The peers' programs.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/peers")
}

/// Python in an environment.
fn interpreter(directory: &Path) -> PathBuf {
    directory.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    })
}

/// Version of a Python that `flag` named.
fn python_version(python: &Path, flag: &str) -> anyhow::Result<String> {
    let expected = "Python 3.10 or newer with its module venv";
    let invalid = |why: &str| Error::invalid(flag, format!("{}: {why}", python.display()), expected);
    let output = Command::new(python)
        .args(["-c", PYTHON_VERSION])
        .output()
        .map_err(|e| invalid(&format!("which does not run ({e})")))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || version.is_empty() {
        return Err(invalid("which does not do").into());
    }
    Ok(version)
}

/// Installs what is missing, or of another version than wanted.
fn install(directory: &Path, wanted: &Wanted) -> anyhow::Result<()> {
    let python = interpreter(directory);
    let packages: Vec<(&str, Option<&str>)> = [("torch", wanted.torch.as_deref()), ("jax", wanted.jax.as_deref())]
        .into_iter()
        .chain(OTHERS.map(|name| (name, None)))
        .collect();
    let output = Command::new(&python)
        .args(["-c", VERSIONS])
        .args(packages.iter().map(|(name, _)| name))
        .output()
        .with_context(|| python.display().to_string())?;
    ensure!(output.status.success(), "{}: {}", python.display(), last_line(&output));
    let installed = String::from_utf8_lossy(&output.stdout).into_owned();
    let missing = requirements(&packages, &installed);
    if missing.is_empty() {
        return Ok(());
    }
    say!("installing {} (this may take minutes)", missing.join(", "));
    let status = Command::new(&python)
        .args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(&missing)
        // Standard output is the table's.
        .stdout(std::io::stderr())
        .status()
        .with_context(|| python.display().to_string())?;
    if !status.success() {
        bail!(
            "pip install {} failed ({status}): its message is above; --environment takes a directory that has them",
            missing.join(" ")
        );
    }
    Ok(())
}

/// What pip is to install: of `packages` (with versions wanted) those that `installed`, a version or `-` on each
/// line, does not satisfy.
fn requirements(packages: &[(&str, Option<&str>)], installed: &str) -> Vec<String> {
    let satisfied = |wanted: Option<&str>, found: &str| match wanted {
        // A build's own name, as in 2.9.0+cpu, is no other version.
        Some(wanted) => found == wanted || found.split('+').next() == Some(wanted),
        None => found != "-",
    };
    let found = installed.lines().map(str::trim).chain(std::iter::repeat("-"));
    packages
        .iter()
        .zip(found)
        .filter(|((_, wanted), found)| !satisfied(*wanted, found))
        .map(|((name, wanted), _)| match wanted {
            Some(version) => format!("{name}=={version}"),
            None => (*name).to_owned(),
        })
        .collect()
}

/// On a processor of AMD, compiles the library that lets MKL take its fast code; and says what came of it.
fn preload(directory: &Path) -> anyhow::Result<(Option<PathBuf>, String)> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok((None, "not needed here".into()));
    }
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !cpu
        .lines()
        .any(|line| line.starts_with("vendor_id") && line.ends_with("AuthenticAMD"))
    {
        return Ok((None, "not needed here".into()));
    }
    let library = directory.join("mkl_intel.so");
    for compiler in ["cc", "gcc", "clang"] {
        let output = Command::new(compiler)
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(&library)
            .arg(sources().join("mkl_intel.c"))
            .output();
        match output {
            Ok(output) if output.status.success() => return Ok((Some(absolute(&library)?), "used".into())),
            Ok(output) => bail!("{compiler} on mkl_intel.c: {}", last_line(&output)),
            // Another name, perhaps.
            Err(_) => {}
        }
    }
    Ok((
        None,
        "NOT used, for lack of a C compiler: torch may be slower than it could be".into(),
    ))
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}

/// The last line that a program wrote.
fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.unwrap_or("no message").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        let packages = [
            ("torch", Some("2.9.0")),
            ("jax", None),
            ("numpy", None),
            ("safetensors", None),
        ];
        let requirements = |installed| requirements(&packages, installed);
        assert!(requirements("2.9.0+cpu\n0.8\n2.1\n0.5\n").is_empty());
        assert!(requirements("2.9.0\n0.8\n2.1\n0.5\n").is_empty());
        assert_eq!(requirements("2.9.01\n-\n2.1\n0.5\n"), ["torch==2.9.0", "jax"]);
        // Nothing was said.
        assert_eq!(requirements(""), ["torch==2.9.0", "jax", "numpy", "safetensors"]);
    }

    #[test]
    fn a_python_that_is_none_is_refused() {
        for program in ["/nonexistent/python", "false"] {
            let error = python_version(Path::new(program), "--python").expect_err(program);
            let message = format!("{error:#}");
            assert!(message.contains("--python") && message.contains(program), "{message}");
        }
    }

    #[test]
    fn other_peoples_directories_are_left_alone() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        File::create(directory.path().join("thesis.tex")).expect("a file");
        let Err(error) = Environment::open(directory.path(), None, &Wanted::default()) else {
            panic!("an environment among other files")
        };
        assert!(format!("{error:#}").contains("other files"), "{error:#}");
        assert!(!interpreter(directory.path()).exists());
    }
}
