//! `cargo xtask kernels`

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use clap::Args;
use nca_core::checkpoint::write_atomic;
use nca_cuda::{MODULES, Module};
use sha2::{Digest as _, Sha256};

use crate::output::print_line;
use crate::python::make_environment;

/// Compile the CUDA kernels to the PTX that is kept beside them (for who changes a kernel)
///
/// Needs Python and, the first time, the network: the compiler comes from PyPI in pinned versions. No GPU
/// is needed. Prints what each kernel takes of a multiprocessor, by the assembler's account.
#[derive(Args)]
pub(crate) struct KernelsArgs {
    /// Compare with the files instead of writing them
    #[arg(long)]
    check: bool,
    /// Where the compiler is, or is to be put [default: target/cuda-toolkit]
    #[arg(long, value_name = "DIR")]
    toolkit: Option<PathBuf>,
    /// Python that makes the toolkit's environment
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
    /// Only these files (without .cu) [default: all]
    #[arg(value_name = "STEM")]
    stems: Vec<String>,
}

/// The compiler and the assembler, pinned: PTX is committed, so it must come out the same everywhere.
const PACKAGES: [&str; 2] = ["nvidia-cuda-nvrtc==13.0.88", "nvidia-cuda-nvcc==13.0.88"];

/// Architectures whose assembler must accept the PTX.
const ARCHITECTURES: [&str; 2] = ["sm_80", "sm_90"];

pub(crate) fn run(args: &KernelsArgs) -> anyhow::Result<()> {
    let modules: Vec<&Module> = if args.stems.is_empty() {
        MODULES.iter().collect()
    } else {
        let find = |stem: &String| Module::of(stem).with_context(|| format!("there is no kernels/{stem}.cu"));
        args.stems.iter().map(find).collect::<anyhow::Result<_>>()?
    };
    // Of the workspace, wherever the command is given.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let default = workspace.join("target/cuda-toolkit");
    let toolkit = Toolkit::at(args.toolkit.as_deref().unwrap_or(&default), &args.python)?;
    let kernels = workspace.join("nca-cuda/kernels");
    let mut wrong = Vec::new();
    for module in modules {
        let file = kernels.join("ptx").join(format!("{}.ptx", module.stem));
        let found = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let ptx = reproduce(&found, || toolkit.compile(module, &kernels))?;
        if found != ptx {
            if args.check {
                wrong.push(format!("{}.ptx", module.stem));
            } else {
                write_atomic(&file, |writer| writer.write_all(ptx.as_bytes()))?;
            }
        }
        for architecture in ARCHITECTURES {
            for line in toolkit.assemble(module, &ptx, architecture)? {
                print_line(&line)?;
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "not what the compiler makes of the sources: {}; run `cargo xtask kernels`",
        wrong.join(", ")
    );
    Ok(())
}

/// What `compile` returns: `found`, if that is among what it may return for the same source.
///
/// NVRTC orders some of its work by addresses, which differ from run to run, so that of a large kernel it makes one of
/// a few variants, as far as seen each in one run of twelve at least. None is better than another, and the one that is
/// kept stays.
fn reproduce(found: &str, mut compile: impl FnMut() -> anyhow::Result<String>) -> anyhow::Result<String> {
    const ATTEMPTS: u32 = 60;
    let mut ptx = compile()?;
    for _ in 1..ATTEMPTS {
        // Of other sources there is no hope.
        if ptx == found || ptx.lines().next() != found.lines().next() {
            break;
        }
        ptx = compile()?;
    }
    Ok(ptx)
}

/// A Python environment with NVRTC and ptxas in it.
struct Toolkit {
    python: PathBuf,
    /// Directory with `bin` and `lib`.
    root: PathBuf,
}

impl Toolkit {
    /// The one in `directory`, made if it is not there, with [`PACKAGES`] in it.
    fn at(directory: &Path, python: &Path) -> anyhow::Result<Self> {
        let own = directory.join("bin/python");
        if !own.exists() {
            make_environment(directory, Some(python))?;
        }
        // What was installed last: other versions make other PTX.
        let (installed, wanted) = (directory.join("installed"), PACKAGES.join("\n") + "\n");
        if !fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
            succeed(
                Command::new(&own)
                    .args(["-m", "pip", "install", "--quiet", "--no-deps"])
                    .args(PACKAGES),
            )?;
            write_atomic(&installed, |writer| writer.write_all(wanted.as_bytes()))?;
        }
        let root = Self::root_of(directory)?;
        let assembler = root.join("bin/ptxas");
        succeed(Command::new("chmod").arg("+x").arg(&assembler))?;
        Ok(Self { python: own, root })
    }

    /// Where the packages put their files: the folder depends on Python's version.
    fn root_of(directory: &Path) -> anyhow::Result<PathBuf> {
        let library = directory.join("lib");
        let versions = fs::read_dir(&library).with_context(|| library.display().to_string())?;
        for version in versions {
            let root = version?.path().join("site-packages/nvidia/cu13");
            if root.join("bin/ptxas").exists() && root.join("lib").exists() {
                return Ok(root);
            }
        }
        bail!("{}: found no nvidia/cu13 with ptxas in it", library.display())
    }

    /// The PTX of a module, as it is committed.
    fn compile(&self, module: &Module, kernels: &Path) -> anyhow::Result<String> {
        let mut compiler = Command::new(&self.python)
            .arg(kernels.join("compile.py"))
            .arg(format!("{}.cu", module.stem))
            .arg(self.root.join("lib"))
            .args(Module::OPTIONS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| self.python.display().to_string())?;
        let mut source = compiler.stdin.take().context("the compiler takes no source")?;
        source.write_all(module.text().as_bytes())?;
        drop(source);
        let output = compiler.wait_with_output()?;
        ensure!(output.status.success(), "{}.cu does not compile", module.stem);
        let ptx = String::from_utf8(output.stdout).context("the compiler's output")?;
        let digest = Sha256::digest(module.compiled_from());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{}{digest}\n{}", Module::DIGEST, portable(&ptx)))
    }

    /// What the assembler says of each kernel: registers, spills, shared memory.
    fn assemble(&self, module: &Module, ptx: &str, architecture: &str) -> anyhow::Result<Vec<String>> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join(format!("{}.ptx", module.stem));
        fs::write(&file, ptx)?;
        let output = Command::new(self.root.join("bin/ptxas"))
            .args(["-v", "-arch", architecture])
            .arg(&file)
            .arg("-o")
            .arg(directory.path().join("out"))
            .output()
            .context("ptxas")?;
        let report = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{architecture}: {report}");
        Ok(resources(&report)
            .into_iter()
            .map(|line| format!("{architecture} {}: {line}", module.stem))
            .collect())
    }
}

