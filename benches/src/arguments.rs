//! The arguments that examples share: `[THREADS [CASE…]]`.

use std::error::Error;

use nca_core::cpu::Cpu;

/// Where to run, and what.
#[derive(Debug)]
pub struct Arguments {
    /// With the number of threads given first, else all.
    pub cpu: Cpu,
    /// Beginnings of names of cases; none means all.
    wanted: Vec<String>,
}

impl Arguments {
    /// Those of this process.
    pub fn read() -> Result<Self, Box<dyn Error>> {
        let mut arguments = std::env::args().skip(1);
        let cpu = match arguments.next() {
            Some(threads) => Cpu::with_threads(threads.parse().map_err(|e| format!("THREADS {threads}: {e}"))?)?,
            None => Cpu::new()?,
        };
        let wanted = arguments.collect();
        Ok(Self { cpu, wanted })
    }

    /// Whether the case of this name is to be run.
    #[must_use]
    pub fn want(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|wanted| name.starts_with(wanted))
    }
}
