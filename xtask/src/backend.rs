//! The one place that decides which backend a command runs on.

use clap::{Args, ValueEnum};
use nca_core::backend::{Backend, Device as _};
use nca_core::cpu::Cpu;
use nca_core::reference::Reference;
use nca_core::{Error, Precision, Result};
use nca_cuda::{Cuda, Unavailable};
use rayon::ThreadPoolBuilder;
use spynet::FlowChoice;

use crate::output::say;

/// What `--backend` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The fastest there is: an NVIDIA GPU, else the CPU
    Auto,
    /// Plain, slow and obviously right: for checking the others
    Reference,
    /// Fused, vectorised and parallel
    Cpu,
    /// An NVIDIA GPU (CUDA_VISIBLE_DEVICES chooses which)
    Cuda,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct BackendArgs {
    /// Where to compute
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: Choice,
    /// What the factors of products are rounded to: f32 (not at all); tf32, f16 or bf16 on tensor cores; bf16 on
    /// CPUs with AMX or AVX-512 BF16 [default: f32]
    #[arg(long, value_name = "NAME")]
    pub(crate) precision: Option<Precision>,
    /// CPU threads, for all that the CPU computes [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// The backend that a command runs on.
pub(crate) enum Chosen {
    Reference(Reference<f32>),
    Cpu(Cpu),
    Cuda(Cuda),
}

impl Chosen {
    /// Its name, as results record it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Reference(backend) => backend.name(),
            Self::Cpu(backend) => backend.name(),
            Self::Cuda(backend) => backend.name(),
        }
    }

    /// Its precision, as results record it.
    pub(crate) fn precision(&self) -> Precision {
        match self {
            Self::Reference(backend) => backend.precision(),
            Self::Cpu(backend) => backend.precision(),
            Self::Cuda(backend) => backend.precision(),
        }
    }

    /// Runs `job` on it.
    pub(crate) fn run<J: Job>(&self, job: J) -> anyhow::Result<J::Output> {
        match self {
            Self::Reference(backend) => job.run(backend),
            Self::Cpu(backend) => job.run(backend),
            Self::Cuda(backend) => job.run(backend),
        }
    }

    /// Runs `jobs` on `count` of it that do not wait for each other: on a GPU each has a stream of its own, on the CPU
    /// they share the threads.
    pub(crate) fn run_on_several<J: Jobs>(&self, count: usize, jobs: J) -> anyhow::Result<J::Output> {
        match self {
            Self::Reference(backend) => jobs.run(&vec![*backend; count]),
            Self::Cpu(backend) => jobs.run(&vec![backend.clone(); count]),
            Self::Cuda(backend) => {
                let backends: Result<Vec<Cuda>> = (0..count).map(|_| backend.another()).collect();
                jobs.run(&backends?)
            }
        }
    }

    /// Bytes of memory of the device, where that is its own.
    pub(crate) fn memory(&self) -> Option<usize> {
        match self {
            Self::Reference(_) | Self::Cpu(_) => None,
            Self::Cuda(backend) => backend.memory(),
        }
    }
}

impl BackendArgs {
    /// The backend asked for; to be called once, before anything is computed, which settles the number of
    /// threads, and before anything is written, since the backend may be missing.
    pub(crate) fn open(&self) -> Result<Chosen> {
        self.open_again(None)
    }

    /// As [`Self::open`], for flow alone. The classical estimator computes on the CPU in f32, whatever the backend: flags
    /// that ask for anything else are refused.
    pub(crate) fn open_for_flow(&self, choice: &FlowChoice) -> Result<Chosen> {
        if matches!(choice, FlowChoice::SpyNet { .. }) {
            return self.open();
        }
        if !matches!(self.backend, Choice::Auto | Choice::Cpu) {
            let value = self.backend.to_possible_value();
            let name = value.as_ref().map_or("another", |value| value.get_name());
            return Err(Error::invalid(
                "--backend",
                format!("{name} for classical flow, which is computed on the CPU"),
                "cpu, or --flow spynet with it",
            ));
        }
        if let Some(precision) = self.precision.filter(|precision| *precision != Precision::F32) {
            return Err(Error::invalid(
                "--precision",
                format!("{precision} for classical flow, which is computed in f32"),
                "f32, or --flow spynet with it",
            ));
        }
        let cpu = Self {
            backend: Choice::Cpu,
            ..self.clone()
        };
        cpu.open()
    }

    /// As [`Self::open`]; where none is asked for, the one named `earlier`, on which a run began, and likewise its
    /// precision: on another its models would not be comparable.
    pub(crate) fn open_again(&self, earlier: Option<(&str, Precision)>) -> Result<Chosen> {
        let precision = self
            .precision
            .or(earlier.map(|(_, precision)| precision))
            .unwrap_or_default();
        let choice = match (self.backend, earlier) {
            (Choice::Auto, Some((name, _))) => Choice::from_str(name, false)
                .map_err(|_| Error::invalid("the backend of the run", name, "reference, cpu or cuda"))?,
            (choice, _) => choice,
        };
        // Scenes, classical flow and losses are made on rayon's threads, on whatever backend the rest runs.
        if let Some(threads) = self.threads {
            let pool = ThreadPoolBuilder::new().num_threads(usize::from(threads));
            pool.build_global().map_err(|error| Error::Device {
                backend: "cpu",
                message: format!("cannot start {threads} threads: {error}"),
            })?;
        }
        match choice {
            Choice::Reference => Ok(Chosen::Reference(Reference::new().with_precision(precision))),
            Choice::Cpu => on_cpu(precision),
            Choice::Cuda => Ok(Chosen::Cuda(Cuda::new()?.with_precision(precision))),
            Choice::Auto => match Cuda::new() {
                Ok(cuda) => {
                    let cuda = cuda.with_precision(precision);
                    // Nobody asked for it, so it is said.
                    say!("computing on {}", cuda.describe());
                    Ok(Chosen::Cuda(cuda))
                }
                Err(reason) => {
                    let chosen = on_cpu(precision)?;
                    if is_missing(&reason) {
                        tracing::info!("computing on the CPU: {reason}");
                    } else {
                        // There is something to mend, and computing will take much longer than it need.
                        say!("computing on the CPU: {reason}");
                    }
                    Ok(chosen)
                }
            },
        }
    }
}

/// The CPU backend, which multiplies f32 and perhaps bf16.
fn on_cpu(precision: Precision) -> Result<Chosen> {
    match precision {
        Precision::F32 | Precision::Bf16 => match Cpu::builder().precision(precision).build() {
            // The library knows no flags.
            Err(Error::Invalid { what, found, expected }) if what == "precision" => {
                Err(Error::invalid("--precision", found, expected))
            }
            cpu => cpu.map(Chosen::Cpu),
        },
        other => Err(Error::invalid(
            "--precision",
            other,
            "f32 or bf16 on the CPU, or a GPU (--backend cuda)",
        )),
    }
}

/// No GPU, as on most machines, and not one that cannot be used.
fn is_missing(reason: &Unavailable) -> bool {
    matches!(reason, Unavailable::NoDriver | Unavailable::NoDevice)
}

/// Work that runs on several backends of a kind at a time.
pub(crate) trait Jobs {
    /// What it results in.
    type Output;
    /// Does it.
    fn run<B: Backend<Elem = f32>>(self, backends: &[B]) -> anyhow::Result<Self::Output>;
}

/// Work that runs on any backend; a closure cannot be generic.
pub(crate) trait Job {
    /// What it results in.
    type Output;
    /// Does it.
    fn run<B: Backend<Elem = f32>>(self, backend: &B) -> anyhow::Result<Self::Output>;
}
