//! The one place that decides which backend a command runs on.

use clap::{Args, ValueEnum};
use nca_core::Result;
use nca_core::backend::Backend;
use nca_core::cpu::Cpu;
use nca_core::reference::Reference;

/// What `--backend` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The fastest there is: the CPU
    Auto,
    /// Plain, slow and obviously right: for checking the others
    Reference,
    /// Fused, vectorised and parallel
    Cpu,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct BackendArgs {
    /// Where to compute
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) backend: Choice,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

impl BackendArgs {
    /// Name of the backend that will run, as results record it.
    pub(crate) fn resolved(&self) -> &'static str {
        match self.backend {
            Choice::Reference => "reference",
            Choice::Auto | Choice::Cpu => "cpu",
        }
    }

    /// Runs `job` on the chosen backend.
    pub(crate) fn run<J: Job>(&self, job: J) -> anyhow::Result<J::Output> {
        match self.backend {
            Choice::Reference => job.run(&Reference::<f32>::new()),
            Choice::Auto | Choice::Cpu => job.run(&self.cpu()?),
        }
    }

    fn cpu(&self) -> Result<Cpu> {
        match self.threads {
            Some(threads) => Cpu::with_threads(usize::from(threads)),
            None => Cpu::new(),
        }
    }
}

/// Work that runs on any backend; a closure cannot be generic.
pub(crate) trait Job {
    /// What it results in.
    type Output;
    /// Does it.
    fn run<B: Backend<Elem = f32>>(self, backend: &B) -> anyhow::Result<Self::Output>;
}