/// PTX that any driver for CUDA 11 or newer takes.
fn portable(ptx: &str) -> String {
    let mut lines = Vec::new();
    for line in ptx.lines() {
        let words = line.trim_start();
        if words.starts_with(".version ") {
            lines.push(format!(".version {}", Module::PTX_VERSION));
        } else if !words.starts_with("//") && !words.is_empty() && !words.starts_with(".pragma \"used_bytes_mask") {
            // The pragma only tells which bytes of a vector load are wanted, and is newer than the version above.
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

/// One line for each kernel in the assembler's report: `name: spills; registers …`.
fn resources(report: &str) -> Vec<String> {
    let (mut name, mut spills, mut lines) = ("", "", Vec::new());
    for line in report.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            name = rest.split('\'').next().unwrap_or(rest);
        } else if line.contains("spill stores") {
            spills = line.trim();
        } else if let Some((_, used)) = line.split_once("Used ") {
            lines.push(format!("{name}: {used}; {spills}"));
        }
    }
    lines
}

/// Runs a command that must succeed.
fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_owned();
    let status = command
        .status()
        .with_context(|| program.to_string_lossy().into_owned())?;
    ensure!(status.success(), "{} failed: {status}", program.to_string_lossy());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ptx_is_made_portable() {
        let ptx = "//\n// Compiler\n\n.version 9.0\n.target sm_80\n\t.pragma \"used_bytes_mask 15\";\n\tret;\n";
        assert_eq!(portable(ptx), ".version 7.0\n.target sm_80\n\tret;\n");
    }

    #[test]
    fn a_variant_that_the_compiler_makes_is_kept() {
        let from = |found: &str, variants: &[&str]| {
            let mut made = variants.iter().cycle().map(|variant| format!("digest\n{variant}\n"));
            let mut count = 0;
            let ptx = reproduce(found, || {
                count += 1;
                Ok(made.next().unwrap())
            });
            (ptx.unwrap(), count)
        };
        assert_eq!(from("digest\nc\n", &["a", "b", "c"]), ("digest\nc\n".to_owned(), 3));
        assert_ne!(from("digest\nd\n", &["a", "b", "c"]).0, "digest\nd\n");
        assert_eq!(from("other\nc\n", &["a", "b", "c"]), ("digest\na\n".to_owned(), 1));
    }

    /// By a Python that only notes what it is asked for.
    #[test]
    #[cfg(unix)]
    fn the_compiler_is_installed_once_and_again_when_its_version_changes() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let root = directory.join("lib/python3/site-packages/nvidia/cu13");
        for folder in [directory.join("bin"), root.join("bin"), root.join("lib")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(root.join("bin/ptxas"), "").unwrap();
        let (python, asked) = (directory.join("bin/python"), directory.join("asked"));
        fs::write(&python, format!("#!/bin/sh\necho \"$@\" >> '{}'\n", asked.display())).unwrap();
        succeed(Command::new("chmod").arg("+x").arg(&python)).unwrap();
        let installations = || fs::read_to_string(&asked).unwrap().lines().count();

        for _ in 0..2 {
            Toolkit::at(directory, &python).unwrap();
            assert_eq!(installations(), 1);
        }
        assert!(fs::read_to_string(&asked).unwrap().contains(PACKAGES[0]));
        fs::write(directory.join("installed"), "nvidia-cuda-nvrtc==12.0.0\n").unwrap();
        Toolkit::at(directory, &python).unwrap();
        assert_eq!(installations(), 2);
    }

    #[test]
    fn the_assemblers_report_is_read() {
        let report = "ptxas info    : 0 bytes gmem\n\
             ptxas info    : Compiling entry function 'fill' for 'sm_90'\n\
             ptxas info    : Function properties for fill\n    0 bytes stack frame, 0 bytes spill stores\n\
             ptxas info    : Used 12 registers, used 0 barriers\n";
        assert_eq!(
            resources(report),
            ["fill: 12 registers, used 0 barriers; 0 bytes stack frame, 0 bytes spill stores"]
        );
    }
}
